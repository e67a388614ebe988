//! Submits traffic at full speed, with a bounded number of receipts outstanding, and measures how long each took.
//!
//! ```text
//!  traffic ──submit──► engine           in flight: a queue of at most IN_FLIGHT_MAX tickets, oldest first
//!     ▲                  │ receipts     full? wait for the oldest
//!     └──────────────────┘
//! ```
//!
//! A latency is from just before the submission to when the receipt is looked at: every [`LOOK_EVERY`] events, or
//! at once while the queue is full. With so many in flight it is mostly the time in the queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use downbeat::{Engine, ErrorKind, Seq, Ticket};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::known::Traffic;
use crate::page::{count, number};
use crate::signals::Signals;

/// Receipts outstanding at most.
pub(crate) const IN_FLIGHT_MAX: usize = 4_096;
/// How long a receipt is waited for before it is asked whether the disk is full.
const PATIENCE: Duration = Duration::from_millis(200);
/// Events between two looks at the oldest ticket.
const LOOK_EVERY: u64 = 8;
/// Events between two steps of the progress bar.
const STEP_EVERY: u64 = 8_192;
/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// What came of it.
pub(crate) struct Pumped {
    /// Events that have a receipt.
    pub(crate) acknowledged: u64,
    /// Those of them that were in the log before.
    pub(crate) duplicates: u64,
    /// The highest place a receipt named.
    pub(crate) last: Seq,
    /// From submission to receipt, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the first submission to the last receipt.
    pub(crate) took: Duration,
    /// The signal that ended it early.
    pub(crate) signal: Option<i32>,
}

impl Pumped {
    /// A percentile of the latency.
    pub(crate) fn ack(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }
}

/// Submits all of it, or until a signal comes, and waits for every receipt.
///
/// # Errors
///
/// Why the engine took no more, at which event, and what is durable.
pub(crate) fn pump(
    engine: &Engine,
    traffic: &mut dyn Traffic,
    signals: &Signals,
    progress: &ProgressBar,
) -> Result<Pumped, Failure> {
    let latency_max = LATENCY_MAX.as_nanos() as u64;
    let latency = Histogram::new_with_max(latency_max, 3).expect("three digits up to an hour");
    let mut pump = Pump {
        in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
        pumped: Pumped {
            acknowledged: 0,
            duplicates: 0,
            last: Seq::ZERO,
            latency,
            took: Duration::ZERO,
            signal: None,
        },
    };
    let begun = Instant::now();
    let outcome = pump.all(engine, traffic, signals, progress);
    pump.pumped.took = begun.elapsed();
    progress.finish_and_clear();
    let Err((index, error)) = outcome else { return Ok(pump.pumped) };
    let failure = |error: downbeat::Error| Failure::from(error).about(traffic.name(index));
    let before = format!("{} events before it are durable", number(pump.pumped.acknowledged));
    if error.kind() != ErrorKind::Conflict {
        return Err(failure(error).and(before));
    }
    // The engine is well; what is on its way goes through.
    engine.close()?;
    let new = pump.new_in_the_end();
    // Whoever typed the command has no other key to give.
    let failure =
        failure(error).and("the log was made of another input; give this one a new --log").and(before);
    if new == 0 {
        return Err(failure);
    }
    let (events, last) = (count(new, "event", "events"), engine.last_seq());
    Err(failure.and(format_args!("the log took {events} of this input and ends at seq {last} now")))
}

struct Pump {
    in_flight: VecDeque<(Instant, Ticket)>,
    pumped: Pumped,
}

impl Pump {
    fn all(
        &mut self,
        engine: &Engine,
        traffic: &mut dyn Traffic,
        signals: &Signals,
        progress: &ProgressBar,
    ) -> Result<(), (u64, downbeat::Error)> {
        for submitted in 0u64.. {
            self.pumped.signal = signals.asked();
            if self.pumped.signal.is_some() {
                break;
            }
            if self.in_flight.len() == IN_FLIGHT_MAX {
                self.take_oldest(engine, None)?;
            }
            let now = Instant::now();
            if submitted.is_multiple_of(LOOK_EVERY) {
                while self.in_flight.front().is_some_and(|(_, ticket)| ticket.is_done()) {
                    self.take_oldest(engine, Some(now))?;
                }
                if submitted.is_multiple_of(STEP_EVERY) {
                    progress.set_position(submitted);
                }
            }
            match traffic.submit_next(engine) {
                Some(Ok(ticket)) => self.in_flight.push_back((now, ticket)),
                Some(Err(error)) => return Err((submitted, error)),
                None => break,
            }
        }
        while !self.in_flight.is_empty() {
            self.take_oldest(engine, None)?;
        }
        Ok(())
    }

    /// Takes the receipt of the oldest ticket; without a time it may have to be waited for. An error comes with
    /// the index of its event: receipts are taken in the order of submission.
    fn take_oldest(&mut self, engine: &Engine, now: Option<Instant>) -> Result<(), (u64, downbeat::Error)> {
        let Some((begun, mut ticket)) = self.in_flight.pop_front() else { return Ok(()) };
        let receipt = loop {
            match ticket.wait_timeout(PATIENCE) {
                Some(Ok(receipt)) => break receipt,
                Some(Err(error)) => return Err((self.pumped.acknowledged, error.into())),
                // It may wait in the ring for a disk that stays full.
                None => engine.check().map_err(|error| (self.pumped.acknowledged, error))?,
            }
        };
        let took = now.unwrap_or_else(Instant::now).duration_since(begun);
        self.pumped.latency.saturating_record(took.as_nanos() as u64);
        self.pumped.acknowledged += 1;
        self.pumped.duplicates += u64::from(receipt.duplicate);
        self.pumped.last = self.pumped.last.max(receipt.seq);
        Ok(())
    }

    /// After the engine was closed: how many of its events were not in the log before, those behind a refused one too.
    fn new_in_the_end(&mut self) -> u64 {
        let behind = self.in_flight.drain(..).filter_map(|(_, ticket)| ticket.wait().ok());
        let new = behind.filter(|receipt| !receipt.duplicate).count() as u64;
        self.pumped.acknowledged - self.pumped.duplicates + new
    }
}
