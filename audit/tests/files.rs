//! Whole files that are lost, shortened, exchanged or left over.

mod common;

use std::fs;

use common::{check, contents, flow, starts, write};
use downbeat::Seq;
use downbeat_audit::{
    AuditError, EventFilter, Notice, ReplayOptions, Verdict, VerifyOptions, inspect, replay, verify,
};
use downbeat_wal::{ReadError, ScanError};

fn scan_error(error: AuditError) -> ScanError {
    match error {
        AuditError::Log { source, .. } => match *source {
            ReadError::Scan(error) => error,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[test]
fn a_segment_that_is_gone_is_named_wherever_it_was() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 24_000, 1);
    let files = contents(dir.path());
    let used: Vec<_> = files.iter().filter(|(_, bytes)| bytes[0] != 0).collect();
    assert!(used.len() > 2);
    for manifest in [true, false] {
        if !manifest {
            fs::remove_file(dir.path().join("MANIFEST.0")).unwrap();
            fs::remove_file(dir.path().join("MANIFEST.1")).unwrap();
        }
        for (index, (file, bytes)) in used.iter().enumerate() {
            fs::remove_file(file).unwrap();
            let last = index + 1 == used.len();
            match (check(dir.path()), manifest || !last) {
                (Err(error), true) => {
                    assert_eq!(error.verdict(), Verdict::DoesNotHold, "{error}");
                    let replayed = replay(dir.path(), &flow(1), ReplayOptions::default(), |_| {});
                    assert_eq!(replayed.err().unwrap().to_string(), error.to_string());
                    let shown = inspect(dir.path(), EventFilter::default());
                    assert!(shown.and_then(|events| events.collect::<Result<Vec<_>, _>>()).is_err());
                    match scan_error(error) {
                        ScanError::MissingSegment { path, .. } => assert_eq!(path, *file),
                        ScanError::ManifestLost { .. } => assert!(index == 0 && !manifest),
                        other => panic!("{other}"),
                    }
                }
                // Without a manifest nothing in the directory says that there was more.
                (Ok(verified), false) => assert!(verified.notices.contains(&Notice::NoManifest)),
                (Err(error), false) => panic!("{error}"),
                (Ok(_), true) => panic!("{} is not missed", file.display()),
            }
            fs::write(file, bytes).unwrap();
        }
    }
}

/// Found by reading: with both manifests forged nothing was said about it. There is no writer that removes segments.
#[test]
fn a_log_whose_beginning_was_cut_off_is_told_from_one_that_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 24_000, 1);
    fs::remove_file(dir.path().join("00000000000000000001.seg")).unwrap();
    for slot in ["MANIFEST.0", "MANIFEST.1"] {
        let mut bytes = fs::read(dir.path().join(slot)).unwrap();
        bytes[48..56].copy_from_slice(&2_u64.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        fs::write(dir.path().join(slot), bytes).unwrap();
    }
    let verified = check(dir.path()).unwrap();
    assert!(verified.first_seq > Seq(1));
    assert_eq!(verified.notices, [Notice::Begins { seq: verified.first_seq }]);
}

#[test]
fn a_file_cut_short_anywhere_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 12_000, 1);
    for (file, bytes) in contents(dir.path()).into_iter().filter(|(_, bytes)| bytes[0] != 0) {
        for len in [0, 100, 4_096, 5_000, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&file, &bytes[..len]).unwrap();
            let error = check(dir.path()).unwrap_err();
            assert_eq!(error.verdict(), Verdict::DoesNotHold, "{len}: {error}");
            assert_eq!(error.place().map(|(path, _)| path), Some(&*file), "{len}: {error}");
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn the_end_of_a_closed_log_cannot_be_zeroed_away() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 600, 1);
    let (file, bytes) = contents(dir.path()).remove(0);
    let starts = starts(&bytes);
    for start in &starts[..starts.len() - 1] {
        let mut changed = bytes.clone();
        changed[*start..].fill(0);
        fs::write(&file, &changed).unwrap();
        let error = check(dir.path()).unwrap_err();
        assert_eq!(error.verdict(), Verdict::DoesNotHold);
        assert_eq!(error.place(), Some((&*file, *start as u64)), "{error}");
    }
}

#[test]
fn a_segment_of_another_log_and_one_under_a_wrong_name_are_named() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(dir.path(), 12_000, 1);
    write(other.path(), 9_000, 1);
    let (ours, theirs) = (contents(dir.path()), contents(other.path()));
    fs::write(&ours[1].0, &theirs[1].1).unwrap();
    let error = check(dir.path()).unwrap_err();
    assert_eq!(error.verdict(), Verdict::DoesNotHold);
    assert!(matches!(scan_error(error), ScanError::ForeignSegment { path, .. } if path == ours[1].0));
    fs::write(&ours[1].0, &ours[0].1).unwrap();
    let error = check(dir.path()).unwrap_err();
    assert_eq!(error.verdict(), Verdict::DoesNotHold);
    assert!(matches!(scan_error(error), ScanError::Misplaced { path, .. } if path == ours[1].0));
}

#[test]
fn an_unacknowledged_end_is_no_damage_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 600, 1);
    let whole = verify(dir.path(), VerifyOptions::default(), |_| {}).unwrap();
    // As a power cut would leave it: nothing of the end was acknowledged, and its first batch is torn.
    for name in ["MANIFEST.0", "MANIFEST.1"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let (file, mut bytes) = contents(dir.path()).remove(0);
    let starts = starts(&bytes);
    let torn = starts[starts.len() - 2];
    bytes[torn + 200] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let verified = verify(dir.path(), VerifyOptions::default(), |_| {}).unwrap();
    assert_eq!(verified.batches + 1, whole.batches);
    assert!(!verified.closed);
    let behind = Notice::Behind { path: file, offset: torn as u64, batches: 0 };
    assert_eq!(verified.notices, [Notice::NoManifest, behind]);
}

#[test]
fn progress_ends_where_the_log_ends_and_stays_within_its_total() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3_000, 1);
    let mut seen = Vec::new();
    let verified = verify(dir.path(), VerifyOptions::default(), |progress| seen.push(progress)).unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.seq, last.bytes, last.batches), (verified.last_seq, verified.bytes, verified.batches));
    assert!(seen.windows(2).all(|pair| pair[0].bytes < pair[1].bytes && pair[0].seq <= pair[1].seq));
    assert!(last.bytes <= last.bytes_total);
}

#[test]
fn a_log_whose_end_nobody_was_promised_replays_from_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1_000, 1);
    let (file, bytes) = contents(dir.path()).remove(0);
    for name in ["MANIFEST.0", "MANIFEST.1"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let starts = starts(&bytes);
    let (mut last, mut pending) = (Seq::ZERO, 0);
    for end in &starts[1..] {
        let mut cut = bytes.clone();
        cut[*end..].fill(0);
        fs::write(&file, &cut).unwrap();
        let replayed = replay(dir.path(), &flow(1), ReplayOptions::default(), |_| {}).unwrap();
        assert_eq!(check(dir.path()).unwrap().last_seq, replayed.last_seq);
        assert!(replayed.last_seq >= last && replayed.events == replayed.last_seq.0);
        (last, pending) = (replayed.last_seq, pending.max(replayed.pending));
    }
    assert!(last > Seq(1_000) && pending > 0, "{last} events, at most {pending} pending");
}
