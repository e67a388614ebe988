//! What one sequenced event is: its header, its typed payload, its contract and its hash.
//!
//! This crate fixes the bytes of a log (`docs/format.md` draws them) and nothing else: it knows no thread, no
//! file and no clock. An event type is a Rust type with [`Event`] derived; a [`Batch`] holds sequenced events
//! in the bytes that go to disk; a [`Record`] is one of them, decoded in place.
//!
//! ```text
//!  E: Event ──encode──► payload ──push──► Batch ──seal──► bytes on disk
//!                                           │                  │ every byte checked
//!                                           ▼                  ▼
//!                                 Record ◄── records() ◄── WholeBatch, a Batch for whoever keeps it
//!                                   │
//!                                   └─ payload(): Verified<&[u8]> ──► E::view ──► &Archived<E>
//! ```
//!
//! Decoding never panics, whatever the bytes.
#![deny(unsafe_code)]

pub mod batch;
pub mod buffer;
pub mod contract;
pub mod control;
pub mod error;
pub mod event;
pub mod header;
pub mod ids;
pub mod json;
pub mod shape;
pub mod verified;

pub use batch::{Batch, BatchFull, Fields, Place, Record, Records, WholeBatch};
pub use buffer::{AlignedBuf, BLOCK, is_zero};
pub use contract::{Contract, ContractError, ContractTable};
pub use control::{Checkpoint, Digest, LeafProgress, RecoveryNote, StageDigest};
/// The derives that stand beside the traits of the same names.
pub use downbeat_derive::{Event, Shaped};
pub use error::{BatchError, DecodeError, Shown};
pub use event::Event;
pub use header::{BatchHeader, BatchKind, Root, Stamp};
pub use ids::{
    BatchNo, Correlation, Epoch, IdempotencyKey, Key, Kind, LogId, SegmentId, Seq, SourceId, Timestamp,
};
pub use rkyv;
pub use shape::{Shape, Shaped};
pub use verified::{Verified, encoded_here};
