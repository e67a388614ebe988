//! The sequencer thread: order, log and feeds, joined.
//!
//! ```text
//!  round: log.poll ──► receipts, leaves, tail           what became durable is told
//!         sequencer.fill(slowest)                       what came in gets its place
//!         close ──► log.append ──► feeds.publish        the disk and the stages get the same bytes
//!         nothing done? arm, look once more, log.wait   one wait for disk, producers and actors
//! ```
//!
//! No timer closes a batch. With nothing on its way to the disk a batch goes at once; otherwise it fills until
//! it is worth a write of its own, and at most until the write before it is done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_actors::{Actors, Feeds, Sums, Wait};
use downbeat_record::{Batch, BatchKind, Checkpoint, Seq};
use downbeat_sequencer::{Cause, Clock, Ingress, Sequencer, Stop, SystemClock};
use downbeat_wal::{Log, NotReady};

use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::window_step::WindowStep;

/// How long the thread sleeps at most: a bound on how late anything is noticed that nobody rings for, such as
/// space on a full disk.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// How often it looks after the actors. An actor that is stuck fills the window, and then there is time for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Everything the sequencer thread owns.
pub(crate) struct Driver {
    pub(crate) log: Log,
    pub(crate) sequencer: Sequencer,
    pub(crate) ingress: Ingress,
    pub(crate) feeds: Feeds,
    pub(crate) actors: Arc<Actors>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) flow: String,
    pub(crate) batch_bytes_min: usize,
    /// What the thread does when there is nothing to do, and since when there is nothing.
    pub(crate) wait: Wait,
    pub(crate) idle_since: Option<Instant>,
    /// When it last looked after the actors.
    pub(crate) looked_at: Option<Instant>,
    /// Writes in flight at most.
    pub(crate) depth: usize,
    /// When a full window is looked at again.
    pub(crate) window_step: WindowStep,
    /// Batches that were appended and are not durable yet, while someone subscribes.
    pub(crate) unpublished: VecDeque<Arc<Batch>>,
    /// Checkpoints that the log had no room for yet; at most one per interval of the window.
    pub(crate) unlogged: VecDeque<Checkpoint>,
    /// The log had room when it was last asked.
    pub(crate) has_room: bool,
    pub(crate) refusing: bool,
    pub(crate) window_waits: u64,
    pub(crate) checkpoints: u64,
    pub(crate) phase: Phase,
}

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Open for business.
    Open,
    /// Nothing comes in from outside; what is in goes through.
    Draining,
    /// Everything went through; the last checkpoint is on its way.
    Checkpointing,
}

impl Driver {
    /// Runs until the engine is closed or abandoned, or something fails.
    pub(crate) fn run(mut self) -> Result<(), Cause> {
        let _told = ToldOfPanics(self.shared.clone());
        let outcome = self.rounds();
        if let Err(cause) = &outcome {
            self.shared.fail(cause.clone());
            self.sequencer.fail(cause.clone());
            // Whoever is on the way in gets the cause; the door stays shut.
            self.ingress.close();
            self.sequencer.derived().close();
            self.sequencer.fill(self.feeds.slowest());
        }
        self.publish_metrics();
        outcome?;
        if self.shared.is_abandoned() {
            return Ok(());
        }
        self.log.close(SystemClock.now()).map(drop).map_err(cause)
    }

    fn rounds(&mut self) -> Result<(), Cause> {
        loop {
            if self.shared.is_abandoned() {
                return Ok(());
            }
            let mut busy = self.settle()?;
            busy |= self.order()?;
            busy |= self.write()?;
            busy |= self.log_checkpoints()?;
            if let Some(fault) = self.actors.fault() {
                return Err(Arc::new(fault));
            }
            if self.shared.is_closing() && self.shut()? {
                return Ok(());
            }
            if busy {
                self.idle_since = None;
                continue;
            }
            // Stages get on without the disk, and duplicates leave nothing on it.
            self.publish_metrics();
            if !self.looks_again() {
                self.sleep()?;
            }
        }
    }

    /// Tells everyone what became durable.
    fn settle(&mut self) -> Result<bool, Cause> {
        let durable = self.log.poll().map_err(cause)?.seq;
        if durable <= self.shared.durable() {
            return Ok(false);
        }
        self.sequencer.durable(durable);
        self.actors.durable(durable);
        while self.unpublished.front().is_some_and(|batch| batch.next_seq() <= durable.next()) {
            let Some(batch) = self.unpublished.pop_front() else { break };
            self.shared.tail.publish(&batch);
        }
        self.shared.set_durable(durable);
        self.publish_metrics();
        Ok(true)
    }

