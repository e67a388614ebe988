//! What befalls a `downbeat run` from outside: signals in each phase, a pause, a second process, a lost directory.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{DOWNBEAT, Ran, assert_agrees, decided, downbeat, generate, run};
use downbeat_example_loan::Summary;

const EVENTS: u64 = 60_000;

fn start(dir: &Path, log: &str, more: &[&str]) -> Child {
    Command::new(DOWNBEAT)
        .current_dir(dir)
        .args(["run", "--flow", "loan", "--json", "--log", log, "--input", "loans.jsonl"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait(mut child: Child) -> Ran {
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ran { code, stdout, stderr }
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Stops it, and waits until each of its threads stands still: until then they go on with what they are at.
fn stop(child: &mut Child) {
    signal(child, "-STOP");
    let tasks = format!("/proc/{}/task", child.id());
    until(child, || {
        fs::read_dir(&tasks).unwrap().all(|task| {
            // A thread that ended meanwhile stands still as well.
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            state.is_none_or(|state| state == 'T')
        })
    });
}

/// Waits until it is so, or the child has ended.
fn until(child: &mut Child, so: impl Fn() -> bool) {
    while !so() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

fn lines(file: &Path) -> u64 {
    fs::read(file).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count() as u64)
}

#[test]
fn stopped_for_a_while_it_keeps_its_log_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), EVENTS));
    let told = dir.path().join("told");
    let mut child = start(dir.path(), "log", &["--notifications", "told"]);
    until(&mut child, || lines(&told) > 0);
    stop(&mut child);
    let pid = child.id();
    let second = downbeat(dir.path(), &["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl"]);
    let locked = format!("downbeat: log/LOCK: another writer (process {pid}) has this log open\n");
    assert_eq!((second.code, second.stderr), (3, locked));
    // What is run by hand waits longer.
    let seconds = std::env::var("DOWNBEAT_PAUSE_SECONDS").unwrap_or_else(|_| "3".to_owned());
    assert!(Command::new("sleep").arg(seconds).status().unwrap().success());
    signal(&child, "-CONT");
    assert_agrees(&common::json(&wait(child)), &summary);
}

#[test]
fn a_signal_while_opening_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), EVENTS));
    run(dir.path(), "log", "loans.jsonl", &[]);
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = start(dir.path(), "log", &[]);
        let (lock, pid) = (dir.path().join("log/LOCK"), format!("{}\n", child.id()));
        until(&mut child, || fs::read_to_string(&lock).is_ok_and(|holder| holder == pid));
        signal(&child, name);
        let ran = wait(child);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (code, "", 1), "{ran:?}");
        assert!(ran.stderr.ends_with("run the same command again to go on\n"), "{ran:?}");
    }
    let last = run(dir.path(), "log", "loans.jsonl", &[]);
    assert_agrees(&last, &summary);
    assert_eq!(last["duplicates"], EVENTS);
}

#[test]
fn a_signal_while_closing_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), EVENTS));
    let told = dir.path().join("told");
    let all = summary.offers_sent + decided(&summary);
    let mut child = start(dir.path(), "log", &["--notifications", "told"]);
    until(&mut child, || lines(&told) == all);
    signal(&child, "-TERM");
    let ran = wait(child);
    // It is about to be done, or just was.
    assert!([0, 143].contains(&ran.code), "{ran:?}");
    let again = run(dir.path(), "log", "loans.jsonl", &[]);
    assert_agrees(&again, &summary);
    assert_eq!(again["duplicates"], EVENTS);
}

#[test]
fn a_directory_removed_while_running_is_one_line_and_no_hang() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), EVENTS);
    let told = dir.path().join("told");
    let mut child = start(dir.path(), "log", &["--notifications", "told", "--segment-mib", "1"]);
    until(&mut child, || lines(&told) > 0);
    stop(&mut child);
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    signal(&child, "-CONT");
    let ran = wait(child);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (3, "", 1), "{ran:?}");
    assert!(ran.stderr.contains("see what became of the directory"), "{ran:?}");
}

#[test]
fn a_segment_cut_short_is_one_line_and_what_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), 2_000);
    run(dir.path(), "log", "loans.jsonl", &["--segment-mib", "1"]);
    let segment = dir.path().join("log/00000000000000000001.seg");
    fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(8_192).unwrap();
    for command in
        [&["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl"][..], &["verify", "log"]]
    {
        let ran = downbeat(dir.path(), command);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.lines().count() + ran.stdout.lines().count() > 0, "{ran:?}");
        assert!((ran.stderr + &ran.stdout).contains("00000000000000000001.seg"), "{command:?}");
    }
}
