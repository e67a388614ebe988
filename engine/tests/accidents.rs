//! What other programs do to the files of a log, while it is open and while it is not: noticed, or harmless.

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Count, Moved, Notes, flow, open, options, total};
use downbeat::{Engine, Error, ErrorKind, Key};

fn deposit(engine: &Engine, times: u64) {
    for _ in 0..times {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
    }
}

fn reopen(dir: &Path) -> Result<Engine, Error> {
    Engine::open(options(dir), flow(Count::default(), Notes::default()))
}

/// The segment that holds the first events.
fn first_segment(dir: &Path) -> PathBuf {
    dir.join("00000000000000000001.seg")
}

fn truncate(file: &Path, len: u64) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(len).unwrap();
}

fn lengthen(file: &Path) {
    OpenOptions::new().append(true).open(file).unwrap().write_all(&[0xAB; 10_000]).unwrap();
}

/// One line, the file, and what to do.
fn assert_refused(error: &Error, file: &Path) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let message = error.to_string();
    assert!(message.starts_with(&file.display().to_string()), "{message}");
    assert!(message.lines().count() == 1 && message.contains("from a copy"), "{message}");
}

#[test]
fn a_file_truncated_while_closed_is_refused_and_left_alone() {
    for len in [0, 100, 4_096, 20_480, (8 << 20) - 4_096] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        deposit(&engine, 20);
        engine.close().unwrap();
        drop(engine);
        let file = first_segment(dir.path());
        truncate(&file, len);
        let refused = reopen(dir.path()).err().unwrap_or_else(|| panic!("opened with {len} bytes"));
        assert_refused(&refused, &file);
        assert_eq!(fs::metadata(&file).unwrap().len(), len, "it was changed");
    }
}

#[test]
fn a_file_made_longer_while_closed_or_open_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    deposit(&engine, 20);
    lengthen(&first_segment(dir.path()));
    deposit(&engine, 20);
    engine.close().unwrap();
    drop(engine);
    lengthen(&first_segment(dir.path()));
    let engine = open(dir.path());
    assert_eq!(total(&engine), 40);
    deposit(&engine, 1);
    drop(engine);
    lengthen(&first_segment(dir.path()));
    assert_eq!(total(&open(dir.path())), 41);
}

/// The writer cannot see it: its writes go on to succeed. The next opening does.
#[test]
fn a_file_truncated_while_open_is_refused_at_the_next_opening() {
    for (len, then) in [(4_096, 0), (4_096, 20), (20_480, 20), (0, 20)] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        deposit(&engine, 20);
        let file = first_segment(dir.path());
        truncate(&file, len);
        deposit(&engine, then);
        drop(engine);
        let refused = reopen(dir.path()).err().unwrap_or_else(|| panic!("cut to {len}, {then} more: opened"));
        assert_refused(&refused, &file);
    }
}

#[test]
fn a_directory_removed_while_open_ends_the_engine_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut options = options(&log);
    options.log.segment_bytes = 2 << 20;
    let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
    deposit(&engine, 1);
    fs::remove_dir_all(&log).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        match engine.submit(&Moved { cents: 1 }).key(Key(1)).ticket() {
            Ok(_) => assert!(Instant::now() < deadline, "nobody notices"),
            Err(error) => break error,
        }
    };
    let message = refused.to_string();
    assert_eq!(refused.kind(), ErrorKind::Poisoned, "{message}");
    assert!(message.lines().count() == 1 && message.contains("directory"), "{message}");
    assert!(!message.contains("space"), "{message}");
    assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Poisoned);
}
