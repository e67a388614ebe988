//! What was called durable is there afterwards.

#[path = "common/log.rs"]
mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{append, expect_events, memory_options, on_every_backend, open};
use downbeat_record::{BatchKind, Seq, Timestamp};
use downbeat_wal::storage::memory::{Fate, Fault, Outcome, Step};
use downbeat_wal::{Memory, Options, Row};

#[test]
fn everything_acknowledged_is_there_after_a_drop_without_close() {
    on_every_backend(|options| {
        let (mut log, recovered, _) = open(options).unwrap();
        assert_eq!(recovered.row, Row::A);
        for _ in 0..20 {
            append(&mut log, 10, 100);
        }
        assert_eq!(log.drain().unwrap().seq, Seq(200));
        drop(log);

        let (log, recovered, kept) = open(options).unwrap();
        expect_events(&kept, 200, 100);
        assert_eq!((recovered.next_seq, recovered.row), (Seq(201), Row::D));
        assert!(recovered.cut.is_none());
        drop(log);
    });
}

#[test]
fn a_closed_log_comes_back_whole_and_without_a_note() {
    on_every_backend(|options| {
        let (mut log, _, _) = open(options).unwrap();
        append(&mut log, 3, 64);
        log.close(Timestamp(1_000)).unwrap();
        for round in 0..3 {
            let (mut log, recovered, kept) = open(options).unwrap();
            expect_events(&kept, 3 + round, 64);
            assert_eq!(recovered.row, Row::C);
            assert!(kept.batches.iter().all(|(kind, ..)| *kind != BatchKind::Recovery));
            append(&mut log, 1, 64);
            log.close(Timestamp(2_000)).unwrap();
        }
    });
}

#[test]
fn a_log_rolls_over_many_segments_under_load() {
    on_every_backend(|options| {
        let (mut log, _, _) = open(options).unwrap();
        for _ in 0..200 {
            append(&mut log, 60, 500);
            log.poll().unwrap();
        }
        assert_eq!(log.drain().unwrap().seq, Seq(12_000));
        log.close(Timestamp(1_000_000)).unwrap();
        let (_, recovered, kept) = open(options).unwrap();
        expect_events(&kept, 12_000, 500);
        assert_eq!(recovered.next_seq, Seq(12_001));
    });
}

#[test]
fn what_an_opening_kept_outlives_a_power_cut_however_far_back_it_was_not_durable() {
    let memory = Memory::new();
    let options = |depth| Options { segment_bytes: 64 << 10, depth, ..memory_options(&memory) };
    let (mut log, _, _) = open(&options(64)).unwrap();
    append(&mut log, 1, 64);
    assert_eq!(log.drain().unwrap().seq, Seq(1));
    memory.hold(true);
    for _ in 0..40 {
        append(&mut log, 20, 600);
    }
    assert_eq!(log.poll().unwrap().seq, Seq(1), "all of it is on its way");
    // The process dies, the machine does not: what was written is there, and none of it was ever synced.
    drop(log);
    memory.hold(false);

    // Whoever opens it needs not be set as the one that died.
    let (log, recovered, kept) = open(&options(1)).unwrap();
    assert_eq!((recovered.next_seq, kept.events.len()), (Seq(802), 801));
    drop(log);
    memory.power_cut(|_| Fate::Lost);
    let (_, recovered, kept) = open(&options(1)).unwrap();
    assert_eq!((recovered.next_seq, kept.events.len()), (Seq(802), 801));
}

#[test]
fn a_heartbeat_is_due_only_behind_something_that_nothing_marks_and_in_a_log_that_works() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    assert_eq!(log.heartbeat_due(), None, "nothing was acknowledged");
    memory.hold(true);
    append(&mut log, 1, 8);
    log.poll().unwrap();
    assert_eq!(log.heartbeat_due(), None, "the next batch may still say it");
    memory.hold(false);
    let before = Instant::now();
    log.drain().unwrap();
    let due = log.heartbeat_due().unwrap();
    assert!((before..Instant::now() + Duration::from_millis(1)).contains(&due));
    log.heartbeat(Timestamp(1_000)).unwrap();
    log.drain().unwrap();
    assert_eq!(log.heartbeat_due(), None, "what was acknowledged is marked");

    append(&mut log, 1, 8);
    log.drain().unwrap();
    memory.fail(Fault { step: Step::Sync, after: 0, times: 1, outcome: Outcome::Errno(5) });
    append(&mut log, 1, 8);
    assert!(log.drain().is_err());
    assert_eq!(log.heartbeat_due(), None, "nothing can be written any more");
}

#[test]
fn what_is_under_way_is_counted_and_an_append_beyond_the_depth_waits() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&Options { depth: 4, ..memory_options(&memory) }).unwrap();
    assert_eq!((log.in_flight(), log.unsettled()), (0, 0));
    memory.hold(true);
    for number in 1..=3 {
        append(&mut log, 1, 8);
        // The header of the segment is the first write of all.
        assert_eq!((log.in_flight(), log.unsettled()), (number + 1, number + 1));
    }
    let (released, bell) = (AtomicBool::new(false), log.bell());
    let (begin, begun) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let (memory, released) = (&memory, &released);
        scope.spawn(move || {
            begun.recv().unwrap();
            // Time for an append that does not wait.
            assert!(begun.recv_timeout(Duration::from_millis(50)).is_err());
            released.store(true, Ordering::Relaxed);
            memory.hold(false);
            bell.ring();
        });
        begin.send(()).unwrap();
        append(&mut log, 1, 8);
        assert!(released.load(Ordering::Relaxed));
        assert!(log.in_flight() <= 4);
    });
    log.drain().unwrap();
    assert_eq!((log.in_flight(), log.unsettled()), (0, 0));
}
