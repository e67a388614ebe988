//! Reading beside the writer: nothing that could be cut, no gap, no duplicate.

#[path = "common/log.rs"]
mod common;

use std::sync::Arc;

use common::{append, memory_options, on_every_backend, open};
use downbeat_record::{BLOCK, BatchKind, BatchNo, SegmentId, Seq, Timestamp};
use downbeat_wal::storage::Storage;
use downbeat_wal::{
    BackendChoice, Damage, Log, Memory, Options, ReadError, ReadOptions, Reader, Row, ScanError, Trust, names,
};

fn reader(options: &Options, how: ReadOptions) -> Result<Reader, ReadError> {
    match &options.backend {
        BackendChoice::Storage(storage) => Reader::on(Arc::clone(storage), how),
        _ => Reader::open_with(&options.dir, how),
    }
}

/// A log of so many batches, each of so many events of this length, and durable before the next one came.
fn written(options: &Options, batches: usize, events: u64, len: usize) -> Log {
    let (mut log, _, _) = open(options).unwrap();
    for _ in 0..batches {
        append(&mut log, events, len);
        log.drain().unwrap();
    }
    log
}

fn seqs(reader: &mut Reader) -> Vec<u64> {
    let located: Result<Vec<_>, _> = reader.batches().collect();
    let located = located.unwrap();
    located.iter().flat_map(|l| l.batch.records().map(|record| record.seq.0).collect::<Vec<_>>()).collect()
}

#[test]
fn a_reader_follows_a_writer_over_segments_and_sees_only_what_is_durable() {
    on_every_backend(|options| {
        let (mut log, _, _) = open(options).unwrap();
        let mut reader = reader(options, ReadOptions::default()).unwrap();
        let mut seen = Vec::new();
        for _ in 0..100 {
            append(&mut log, 50, 500);
            let durable = log.poll().unwrap();
            seen.extend(seqs(&mut reader));
            assert!(seen.len() as u64 <= durable.seq.0, "{} seen, {} durable", seen.len(), durable.seq);
        }
        log.close(Timestamp(1_000_000)).unwrap();
        seen.extend(seqs(&mut reader));
        assert_eq!(seen, (1..=5_000).collect::<Vec<_>>());
    });
}

#[test]
fn reading_starts_at_any_seq() {
    on_every_backend(|options| {
        let (mut log, _, _) = open(options).unwrap();
        for _ in 0..60 {
            append(&mut log, 60, 500);
        }
        log.close(Timestamp(1_000_000)).unwrap();
        for from in [1, 2, 60, 61, 1_799, 3_600] {
            let mut reader = reader(options, ReadOptions { from: Seq(from), ..Default::default() }).unwrap();
            let first = loop {
                let located = reader.next_batch().unwrap().unwrap();
                if located.batch.kind() == BatchKind::Data {
                    break located;
                }
            };
            assert!(
                first.batch.first_seq() <= Seq(from) && first.batch.next_seq() > Seq(from),
                "from {from}"
            );
            let rest = seqs(&mut reader);
            assert_eq!(
                first.batch.count() as usize + rest.len(),
                (3_601 - first.batch.first_seq().0) as usize
            );
        }
        let mut beyond = reader(options, ReadOptions { from: Seq(9_999), ..Default::default() }).unwrap();
        while let Some(located) = beyond.next_batch().unwrap() {
            assert_ne!(located.batch.kind(), BatchKind::Data);
        }
    });
}

#[test]
fn who_begins_later_does_not_look_at_the_segments_before() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    written(&options, 40, 3, 5_000).close(Timestamp(1_000)).unwrap();
    memory.tamper(&names::segment(SegmentId(1)), |bytes| bytes[BLOCK + 200] ^= 1);
    let later = ReadOptions { from: Seq(100), ..Default::default() };
    assert_eq!(seqs(&mut reader(&options, later).unwrap()), (100..=120).collect::<Vec<_>>());
}

