//! `verify`, `replay`, `inspect`, `tail`, `doctor` and `demo`: what a log says when it is read again.

mod common;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{DOWNBEAT, decided, digests, downbeat, generate, json, run};
use downbeat::{Engine, Key, Options};
use downbeat_example_loan::flow::Recorded;
use downbeat_example_loan::{Generator, Summary, Volume};
use serde_json::Value;

/// A log of 20,000 events, which was run in two goes.
fn log(dir: &Path) -> (Value, Summary) {
    let inputs = generate(dir, 20_000);
    (run(dir, "log", "loans.jsonl", &["--shards", "2"]), Summary::of(&inputs))
}

fn lines(dir: &Path, args: &[&str]) -> Vec<Value> {
    let ran = downbeat(dir, args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn segment(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).min().unwrap()
}

#[test]
fn a_replay_gives_the_digests_of_the_run_with_any_number_of_shards() {
    let dir = tempfile::tempdir().unwrap();
    let (ran, summary) = log(dir.path());
    for shards in ["1", "2", "8"] {
        let args = ["replay", "log", "--flow", "loan", "--json", "--shards", shards];
        let replayed = json(&downbeat(dir.path(), &args));
        assert_eq!(digests(&replayed), digests(&ran), "{shards} shards");
        assert_eq!(replayed["last_seq"], ran["last_seq"]);
        assert_eq!(replayed["derived"], decided(&summary));
        assert!(replayed["checkpoints"].as_u64().unwrap() > 0);
    }
    let part = json(&downbeat(dir.path(), &["replay", "log", "--flow", "loan", "--json", "--to", "500"]));
    assert_eq!((&part["last_seq"], &part["events"]), (&500.into(), &500.into()));
}

#[test]
fn a_killed_run_that_went_on_is_replayed_to_the_digests_in_its_log() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), 100_000);
    let told = dir.path().join("told");
    let mut child = Command::new(DOWNBEAT)
        .current_dir(dir.path())
        .args(["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl", "--notifications", "told"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(&told).map_or(0, |told| told.len()) == 0 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(downbeat(dir.path(), &["verify", "log"]).code, 0, "what a crash left verifies");
    assert_eq!(downbeat(dir.path(), &["replay", "log", "--flow", "loan"]).code, 0, "and replays");
    let ran = run(dir.path(), "log", "loans.jsonl", &[]);
    let replayed = json(&downbeat(dir.path(), &["replay", "log", "--flow", "loan", "--json"]));
    assert_eq!(digests(&replayed), digests(&ran));
    assert_eq!(downbeat(dir.path(), &["verify", "log"]).code, 0);
}

#[test]
fn verify_counts_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (ran, _) = log(dir.path());
    let verified = json(&downbeat(dir.path(), &["verify", "log", "--json"]));
    assert_eq!((&verified["events"], &verified["last_seq"]), (&ran["last_seq"], &ran["last_seq"]));
    assert_eq!(verified["unproved"], 0, "a log that was closed proves its end");
    let page = downbeat(dir.path(), &["verify", "log"]);
    assert_eq!((page.code, page.stderr.as_str()), (0, ""));
    assert!(page.stdout.lines().all(|line| line.chars().count() <= 80), "{}", page.stdout);
}

#[test]
fn what_is_worth_a_look_in_a_log_that_holds_is_told() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let whole = json(&downbeat(dir.path(), &["verify", "log", "--json"]));
    assert_eq!((&whole["closed"], &whole["notices"]), (&true.into(), &Value::Array(Vec::new())));
    // The first opening writes this one; whether the other is there depends on how fast segments are made.
    let slot = dir.path().join("log/MANIFEST.1");
    let mut bytes = fs::read(&slot).unwrap();
    bytes[20] ^= 1;
    fs::write(&slot, bytes).unwrap();
    let shown = downbeat(dir.path(), &["verify", "log"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("Worth a look: log/MANIFEST.1: the manifest slot"), "{}", shown.stdout);
    fs::remove_file(slot).unwrap();
    let _ = fs::remove_file(dir.path().join("log/MANIFEST.0"));
    let shown = json(&downbeat(dir.path(), &["verify", "log", "--json"]));
    assert_eq!(shown["notices"][0], "there is no manifest: a loss at the very end would not show");
    let doctor = downbeat(dir.path(), &["doctor", "log"]);
    assert!(doctor.stdout.contains("there is no manifest"), "{}", doctor.stdout);
}

