//! Any bytes as a batch: refused, or walked to the end. With the checksums made right, so that the walk itself is
//! reached.
#![no_main]

use downbeat_record::{Batch, BatchKind, BatchNo, Epoch, Root, Seq, Stamp, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    walk(bytes);
    // The same bytes as the body of a batch whose header is sound.
    let mut batch = Batch::control(BatchKind::Checkpoint, Seq(1), Timestamp(1), bytes);
    batch.seal(&Stamp {
        batch_no: BatchNo(1),
        epoch: Epoch(1),
        salt: 1,
        prev_root: Root::default(),
        durable: BatchNo::ZERO,
        clock_error_ns: 0,
    });
    walk(batch.bytes());
});

fn walk(bytes: &[u8]) {
    let Ok(batch) = Batch::read(bytes) else { return };
    let mut next = batch.first_seq();
    for record in batch.records() {
        assert_eq!(record.seq, next);
        let found = batch.record(record.slot, record.seq).expect("what was walked over is found");
        assert_eq!(found.payload().bytes(), record.payload().bytes());
        next = next.next();
    }
    assert_eq!(next, batch.next_seq());
}
