//! A directory that others write into as well: links, strangers, odd names, files that come and go.

#[path = "common/log.rs"]
mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{append, expect_events, open, options, temp, wait_until_ready};
use downbeat_record::{SegmentId, Timestamp};
use downbeat_wal::{BackendChoice, Log, OpenError, Options, ReadError, Reader, Row, ScanError, names};

const OURS: [&str; 4] = ["00000000000000000001.seg", "MANIFEST.0", "MANIFEST.1", "LOCK"];

/// A log of some segments, closed.
fn write(options: &Options, rounds: u64) {
    let (mut log, _, _) = open(options).unwrap();
    for _ in 0..rounds {
        append(&mut log, 3, 15_000);
        log.drain().unwrap();
    }
    log.close(Timestamp(1 << 20)).unwrap();
}

fn blocking(dir: &Path) -> Options {
    options(dir, BackendChoice::Blocking)
}

fn message(options: &Options) -> String {
    let error = open(options).map(|(_, recovered, _)| recovered).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    text
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success() && fs::symlink_metadata(path).unwrap().file_type().is_fifo());
}

#[test]
fn what_is_no_file_under_a_name_of_ours_is_refused_and_not_touched() {
    for name in OURS {
        for kind in ["link", "broken link", "directory", "fifo"] {
            let dir = temp();
            let (log, elsewhere) = (dir.path().join("log"), dir.path().join("elsewhere"));
            write(&blocking(&log), 1);
            let place = log.join(name);
            if kind == "link" {
                fs::copy(&place, &elsewhere).or_else(|_| fs::copy(log.join("LOCK"), &elsewhere)).unwrap();
            }
            // A log has one slot of the manifest at first.
            let _ = fs::remove_file(&place);
            match kind {
                "link" => symlink(&elsewhere, &place).unwrap(),
                "broken link" => symlink(dir.path().join("nowhere"), &place).unwrap(),
                "directory" => fs::create_dir(&place).unwrap(),
                _ => make_fifo(&place),
            }
            let before = fs::read(&elsewhere).ok();
            match open(&blocking(&log)) {
                Err(OpenError::Scan(ScanError::NotAFile { path })) => assert_eq!(path, place, "{kind}"),
                other => panic!("{kind} {name}: {:?}", other.map(|(_, recovered, _)| recovered)),
            }
            assert!(!dir.path().join("nowhere").exists() && fs::read(&elsewhere).ok() == before);
            if name != "LOCK" {
                // A reader takes no lock.
                let read = Reader::open(&log).err().map(|error| error.to_string()).unwrap_or_default();
                assert!(read.contains("not a regular file"), "{kind} {name}: {read}");
            }
        }
    }
}

