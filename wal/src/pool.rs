//! The pool: segments made ready ahead of the writer, so that rolling costs it nothing.
//!
//! Steps of preparing segment `n`, and what a crash after each leaves:
//!
//! ```text
//!  1 create n.seg.tmp, reserve its space      a .tmp file: removed at the next open
//!  2 fill it with zeros, paced                as 1
//!  3 sync it                                  as 1
//!  4 rename it to n.seg                       as 1, or as 5
//!  5 sync the directory                       a prepared segment, which the next open makes anew
//! ```
//!
//! The zeros matter: a write into space that was only reserved makes the filesystem convert it on every sync,
//! which doubles the time of a small commit. They are paced, because an unpaced fill disturbs the writer, as long
//! as a segment is ready: a writer that has used up the last one would wait, so then there is no pace.
//!
//! A full disk is met here, before any seq is assigned: [`Pool::state`] says why there is no segment, and the
//! preparation is tried again until it succeeds. The same thread writes the manifest, which the hot thread only
//! posts. In a single-threaded storage there is no thread and the caller drives [`Pool::work`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use downbeat_record::{AlignedBuf, SegmentId};

use crate::manifest::Manifest;
use crate::names;
use crate::storage::{Access, Bell, File, Storage};

/// Zeros are written in pieces of this many bytes, with a pause after each.
const PIECE: usize = 256 * 1024;
/// How long after a failure the preparation is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// A segment file that holds nothing and takes no time to write to.
pub(crate) struct Prepared {
    pub(crate) segment: SegmentId,
    pub(crate) file: Arc<dyn File>,
    pub(crate) size: u64,
}

/// Makes segments ready and writes the manifest, off the hot path.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    spare_segments: usize,
    zero_fill_bytes_per_second: u64,
    bell: Bell,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ready: VecDeque<Prepared>,
    /// The segment to prepare next.
    next: SegmentId,
    failure: Option<Failure>,
    manifest: Option<Manifest>,
    /// Of the manifest that was written last.
    generation: u64,
    closing: bool,
}

/// Why the last preparation did not succeed.
#[derive(Clone)]
pub(crate) struct Failure {
    pub(crate) cause: Arc<io::Error>,
    /// There is no place for files any more. Said only of the second try in a row: once may have been a stranger who
    /// removed one file.
    pub(crate) lost: bool,
}

