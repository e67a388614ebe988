//! `downbeat-wal` on a thread of its own, behind the ingress and the order of `downbeat-sequencer`: what many
//! threads that commit need, without a flow.
//!
//! The thread does what that of an engine does, less the stages.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use downbeat_record::{Fields, Kind, Seq};
use downbeat_sequencer::{Clock as _, Ingress, Sequencer, Settings, Start, Stop, SystemClock, sequencer};
use downbeat_wal::Log;

use crate::log::engine::Submitter;
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;
use crate::log::wal;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str =
    "as downbeat-wal, its one writer fed by downbeat-sequencer; a receipt when the event is durable";

/// A batch that holds this much is written while others are.
const WORTH_A_WRITE: usize = 64 << 10;

/// An order and a log, on a thread.
pub(crate) struct Fed {
    ingress: Ingress,
    dir: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Shared {
    closing: AtomicBool,
    /// Someone waits until all spare segments are ready.
    spares: Mutex<Option<std::sync::mpsc::SyncSender<()>>>,
}

impl Fed {
    pub(crate) fn open(dir: &Path, shape: Shape) -> Result<Self> {
        let (opened, wait) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let (theirs, options) = (shared.clone(), wal::options(dir, shape));
        let thread = std::thread::Builder::new().name("order".to_owned()).spawn(move || {
            let (mut log, _) = Log::open(&options, |_| Ok(()))?;
            let settings = Settings::default();
            let (ingress, order) = sequencer(&settings, SystemClock, Start::fresh(&settings));
            log.register(order.batches());
            let bell = log.bell();
            order.doorbell().hang(move || bell.ring());
            opened.send(ingress).ok().context("nobody waits")?;
            Driver { log, order, shared: theirs, depth: options.depth }.run()
        })?;
        let ingress = wait.recv().map_err(|_| anyhow!("the log does not open"))?;
        Ok(Self { ingress, dir: dir.to_owned(), shared, thread: Some(thread) })
    }
}

impl Peer for Fed {
    fn committer(&self, _: usize, _: Shape) -> Result<Box<dyn Committer>> {
        // Any kind will do: no stage reads it.
        let fields = Fields { kind: Kind(1), ..Fields::default() };
        Ok(Box::new(Submitter::new(self.ingress.clone(), fields)))
    }

    fn settle(&self) -> Result<()> {
        let (ready, wait) = sync_channel(1);
        *self.shared.spares.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
        // The thread looks at least as often as it must for a heartbeat.
        wait.recv_timeout(Duration::from_secs(30)).context("segments are not made in time")
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        self.shared.closing.store(true, Ordering::Release);
        self.ingress.close();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the order panicked; see its message"))??;
        }
        wal::count(&self.dir)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.ingress.close();
        if let Some(thread) = self.thread.take() {
            // Its error was seen by whoever committed.
            drop(thread.join());
        }
    }
}

struct Driver {
    log: Log,
    order: Sequencer,
    shared: Arc<Shared>,
    /// Writes in flight at most.
    depth: usize,
}

impl Driver {
    fn run(mut self) -> Result<()> {
        let outcome = self.rounds();
        if let Err(error) = &outcome {
            self.order.fail(Arc::new(std::io::Error::other(format!("{error:#}"))));
            self.order.fill(Seq(self.order.next_seq().0 - 1));
        }
        outcome?;
        self.log.close(SystemClock.now())?;
        Ok(())
    }

    fn rounds(&mut self) -> Result<()> {
        let mut durable = Seq::ZERO;
        loop {
            let mut busy = false;
            let upto = self.log.poll()?.seq;
            if upto > durable {
                durable = upto;
                self.order.durable(durable);
                busy = true;
            }
            if self.log.ready().is_ok() || self.order.open_batch().0 > 0 {
                busy |= self.order.fill(durable) > 0;
            }
            busy |= self.write()?;
            self.tell_spares();
            if !busy {
                if self.shared.closing.load(Ordering::Acquire)
                    && self.order.is_idle()
                    && self.log.unsettled() == 0
                {
                    return Ok(());
                }
                self.sleep()?;
            }
        }
    }

    fn write(&mut self) -> Result<bool> {
        let (events, bytes) = self.order.open_batch();
        let worth_it = self.order.stopped() == Stop::BatchFull || bytes >= WORTH_A_WRITE;
        let due = self.log.in_flight() == 0 || (worth_it && self.log.in_flight() < self.depth);
        if events == 0 || !due {
            return Ok(false);
        }
        let Some(batch) = self.order.close_batch() else { return Ok(false) };
        self.log.append(batch)?;
        Ok(true)
    }

    fn tell_spares(&self) {
        if self.log.spare_segments() < wal::SPARE_SEGMENTS {
            return;
        }
        let waiting = self.shared.spares.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            // Who waits may have given up.
            let _ = waiting.try_send(());
        }
    }

    fn sleep(&mut self) -> Result<()> {
        let for_input = self.order.stopped() == Stop::Empty && self.log.in_flight() == 0;
        if for_input {
            self.order.doorbell().arm();
        }
        if !(for_input && self.order.has_input()) {
            match self.log.heartbeat_due() {
                Some(due) if due <= std::time::Instant::now() && self.log.ready().is_ok() => {
                    self.log.heartbeat(SystemClock.now())?;
                }
                _ => self.log.wait(Some(Duration::from_millis(1)))?,
            }
        }
        self.order.doorbell().disarm();
        Ok(())
    }
}
