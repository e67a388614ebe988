//! Subscriptions: every event from a seq on, out of the log first, then live.

use std::sync::Arc;

use downbeat_record::rkyv::Archived;
use downbeat_record::{Batch, BatchKind, DecodeError, Event, Place, Record, Seq};
use event_listener::Listener;

use crate::error::{Error, ErrorKind};
use crate::history::reader;
use crate::readers::ReaderId;
use crate::shared::Shared;

/// Every event from a seq on, in order, once each.
///
/// It holds one batch and nothing of the engine's window: however slow it is, nobody waits for it. It reads the
/// newest batches from memory and falls back to the log when it is behind them. Subscriptions share the few readers of
/// the log that are open at a time, so that ten thousand which have stopped reading hold neither files nor threads.
pub struct Subscription {
    shared: Arc<Shared>,
    next: Seq,
    current: Option<(Arc<Batch>, Place)>,
    reader: ReaderId,
}

/// One event, held together with the batch it lies in.
#[derive(Clone)]
pub struct Subscribed {
    batch: Arc<Batch>,
    slot: u32,
    seq: Seq,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, from: Seq) -> Self {
        shared.tail.join();
        let reader = shared.readers.id();
        Self { shared, next: from, current: None, reader }
    }

    /// The seq of the event that comes next.
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The next event that is durable already; `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] when the log cannot be read.
    pub fn try_next(&mut self) -> Result<Option<Subscribed>, Error> {
        loop {
            if let Some((batch, place)) = self.current.take() {
                let mut records = batch.resume(place);
                let found = records.by_ref().find(|record| record.seq >= self.next);
                if let Some(Record { seq, slot, .. }) = found {
                    let place = records.place();
                    self.next = seq.next();
                    self.current = Some((batch.clone(), place));
                    return Ok(Some(Subscribed { batch, slot, seq }));
                }
            }
            if self.next > self.shared.durable() {
                return Ok(None);
            }
            let batch = match self.shared.tail.batch_with(self.next) {
                Some(batch) => batch,
                None => self.read_log()?,
            };
            let place = batch.records().place();
            self.current = Some((batch, place));
        }
    }

    /// Waits for the next event; `None` when the engine was closed and everything was given out.
    ///
    /// # Errors
    ///
    /// As [`Subscription::try_next`], and [`ErrorKind::Poisoned`] when the engine failed.
    pub async fn next(&mut self) -> Result<Option<Subscribed>, Error> {
        loop {
            let moved = self.shared.moved();
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            if self.is_over()? {
                return Ok(None);
            }
            moved.await;
        }
    }

    /// Like [`Subscription::next`], blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Subscription::next`].
    pub fn next_blocking(&mut self) -> Result<Option<Subscribed>, Error> {
        loop {
            let moved = self.shared.moved();
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            if self.is_over()? {
                return Ok(None);
            }
            moved.wait();
        }
    }

    fn is_over(&self) -> Result<bool, Error> {
        if let Some(cause) = self.shared.failure() {
            return Err(Error::new(ErrorKind::Poisoned, cause.to_string()));
        }
        // The order matters: the watermark does not move after the end, so what is durable was given out.
        Ok(self.shared.has_ended() && self.next > self.shared.durable())
    }

    /// The batch that holds the next event, from the log.
    fn read_log(&mut self) -> Result<Arc<Batch>, Error> {
        let io = |error| Error::because(ErrorKind::Io, error);
        let mut source = match self.shared.readers.take(self.reader) {
            // It stands elsewhere when the batches since came out of memory.
            Some(reader) if reader.next_seq() == self.next => reader,
            _ => reader(&self.shared, self.next).map_err(io)?,
        };
        while let Some(located) = source.next_batch().map_err(io)? {
            if located.batch.kind() == BatchKind::Data && located.batch.next_seq() > self.next {
                self.shared.readers.put(self.reader, source);
                return Ok(located.batch);
            }
        }
        let message = format!("the log ends before seq {} although it is durable", self.next);
        Err(Error::new(ErrorKind::Io, message).at(self.next))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.tail.leave();
        self.shared.readers.take(self.reader);
    }
}

impl Subscribed {
    /// The event with its header, in place.
    pub fn record(&self) -> Record<'_> {
        self.batch.record(self.slot, self.seq).expect("a subscription names an event of its batch")
    }

    /// Its place in the order.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Its payload as an `E`, in place.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is not an `E`; compare its kind with [`crate::Engine::kind_of`] first.
    pub fn view<E: Event>(&self) -> Result<&Archived<E>, DecodeError> {
        E::view(self.record().payload())
    }
}

#[cfg(test)]
mod tests {
    use downbeat_record::{BatchNo, Epoch};
    use downbeat_wal::Memory;

    use super::*;

    /// Found by reading: something could become durable, and be acknowledged, after the last look.
    #[test]
    fn a_subscription_ends_when_the_thread_that_orders_has_ended() {
        let shared = Shared::new(Seq::ZERO, (BatchNo(1), Epoch(1)), None, Arc::new(Memory::new()));
        let events = Subscription::new(shared.clone(), Seq(1));
        shared.abandon();
        assert!(!events.is_over().unwrap());
        shared.end();
        assert!(events.is_over().unwrap());
    }
}
