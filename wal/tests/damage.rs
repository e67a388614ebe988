//! Damage to acknowledged data is never taken for a torn tail: the log is refused, and the place is named.

#[path = "common/log.rs"]
mod common;

use common::{append, memory_options, open};
use downbeat_record::{BLOCK, BatchNo, Seq, Timestamp};
use downbeat_wal::error::Damage;
use downbeat_wal::storage::Storage;
use downbeat_wal::storage::memory::{Fault, Outcome, Step};
use downbeat_wal::{Log, Memory, OpenError, ScanError, names};

const FIRST: &str = "00000000000000000001.seg";
const SECOND: &str = "00000000000000000002.seg";

/// Six batches of one block each, all acknowledged; closed or dropped.
fn log_of_six(heartbeat: bool) -> Memory {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..6 {
        append(&mut log, 2, 200);
        log.drain().unwrap();
    }
    if heartbeat {
        log.heartbeat(Timestamp(900)).unwrap();
        log.drain().unwrap();
    }
    drop(log);
    memory
}

fn refusal(memory: &Memory) -> ScanError {
    match open(&memory_options(memory)) {
        Err(OpenError::Scan(error)) => error,
        Err(other) => panic!("another error: {other}"),
        Ok((_, recovered, _)) => panic!("opened with row {}", recovered.row),
    }
}

