//! Whatever is changed in a log is found, at the place of the change or before it.

mod common;

use std::path::Path;

use common::{Channel, Moved, flow, options, segments, write};
use downbeat::{Engine, Key, Seq};
use downbeat_audit::{AuditError, Verdict, VerifyOptions, verify};

fn verdict(dir: &Path) -> Result<Seq, Box<AuditError>> {
    verify(dir, VerifyOptions::default(), |_| {}).map(|verified| verified.last_seq).map_err(Box::new)
}

#[test]
fn an_untouched_log_holds() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4_000, 2);
    let verified = verify(dir.path(), VerifyOptions::default(), |_| {}).unwrap();
    assert_eq!(verified.first_seq, Seq(1));
    assert_eq!(verified.events, verified.last_seq.0);
    assert_eq!(verified.epochs, 2);
    assert_eq!(verified.unproved, 0);
    assert!(verified.segments >= 2, "{}", verified.segments);
}

#[test]
fn every_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 600, 1);
    let file = segments(dir.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let mut end = 4096;
    while let Ok(header) = downbeat::record::BatchHeader::parse(&whole[end..]) {
        end += header.padded_len();
    }
    // Every byte of the segment header in use and of two batch headers, and places all over the rest.
    let header = (0..200).chain(4096..4096 + 128);
    let places: Vec<usize> = header.chain((4096..end).step_by(211)).collect();
    for place in places {
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        std::fs::write(&file, changed).unwrap();
        let found = verdict(dir.path());
        let error = found.err().unwrap_or_else(|| panic!("a flip at byte {place} is not found"));
        assert_ne!(error.verdict(), Verdict::Io, "byte {place}: {error}");
    }
    std::fs::write(&file, whole).unwrap();
    verdict(dir.path()).unwrap();
}

/// A log that was opened twice begins twice. That its first segment should claim to begin later must not make the
/// second one the beginning.
#[test]
fn a_segment_that_claims_to_begin_elsewhere_under_a_true_checksum_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        // Without checkpoints, which would not fit.
        let mut options = options(dir.path());
        options.actors.checkpoint_interval = u64::MAX;
        let engine = Engine::open(options, flow(1)).unwrap();
        for n in 0..50 {
            let moved = Moved { cents: n, memo: String::new(), channel: Channel::Branch, tags: Vec::new() };
            engine.submit(&moved).key(Key(1)).wait().unwrap();
        }
    }
    for file in segments(dir.path()) {
        let whole = std::fs::read(&file).unwrap();
        if whole[..8] == [0; 8] {
            continue;
        }
        // segment_id, epoch, first_seq, first_batch_no
        for at in [40, 48, 64, 72] {
            for value in [2_u64, 100, 1 << 29] {
                let mut changed = whole.clone();
                if changed[at..at + 8] == value.to_le_bytes() {
                    continue;
                }
                changed[at..at + 8].copy_from_slice(&value.to_le_bytes());
                let crc = crc32c::crc32c(&changed[..252]);
                changed[252..256].copy_from_slice(&crc.to_le_bytes());
                std::fs::write(&file, changed).unwrap();
                assert!(verdict(dir.path()).is_err(), "{}: {value} at {at} holds", file.display());
            }
        }
        std::fs::write(&file, whole).unwrap();
    }
    verdict(dir.path()).unwrap();
}

#[test]
fn a_batch_replaced_moved_or_dropped_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 2_000, 1);
    let file = segments(dir.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let mut starts = vec![4096];
    while let Ok(header) = downbeat::record::BatchHeader::parse(&whole[*starts.last().unwrap()..]) {
        let next = starts.last().unwrap() + header.padded_len();
        starts.push(next);
    }
    let batch = |index: usize| &whole[starts[index]..starts[index + 1]];
    let middle = starts.len() / 2;
    let dropped =
        [&whole[..starts[middle]], &whole[starts[middle + 1]..], &vec![0; batch(middle).len()]].concat();
    let twice =
        [&whole[..starts[middle]], batch(middle), &whole[starts[middle]..whole.len() - batch(middle).len()]]
            .concat();
    let swapped =
        [&whole[..starts[middle]], batch(middle + 1), batch(middle), &whole[starts[middle + 2]..]].concat();
    for (what, bytes) in [("dropped", dropped), ("twice", twice), ("swapped", swapped)] {
        std::fs::write(&file, bytes).unwrap();
        let error = verdict(dir.path()).expect_err(what);
        assert_eq!(error.verdict(), Verdict::DoesNotHold, "{what}: {error}");
        assert!(error.to_string().contains(&file.display().to_string()), "{what}: {error}");
    }
}

#[test]
fn a_missing_segment_and_one_of_another_log_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    write(dir.path(), 12_000, 1);
    write(other.path(), 12_000, 1);
    let files = segments(dir.path());
    assert!(files.len() > 2);
    let kept = std::fs::read(&files[1]).unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    assert_eq!(verdict(dir.path()).unwrap_err().verdict(), Verdict::DoesNotHold);
    std::fs::copy(&segments(other.path())[1], &files[1]).unwrap();
    assert_eq!(verdict(dir.path()).unwrap_err().verdict(), Verdict::DoesNotHold);
    std::fs::write(&files[1], kept).unwrap();
    verdict(dir.path()).unwrap();
}

#[test]
fn no_log_is_an_io_matter_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let error = verdict(dir.path()).unwrap_err();
    assert_eq!(error.verdict(), Verdict::Io);
    assert!(error.to_string().contains("there is no log here"), "{error}");
}
