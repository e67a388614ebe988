//! One test per row of the recovery table, named after it.

#[path = "common/log.rs"]
mod common;

use std::sync::Arc;

use common::{append, batch, expect_events, memory_options, open, options, temp};
use downbeat_record::{BLOCK, BatchKind, BatchNo, Seq, Timestamp};
use downbeat_wal::storage::memory::{Fate, Fault, Outcome, Sector, Step};
use downbeat_wal::storage::{Access, File, Storage};
use downbeat_wal::{
    BackendChoice, Log, Memory, OpenError, Options, ReadError, ReadOptions, Reader, Row, ScanError, names,
};

const FIRST: &str = "00000000000000000001.seg";
const SECOND: &str = "00000000000000000002.seg";
const THIRD: &str = "00000000000000000003.seg";

/// A log of `batches` batches of three events; 15 of them fill a segment when `len` is 5000.
fn log_of(batches: u64, len: usize) -> Memory {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..batches {
        append(&mut log, 3, len);
        log.drain().unwrap();
    }
    drop(log);
    memory
}

fn refused(memory: &Memory) -> ScanError {
    match open(&memory_options(memory)) {
        Err(OpenError::Scan(error)) => error,
        Err(other) => panic!("another error: {other}"),
        Ok((_, recovered, _)) => panic!("opened with row {}", recovered.row),
    }
}

fn row_of(memory: &Memory) -> Row {
    let (log, recovered, _) = open(&memory_options(memory)).unwrap();
    drop(log);
    recovered.row
}

#[test]
fn row_a_a_fresh_directory_becomes_a_log() {
    let memory = Memory::new();
    assert_eq!(row_of(&memory), Row::A);
}

#[test]
fn row_a_a_creation_cut_short_at_any_step_is_begun_again() {
    for step in [Step::Create, Step::Allocate, Step::Write, Step::Sync, Step::Rename, Step::SyncDir] {
        for after in 0..4 {
            let memory = Memory::new();
            memory.fail(Fault { step, after, times: u64::MAX, outcome: Outcome::Errno(5) });
            let _ = open(&memory_options(&memory));
            memory.power_cut(|_| Fate::Lost);
            let (mut log, recovered, _) = open(&memory_options(&memory)).unwrap();
            assert!(matches!(recovered.row, Row::A | Row::B), "{step:?} {after}: {}", recovered.row);
            append(&mut log, 1, 8);
            log.drain().unwrap();
        }
    }
}

#[test]
fn row_a_a_segment_that_holds_nothing_is_in_nobodys_way() {
    let memory = Memory::new();
    memory.open(FIRST, Access::Create).unwrap();
    memory.tamper(FIRST, |bytes| bytes.resize(256 << 10, 0));
    assert_eq!(row_of(&memory), Row::A);
}

#[test]
fn row_b_a_log_without_batches_is_empty() {
    let memory = Memory::new();
    drop(open(&memory_options(&memory)).unwrap());
    assert_eq!(row_of(&memory), Row::B);
}

#[test]
fn row_b_the_number_of_a_header_without_batches_is_used_again() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    memory.hold(true);
    log.append(&mut batch(Seq(1), 3, 100)).unwrap();
    std::mem::forget(log);
    memory.power_cut(|write| if write.offset == 0 { Fate::Kept } else { Fate::Lost });
    let (mut log, recovered, _) = open(&memory_options(&memory)).unwrap();
    assert_eq!(recovered.row, Row::B);
    append(&mut log, 3, 100);
    log.drain().unwrap();
    drop(log);
    expect_events(&open(&memory_options(&memory)).unwrap().2, 3, 100);
    let used = |name| memory.bytes(name).unwrap()[..8] == *b"DOWNBEAT";
    assert!(used(FIRST) && !used(SECOND), "the first segment was used");
}

#[test]
fn row_c_behind_a_closed_log_nothing_is_read() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 3, 100);
    log.close(Timestamp(100)).unwrap();
    assert_eq!(row_of(&memory), Row::C);
}

