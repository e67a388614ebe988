//! What was in flight at a power cut is cut, and nothing else: any part of it may have reached the disk.

#[path = "common/log.rs"]
mod common;

use common::{Kept, append, batch, expect_events, fill, memory_options, open};
use downbeat_record::{AlignedBuf, BLOCK, Batch, BatchKind, BatchNo, SegmentId, Seq};
use downbeat_wal::storage::Storage;
use downbeat_wal::storage::memory::{Fate, SECTOR, Sector};
use downbeat_wal::{Memory, Reader, Row, Trust, names};
use std::sync::Arc;

/// A log with `acknowledged` batches of three events, and `in_flight` more that the disk has not finished.
fn log_in_flight(acknowledged: u64, in_flight: u64, len: usize) -> Memory {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..acknowledged {
        append(&mut log, 3, len);
        log.drain().unwrap();
    }
    memory.hold(true);
    for _ in 0..in_flight {
        let mut batch = batch(log.next_seq(), 3, len);
        log.append(&mut batch).unwrap();
    }
    std::mem::forget(log);
    memory
}

fn is_segment(file: &str) -> bool {
    file.ends_with(".seg")
}

/// Opens after a cut, twice, and a reader beside it: all must agree. Returns the kept events and the row.
fn recovered(memory: &Memory, context: &str) -> (Kept, Row) {
    let read: Vec<_> = {
        let options = downbeat_wal::ReadOptions { trust: Trust::Everything, ..Default::default() };
        let storage: Arc<dyn Storage> = Arc::new(memory.copy());
        let mut reader = Reader::on(storage, options).unwrap_or_else(|error| panic!("{context}: {error}"));
        reader.batches().map(|located| located.expect(context).batch.first_seq()).collect()
    };
    let (log, first, kept) =
        open(&memory_options(memory)).unwrap_or_else(|error| panic!("{context}: {error}"));
    drop(log);
    let (log, second, again) = open(&memory_options(memory)).unwrap();
    drop(log);
    assert_eq!(kept, again, "{context}: the second recovery keeps the same");
    assert_eq!(
        first.cut.is_some(),
        second.cut.is_some() || first.row == Row::F || first.row == Row::G,
        "{context}"
    );
    assert_eq!(kept.batches.iter().map(|(_, seq, _)| *seq).collect::<Vec<_>>(), read, "{context}: reader");
    (kept, first.row)
}

#[test]
fn a_torn_tail_at_every_sector_boundary_is_cut_and_nothing_else() {
    for fill in [Sector::Zero, Sector::Old, Sector::Garbage] {
        let sectors = 8 * 1024 / SECTOR;
        for reached in 0..=sectors {
            let memory = log_in_flight(4, 1, 2_000);
            memory.power_cut(|write| {
                if !is_segment(&write.file) {
                    return Fate::Lost;
                }
                let mut torn = vec![Sector::New; reached];
                torn.resize(write.len / SECTOR, fill);
                Fate::Torn(torn)
            });
            let (kept, row) = recovered(&memory, &format!("{fill:?} from sector {reached}"));
            // The last three sectors are padding: zeros there are what was written.
            let whole = reached == sectors || (fill != Sector::Garbage && reached >= sectors - 3);
            expect_events(&kept, if whole { 15 } else { 12 }, 2_000);
            match (whole, reached, fill) {
                (true, ..) => assert_eq!(row, Row::D),
                (_, 0, Sector::Zero | Sector::Old) => assert_eq!(row, Row::D),
                _ => assert_eq!(row, Row::E, "{fill:?} from sector {reached}"),
            }
        }
    }
}

#[test]
fn one_lost_sector_in_the_middle_cuts_the_batch() {
    for lost in 0..16 {
        let memory = log_in_flight(2, 1, 2_000);
        memory.power_cut(|write| {
            let mut torn = vec![Sector::New; write.len / SECTOR];
            if let Some(sector) = torn.get_mut(lost) {
                *sector = Sector::Zero;
            }
            if is_segment(&write.file) { Fate::Torn(torn) } else { Fate::Lost }
        });
        let (kept, _) = recovered(&memory, &format!("sector {lost}"));
        // The last sectors of a batch may be padding: zeros there are what was written.
        assert!(kept.events.len() == 6 || (lost >= 12 && kept.events.len() == 9), "sector {lost}");
    }
}

