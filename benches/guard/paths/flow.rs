//! What is done with a sequenced event: it is handed on from actor to actor, and applied by stages.

use std::path::Path;
use std::sync::Arc;

use downbeat_actors::hop::{Chain, Read};
use downbeat_benches::flow::{Spread, five, kinds};
use downbeat_benches::made::{Nowhere, fill, whole};
use downbeat_record::Batch;

/// A source and five relays on one thread, as the bench `hop` has them.
const ONE_THREAD: [usize; 6] = [0; 6];

/// A batch of 64 KiB that is full of events; how many.
fn full() -> (Batch, u64) {
    let kinds = kinds(&five(Spread::Together));
    let mut batch = Batch::with_capacity(64 << 10, 0);
    let events = fill(&mut batch, &kinds, 0, u64::MAX);
    (batch, events)
}

/// Per hop; a fifth of the source is in it.
fn hops(count: u64, value_bytes: usize, read: Read) -> u64 {
    let batch = Arc::new(full().0);
    let mut chain = Chain::start(&ONE_THREAD, &batch, value_bytes, read).expect("the actors start");
    chain.run(count.div_ceil(chain.hops()));
    count.next_multiple_of(chain.hops())
}

pub(super) fn hop(count: u64, _: &Path) -> u64 {
    hops(count, 0, Read::Touch)
}

pub(super) fn hop_value(count: u64, _: &Path) -> u64 {
    hops(count, 16, Read::Record)
}

/// Per event, through all five stages.
pub(super) fn five_stages(count: u64, _: &Path) -> u64 {
    let flow = five(Spread::Together);
    let mut unit = whole(&flow, &kinds(&flow));
    let (batch, each) = full();
    let laps = count.div_ceil(each);
    for _ in 0..laps {
        batch.records().for_each(|record| unit.apply(&record, &[], &mut Nowhere));
    }
    laps * each
}