#[test]
fn the_word_of_the_writer_is_a_watermark() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let log = written(&options, 5, 2, 100);
    let mut reader =
        reader(&options, ReadOptions { trust: Trust::UpTo(BatchNo(2)), ..Default::default() }).unwrap();
    assert_eq!(seqs(&mut reader), [1, 2, 3, 4]);
    reader.trust_up_to(log.durable().batch_no);
    assert_eq!(seqs(&mut reader), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn damage_is_named_by_a_reader_as_by_recovery() {
    for (closed, verify_chain) in [(true, true), (true, false), (false, true), (false, false)] {
        let memory = Memory::new();
        let options = memory_options(&memory);
        let log = written(&options, 5, 2, 100);
        if closed {
            log.close(Timestamp(1_000)).unwrap();
        }
        memory.tamper("00000000000000000001.seg", |bytes| bytes[3 * BLOCK + 200] ^= 1);
        for trust in [Trust::Durable, Trust::Everything] {
            let how = ReadOptions { trust, verify_chain, ..Default::default() };
            let mut reader = reader(&options, how).unwrap();
            let read: Vec<_> = reader.batches().collect();
            assert_eq!(read.len(), 3);
            match read.last() {
                Some(Err(ReadError::Scan(ScanError::Damaged { offset, batch, first_seq, .. }))) => {
                    assert_eq!((*offset, *batch, *first_seq), (3 * BLOCK as u64, BatchNo(3), Seq(5)));
                }
                _ => panic!("the third batch is damaged"),
            }
        }
    }
}

/// Found by reading: it was said that less was durable than what is missing.
#[test]
fn what_a_reader_was_told_is_durable_stands_in_the_word_of_what_is_missing() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let _open = written(&options, 5, 2, 100);
    // No later batch says that the last one was durable.
    memory.tamper("00000000000000000001.seg", |bytes| bytes[5 * BLOCK + 200] ^= 1);
    let mut reader =
        reader(&options, ReadOptions { trust: Trust::UpTo(BatchNo(5)), ..Default::default() }).unwrap();
    match reader.batches().last() {
        Some(Err(ReadError::Scan(ScanError::Damaged { batch, durable, .. }))) => {
            assert_eq!((batch, durable), (BatchNo(5), BatchNo(5)));
        }
        _ => panic!("the last batch is damaged"),
    }
}

/// Found by reading: of the first segment it was said that it had been retired, of another one that the one before was
/// damaged.
#[test]
fn the_damaged_header_of_a_segment_is_named_by_a_reader() {
    for (segment, batches) in [(1, 0), (2, 15)] {
        let memory = Memory::new();
        let options = memory_options(&memory);
        drop(written(&options, 40, 3, 5_000));
        let name = format!("{segment:020}.seg");
        memory.tamper(&name, |bytes| bytes[70] ^= 1);
        let mut reader = reader(&options, ReadOptions::default()).unwrap();
        let read: Vec<_> = reader.batches().collect();
        assert_eq!(read.len(), batches + 1);
        let Some(Err(ReadError::Scan(ScanError::Damaged { path, offset: 0, reason, .. }))) = read.last()
        else {
            panic!("segment {segment}: {:?}", read.last().map(|last| last.as_ref().err()))
        };
        assert!(path.ends_with(&name) && matches!(reason, Damage::Header(_)), "{path:?}: {reason}");
    }
}

#[test]
fn a_segment_with_another_past_is_no_damage_but_an_alteration() {
    let (third, before) = (names::segment(SegmentId(3)), Memory::new());
    drop(written(&memory_options(&before), 10, 3, 5_000));
    let [memory, other] = [5_000, 4_900].map(|len| {
        let memory = before.copy();
        drop(written(&memory_options(&memory), 20, 3, len));
        memory
    });
    let strange = other.bytes(&third).unwrap();
    memory.tamper(&third, |bytes| bytes.copy_from_slice(&strange));
    let mut reader = reader(&memory_options(&memory), ReadOptions::default()).unwrap();
    match reader.batches().last() {
        Some(Err(ReadError::Scan(ScanError::ChainBroken { path, offset: 0, batch }))) => {
            assert!(path.ends_with(&third) && batch == reader.next_no(), "{path:?}, batch {batch}");
        }
        _ => panic!("the third segment continues another log"),
    }
}

