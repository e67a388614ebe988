//! A bank's loan applications: a worked flow, and its traffic, read from a file or made up from a seed.
//!
//! The events are those of a real log (BPI Challenge 2012, doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f):
//! what an application, its offers and the work done on it went through.
//!
//! ```text
//!  XES, JSONL, CSV (.gz, stdin) ──► input ──┐
//!                                           ├──► LoanInput in time order ──┬─► flow: stages on Downbeat
//!  seed ──────────────────────► generator ──┘                              └─► summary, output
//! ```
//!
//! ```
//! use downbeat_example_loan::{Format, OnBadInput, Summary, read_from};
//!
//! let file = "case,activity,transition,time,amount\n\
//!             7,A_SUBMITTED,COMPLETE,2011-10-01T00:38:44.546+02:00,20000\n\
//!             7,A_DECLINED,COMPLETE,2011-10-01T00:39:30.000+02:00,\n";
//! let loaded = read_from(file.as_bytes(), "loans.csv", Some(Format::Csv), OnBadInput::Stop)?;
//! let summary = Summary::of(&loaded.inputs);
//! assert_eq!(summary.declined.amount_eur, 20_000);
//! # Ok::<(), downbeat_example_loan::InputError>(())
//! ```
//!
//! No float, clock, thread or hash order is involved: the same bytes or the same seed give the same events.
#![forbid(unsafe_code)]

pub mod activity;
pub mod flow;
pub mod generator;
pub mod input;
pub mod output;
pub mod summary;

pub use activity::{Activity, Transition};
pub use flow::{flow, summary_of_states};
pub use generator::{Generator, Volume};
pub use input::{
    BadInput, CaseId, Format, InputError, Loaded, LoanInput, OnBadInput, Place, Reason, Source, read,
    read_from,
};
pub use output::{write_csv, write_jsonl, write_xes};
pub use summary::{Group, Outcome, Summary};