    /// Gives a place to what came in, unless the log has no room for it.
    fn order(&mut self) -> Result<bool, Cause> {
        self.feeds.service();
        if self.sequencer.open_batch().0 == 0 && !self.log_has_room()? {
            return Ok(false);
        }
        let slowest = self.feeds.slowest();
        let placed = self.sequencer.fill(slowest);
        if matches!(self.sequencer.stopped(), Stop::Window | Stop::Batches) {
            self.window_waits += 1;
            self.window_step.full(slowest, Instant::now());
        } else {
            self.window_step.not_full();
        }
        Ok(placed > 0)
    }

    /// True when a whole batch fits into the log. While it does not, producers are told at the door.
    fn log_has_room(&mut self) -> Result<bool, Cause> {
        match self.log.ready() {
            Ok(()) => {
                self.has_room = true;
                if self.refusing {
                    self.refusing = false;
                    self.sequencer.refuse(None);
                }
                Ok(true)
            }
            // A segment that is being prepared is there in a moment; until then the ring is the buffer.
            Err(NotReady::Preparing { .. }) => {
                self.has_room = false;
                Ok(false)
            }
            Err(full) if full.is_temporary() => {
                self.has_room = false;
                if !self.refusing {
                    self.refusing = true;
                    self.sequencer.refuse(Some(cause(full)));
                }
                Ok(false)
            }
            Err(poisoned) => Err(cause(poisoned)),
        }
    }

    /// Hands the open batch to the disk and to the stages, if it is time.
    fn write(&mut self) -> Result<bool, Cause> {
        let (events, bytes) = self.sequencer.open_batch();
        let full = self.sequencer.stopped() == Stop::BatchFull;
        let worth_it = full || bytes >= self.batch_bytes_min;
        let due = self.log.in_flight() == 0 || (worth_it && self.log.in_flight() < self.depth);
        if events == 0 || !due {
            return Ok(false);
        }
        let wanted = self.shared.tail.is_wanted();
        let Some(batch) = self.sequencer.close_batch() else { return Ok(false) };
        self.log.append(batch).map_err(cause)?;
        self.feeds.publish(batch);
        self.shared.set_last(Seq(batch.next_seq().0 - 1));
        if wanted {
            self.unpublished.push_back(batch.clone());
        }
        Ok(true)
    }

    /// Writes the checkpoints that the stages have completed, as soon as the log takes them; true when one was.
    fn log_checkpoints(&mut self) -> Result<bool, Cause> {
        for sums in self.actors.checkpoints() {
            // The digests of seq s stand behind the batch that holds s; they say nothing about what comes later.
            let checkpoint = self.checkpoint(sums);
            self.unlogged.push_back(checkpoint);
        }
        let before = self.checkpoints;
        while self.log.in_flight() < self.depth && !self.unlogged.is_empty() && self.log_has_room()? {
            let Some(checkpoint) = self.unlogged.pop_front() else { break };
            let body = checkpoint.to_json();
            self.log.append_control(BatchKind::Checkpoint, SystemClock.now(), &body).map_err(cause)?;
            self.shared.set_checkpoint(checkpoint);
            self.checkpoints += 1;
        }
        Ok(self.checkpoints > before)
    }

    fn checkpoint(&self, sums: Sums) -> Checkpoint {
        let Sums { seq, stages } = sums;
        Checkpoint { seq, flow: self.flow.clone(), stages, leaves: self.actors.leaf_progress() }
    }

    /// What a checkpoint of the last event would say, if the one in the log does not: leaves have delivered since, or a
    /// stage was not there.
    fn last_words(&self) -> Option<Checkpoint> {
        let last = self.checkpoint(self.actors.newest_sums()?);
        (self.shared.checkpoint().as_ref() != Some(&last)).then_some(last)
    }

    /// Takes the next step of a shutdown; true when the last one is done.
    fn shut(&mut self) -> Result<bool, Cause> {
        let last = Seq(self.sequencer.next_seq().0 - 1);
        match self.phase {
            Phase::Open => {
                self.ingress.close();
                self.phase = Phase::Draining;
            }
            Phase::Draining => {
                if self.is_drained(last) {
                    self.sequencer.derived().close();
                    self.phase = Phase::Checkpointing;
                    if last > self.actors.checkpointed() {
                        self.actors.ask_checkpoint(last);
                    }
                }
            }
            Phase::Checkpointing => {
                // A checkpoint that was completed just now is written before this ends.
                let complete = self.actors.checkpointed() >= last;
                if !complete || self.log_checkpoints()? || !self.unlogged.is_empty() {
                    return Ok(false);
                }
                let Some(missing) = self.last_words() else { return Ok(true) };
                self.unlogged.push_back(missing);
                self.log_checkpoints()?;
            }
        }
        Ok(false)
    }