/// The next segment begins behind what is missing, and its epoch, which is a later one, says that a writer found all of that.
#[test]
fn what_a_later_writer_found_was_durable() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    for _ in 0..2 {
        drop(written(&options, 7, 3, 5_000));
    }
    for segment in [1, 2] {
        memory.tamper(&names::segment(SegmentId(segment)), |bytes| bytes[BLOCK..].fill(0));
    }
    names::MANIFEST.iter().for_each(|slot| memory.remove(slot).unwrap());
    for verify_chain in [true, false] {
        let how = ReadOptions { trust: Trust::Everything, verify_chain, ..Default::default() };
        match reader(&options, how).unwrap().next_batch() {
            Err(ReadError::Scan(ScanError::Damaged { path, batch, durable, reason, .. })) => {
                assert!(path.ends_with(names::segment(SegmentId(1))), "{path:?}");
                assert_eq!((batch, durable, reason), (BatchNo(1), BatchNo(7), Damage::Zeros));
            }
            _ => panic!("the first segment is empty"),
        }
    }
}

#[test]
fn a_segment_of_another_log_says_nothing_about_this_one() {
    // A copy draws other numbers, so its log has another name.
    let (memory, other) = (Memory::new(), Memory::new().copy());
    let (options, second) = (memory_options(&memory), names::segment(SegmentId(2)));
    for batches in [2, 5] {
        drop(written(&memory_options(&other), batches, 2, 100));
    }
    drop(written(&options, 5, 2, 100));
    let [mut durable, mut everything] = [Trust::Durable, Trust::Everything]
        .map(|trust| reader(&options, ReadOptions { trust, ..Default::default() }).unwrap());
    let strange = other.bytes(&second).unwrap();
    memory.tamper(&second, |bytes| bytes.copy_from_slice(&strange));
    assert_eq!(seqs(&mut durable), (1..=8).collect::<Vec<_>>());
    let read: Vec<_> = everything.batches().collect();
    assert_eq!(read.iter().filter(|located| located.is_ok()).count(), 5);
    match read.last() {
        Some(Err(ReadError::Scan(ScanError::ForeignSegment { path, .. }))) => {
            assert!(path.ends_with(&second), "{path:?}");
        }
        other => panic!("{:?}", other.map(|located| located.as_ref().err())),
    }
}

#[test]
fn a_batch_of_another_log_says_nothing_about_what_is_durable() {
    let (memory, other) = (Memory::new(), Memory::new().copy());
    let (options, first) = (memory_options(&memory), names::segment(SegmentId(1)));
    drop(written(&memory_options(&other), 12, 2, 100));
    drop(written(&options, 5, 2, 100));
    let strange = other.bytes(&first).unwrap();
    let (there, twelfth) = (6 * BLOCK..7 * BLOCK, 12 * BLOCK..13 * BLOCK);
    memory.tamper(&first, |bytes| bytes[there].copy_from_slice(&strange[twelfth]));
    assert_eq!(seqs(&mut reader(&options, ReadOptions::default()).unwrap()), (1..=8).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_cannot_be_opened_is_not_taken_for_none() {
    let dir = common::temp();
    let options = common::options(dir.path(), BackendChoice::Blocking);
    drop(written(&options, 5, 2, 100));
    let second = dir.path().join(names::segment(SegmentId(2)));
    let mut reader = reader(&options, ReadOptions::default()).unwrap();
    // A spare one may have been made or not.
    let _ = std::fs::remove_file(&second);
    std::fs::create_dir(&second).unwrap();
    let refused = reader.next_batch().err().unwrap().to_string();
    assert!(refused.starts_with(&format!("{}: cannot open: ", second.display())), "{refused}");
}

/// A crash may leave a segment that was begun, behind those that replaced it.
#[test]
fn a_segment_of_an_earlier_epoch_is_not_the_next_one() {
    let third = names::segment(SegmentId(3));
    let before = Memory::new();
    drop(written(&memory_options(&before), 10, 3, 5_000));
    let after = before.copy();
    drop(written(&memory_options(&before), 20, 3, 5_000));
    let mut left = before.bytes(&third).unwrap();
    left[BLOCK..].fill(0);
    drop(open(&memory_options(&after)).unwrap());
    // More batches than there were before the third segment of the earlier epoch.
    drop(written(&memory_options(&after), 30, 1, 100));
    after.tamper(&third, |bytes| bytes.copy_from_slice(&left));
    let everything = ReadOptions { trust: Trust::Everything, ..Default::default() };
    let mut reader = reader(&memory_options(&after), everything).unwrap();
    assert_eq!(seqs(&mut reader), (1..=60).collect::<Vec<_>>());
    assert_eq!(reader.next_no(), BatchNo(41));
}

#[test]
fn a_segment_that_vanishes_under_a_reader_is_gone_and_says_so() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let (mut log, _, _) = open(&options).unwrap();
    let mut reader = reader(&options, ReadOptions::default()).unwrap();
    for _ in 0..40 {
        append(&mut log, 3, 5_000);
        log.drain().unwrap();
    }
    reader.next_batch().unwrap().unwrap();
    memory.remove("00000000000000000002.seg").unwrap();
    let last = reader.batches().last().unwrap();
    match last {
        Err(ReadError::SegmentGone { segment, .. }) => assert_eq!(segment.0, 2),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it went on"),
    }
}

/// Nothing here retires segments; a manifest that says so is what somebody who does would write.
#[test]
fn a_log_that_was_shortened_is_read_from_its_oldest_segment() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    written(&options, 40, 3, 5_000).close(Timestamp(1_000)).unwrap();
    shorten(&memory, 2);
    memory.remove(&names::segment(SegmentId(1))).unwrap();

    let from = |seq| reader(&options, ReadOptions { from: Seq(seq), ..Default::default() });
    let Err(ReadError::Retired { from: wanted, oldest }) = from(1) else { panic!("seq 1 is gone") };
    assert!(wanted == Seq(1) && oldest > Seq(1));
    assert!(matches!(from(oldest.0 - 1), Err(ReadError::Retired { .. })));
    assert_eq!(seqs(&mut from(oldest.0).unwrap()), (oldest.0..=120).collect::<Vec<_>>());
    assert_eq!(seqs(&mut from(0).unwrap()), (oldest.0..=120).collect::<Vec<_>>(), "0 is whatever there is");
    let mut kept = Vec::new();
    let (log, recovered) = Log::open(&options, |batch| {
        kept.extend(batch.records().map(|record| record.seq.0));
        Ok(())
    })
    .unwrap();
    assert_eq!((recovered.row, log.next_seq(), kept), (Row::C, Seq(121), (oldest.0..=120).collect()));
}

