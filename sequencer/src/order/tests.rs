//! Claims about the ordering core, and an obvious model of it: a map of keys and a list of what was placed.

use std::collections::BTreeMap;

use downbeat_record::IdempotencyKey;
use proptest::prelude::*;

use super::*;
use crate::window::Idempotency;

fn order(mut idempotency: Idempotency) -> Order {
    if cfg!(miri) {
        // The memory of a million keys is a minute's work for it.
        idempotency.keys = idempotency.keys.min(1_000);
    }
    Order::new(Seq(1), Timestamp(0), IdempotencyWindow::new(idempotency))
}

fn batch() -> Batch {
    let mut batch = Batch::with_capacity(64 << 10, 0);
    batch.open(Seq(1));
    batch
}

fn keyed(key: u128) -> Fields {
    Fields { idempotency_key: IdempotencyKey(key), ..Fields::default() }
}

#[test]
fn a_clock_at_the_end_of_time_is_not_believed() {
    // A clock that said the last number there is left no room for a time after it.
    let (mut order, mut batch) = (order(Idempotency::default()), batch());
    for (seq, now) in [(1, u64::MAX), (2, u64::MAX), (3, 0), (4, u64::MAX)] {
        let placed = order.place(Timestamp(now), &keyed(0), b"", &mut batch);
        assert_eq!(placed, new(seq, CLOCK_MAX.0 + seq - 1));
    }
    Order::new(Seq(1), LAST_MAX, IdempotencyWindow::new(Idempotency::default()));
}

fn new(seq: u64, timestamp: u64) -> Placed {
    Placed::New { first: original(seq, timestamp) }
}

fn original(seq: u64, timestamp: u64) -> Original {
    Original { seq: Seq(seq), timestamp: Timestamp(timestamp) }
}

#[test]
fn time_increases_when_the_clock_stands_still_and_when_it_jumps_back() {
    let (mut order, mut batch) = (order(Idempotency::default()), batch());
    let mut place = |now| order.place(Timestamp(now), &Fields::default(), b"", &mut batch);
    assert_eq!(place(100), new(1, 100));
    assert_eq!(place(100), new(2, 101));
    assert_eq!(place(7), new(3, 102));
    assert_eq!(place(103), new(4, 103));
}

#[test]
fn a_batch_that_is_full_or_four_seconds_old_changes_nothing() {
    let (mut order, mut batch) = (order(Idempotency::default()), batch());
    assert_eq!(order.place(Timestamp(1), &keyed(1), b"", &mut batch), new(1, 1));
    let late = Timestamp(1 + (1 << 32));
    assert_eq!(order.place(late, &keyed(2), b"", &mut batch), Placed::BatchFull);
    assert_eq!(order.place_group(late, [(keyed(2), &b""[..])].into_iter(), &mut batch), Placed::BatchFull);
    assert_eq!(order.place(Timestamp(2), &keyed(2), &[0; 65_536], &mut batch), Placed::BatchFull);
    assert_eq!((order.next_seq(), order.last_timestamp(), order.window().len()), (Seq(2), Timestamp(1), 1));
    batch.open(order.next_seq());
    assert_eq!(order.place(late, &keyed(2), b"", &mut batch), new(2, late.0));
}

#[test]
fn a_group_that_does_not_fit_leaves_nothing_behind() {
    let (mut order, mut batch) = (order(Idempotency::default()), batch());
    let half = vec![0; 40_000];
    let group = [(keyed(1), &half[..]), (keyed(2), &half[..])];
    assert_eq!(order.place_group(Timestamp(5), group.into_iter(), &mut batch), Placed::BatchFull);
    assert_eq!((batch.count(), order.next_seq(), order.window().len()), (0, Seq(1), 0));
}

