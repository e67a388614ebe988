//! What a stage puts out for one event: a value for the stages after it, and events that re-enter the order.
//!
//! All of it lies in one reused buffer, so a stage that sends and emits allocates nothing:
//!
//! ```text
//! ┌─────────┬──────────────────┬─────────┬──────────────────┬─────────┐
//! │ value   │ command header 16│ payload │ command header 16│ payload │  every part 16-byte aligned
//! └─────────┴──────────────────┴─────────┴──────────────────┴─────────┘
//! ```
//!
//! The digest of a stage's outputs is taken over exactly these bytes.

use std::any::TypeId;
use std::marker::PhantomData;

use downbeat_record::rkyv::util::AlignedVec;
use downbeat_record::{Digest, Event, Key, Kind};

use crate::context::Context;
use crate::stage::Reject;

/// The most bytes one value or one emitted event may take.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// The most events a stage may emit for one event.
pub const COMMANDS_PER_EVENT_MAX: usize = 8;

/// An event that a stage wants to enter the order: what [`Out::emit`] was given.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Its contract.
    pub kind: Kind,
    /// The entity it is about.
    pub key: Key,
    /// Which of the commands for this event it is, from 0.
    pub index: u8,
    /// The archived event.
    pub payload: &'a [u8],
}

#[derive(Clone, Copy)]
struct Emitted {
    kind: Kind,
    key: Key,
    at: usize,
    len: usize,
}

/// The reused buffer behind [`Out`].
pub(crate) struct Outbox {
    /// As long as it ever was; what lies behind `used` is of earlier events.
    bytes: AlignedVec,
    used: usize,
    value_len: Option<usize>,
    commands: Vec<Emitted>,
    /// Whether a stage is at work on it: if that panics, it stays so.
    at_work: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        let mut bytes = AlignedVec::new();
        bytes.resize(1024, 0);
        Self { bytes, used: 0, value_len: None, commands: Vec::with_capacity(4), at_work: false }
    }

    /// Drops what was put out, by a stage that ended or by one that never will.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.value_len = None;
        self.commands.clear();
        self.at_work = false;
    }

    /// A stage begins to work on it, empty as it is now.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.clear();
        self.at_work = true;
    }

    /// The stage has ended.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.at_work = false;
    }

    /// Whether a stage began and did not end: it panicked, if it is not on the stack.
    pub(crate) fn is_at_work(&self) -> bool {
        self.at_work
    }

    /// The value sent, if one was.
    #[inline]
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value_len.map(|len| &self.bytes[..len])
    }

    pub(crate) fn commands(&self) -> impl Iterator<Item = Command<'_>> {
        self.commands.iter().enumerate().map(|(index, command)| Command {
            kind: command.kind,
            key: command.key,
            index: index as u8,
            payload: &self.bytes[command.at..command.at + command.len],
        })
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0 && self.value_len.is_none()
    }

    /// The digest of everything put out, or of nothing.
    #[inline]
    pub(crate) fn digest(&self, seed: u64) -> Digest {
        Digest::of(seed ^ self.value_len.map_or(u64::MAX, |len| len as u64), &self.bytes[..self.used])
    }

    /// Makes room for `len` bytes at `start`; what lies between that and what is there is zero.
    #[inline]
    fn reserve(&mut self, start: usize, len: usize) {
        if self.bytes.len() < start + len {
            self.grow(start + len);
        }
        self.bytes[self.used..start].fill(0);
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.bytes.resize(len.next_power_of_two(), 0);
    }

    /// Encodes at `start` and returns the length of the archive.
    #[inline(always)]
    fn encode<E: Event>(&mut self, start: usize, value: &E) -> Result<usize, Reject> {
        let room = value.encoded_len_max();
        if room > OUTPUT_BYTES_MAX {
            return Err(too_large(E::NAME, room));
        }
        self.reserve(start, room);
        let len = value.encode(&mut self.bytes[start..start + room])?;
        self.used = start + len;
        Ok(len)
    }

    #[inline(always)]
    fn send<E: Event>(&mut self, value: &E) -> Result<(), Reject> {
        if self.used != 0 || self.value_len.is_some() {
            return Err(self.too_late(E::NAME));
        }
        self.value_len = Some(self.encode(0, value)?);
        Ok(())
    }

    #[cold]
    fn too_late(&self, name: &str) -> Reject {
        match self.value_len {
            Some(_) => Reject::new(format!("a second `{name}` was sent for one event")),
            None => Reject::new("a value must be sent before events are emitted"),
        }
    }

    pub(crate) fn emit<E: Event>(&mut self, kind: Kind, key: Key, event: &E) -> Result<(), Reject> {
        if self.commands.len() == COMMANDS_PER_EVENT_MAX {
            return Err(Reject::new(format!(
                "more than {COMMANDS_PER_EVENT_MAX} events emitted for one event"
            )));
        }
        // The header is written when the event is: one that does not fit leaves nothing.
        let start = self.used.next_multiple_of(16);
        let at = start + 16;
        let len = self.encode(at, event)?;
        self.bytes[start..start + 8].copy_from_slice(&key.0.to_le_bytes());
        self.bytes[start + 8..start + 10].copy_from_slice(&kind.0.to_le_bytes());
        self.bytes[start + 10..start + 14].copy_from_slice(&(len as u32).to_le_bytes());
        self.commands.push(Emitted { kind, key, at, len });
        Ok(())
    }
}

