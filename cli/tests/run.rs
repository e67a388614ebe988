//! `downbeat run`: what comes out is what the input says, once, however often it is run and wherever it dies.
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DOWNBEAT, assert_agrees, decided, digests, downbeat, generate, json, real_log, run};
use downbeat_example_loan::{Generator, OnBadInput, Source, Summary, Volume, read};

/// The names that scripts rely on, in their order.
const NAMES: [&str; 11] = [
    "events",
    "duplicates",
    "bad",
    "last_seq",
    "applications",
    "amounts",
    "multiple_offers",
    "fraud_checked",
    "digests",
    "events_per_second",
    "ack_us",
];

#[test]
fn the_summary_is_that_of_the_input_and_a_second_run_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), 20_000));
    let first = run(dir.path(), "log", "loans.jsonl", &[]);
    assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), NAMES);
    assert_agrees(&first, &summary);
    assert_eq!(first["duplicates"], 0);
    for shards in ["1", "3"] {
        let again = run(dir.path(), "log", "loans.jsonl", &["--shards", shards, "--threads", "2"]);
        assert_agrees(&again, &summary);
        assert_eq!(again["duplicates"], 20_000);
        assert_eq!(digests(&again), digests(&first), "{shards} shards");
    }
}

#[test]
fn the_sample_that_the_readme_names_is_an_input() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/loan/loans.csv");
    let loaded = read(&Source::from(&sample), OnBadInput::Stop).unwrap();
    let ran = run(tempfile::tempdir().unwrap().path(), "log", sample.to_str().unwrap(), &[]);
    assert_agrees(&ran, &Summary::of(&loaded.inputs));
    assert_eq!(
        ran["applications"],
        serde_json::json!({ "approved": 1, "declined": 1, "cancelled": 0, "open": 1 })
    );
}

#[test]
fn backends_shards_and_threads_give_the_same_summary() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), 5_000));
    for (log, more) in
        [("a", ["--backend", "blocking"]), ("b", ["--shards", "8"]), ("c", ["--segment-mib", "1"])]
    {
        assert_agrees(&run(dir.path(), log, "loans.jsonl", &more), &summary);
    }
}

#[test]
fn the_real_log_gives_its_known_figures() {
    let Some(path) = real_log() else {
        eprintln!("skipped: the real log is not here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let input = path.to_str().unwrap();
    let first = run(dir.path(), "log", input, &[]);
    let applications =
        serde_json::json!({ "approved": 2246, "declined": 7635, "cancelled": 2807, "open": 399 });
    assert_eq!(first["applications"], applications);
    assert_eq!((&first["events"], &first["duplicates"]), (&262_200.into(), &0.into()));
    assert_eq!((&first["multiple_offers"], &first["fraud_checked"]), (&1_438.into(), &108.into()));
    let again = run(dir.path(), "log", input, &[]);
    assert_eq!(again["duplicates"], 262_200);
    assert_eq!((&again["last_seq"], digests(&again)), (&first["last_seq"], digests(&first)));
}

#[test]
fn killed_half_way_and_run_again_it_ends_like_a_run_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = generate(dir.path(), 120_000);
    let summary = Summary::of(&inputs);
    let told = dir.path().join("told");
    let args = ["--notifications", "told"];
    for round in 1..=3 {
        let mut child = Command::new(DOWNBEAT)
            .current_dir(dir.path())
            .args(["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl"])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // A notification is told after the event behind it is durable, so it shows how far the run is.
        let (wanted, deadline) = (round * 40_000, Instant::now() + Duration::from_secs(60));
        while fs::metadata(&told).map_or(0, |told| told.len()) < wanted && child.try_wait().unwrap().is_none()
        {
            assert!(Instant::now() < deadline, "the run makes no progress");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = run(dir.path(), "log", "loans.jsonl", &args);
    assert_agrees(&last, &summary);
    assert!(last["duplicates"].as_u64().unwrap() > 0, "nothing was durable when it was killed");

    let seqs: Vec<u64> = BufReader::new(fs::File::open(told).unwrap())
        .lines()
        .map(|line| line.unwrap().split('\t').next().unwrap().parse().unwrap())
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "a notification was told twice");
    assert_eq!(seqs.len() as u64, summary.offers_sent + decided(&summary), "each was told");
    let again = run(dir.path(), "log", "loans.jsonl", &args);
    assert_eq!(digests(&again), digests(&last));
}

#[test]
fn stdin_is_an_input_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), 2_000));
    let file = fs::File::open(dir.path().join("loans.jsonl")).unwrap();
    let args = ["run", "--flow", "loan", "--json", "--log", "log", "--input", "-"];
    let ran = common::finish(Command::new(DOWNBEAT).current_dir(dir.path()).args(args).stdin(file));
    assert_agrees(&json(&ran), &summary);
}

#[test]
fn a_page_fits_into_80_columns_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&Generator::new(7, Volume::Events(3_000)).collect::<Vec<_>>());
    generate(dir.path(), 3_000);
    let ran = downbeat(dir.path(), &["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(ran.stdout.contains("events             3,000: 3,000 new, 0 known"), "{}", ran.stdout);
    let declined = format!("declined   {:>9}", summary.declined.applications);
    assert!(ran.stdout.contains(&declined), "{}", ran.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_stops_it_in_order_and_a_second_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), 120_000));
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let log = format!("log{signal}");
        // A run may be over before the signal comes; then it is tried again on a fresh log.
        let ran = (0..10).find_map(|attempt| {
            let (log, told) = (format!("{log}{attempt}"), dir.path().join(format!("{signal}{attempt}")));
            let mut child = Command::new(DOWNBEAT)
                .current_dir(dir.path())
                .args(["run", "--flow", "loan", "--log", &log, "--input", "loans.jsonl", "--notifications"])
                .arg(&told)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            while fs::metadata(&told).map_or(0, |told| told.len()) == 0 && child.try_wait().unwrap().is_none()
            {
                std::thread::yield_now();
            }
            Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            let ran = child.wait_with_output().unwrap();
            (!ran.status.success()).then_some((log, ran))
        });
        let (log, ran) = ran.expect("one of ten runs is slower than a signal");
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(code), "{stderr}");
        let told = format!("downbeat: stopped by signal {}: ", code - 128);
        assert!(stderr.starts_with(&told) && stderr.lines().count() == 1, "{stderr}");
        assert_agrees(&run(dir.path(), &log, "loans.jsonl", &[]), &summary);
    }
}

#[test]
fn who_stops_reading_is_not_told_about_it() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), 100);
    let mut child = Command::new(DOWNBEAT)
        .current_dir(dir.path())
        .args(["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!((ran.status.code(), ran.stderr.as_slice()), (Some(0), &b""[..]));
}
