//! No queue without a bound: what is slow stops what is before it, and in the end the producer.
//!
//! It looks at the memory of its process, so no other test may be in it.

mod common;

use common::{Count, Moved, Notes, OpenAtTheEnd, flow, options, reached, resident_kib, total, until_full};
use downbeat::{Engine, ErrorKind, Key};

#[test]
fn a_stage_that_sleeps_stops_the_producer_and_memory_stays_flat() {
    let dir = tempfile::tempdir().unwrap();
    let count = Count::default();
    let mut options = options(dir.path());
    options.order.window_events = 1_000;
    options.order.ring_bytes = 64 << 10;
    options.order.batches = 8;
    let engine = Engine::open(options, flow(count.clone(), Notes::default())).unwrap();
    engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    count.gate.close();
    let _open = OpenAtTheEnd(count.gate.clone());

    let (accepted, refusal) = until_full(&engine);
    assert_eq!(refusal.kind(), ErrorKind::Backpressure);
    // The window stops the order at 1,000 events, or the batches do before, when each holds only a few; what is accepted
    // beyond waits in the ring of 64 KiB.
    assert!(engine.last_seq().0 <= 1_001 + 1, "{} events ordered", engine.last_seq());
    let resident = resident_kib();
    for _ in 0..100_000 {
        let refused = engine.submit(&Moved { cents: 100 }).key(Key(1)).try_ticket();
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Backpressure));
    }
    assert!(resident_kib() < resident + 4_096, "memory grows while nothing is accepted");

    count.gate.open();
    engine.close().unwrap();
    let engine = common::open(dir.path());
    assert_eq!(total(&engine), (accepted + 1) * 100, "what was accepted was not lost");
    assert_eq!(reached(&engine), accepted as u64 + 1);
}
