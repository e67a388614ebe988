//! The log as its one writer drives it.
//!
//! ```text
//!  ready? ─► append: seal ─► write submitted ─► root computed while the disk works
//!                                   │
//!  poll: reap ─► written ─► covering sync ─► durable watermark moves, in order
//! ```
//!
//! Methods stand in the order in which a driver calls them: [`Log::open`], [`Log::register`], then again and
//! again [`Log::ready`], [`Log::append`], [`Log::poll`], [`Log::wait`], and at the end [`Log::close`].
//!
//! Policy: nothing in flight, one durable write (`RWF_DSYNC`), which is the floor of the device; otherwise plain
//! writes, and one outstanding sync that covers the written prefix, which needs far fewer flushes. No timer
//! closes anything.
//!
//! Invariants: batch numbers and seqs are dense; every batch is chained to the one before; a batch carries the
//! highest batch that was durable when it was handed over; after the first failure (*poison*) the watermark
//! never moves again and nothing is tried a second time on the same file. A failed sync may drop the dirty
//! pages and report success the next time, so only a new open, which reads the device, knows what is there.
//!
//! Dropping a log without closing it loses nothing that was acknowledged: correctness needs no close marker.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::{
    BLOCK, Batch, BatchKind, BatchNo, Epoch, LogId, RecoveryNote, Root, SegmentId, Seq, Stamp, Timestamp,
    WholeBatch,
};

use crate::error::{LogError, NotReady, OpenError, Poison};
use crate::manifest::Manifest;
use crate::names;
use crate::options::{Options, Settings};
use crate::pipeline::{Durable, Flight, Pipeline, Progress};
use crate::pool::{self, Pool};
use crate::recovery::Visit;
use crate::segment::SegmentHeader;
use crate::storage::{Backend, Bell, Completion, File, Flush, Lock, Queue, Source, Storage, Write};

mod open;

pub use open::Recovered;

/// Set in the ticket of a sync; the other bits number them.
const SYNC: u64 = 1 << 63;
/// Where the ticket of a write says which try it is; the bits below number the writes.
const ATTEMPT: u32 = 48;
/// Tries are told apart up to this many; nothing is that late.
const ATTEMPTS: u16 = 1 << 15;
/// How often one write or sync may be interrupted or make no progress before it counts as failed.
const STALLS_MAX: u32 = 1_000;
/// How long after the last acknowledgement an idle log should write a heartbeat.
const HEARTBEAT_AFTER: Duration = Duration::from_millis(1);

/// A log open for writing. One thread drives it; it may be opened on another.
pub struct Log {
    settings: Settings,
    // Fields are dropped in this order: what is in flight first, the lock last.
    queue: Box<dyn Queue>,
    pipeline: Pipeline,
    pool: Pool,
    storage: Arc<dyn Storage>,
    log_id: LogId,
    epoch: Epoch,
    oldest: SegmentId,
    /// The segment being written; none until the first append.
    segment: Option<Current>,
    last_segment: SegmentId,
    next_batch: BatchNo,
    next_seq: Seq,
    /// What the next batch is chained to.
    link: Root,
    /// The root of the last batch, for the next segment header.
    last_root: Root,
    contracts: Option<Vec<u8>>,
    note: Option<RecoveryNote>,
    /// Batches since the last heartbeat have no mark behind them that says they were durable.
    unmarked: bool,
    idle_since: Instant,
    poison: Option<Arc<Poison>>,
    syncing: Option<Syncing>,
    /// Syncs handed over so far.
    syncs: u64,
    done: Vec<Completion>,
    _lock: Box<dyn Lock>,
}

/// The segment being written.
struct Current {
    file: Arc<dyn File>,
    salt: u32,
    size: u64,
    position: u64,
}

/// The outstanding sync.
struct Syncing {
    ticket: u64,
    segment: SegmentId,
    file: Arc<dyn File>,
    stalls: u32,
}

