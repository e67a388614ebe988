//! The front door: what producers hold. Encodes in place, never takes a lock, never waits unless asked to.

#[cfg(all(test, loom))]
mod loom_room;

use std::fmt;
use std::sync::Arc;

use downbeat_record::batch::EVENT_OVERHEAD_MAX;
use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{ContractTable, Event, Fields, Kind, SourceId, encoded_here, json};
use event_listener::{EventListener, Listener};

use crate::door::Door;
use crate::doorbell::Doorbell;
use crate::entry::{Events, Tag, head_len, write_head};
use crate::error::{Bound, Fill, SubmitError};
use crate::group::Group;
use crate::kinds::{Kinds, TypeName};
use crate::ring::{Drain, Refused, Ring};
use crate::settings::Settings;
use crate::sync;
use crate::ticket::{Ack, Slab, Ticket, TicketId};

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What stages emit; drained first.
    Derived,
    /// What comes from outside.
    Outside,
}

/// What producers, tickets and the sequencer share.
pub(crate) struct Shared {
    rings: [sync::Arc<Ring>; 2],
    pub(crate) slab: Slab,
    pub(crate) door: Door,
    pub(crate) bell: Doorbell,
    /// Notified when there may be room again.
    pub(crate) room: event_listener::Event,
    /// Bytes that one event or group may take in a batch, overhead included.
    batch_room: usize,
    /// Events that a group may have.
    group_max: usize,
    kinds: Kinds,
    contracts: Option<Arc<ContractTable>>,
}

/// What the fields of one event, or of several, say about where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    lowest: Kind,
    highest: Kind,
    source: SourceId,
    derived: bool,
}

impl Claim {
    #[inline]
    pub(crate) fn of(fields: &Fields) -> Self {
        let Fields { kind, source, derived, .. } = *fields;
        Self { lowest: kind, highest: kind, source, derived }
    }

    /// With one more event.
    pub(crate) fn and(self, fields: &Fields) -> Self {
        Self {
            lowest: self.lowest.min(fields.kind),
            highest: self.highest.max(fields.kind),
            source: self.source.max(fields.source),
            derived: self.derived || fields.derived,
        }
    }
}

impl Shared {
    /// With the consumers of its rings: derived, outside.
    pub(crate) fn new(
        settings: &Settings,
        group_max: usize,
        contracts: Option<Arc<ContractTable>>,
    ) -> (Arc<Self>, [Drain; 2]) {
        let (derived, derived_drain) = Ring::new(settings.derived_ring_bytes);
        let (outside, outside_drain) = Ring::new(settings.ring_bytes);
        let shared = Self {
            rings: [derived, outside],
            slab: Slab::new(settings.tickets),
            door: Door::default(),
            bell: Doorbell::silent(),
            room: event_listener::Event::new(),
            batch_room: settings.batch_bytes - BATCH_HEADER_LEN,
            group_max,
            kinds: Kinds::new(contracts.as_deref()),
            contracts,
        };
        (Arc::new(shared), [derived_drain, outside_drain])
    }

    pub(crate) fn ring(&self, lane: Lane) -> &Ring {
        &self.rings[lane as usize]
    }

    /// Gives the drained memory back. Producers that wait are woken only when half of the ring is free, so a
    /// flood does not cost a wake-up for every few events. `emptied` says that it is: then nobody looks at the tail,
    /// whose cache line the producers need for every claim.
    #[inline]
    pub(crate) fn give_room(&self, drain: &mut Drain, emptied: bool) {
        if drain.release() && (emptied || drain.ring().used() <= drain.ring().capacity() / 2) {
            self.room.notify(usize::MAX);
        }
    }
}

/// One producer's hold on the shared part. Each [`Ingress`] has its own, so that the reference counts which
/// tickets move are not fought over by all producers.
pub(crate) struct Handle {
    shared: Arc<Shared>,
    lane: Lane,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        Self { shared, lane }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Takes events from any thread. Clone it for each thread that submits: clones do not get in each other's way.
pub struct Ingress {
    handle: Arc<Handle>,
}

impl Ingress {
    pub(crate) fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        Self { handle: Arc::new(Handle::new(shared, lane)) }
    }