/// A device that confirmed the manifest of the next writer and lost it.
#[test]
fn row_c_a_segment_used_after_the_close_is_looked_at() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 3, 100);
    log.close(Timestamp(100)).unwrap();
    let closed = names::MANIFEST.map(|name| memory.bytes(name).unwrap());
    let (mut log, recovered, _) = open(&memory_options(&memory)).unwrap();
    assert_eq!(recovered.row, Row::C);
    for _ in 0..2 {
        append(&mut log, 3, 100);
        log.drain().unwrap();
    }
    drop(log);
    for (name, closed) in names::MANIFEST.iter().zip(&closed) {
        memory.tamper(name, |bytes| bytes.copy_from_slice(closed));
    }
    memory.tamper(SECOND, |bytes| bytes[..BLOCK].fill(0xEE));
    let before = memory.bytes(SECOND);
    assert_eq!(refused(&memory).row(), Some(Row::H));
    assert_eq!(memory.bytes(SECOND), before, "nothing is changed");
}

#[test]
fn row_d_zeros_behind_the_kept_batches_are_no_cut() {
    let memory = log_of(20, 5_000);
    let (_, recovered, kept) = open(&memory_options(&memory)).unwrap();
    assert_eq!((recovered.row, recovered.cut), (Row::D, None));
    expect_events(&kept, 60, 5_000);
}

#[test]
fn row_e_a_torn_batch_is_cut_and_noted_in_a_new_segment() {
    let memory = log_in_flight(&[Fate::Torn(vec![Sector::New; 3])], 2_000);
    let (mut log, recovered, kept) = open(&memory_options(&memory)).unwrap();
    assert_eq!(recovered.row, Row::E);
    expect_events(&kept, 9, 2_000);
    let cut = recovered.cut.unwrap();
    assert_eq!((cut.kept, cut.kept_seq, cut.row.as_str()), (BatchNo(3), Seq(9), "E"));
    assert_eq!((cut.segment.as_deref(), cut.offset), (Some(FIRST), 7 * BLOCK as u64));
    let before = memory.bytes(FIRST).unwrap();
    append(&mut log, 3, 2_000);
    log.drain().unwrap();
    drop(log);
    let (_, _, kept) = open(&memory_options(&memory)).unwrap();
    assert_eq!(kept.batches[3].0, BatchKind::Recovery);
    expect_events(&kept, 12, 2_000);
    assert!(memory.bytes(FIRST).unwrap() == before, "the old segment is as it was");
}

#[test]
fn row_e_any_byte_behind_the_end_is_seen() {
    for bytes in [&[1][..], &[1, 1], &[0x80, 0x40, 0xC0]] {
        let memory = log_of(1, 100);
        let at = 3 * BLOCK + 100;
        memory.tamper(FIRST, |file| file[at..at + bytes.len()].copy_from_slice(bytes));
        assert_eq!(row_of(&memory), Row::E, "{bytes:?}");
    }
}

#[test]
fn row_f_whole_batches_behind_a_gap_are_cut() {
    let memory = log_in_flight(&[Fate::Lost, Fate::Kept, Fate::Kept], 2_000);
    let (_, recovered, kept) = open(&memory_options(&memory)).unwrap();
    assert_eq!(recovered.row, Row::F);
    assert_eq!(recovered.cut.unwrap().dropped, [BatchNo(5), BatchNo(6)]);
    expect_events(&kept, 9, 2_000);
}

#[test]
fn row_g_a_torn_header_of_the_next_segment_is_the_end() {
    let memory = log_of(15, 5_000);
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    memory.hold(true);
    append(&mut log, 3, 5_000);
    std::mem::forget(log);
    memory.power_cut(|write| {
        let header = write.offset == 0 && write.file == SECOND;
        // Half a sector of the header's 256 bytes cannot be; garbage in the sector can.
        if header { Fate::Torn(vec![Sector::Garbage]) } else { Fate::Lost }
    });
    let (mut log, recovered, kept) = open(&memory_options(&memory)).unwrap();
    assert_eq!(recovered.row, Row::G);
    expect_events(&kept, 45, 5_000);
    append(&mut log, 3, 5_000);
    log.drain().unwrap();
    drop(log);
    expect_events(&open(&memory_options(&memory)).unwrap().2, 48, 5_000);
}