impl Log {
    /// Opens a log for writing: locks it, recovers, and shows every kept batch to `visit`, in order. `create` in
    /// the options makes a log where there is none.
    ///
    /// When it returns the new epoch is durable; no segment is used before the first append.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A log whose acknowledged data is damaged is not opened, and not changed.
    pub fn open(
        options: &Options,
        mut visit: impl FnMut(&WholeBatch<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<(Self, Recovered), OpenError> {
        let visit: &mut Visit<'_> = &mut visit;
        open::open(options, visit)
    }

    /// Tells the kernel about the buffers of these batches, whose index must be their place here. Returns false
    /// when it would not have them (`RLIMIT_MEMLOCK`), which costs a little speed and nothing else.
    ///
    /// The batches must stay allocated until the log is dropped: the kernel keeps their pages.
    pub fn register(&mut self, batches: &[Arc<Batch>]) -> bool {
        self.queue.register(batches)
    }

    /// Is there room for one more batch of the largest size? Asked *before* seqs are assigned: then a full disk
    /// is backpressure and nothing is lost.
    ///
    /// # Errors
    ///
    /// Why there is none, and whether waiting helps.
    pub fn ready(&self) -> Result<(), NotReady> {
        if let Some(poison) = &self.poison {
            return Err(NotReady::Poisoned(Arc::clone(poison)));
        }
        // Twice the size, so that a control batch in between takes nothing away.
        if self.segment.as_ref().is_some_and(|segment| segment.has_room(2 * self.settings.batch_bytes)) {
            return Ok(());
        }
        self.pool.work();
        match self.pool.state() {
            Ok(()) => Ok(()),
            Err((segment, failure)) => Err(self.not_ready(segment, failure)),
        }
    }

    fn not_ready(&self, segment: SegmentId, failure: Option<pool::Failure>) -> NotReady {
        let path = || self.storage.path(&names::segment(segment));
        match failure {
            Some(pool::Failure { cause, lost: true }) => NotReady::Lost { path: path(), cause },
            Some(pool::Failure { cause, .. }) if !pool::is_lost(&cause) => {
                NotReady::Full { path: path(), cause }
            }
            // Nothing was tried yet, or what was is not believed before the second time.
            _ => NotReady::Preparing { segment },
        }
    }

    /// Seals a batch and hands it to the disk. On return it is on its way, and its root is known.
    ///
    /// The log keeps a clone of the `Arc` until the batch is durable; only then can the batch be unique, and be
    /// filled, again.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the batch then has no place in the log.
    ///
    /// # Panics
    ///
    /// When the `Arc` is not unique, the batch is empty or larger than the options say, or it does not begin
    /// with the seq that comes next.
    pub fn append(&mut self, batch: &mut Arc<Batch>) -> Result<BatchNo, LogError> {
        assert!(!batch.is_empty(), "a data batch without events");
        self.put(batch)
    }

    /// Appends a batch without events: contracts, a checkpoint, a heartbeat. The newest contracts are written
    /// again at the start of every segment, so that each segment explains itself.
    ///
    /// # Errors
    ///
    /// As [`Log::append`].
    ///
    /// # Panics
    ///
    /// When the body is larger than a batch may be, or the kind is `Data`.
    pub fn append_control(
        &mut self,
        kind: BatchKind,
        timestamp: Timestamp,
        body: &[u8],
    ) -> Result<BatchNo, LogError> {
        let batch_no = self.put(&mut Arc::new(Batch::control(kind, self.next_seq, timestamp, body)))?;
        if kind == BatchKind::Contracts {
            self.contracts = Some(body.to_vec());
        }
        Ok(batch_no)
    }

    fn put(&mut self, batch: &mut Arc<Batch>) -> Result<BatchNo, LogError> {
        self.advance()?;
        let (len, max) = (batch.padded_len(), self.settings.batch_bytes);
        assert!(len <= max, "a batch of {len} bytes, the options allow {max}");
        if !self.segment.as_ref().is_some_and(|segment| segment.has_room(len)) {
            self.roll(batch.kind(), batch.timestamp())?;
        }
        while self.pipeline.writing() >= self.settings.depth {
            self.wait(None)?;
            self.advance()?;
        }
        let batch_no = self.launch(batch);
        self.hand_over()?;
        // The disk is at work; this takes 10 µs per 64 KiB meanwhile, and only the next batch needs it.
        self.link = batch.root();
        self.last_root = self.link;
        Ok(batch_no)
    }

    /// Stamps a batch and queues its write.
    fn launch(&mut self, batch: &mut Arc<Batch>) -> BatchNo {
        let (found, expected) = (batch.first_seq(), self.next_seq);
        assert!(found == expected, "a batch from seq {found}, the next one is {expected}");
        let segment = self.segment.as_mut().expect("a segment was begun");
        let batch_no = self.next_batch;
        let stamp = Stamp {
            batch_no,
            epoch: self.epoch,
            salt: segment.salt,
            prev_root: self.link,
            durable: self.pipeline.durable().batch_no,
            clock_error_ns: self.settings.clock_error_ns,
        };
        Arc::get_mut(batch).expect("a batch is appended while nobody else holds it").seal(&stamp);

        self.next_batch = batch_no.next();
        self.next_seq = batch.next_seq();
        self.unmarked = batch.kind() != BatchKind::Heartbeat;
        let offset = segment.position;
        segment.position += batch.padded_len() as u64;
        let file = Arc::clone(&segment.file);
        let dsync = self.pipeline.is_empty();
        let source = Source::Batch(Arc::clone(batch));
        self.fly(file, source, offset, dsync);
        batch_no
    }

    /// Begins the next segment: its header, what recovery cut, the contracts. All of it is made durable together
    /// with the first batches; there is nothing to wait for.
    fn roll(&mut self, kind: BatchKind, timestamp: Timestamp) -> Result<(), LogError> {
        self.pool.work();
        let Some(prepared) = self.pool.take() else {
            let (segment, failure) = self.pool.state().err().unwrap_or((self.last_segment, None));
            return Err(LogError::NotReady(self.not_ready(segment, failure)));
        };
        let salt = match self.storage.random() {
            Ok(salt) => salt,
            Err(source) => return Err(self.poisoned("drawing a salt", prepared.segment, 0, source)),
        };
        let header = SegmentHeader {
            log_id: self.log_id,
            segment: prepared.segment,
            epoch: self.epoch,
            salt,
            first_seq: self.next_seq,
            first_batch_no: self.next_batch,
            prev_root: self.last_root,
            segment_size: prepared.size,
            created: timestamp,
        };
        let block = header.to_block();
        self.link = Root::of(&block);
        self.last_segment = prepared.segment;
        self.fly(Arc::clone(&prepared.file), Source::Block(Arc::new(block)), 0, false);
        self.segment = Some(Current {
            file: prepared.file,
            salt: header.batch_salt(),
            size: prepared.size,
            position: BLOCK as u64,
        });
        self.post_manifest();

        if let Some(note) = self.note.take() {
            let body = serde_json::to_vec(&note).expect("a note is plain data");
            self.lead(BatchKind::Recovery, timestamp, &body);
        }
        let contracts = self.contracts.take_if(|_| kind != BatchKind::Contracts);
        if let Some(body) = contracts {
            self.lead(BatchKind::Contracts, timestamp, &body);
            self.contracts = Some(body);
        }
        Ok(())
    }

    /// Puts a control batch at the start of a segment.
    fn lead(&mut self, kind: BatchKind, timestamp: Timestamp, body: &[u8]) {
        let mut batch = Arc::new(Batch::control(kind, self.next_seq, timestamp, body));
        self.launch(&mut batch);
        self.link = batch.root();
        self.last_root = self.link;
    }

    fn fly(&mut self, file: Arc<dyn File>, source: Source, offset: u64, dsync: bool) {
        let mark = Durable { batch_no: BatchNo(self.next_batch.0 - 1), seq: Seq(self.next_seq.0 - 1) };
        let progress = Progress::Writing { done: 0, stalls: 0 };
        let flight = Flight {
            mark,
            segment: self.last_segment,
            file: Arc::clone(&file),
            source: source.clone(),
            offset,
            dsync,
            attempt: 0,
            progress,
        };
        let ticket = self.pipeline.push(flight);
        self.queue.write(Write { ticket, file, source, skip: 0, offset, dsync });
    }

    fn post_manifest(&self) {
        self.pool.post(self.manifest(false));
    }

    fn manifest(&self, closed: bool) -> Manifest {
        let durable = self.pipeline.durable();
        Manifest {
            // The pool counts them.
            generation: 0,
            log_id: self.log_id,
            epoch: self.epoch,
            oldest: self.oldest,
            newest: self.last_segment,
            durable: durable.batch_no,
            durable_seq: durable.seq,
            closed,
        }
    }

    /// Where the log is: for readers in the same process, which a path might lead elsewhere.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// Reaps what has ended, starts the sync that is due, and says how far the log is durable. Never waits for
    /// the disk (the blocking backend has done its waiting in `append`).
    ///
    /// # Errors
    ///
    /// [`LogError::Poisoned`] from the first failed write or sync on.
    pub fn poll(&mut self) -> Result<Durable, LogError> {
        self.advance()?;
        self.pool.work();
        Ok(self.pipeline.durable())
    }

    fn advance(&mut self) -> Result<(), LogError> {
        if let Some(poison) = &self.poison {
            return Err(LogError::Poisoned(Arc::clone(poison)));
        }
        loop {
            let before = self.pipeline.durable();
            let mut done = std::mem::take(&mut self.done);
            if let Err(source) = self.queue.reap(&mut done) {
                return Err(self.poisoned("asking the kernel", self.last_segment, 0, source));
            }
            let ended = done.len();
            for completion in done.drain(..) {
                self.complete(completion)?;
            }
            self.done = done;
            if self.pipeline.durable() != before {
                self.idle_since = Instant::now();
            }
            let begun = self.begin_sync();
            if ended > 0 || begun {
                self.hand_over()?;
            }
            // A backend that works within the call has the answer already.
            if !begun || self.queue.backend() != Backend::Blocking {
                return Ok(());
            }
        }
    }

    fn begin_sync(&mut self) -> bool {
        let Some((segment, file)) = self.pipeline.begin_sync() else { return false };
        self.sync(segment, file, 0);
        true
    }

    fn sync(&mut self, segment: SegmentId, file: Arc<dyn File>, stalls: u32) {
        self.syncs += 1;
        let ticket = SYNC | self.syncs;
        self.syncing = Some(Syncing { ticket, segment, file: Arc::clone(&file), stalls });
        self.queue.sync(Flush { ticket, file });
    }

    fn hand_over(&mut self) -> Result<(), LogError> {
        match self.queue.submit() {
            Ok(()) => Ok(()),
            Err(source) => Err(self.poisoned("handing over to the kernel", self.last_segment, 0, source)),
        }
    }

    fn complete(&mut self, completion: Completion) -> Result<(), LogError> {
        let Completion { ticket, result } = completion;
        if ticket & SYNC != 0 {
            let outstanding = self.syncing.take_if(|outstanding| outstanding.ticket == ticket);
            let Some(Syncing { segment, file, stalls, .. }) = outstanding else {
                return Err(self.told_twice());
            };
            match result {
                Ok(_) => self.pipeline.synced(),
                // Interrupted before it began; that is no failure of the device.
                Err(error) if is_retryable(&error) && stalls < STALLS_MAX => {
                    self.sync(segment, file, stalls + 1);
                }
                Err(source) => return Err(self.poisoned("fdatasync", segment, 0, source)),
            }
            return Ok(());
        }
        let (number, attempt) = (ticket & ((1 << ATTEMPT) - 1), (ticket >> ATTEMPT) as u16);
        let Some(flight) = self.pipeline.outstanding(number, attempt) else { return Err(self.told_twice()) };
        let Progress::Writing { mut done, mut stalls } = flight.progress else {
            panic!("write {number} is outstanding: {:?}", flight.progress);
        };
        let len = flight.source.bytes().len();
        let before = done;
        let failure = match result {
            Ok(0) => Some(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(written) => {
                done += written;
                assert!(done <= len, "{done} bytes written of {len}");
                None
            }
            Err(error) if is_retryable(&error) => None,
            Err(error) => Some(error),
        };
        if failure.is_none() && done == len {
            self.pipeline.written(number);
            return Ok(());
        }
        // A direct write goes on at a block; the rest of the block is written a second time, the same bytes.
        done -= done % BLOCK;
        if done == before {
            stalls += 1;
        }
        let failure = match failure {
            None if stalls > STALLS_MAX => Some(io::Error::new(io::ErrorKind::TimedOut, "no progress")),
            other => other,
        };
        let (offset, segment) = (flight.offset, flight.segment);
        if let Some(source) = failure {
            return Err(self.poisoned("write", segment, offset + done as u64, source));
        }
        flight.progress = Progress::Writing { done, stalls };
        flight.attempt = (attempt + 1) % ATTEMPTS;
        let write = Write {
            ticket: number | u64::from(flight.attempt) << ATTEMPT,
            file: Arc::clone(&flight.file),
            source: flight.source.clone(),
            skip: done,
            offset,
            dsync: flight.dsync,
        };
        self.queue.write(write);
        Ok(())
    }

    /// A completion of something that has ended: what the queue says of anything else is worth nothing either. Taken
    /// for the end of a later sync it would acknowledge what that sync has not reached.
    #[cold]
    fn told_twice(&mut self) -> LogError {
        let what = io::Error::new(io::ErrorKind::InvalidData, "the end of an operation was told twice");
        self.poisoned("asking the kernel", self.last_segment, 0, what)
    }

    fn poisoned(
        &mut self,
        operation: &'static str,
        segment: SegmentId,
        offset: u64,
        source: io::Error,
    ) -> LogError {
        let path = self.storage.path(&names::segment(segment));
        let durable = self.pipeline.durable().batch_no;
        let poison = Arc::new(Poison { operation, path, offset, durable, source });
        LogError::Poisoned(Arc::clone(self.poison.get_or_insert(poison)))
    }

    /// Waits until something has completed, the [`Bell`] rings, or the timeout is over; then look for work and
    /// [`Log::poll`].
    ///
    /// # Errors
    ///
    /// As [`Log::poll`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<(), LogError> {
        if let Some(poison) = &self.poison {
            return Err(LogError::Poisoned(Arc::clone(poison)));
        }
        match self.queue.wait(timeout) {
            Ok(()) => Ok(()),
            Err(source) => Err(self.poisoned("waiting for the kernel", self.last_segment, 0, source)),
        }
    }

    /// What wakes [`Log::wait`] from another thread. It also rings by itself when a segment has become ready.
    pub fn bell(&self) -> Bell {
        self.queue.bell()
    }

    /// How far the log is durable, as of the last poll.
    pub fn durable(&self) -> Durable {
        self.pipeline.durable()
    }

    /// The seq that the next batch must begin with.
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// The number that the next batch will get.
    pub fn next_batch(&self) -> BatchNo {
        self.next_batch
    }

    /// Writes that have not ended: when 0, the disk is waiting for a batch; at the depth of the options, the
    /// next append waits.
    pub fn in_flight(&self) -> usize {
        self.pipeline.writing()
    }

    /// Writes that are not durable.
    pub fn unsettled(&self) -> usize {
        self.pipeline.len()
    }

    /// Segments that are ready and hold nothing.
    pub fn spare_segments(&self) -> usize {
        self.pool.ready()
    }

    /// What moves the bytes.
    pub fn backend(&self) -> Backend {
        self.queue.backend()
    }

    /// The identity of the log.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The fencing number of this writer.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When an idle log should write a heartbeat, which protects the last acknowledged batch by a durable mark
    /// behind it: a millisecond after the last acknowledgement. `None` while something is in flight, and when
    /// the last batch is protected already.
    pub fn heartbeat_due(&self) -> Option<Instant> {
        let due = self.unmarked && self.pipeline.is_empty() && self.poison.is_none();
        due.then(|| self.idle_since + HEARTBEAT_AFTER)
    }

    /// Writes a heartbeat.
    ///
    /// # Errors
    ///
    /// As [`Log::append`].
    pub fn heartbeat(&mut self, timestamp: Timestamp) -> Result<BatchNo, LogError> {
        self.append_control(BatchKind::Heartbeat, timestamp, &[])
    }

    /// Waits until everything appended is durable.
    ///
    /// # Errors
    ///
    /// As [`Log::poll`].
    pub fn drain(&mut self) -> Result<Durable, LogError> {
        loop {
            let durable = self.poll()?;
            if self.pipeline.is_empty() {
                return Ok(durable);
            }
            self.wait(None)?;
        }
    }

    /// Finishes in order: waits for everything, writes a heartbeat that carries the durable mark, and notes in the
    /// manifest that nothing was in flight, so that the next open need not look behind the end.
    ///
    /// # Errors
    ///
    /// As [`Log::poll`], and [`LogError::Close`] when only the note could not be written.
    pub fn close(mut self, timestamp: Timestamp) -> Result<Durable, LogError> {
        self.drain()?;
        if self.unmarked {
            match self.heartbeat(timestamp) {
                Ok(_) => {
                    self.drain()?;
                }
                // No room is no reason not to close: the manifest carries the mark as well.
                Err(LogError::NotReady(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.pool.stop();
        // A cut that no batch has noted yet must be found again.
        match self.pool.write(self.manifest(self.note.is_none())) {
            Ok(()) => Ok(self.pipeline.durable()),
            Err((slot, source)) => {
                Err(LogError::Close { path: self.storage.path(slot), source: Arc::new(source) })
            }
        }
    }
}

impl Current {
    fn has_room(&self, bytes: usize) -> bool {
        self.position + bytes as u64 <= self.size
    }
}

fn is_retryable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}