impl Pool {
    /// A pool that begins with `next`, and makes that one ready at once; that this fails is no error here, the writer
    /// is told when it asks.
    pub(crate) fn start(
        storage: &Arc<dyn Storage>,
        settings: &crate::options::Settings,
        bell: Bell,
        next: SegmentId,
        generation: u64,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            storage: Arc::clone(storage),
            segment_bytes: settings.segment_bytes,
            spare_segments: settings.spare_segments,
            zero_fill_bytes_per_second: settings.zero_fill_bytes_per_second,
            bell,
            state: Mutex::new(State {
                ready: VecDeque::new(),
                next,
                failure: None,
                manifest: None,
                generation,
                closing: false,
            }),
            changed: Condvar::new(),
        });
        shared.prepare_next(false);
        let thread = if storage.single_threaded() {
            None
        } else {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name("downbeat-pool".into());
            Some(builder.spawn(move || shared.run())?)
        };
        Ok(Self { shared, thread })
    }

    /// Takes the next ready segment.
    pub(crate) fn take(&self) -> Option<Prepared> {
        let prepared = self.shared.state().ready.pop_front()?;
        // Only now is there something to do: who asks again and again must not put off the next try of a full disk.
        self.shared.changed.notify_one();
        Some(prepared)
    }

    /// How many segments are ready.
    pub(crate) fn ready(&self) -> usize {
        self.shared.state().ready.len()
    }

    /// True when a segment is ready; otherwise which one is awaited and why the last try failed.
    pub(crate) fn state(&self) -> Result<(), (SegmentId, Option<Failure>)> {
        let state = self.shared.state();
        if state.ready.is_empty() { Err((state.next, state.failure.clone())) } else { Ok(()) }
    }

    /// Has the manifest written soon, as the next generation; a newer one replaces one that is still waiting.
    pub(crate) fn post(&self, manifest: Manifest) {
        self.shared.state().manifest = Some(manifest);
        self.shared.changed.notify_one();
    }

    /// Writes the manifest now, as the next generation, for who has stopped the pool; an error comes with the slot.
    pub(crate) fn write(&self, manifest: Manifest) -> Result<(), (&'static str, io::Error)> {
        self.shared.write(manifest)
    }

    /// Does what there is to do, where there is no thread.
    pub(crate) fn work(&self) {
        if self.thread.is_none() {
            self.shared.write_posted();
            while self.shared.wants_segment() && self.shared.prepare_next(false) {}
        }
    }

    /// Ends the thread; a manifest that still waits is dropped, the caller writes a newer one.
    pub(crate) fn stop(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; the log is none the worse for it.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.state();
            loop {
                if state.closing {
                    return;
                }
                if state.manifest.is_some() {
                    break;
                }
                if state.ready.len() >= self.spare_segments {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                } else if state.failure.is_some() {
                    let retry = self.changed.wait_timeout(state, RETRY);
                    let (woken, timeout) = retry.unwrap_or_else(PoisonError::into_inner);
                    state = woken;
                    if timeout.timed_out() {
                        break;
                    }
                } else {
                    break;
                }
            }
            drop(state);
            self.write_posted();
            if self.wants_segment() {
                self.prepare_next(true);
            }
        }
    }

    fn wants_segment(&self) -> bool {
        let state = self.state();
        !state.closing && state.ready.len() < self.spare_segments
    }

    fn write_posted(&self) {
        let Some(manifest) = self.state().manifest.take() else { return };
        // The manifest only ever says less than the segments do; a failure here costs nothing but that.
        let _ = self.write(manifest);
    }

    /// It is numbered only now, and only one that was written counts: so the slots take turns, and the one that is not
    /// written to holds.
    fn write(&self, manifest: Manifest) -> Result<(), (&'static str, io::Error)> {
        let generation = self.state().generation + 1;
        let manifest = Manifest { generation, ..manifest };
        write_manifest(&*self.storage, &manifest)
            .map_err(|error| (names::MANIFEST[manifest.slot()], error))?;
        self.state().generation = generation;
        Ok(())
    }

    /// Prepares one segment; true when it is ready.
    fn prepare_next(&self, paced: bool) -> bool {
        let segment = self.state().next;
        let outcome = self.prepare(segment, paced);
        let mut state = self.state();
        let done = outcome.is_ok();
        match outcome {
            Ok(file) => {
                state.ready.push_back(Prepared { segment, file, size: self.segment_bytes });
                state.next = SegmentId(segment.0 + 1);
                state.failure = None;
            }
            Err(cause) => {
                let lost =
                    state.failure.as_ref().is_some_and(|before| is_lost(&before.cause)) && is_lost(&cause);
                state.failure = Some(Failure { cause: Arc::new(cause), lost });
            }
        }
        drop(state);
        self.bell.ring();
        done
    }

    fn prepare(&self, segment: SegmentId, paced: bool) -> io::Result<Arc<dyn File>> {
        let unfinished = names::unfinished(segment);
        match self.storage.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.storage.open(&unfinished, Access::Create)?;
        let made = self.fill(&*file, paced).and_then(|()| {
            self.storage.rename(&unfinished, &names::segment(segment))?;
            self.storage.sync_dir()
        });
        if let Err(error) = made {
            // Gives the space back; the name may be gone already.
            let _ = self.storage.remove(&unfinished);
            return Err(error);
        }
        Ok(file)
    }

    fn fill(&self, file: &dyn File, paced: bool) -> io::Result<()> {
        file.allocate(self.segment_bytes)?;
        let zeros = AlignedBuf::zeroed(PIECE.min(self.segment_bytes as usize));
        let begun = Instant::now();
        let mut offset = 0;
        while offset < self.segment_bytes {
            let len = (self.segment_bytes - offset).min(PIECE as u64) as usize;
            offset += write_all(file, &zeros[..len], offset)?;
            if paced && self.pause(begun, offset) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the log is being closed"));
            }
        }
        file.sync_data()
    }

    /// Waits until `bytes` may have been written since `begun`, unless the writer has nothing left: then it would
    /// wait itself. True when the log is being closed.
    fn pause(&self, begun: Instant, bytes: u64) -> bool {
        let due = Duration::from_secs_f64(bytes as f64 / self.zero_fill_bytes_per_second as f64);
        let mut state = self.state();
        while !state.closing && !state.ready.is_empty() {
            let Some(rest) = due.checked_sub(begun.elapsed()).filter(|rest| !rest.is_zero()) else { break };
            let woken = self.changed.wait_timeout(state, rest);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.closing
    }
}

/// A directory that was removed, or a file system that takes no more writes: waiting does not bring them back.
pub(crate) fn is_lost(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem)
}

/// Writes until everything is written; says how much that was.
pub(crate) fn write_all(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<u64> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64, false) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => done += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.len() as u64)
}

/// Writes a manifest to its slot, durably.
pub(crate) fn write_manifest(storage: &dyn Storage, manifest: &Manifest) -> io::Result<()> {
    let name = names::MANIFEST[manifest.slot()];
    let (file, created) = match storage.open(name, Access::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (storage.open(name, Access::Create)?, true),
        result => (result?, false),
    };
    write_all(&*file, &manifest.to_block(), 0)?;
    file.sync_data()?;
    if created { storage.sync_dir() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use downbeat_record::{BatchNo, Epoch, LogId, Seq};

    use super::*;
    use crate::options::Options;
    use crate::storage::Memory;
    use crate::survey::read_manifest;

    /// Found by reading: one that was posted and never written had taken a number, and the next one went to the slot of the
    /// only one that held.
    #[test]
    #[cfg_attr(miri, ignore = "segments are filled with zeros")]
    fn the_slots_take_turns_whatever_was_posted_and_not_written() {
        let memory = Memory::new();
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        let settings = Options::in_memory(&memory).checked().unwrap();
        let (queue, _) = storage.queue(1).unwrap();
        let mut pool = Pool::start(&storage, &settings, queue.bell(), SegmentId(1), 4).unwrap();
        pool.stop();
        let manifest = Manifest {
            generation: 0,
            log_id: LogId([7; 16]),
            epoch: Epoch(1),
            oldest: SegmentId(1),
            newest: SegmentId(1),
            durable: BatchNo(0),
            durable_seq: Seq(0),
            closed: false,
        };
        for generation in 5..8 {
            pool.post(manifest);
            pool.write(manifest).unwrap();
            let newest = read_manifest(&*storage).unwrap().expect("one was written");
            assert_eq!(newest.generation, generation);
        }
    }
}
