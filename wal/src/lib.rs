//! Make it stay: a write-ahead log of batches, on io_uring, that knows after a crash what it promised.
//!
//! The sequencer's thread owns a [`Log`] and drives it without blocking; anybody reads with a [`Reader`], also
//! while it is being written, also from another process. What an event means is not known here: a batch is
//! bytes with a place in an order.
//!
//! ```text
//!        Log ──────────────► storage (the seam) ◄────────── Reader
//!         │ writes           disk + io_uring                  │ reads, takes no lock
//!         │                  disk + pwritev2                  │
//!         ├─ pipeline        memory, with power cuts          ├─ scan ─┐
//!         ├─ pool: segments made ready ahead                  │        │ one code path
//!         └─ recovery: the lettered table ────────────────────┴────────┘
//! ```
//!
//! Promises, each with its test:
//! - what [`Log::poll`] calls durable is there after any crash, or opening the log fails and says what is not;
//! - what was not called durable may be there, whole and in order, or is cut and noted;
//! - after the first failed write or sync nothing is called durable any more;
//! - a full disk is seen before a seq is assigned;
//! - one writer at a time, each with a higher epoch.
//!
//! Not here: the wall clock (timestamps are passed in), retention, signatures.
#![deny(unsafe_code)]

pub mod error;
pub mod log;
pub mod manifest;
pub mod names;
pub mod options;
mod pipeline;
mod pool;
pub mod probe;
pub mod reader;
pub mod recovery;
mod scan;
pub mod segment;
pub mod storage;
mod survey;
mod window;

pub use error::{Damage, LogError, NotReady, OpenError, Poison, ScanError};
pub use log::{Log, Recovered};
pub use options::{BackendChoice, Options};
pub use pipeline::Durable;
pub use reader::{Located, ReadError, ReadOptions, Reader, Trust};
pub use recovery::Row;
#[doc(hidden)]
pub use scan::may_belong;
pub use storage::{Backend, Bell, Memory};
