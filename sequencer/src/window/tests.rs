//! Claims about the idempotency window, and an obvious model of it.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use downbeat_record::{Key, Kind};

fn window(keys: usize, age_ns: u64) -> IdempotencyWindow {
    IdempotencyWindow::new(Idempotency { keys, age_ns })
}

fn original(seq: u64, timestamp: u64) -> Original {
    Original { seq: Seq(seq), timestamp: Timestamp(timestamp) }
}

#[test]
fn a_key_is_new_then_a_duplicate_and_with_other_bytes_a_conflict() {
    let mut window = window(10, 100);
    let key = IdempotencyKey::of("order 7");
    assert_eq!(window.admit(key, 2, Timestamp(5)), Admission::New);
    window.insert(key, 2, Seq(3), Timestamp(5));
    assert_eq!(window.admit(key, 2, Timestamp(6)), Admission::Duplicate(original(3, 5)));
    assert_eq!(window.admit(key, 4, Timestamp(6)), Admission::Conflict(original(3, 5)));
    assert_eq!(window.admit(IdempotencyKey::NONE, 2, Timestamp(6)), Admission::New);
}

/// Found by reading: what a stage emitted was taken for another event under a producer's key, and lost.
#[test]
fn a_key_of_a_producer_and_the_same_key_of_a_stage_are_two() {
    let outside = Fields { idempotency_key: IdempotencyKey::of("order 7"), ..Fields::default() };
    let emitted = Fields { derived: true, ..outside };
    let mut window = window(10, 100);
    let ask = |window: &IdempotencyWindow, fields: &Fields| {
        window.admit(fields.idempotency_key, fingerprint(fields, b"bytes"), Timestamp(9))
    };
    window.insert(outside.idempotency_key, fingerprint(&outside, b"bytes"), Seq(1), Timestamp(1));
    assert_eq!(ask(&window, &emitted), Admission::New);
    window.insert(emitted.idempotency_key, fingerprint(&emitted, b"bytes"), Seq(2), Timestamp(2));
    assert_eq!(ask(&window, &outside), Admission::Duplicate(original(1, 1)));
    assert_eq!(ask(&window, &emitted), Admission::Duplicate(original(2, 2)));
}

#[test]
fn the_oldest_key_goes_when_there_are_too_many() {
    let mut window = window(3, u64::MAX);
    for key in 1..=4 {
        window.insert(IdempotencyKey(key), 0, Seq(key as u64), Timestamp(key as u64));
    }
    assert_eq!(window.len(), 3);
    let known = |key| window.admit(IdempotencyKey(key), 0, Timestamp(9)) != Admission::New;
    assert_eq!([known(1), known(2), known(3), known(4)], [false, true, true, true]);
}

#[test]
fn a_key_answers_up_to_its_age_and_not_beyond() {
    let mut window = window(3, 100);
    window.insert(IdempotencyKey(1), 0, Seq(1), Timestamp(50));
    assert_ne!(window.admit(IdempotencyKey(1), 0, Timestamp(150)), Admission::New);
    assert_eq!(window.admit(IdempotencyKey(1), 0, Timestamp(151)), Admission::New);
    window.insert(IdempotencyKey(1), 0, Seq(2), Timestamp(151));
    assert_eq!(window.admit(IdempotencyKey(1), 0, Timestamp(152)), Admission::Duplicate(original(2, 151)));
}

