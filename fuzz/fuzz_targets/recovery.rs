//! Any bytes over the files of a log: opening says what is wrong, or keeps a prefix; reading agrees with it.
#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use downbeat_record::{Batch, Fields, Seq, Timestamp};
use downbeat_wal::{Log, Memory, Options};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Damage {
    manifest: bool,
    offset: u16,
    bytes: Vec<u8>,
}

fuzz_target!(|damages: Vec<Damage>| {
    let memory = Memory::new();
    let mut options = Options::in_memory(&memory);
    options.batch_bytes = 8 << 10;
    options.segment_bytes = 64 << 10;
    let (mut log, _) = Log::open(&options, |_| Ok(())).expect("an empty directory becomes a log");
    for n in 0..4u64 {
        let mut batch = Batch::with_capacity(8 << 10, 0);
        batch.open(Seq(n + 1));
        batch.push(&Fields::default(), Timestamp(n + 1), b"payload").expect("it fits");
        log.append(&mut Arc::new(batch)).expect("memory takes it");
        log.drain().expect("memory syncs");
    }
    drop(log);
    for damage in damages {
        let name = if damage.manifest { "MANIFEST.0" } else { "00000000000000000001.seg" };
        memory.tamper_if_there(name, |file| {
            for (place, byte) in file.iter_mut().skip(damage.offset.into()).zip(damage.bytes) {
                *place = byte;
            }
        });
    }
    let mut next = Seq(1);
    let opened = Log::open(&options, |batch| {
        if batch.count() > 0 {
            assert_eq!(batch.first_seq(), next);
            next = batch.next_seq();
        }
        Ok(())
    });
    assert!(opened.is_err() || next <= Seq(5));
});