#[test]
fn a_reader_that_is_overtaken_by_a_retirement_is_told_from_one_that_misses_a_segment() {
    for (oldest, gone) in [(4, true), (3, true), (2, false)] {
        let memory = Memory::new();
        let options = memory_options(&memory);
        let (mut log, _, _) = open(&options).unwrap();
        let mut reader = reader(&options, ReadOptions::default()).unwrap();
        assert_eq!(reader.log_id(), log.log_id());
        for _ in 0..40 {
            append(&mut log, 3, 5_000);
            log.drain().unwrap();
        }
        log.close(Timestamp(1_000)).unwrap();
        for batch in 1..=3 {
            assert_eq!((reader.next_no(), reader.next_seq()), (BatchNo(batch), Seq(3 * batch - 2)));
            reader.next_batch().unwrap().unwrap();
        }
        shorten(&memory, oldest);
        for segment in [2, 3] {
            memory.remove(&names::segment(SegmentId(segment))).unwrap();
        }
        let last = reader.batches().last().unwrap().err().unwrap();
        match last {
            ReadError::SegmentGone { segment, .. } if gone => assert_eq!(segment, SegmentId(2)),
            ReadError::Scan(ScanError::Damaged { batch, .. }) if !gone => assert_eq!(batch, BatchNo(16)),
            other => panic!("{oldest}: {other}"),
        }
    }
}

/// Lets the manifest say that the log begins with this segment.
fn shorten(memory: &Memory, oldest: u64) {
    for slot in names::MANIFEST {
        memory.tamper_if_there(slot, |bytes| {
            bytes[48..56].copy_from_slice(&oldest.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[..124]);
            bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        });
    }
}

#[test]
fn where_there_is_no_log_there_is_nothing_to_read() {
    let dir = common::temp();
    assert!(matches!(Reader::open(dir.path()), Err(ReadError::NotFound { .. })));
    assert!(matches!(Reader::open(dir.path().join("none")), Err(ReadError::NotFound { .. })));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(refused) = Reader::open(&file) else { panic!("a file is no directory") };
    let wanted = "file: cannot open the directory: Not a directory (os error 20)";
    assert!(refused.to_string().ends_with(wanted), "{refused}");
}

