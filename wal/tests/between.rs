//! A writer that does something between any two looks of a reader, and a reader that looks between any two steps of a
//! writer: it sees what is new then or later, and calls nothing damaged that is only new.

#[path = "common/log.rs"]
mod common;
#[path = "common/watched.rs"]
mod watched;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{append, memory_options, open};
use downbeat_record::{SegmentId, Timestamp};
use downbeat_wal::storage::memory::Fate;
use downbeat_wal::storage::{Access, Storage};
use downbeat_wal::{BackendChoice, Log, Memory, Options, ReadOptions, Reader, Row, Trust, names};
use watched::Watched;

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

/// Another writer opens the log, writes so many batches into other segments, and closes.
fn another(memory: &Memory, batches: usize) {
    let (mut log, _, _) = open(&memory_options(memory)).unwrap();
    write(&mut log, batches, SECOND);
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
    meanwhile: impl Fn(Option<Log>, &Memory) + Copy + Send + Sync + 'static,
) {
    for (batches, verify_chain) in batches.iter().flat_map(|n| [(*n, true), (*n, false)]) {
        for looks in 0.. {
            let memory = Memory::new();
            let (log, there) = (begin(&memory, batches), memory.clone());
            let due = Arc::new(Mutex::new((looks, Some(log))));
            let happens = Arc::clone(&due);
            let before = Arc::new(move |_: &str| {
                match &mut *happens.lock().unwrap() {
                    (0, log) => log.take().into_iter().for_each(|log| meanwhile(log, &there)),
                    (left, _) => *left -= 1,
                }
                Ok(())
            });
            let watched = Watched { memory: memory.clone(), before };
            let how = ReadOptions { verify_chain, ..ReadOptions::default() };
            let seen = seen(Arc::new(watched), how);
            if due.lock().unwrap().1.is_some() {
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
            another(memory, 20);
        });
    }
}

#[test]
fn a_writer_that_goes_on_in_another_segment_while_what_a_dead_one_had_in_flight_lands_late() {
    const LATE: &str = "late";
    let last = |batches: usize| batches as u64 / 15 + 1;
    let killed = |memory: &Memory, batches| {
        let name = names::segment(SegmentId(last(batches)));
        let mut log = written(memory, batches)?;
        let before = memory.bytes(&name)?;
        append(&mut log, 2, FIRST);
        log.drain().unwrap();
        drop(log);
        let late = memory.bytes(&name)?;
        memory.tamper(&name, |there| *there = before);
        memory.open(LATE, Access::Create).unwrap();
        memory.tamper(LATE, |there| *there = late);
        // An opening says in the manifest that what is there is durable, so a reader stands behind it. It ends before it
        // has prepared a segment.
        drop(open(&memory_options(memory)).unwrap());
        memory.remove(&names::segment(SegmentId(last(batches) + 1))).unwrap();
        None
    };
    for (batches, more) in [(1, 20), (14, 20), (16, 20), (1, 5), (14, 5), (16, 5)] {
        before_each_look(&[batches], killed, move |_, memory| {
            another(memory, more);
            let late = memory.bytes(LATE).unwrap();
            memory.tamper(&names::segment(SegmentId(last(batches))), |there| *there = late);
        });
    }
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

/// Several segments go, the last one first: else there would be one behind a gap, which is damage.
#[test]
fn a_reader_that_looks_while_an_opening_removes_what_it_cuts() {
    let memory = Memory::new();
    let options = Options { segment_bytes: 64 << 10, depth: 64, ..memory_options(&memory) };
    let (mut log, _, _) = open(&options).unwrap();
    write(&mut log, 1, 64);
    memory.hold(true);
    for _ in 0..10 {
        append(&mut log, 3, FIRST);
    }
    log.poll().unwrap();
    drop(log);
    let mut first = true;
    memory.power_cut(|_| if std::mem::take(&mut first) { Fate::Lost } else { Fate::Kept });
    let segments = |memory: &Memory| {
        let names = memory.list().unwrap().into_iter().map(|entry| entry.name);
        names.filter_map(|name| names::parse_segment(&name)).count()
    };
    assert!(segments(&memory) > 3, "there is something to remove");

    let (there, looks) = (memory.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&looks);
    let before = Arc::new(move |_: &str| {
        counted.fetch_add(1, Ordering::Relaxed);
        let everything = ReadOptions { trust: Trust::Everything, ..ReadOptions::default() };
        assert_eq!(seen(Arc::new(there.clone()), everything).len(), 3);
        Ok(())
    });
    let watched = Watched { memory: memory.clone(), before };
    let watched = Options { backend: BackendChoice::Storage(Arc::new(watched)), ..options };
    let (_, recovered, kept) = open(&watched).unwrap();
    assert_eq!((recovered.row, kept.events.len()), (Row::F, 3));
    assert!(segments(&memory) <= 2 && looks.load(Ordering::Relaxed) > 20);
}
