//! Whatever lies in the directory, opening and reading end, and never with a panic or a wrong event.

#[path = "common/log.rs"]
mod common;

use std::sync::Arc;

use common::{append, memory_options, open, payload};
use downbeat_wal::{Memory, ReadOptions, Reader, Trust};
use proptest::prelude::*;

fn log() -> Memory {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..20 {
        append(&mut log, 3, 5_000);
        log.drain().unwrap();
    }
    drop(log);
    memory
}

/// Every event that comes out is the one that went in.
fn check(memory: &Memory) -> (Option<usize>, usize) {
    let options = ReadOptions { trust: Trust::Everything, ..Default::default() };
    let mut read = 0;
    if let Ok(mut reader) = Reader::on(Arc::new(memory.copy()), options) {
        while let Ok(Some(located)) = reader.next_batch() {
            for record in located.batch.records() {
                read += 1;
                assert_eq!(record.payload().bytes(), payload(record.seq.0, 5_000));
            }
        }
    }
    let kept = open(&memory_options(memory)).ok().map(|(_, _, kept)| {
        for (index, event) in kept.events.iter().enumerate() {
            assert_eq!(*event, payload(index as u64 + 1, 5_000));
        }
        kept.events.len()
    });
    (kept, read)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_give_a_wrong_event_or_lose_one_silently(
        file in 0usize..5,
        changes in prop::collection::vec((0usize..256 << 10, any::<u8>()), 1..6),
    ) {
        let names = ["00000000000000000001.seg", "00000000000000000002.seg", "00000000000000000003.seg", "MANIFEST.0", "MANIFEST.1"];
        let memory = log();
        let mut changed = false;
        memory.tamper_if_there(names[file], |bytes| {
            for (at, value) in &changes {
                let at = at % bytes.len();
                changed |= bytes[at] != *value;
                bytes[at] = *value;
            }
        });
        let (kept, read) = check(&memory);
        if let Some(kept) = kept {
            // All but the last batch have a durable mark behind them.
            prop_assert!(kept >= 57, "{} kept after {:?}", kept, changes);
            prop_assert_eq!(kept, read, "reader and recovery agree");
        }
    }

    #[test]
    fn any_bytes_at_all_are_safe(
        blocks in prop::collection::vec(any::<[u8; 32]>(), 1..40),
        magic in any::<bool>(),
    ) {
        let memory = log();
        memory.tamper("00000000000000000002.seg", |bytes| {
            for (index, block) in blocks.iter().enumerate() {
                let at = (index * 4096) % bytes.len();
                bytes[at..at + 32].copy_from_slice(block);
                if magic {
                    bytes[at..at + 5].copy_from_slice(b"DBB1\x01");
                }
            }
        });
        check(&memory);
    }
}
