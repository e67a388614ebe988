//! What the fuzz targets do: plain functions over bytes, called by cargo-fuzz and by the replay of the corpus alike.
//! A fuzzer calls its own function by name, not by way of [`TARGETS`]: what it does not call is not linked, and not looked
//! through after each execution for what was reached.
//!
//! | target | the input is | held against |
//! |---|---|---|
//! | `batch` | bytes of a batch, or events to be made one | what was put in; a changed byte is noticed |
//! | `contracts` | text of a contract table, or shapes | what was put in |
//! | `json` | a shape and a payload, or a value of an event type | serde's JSON of the value |
//! | `scan` | edits to the files of a small log, checksums made true or not | the log before the edits |
//! | `recovery` | what became of each batch of a log | the recovery table, written down once more |
//! | `wal` | appends, syncs, faults, power cuts, openings | a list of events and a watermark |
//! | `order`, `sequencer` | submissions | a list of events and a map of keys |
//! | `xes`, `jsonl`, `csv` | a file of loan events | itself, written and read again |
//!
//! Every target holds that nothing panics, that what it asks for ends, that the answer is the model's, and that memory
//! stays in a bound that follows from the input ([`allocations`]).
//!
//! A target that finds nothing may be one that cannot find anything. So each has a **canary**: with
//! [`plant_canary`] a fault stands between the target and what it tests, and the target must find it.
#![deny(unsafe_code)]

pub mod allocations;

mod batch;
mod contracts;
mod inputs;
mod json;
mod log;
mod order;
mod recovery;
mod scan;
mod sequencer;
mod wal;

pub use batch::batch;
pub use contracts::contracts;
pub use inputs::{csv, jsonl, xes};
pub use json::json;
pub use log::{Edit, SmallLog};
pub use order::order;
pub use recovery::recovery;
pub use scan::{Edited, check as check_edited, scan};
pub use sequencer::sequencer;
pub use wal::wal;

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A target: its name, which is also its corpus's, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What cargo-fuzz calls it.
    pub name: &'static str,
    /// Panics when it has found something.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 11] = [
    Target { name: "batch", run: batch },
    Target { name: "contracts", run: contracts },
    Target { name: "json", run: json },
    Target { name: "scan", run: scan },
    Target { name: "recovery", run: recovery },
    Target { name: "wal", run: wal },
    Target { name: "order", run: order },
    Target { name: "sequencer", run: sequencer },
    Target { name: "xes", run: xes },
    Target { name: "jsonl", run: jsonl },
    Target { name: "csv", run: csv },
];

thread_local! {
    static CANARY: Cell<bool> = Cell::new(std::env::var_os("DOWNBEAT_FUZZ_CANARY").is_some());
}

/// Puts a fault, on this thread, between every target and what it tests; or takes it away. The environment variable
/// `DOWNBEAT_FUZZ_CANARY` plants it from the start.
pub fn plant_canary(planted: bool) {
    CANARY.set(planted);
}

/// True when the planted fault is to show itself.
fn canary() -> bool {
    CANARY.get()
}

/// Prints what an input stands for, where `DOWNBEAT_FUZZ_SHOW` is set: for whoever looks at a finding.
#[allow(clippy::print_stderr, reason = "asked for")]
fn show(what: &dyn std::fmt::Debug) {
    static SHOWN: LazyLock<bool> = LazyLock::new(|| std::env::var_os("DOWNBEAT_FUZZ_SHOW").is_some());
    if *SHOWN {
        eprintln!("{what:?}");
    }
}

/// Operations between two words about how many there were.
const OPERATIONS_STEP: u64 = 10_000_000;

/// Counts the steps of which an input is made: appends, faults, openings; edits; batches that meet their fate. Where
/// `DOWNBEAT_FUZZ_COUNT` is set it says every [`OPERATIONS_STEP`] how many there were.
#[allow(clippy::print_stderr, reason = "asked for")]
fn did(operations: usize) {
    static DONE: AtomicU64 = AtomicU64::new(0);
    static ASKED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("DOWNBEAT_FUZZ_COUNT").is_some());
    if !*ASKED {
        return;
    }
    let before = DONE.fetch_add(operations as u64, Ordering::Relaxed);
    let steps = (before + operations as u64) / OPERATIONS_STEP;
    if steps > before / OPERATIONS_STEP {
        eprintln!("{} operations", steps * OPERATIONS_STEP);
    }
}