/// What was in flight at a kill lands late, behind the place where the next writer went on; and the header that says so is lost.
#[test]
fn who_has_the_log_open_is_not_given_what_an_earlier_writer_left() {
    const FIRST: &str = "00000000000000000001.seg";
    const SECOND: &str = "00000000000000000002.seg";
    let before = Memory::new();
    let (mut log, _, _) = open(&memory_options(&before)).unwrap();
    for _ in 0..3 {
        append(&mut log, 3, 100);
    }
    log.drain().unwrap();
    let memory = before.copy();
    append(&mut log, 3, 100);
    log.drain().unwrap();
    let late = before.bytes(FIRST).unwrap();

    let options = memory_options(&memory);
    let (mut log, recovered, _) = open(&options).unwrap();
    append(&mut log, 1, 200);
    log.drain().unwrap();
    memory.tamper(FIRST, |bytes| bytes.copy_from_slice(&late));
    memory.tamper(SECOND, |bytes| bytes[..BLOCK].fill(0));

    let everything = ReadOptions { trust: Trust::Everything, ..Default::default() };
    assert_eq!(
        seqs(&mut reader(&options, everything).unwrap()),
        (1..=12).collect::<Vec<_>>(),
        "as it lies there"
    );
    let own = Some((recovered.last_batch.next(), recovered.epoch));
    let mut reader = reader(&options, ReadOptions { own, ..everything }).unwrap();
    let read: Vec<_> = reader.batches().collect();
    assert_eq!(read.iter().filter(|located| located.is_ok()).count(), 3);
    match read.last() {
        Some(Err(ReadError::Scan(ScanError::Damaged { batch, reason, .. }))) => {
            assert_eq!(*batch, recovered.last_batch.next());
            assert!(reason.to_string().contains("of epoch 1"), "{reason}");
        }
        other => panic!("{:?}", other.map(|located| located.as_ref().map(|located| located.batch_no))),
    }
}

/// A writer is killed behind three events, and a heartbeat if one is wanted, with two more in flight: the first segment as it is
/// once they have landed.
fn killed_in_flight(memory: &Memory, heartbeat: bool) -> Vec<u8> {
    let first = names::segment(SegmentId(1));
    let (mut killed, _, _) = open(&memory_options(memory)).unwrap();
    append(&mut killed, 3, 100);
    killed.drain().unwrap();
    if heartbeat {
        killed.heartbeat(Timestamp(50)).unwrap();
        killed.drain().unwrap();
    }
    let before = memory.bytes(&first).unwrap();
    append(&mut killed, 2, 200);
    killed.drain().unwrap();
    let late = memory.bytes(&first).unwrap();
    drop(killed);
    memory.tamper(&first, |bytes| bytes.clone_from(&before));
    late
}

/// Found by reading: where a later writer goes on was looked at when the segment was entered, and never again.
#[test]
fn a_reader_at_the_end_of_a_killed_writer_is_not_given_what_lands_there_when_another_has_gone_on() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let late = killed_in_flight(&memory, true);

    let mut reader = Reader::on(Arc::new(memory.clone()), ReadOptions::default()).unwrap();
    assert_eq!(seqs(&mut reader), [1, 2, 3]);
    let (mut log, _, _) = open(&options).unwrap();
    // The manifest says that the heartbeat was durable too: now the reader stands where the next batch will be.
    assert_eq!((seqs(&mut reader).len(), reader.next_no()), (0, BatchNo(3)));
    append(&mut log, 4, 300);
    log.drain().unwrap();
    log.heartbeat(Timestamp(90)).unwrap();
    log.drain().unwrap();
    memory.tamper(&names::segment(SegmentId(1)), |bytes| bytes.clone_from(&late));
    let events: Vec<_> = reader
        .batches()
        .flat_map(|located| {
            located.unwrap().batch.records().map(|record| record.payload().bytes().len()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(events, [300; 4]);
}

/// Known for long before it was mended: the reader waited in the file of the killed writer, and in the end called it
/// damaged.
#[test]
fn a_reader_in_a_segment_that_a_later_writer_begins_once_more_goes_on_there() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let second = names::segment(SegmentId(2));
    let (mut killed, _, _) = open(&options).unwrap();
    let mut last = Seq(0);
    while memory.bytes(&second).is_none_or(|bytes| bytes[..BLOCK].iter().all(|byte| *byte == 0)) {
        last = append(&mut killed, 1, 10_000);
        killed.drain().unwrap();
    }
    drop(killed);
    memory.tamper(&second, |bytes| bytes[BLOCK..].fill(0));
    let kept: Vec<_> = (1..last.0).collect();

    let mut reader = Reader::on(Arc::new(memory.clone()), ReadOptions::default()).unwrap();
    let mut seen = seqs(&mut reader);
    let (mut log, _, recovered) = open(&options).unwrap();
    assert_eq!(recovered.events.len(), kept.len());
    seen.extend(seqs(&mut reader));
    assert_eq!(seen, kept);
    let mut expected = kept;
    for _ in 0..3 {
        expected.push(append(&mut log, 1, 100).0);
        log.drain().unwrap();
        log.heartbeat(Timestamp(1 << 40)).unwrap();
        log.drain().unwrap();
        seen.extend(seqs(&mut reader));
        assert_eq!(seen, expected);
    }
    log.close(Timestamp(1 << 41)).unwrap();
    assert_eq!(seqs(&mut reader), Vec::<u64>::new());
}

/// Found by reading: it was told that its own log was damaged.
#[test]
fn who_has_the_log_open_and_waits_where_a_dead_writer_lands_late_goes_on_behind_it() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let late = killed_in_flight(&memory, false);

    let (mut log, recovered, _) = open(&options).unwrap();
    let own = Some((recovered.last_batch.next(), recovered.epoch));
    let everything = ReadOptions { trust: Trust::Everything, own, ..ReadOptions::default() };
    let mut reader = Reader::on(log.storage(), everything).unwrap();
    assert_eq!(seqs(&mut reader), [1, 2, 3]);
    append(&mut log, 4, 300);
    log.drain().unwrap();
    memory.tamper(&names::segment(SegmentId(1)), |bytes| bytes.clone_from(&late));
    assert_eq!(seqs(&mut reader), [4, 5, 6, 7]);
}

