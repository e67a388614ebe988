//! What to do with sequenced events, as pure functions.
//!
//! A [`Flow`] is made of stages and leaves. A [`Stage`] is a deterministic state machine that applies events in
//! the order of their seq; it may send a value to the stages after it, and emit events that enter the order
//! again. A [`Leaf`] is where values leave the process. This crate knows no thread, no runtime and no file: the
//! same [`Unit`] runs on actors in parallel and in an audit on one thread.
//!
//! ```text
//!  Flow ──bind──► Kinds             who is on which kind, in this log
//!    └──unit──► Unit ◄── Record, Inputs
//!                 ├──► Sink::value     to the stages and leaves after it, keyed by the seq
//!                 └──► Sink::command   back to the front door, with a key that follows from the seq
//! ```
//!
//! Why the result depends on the log alone: every stage applies events in seq order; for one event a stage runs
//! only when all stages before it have passed that event; and what it reads besides is the state of one key.
//! That is a Kahn process network: threads, timing, batch sizes and shard counts cannot show.
#![forbid(unsafe_code)]

mod builder;
mod cell;
pub mod command;
mod context;
mod contracts;
mod events;
mod flow;
mod leaf;
mod out;
mod rows;
mod stage;
mod unit;

pub use builder::{FlowBuilder, FlowError};
pub use cell::StageSums;
pub use command::{Ledger, Mismatch, Pending, key_of, source_of};
pub use context::{Context, Input, StageId};
pub use contracts::{EventType, Kinds};
pub use events::{Nothing, PANICKED, Rejected};
pub use flow::{Flow, LeafDef, STAGES_MAX, StageDef};
pub use leaf::{Delivery, Leaf, LeafError};
pub use out::{COMMANDS_PER_EVENT_MAX, Command, OUTPUT_BYTES_MAX, Out};
pub use stage::{Reject, Stage, State};
pub use unit::{Shards, Sink, Unit};