#[test]
fn a_kind_is_unknown_only_when_all_of_the_log_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let inspect = |more: &[&str]| downbeat(dir.path(), &[&["inspect", "log", "--kind"], more].concat());
    let unknown = inspect(&["loan.Nothing"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("no contract `loan.Nothing`; it has loan."), "{}", unknown.stderr);
    for some in [&["loan.Nothing", "--limit", "0"][..], &["loan.Nothing", "--to", "10"]] {
        let ran = inspect(some);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""), "{some:?}");
    }
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let path = segment(dir.path());
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (at, mut byte) = (100_000, [0]);
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    for args in [
        &["verify", "log"][..],
        &["replay", "log", "--flow", "loan"],
        &["run", "--flow", "loan", "--log", "log", "--input", "loans.jsonl"],
    ] {
        let ran = downbeat(dir.path(), args);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (1, "", 1), "{ran:?}");
        assert!(ran.stderr.starts_with("downbeat: log/00000000000000000001.seg: byte "), "{}", ran.stderr);
        assert!(ran.stderr.contains("seq"), "{}", ran.stderr);
    }
    let doctor = downbeat(dir.path(), &["doctor", "log"]);
    assert_eq!((doctor.code, doctor.stderr.lines().count()), (1, 1));
}

#[test]
fn events_are_shown_with_the_names_of_their_contracts() {
    let dir = tempfile::tempdir().unwrap();
    let (ran, summary) = log(dir.path());
    let first = &lines(dir.path(), &["inspect", "log", "--json", "--limit", "1"])[0];
    assert_eq!((&first["seq"], &first["kind"]), (&1.into(), &"loan.Recorded".into()));
    assert_eq!(first["payload"]["activity"], "ApplicationSubmitted");
    assert_eq!(first["payload"]["transition"], "Complete");
    let all = lines(dir.path(), &["inspect", "log", "--json"]);
    assert_eq!(all.len() as u64, ran["last_seq"].as_u64().unwrap());
    let decisions = lines(dir.path(), &["inspect", "log", "--json", "--kind", "loan.Decided"]);
    assert_eq!(decisions.len() as u64, decided(&summary));
    let case = first["key"].to_string();
    let of_case = lines(dir.path(), &["inspect", "log", "--json", "--key", &case]);
    assert!(of_case.len() > 1 && of_case.iter().all(|event| event["payload"]["case"] == first["key"]));
    let correlation = first["correlation"].as_str().unwrap();
    assert_eq!(lines(dir.path(), &["inspect", "log", "--json", "--correlation", correlation]), of_case);
    let range = lines(dir.path(), &["inspect", "log", "--json", "--from", "10", "--to", "12"]);
    assert_eq!(range, all[9..12]);
    assert_eq!(lines(dir.path(), &["inspect", "log", "--from", "999999"]), Vec::<Value>::new());
    let unknown = downbeat(dir.path(), &["inspect", "log", "--kind", "loan.Deceided"]);
    let names = "loan.Recorded, loan.Decided, downbeat.Rejected";
    let said = format!("downbeat: the log has no contract `loan.Deceided`; it has {names}\n");
    assert_eq!((unknown.code, unknown.stderr), (2, said));
    let backwards = downbeat(dir.path(), &["inspect", "log", "--from", "3", "--to", "2"]);
    assert_eq!((backwards.code, backwards.stderr.as_str()), (2, "downbeat: --from 3 is behind --to 2\n"));
}

