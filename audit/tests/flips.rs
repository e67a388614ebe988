//! One flipped bit anywhere in a log of several segments: found, in that file, at that place or before it.

mod common;

use common::{check, contents, starts, write};
use downbeat_audit::{EventFilter, Notice, Verdict, inspect};
use downbeat_record::Seq;

#[test]
fn a_flip_in_any_header_or_body_is_found_in_its_file_at_or_before_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 9_000, 1);
    let whole = check(dir.path()).unwrap();
    let files = contents(dir.path());
    let used: Vec<_> = files.iter().filter(|(_, bytes)| bytes[0] != 0).collect();
    assert!(used.len() > 1, "{} segments", used.len());
    for (index, (file, bytes)) in used.iter().enumerate() {
        let starts = starts(bytes);
        let (first, last) = (starts[0], starts[starts.len() - 2]);
        let headers = (0..256).step_by(3).chain([300, 4_095]).chain(first..first + 128);
        let bodies = (first..*starts.last().unwrap()).step_by(9_973 + index);
        for place in headers.chain(bodies).chain(last..last + 128) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            std::fs::write(file, &changed).unwrap();
            let Err(error) = check(dir.path()) else { panic!("{}: {place} is not found", file.display()) };
            assert_ne!(error.verdict(), Verdict::Io, "{error}");
            let (found, offset) = error.place().unwrap_or_else(|| panic!("{error}"));
            assert_eq!(found, file, "byte {place}: {error}");
            assert!(offset <= place as u64, "byte {place}: {error}");
            let batch = starts.iter().rev().find(|start| **start <= place).copied().unwrap_or(0);
            assert_eq!(offset, batch as u64, "byte {place}: {error}");
            assert!(error.to_string().contains(&file.display().to_string()), "{error}");
            assert!(error.intact().unwrap() <= whole.last_seq);
        }
        std::fs::write(file, bytes).unwrap();
    }
    assert_eq!(check(dir.path()).unwrap().last_root, whole.last_root);
}

#[test]
fn a_flip_in_the_manifest_does_not_put_the_log_in_doubt_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 2);
    let whole = check(dir.path()).unwrap();
    assert!(whole.closed && whole.notices.is_empty(), "{:?}", whole.notices);
    for name in ["MANIFEST.0", "MANIFEST.1"] {
        let path = dir.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        for place in (0..128).chain([200, 4_095]) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            std::fs::write(&path, &changed).unwrap();
            match check(dir.path()) {
                Ok(verified) => {
                    assert_eq!(verified.last_root, whole.last_root);
                    assert_eq!(
                        verified.notices,
                        [Notice::ManifestSlot { path: path.clone() }],
                        "byte {place}"
                    );
                }
                // The number of the format is looked at before the checksum.
                Err(error) => {
                    assert_eq!((error.verdict(), place), (Verdict::Usage, place & 1 | 8), "{error}")
                }
            }
        }
        std::fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn bytes_behind_the_end_are_told_and_are_no_part_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 1);
    let whole = check(dir.path()).unwrap();
    let (file, mut bytes) = contents(dir.path()).remove(0);
    let end = *starts(&bytes).last().unwrap();
    bytes[end + 10_000] = 1;
    std::fs::write(&file, &bytes).unwrap();
    let verified = check(dir.path()).unwrap();
    assert_eq!(verified.last_root, whole.last_root);
    let offset = (end + 10_000) as u64 / 4_096 * 4_096;
    assert_eq!(verified.notices, [Notice::Behind { path: file, offset, batches: 0 }]);
}

#[test]
fn who_has_not_verified_all_before_the_damage_does_not_say_so() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 1);
    let path = dir.path().join("00000000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = check(dir.path()).unwrap_err();
    assert!(error.intact() > Some(Seq(100)) && error.to_string().contains("; intact up to seq"), "{error}");
    for from in [None, Some(Seq(200))] {
        let mut events = inspect(dir.path(), EventFilter { from, ..EventFilter::default() }).unwrap();
        let error = events.find_map(Result::err).expect("it is met");
        assert!(error.intact().is_none() && !error.to_string().contains("intact up to"), "{error}");
    }
}
