//! An embeddable sequencer with actor workers: one total order, one durable log, stages that run in parallel and
//! can be replayed bit for bit.
//!
//! ```text
//! submit ──► ingress ──► order ──► wal ──────────────► durable watermark
//!            └── sequencer ──┘      │                        │ gates
//!                    │              ▼                        ▼
//!                    └── batch ──► flow on actors ──► receipts, leaves, subscribers
//! ```
//!
//! Describe event types with `#[derive(Event)]`, what to do with them as [`Stage`]s of a [`Flow`], open an
//! [`Engine`] on a directory, and submit. A [`Receipt`] means that the event has its place in the order and
//! survives a crash.
//!
//! # Example
//!
//! ```
#![doc = include_str!("../../examples/quickstart.rs")]
//! ```
//!
//! # What is promised
//!
//! - **Order.** Events have dense, gap-free seqs and strictly increasing timestamps.
//! - **Durability.** When a receipt resolves, the event is on stable storage, as far as the device tells the
//!   truth. After a failed write or sync the engine acknowledges nothing more.
//! - **Determinism.** The states of all stages follow from the log alone: not from threads, timing, batch sizes
//!   or shard counts. Their digests are in the log, and opening compares them.
//! - **Effects.** A leaf gets a value only after the event that caused it is durable, in the order of seq, at
//!   least once; exactly once if it keeps a memory of its own.
//! - **Bounds.** Every queue is bounded. What is slow stops what is before it, and in the end the producer waits
//!   or is refused.
#![forbid(unsafe_code)]

mod driver;
mod engine;
mod error;
mod history;
mod metrics;
mod options;
mod readers;
mod recover;
mod shared;
mod submit;
mod subscribe;
mod tail;
mod window_step;

pub use downbeat_actors::{Health, HopLatency, STALLED_AFTER, Wait, WorkerStatus};
pub use downbeat_flow::{
    Context, Delivery, Flow, FlowBuilder, FlowError, Leaf, LeafError, Nothing, Out, PANICKED, Reject,
    Rejected, Stage, State,
};
pub use downbeat_record::{
    self as record, Correlation, Event, Fields, IdempotencyKey, Key, Seq, Shaped, SourceId, Timestamp, rkyv,
};
pub use downbeat_sequencer::{Ack, Fill, Group, Ingress, Receipt, Ticket};
pub use downbeat_wal::{Backend, BackendChoice, names, probe};

pub use engine::{Engine, Opened};
pub use error::{Error, ErrorKind};
pub use metrics::Metrics;
pub use options::{Mode, Options};
pub use submit::{Submission, Submitting};
pub use subscribe::{Subscribed, Subscription};