    /// Submits one event and returns at once; the [`Ticket`] resolves when what `ack` says is true.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Backpressure`], [`SubmitError::TooLarge`], [`SubmitError::Encode`], [`SubmitError::UnknownKind`],
    /// [`SubmitError::WrongKind`], [`SubmitError::SourceOfAStage`], [`SubmitError::Derived`], [`SubmitError::Closed`],
    /// [`SubmitError::Full`], [`SubmitError::Poisoned`]. Nothing was submitted.
    #[inline]
    pub fn try_submit<E: Event>(&self, fields: &Fields, event: &E, ack: Ack) -> Result<Ticket, SubmitError> {
        let room = event.encoded_len_max();
        self.ticketed(ack, false, is_keyed(fields), |tag| {
            self.put_event(fields, Some(TypeName::of::<E>()), tag, room, |out| Ok(event.encode(out)?))
        })
    }

    /// Submits one event without a receipt: the cheapest way. A duplicate or conflict is counted and dropped.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`].
    #[inline]
    pub fn try_send<E: Event>(&self, fields: &Fields, event: &E) -> Result<(), SubmitError> {
        let tag = Tag { ticket: None, group: false, keyed: is_keyed(fields) };
        let room = event.encoded_len_max();
        self.put_event(fields, Some(TypeName::of::<E>()), tag, room, |out| Ok(event.encode(out)?))
    }

    /// Like [`Ingress::try_submit`], for a payload that is encoded already: it is held to the contract of its kind.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`], and [`SubmitError::Payload`].
    #[inline]
    pub fn try_submit_bytes(&self, fields: &Fields, payload: &[u8], ack: Ack) -> Result<Ticket, SubmitError> {
        self.explain(fields.kind, payload)?;
        self.ticketed(ack, false, is_keyed(fields), |tag| {
            self.put_event(fields, None, tag, payload.len(), |out| copy(out, payload))
        })
    }

    /// Like [`Ingress::try_send`], for a payload that is encoded already: it is held to the contract of its kind.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`], and [`SubmitError::Payload`].
    #[inline]
    pub fn try_send_bytes(&self, fields: &Fields, payload: &[u8]) -> Result<(), SubmitError> {
        self.explain(fields.kind, payload)?;
        let tag = Tag { ticket: None, group: false, keyed: is_keyed(fields) };
        self.put_event(fields, None, tag, payload.len(), |out| copy(out, payload))
    }

    /// Submits a group: consecutive places in one batch, all or none, also after a crash. Its one ticket
    /// resolves with the place of the first event, when what `ack` says is true for all of them.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`], [`SubmitError::TooMany`], and [`SubmitError::Payload`].
    ///
    /// # Panics
    ///
    /// When the group is empty.
    pub fn try_submit_all(&self, group: &Group, ack: Ack) -> Result<Ticket, SubmitError> {
        assert!(!group.is_empty(), "a group of {} events, at least 1 is needed", group.len());
        let shared = self.handle.shared();
        group.claim().map_or(Ok(()), |claim| self.believe(claim, None))?;
        group.types().iter().try_for_each(|(claim, name)| self.believe(*claim, Some(*name)))?;
        if group.has_bytes() {
            Events::of(group.body()).try_for_each(|(fields, payload)| self.explain(fields.kind, payload))?;
        }
        if group.len() > shared.group_max {
            return Err(SubmitError::TooMany { count: group.len(), max: shared.group_max });
        }
        self.ticketed(ack, true, group.is_keyed(), |tag| {
            let body = group.body();
            self.put(tag, body.len(), group.batch_bytes(), |out| copy(&mut out[..body.len()], body))
        })
    }

    /// Like [`Ingress::try_submit`], but blocks the thread while there is no room.
    ///
    /// A thread that holds all tickets itself and waits here for one waits for ever.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`], without [`SubmitError::Backpressure`].
    pub fn submit_blocking<E: Event>(
        &self,
        fields: &Fields,
        event: &E,
        ack: Ack,
    ) -> Result<Ticket, SubmitError> {
        self.blocking(|| self.try_submit(fields, event, ack))
    }

    /// Like [`Ingress::try_send`], but blocks the thread while there is no room.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`], without [`SubmitError::Backpressure`].
    pub fn send_blocking<E: Event>(&self, fields: &Fields, event: &E) -> Result<(), SubmitError> {
        self.blocking(|| self.try_send(fields, event))
    }

