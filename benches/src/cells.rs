//! What `downbeat bench` measures: the same work as the benches, in cells that take a bounded time, fail with an error
//! and give their figures as data.
//!
//! ```text
//!  measure ──► floor ──► log ──► hop ──► end to end ──► scaling ──► floor ──► Measured (JSON)
//!                └────────── Rounds: cell, cell, cell, cell, … in turn ──┘
//! ```
//!
//! The cells of a part are measured in turn, round after round, until the rounds of the scale are done or the time
//! of the part is over; one round is always done. How many it were stands with every figure.

mod bench;
mod plan;
mod rounds;
mod trouble;

pub mod measured;
pub mod percentiles;
pub mod stamp;

pub mod floor;
pub mod log;

pub mod hop;

pub mod end_to_end;
pub mod flows;
pub mod rig;
pub mod scaling;

pub use bench::{Bench, How, Watch};
pub use measured::Measured;
pub use plan::{Part, bytes_needed, seconds};
pub use trouble::Trouble;

use std::path::Path;

use measured::{Figures, Floors};
use stamp::{RunStamp, Stamp};

use crate::machine::Load;

/// Measures everything, with logs in a directory that is there and empty. What a run is called comes from the
/// caller, as do the clock and the command line.
///
/// # Errors
///
/// [`Trouble`]; what was measured until then is lost.
pub fn measure(
    dir: &Path,
    how: How,
    called: RunStamp,
    program: stamp::Program,
    watch: &dyn Watch,
) -> Result<Measured, Trouble> {
    let (bench, load) = (Bench::new(dir, how, watch), Load::now());
    let stamp = Stamp::look(dir, program).map_err(|source| Trouble::disk(dir, source))?;
    let mut figures = Figures::default();
    let before = floor::measure(&bench, Part::FloorBefore)?;
    log::measure(&bench, stamp.machine.direct_io, &mut figures)?;
    hop::measure(&bench, &mut figures)?;
    end_to_end::measure(&bench, &mut figures)?;
    scaling::measure(&bench, &mut figures)?;
    let after = floor::measure(&bench, Part::FloorAfter)?;
    let Figures { cells, mut curves, replays } = figures;
    let floor = Floors { before: (&before).into(), after: (&after).into() };
    curves.splice(0..0, [before, after]);
    Ok(Measured {
        format: measured::FORMAT.to_owned(),
        version: measured::VERSION,
        run: RunStamp {
            seconds: bench.elapsed().as_secs_f64(),
            others: load.others_since(),
            written_bytes: stamp::written_bytes(),
            ..called
        },
        machine: stamp.machine,
        build: stamp.build,
        floor,
        cells,
        curves,
        replays,
    })
}
