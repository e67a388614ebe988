//! What the benches share: the machine they ran on, rounds that interleave what is compared, percentiles, and the
//! flow they drive.
//!
//! A figure is worth what stands beside it. So each bench prints the machine and the floor of its disk before and
//! after, measures the cells of a comparison in turn, round after round, and shows the median with the extremes.
//! A round in which something else used the cores is measured again.
//!
//! ```text
//!  Run::start ──► machine, floor ──► Table: cell, cell, cell, cell, … ──► floor ──► criterion, for the record
//! ```
#![deny(unsafe_code)]

pub mod run;
pub mod table;

pub mod allocations;
mod checkout;
pub mod disk;
pub mod latency;
pub mod machine;

pub mod flow;
pub mod made;
pub mod pipeline;
pub mod plain;

pub mod cells;

pub use run::{Run, Scale};
pub use table::{Sample, Table};