/// Found by the simulator: the header proper fits into the first sector of its block. Torn behind that, it counted
/// as the header of a build with other features, and the log was refused until somebody moved the file away.
#[test]
fn row_g_a_header_torn_behind_its_first_sector_is_torn() {
    for rest in [Sector::Garbage, Sector::Zero] {
        let memory = log_of(15, 5_000);
        let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
        memory.hold(true);
        append(&mut log, 3, 5_000);
        std::mem::forget(log);
        memory.power_cut(|write| {
            let header = write.offset == 0 && write.file == SECOND;
            if header { Fate::Torn(vec![Sector::New, rest, rest]) } else { Fate::Lost }
        });
        let (_, recovered, kept) = open(&memory_options(&memory)).unwrap();
        assert_eq!(recovered.row, if rest == Sector::Garbage { Row::G } else { Row::D });
        expect_events(&kept, 45, 5_000);
    }
}

/// Found by fuzzing: with no batch kept, only the header of the first segment was asked, and the torn one of the second went
/// without a word.
#[test]
fn row_g_a_torn_header_behind_a_segment_without_batches_is_torn() {
    let memory = log_of(20, 5_000);
    names::MANIFEST.iter().for_each(|name| _ = memory.tamper_if_there(name, |bytes| bytes[60] ^= 1));
    memory.tamper(FIRST, |bytes| bytes[BLOCK..].fill(0));
    memory.tamper(SECOND, |bytes| (bytes[48] ^= 1, bytes[BLOCK..].fill(0)).1);
    let (_, recovered, _) = open(&memory_options(&memory)).unwrap();
    assert_eq!((recovered.row, recovered.batches), (Row::G, 0));
}

/// Found by the simulator: with the header of the next segment torn by a crash, what stood behind a damaged batch in
/// the segment before was not looked at, and acknowledged batches were cut as a torn tail.
#[test]
fn row_h_a_torn_header_hides_no_damage_in_the_segment_before() {
    let memory = log_of(15, 5_000);
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    memory.hold(true);
    append(&mut log, 3, 5_000);
    std::mem::forget(log);
    memory.power_cut(|write| {
        let header = write.offset == 0 && write.file == SECOND;
        if header { Fate::Torn(vec![Sector::Garbage]) } else { Fate::Lost }
    });
    // The manifest knows less than the batches behind the damage.
    for name in names::MANIFEST {
        memory.tamper_if_there(name, |bytes| bytes.fill(0));
    }
    // The third batch of fifteen, which take four blocks each.
    memory.tamper(FIRST, |bytes| bytes[9 * BLOCK..13 * BLOCK].fill(0));
    let error = refused(&memory);
    assert_eq!(error.row(), Some(Row::H), "{error}");
    assert!(error.to_string().contains(FIRST), "{error}");
}

