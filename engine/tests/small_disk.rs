//! On a real ext4 of a few megabytes, which is full, and on one that turns read-only: noticed, said, nothing lost.
//!
//! It takes root and a loop device; where they are missing this says so. File systems are mounted in a namespace of
//! their own, so that none is left whatever happens: the test starts itself once more in there.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Count, Moved, Notes, flow, options, total};
use downbeat::{Engine, Error, ErrorKind, Key, Seq};

const DISK_BYTES: u64 = 64 << 20;
const BALLAST_BYTES: usize = 16 << 20;

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{program} {words:?}: {}", said.trim())) }
}

/// What is missing here, if anything is.
fn missing() -> Option<String> {
    let namespace = run("unshare", &["--mount", "--propagation", "private", "true"]);
    let device = run("losetup", &["--find"]);
    let program = run("mkfs.ext4", &["-V"]);
    namespace.and(device).and(program).err()
}

fn in_a_namespace(test: &str) {
    if let Some(what) = missing() {
        eprintln!("skipped: {what}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut inner = Command::new("unshare");
    inner.args(["--mount", "--propagation", "private", "--fork", "--"]).arg(this);
    let done = inner.args(["--ignored", "--exact", test, "--nocapture"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// A file system of [`DISK_BYTES`] below a directory.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", image.to_str().unwrap()]).unwrap();
        fs::create_dir(dir.path().join("disk")).unwrap();
        let small = Self { dir };
        small.mount();
        small
    }

    fn at(&self) -> std::path::PathBuf {
        self.dir.path().join("disk")
    }

    fn mount(&self) {
        let image = self.dir.path().join("image");
        run("mount", &["-o", "loop", image.to_str().unwrap(), self.at().to_str().unwrap()]).unwrap();
    }

    fn unmount(&self) {
        // The kernel takes a ring down a little after its end; until then the file system is busy.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = run("umount", &[self.at().to_str().unwrap()]) {
            assert!(Instant::now() < deadline, "{error}");
            std::thread::yield_now();
        }
    }
}

fn open(log: &Path) -> Result<Engine, Error> {
    let mut options = options(log);
    options.log.segment_bytes = 4 << 20;
    options.log.spare_segments = 1;
    Engine::open(options, flow(Count::default(), Notes::default()))
}

/// Deposits until the engine takes no more; each is acknowledged. Returns how many, and why.
fn deposit(engine: &Engine, at_most: u64) -> (u64, Option<Error>) {
    let mut acknowledged = 0;
    while acknowledged < at_most {
        // A group of its own size, so that a small disk is full after some of them.
        let tickets: Result<Vec<_>, _> =
            (0..500).map(|_| engine.submit(&Moved { cents: 1 }).key(Key(1)).ticket()).collect();
        let done = tickets.and_then(|tickets| {
            tickets.into_iter().try_for_each(|mut ticket| {
                let receipt = loop {
                    match ticket.wait_timeout(Duration::from_millis(200)) {
                        Some(receipt) => break receipt.map(drop).map_err(Error::from),
                        None => engine.check()?,
                    }
                };
                acknowledged += u64::from(receipt.is_ok());
                receipt
            })
        });
        if let Err(error) = done {
            return (acknowledged, Some(error));
        }
    }
    (acknowledged, None)
}

#[test]
fn a_small_disk_that_is_full_refuses_and_goes_on_when_space_returns() {
    in_a_namespace("full");
}

#[test]
#[ignore = "run in a namespace by the test above"]
fn full() {
    let small = Small::new();
    let (log, ballast) = (small.at().join("log"), small.at().join("ballast"));
    fs::write(&ballast, vec![7; BALLAST_BYTES]).unwrap();
    let engine = open(&log).unwrap();
    let (before, why) = deposit(&engine, u64::MAX);
    let why = why.unwrap();
    assert_eq!(why.kind(), ErrorKind::Full, "{why}");
    assert!(why.to_string().contains("No space left") && before > 10_000, "{before}: {why}");
    fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while engine.check().is_err() {
        assert!(Instant::now() < deadline, "there is space, and nobody notices");
    }
    // What was accepted before is durable by now, or on its way.
    let (after, why) = deposit(&engine, 10_000);
    assert!(why.is_none() && after >= 10_000, "{why:?}");
    engine.close().unwrap();
    let last = engine.last_seq();
    drop(engine);
    let engine = open(&log).unwrap();
    assert!(total(&engine) as u64 >= before + after);
    assert_eq!(engine.opened().last_seq, last);
    drop(engine);
    small.unmount();
}

#[test]
fn a_file_system_that_turns_read_only_ends_the_engine_and_loses_nothing() {
    in_a_namespace("read_only");
}

#[test]
#[ignore = "run in a namespace by the test above"]
fn read_only() {
    let small = Small::new();
    let log = small.at().join("log");
    let engine = open(&log).unwrap();
    let (before, why) = deposit(&engine, 5_000);
    assert!(why.is_none(), "{why:?}");
    // What the kernel does when the file system finds an error in itself.
    run("mount", &["-o", "remount,abort", small.at().to_str().unwrap()]).unwrap();
    let (more, why) = deposit(&engine, u64::MAX);
    let why = why.unwrap();
    assert_eq!(why.kind(), ErrorKind::Poisoned, "{why}");
    assert_eq!(why.to_string().lines().count(), 1, "{why}");
    assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Poisoned);
    drop(engine);
    small.unmount();
    small.mount();
    let engine = open(&log).unwrap();
    assert!(total(&engine) as u64 >= before + more, "{} of {before} and {more}", total(&engine));
    assert!(engine.opened().last_seq > Seq(before));
    engine.close().unwrap();
    drop(engine);
    small.unmount();
}