#[test]
fn every_subset_of_the_writes_in_flight_recovers_to_a_prefix() {
    for in_flight in 1..=4u64 {
        for subset in 0..1u32 << in_flight {
            for torn in [false, true] {
                let memory = log_in_flight(3, in_flight, 500);
                let mut index = 0;
                memory.power_cut(|write| {
                    if !is_segment(&write.file) {
                        return Fate::Lost;
                    }
                    let kept = subset & (1 << index) != 0;
                    index += 1;
                    match (kept, torn) {
                        (true, _) => Fate::Kept,
                        (false, false) => Fate::Lost,
                        (false, true) => Fate::Torn(vec![Sector::New, Sector::Garbage]),
                    }
                });
                assert_eq!(index, in_flight, "all of them were unsynced");
                let context = format!("{in_flight} in flight, {subset:b} kept, torn {torn}");
                let (kept, row) = recovered(&memory, &context);
                let prefix = u64::from(subset.trailing_ones()).min(in_flight);
                expect_events(&kept, 9 + 3 * prefix, 500);
                if prefix == in_flight {
                    assert_eq!(row, Row::D, "{context}");
                } else if subset >> prefix != 0 {
                    assert_eq!(row, Row::F, "{context}");
                }
            }
        }
    }
}

#[test]
fn an_island_is_never_resurrected_by_later_appends() {
    let memory = log_in_flight(3, 3, 500);
    let mut index = 0;
    memory.power_cut(|write| {
        index += 1;
        // The first of the three is lost, the other two are whole.
        if is_segment(&write.file) && index > 1 { Fate::Kept } else { Fate::Lost }
    });
    let (mut log, recovered, kept) = open(&memory_options(&memory)).unwrap();
    expect_events(&kept, 9, 500);
    assert_eq!(recovered.row, Row::F);
    let cut = recovered.cut.unwrap();
    assert_eq!(cut.dropped.len(), 2);
    assert_eq!(cut.kept_seq, Seq(9));
    // Exactly one batch of the same size: the island would fit right behind it.
    let mut replacement = Batch::with_capacity(64 << 10, u16::MAX);
    fill(&mut replacement, Seq(10), 3, 500);
    log.append(&mut Arc::new(replacement)).unwrap();
    log.drain().unwrap();
    drop(log);
    memory.power_cut(|_| Fate::Lost);

    let (log, recovered, kept) = open(&memory_options(&memory)).unwrap();
    expect_events(&kept, 12, 500);
    assert_eq!(recovered.row, Row::D);
    let notes = kept.batches.iter().filter(|(kind, ..)| *kind == BatchKind::Recovery).count();
    assert_eq!(notes, 1, "the cut is noted once");
    drop(log);
}

#[test]
fn islands_in_later_segments_are_cut_as_well_and_their_files_used_again() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    // Sixteen KiB each: the segment of 256 KiB has room for fifteen, so the last ones roll.
    for _ in 0..13 {
        append(&mut log, 7, 2_000);
        log.drain().unwrap();
    }
    memory.hold(true);
    for _ in 0..6 {
        append(&mut log, 7, 2_000);
    }
    let durable = log.durable();
    std::mem::forget(log);
    let mut first = true;
    memory.power_cut(|write| {
        if is_segment(&write.file) && !std::mem::take(&mut first) { Fate::Kept } else { Fate::Lost }
    });
    let (kept, row) = recovered(&memory, "islands over a roll");
    assert_eq!(kept.events.len() as u64, durable.seq.0);
    assert_eq!(row, Row::F);
    for round in 0..3u64 {
        let (mut log, _, kept) = open(&memory_options(&memory)).unwrap();
        expect_events(&kept, durable.seq.0 + round * 60, 2_000);
        for _ in 0..20 {
            append(&mut log, 3, 2_000);
        }
        log.drain().unwrap();
    }
}