#[test]
fn the_tail_is_the_end_and_goes_on_with_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = generate(dir.path(), 2_000);
    let text = fs::read_to_string(dir.path().join("loans.jsonl")).unwrap();
    let part: String = text.lines().take(1_000).map(|line| format!("{line}\n")).collect();
    fs::write(dir.path().join("part.jsonl"), part).unwrap();
    let before = run(dir.path(), "log", "part.jsonl", &[])["last_seq"].as_u64().unwrap();
    let seqs =
        |events: &[Value]| events.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    let last = lines(dir.path(), &["tail", "log", "--json", "-n", "3"]);
    assert_eq!(seqs(&last), [before - 2, before - 1, before]);
    assert_eq!(lines(dir.path(), &["tail", "log", "--json", "-n", "0"]), Vec::<Value>::new());

    let mut follower = Command::new(DOWNBEAT)
        .current_dir(dir.path())
        .args(["tail", "log", "--json", "-f", "-n", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || {
        let event: Value = serde_json::from_str(&shown.next().unwrap().unwrap()).unwrap();
        event["seq"].as_u64().unwrap()
    };
    assert_eq!(next(), before);
    let after = run(dir.path(), "log", "loans.jsonl", &[])["last_seq"].as_u64().unwrap();
    assert_eq!(after, 2_000 + decided(&Summary::of(&inputs)));
    for seq in before + 1..=after {
        assert_eq!(next(), seq);
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn where_there_is_no_log_every_reader_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for args in
        [&["verify", "log"][..], &["replay", "log", "--flow", "loan"], &["inspect", "log"], &["tail", "log"]]
    {
        let ran = downbeat(dir.path(), args);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (3, "", 1), "{ran:?}");
        assert!(ran.stderr.starts_with("downbeat: log: there is no log here"), "{}", ran.stderr);
    }
    assert!(!dir.path().join("log").exists(), "a reader made something");
}

#[test]
fn a_demo_checks_what_it_promises_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--events", "20000", "--log", "log", "--shards", "2"];
    let ran = downbeat(dir.path(), &args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches('✓').count(), 4, "{}", ran.stdout);
    assert!(!ran.stdout.contains('✗') && ran.stdout.contains("20,000 loan events"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(!dir.path().join("log").exists());
    std::fs::create_dir(dir.path().join("log")).unwrap();
    assert_eq!(downbeat(dir.path(), &args).code, 0);
    assert_eq!(
        std::fs::read_dir(dir.path().join("log")).unwrap().count(),
        0,
        "a directory that was there stays"
    );
    assert_eq!(downbeat(dir.path(), &[&args[..], &["--keep"]].concat()).code, 0);
    assert_eq!(downbeat(dir.path(), &["verify", "log"]).code, 0);
    let again = downbeat(dir.path(), &args);
    let said = "downbeat: log is not empty; a demo needs a fresh directory\n";
    assert_eq!((again.code, again.stderr.as_str()), (2, said));
    assert!(dir.path().join("log").exists(), "somebody's directory was removed");
}

#[test]
fn a_doctor_looks_at_the_disk_and_at_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = downbeat(dir.path(), &["doctor"]);
    assert_eq!((disk.code, disk.stderr.as_str()), (0, ""));
    assert!(disk.stdout.contains("fdatasync floor") && disk.stdout.contains("none here"), "{}", disk.stdout);
    log(dir.path());
    let both = downbeat(dir.path(), &["doctor", "log"]);
    assert_eq!(both.code, 0);
    assert!(both.stdout.contains("loan.Recorded v1"), "{}", both.stdout);
    assert!(both.stdout.lines().all(|line| line.chars().count() <= 80), "{}", both.stdout);
}

#[test]
fn an_entity_is_found_by_the_name_that_its_key_was_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let engine =
        Engine::open(Options::new(dir.path().join("log")), downbeat_example_loan::flow(None)).unwrap();
    let input = Generator::new(7, Volume::Events(1)).next().unwrap();
    for name in ["alice", "bob", "alice"] {
        engine.submit(&Recorded::from(&input)).key(Key::of(name)).wait().unwrap();
    }
    engine.close().unwrap();
    let of =
        |name| lines(dir.path(), &["inspect", "log", "--json", "--kind", "loan.Recorded", "--key-of", name]);
    assert_eq!([of("alice").len(), of("bob").len(), of("carol").len()], [2, 1, 0]);
    let both = downbeat(dir.path(), &["inspect", "log", "--key", "1", "--key-of", "alice"]);
    assert_eq!(both.code, 2, "{both:?}");
}