#[test]
fn damage_in_an_acknowledged_batch_is_refused_and_the_place_is_named() {
    // Any bit of the batch: header, body, padding.
    for at in [0, 13, 40, 127, 128, 300, 600, 4_000, BLOCK - 1] {
        let memory = log_of_six(false);
        memory.tamper(FIRST, |bytes| bytes[3 * BLOCK + at] ^= 0x10);
        match refusal(&memory) {
            ScanError::Damaged { path, offset, batch, first_seq, durable, resumes, .. } => {
                assert!(path.ends_with(FIRST));
                assert_eq!((offset, batch, first_seq), (3 * BLOCK as u64, BatchNo(3), Seq(5)));
                assert_eq!(durable, BatchNo(5), "batch 6 says that batch 5 was durable");
                assert_eq!(resumes, Some(Seq(7)));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn zeroed_and_lost_blocks_of_acknowledged_batches_are_refused() {
    let memory = log_of_six(false);
    memory.tamper(FIRST, |bytes| bytes[2 * BLOCK..4 * BLOCK].fill(0));
    match refusal(&memory) {
        ScanError::Damaged { batch: BatchNo(2), reason: Damage::Zeros, .. } => {}
        other => panic!("{other}"),
    }
}

#[test]
fn damage_in_the_last_acknowledged_batch_is_refused_after_a_heartbeat() {
    let memory = log_of_six(true);
    memory.tamper(FIRST, |bytes| bytes[6 * BLOCK + 200] ^= 1);
    match refusal(&memory) {
        ScanError::Damaged { batch: BatchNo(6), durable: BatchNo(6), .. } => {}
        other => panic!("{other}"),
    }
}

#[test]
fn damage_in_the_last_batch_of_a_closed_log_is_refused() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 2, 200);
    log.close(Timestamp(1_000)).unwrap();
    memory.tamper(FIRST, |bytes| bytes[BLOCK..].fill(0));
    assert!(matches!(refusal(&memory), ScanError::Damaged { batch: BatchNo(1), .. }));
}

#[test]
fn a_refused_log_is_not_changed() {
    let memory = log_of_six(false);
    memory.tamper(FIRST, |bytes| bytes[3 * BLOCK] ^= 1);
    let names = ["MANIFEST.0", "MANIFEST.1", FIRST];
    let before = names.map(|name| memory.bytes(name));
    refusal(&memory);
    refusal(&memory);
    assert!(before == names.map(|name| memory.bytes(name)));
}

#[test]
fn a_whole_batch_that_is_not_chained_is_an_altered_log() {
    // Two logs that differ in one event, with the same salts: the tail of one behind the head of the other.
    let logs: Vec<Memory> = [7, 8]
        .into_iter()
        .map(|len| {
            let memory = Memory::new();
            let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
            for _ in 0..4 {
                append(&mut log, 2, 30 + len);
                log.drain().unwrap();
            }
            drop(log);
            memory
        })
        .collect();
    let other = logs[1].bytes(FIRST).unwrap();
    logs[0].tamper(FIRST, |bytes| bytes[3 * BLOCK..].copy_from_slice(&other[3 * BLOCK..]));
    match refusal(&logs[0]) {
        ScanError::ChainBroken { offset, batch, .. } => {
            assert_eq!((offset, batch), (3 * BLOCK as u64, BatchNo(3)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_batch_at_the_place_of_another_is_refused() {
    let memory = log_of_six(false);
    memory.tamper(FIRST, |bytes| bytes.copy_within(4 * BLOCK..5 * BLOCK, 2 * BLOCK));
    match refusal(&memory) {
        ScanError::Damaged { batch: BatchNo(2), reason: Damage::Misdirected { found, .. }, .. } => {
            assert_eq!(found, BatchNo(4));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_read_error_is_not_a_torn_tail() {
    let memory = log_of_six(false);
    for after in 0..6 {
        const EIO: i32 = 5;
        memory.fail(Fault { step: Step::Read, after, times: u64::MAX, outcome: Outcome::Errno(EIO) });
        assert!(matches!(refusal(&memory), ScanError::Unreadable { .. }), "read {after}");
        memory.heal();
    }
    assert!(open(&memory_options(&memory)).is_ok());
}

#[test]
fn a_truncated_file_is_refused_even_where_no_mark_speaks() {
    let memory = log_of_six(false);
    for len in [4 * BLOCK, 4 * BLOCK - 100, 3 * BLOCK + 50] {
        memory.tamper(FIRST, |bytes| bytes.truncate(len));
        // Batches 4 to 6 are gone with their marks, but a segment has its full size before it is used.
        assert!(matches!(refusal(&memory), ScanError::Truncated { len: found, .. } if found == len as u64));
    }
}

/// Found by fuzzing: where nothing of it was there, the first segment of a log without its front was made anew with the first
/// append. Until then nothing said where the log begins, and the next opening missed what had been cut off.
#[test]
fn a_log_without_its_front_keeps_the_header_that_says_where_it_begins() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    while memory.bytes(SECOND).is_none_or(|bytes| bytes[BLOCK] == 0) {
        append(&mut log, 3, 5_000);
        log.drain().unwrap();
    }
    drop(log);
    let second = memory.bytes(SECOND).unwrap();
    let before = BatchNo(u64::from_le_bytes(second[72..80].try_into().unwrap()) - 1);
    memory.remove(FIRST).unwrap();
    let emptied = second[..BLOCK].iter().copied().chain(vec![0; second.len() - BLOCK]).collect::<Vec<_>>();
    memory.tamper(SECOND, |bytes| bytes.clone_from(&emptied));
    for slot in names::MANIFEST {
        memory.tamper_if_there(slot, |bytes| {
            for (at, number) in [(48, 2), (64, before.0)] {
                bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(number));
            }
            let crc = crc32c::crc32c(&bytes[..124]);
            bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        });
    }
    for _ in 0..2 {
        let (_, recovered, _) = open(&memory_options(&memory)).unwrap();
        assert_eq!((recovered.batches, recovered.last_batch), (0, before));
        assert!(memory.bytes(SECOND).unwrap() == emptied, "it stays as it was");
    }
    let without = memory.copy();
    without.remove(SECOND).unwrap();
    assert!(matches!(refusal(&without), ScanError::MissingSegment { .. }));
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 3, 100);
    log.drain().unwrap();
    drop(log);
    let (_, recovered) = Log::open(&memory_options(&memory), |_| Ok(())).unwrap();
    assert_eq!((recovered.batches, recovered.last_batch), (1, before.next()));
}