#[test]
fn bytes_that_nobody_wrote_are_never_a_batch() {
    let memory = log_in_flight(2, 2, 100);
    memory.power_cut(|write| {
        let garbage = vec![Sector::Garbage; write.len / SECTOR];
        if is_segment(&write.file) { Fate::Torn(garbage) } else { Fate::Lost }
    });
    let (kept, row) = recovered(&memory, "garbage");
    expect_events(&kept, 6, 100);
    assert_eq!(row, Row::E);
}

#[test]
fn a_payload_that_looks_like_a_batch_with_a_high_mark_changes_nothing() {
    // The forgery is a sealed batch of some other log, aligned to a block inside a payload.
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 3, 100);
    log.drain().unwrap();
    let mut forged = Batch::with_capacity(4096, u16::MAX);
    fill(&mut forged, Seq(500), 1, 8);
    forged.seal(&downbeat_record::Stamp {
        batch_no: downbeat_record::BatchNo(1_000),
        epoch: log.epoch(),
        salt: 0,
        prev_root: Default::default(),
        durable: downbeat_record::BatchNo(999),
        clock_error_ns: 0,
    });
    let mut payload = AlignedBuf::zeroed(3 * 4096);
    payload[4096 - 144..][..4096].copy_from_slice(&forged.bytes()[..4096]);
    let mut carrier = Batch::with_capacity(16 << 10, u16::MAX);
    carrier.open(log.next_seq());
    carrier.push(&Default::default(), downbeat_record::Timestamp(100), &payload[..8_200]).unwrap();
    memory.hold(true);
    log.append(&mut Arc::new(carrier)).unwrap();
    std::mem::forget(log);
    // Its first block is torn, so the scan goes on inside the payload.
    memory.power_cut(|write| {
        let mut torn = vec![Sector::New; write.len / SECTOR];
        torn[0] = Sector::Zero;
        if is_segment(&write.file) { Fate::Torn(torn) } else { Fate::Lost }
    });
    let (kept, row) = recovered(&memory, "forged");
    expect_events(&kept, 3, 100);
    assert_eq!(row, Row::E);
}

/// Found by reading: of a writer that came no further than the header of its segment, the next one did not see what had been
/// cut, and nobody ever noted it.
#[test]
fn a_cut_of_which_the_note_was_lost_is_noted_by_the_next_writer() {
    let memory = log_in_flight(3, 2, 2_000);
    let mut fates = [Fate::Lost, Fate::Kept].into_iter();
    memory.power_cut(|write| if is_segment(&write.file) { fates.next().unwrap() } else { Fate::Lost });
    let [first, second] = [1, 2].map(|id| names::segment(SegmentId(id)));
    for kept in [Fate::Lost, Fate::Kept] {
        let (mut log, recovered, _) = open(&memory_options(&memory)).unwrap();
        let cut = recovered.cut.expect("a whole batch is cut");
        assert_eq!((recovered.row, cut.kept, &*cut.dropped), (Row::F, BatchNo(3), &[BatchNo(5)][..]));
        assert_eq!((cut.segment.as_deref(), cut.offset), (Some(first.as_str()), 7 * BLOCK as u64));
        memory.hold(true);
        append(&mut log, 1, 2_000);
        std::mem::forget(log);
        memory.power_cut(|write| match (write.file.as_str(), write.offset) {
            (file, 0) if file == second => kept.clone(),
            _ => Fate::Lost,
        });
    }
    let (mut log, recovered, _) = open(&memory_options(&memory)).unwrap();
    assert_eq!(recovered.row, Row::F);
    append(&mut log, 1, 2_000);
    log.drain().unwrap();
    drop(log);
    let (_, recovered, kept) = open(&memory_options(&memory)).unwrap();
    assert_eq!((recovered.row, recovered.cut, kept.batches[3].0), (Row::D, None, BatchKind::Recovery));
    expect_events(&kept, 10, 2_000);
}
