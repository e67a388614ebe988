//! `downbeat-wal` alone, on the thread that commits: the log has one writer.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use downbeat_record::{Batch, BatchKind, Fields, Seq, Timestamp};
use downbeat_wal::reader::Reader;
use downbeat_wal::{Log, Options};

use crate::event::Event;
use crate::log::crew::Work;
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "RWF_DSYNC write, or fdatasync that covers it; CRC and hash chain on; 256 KiB batches, \
     4 segments zero-filled before each sample";

/// The same, with several commits under way.
pub(crate) const SAYS_AHEAD: &str =
    "as downbeat-wal; one thread with 8 commits under way, each acknowledged when it is durable";

/// Batches that go round: as many as an engine has.
const BATCHES: u16 = 64;
/// Segments that are ready before a sample, so that none is filled meanwhile.
pub(crate) const SPARE_SEGMENTS: usize = 4;

/// A log in a directory of its own; opened on the thread that writes it.
pub(crate) struct Wal {
    dir: PathBuf,
    /// Commits under way.
    ahead: usize,
}

impl Wal {
    pub(crate) fn new(dir: &Path, ahead: usize) -> Self {
        Self { dir: dir.to_owned(), ahead }
    }
}

/// The settings of all rows of ours.
pub(crate) fn options(dir: &Path, shape: Shape) -> Options {
    Options { spare_segments: SPARE_SEGMENTS, segment_bytes: shape.file_bytes, ..Options::new(dir) }
}

/// Events in a closed log.
pub(crate) fn count(dir: &Path) -> Result<u64> {
    let mut reader = Reader::open(dir)?;
    let mut count = 0;
    for located in reader.batches() {
        let batch = located?.batch;
        if batch.kind() == BatchKind::Data {
            count += u64::from(batch.count());
        }
    }
    Ok(count)
}

/// Waits until the log has all the segments it was told to keep ready.
pub(crate) fn await_spares(log: &mut Log) -> Result<()> {
    let begun = Instant::now();
    while log.spare_segments() < SPARE_SEGMENTS {
        ensure!(begun.elapsed() < Duration::from_secs(30), "segments are not made in time");
        log.wait(Some(Duration::from_millis(20)))?;
    }
    Ok(())
}

impl Peer for Wal {
    fn committer(&self, index: usize, shape: Shape) -> Result<Box<dyn Committer>> {
        ensure!(index == 0, "the log has one writer");
        let options = options(&self.dir, shape);
        let (mut log, _) = Log::open(&options, |_| Ok(()))?;
        let bytes = options.batch_bytes;
        let batches: Vec<_> =
            (0..BATCHES).map(|index| Arc::new(Batch::with_capacity(bytes, index))).collect();
        log.register(&batches);
        Ok(Box::new(Writer { log: Some(log), batches, slot: 0, time: 0, ahead: self.ahead }))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        count(&self.dir)
    }
}

struct Writer {
    log: Option<Log>,
    batches: Vec<Arc<Batch>>,
    slot: usize,
    time: u64,
    ahead: usize,
}

impl Writer {
    /// Appends these events, in as many batches as they need; the last seq of them.
    fn append(&mut self, mut events: &[Event]) -> Result<Seq> {
        let Self { log: Some(log), batches, slot, time, .. } = self else {
            unreachable!("open until dropped")
        };
        while !events.is_empty() {
            log.poll()?;
            let Some(batch) = Arc::get_mut(&mut batches[*slot]).filter(|_| log.ready().is_ok()) else {
                log.wait(None)?;
                continue;
            };
            batch.open(log.next_seq());
            let mut pushed = 0;
            for event in events {
                if batch.push(&Fields::default(), Timestamp(*time + 1), event).is_err() {
                    break;
                }
                *time += 1;
                pushed += 1;
            }
            ensure!(pushed > 0, "not one event fits into a batch");
            events = &events[pushed..];
            log.append(&mut batches[*slot])?;
            *slot = (*slot + 1) % batches.len();
        }
        Ok(Seq(log.next_seq().0 - 1))
    }

    /// Waits until something becomes durable that is not yet.
    fn durable(&mut self, at_least: Seq) -> Result<Seq> {
        let Some(log) = &mut self.log else { unreachable!("open until dropped") };
        loop {
            let durable = log.poll()?.seq;
            if durable >= at_least {
                return Ok(durable);
            }
            log.wait(None)?;
        }
    }
}

impl Committer for Writer {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let last = self.append(events)?;
        self.durable(last).map(drop)
    }

    fn settle(&mut self) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), await_spares)
    }

    fn drive(&mut self, work: &mut Work<'_>) -> Result<()> {
        let mut under_way = VecDeque::new();
        while let Some(events) = work.next() {
            let begun = Instant::now();
            under_way.push_back((self.append(events)?, begun));
            // What has become durable meanwhile is acknowledged when it is seen.
            let wanted = if under_way.len() < self.ahead { Seq::ZERO } else { under_way[0].0 };
            let durable = self.durable(wanted)?;
            while under_way.front().is_some_and(|(last, _)| *last <= durable) {
                under_way.pop_front().into_iter().for_each(|(_, begun)| work.committed(begun));
            }
        }
        for (last, begun) in under_way {
            self.durable(last)?;
            work.committed(begun);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A log that is not closed loses nothing of what was acknowledged; the count shows it.
        drop(self.log.take().map(|log| log.close(Timestamp(self.time + 1))));
    }
}
