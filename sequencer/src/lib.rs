//! In which order: many producers in, one total order out.
//!
//! ```text
//!  producers ──► Ingress ──► ring ──► Order ──► Batch ──► (the log makes it stay)
//!      ▲        encodes in place       │ seq, time, dedup      │
//!      └──────────── Ticket ◄──────────┴──── durable ◄─────────┘
//! ```
//!
//! A producer holds an [`Ingress`] and gets a [`Ticket`] that resolves to a [`Receipt`]. One thread owns the
//! [`Sequencer`]: it takes what is there, drops duplicates, assigns the next dense seq and a strictly
//! increasing timestamp, and appends to the open batch. Everything is bounded, and every bound has an answer:
//! [`SubmitError`] says which one was met and what to do.
//!
//! | part | what |
//! |---|---|
//! | `ring` | the ingress memory: lock-free, bounded, contiguous |
//! | [`doorbell`] | wakes the sequencer's thread when it sleeps, and costs a look when it does not |
//! | [`ticket`] | receipts in flight, without allocation |
//! | [`window`] | which idempotency keys were used, for what |
//! | [`order`] | the pure core: a state, an input, an answer |
//! | [`clock`] | the only door to time |
//! | [`mod@sequencer`] | the facade that a driver calls, and in which order |
//!
//! This crate does not know files, async runtimes, the log, or what a payload means.
//!
//! # Example
//!
//! ```
//! use downbeat_record::{Fields, Seq};
//! use downbeat_sequencer::{Ack, Settings, Start, SystemClock, sequencer};
//!
//! let settings = Settings::default();
//! let (ingress, mut sequencer) = sequencer(&settings, SystemClock, Start::fresh(&settings));
//! let ticket = ingress.try_submit_bytes(&Fields::default(), b"hello", Ack::Durable)?;
//!
//! // What the thread of the sequencer does:
//! assert_eq!(sequencer.fill(Seq::ZERO), 1);
//! let batch = sequencer.close_batch().expect("an event is open").clone();
//! assert_eq!(batch.records().next().unwrap().payload().bytes(), b"hello");
//! sequencer.durable(Seq(1)); // after the log has written the batch
//!
//! assert_eq!(ticket.wait()?.seq, Seq(1));
//! # Ok::<(), downbeat_sequencer::SubmitError>(())
//! ```
#![deny(unsafe_code)]

pub mod sequencer;
pub mod settings;

mod group;
mod ingress;
mod kinds;

mod door;
pub mod doorbell;
mod entry;
#[cfg(all(test, loom))]
mod loom_mutants;
mod ring;
mod sync;

pub mod clock;
pub mod order;
pub mod ticket;
pub mod window;

pub mod error;

pub use clock::{Clock, ManualClock, SystemClock};
pub use doorbell::Doorbell;
pub use error::{Bound, Cause, Fill, SubmitError};
pub use group::Group;
pub use ingress::Ingress;
pub use order::{LAST_MAX, Order, Placed};
pub use sequencer::{Sequencer, Stats, Stop, sequencer};
pub use settings::{Settings, Start, WINDOW_EVENTS_MIN};
pub use ticket::{Ack, Receipt, Ticket};
pub use window::{Admission, IDEMPOTENCY_KEYS_MAX, Idempotency, IdempotencyWindow, Original, fingerprint};
