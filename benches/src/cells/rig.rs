//! An engine in a directory of its own, driven from outside as a user would, and replayed when it is closed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use downbeat::{Ack, Engine, Event, Options, Seq, Ticket};
use downbeat_audit::ReplayOptions;
use downbeat_flow::Flow;
use downbeat_record::{Fields, Kind};
use downbeat_sequencer::{Ingress, SubmitError};

use super::flows::Parcel;
use super::measured::Replays;
use super::trouble::Trouble;
use crate::flow::Posted;
use crate::latency::{Latencies, Pacer};
use crate::run::Scratch;
use crate::table::Sample;

/// Receipts that a producer has under way before it waits for the oldest.
const UNDER_WAY: usize = 4_096;

/// How often a burst of events comes. Each of its events is due at the same time: one timer for each event would be
/// too fine for a thread that sleeps, and one that spins takes a core from the engine.
const BURST_EVERY: Duration = Duration::from_micros(50);

/// How long a rate is kept up before it is counted.
const UNSETTLED: Duration = Duration::from_millis(500);

/// An engine in a directory of its own.
pub struct Rig {
    engine: Engine,
    flow: Box<dyn Fn() -> Flow + Sync>,
    cell: String,
    scratch: Scratch,
}

/// What producers send.
#[derive(Clone, Copy, Debug)]
pub enum Traffic {
    /// [`Posted`], without receipts.
    Posted,
    /// [`Posted`], each with a receipt that is waited for.
    Receipts,
    /// [`Parcel`], of this many bytes, without receipts.
    Parcel(usize),
}