#[test]
fn a_window_of_no_keys_remembers_nothing() {
    let mut window = window(0, 100);
    window.insert(IdempotencyKey(1), 0, Seq(1), Timestamp(1));
    assert_eq!(window.admit(IdempotencyKey(1), 0, Timestamp(2)), Admission::New);
    assert_eq!(window.len(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "fifty thousand insertions, and fewer would show nothing")]
fn memory_grows_with_the_keys_and_stops_at_the_bound() {
    let mut window = window(10_000, u64::MAX);
    let empty = window.memory_bytes();
    let mut highest = empty;
    for seq in 1..=50_000_u64 {
        window.insert(IdempotencyKey(seq.into()), 0, Seq(seq), Timestamp(seq));
        assert!(window.len() <= 10_000);
        highest = highest.max(window.memory_bytes());
        if seq == 4_096 {
            assert_eq!(highest - empty, CHUNK * size_of::<Entry>(), "one chunk so far");
        }
    }
    assert_eq!(highest - empty, 3 * CHUNK * size_of::<Entry>());
    assert_eq!(window.len(), 10_000);
}

#[test]
#[should_panic(expected = "a key of seq 4 after one of seq 5")]
fn keys_come_in_order_of_seq() {
    let mut window = window(3, 100);
    window.insert(IdempotencyKey(1), 0, Seq(5), Timestamp(1));
    window.insert(IdempotencyKey(2), 0, Seq(4), Timestamp(2));
}

#[test]
fn kind_entity_and_payload_make_the_fingerprint_and_nothing_else_does() {
    use downbeat_record::{Correlation, Key, Kind, SourceId};
    let fields = Fields { kind: Kind(1), key: Key(2), ..Fields::default() };
    let print = fingerprint(&fields, b"bytes");
    assert_ne!(print, fingerprint(&Fields { kind: Kind(2), ..fields }, b"bytes"));
    assert_ne!(print, fingerprint(&Fields { key: Key(3), ..fields }, b"bytes"));
    assert_ne!(print, fingerprint(&fields, b"other"));
    let retry = Fields { correlation: Correlation(9), causation: Seq(4), source: SourceId(5), ..fields };
    assert_eq!(print, fingerprint(&retry, b"bytes"));
}

/// The window as one would write it without a thought for speed.
struct Model {
    bounds: Idempotency,
    entries: VecDeque<(u128, u64, Original)>,
}

impl Model {
    fn admit(&self, key: u128, fingerprint: u64, now: u64) -> Admission {
        let live = |at: Timestamp| now.saturating_sub(at.0) <= self.bounds.age_ns;
        match self.entries.iter().rev().find(|(k, _, original)| *k == key && live(original.timestamp)) {
            None => Admission::New,
            Some((_, f, original)) if *f == fingerprint => Admission::Duplicate(*original),
            Some((_, _, original)) => Admission::Conflict(*original),
        }
    }

    fn insert(&mut self, key: u128, fingerprint: u64, original: Original) {
        self.entries.push_back((key, fingerprint, original));
        self.entries.retain(|(_, _, o)| original.timestamp.0 - o.timestamp.0 <= self.bounds.age_ns);
        if self.entries.len() > self.bounds.keys {
            self.entries.pop_front();
        }
    }
}

proptest! {
    #[test]
    fn the_window_answers_as_the_obvious_model(
        keys in 1_usize..20,
        age_ns in 0_u64..60,
        inputs in prop::collection::vec((1_u128..40, 0_u64..3, 1_u64..12), 1..if cfg!(miri) { 30 } else { 400 }),
    ) {
        let bounds = Idempotency { keys, age_ns };
        let (mut window, mut model) = (IdempotencyWindow::new(bounds), Model { bounds, entries: VecDeque::new() });
        let (mut seq, mut now) = (0, 0);
        for (key, fingerprint, step) in inputs {
            now += step;
            let fingerprint = 2 * fingerprint;
            let answer = window.admit(IdempotencyKey(key), fingerprint, Timestamp(now));
            prop_assert_eq!(answer, model.admit(key, fingerprint, now));
            if answer == Admission::New {
                seq += 1;
                window.insert(IdempotencyKey(key), fingerprint, Seq(seq), Timestamp(now));
                model.insert(key, fingerprint, original(seq, now));
            }
            prop_assert!(window.len() <= keys);
        }
    }

    #[test]
    fn the_index_finds_what_is_in_it_whatever_collides(
        steps in prop::collection::vec((0_u32..8, 0_u32..16, any::<bool>()), 1..if cfg!(miri) { 10 } else { 200 })
    ) {
        let mut index = Index::for_entries(16);
        let mut held = std::collections::BTreeMap::new();
        for (hash, slot, add) in steps {
            if add && !held.contains_key(&slot) {
                index.insert(hash, slot);
                held.insert(slot, hash);
            } else if !add
                && let Some(hash) = held.remove(&slot)
            {
                index.remove(hash, slot);
            }
            for slot in 0..16 {
                for hash in 0..8 {
                    let found = index.find(hash, |at| at == slot).is_some();
                    prop_assert_eq!(found, held.get(&slot) == Some(&hash));
                }
            }
        }
    }
}

/// Found by reading: with one half of a key at an unlucky value, the other was not looked at.
#[test]
#[cfg_attr(miri, ignore = "a hundred thousand hashes, and fewer would show nothing")]
fn keys_that_differ_in_one_half_are_spread_whatever_the_other_is() {
    for fixed in [0, 1, u64::MAX, 0x2D35_8DCC_AA6C_78A5, 0x8BB8_4B93_962E_ACC9] {
        for halves in [|fixed, n| [fixed, n], |fixed, n| [n, fixed]] as [fn(u64, u64) -> [u64; 2]; 2] {
            let mut hashes: Vec<u32> = (0..10_000).map(|n| hash(halves(fixed, n)) >> 12).collect();
            hashes.sort_unstable();
            hashes.dedup();
            // Of 2^20 places; at random about 50 would share one.
            assert!(hashes.len() > 9_800, "{} places for 10000 keys with {fixed:#x}", hashes.len());
        }
    }
}

#[test]
fn a_key_is_forgotten_when_it_is_older_than_its_age_and_not_when_it_is_as_old() {
    let mut window = window(10, 100);
    assert!(window.is_empty());
    let mut insert = |key: u128, at| window.insert(IdempotencyKey(key), 0, Seq(key as u64), Timestamp(at));
    insert(1, 50);
    insert(2, 150);
    assert_ne!(window.admit(IdempotencyKey(1), 0, Timestamp(150)), Admission::New);
    assert_eq!((window.len(), window.is_empty()), (2, false));
    window.insert(IdempotencyKey(3), 0, Seq(3), Timestamp(151));
    assert_eq!(window.len(), 2);
}

#[test]
fn keys_are_told_apart_by_either_half() {
    let mut window = window(10, 100);
    window.insert(IdempotencyKey(5 | 7 << 64), 0, Seq(1), Timestamp(1));
    for other in [5, 7 << 64, 5 | 8 << 64, 6 | 7 << 64] {
        assert_eq!(window.admit(IdempotencyKey(other), 0, Timestamp(2)), Admission::New, "{other:#x}");
    }
}

#[test]
fn a_fingerprint_is_of_kind_entity_and_payload() {
    let mut prints = std::collections::BTreeSet::new();
    for kind in 0..16 {
        for key in 0..16 {
            for payload in [&b""[..], b"a", b"b"] {
                let fields = Fields { kind: Kind(kind), key: Key(key), ..Fields::default() };
                assert!(prints.insert(fingerprint(&fields, payload)), "kind {kind}, key {key}, {payload:?}");
            }
        }
    }
}

#[test]
fn the_index_counts_as_memory_before_the_first_key() {
    assert!(window(10_000, 1).memory_bytes() >= 10_000 * 8);
}
