//! Any sequence of submissions against an obvious model: dense seqs, rising times, keys remembered.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use downbeat_record::{Batch, Fields, IdempotencyKey, Seq, Timestamp};
use downbeat_sequencer::{Idempotency, IdempotencyWindow, Order, Placed};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Step {
    clock: u32,
    key: u8,
    payload: Vec<u8>,
}

fuzz_target!(|steps: Vec<Step>| {
    let bounds = Idempotency { keys: 1 << 16, age_ns: u64::MAX };
    let mut order = Order::new(Seq(1), Timestamp::default(), IdempotencyWindow::new(bounds));
    let mut batch = Batch::with_capacity(1 << 20, 0);
    let mut known: BTreeMap<u8, (Seq, Vec<u8>)> = BTreeMap::new();
    let (mut next, mut last) = (Seq(1), Timestamp::default());
    for step in steps {
        let fields = Fields { idempotency_key: IdempotencyKey(step.key.into()), ..Fields::default() };
        let now = Timestamp(u64::from(step.clock));
        match order.place(now, &fields, &step.payload, &mut batch) {
            Placed::New { first: place } => {
                assert_eq!(place.seq, next);
                assert!(place.timestamp > last);
                (next, last) = (next.next(), place.timestamp);
                if step.key != 0 {
                    assert!(known.insert(step.key, (place.seq, step.payload)).is_none());
                }
            }
            Placed::Duplicate { first: place } => assert_eq!((place.seq, step.payload), known[&step.key]),
            Placed::Conflict { original: place } => {
                assert_eq!(place.seq, known[&step.key].0);
                assert_ne!(step.payload, known[&step.key].1);
            }
            Placed::BatchFull => batch.open(next),
        }
    }
});
