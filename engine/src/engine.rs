//! The handle: open, submit, ask, subscribe, close.

use std::any::TypeId;
use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use downbeat_actors::{Actors, CommandRefused, Commands, HopLatency, Ports, Wait, WorkerStatus, pin};
use downbeat_flow::{EventType, Flow, FlowError, LeafDef, Stage, StageDef};
use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{
    BatchKind, Checkpoint, Digest, Event, Fields, Key, Kind, LeafProgress, Seq, StageDigest,
};
use downbeat_sequencer::{Clock, Fill, Ingress, Start, SubmitError, SystemClock, sequencer};
use downbeat_wal::segment::HeaderError;
use downbeat_wal::{Log, NotReady, OpenError, ScanError};

use crate::driver::{Driver, Phase};
use crate::error::{Error, ErrorKind};
use crate::history::LogHistory;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::recover::{Bound, Recovery};
use crate::shared::{Cause, Shared};
use crate::submit::Submission;
use crate::subscribe::Subscription;
use crate::window_step::WindowStep;

/// An open engine. Share it by reference or in an `Arc`; every method takes `&self`.
///
/// Dropping it stops without draining: what was acknowledged is durable, the rest may or may not be. It waits only
/// for the event that a stage or a leaf is at. Use [`Engine::close`] to let everything through first.
pub struct Engine {
    ingress: Ingress,
    kinds: Vec<(TypeId, Kind)>,
    shared: Arc<Shared>,
    actors: Arc<Actors>,
    wake: downbeat_wal::Bell,
    thread: Mutex<Thread>,
    opened: Opened,
    /// Events behind which a worker lags.
    lag_max: u64,
}

/// The thread that orders.
enum Thread {
    Running(JoinHandle<Result<(), Cause>>),
    /// It has ended, and why if that was a failure.
    Ended(Option<String>),
}

/// What the thread that opened an engine hands to the one that asked.
struct Parts {
    ingress: Ingress,
    kinds: Vec<(TypeId, Kind)>,
    shared: Arc<Shared>,
    actors: Arc<Actors>,
    wake: downbeat_wal::Bell,
    opened: Opened,
    lag_max: u64,
}

/// Who is behind by more than this part of the window lags.
const LAG_PART: u64 = 4;

/// What opening found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The identity of the log.
    pub log_id: downbeat_record::LogId,
    /// The fencing number of this opening.
    pub epoch: downbeat_record::Epoch,
    /// The last seq that was in the log.
    pub last_seq: Seq,
    /// What writes the log.
    pub backend: downbeat_wal::Backend,
    /// What was cut off the end of the log, if anything.
    pub cut: Option<downbeat_record::RecoveryNote>,
    /// Lines worth showing to a person.
    pub notices: Vec<String>,
}

