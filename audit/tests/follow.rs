//! A log that is being written: read as far as it reaches, and on from there.

mod common;

use std::time::{Duration, Instant};

use common::{Channel, Moved, flow, options, write};
use downbeat::{Engine, Key, Seq};
use downbeat_audit::{EventFilter, Inspector, ReplayOptions, VerifyOptions, follow, inspect, replay, verify};

fn moved(n: u64) -> Moved {
    Moved { cents: n as i64 % 90, memo: format!("{n}"), channel: Channel::Branch, tags: Vec::new() }
}

/// Asks again until the event with this seq has come.
fn until(events: &mut Inspector, last: Seq) -> Vec<Seq> {
    let (mut seen, start) = (Vec::new(), Instant::now());
    while seen.last().is_none_or(|seen| *seen < last) {
        assert!(start.elapsed() < Duration::from_secs(30), "{seen:?}");
        seen.extend(events.by_ref().map(|event| event.unwrap().seq));
        std::thread::yield_now();
    }
    seen
}

#[test]
fn a_follower_sees_every_event_once_as_it_becomes_durable() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path()), flow(1)).unwrap();
    engine.submit(&moved(0)).key(Key(1)).wait().unwrap();
    let mut events = follow(dir.path(), EventFilter::default()).unwrap();
    let mut seen = Vec::new();
    for round in 1..40 {
        let receipt = engine.submit(&moved(round)).key(Key(round % 3 + 1)).wait().unwrap();
        seen.extend(until(&mut events, receipt.seq));
        assert!(!events.is_done());
    }
    engine.close().unwrap();
    let last = engine.last_seq();
    if seen.last() != Some(&last) {
        seen.extend(until(&mut events, last));
    }
    assert_eq!(seen, (1..=last.0).map(Seq).collect::<Vec<_>>());
}

#[test]
fn a_reader_of_a_part_is_done_at_its_end_and_no_sooner() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 1);
    let filter = EventFilter { from: Some(Seq(10)), to: Some(Seq(12)), ..EventFilter::default() };
    let mut events = inspect(dir.path(), filter).unwrap();
    assert_eq!(events.by_ref().map(|event| event.unwrap().seq.0).collect::<Vec<_>>(), [10, 11, 12]);
    assert!(events.is_done() && events.next().is_none());
    let filter = EventFilter { from: Some(Seq(1_000_000)), ..EventFilter::default() };
    let mut beyond = inspect(dir.path(), filter).unwrap();
    assert!(beyond.next().is_none() && !beyond.is_done());
}

#[test]
fn a_log_that_is_being_written_verifies_and_replays_as_far_as_it_reaches() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.actors.checkpoint_interval = 10_000;
    let engine = Engine::open(options, flow(1)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..30_000 {
                engine.submit(&moved(n)).key(Key(n % 7 + 1)).send().unwrap();
            }
        });
        let mut last = Seq::ZERO;
        while !writer.is_finished() {
            let verified = verify(dir.path(), VerifyOptions { payloads: false }, |_| {}).unwrap();
            assert!(verified.last_seq >= last);
            last = verified.last_seq;
            let replayed = replay(dir.path(), &flow(1), ReplayOptions::default(), |_| {}).unwrap();
            assert!(replayed.last_seq >= last);
        }
    });
    engine.close().unwrap();
    let whole = verify(dir.path(), VerifyOptions::default(), |_| {}).unwrap();
    assert!(whole.closed && whole.last_seq == engine.last_seq() && whole.unproved == 0);
}