impl Rig {
    /// Opens a new log with a flow, in shards that each have a thread, and with what `set` makes of the options. `cell`
    /// is what it is called when its log does not replay.
    ///
    /// # Errors
    ///
    /// [`Trouble::Engine`].
    pub fn open(
        scratch: Scratch,
        cell: &str,
        flow: impl Fn() -> Flow + Sync + 'static,
        shards: u32,
        set: impl FnOnce(Options) -> Options,
    ) -> Result<Self, Trouble> {
        let options = Options::new(scratch.path()).shards(shards).threads(shards as usize);
        let engine = Engine::open(set(options), flow())?;
        Ok(Self { engine, flow: Box::new(flow), cell: cell.to_owned(), scratch })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// `producers` threads submit `events` events, the same number each; the time until all are durable and every
    /// stage has applied them.
    ///
    /// # Errors
    ///
    /// [`Trouble::Submit`], [`Trouble::Engine`].
    pub fn run(&self, producers: u64, events: u64, traffic: Traffic) -> Result<Sample, Trouble> {
        let from = self.engine.last_seq();
        let each = (events / producers).max(1);
        let last = Seq(from.0 + each * producers);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..producers)
                .map(|producer| {
                    scope.spawn(move || match traffic {
                        Traffic::Posted => self.send(producer, each),
                        Traffic::Receipts => self.with_receipts(producer, each),
                        Traffic::Parcel(bytes) => self.send_parcels(producer, each, bytes),
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("a producer does not panic"))
        })?;
        while self.engine.durable() < last || self.applied() < last {
            if let Some(failure) = self.engine.failure() {
                return Err(failure.into());
            }
            std::thread::park_timeout(Duration::from_micros(100));
        }
        Ok(Sample::new(each * producers, begun.elapsed()))
    }

    /// Closes the log and replays it on one thread: the digests must be those of the live run.
    ///
    /// # Errors
    ///
    /// [`Trouble::Engine`]; [`Trouble::Replay`] and [`Trouble::Digests`] when the log is another than the run.
    pub fn close(self) -> Result<Replays, Trouble> {
        self.engine.close()?;
        let cell = self.cell.clone();
        let replayed =
            downbeat_audit::replay(self.scratch.path(), &(self.flow)(), ReplayOptions::default(), |_| {})
                .map_err(|source| Trouble::Replay { cell, source: Box::new(source) })?;
        let (last, logged) = (self.engine.last_seq(), self.engine.checkpoint());
        let same = logged.is_some_and(|logged| logged.seq == last && logged.stages == replayed.stages);
        if same && replayed.events == last.0 {
            Ok(Replays { logs: 1, events: replayed.events })
        } else {
            Err(Trouble::Digests { cell: self.cell })
        }
    }

    fn applied(&self) -> Seq {
        self.engine.workers().iter().map(|worker| worker.cursor).min().unwrap_or_default()
    }

    fn door<E: Event>(&self) -> (Ingress, Kind) {
        (self.engine.ingress(), self.engine.kind_of::<E>().expect("the flow is on it"))
    }

    fn send(&self, producer: u64, events: u64) -> Result<(), SubmitError> {
        let (ingress, kind) = self.door::<Posted>();
        for number in 0..events {
            let (event, key) = Posted::nth(producer, number);
            ingress.send_blocking(&Fields { kind, key, ..Fields::default() }, &event)?;
        }
        Ok(())
    }

    fn send_parcels(&self, producer: u64, events: u64, bytes: usize) -> Result<(), SubmitError> {
        let (ingress, kind) = self.door::<Parcel>();
        let mut event = Parcel::new(bytes);
        for number in 0..events {
            let key = event.become_nth(producer, number);
            ingress.send_blocking(&Fields { kind, key, ..Fields::default() }, &event)?;
        }
        Ok(())
    }

    fn with_receipts(&self, producer: u64, events: u64) -> Result<(), SubmitError> {
        let (ingress, kind) = self.door::<Posted>();
        let mut under_way = VecDeque::<Ticket>::with_capacity(UNDER_WAY);
        for number in 0..events {
            if under_way.len() == UNDER_WAY {
                under_way.pop_front().map_or(Ok(()), |oldest| oldest.wait().map(drop))?;
            }
            let (event, key) = Posted::nth(producer, number);
            let fields = Fields { kind, key, ..Fields::default() };
            under_way.push_back(ingress.submit_blocking(&fields, &event, Ack::Durable)?);
        }
        under_way.into_iter().try_for_each(|ticket| ticket.wait().map(drop))
    }

    /// Events come `per_second` times a second, in bursts, whatever the engine does, and each is timed from when it was
    /// due: so an engine that stops for a while is charged for all events that it kept waiting. How long each took to
    /// its durable receipt, and how late it was submitted, which is part of that. What comes in the first half of a
    /// second, or in the first third when that is shorter, is not counted: threads that were idle or new do not lie well on
    /// the cores until the scheduler has learned what they do.
    ///
    /// # Errors
    ///
    /// [`Trouble::Submit`].
    pub fn at_rate(&self, per_second: u64, events: u64) -> Result<[Latencies; 2], Trouble> {
        let (mut sender, mut receiver) = rtrb::RingBuffer::<(Ticket, Instant)>::new(1 << 16);
        let unsettled = (events / 3).min((per_second as f64 * UNSETTLED.as_secs_f64()) as u64);
        let burst = (per_second as f64 * BURST_EVERY.as_secs_f64()).round().max(1.0) as u64;
        let begun = Instant::now() + Duration::from_millis(5);
        let caller = std::thread::current();
        // Who waits for a receipt is woken by that; a wake-up for every burst would take a core from the engine.
        let idle = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let generator = scope.spawn(move || {
                let (ingress, kind) = self.door::<Posted>();
                let (mut late, mut pacer) = (Latencies::default(), Pacer::here());
                for first in (0..events).step_by(burst as usize) {
                    let due = begun + Duration::from_nanos(first * 1_000_000_000 / per_second);
                    pacer.until(due);
                    for number in first..(first + burst).min(events) {
                        if number >= unsettled {
                            late.add(due.elapsed());
                        }
                        let (event, key) = Posted::nth(0, number);
                        let fields = Fields { kind, key, ..Fields::default() };
                        let mut entry = (ingress.submit_blocking(&fields, &event, Ack::Durable)?, due);
                        while let Err(rtrb::PushError::Full(back)) = sender.push(entry) {
                            entry = back;
                            std::thread::yield_now();
                        }
                    }
                    // Between the push and this look, as there between what is said and the look at the queue.
                    fence(Ordering::SeqCst);
                    if idle.load(Ordering::Relaxed) {
                        caller.unpark();
                    }
                }
                Ok::<_, SubmitError>(late)
            });
            let (mut times, mut taken, mut refused) = (Latencies::default(), 0, None);
            while taken < events {
                let Ok((ticket, due)) = receiver.pop() else {
                    if generator.is_finished() && receiver.is_empty() {
                        break;
                    }
                    let said = idle.swap(true, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    if said {
                        // It said so before it looked, so a burst that it has not seen wakes it.
                        std::thread::park_timeout(Duration::from_millis(10));
                    }
                    continue;
                };
                idle.store(false, Ordering::Relaxed);
                taken += 1;
                match ticket.wait() {
                    Ok(_) if taken <= unsettled => {}
                    Ok(_) => times.add(due.elapsed()),
                    // The others are still taken, for the generator may wait for room.
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            let late = generator.join().expect("the generator does not panic")?;
            refused.map_or(Ok([times, late]), |error| Err(error.into()))
        })
    }
}