impl Engine {
    /// Opens the log, recovers, applies what is in it to the flow, and starts to take events. Blocks for as long
    /// as that takes.
    ///
    /// When it returns, every stage is where it was when the log ended, and its digests are those in the log.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`], [`ErrorKind::Corrupt`], [`ErrorKind::Diverged`], [`ErrorKind::Invalid`] for settings
    /// and contracts that cannot be, [`ErrorKind::Full`], [`ErrorKind::Io`], [`ErrorKind::Poisoned`] when a leaf or a stage fails
    /// while the log is read. What the log says is as it was. A leaf that is behind has been told nothing that follows from events
    /// after the last checkpoint at which the code gave what the log has.
    pub fn open(options: Options, flow: Flow) -> Result<Self, Error> {
        // The log belongs to one thread from its birth: the kernel lets only the thread that made a ring use it.
        let (opened, wait) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("downbeat-order".to_owned())
            .spawn(move || {
                let (driver, parts) = match assemble(options, flow) {
                    Ok((driver, parts)) => (Some(driver), Ok(parts)),
                    Err(error) => (None, Err(error)),
                };
                let wanted = opened.send(parts).is_ok();
                driver.filter(|_| wanted).map_or(Ok(()), Driver::run)
            })
            .map_err(|error| Error::because(ErrorKind::Io, error))?;
        let parts = wait.recv().unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Poisoned,
                "the sequencer thread panicked while opening; see its message",
            ))
        })?;
        let Parts { ingress, kinds, shared, actors, wake, opened, lag_max } = parts;
        let thread = Mutex::new(Thread::Running(thread));
        Ok(Self { ingress, kinds, shared, actors, wake, thread, opened, lag_max })
    }

    /// Begins to submit an event; see [`Submission`] for how to go on.
    #[inline]
    pub fn submit<'a, E: Event>(&'a self, event: &'a E) -> Submission<'a, E> {
        let wanted = TypeId::of::<E>();
        let kind = self.kinds.iter().find(|(id, _)| *id == wanted).map(|(_, kind)| *kind);
        Submission::new(&self.ingress, event, kind)
    }

    /// The door itself, for a producer on a thread of its own: clones of an [`Ingress`] do not share a cache line.
    ///
    /// The kind of an event has to be [`Engine::kind_of`] its type; under that of another type it is refused. Bytes that are
    /// encoded already are held to the contract of their kind. A kind that the log has no contract for is refused, and so is what
    /// passes for an event of a stage.
    pub fn ingress(&self) -> Ingress {
        self.ingress.clone()
    }

    /// Whether the log takes events at the moment. Events that were accepted before the disk was full wait until there
    /// is space, and so do their tickets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] while the disk is full, [`ErrorKind::Poisoned`] once the log has failed.
    pub fn check(&self) -> Result<(), Error> {
        Ok(self.ingress.check()?)
    }

    /// The number that this log gives to an event type; `None` when the type was not declared.
    pub fn kind_of<E: Event>(&self) -> Option<Kind> {
        let wanted = TypeId::of::<E>();
        self.kinds.iter().find(|(id, _)| *id == wanted).map(|(_, kind)| *kind)
    }

    /// Every event from `from` on, first out of the log, then live, without a gap and without a duplicate.
    /// Events show when they are durable.
    pub fn subscribe(&self, from: Seq) -> Subscription {
        Subscription::new(self.shared.clone(), from.max(Seq(1)))
    }

    /// Folds over the states of a stage, as they are between two events; `None` when the flow has no such stage.
    /// The keys of a shard come in order; shards come one after the other.
    pub fn fold_states<S: Stage, A: Send + 'static>(
        &self,
        stage: &str,
        start: A,
        fold: impl Fn(A, Key, &S::State) -> A + Send + Sync + 'static,
    ) -> Option<A> {
        self.actors.fold_states::<S, A>(stage, start, fold)
    }

    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The counters, as of the last round of the sequencer thread: a twentieth of a second ago at most while it runs.
    pub fn metrics(&self) -> Metrics {
        self.shared.counters.load()
    }

    /// How full the ingress ring is, in bytes.
    pub fn fill(&self) -> Fill {
        self.ingress.fill()
    }

    /// The last durable seq.
    pub fn durable(&self) -> Seq {
        self.shared.durable()
    }

    /// The last seq handed to the log.
    pub fn last_seq(&self) -> Seq {
        self.shared.last()
    }

    /// The newest checkpoint in the log: the digests of every stage at its seq, which replaying the log must give
    /// again. After [`Engine::close`] it is that of the last seq.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.shared.checkpoint()
    }

    /// Where every worker and every leaf stands, and how it is. It asks none of them, so it answers whatever they do;
    /// that one is stalled shows [`STALLED_AFTER`](crate::STALLED_AFTER) after the engine first saw it at a turn.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.actors.status(self.shared.last(), self.lag_max)
    }

    /// How long values took from stage to stage on actors, sampled since the engine was opened; `None` when none
    /// was measured.
    pub fn hop_latency(&self) -> Option<HopLatency> {
        self.actors.hop_latency()
    }

    /// Why the engine takes nothing more, if that is so.
    pub fn failure(&self) -> Option<Error> {
        self.shared.failure().map(|cause| Error::new(ErrorKind::Poisoned, cause.to_string()))
    }

    /// Lets everything that is in go through: ordered, durable, applied, delivered; logs a last checkpoint, and
    /// closes the log. Events that come in after the call are refused with [`ErrorKind::Closed`].
    ///
    /// It takes as long as that takes: with a full disk until there is space, with a stage that hangs for ever. To
    /// give up on what is not durable yet, drop the engine instead. A stage or a leaf must not call it: it waits for them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`] when the engine had failed or fails now; what was acknowledged is in the log. Asked again, it
    /// says the same.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.close();
        self.join()
    }

    /// Makes the actor that runs `stage` panic outside `apply`: for tests of supervision.
    #[doc(hidden)]
    pub fn crash(&self, stage: &str) {
        self.actors.crash(stage);
    }

    fn join(&self) -> Result<(), Error> {
        self.wake.ring();
        // Who closes at the same time waits here as well: it is over for both or for none.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = match std::mem::replace(&mut *thread, Thread::Ended(None)) {
            Thread::Ended(failure) => failure,
            Thread::Running(thread) => {
                let failure = match thread.join() {
                    Ok(outcome) => outcome.err().map(|cause| cause.to_string()),
                    Err(_) => Some("the sequencer thread panicked; see its message".to_owned()),
                };
                self.shared.end();
                failure
            }
        };
        *thread = Thread::Ended(failure.clone());
        failure.map_or(Ok(()), |failure| Err(Error::new(ErrorKind::Poisoned, failure)))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.abandon();
        // Whoever needs to know what became of the engine closes it.
        let _ = self.join();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("opened", &self.opened)
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