    /// Repeats `attempt` while it is refused with [`SubmitError::Backpressure`], and blocks the thread between.
    ///
    /// # Errors
    ///
    /// Any other error of `attempt`.
    pub fn blocking<T>(&self, mut attempt: impl FnMut() -> Result<T, SubmitError>) -> Result<T, SubmitError> {
        loop {
            match attempt() {
                Err(SubmitError::Backpressure { .. }) => {}
                done => return done,
            }
            let room = self.room();
            match attempt() {
                Err(SubmitError::Backpressure { .. }) => room.wait(),
                done => return done,
            }
        }
    }

    /// Like [`Ingress::try_submit`], but waits while there is no room.
    ///
    /// # Errors
    ///
    /// As [`Ingress::try_submit`], without [`SubmitError::Backpressure`].
    pub async fn submit<E: Event>(
        &self,
        fields: &Fields,
        event: &E,
        ack: Ack,
    ) -> Result<Ticket, SubmitError> {
        loop {
            match self.try_submit(fields, event, ack) {
                Err(SubmitError::Backpressure { .. }) => {}
                done => return done,
            }
            let room = self.room();
            match self.try_submit(fields, event, ack) {
                Err(SubmitError::Backpressure { .. }) => room.await,
                done => return done,
            }
        }
    }

    /// Resolves when there may be room. Take it, try again, and only then wait for it: what came free before
    /// it was taken does not wake it.
    pub fn room(&self) -> EventListener {
        self.handle.shared().room.listen()
    }

    /// Whether the log takes events at the moment.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`] while the disk is full, [`SubmitError::Poisoned`] once the log has failed.
    pub fn check(&self) -> Result<(), SubmitError> {
        self.handle.shared().door.check()
    }

    /// How full the ring behind this door is, in bytes.
    pub fn fill(&self) -> Fill {
        let ring = self.ring();
        Fill { used: ring.used(), capacity: ring.capacity() }
    }

    /// Refuses every later event at this door with [`SubmitError::Closed`], for all clones; what is in the ring is
    /// still ordered. The derived door is closed on its own, when the flow has nothing more to say.
    pub fn close(&self) {
        let shared = self.handle.shared();
        self.ring().close();
        shared.room.notify(usize::MAX);
        shared.bell.ring();
    }

    /// The longest payload that one event may have, in bytes.
    pub fn payload_len_max(&self) -> usize {
        self.piece_len_max() - EVENT_OVERHEAD_MAX
    }

    /// Bytes that fit into a batch and into the ring; in a batch an event takes more than in the ring.
    #[inline]
    fn piece_len_max(&self) -> usize {
        self.handle.shared().batch_room.min(self.ring().body_len_max())
    }

    fn ring(&self) -> &Ring {
        self.handle.shared().ring(self.handle.lane)
    }

    /// Takes a ticket around `put`, which gets the tag to commit with.
    #[inline]
    fn ticketed(
        &self,
        ack: Ack,
        group: bool,
        keyed: bool,
        put: impl FnOnce(Tag) -> Result<(), SubmitError>,
    ) -> Result<Ticket, SubmitError> {
        let shared = self.handle.shared();
        shared.door.check()?;
        let Some(id) = shared.slab.take() else { return Err(self.tickets_exhausted()) };
        let undo = Undo { shared, id };
        put(Tag { ticket: Some((id, ack)), group, keyed })?;
        std::mem::forget(undo);
        Ok(Ticket::new(self.handle.clone(), id))
    }

    #[inline]
    fn put_event(
        &self,
        fields: &Fields,
        name: Option<TypeName>,
        tag: Tag,
        room: usize,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, SubmitError>,
    ) -> Result<(), SubmitError> {
        self.believe(Claim::of(fields), name)?;
        let head = head_len(fields);
        self.put(tag, head + room, room + EVENT_OVERHEAD_MAX, |out| {
            let (before, payload) = out.split_at_mut(head);
            let len = encode(&mut payload[..room])?;
            assert!(len <= room, "{len} bytes were encoded into {room}");
            write_head(before, fields, len);
            Ok(head + len)
        })
    }

    /// Claims `len` bytes, lets `write` fill them, commits what it wrote and rings.
    #[inline]
    fn put(
        &self,
        tag: Tag,
        len: usize,
        batch_bytes: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, SubmitError>,
    ) -> Result<(), SubmitError> {
        let (shared, ring) = (self.handle.shared(), self.ring());
        shared.door.check()?;
        let max = self.piece_len_max();
        if batch_bytes > max {
            return Err(SubmitError::TooLarge { len: batch_bytes, max });
        }
        assert!(len <= batch_bytes, "{len} bytes in the ring, {batch_bytes} in a batch");
        // Rings when the claim is gone, whether committed, refused or abandoned by a panic: what stands behind it
        // may have been rung for while this one still hid it.
        let _ring = RingLast(&shared.bell);
        let mut claim = ring.claim(len).map_err(|refused| self.refused(refused))?;
        let written = write(claim.body())?;
        claim.commit(written, tag.to_word());
        Ok(())
    }