/// Found by reading: what looks ahead for marks stayed in the file of the killed writer, and saw none until the next segment.
#[test]
fn a_reader_that_has_looked_into_a_segment_that_is_made_anew_sees_what_is_written_there() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    let second = names::segment(SegmentId(2));
    let begun = |memory: &Memory| memory.bytes(&second).is_some_and(|bytes| bytes[0] != 0);
    let (mut killed, _, _) = open(&options).unwrap();
    let mut last = Seq(0);
    for _ in 0..20 {
        last = append(&mut killed, 1, 10_000);
        killed.drain().unwrap();
    }
    assert!(!begun(&memory));
    memory.hold(true);
    while !begun(&memory) {
        last = append(&mut killed, 1, 10_000);
        memory.hold(false);
        memory.hold(true);
    }
    drop(killed);
    memory.hold(false);
    memory.tamper(&second, |bytes| bytes[BLOCK..].fill(0));

    let mut reader = Reader::on(Arc::new(memory.clone()), ReadOptions::default()).unwrap();
    let mut seen = seqs(&mut reader);
    assert!(reader.next_seq() < last, "nothing says yet that the last one in the first segment was durable");
    let _open = written(&options, 2, 1, 100);
    seen.extend(seqs(&mut reader));
    assert_eq!(seen, (1..=last.0).collect::<Vec<_>>());
}

/// Found by reading: it was looked for by its path, which may lead elsewhere by then.
#[test]
fn a_log_whose_directory_was_renamed_is_read_by_who_writes_it() {
    let dir = common::temp();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let options = common::options(&before, BackendChoice::Blocking);
    let (mut log, _, _) = open(&options).unwrap();
    append(&mut log, 3, 8);
    log.drain().unwrap();
    std::fs::rename(&before, &after).unwrap();
    let options = ReadOptions { trust: Trust::Everything, ..ReadOptions::default() };
    assert_eq!(seqs(&mut Reader::on(log.storage(), options).unwrap()), [1, 2, 3]);
}

/// Found by reading: the end of the file was what was looked at, up to holes of terabytes.
#[test]
fn a_segment_that_was_made_very_long_is_looked_at_as_far_as_it_was_made_for() {
    let dir = common::temp();
    let options = common::options(dir.path(), BackendChoice::Blocking);
    let (mut log, _, _) = open(&options).unwrap();
    append(&mut log, 3, 8);
    log.drain().unwrap();
    drop(log);
    let first = dir.path().join(names::segment(SegmentId(1)));
    std::fs::OpenOptions::new().write(true).open(first).unwrap().set_len(8 << 40).unwrap();
    let (_, recovered, kept) = open(&options).unwrap();
    assert_eq!((recovered.row, kept.events.len()), (Row::D, 3));
}