/// Opens the log, recovers, starts the actors: everything but the sequencer's rounds.
fn assemble(options: Options, flow: Flow) -> Result<(Driver, Parts), Error> {
    options.check()?;
    let types: Vec<_> = flow.event_types().into_iter().chain(options.events.iter().copied()).collect();
    if let Some(EventType { name, version, .. }) = EventType::clash(&types) {
        return Err(Error::because(ErrorKind::Invalid, FlowError::SameContract { name, version }));
    }
    let mut recovery = Recovery::new(&options.order);
    let log_options = downbeat_wal::Options { batch_bytes: options.order.batch_bytes, ..options.log };
    let (mut log, recovered) = Log::open(&log_options, |batch| recovery.visit(batch)).map_err(open_error)?;
    recovery.check_stages(&flow)?;
    let bound = recovery.bind(&flow, &options.events);
    let Bound { kinds, submitted, grew } =
        bound.map_err(|error| Error::because(ErrorKind::Invalid, error))?;
    let contracts = grew.then(|| recovery.contracts.to_json());
    let max = log_options.batch_bytes - BATCH_HEADER_LEN;
    if let Some(body) = contracts.as_ref().filter(|body| body.len() > max) {
        let what = format!(
            "the contracts take {} bytes and a batch holds {max}: raise `batch_bytes`, or declare fewer or smaller \
             event types",
            body.len()
        );
        return Err(Error::new(ErrorKind::Invalid, what));
    }
    let needed = largest_checkpoint(&flow).to_json().len();
    if needed > max {
        let what = format!(
            "a checkpoint of this flow may take {needed} bytes and a batch holds {max}: raise `batch_bytes`, or give \
             stages and leaves shorter names"
        );
        return Err(Error::new(ErrorKind::Invalid, what));
    }

    let last_seq = recovery.last_seq;
    let start = Start {
        next_seq: last_seq.next(),
        last_timestamp: recovery.last_timestamp,
        window: recovery.window,
        contracts: Some(Arc::new(recovery.contracts)),
    };
    let (ingress, order) = sequencer(&options.order, SystemClock, start);
    log.register(order.batches());
    let wake = log.bell();
    let rung = wake.clone();
    order.doorbell().hang(move || rung.ring());

    let own = (recovered.last_batch.next(), recovered.epoch);
    let shared = Shared::new(last_seq, own, recovery.checkpoints.last().cloned(), log.storage());
    let ports = Ports {
        history: Arc::new(LogHistory::new(shared.clone())),
        commands: Arc::new(Derived(order.derived())),
        recovered: last_seq,
        checkpoints: recovery.checkpoints,
    };
    let settings = downbeat_actors::Settings { batches: order.batches().len(), ..options.actors };
    let crowded = crowded(options.core, options.wait, &settings);
    let name = flow.name().to_owned();
    let rung = wake.clone();
    let (actors, feeds) = Actors::start(flow, kinds, settings, ports, move || rung.ring())?;
    // In this order: where the rest fails feeds go first, so that no rebuild waits for an answer out of them.
    let (actors, feeds) = (Arc::new(actors), feeds);
    if let Some(body) = contracts {
        // Not before: an opening that fails leaves the log as it was.
        wait_for_room(&mut log)?;
        let declared = log.append_control(BatchKind::Contracts, SystemClock.now(), &body);
        declared.and_then(|_| log.drain()).map_err(log_error)?;
    }
    // Last: a thread starts where the one is that starts it.
    let pinned = pin(options.core);

    let driver = Driver {
        log,
        sequencer: order,
        ingress: ingress.clone(),
        feeds,
        actors: actors.clone(),
        shared: shared.clone(),
        flow: name,
        batch_bytes_min: options.batch_bytes_min,
        wait: options.wait,
        idle_since: None,
        looked_at: None,
        depth: log_options.depth,
        window_step: WindowStep::of(options.order.window_events),
        unpublished: VecDeque::new(),
        unlogged: VecDeque::new(),
        has_room: true,
        refusing: false,
        window_waits: 0,
        checkpoints: 0,
        phase: Phase::Open,
    };
    driver.publish_metrics();
    let mut notices = recovered.notices;
    if !pinned {
        notices.push(
            "the thread that orders could not be kept on one core: the system does not allow it".to_owned(),
        );
    }
    notices.extend(crowded);
    let opened = Opened {
        log_id: recovered.log_id,
        epoch: recovered.epoch,
        last_seq,
        backend: recovered.backend,
        cut: recovered.cut,
        notices,
    };
    let lag_max = options.order.window_events / LAG_PART;
    Ok((driver, Parts { ingress, kinds: submitted, shared, actors, wake, opened, lag_max }))
}

