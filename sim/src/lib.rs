//! The world from one seed: the sequencer, the log and the stages that ship, in a world that is made up.
//!
//! ```text
//!  seed ──► plan: how much, how large, what fails how often
//!       ──► world: picks who moves next ──► clients ─► sequencer ─► log ─► disk, simulated per sector
//!                                                        └─► stages ─► effects
//!       ──► truth: saw everything from outside, and holds every promise against it
//!       ──► trace: the same lines for the same seed, in every process
//! ```
//!
//! Read in this order: [`plan`] (what a seed draws), [`fault`] (what can go wrong), [`disk`], `process` and
//! `stages` (the real code, driven on one thread), `client`, `truth` (the checkers), [`model`] (the obvious
//! bank), `world` (the scheduler), [`bug`] (what is planted to see that the checkers notice).
//!
//! What is *not* simulated: threads. The interleavings of the lock-free parts are loom's, those of the real
//! actors belong to the tests of `actors` and `engine`; the driver's thread is written again here, round by round.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

pub mod bank;
pub mod bug;
mod client;
pub mod disk;
pub mod fault;
pub mod model;
pub mod plan;
mod process;
mod stages;
pub mod trace;
mod truth;
mod world;

pub use bug::Bug;
pub use disk::Disk;
pub use fault::{Fault, Injected, Odds};
pub use truth::{Invariant, Violation};
pub use world::Counts;

use trace::Trace;
use world::World;

/// How a seed went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What went wrong on purpose.
    pub injected: Injected,
    /// What the world went through.
    pub counts: Counts,
    /// Of the trace: equal traces have equal hashes.
    pub trace_hash: u64,
    /// The trace, if it was to be kept.
    pub trace: String,
}

/// Runs the world of one seed, with or without a planted bug.
///
/// A panic of the code under test is a violation like any other; [`quiet_panics`] keeps it off the terminal.
pub fn run(seed: u64, keep_trace: bool, bug: Option<Bug>) -> Outcome {
    let trace = Trace::new(keep_trace);
    let mut world = World::new(seed, trace.clone(), bug);
    IN_WORLD.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    IN_WORLD.set(false);
    let violation = match ended {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = text.unwrap_or_else(|| "a panic without a message".to_owned());
            Some(Violation { invariant: Invariant::Panic, what })
        }
    };
    if let Some(violation) = &violation {
        trace::note!(trace, "broken: {violation}");
    }
    let (injected, counts) = (world.injected(), world.counts);
    Outcome { violation, injected, counts, trace_hash: trace.hash(), trace: trace.text() }
}

thread_local! {
    /// A world runs on this thread.
    static IN_WORLD: Cell<bool> = const { Cell::new(false) };
}

/// Lets panics inside of a world be what [`run`] says about them, and nothing else.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !IN_WORLD.get() {
                before(info);
            }
        }));
    });
}