#[test]
fn a_group_is_new_as_a_whole_known_as_a_whole_or_a_conflict() {
    let (mut order, mut batch) = (order(Idempotency::default()), batch());
    let mut place = |events: &[(u128, &'static [u8])]| {
        let events: Vec<_> = events.iter().map(|(key, payload)| (keyed(*key), *payload)).collect();
        order.place_group(Timestamp(10), events.into_iter(), &mut batch)
    };
    let group: [(u128, &[u8]); 3] = [(1, b"a"), (2, b"b"), (3, b"c")];
    assert_eq!(place(&group), new(1, 10));
    assert_eq!(place(&group), Placed::Duplicate { first: original(1, 10) });
    assert_eq!(place(&group[1..]), Placed::Duplicate { first: original(2, 11) });
    // Known and new, in both orders; other distances; another order; other bytes.
    let conflict = |seq, timestamp| Placed::Conflict { original: original(seq, timestamp) };
    assert_eq!(place(&[(2, b"b"), (4, b"d")]), conflict(2, 11));
    assert_eq!(place(&[(4, b"d"), (2, b"b")]), conflict(2, 11));
    assert_eq!(place(&[(1, b"a"), (3, b"c")]), conflict(3, 12));
    assert_eq!(place(&[(2, b"b"), (1, b"a")]), conflict(1, 10));
    assert_eq!(place(&[(2, b"b"), (3, b"other")]), conflict(3, 12));
    // Nothing of what was refused was remembered.
    assert_eq!(place(&[(4, b"d")]), new(4, 13));
    // Without keys everything is new.
    assert_eq!(place(&[(0, b"a"), (0, b"a")]), new(5, 14));
    assert_eq!(place(&[(0, b"a"), (0, b"a")]), new(7, 16));
    assert_eq!(batch.count(), 8);
}

#[test]
fn a_window_rebuilt_from_the_log_answers_as_the_one_that_was_lost() {
    let bounds = Idempotency { keys: 3, age_ns: 50 };
    let (mut lived, mut batch) = (order(bounds), batch());
    for (now, key) in [(1, 1), (20, 2), (20, 0), (30, 3), (60, 4), (61, 2), (70, 1)] {
        lived.place(Timestamp(now), &keyed(key), &key.to_le_bytes(), &mut batch);
    }
    let mut rebuilt = IdempotencyWindow::new(bounds);
    batch.records().for_each(|record| rebuilt.insert_record(&record));
    for key in 0..6_u128 {
        for now in 70..130 {
            let print = fingerprint(&keyed(key), &key.to_le_bytes());
            let ask = |window: &IdempotencyWindow| window.admit(IdempotencyKey(key), print, Timestamp(now));
            assert_eq!(ask(&rebuilt), ask(lived.window()), "key {key} at {now}");
        }
    }
}

proptest! {
    /// Random events against a model that keeps every event in a list and the keys in a map; the clock jumps.
    #[test]
    fn the_order_is_that_of_the_obvious_model(
        inputs in prop::collection::vec((0_u128..30, 0_u8..2, 0_u64..1_000), 1..if cfg!(miri) { 20 } else { 300 })
    ) {
        let (mut order, mut batch) = (order(Idempotency { keys: 1_000, age_ns: u64::MAX }), batch());
        let (mut keys, mut placed) = (BTreeMap::new(), Vec::<(Fields, u8, u64)>::new());
        for (key, byte, now) in inputs {
            let fields = keyed(key);
            let last = placed.last().map_or(0, |(_, _, timestamp)| *timestamp);
            let expected = match keys.get(&key) {
                Some((seq, at, first)) if first == &byte => Placed::Duplicate { first: original(*seq, *at) },
                Some((seq, at, _)) => Placed::Conflict { original: original(*seq, *at) },
                None => new(placed.len() as u64 + 1, now.max(last + 1)),
            };
            prop_assert_eq!(order.place(Timestamp(now), &fields, &[byte], &mut batch), expected);
            if let Placed::New { first } = expected {
                placed.push((fields, byte, first.timestamp.0));
                if key != 0 {
                    keys.insert(key, (first.seq.0, first.timestamp.0, byte));
                }
            }
        }
        prop_assert_eq!(batch.count() as usize, placed.len());
        for (record, (index, (fields, byte, timestamp))) in batch.records().zip(placed.iter().enumerate()) {
            prop_assert_eq!(record.seq, Seq(index as u64 + 1));
            prop_assert_eq!(record.timestamp, Timestamp(*timestamp));
            prop_assert_eq!(record.fields, *fields);
            prop_assert_eq!(record.payload().bytes(), &[*byte][..]);
        }
    }
}

#[test]
fn a_group_goes_into_a_batch_up_to_the_last_nanosecond_that_the_batch_can_tell() {
    let most = u64::from(u32::MAX);
    for (start, fits) in [(10 + most - 3, true), (10 + most - 2, false)] {
        let (mut order, mut batch) = (order(Idempotency::default()), batch());
        assert_eq!(order.place(Timestamp(10), &keyed(1), b"", &mut batch), new(1, 10));
        let group = [(keyed(2), &b""[..]), (keyed(3), b""), (keyed(4), b"")];
        let placed = order.place_group(Timestamp(start), group.into_iter(), &mut batch);
        assert_eq!(placed, if fits { new(2, start) } else { Placed::BatchFull });
    }
}