/// What to say where threads that are to keep a core each have to share some, or never sleep and leave too few to others.
/// Asked before this thread goes to its own.
fn crowded(core: Option<usize>, wait: Wait, flow: &downbeat_actors::Settings) -> Option<String> {
    let there = std::thread::available_parallelism().map_or(1, NonZero::get);
    let pinned = core.max(flow.first_core.map(|first| first.saturating_add(flow.threads.max(1) - 1)));
    if let Some(wanted) = pinned.map(|last| last.saturating_add(1)).filter(|wanted| *wanted > there) {
        return Some(format!(
            "threads that are to keep a core each need {wanted} cores, and {there} may be used: some share one"
        ));
    }
    let polling = if flow.wait == Wait::Poll { flow.threads.max(1) } else { 0 };
    let polling = polling.saturating_add(usize::from(wait == Wait::Poll));
    (polling > 0 && polling.saturating_add(CORES_LEFT) > there).then(|| {
        format!(
            "{polling} threads never sleep, and {there} cores may be used: whoever submits and the kernel wait for them, for \
             milliseconds; `Mode::Shared` does not do that"
        )
    })
}

/// Cores that the kernel and producers need beside threads that never sleep.
const CORES_LEFT: usize = 2;

/// What a checkpoint of the flow may come to take.
fn largest_checkpoint(flow: &Flow) -> Checkpoint {
    let (digest, seq) = (Digest(u128::MAX), Seq(u64::MAX));
    let digests =
        |stage: &StageDef| StageDigest { stage: stage.name.to_string(), outputs: digest, state: digest };
    let progress = |leaf: &LeafDef| LeafProgress { leaf: leaf.name.to_string(), delivered: seq };
    Checkpoint {
        seq,
        flow: flow.name().to_owned(),
        stages: flow.stages().iter().map(digests).collect(),
        leaves: flow.leaves().iter().map(progress).collect(),
    }
}

/// The front door for events that stages emit.
struct Derived(Ingress);

impl Commands for Derived {
    fn try_submit(&self, fields: &Fields, payload: &[u8]) -> Result<(), CommandRefused> {
        match self.0.try_send_bytes(fields, payload) {
            Ok(()) => Ok(()),
            // A full disk passes; the worker keeps the command and is rung again.
            Err(SubmitError::Backpressure { .. } | SubmitError::Full { .. }) => Err(CommandRefused::Busy),
            Err(SubmitError::TooLarge { len, max }) => Err(CommandRefused::TooLarge { len, max }),
            Err(_) => Err(CommandRefused::Closed),
        }
    }
}

/// Waits while the first segment is being prepared.
fn wait_for_room(log: &mut Log) -> Result<(), Error> {
    loop {
        match log.ready() {
            Ok(()) => return Ok(()),
            // The log rings by itself when it is there.
            Err(NotReady::Preparing { .. }) => {
                log.wait(Some(Duration::from_millis(50))).map_err(log_error)?
            }
            Err(full) if full.is_temporary() => return Err(Error::because(ErrorKind::Full, full)),
            Err(poisoned) => return Err(Error::because(ErrorKind::Poisoned, poisoned)),
        }
    }
}

fn open_error(error: OpenError) -> Error {
    let kind = match &error {
        OpenError::Locked { .. } => ErrorKind::Locked,
        OpenError::Settings { .. } | OpenError::NotFound { .. } => ErrorKind::Invalid,
        OpenError::Scan(ScanError::Io { .. } | ScanError::Unreadable { .. }) => ErrorKind::Io,
        OpenError::Scan(ScanError::OtherEncoding { source: HeaderError::Numbers, .. }) => ErrorKind::Corrupt,
        // Nothing is wrong with the log: this build does not read it.
        OpenError::Scan(
            ScanError::NewerFormat { .. } | ScanError::NewerBatch { .. } | ScanError::OtherEncoding { .. },
        ) => ErrorKind::Invalid,
        OpenError::Scan(_) => ErrorKind::Corrupt,
        OpenError::Refused { .. } => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    };
    Error::because(kind, error)
}

fn log_error(error: downbeat_wal::LogError) -> Error {
    Error::because(ErrorKind::Io, error)
}
