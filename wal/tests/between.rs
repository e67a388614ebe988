//! A writer that does something between any two looks of a reader: the reader sees it then or later, and calls nothing
//! damaged that is only new.

#[path = "common/log.rs"]
mod common;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::{append, memory_options, open};
use downbeat_record::{SegmentId, Timestamp};
use downbeat_wal::storage::{Access, Entry, File, Handle, Lock, Queue, Storage};
use downbeat_wal::{Log, Memory, ReadOptions, Reader, names};

type Meanwhile = Box<dyn FnOnce() + Send>;

/// What a reader sees of a directory in memory; before one of its looks something happens there.
#[derive(Clone)]
struct Watched {
    memory: Memory,
    /// Looks until then, and what happens.
    due: Arc<Mutex<(usize, Option<Meanwhile>)>>,
}

impl Watched {
    fn new(memory: &Memory, looks: usize, meanwhile: impl FnOnce() + Send + 'static) -> Self {
        let due = Arc::new(Mutex::new((looks, Some(Box::new(meanwhile) as Meanwhile))));
        Self { memory: memory.clone(), due }
    }

    fn look(&self) {
        let mut due = self.due.lock().unwrap();
        match &mut *due {
            (0, meanwhile) => {
                if let Some(meanwhile) = meanwhile.take() {
                    meanwhile();
                }
            }
            (left, _) => *left -= 1,
        }
    }

    fn has_happened(&self) -> bool {
        self.due.lock().unwrap().1.is_none()
    }
}

impl Storage for Watched {
    fn path(&self, name: &str) -> PathBuf {
        self.memory.path(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        self.look();
        self.memory.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        assert_eq!(access, Access::Read, "a reader changes nothing");
        self.look();
        Ok(Arc::new(WatchedFile { file: self.memory.open(name, access)?, storage: self.clone() }))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn sync_dir(&self) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn lock(&self, _: &str) -> io::Result<Box<dyn Lock>> {
        unreachable!("a reader takes no lock")
    }

    fn holder(&self, name: &str) -> Option<u32> {
        self.memory.holder(name)
    }

    fn queue(&self, _: usize) -> io::Result<(Box<dyn Queue>, Option<String>)> {
        unreachable!("a reader writes nothing")
    }

    fn random(&self) -> io::Result<u64> {
        unreachable!("a reader names nothing")
    }
}

struct WatchedFile {
    file: Arc<dyn File>,
    storage: Watched,
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.storage.look();
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, _: &[u8], _: u64, _: bool) -> io::Result<usize> {
        unreachable!("a reader changes nothing")
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn handle(&self) -> Handle<'_> {
        self.file.handle()
    }
}

/// Events of a writer are known by their length.
const FIRST: usize = 5_000;
const SECOND: usize = 4_900;

fn write(log: &mut Log, batches: usize, len: usize) {
    for _ in 0..batches {
        append(log, 3, len);
        log.drain().unwrap();
    }
}

/// A log that somebody writes.
fn written(memory: &Memory, batches: usize) -> Option<Log> {
    let (mut log, _, _) = open(&memory_options(memory)).unwrap();
    write(&mut log, batches, FIRST);
    Some(log)
}

/// A log that is closed: a reader reads all of it, and stands where the next batch will be.
fn closed(memory: &Memory, batches: usize) -> Option<Log> {
    written(memory, batches)?.close(Timestamp(1 << 39)).unwrap();
    None
}

/// Another writer opens the log, writes into another segment, and closes.
fn another(memory: &Memory) {
    let (mut log, _, _) = open(&memory_options(memory)).unwrap();
    write(&mut log, 20, SECOND);
    log.close(Timestamp(1 << 40)).unwrap();
}

/// The events there are for a reader, asked for twice.
fn seen(storage: Arc<dyn Storage>, how: ReadOptions) -> Vec<Vec<u8>> {
    let mut reader = Reader::on(storage, how).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        for located in reader.batches() {
            seen.extend(located.unwrap().batch.records().map(|record| record.payload().bytes().to_vec()));
        }
    }
    seen
}

/// Lets something happen before each look of a reader, once, in a log of so many batches that is made anew for it. Fifteen of
/// them fill a segment.
fn before_each_look(
    batches: &[usize],
    begin: impl Fn(&Memory, usize) -> Option<Log>,
    meanwhile: impl Fn(Option<Log>, &Memory) + Copy + Send + 'static,
) {
    for (batches, verify_chain) in batches.iter().flat_map(|n| [(*n, true), (*n, false)]) {
        for looks in 0.. {
            let memory = Memory::new();
            let (log, there) = (begin(&memory, batches), memory.clone());
            let watched = Watched::new(&memory, looks, move || meanwhile(log, &there));
            let how = ReadOptions { verify_chain, ..ReadOptions::default() };
            let seen = seen(Arc::new(watched.clone()), how);
            if !watched.has_happened() {
                assert!(looks > 10, "it was hardly looked at");
                break;
            }
            let (_, _, kept) = open(&memory_options(&memory)).unwrap();
            assert!(kept.events.starts_with(&seen), "look {looks}, {batches} batches: {} events", seen.len());
            // Behind the last look at marks it is the next reading that sees more.
            assert!(
                seen.len() >= 3 * (batches - 1),
                "look {looks}, {batches} batches: {} events",
                seen.len()
            );
        }
    }
}

#[test]
fn a_writer_that_goes_on_into_other_segments_and_closes() {
    before_each_look(&[1, 14, 15, 16], written, |log, _| {
        let mut log = log.unwrap();
        write(&mut log, 20, FIRST);
        log.close(Timestamp(1 << 40)).unwrap();
    });
}

#[test]
fn a_writer_that_dies_and_another_one_that_goes_on() {
    for begin in [written, closed] {
        before_each_look(&[1, 14, 15, 16], begin, |log, memory| {
            drop(log);
            another(memory);
        });
    }
}

#[test]
fn a_writer_that_dies_another_one_that_goes_on_and_what_was_in_flight_lands_late() {
    // Where it would have been the first batch of a segment, the other writer makes that segment anew, as another file.
    before_each_look(&[1, 14, 16], written, |log, memory| {
        let mut log = log.unwrap();
        let files = || [1, 2].map(|id| memory.bytes(&names::segment(SegmentId(id))).unwrap());
        let put = |name: &str, bytes: &[u8]| memory.tamper(name, |there| there.copy_from_slice(bytes));
        let before = files();
        append(&mut log, 2, FIRST);
        log.drain().unwrap();
        let late = files();
        drop(log);
        let at = usize::from(before[0] == late[0]);
        let name = names::segment(SegmentId(at as u64 + 1));
        put(&name, &before[at]);
        another(memory);
        put(&name, &late[at]);
    });
}

#[test]
fn a_writer_that_makes_the_first_segment() {
    const ASIDE: &str = "aside";
    let first = || names::segment(SegmentId(1));
    let begin = |memory: &Memory, _: usize| {
        let (log, _, _) = open(&memory_options(memory)).unwrap();
        memory.rename(&first(), ASIDE).unwrap();
        Some(log)
    };
    before_each_look(&[1], begin, move |log, memory| {
        memory.rename(ASIDE, &first()).unwrap();
        let mut log = log.unwrap();
        write(&mut log, 20, FIRST);
        log.close(Timestamp(1 << 40)).unwrap();
    });
}
