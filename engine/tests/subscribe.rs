//! A subscriber sees every event once, out of the log and live, and holds nobody up.

mod common;

use std::sync::Arc;

use common::{Count, Moved, Notes, flow, open, options, resident_kib};
use downbeat::{Engine, Key, Seq};

#[test]
fn log_and_live_merge_without_gap_or_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = open(dir.path());
        for n in 0..500 {
            engine.submit(&Moved { cents: 60 }).key(Key(n % 3 + 1)).wait().unwrap();
        }
    }
    let engine = Arc::new(open(dir.path()));
    let readers: Vec<_> = [Seq(1), Seq(250), engine.opened().last_seq, Seq(1)]
        .into_iter()
        .map(|from| {
            let mut events = engine.subscribe(from);
            std::thread::spawn(move || {
                let mut next = from;
                while let Some(event) = events.next_blocking().unwrap() {
                    assert_eq!(event.seq(), next);
                    assert_eq!(event.record().seq, next);
                    next = next.next();
                }
                next
            })
        })
        .collect();
    for n in 0..20_000 {
        engine.submit(&Moved { cents: 60 }).key(Key(n % 3 + 1)).send().unwrap();
    }
    engine.close().unwrap();
    let end = engine.last_seq().next();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), end);
    }
}

#[test]
fn a_subscriber_that_stops_reading_holds_nobody_up_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.order.batches = 8;
    let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
    let mut events = engine.subscribe(Seq(1));
    engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
    assert_eq!(events.next_blocking().unwrap().map(|event| event.seq()), Some(Seq(1)));
    // Far more than the tail of batches in memory holds.
    for n in 0..300_000 {
        engine.submit(&Moved { cents: 0 }).key(Key(n % 50 + 1)).send().unwrap();
    }
    engine.close().unwrap();
    let mut next = Seq(2);
    while let Some(event) = events.next_blocking().unwrap() {
        assert_eq!(event.seq(), next);
        next = next.next();
    }
    assert_eq!(next, engine.last_seq().next());
}

#[test]
fn ten_thousand_that_stop_reading_hold_neither_files_nor_threads_and_each_can_go_on() {
    const MANY: usize = 10_000;
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = open(dir.path());
        for _ in 0..50 {
            engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
        }
        engine.close().unwrap();
    }
    let engine = open(dir.path());
    let (files, threads, memory) = (count("fd"), count("task"), resident_kib());
    let mut subscriptions: Vec<_> = (0..MANY).map(|_| engine.subscribe(Seq(1))).collect();
    for events in &mut subscriptions {
        // Out of the log: nothing is in memory yet.
        assert_eq!(events.next_blocking().unwrap().map(|event| event.seq()), Some(Seq(1)));
    }
    let grown = [(count("fd"), files), (count("task"), threads), (resident_kib(), memory)]
        .map(|(now, before)| now.saturating_sub(before));
    // One batch each, and the readers that stay open.
    let [files, threads, kib] = grown;
    assert!(files < 100 && threads < 50 && kib < 200 << 10, "{grown:?} files, threads, KiB");

    for n in 0..10_000 {
        engine.submit(&Moved { cents: 1 }).key(Key(n % 3 + 1)).send().unwrap();
    }
    engine.close().unwrap();
    for events in subscriptions.iter_mut().step_by(MANY / 20) {
        let mut next = Seq(2);
        while let Some(event) = events.next_blocking().unwrap() {
            assert_eq!(event.seq(), next);
            next = next.next();
        }
        assert_eq!(next, engine.last_seq().next());
    }
}

/// How many of something this process has.
fn count(what: &str) -> u64 {
    std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count() as u64
}