/// Found by fuzzing: the torn header was taken for the place where the log ends, and what stood behind the damage in
/// the segment before it, marks included, was not looked at. Fifteen acknowledged batches were cut to one.
#[test]
fn row_h_damage_is_seen_although_the_next_header_is_torn() {
    let memory = log_of(15, 5_000);
    memory.tamper(FIRST, |bytes| bytes[5 * BLOCK + 500] ^= 1);
    memory.tamper(SECOND, |bytes| bytes[..BLOCK].fill(7));
    match refused(&memory) {
        ScanError::Damaged { path, offset, batch, durable, .. } => {
            assert_eq!((path.ends_with(FIRST), offset), (true, 5 * BLOCK as u64));
            assert_eq!((batch, durable), (BatchNo(2), BatchNo(14)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn row_h_damage_at_or_before_a_durable_mark_is_refused() {
    let memory = log_of(20, 5_000);
    memory.tamper(FIRST, |bytes| bytes[BLOCK + 500] ^= 1);
    let error = refused(&memory);
    assert_eq!(error.row(), Some(Row::H));
    let text = error.to_string();
    assert!(text.contains(FIRST) && text.contains("byte 4096") && text.contains("batch 1"), "{text}");
}

#[test]
fn row_h_a_rotten_or_zeroed_header_before_acknowledged_batches_is_refused() {
    for zero in [false, true] {
        let memory = log_of(40, 5_000);
        memory.tamper(SECOND, |bytes| if zero { bytes[..BLOCK].fill(0) } else { bytes[70] ^= 1 });
        let error = refused(&memory);
        assert_eq!(error.row(), Some(Row::H), "zeroed {zero}: {error}");
    }
    // Also where the segment is the last one: its own batches say that its first ones were durable.
    for zero in [false, true] {
        let memory = log_of(20, 5_000);
        memory.tamper(SECOND, |bytes| if zero { bytes[..BLOCK].fill(0) } else { bytes[70] ^= 1 });
        assert_eq!(refused(&memory).row(), Some(Row::H), "zeroed {zero}");
    }
}

#[test]
fn row_h_a_log_without_manifest_and_header_is_no_place_for_a_new_one() {
    let memory = log_of(3, 100);
    for name in names::MANIFEST {
        memory.tamper_if_there(name, |bytes| bytes.fill(0));
    }
    memory.tamper(FIRST, |bytes| bytes[..BLOCK].fill(0));
    let before = memory.bytes(FIRST);
    match refused(&memory) {
        ScanError::Damaged { path, batch, durable, .. } => {
            assert_eq!((path.ends_with(FIRST), batch, durable), (true, BatchNo(1), BatchNo(2)));
        }
        other => panic!("{other}"),
    }
    assert_eq!(memory.bytes(FIRST), before, "nothing is changed");
    let read = Reader::on(Arc::new(memory), ReadOptions::default()).err();
    assert!(matches!(read, Some(ReadError::Scan(ScanError::Damaged { .. }))), "{read:?}");
}

#[test]
fn row_i_a_read_error_is_refused_wherever_it_happens() {
    let memory = log_of(20, 5_000);
    for after in 0..12 {
        memory.fail(Fault { step: Step::Read, after, times: u64::MAX, outcome: Outcome::Errno(5) });
        assert_eq!(refused(&memory).row(), Some(Row::I), "read {after}");
        memory.heal();
    }
}

#[test]
fn row_j_a_missing_segment_is_refused() {
    for missing in [FIRST, SECOND] {
        let memory = log_of(40, 5_000);
        memory.remove(missing).unwrap();
        assert_eq!(refused(&memory).row(), Some(Row::J), "{missing}");
    }
    // The last one in use: the manifest knows it.
    let memory = log_of(40, 5_000);
    drop(open(&memory_options(&memory)).unwrap());
    memory.remove(THIRD).unwrap();
    assert_eq!(refused(&memory).row(), Some(Row::J));
}

#[test]
fn row_k_a_segment_with_another_past_is_refused() {
    let memory = log_of(40, 5_000);
    let other = log_of(40, 4_999);
    let spliced = other.bytes(SECOND).unwrap();
    // The same log id, as a copy of the log would have it.
    memory.tamper(SECOND, |bytes| *bytes = spliced);
    assert_eq!(refused(&memory).row(), Some(Row::K));
}

#[test]
fn row_l_a_segment_of_another_log_is_refused() {
    let memory = log_of(20, 5_000);
    let other = Memory::new();
    other.random().unwrap();
    let (mut log, _, _) = open(&memory_options(&other)).unwrap();
    append(&mut log, 3, 100);
    log.drain().unwrap();
    let foreign = other.bytes(FIRST).unwrap();
    memory.tamper(SECOND, |bytes| *bytes = foreign);
    assert_eq!(refused(&memory).row(), Some(Row::L));
}

#[test]
fn row_m_a_segment_under_a_wrong_name_is_refused() {
    let memory = log_of(40, 5_000);
    memory.rename(SECOND, "00000000000000000007.seg").unwrap();
    assert_eq!(refused(&memory).row(), Some(Row::M));
}

#[test]
fn row_n_a_newer_major_version_is_refused() {
    let memory = log_of(20, 5_000);
    memory.tamper(SECOND, |bytes| bytes[8] = 2);
    let error = refused(&memory);
    assert_eq!(error.row(), Some(Row::N));
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn row_n_another_fingerprint_is_refused() {
    let memory = log_of(1, 100);
    memory.tamper(FIRST, |bytes| {
        bytes[136] ^= 1;
        let crc = crc32c::crc32c(&bytes[..252]);
        bytes[252..256].copy_from_slice(&crc.to_le_bytes());
    });
    assert_eq!(refused(&memory).row(), Some(Row::N));
}

/// Found by reading: it was cut like a torn end. Who goes back to an older build must not lose what the newer one acknowledged.
#[test]
fn row_n_a_batch_of_a_later_format_is_refused_and_not_cut() {
    let (version, kind, flags) = (4, 5, 6);
    for (at, said) in [(version, "version 2"), (kind, "kind 2"), (flags, "feature")] {
        let memory = log_of(1, 100);
        memory.tamper(FIRST, |bytes| {
            let header = &mut bytes[BLOCK..BLOCK + 128];
            header[at] = if at == kind { 200 } else { 2 };
            let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..128]);
            header[12..16].copy_from_slice(&crc.to_le_bytes());
        });
        let error = refused(&memory);
        assert_eq!(error.row(), Some(Row::N), "{error}");
        assert!(
            error.to_string().contains(said) && error.to_string().contains("use a newer build"),
            "{error}"
        );
        let mut reader = Reader::on(Arc::new(memory), ReadOptions::default()).unwrap();
        assert!(matches!(reader.next_batch(), Err(ReadError::Scan(ScanError::NewerBatch { .. }))));
    }
}

/// Found by reading: where the batch before it was damaged, it was not asked, although it said that that one was durable.
#[test]
fn row_n_a_batch_of_a_later_format_is_refused_behind_damage_too() {
    let memory = log_of(2, 100);
    memory.tamper(FIRST, |bytes| {
        bytes[BLOCK + 200] ^= 1;
        let header = &mut bytes[2 * BLOCK..2 * BLOCK + 128];
        header[5] = 200;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..128]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let error = refused(&memory);
    assert!(matches!(error, ScanError::NewerBatch { offset, .. } if offset == 2 * BLOCK as u64), "{error}");
}

#[test]
fn row_n_numbers_that_nobody_counted_up_to_are_refused() {
    // The epoch of a manifest and of a segment, under a checksum that holds.
    for (file, at, crc_at) in [("MANIFEST.0", 40, 124), (FIRST, 48, 252)] {
        let memory = log_of(1, 100);
        memory.tamper(file, |bytes| {
            bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[..crc_at]);
            bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        });
        let error = refused(&memory);
        assert_eq!(error.row(), Some(Row::N), "{file}: {error}");
        assert!(error.to_string().contains("cannot be true"), "{error}");
    }
}

#[test]
fn row_o_a_link_is_not_followed() {
    let dir = temp();
    let options = options(dir.path(), BackendChoice::Blocking);
    drop(open(&options).unwrap());
    std::os::unix::fs::symlink("/dev/null", dir.path().join("00000000000000000099.seg")).unwrap();
    match open(&options) {
        Err(OpenError::Scan(error)) => assert_eq!(error.row(), Some(Row::O)),
        other => panic!("{:?}", other.map(|(_, recovered, _)| recovered)),
    }
}

#[test]
fn row_p_a_truncated_segment_is_refused() {
    let memory = log_of(1, 100);
    memory.tamper(FIRST, |bytes| bytes.truncate(3 * BLOCK));
    assert_eq!(refused(&memory).row(), Some(Row::P));
}

#[test]
fn row_q_a_lost_manifest_is_refused_only_where_it_leaves_a_doubt() {
    let memory = log_of(40, 5_000);
    for slot in ["MANIFEST.0", "MANIFEST.1"] {
        memory.tamper_if_there(slot, |bytes| bytes[20] ^= 1);
    }
    let copy = memory.copy();
    let (_, recovered, kept) = open(&memory_options(&memory)).unwrap();
    expect_events(&kept, 120, 5_000);
    assert_eq!(recovered.notices.len(), 1);
    copy.remove(FIRST).unwrap();
    assert_eq!(refused(&copy).row(), Some(Row::Q));
}

#[test]
fn one_torn_manifest_slot_costs_nothing() {
    for slot in ["MANIFEST.0", "MANIFEST.1"] {
        let memory = log_of(5, 100);
        drop(open(&memory_options(&memory)).unwrap());
        memory.tamper(slot, |bytes| bytes[20] ^= 1);
        let (_, _, kept) = open(&memory_options(&memory)).unwrap();
        expect_events(&kept, 15, 100);
    }
}

/// Always the other slot, and a higher generation: a write that is torn leaves the one before it.
#[test]
fn an_opening_writes_the_slots_in_turn() {
    let generations = |memory: &Memory| {
        let generation = |name| {
            let bytes = memory.bytes(name)?;
            Some(u64::from_le_bytes(bytes[16..24].try_into().unwrap()))
        };
        names::MANIFEST.map(generation)
    };
    let memory = Memory::new();
    drop(open(&memory_options(&memory)).unwrap());
    assert_eq!(generations(&memory), [None, Some(1)]);
    // The segment that lies ready is removed, between one and the other.
    drop(open(&memory_options(&memory)).unwrap());
    assert_eq!(generations(&memory), [Some(2), Some(3)]);
}

#[test]
fn what_a_later_epoch_cut_stays_cut_even_when_it_reads_well_again() {
    // A killed process had a batch in flight; it reached the disk only after the next writer had recovered.
    let memory = log_in_flight(&[Fate::Kept], 2_000);
    let late = memory.bytes(FIRST).unwrap();
    let memory = log_in_flight(&[Fate::Lost], 2_000);
    let (mut log, _, kept) = open(&memory_options(&memory)).unwrap();
    expect_events(&kept, 9, 2_000);
    append(&mut log, 1, 2_000);
    log.drain().unwrap();
    drop(log);
    memory.tamper(FIRST, |bytes| *bytes = late);
    let (_, recovered, kept) = open(&memory_options(&memory)).unwrap();
    expect_events(&kept, 10, 2_000);
    assert_eq!(recovered.row, Row::D);
}

#[test]
fn a_batch_that_a_later_epoch_had_kept_is_missed() {
    let memory = log_of(3, 2_000);
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 1, 2_000);
    log.drain().unwrap();
    drop(log);
    // The third batch has no mark of its own epoch behind it.
    memory.tamper(FIRST, |bytes| bytes[5 * BLOCK + 300] ^= 1);
    assert_eq!(refused(&memory).row(), Some(Row::H));
}

/// Neither the manifest nor a mark says it, only where that writer began.
#[test]
fn what_a_later_epoch_had_kept_is_missed_by_the_word_of_its_header_alone() {
    let memory = log_of(3, 5_000);
    let manifests = names::MANIFEST.map(|slot| memory.bytes(slot));
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    memory.hold(true);
    append(&mut log, 3, 5_000);
    std::mem::forget(log);
    memory.power_cut(|write| if write.offset == 0 && write.file == SECOND { Fate::Kept } else { Fate::Lost });
    for (slot, bytes) in names::MANIFEST.into_iter().zip(&manifests) {
        memory.tamper_if_there(slot, |content| content.clone_from(bytes.as_ref().unwrap_or(&Vec::new())));
    }
    assert_eq!(row_of(&memory.copy()), Row::D, "all is there");
    memory.tamper(FIRST, |bytes| bytes[9 * BLOCK..13 * BLOCK].fill(0));
    let mut reader = Reader::on(Arc::new(memory.clone()), ReadOptions::default()).unwrap();
    let read = reader.batches().find_map(Result::err).expect("a reader misses it too");
    let ReadError::Scan(read) = read else { panic!("{read}") };
    for error in [refused(&memory), read] {
        match error {
            ScanError::Damaged { batch, durable, .. } => {
                assert_eq!((batch, durable), (BatchNo(3), BatchNo(3)))
            }
            other => panic!("{other}"),
        }
    }
}

/// A first segment that claims to begin later would leave out what is in it.
#[test]
fn a_log_begins_with_its_first_batch_whatever_the_header_of_its_first_segment_says() {
    for (at, number) in [(64, 4), (72, 2)] {
        let memory = log_of(1, 100);
        memory.tamper(FIRST, |bytes| {
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(number));
            let crc = crc32c::crc32c(&bytes[..252]);
            bytes[252..256].copy_from_slice(&crc.to_le_bytes());
        });
        refused(&memory);
    }
}

#[test]
fn a_crash_in_the_middle_of_recovery_changes_nothing() {
    for step in [Step::Write, Step::Sync, Step::SyncDir, Step::Create, Step::Rename, Step::Remove] {
        for after in 0..6 {
            let memory = log_in_flight(&[Fate::Lost, Fate::Kept], 2_000);
            memory.fail(Fault { step, after, times: u64::MAX, outcome: Outcome::Errno(5) });
            let _ = open(&memory_options(&memory));
            memory.power_cut(|_| Fate::Torn(vec![Sector::New]));
            let (mut log, recovered, kept) = open(&memory_options(&memory)).unwrap();
            assert_eq!(recovered.row, Row::F, "{step:?} {after}");
            expect_events(&kept, 9, 2_000);
            append(&mut log, 1, 2_000);
            log.drain().unwrap();
        }
    }
}

/// The manifest of the process before may need the segment that it was about to begin.
#[test]
fn a_crash_in_the_middle_of_recovery_needs_no_segment_that_was_removed() {
    for acknowledged in 0..16 {
        for (step, after) in [Step::Write, Step::Sync, Step::SyncDir]
            .into_iter()
            .flat_map(|step| (0..4).map(move |after| (step, after)))
        {
            let memory = Memory::new();
            let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
            for _ in 0..acknowledged {
                append(&mut log, 3, 5_000);
                log.drain().unwrap();
            }
            memory.hold(true);
            append(&mut log, 3, 5_000);
            let _ = log.poll();
            std::mem::forget(log);
            memory.power_cut(|_| Fate::Lost);
            memory.fail(Fault { step, after, times: u64::MAX, outcome: Outcome::Errno(5) });
            let _ = open(&memory_options(&memory));
            memory.power_cut(|_| Fate::Lost);
            memory.heal();
            let (_, recovered, _) = open(&memory_options(&memory))
                .unwrap_or_else(|error| panic!("{acknowledged}, {step:?} {after}: {error}"));
            assert_eq!(recovered.next_seq, Seq(3 * acknowledged + 1));
        }
    }
}

/// Found by the simulator (seeds 6012943 and 6091718 on 026ccad). Of two processes that were killed, the first one's last batch
/// lands late, is kept, and what the second one began over it lands after an opening that did not come to its end.
#[test]
fn an_opening_that_cannot_remove_what_lies_behind_has_said_nothing_of_what_it_kept() {
    let memory = Memory::new();
    let (mut first, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..3 {
        append(&mut first, 3, 100);
        first.drain().unwrap();
    }
    let between = memory.copy();
    append(&mut first, 3, 100);
    first.drain().unwrap();
    let late = memory.bytes(FIRST).unwrap();

    let (mut second, _, kept) = open(&memory_options(&between)).unwrap();
    expect_events(&kept, 9, 100);
    append(&mut second, 1, 100);
    second.drain().unwrap();
    drop(second);
    let later = between.bytes(SECOND).unwrap();
    between.tamper(SECOND, |bytes| bytes.fill(0));
    between.tamper(FIRST, |bytes| bytes.copy_from_slice(&late));

    for step in [Step::Remove, Step::SyncDir] {
        let memory = between.copy();
        memory.fail(Fault { step, after: 0, times: 1, outcome: Outcome::Errno(5) });
        assert!(matches!(refused(&memory), ScanError::Io { action: "remove" | "sync", .. }), "{step:?}");
        assert_eq!(memory.heal(), 1);
        // What was not removed for good is there again.
        memory.power_cut(|_| Fate::Lost);
        memory.tamper(SECOND, |bytes| bytes[..BLOCK].copy_from_slice(&later[..BLOCK]));
        let (_, _, kept) = open(&memory_options(&memory)).unwrap();
        expect_events(&kept, 9, 100);
    }
}

/// Three acknowledged batches and one more in flight per fate.
fn log_in_flight(fates: &[Fate], len: usize) -> Memory {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..3 {
        append(&mut log, 3, len);
        log.drain().unwrap();
    }
    memory.hold(true);
    for _ in fates {
        append(&mut log, 3, len);
    }
    std::mem::forget(log);
    let mut fates = fates.iter().cloned();
    memory.power_cut(|write| {
        if write.file.ends_with(".seg") { fates.next().unwrap_or(Fate::Lost) } else { Fate::Lost }
    });
    memory
}

/// So that the seam stays object safe.
#[allow(dead_code)]
fn seam(_: Arc<dyn Storage>, _: Arc<dyn File>) {}

#[test]
fn row_q_a_file_that_only_has_the_name_of_a_segment_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("00000000000000000001.seg");
    std::fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    let error = Log::open(&Options::new(dir.path()), |_| Ok(())).err().expect("this is no log");
    let message = error.to_string();
    assert!(message.contains("00000000000000000001.seg"), "{message}");
    assert!(message.contains("move the file away"), "{message}");
    assert_eq!(std::fs::read(&file).unwrap(), vec![b'x'; 1 << 20]);
}