    /// Refuses what nobody could explain who reads the log: events from outside that pass for those of a stage, or that
    /// have no contract, or that of another type.
    #[inline]
    fn believe(&self, claim: Claim, name: Option<TypeName>) -> Result<(), SubmitError> {
        let kinds = &self.handle.shared().kinds;
        let known = match name {
            Some(name) => kinds.is(claim.lowest, name),
            None => kinds.has(claim.lowest) && kinds.has(claim.highest),
        };
        if known && !claim.derived && !claim.source.is_of_a_stage() {
            return Ok(());
        }
        self.believe_stages_only(claim, name)
    }

    /// Refuses bytes from outside that are not what the contract of their kind says: who reads the log could not either.
    fn explain(&self, kind: Kind, payload: &[u8]) -> Result<(), SubmitError> {
        let contracts = self.handle.shared().contracts.as_ref().filter(|_| self.handle.lane == Lane::Outside);
        let Some(contract) = contracts.and_then(|contracts| contracts.get(kind)) else { return Ok(()) };
        json::check(&contract.shape, encoded_here(payload)).map_err(|source| SubmitError::Payload {
            contract: called(&contract.name, contract.version),
            source,
        })
    }

    /// Out of the way of what comes from outside.
    #[inline(never)]
    fn believe_stages_only(&self, claim: Claim, name: Option<TypeName>) -> Result<(), SubmitError> {
        let Shared { kinds, contracts, .. } = self.handle.shared();
        if let Some(name) = name.filter(|name| !kinds.is(claim.lowest, *name)) {
            let contract = contracts.as_ref().and_then(|contracts| contracts.get(claim.lowest));
            return Err(contract.map_or(SubmitError::UnknownKind { kind: claim.lowest }, |contract| {
                SubmitError::WrongKind {
                    kind: claim.lowest,
                    contract: called(&contract.name, contract.version),
                    event: called(name.name, name.version),
                }
            }));
        }
        if self.handle.lane == Lane::Derived {
            return Ok(());
        }
        Err(match [claim.lowest, claim.highest].into_iter().find(|kind| !kinds.has(*kind)) {
            Some(kind) => SubmitError::UnknownKind { kind },
            None if claim.derived => SubmitError::Derived,
            None => SubmitError::SourceOfAStage { source_id: claim.source },
        })
    }

    #[cold]
    fn refused(&self, refused: Refused) -> SubmitError {
        let bound = if self.handle.lane == Lane::Derived { Bound::DerivedRing } else { Bound::Ring };
        match refused {
            Refused::Full => SubmitError::Backpressure { bound, fill: self.fill() },
            Refused::Closed => SubmitError::Closed,
        }
    }

    #[cold]
    fn tickets_exhausted(&self) -> SubmitError {
        if self.ring().is_closed() {
            return SubmitError::Closed;
        }
        let count = self.handle.shared().slab.count();
        SubmitError::Backpressure { bound: Bound::Tickets, fill: Fill { used: count, capacity: count } }
    }
}

impl Clone for Ingress {
    fn clone(&self) -> Self {
        Self::new(self.handle.shared.clone(), self.handle.lane)
    }
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress")
            .field("lane", &self.handle.lane)
            .field("fill", &self.fill())
            .finish_non_exhaustive()
    }
}

/// Gives a ticket back when its event did not get into the ring, also by a panic of its encoder.
struct Undo<'s> {
    shared: &'s Shared,
    id: TicketId,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.shared.slab.undo(self.id) {
            self.shared.room.notify(usize::MAX);
        }
    }
}

/// Rings when dropped.
struct RingLast<'s>(&'s Doorbell);

impl Drop for RingLast<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.ring();
    }
}

fn called(name: &str, version: u16) -> String {
    format!("{name} v{version}")
}

#[inline]
fn is_keyed(fields: &Fields) -> bool {
    !fields.idempotency_key.is_none()
}

#[inline]
fn copy(out: &mut [u8], bytes: &[u8]) -> Result<usize, SubmitError> {
    out.copy_from_slice(bytes);
    Ok(bytes.len())
}
