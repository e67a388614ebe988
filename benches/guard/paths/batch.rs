//! What is done to a batch: events pushed into it, sealed, hashed, walked over, checked when it comes from a disk.

use std::hint::black_box;
use std::path::Path;

use downbeat_record::{Batch, BatchNo, Epoch, Fields, Key, Kind, Root, Seq, Stamp, Timestamp};

/// A batch of 64 KiB that is full of events of 64 bytes, each about an entity of its own; how many.
fn full() -> (Batch, u64) {
    let mut batch = Batch::with_capacity(64 << 10, 0);
    let events = fill(&mut batch, Seq(1));
    seal_one(&mut batch);
    (batch, events)
}

fn fill(batch: &mut Batch, first: Seq) -> u64 {
    batch.open(first);
    for number in 0.. {
        let fields = Fields { kind: Kind(1), key: Key(number + 1), ..Fields::default() };
        if batch.push(&fields, Timestamp(first.0 + number), black_box(&[7; 64])).is_err() {
            return number;
        }
    }
    unreachable!("a batch is full some time")
}

fn seal_one(batch: &mut Batch) {
    batch.seal(&Stamp {
        batch_no: BatchNo(1),
        epoch: Epoch(1),
        salt: 1,
        prev_root: Root::default(),
        durable: BatchNo::ZERO,
        clock_error_ns: 0,
    });
}

/// Whole batches of `each` events until there are `count`; how many events.
fn batches(count: u64, each: u64, mut one: impl FnMut()) -> u64 {
    let batches = count.div_ceil(each);
    (0..batches).for_each(|_| one());
    batches * each
}

pub(super) fn push(count: u64, _: &Path) -> u64 {
    let (mut batch, each) = full();
    batches(count, each, || {
        fill(&mut batch, Seq(1));
    })
}

pub(super) fn seal(count: u64, _: &Path) -> u64 {
    let (mut batch, each) = full();
    batches(count, each, || seal_one(&mut batch))
}

pub(super) fn root(count: u64, _: &Path) -> u64 {
    let (batch, each) = full();
    batches(count, each, || {
        black_box(batch.root());
    })
}

pub(super) fn records(count: u64, _: &Path) -> u64 {
    let (batch, each) = full();
    batches(count, each, || {
        for record in batch.records() {
            black_box((record.seq, record.timestamp, record.fields.key, record.payload().bytes().as_ptr()));
        }
    })
}

pub(super) fn read(count: u64, _: &Path) -> u64 {
    let (batch, each) = full();
    batches(count, each, || {
        black_box(Batch::read(batch.bytes()).expect("it was sealed"));
    })
}
