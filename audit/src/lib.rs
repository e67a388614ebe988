//! Read a log again, without the engine that wrote it.
//!
//! ```text
//!              ┌─ verify ──► does every byte hold?                       needs nothing but the files
//!  log ─ Reader┼─ inspect ─► what does it say?                           needs nothing but the files
//!              └─ replay ──► does the code give what the log records?    needs the flow
//! ```
//!
//! Everything runs on the caller's thread, for which the reader may read ahead on another. [`replay`] drives the very
//! [`downbeat_flow::Stage`] code that ran on actors, without actors and without leaves, and compares digests and
//! emitted events with the log.
//!
//! What these can prove: that the log is whole, in order, unaltered since it was written as far as its own chain
//! reaches, and that the code gives the recorded results. What they cannot: that a log was not cut at its end,
//! or written anew from some point on by someone with the means to do so; that needs a head kept elsewhere. A log that does
//! not begin with its first event says so ([`Notice::Begins`]); whether that is in order nothing in it can show.
#![forbid(unsafe_code)]

mod commands;
mod directory;
mod error;
mod inspect;
mod manifest;
mod replay;
mod verify;
mod walk;

pub use error::{AuditError, Diverged, Finding, Verdict};
pub use inspect::{DecodedEvent, EventFilter, Inspector, follow, inspect};
pub use replay::{KindCount, ReplayOptions, Replayed, replay};
pub use verify::{Notice, Progress, Verified, VerifyOptions, verify};
