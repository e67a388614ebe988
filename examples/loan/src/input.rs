//! Reads loan events from a file or a pipe: bytes in, [`LoanInput`]s in time order out.
//!
//! ```text
//!  path or - ──► source: gunzip, sniff ──┬─► xes ───┐
//!                                        ├─► jsonl ─┼─► fields ──► collect ──► Loaded
//!                                        └─► csv ───┘   (types)    (bad input: stop, skip, keep)
//! ```
//!
//! | format | one event is | fields |
//! |---|---|---|
//! | XES `.xes` `.xml` | an `<event>` in a `<trace>` | `concept:name`, `lifecycle:transition`, `time:timestamp`, `org:resource`; of the trace `concept:name`, `AMOUNT_REQ` |
//! | JSONL `.jsonl` `.ndjson` | an object on a line | `case`, `activity`, `transition`, `time`; if known `resource`, `amount` |
//! | CSV `.csv` | a row on a line, under a header | the same, in any order |
//!
//! Each may be gzipped (`.gz`, or told by its first bytes). Without a known ending the first bytes decide.
//! Numbers may be quoted. An unknown JSON field or CSV column is an error, so that a typo is not read as
//! "absent"; other XES attributes are passed over, as the format asks. A trace's amount goes on its first event.
//!
//! - Events of all cases are merged into time order; ties keep their order in the file.
//! - Nothing read here panics, and apart from the events themselves memory is bounded: a line or an XML tag by
//!   1 MiB, nesting by 64, kept bad inputs by [`DEAD_LETTERS_MAX`].
//! - What cannot be skipped past is an error under every [`OnBadInput`]: malformed XML, a broken gzip stream, a
//!   wrong CSV header, a file that cannot be read.

mod collect;
mod csv;
mod error;
mod fields;
mod jsonl;
mod lines;
mod source;
mod tags;
mod timestamp;
mod xes;

use std::fmt;
use std::io::Read;

pub use collect::{DEAD_LETTERS_MAX, Loaded, OnBadInput};
pub use error::{BadInput, InputError, Place, Reason};
pub use source::{Format, Source};
pub(crate) use timestamp::write_utc;

use crate::activity::{Activity, Transition};
use collect::Collector;

/// The id of a loan application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(pub u64);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One event of the log: something happened to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoanInput {
    /// The application it is about.
    pub case: CaseId,
    /// Its place among the accepted events of its case in the file, from 0: with the case, its identity.
    pub position: u32,
    /// When, in nanoseconds since 1970 UTC.
    pub time_ns: u64,
    /// What was done.
    pub activity: Activity,
    /// How far it got.
    pub transition: Transition,
    /// Who did it, where known.
    pub resource: Option<u32>,
    /// The requested amount in euro; the real log has it once per application.
    pub amount_eur: Option<u64>,
}

/// Reads a whole file, or stdin.
///
/// # Errors
///
/// [`InputError`]: a file that cannot be opened or read, whose format is unknown, that is empty, or whose bytes
/// break the rules of [the module page](self); with [`OnBadInput::Stop`] also the first bad input.
///
/// ```no_run
/// use downbeat_example_loan::{OnBadInput, Source, read};
///
/// let loaded = read(&Source::from("bpic2012.xes.gz"), OnBadInput::DeadLetter)?;
/// for letter in &loaded.dead_letters {
///     println!("{letter}");
/// }
/// # Ok::<(), downbeat_example_loan::InputError>(())
/// ```
pub fn read(source: &Source, on_bad: OnBadInput) -> Result<Loaded, InputError> {
    match source {
        Source::Stdin => read_from(std::io::stdin().lock(), &source.to_string(), None, on_bad),
        Source::File(path) => {
            let file = source::open(path)?;
            read_from(file, &source.to_string(), Format::of_path(path), on_bad)
        }
    }
}

/// Reads from anything that yields bytes. `name` is what errors call it; no `format` means that the first bytes
/// decide. Gzip is always told by the first bytes.
///
/// # Errors
///
/// As [`read`], without those of opening a file.
pub fn read_from(
    reader: impl Read,
    name: &str,
    format: Option<Format>,
    on_bad: OnBadInput,
) -> Result<Loaded, InputError> {
    let (bytes, format) = source::Bytes::new(reader, name, format)?;
    let mut collector = Collector::new(on_bad);
    match format {
        Format::Xes => xes::read(bytes, &mut collector)?,
        Format::Jsonl => jsonl::read(bytes, &mut collector)?,
        Format::Csv => csv::read(bytes, &mut collector)?,
    }
    Ok(collector.finish())
}