#[test]
fn a_directory_full_of_strangers_is_as_good_as_an_empty_one() {
    let dir = temp();
    let log = dir.path().join("log");
    fs::create_dir(&log).unwrap();
    for number in 0..2_000 {
        fs::write(log.join(format!("{number}.seg")), "mine").unwrap();
    }
    let odd = [
        "00000000000000000001.SEG",
        "00000000000000000001.seg ",
        " 00000000000000000001.seg",
        "00000000000000000001.seg\n",
        "+0000000000000000001.seg",
        "0000000000000000000١.seg",
        "18446744073709551616.seg",
        "MANIFEST",
        "manifest.0",
        "LOCK.1",
        "..seg",
        "%2e%2e%2fMANIFEST.0",
    ];
    for name in odd {
        fs::write(log.join(name), "mine").unwrap();
    }
    fs::write(log.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.seg")), "mine").unwrap();
    symlink("/nowhere", log.join("nowhere")).unwrap();
    symlink("..", log.join("up")).unwrap();
    make_fifo(&log.join("pipe"));
    let count = fs::read_dir(&log).unwrap().count();

    write(&blocking(&log), 4);
    expect_events(&open(&blocking(&log)).unwrap().2, 12, 15_000);
    let ours = |name: &str| OURS.contains(&name) || names::parse_segment(name).is_some();
    let names: Vec<_> = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let strangers = names.iter().filter(|name| !name.to_str().is_some_and(ours)).count();
    assert_eq!(strangers, count, "none was removed, none was made");
    for name in odd {
        assert_eq!(fs::read_to_string(log.join(name)).unwrap(), "mine", "{name:?}");
    }
}

#[test]
fn a_message_stays_one_line_whatever_the_directory_is_called() {
    let dir = temp();
    let log = dir.path().join("a\nb\r\u{1b}[2Jc\u{7f}\u{85}");
    let shown = r"a\nb\r\u{1b}[2Jc\u{7f}\u{85}";
    let absent = Options { create: false, ..blocking(&log) };
    assert!(message(&absent).contains(shown));

    write(&blocking(&log), 1);
    let held = open(&blocking(&log)).unwrap();
    assert!(message(&blocking(&log)).contains(shown));
    drop(held);

    let first = log.join(OURS[0]);
    let whole = fs::read(&first).unwrap();
    let mut damaged = whole.clone();
    damaged[4_200] ^= 1;
    fs::write(&first, damaged).unwrap();
    assert!(message(&blocking(&log)).contains("is damaged although"));
    assert!(!Reader::open(&log).unwrap().next_batch().err().unwrap().to_string().contains(char::is_control));
    fs::write(&first, &whole[..5_000]).unwrap();
    assert!(message(&blocking(&log)).contains("its header says"));
    fs::remove_file(&first).unwrap();
    let text = message(&blocking(&log));
    assert!(text.contains("is missing"), "{text}");
    fs::create_dir(&first).unwrap();
    assert!(message(&blocking(&log)).contains(shown));
}

/// Fills the segment in use and the one behind it.
fn fill_a_segment(log: &mut Log, from: u64) -> u64 {
    let mut rounds = from;
    while rounds < from + 30 {
        append(log, 3, 15_000);
        rounds += 1;
    }
    log.drain().unwrap();
    rounds
}

#[test]
fn a_segment_that_appears_while_the_log_is_open_does_no_harm() {
    let dir = temp();
    let log_dir = dir.path().join("log");
    let (mut log, _, _) = open(&blocking(&log_dir)).unwrap();
    append(&mut log, 3, 15_000);
    // Names that the log is going to use, and one that it is not.
    for id in [3, 4, 5, 900] {
        let name = names::segment(SegmentId(id));
        if !log_dir.join(&name).exists() {
            fs::write(log_dir.join(&name), "not of this log").unwrap();
        }
    }
    let rounds = fill_a_segment(&mut log, 1);
    drop(log);
    let left = log_dir.join(names::segment(SegmentId(900)));
    match open(&blocking(&log_dir)) {
        // What nobody can have written is named, and nothing is lost.
        Err(error) => {
            assert!(error.to_string().contains("900.seg"), "{error}");
            fs::remove_file(&left).unwrap();
            expect_events(&open(&blocking(&log_dir)).unwrap().2, rounds * 3, 15_000);
        }
        Ok((_, recovered, kept)) => {
            expect_events(&kept, rounds * 3, 15_000);
            assert!(matches!(recovered.row, Row::D | Row::E | Row::G), "{recovered:?}");
        }
    }
}

#[test]
fn a_segment_that_vanishes_while_the_log_is_open_is_missed_at_the_next_opening() {
    for gone in [1, 2] {
        let dir = temp();
        let log_dir = dir.path().join("log");
        let (mut log, _, _) = open(&blocking(&log_dir)).unwrap();
        fill_a_segment(&mut log, 0);
        let path = log_dir.join(names::segment(SegmentId(gone)));
        fs::remove_file(&path).unwrap();
        // The writer holds the file itself and need not notice.
        wait_until_ready(&mut log);
        append(&mut log, 1, 8);
        log.close(Timestamp(1 << 20)).unwrap();
        match open(&blocking(&log_dir)) {
            Err(OpenError::Scan(ScanError::MissingSegment { path: missing, segment })) => {
                assert_eq!((missing, segment), (path, SegmentId(gone)));
            }
            other => panic!("{:?}", other.map(|(_, recovered, _)| recovered)),
        }
    }
}

#[test]
fn a_reader_whose_next_segment_vanishes_says_which() {
    let dir = temp();
    let log_dir = dir.path().join("log");
    let (mut log, _, _) = open(&blocking(&log_dir)).unwrap();
    fill_a_segment(&mut log, 0);
    fill_a_segment(&mut log, 30);
    log.close(Timestamp(1 << 20)).unwrap();
    let mut reader = Reader::open(&log_dir).unwrap();
    let first = reader.next_batch().unwrap().expect("there is a batch");
    assert_eq!(first.path.file_name().unwrap(), OURS[0]);
    fs::remove_file(log_dir.join(names::segment(SegmentId(2)))).unwrap();
    let error = reader.batches().find_map(Result::err).expect("it cannot be read to the end");
    match error {
        ReadError::SegmentGone { segment, .. } => assert_eq!(segment, SegmentId(2)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_closed_log_is_free_at_once_even_while_programs_are_started() {
    let dir = temp();
    let log_dir = dir.path().join("log");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // A program that is being started has a copy of every descriptor for an instant.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let opened = (0..100).try_for_each(|_| open(&blocking(&log_dir)).map(drop));
        done.store(true, Ordering::Relaxed);
        opened.unwrap();
    });
}