    /// True when the thread is to look for work once more instead of sleeping.
    fn looks_again(&mut self) -> bool {
        if self.wait == Wait::Park || self.log.unsettled() > 0 {
            return false;
        }
        let again = self.wait.looks_again(*self.idle_since.get_or_insert_with(Instant::now));
        if again {
            std::hint::spin_loop();
        }
        again && self.log.heartbeat_due().is_none_or(|due| due > Instant::now())
    }

    /// Sleeps until the disk, a producer or an actor has news.
    fn sleep(&mut self) -> Result<(), Cause> {
        // Producers ring only when something could be done for them: not while a write is on its way, the window
        // is full, the disk is, or a segment is being prepared, of which the log rings. What they submit meanwhile is in the
        // ring when that has passed.
        let stopped = self.sequencer.stopped();
        let for_input = stopped == Stop::Empty && self.log.in_flight() == 0 && self.has_room;
        if for_input {
            self.sequencer.doorbell().arm();
        }
        let goal = self.goal();
        self.feeds.arm(goal);
        let moved = self.actors.has_checkpoints()
            || self.actors.fault().is_some()
            || (for_input && self.sequencer.has_input())
            || (goal.is_some_and(|goal| goal > Seq::ZERO && self.feeds.slowest() >= goal))
            || (self.shared.is_closing() && self.can_shut());
        if !moved {
            self.doze()?;
        }
        self.sequencer.doorbell().disarm();
        Ok(())
    }

    /// Up to where the slowest cursor has to move before there is something to do.
    fn goal(&self) -> Option<Seq> {
        if self.shared.is_closing() {
            return Some(Seq::ZERO);
        }
        self.window_step.goal(self.feeds.published())
    }

    /// Waits, and writes the heartbeat that an idle log is due.
    fn doze(&mut self) -> Result<(), Cause> {
        let now = Instant::now();
        if self.looked_at.is_none_or(|before| now >= before + LOOK_EVERY) {
            self.looked_at = Some(now);
            self.actors.look();
        }
        let timeout = match self.log.heartbeat_due() {
            Some(due) if due > now => SLEEP_MAX.min(due - now),
            Some(_) if self.log.ready().is_ok() => {
                return self.log.heartbeat(SystemClock.now()).map(drop).map_err(cause);
            }
            // Without room a heartbeat waits: it protects what is acknowledged already, nobody waits for it.
            _ => SLEEP_MAX,
        };
        self.log.wait(Some(timeout)).map_err(cause)
    }

    /// True when a shutdown can take its next step.
    fn can_shut(&self) -> bool {
        let last = Seq(self.sequencer.next_seq().0 - 1);
        match self.phase {
            Phase::Open => true,
            Phase::Draining => self.is_drained(last),
            Phase::Checkpointing => self.actors.checkpointed() >= last && self.unlogged.is_empty(),
        }
    }

    /// True when everything that came in is durable, applied and delivered, and nothing more comes of it.
    fn is_drained(&self, last: Seq) -> bool {
        // The order of these looks matters: a stage that has passed the last event has emitted what it ever will,
        // so nothing can be on its way once the rings are found empty after that.
        let settled = self.sequencer.is_idle() && self.shared.durable() == last;
        settled && self.actors.is_quiet(last) && self.sequencer.is_idle()
    }

    pub(crate) fn publish_metrics(&self) {
        let stats = self.sequencer.stats();
        self.shared.counters.store(&Metrics {
            events: stats.events,
            payload_bytes: stats.bytes,
            duplicates: stats.duplicates,
            conflicts: stats.conflicts,
            batches: stats.batches,
            last_seq: self.sequencer.next_seq().0 - 1,
            durable_seq: self.shared.durable().0,
            applied_seq: self.feeds.slowest().0,
            ingress_bytes_max: stats.fill_max as u64,
            window_waits: self.window_waits,
            checkpoints: self.checkpoints,
        });
    }
}

/// Whoever waits for the engine hears of a panic of its thread; who submits hears from the sequencer.
struct ToldOfPanics(Arc<Shared>);

impl Drop for ToldOfPanics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error: Box<dyn std::error::Error + Send + Sync> =
                "the sequencer thread panicked; see its message".into();
            self.0.fail(error.into());
        }
    }
}

fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
    Arc::new(error)
}

#[cfg(test)]
mod tests {
    use downbeat_record::{BatchNo, Epoch};

    use super::*;

    #[test]
    fn a_panic_of_the_thread_that_orders_is_a_failure_of_the_engine() {
        let log = Arc::new(downbeat_wal::Memory::new());
        let shared = Shared::new(Seq::ZERO, (BatchNo(1), Epoch(1)), None, log);
        let told = shared.clone();
        let thread = std::thread::spawn(move || {
            let _told = ToldOfPanics(told);
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        assert!(shared.failure().is_some_and(|cause| cause.to_string().contains("panicked")));
        assert!(!shared.wait_durable(Seq(1)), "nobody waits for it any more");
    }
}