#[cold]
fn too_large(name: &str, room: usize) -> Reject {
    Reject::new(format!("a `{name}` of up to {room} bytes is over {OUTPUT_BYTES_MAX}"))
}

/// Where a stage that sends `O` puts what it wants to put out for the event at hand.
pub struct Out<'a, O> {
    outbox: &'a mut Outbox,
    /// What the stage declares to emit.
    emits: &'a [TypeId],
    event: &'a Context<'a>,
    sends: PhantomData<O>,
}

impl<'a, O: Event> Out<'a, O> {
    #[inline]
    pub(crate) fn new(outbox: &'a mut Outbox, emits: &'a [TypeId], event: &'a Context<'a>) -> Self {
        Self { outbox, emits, event, sends: PhantomData }
    }

    /// Sends a value to the stages and leaves after this one, for this very event: at most one per event, and
    /// before anything is emitted. They get it in the order of seq; a leaf gets it when the event is durable.
    ///
    /// # Errors
    ///
    /// [`Reject`] on a second value, or one over [`OUTPUT_BYTES_MAX`].
    #[inline]
    pub fn send(&mut self, value: &O) -> Result<(), Reject> {
        self.outbox.send(value)
    }

    /// Emits an event about the same key: it goes through ingress, gets a place in the order behind everything
    /// already there, and has this event as its causation. Emitting is idempotent: after a crash the same
    /// event is recognised in the log and not logged again.
    ///
    /// # Errors
    ///
    /// [`Reject`] when the flow does not declare that this stage emits `E`, on more than
    /// [`COMMANDS_PER_EVENT_MAX`], or on one over [`OUTPUT_BYTES_MAX`].
    #[inline]
    pub fn emit<E: Event>(&mut self, event: &E) -> Result<(), Reject> {
        self.emit_about(self.event.key(), event)
    }

    /// Like [`Out::emit`], about another key.
    ///
    /// # Errors
    ///
    /// As [`Out::emit`].
    pub fn emit_about<E: Event>(&mut self, key: Key, event: &E) -> Result<(), Reject> {
        let wanted = TypeId::of::<E>();
        let declared = self.emits.contains(&wanted).then(|| self.event.kinds().of(wanted)).flatten();
        let Some(kind) = declared else {
            return Err(Reject::new(format!(
                "`{}` is emitted but not declared: add `.emits::<{}>()` to the stage",
                E::NAME,
                E::NAME
            )));
        };
        self.outbox.emit(kind, key, event)
    }
}
