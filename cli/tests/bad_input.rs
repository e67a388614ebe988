//! Whatever is wrong is one line on stderr with the place, an exit code, and nothing half-written.
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::{DOWNBEAT, assert_agrees, downbeat, finish, generate, json, run};
use downbeat::{Engine, Options};
use downbeat_example_loan::Summary;

const GOOD: &str = "\
{\"case\":7,\"activity\":\"A_SUBMITTED\",\"transition\":\"COMPLETE\",\"time\":\"2011-10-01T00:38:44Z\",\"amount\":20000}
{\"case\":7,\"activity\":\"A_DECLINED\",\"transition\":\"COMPLETE\",\"time\":\"2011-10-01T00:39:30Z\"}
";

const RUN: [&str; 7] = ["run", "--flow", "loan", "--json", "--log", "log", "--input"];

fn refused(dir: &Path, input: &str, code: i32, message: &str) {
    let ran = downbeat(dir, &[&RUN[..], &[input]].concat());
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (code, "", format!("downbeat: {message}\n").as_str())
    );
}

#[test]
fn a_bad_input_is_named_and_no_log_is_made() {
    let lines: [(&str, &str); 4] = [
        (
            r#"{"case":8,"#,
            "malformed line: EOF while parsing a value at column 10, expected a JSON object with case, activity, \
             transition and time",
        ),
        (
            r#"{"case":8,"activity":"A_LOST","transition":"COMPLETE","time":"2011-10-01T00:38:44Z"}"#,
            r#"unknown activity "A_LOST", expected one of the log's 24, such as "A_SUBMITTED""#,
        ),
        (
            r#"{"case":8,"transition":"COMPLETE","time":"2011-10-01T00:38:44Z"}"#,
            r#"field activity is missing, expected an activity such as "A_SUBMITTED""#,
        ),
        (
            r#"{"case":"x","activity":"A_SUBMITTED","transition":"COMPLETE","time":"2011-10-01T00:38:44Z"}"#,
            r#"field case is "x", expected a whole number, the application's id"#,
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (line, message) in lines {
        fs::write(dir.path().join("bad.jsonl"), format!("{GOOD}{line}\n")).unwrap();
        refused(dir.path(), "bad.jsonl", 1, &format!("bad.jsonl:3: {message}"));
    }
    fs::write(dir.path().join("empty.jsonl"), "").unwrap();
    refused(dir.path(), "empty.jsonl", 1, "empty.jsonl: empty, expected XES, JSONL or CSV");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(GOOD.as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    fs::write(dir.path().join("cut.jsonl.gz"), &whole[..whole.len() - 9]).unwrap();
    let cut = "the gzip stream is cut off, expected more after this line: fetch the file again";
    let ran = downbeat(dir.path(), &[&RUN[..], &["cut.jsonl.gz"]].concat());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("downbeat: cut.jsonl.gz:") && ran.stderr.contains(cut), "{}", ran.stderr);
    refused(dir.path(), ".", 3, ".: is a directory, expected a file");
    refused(dir.path(), "absent", 3, "absent: no such file");
    assert!(!dir.path().join("log").exists(), "a log was made");
}

#[test]
fn a_bad_line_can_be_skipped_or_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.jsonl"), format!("{GOOD}nonsense\n")).unwrap();
    let skipped = run(dir.path(), "skip", "bad.jsonl", &["--on-bad-input", "skip"]);
    assert_eq!((&skipped["events"], &skipped["applications"]["declined"]), (&2.into(), &1.into()));
    assert_eq!(skipped["bad"], 1, "what was left out is told to machines too");
    let keep = ["--on-bad-input", "dead-letter", "--dead-letters", "dead.jsonl"];
    assert_eq!(run(dir.path(), "keep", "bad.jsonl", &keep)["events"], 2);
    let dead = fs::read_to_string(dir.path().join("dead.jsonl")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(dead.trim_end()).unwrap();
    assert_eq!((&letter["line"], &letter["raw"]), (&3.into(), &"nonsense".into()));
}

#[test]
fn dead_letters_of_another_run_are_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.jsonl"), format!("{GOOD}nonsense\n")).unwrap();
    fs::write(dir.path().join("worse.jsonl"), format!("{GOOD}rubbish\n")).unwrap();
    let keep = ["--on-bad-input", "dead-letter", "--dead-letters"];
    let args = |input, dead| [&RUN[..], &[input], &keep, &[dead]].concat();
    for _ in 0..2 {
        assert_eq!(downbeat(dir.path(), &args("bad.jsonl", "dead.jsonl")).code, 0, "the same run once more");
    }
    let dead = fs::read(dir.path().join("dead.jsonl")).unwrap();
    for (input, dead) in [("worse.jsonl", "dead.jsonl"), ("bad.jsonl", "bad.jsonl"), ("bad.jsonl", "log")] {
        let ran = downbeat(dir.path(), &args(input, dead));
        let said = format!(
            "downbeat: {dead}: holds something else than the dead letters of this input; name a new file\n"
        );
        assert_eq!((ran.code, ran.stderr), (2, said));
    }
    assert_eq!(fs::read(dir.path().join("dead.jsonl")).unwrap(), dead);
    assert!(fs::read_to_string(dir.path().join("bad.jsonl")).unwrap().starts_with(GOOD));
}

#[test]
fn an_input_without_events_is_said_and_makes_no_log() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("nothing.jsonl"), "nonsense\n{}\n").unwrap();
    let ran = downbeat(dir.path(), &[&RUN[..], &["nothing.jsonl", "--on-bad-input", "skip"]].concat());
    let said = "downbeat: nothing.jsonl: no events to submit, and 2 bad inputs\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, said));
    assert!(!dir.path().join("log").exists());
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    let cases: [(&[&str], &str); 3] = [
        (
            &["run", "--flow", "lone", "--log", "log", "--input", "good.jsonl"],
            "there is no flow `lone`; this program knows loan (a bank's loan applications)",
        ),
        (
            &[
                "run",
                "--flow",
                "loan",
                "--log",
                "log",
                "--input",
                "good.jsonl",
                "--on-bad-input",
                "dead-letter",
            ],
            "--on-bad-input dead-letter needs --dead-letters FILE",
        ),
        (
            &["run", "--flow", "loan", "--log", "log", "--input", "good.jsonl", "--dead-letters", "x"],
            "--dead-letters FILE needs --on-bad-input dead-letter",
        ),
    ];
    for (args, message) in cases {
        let ran = downbeat(dir.path(), args);
        assert_eq!((ran.code, ran.stderr), (2, format!("downbeat: {message}\n")));
    }
    for args in [&["run"][..], &["rum"], &[], &["run", "--shards", "0"], &["demo", "--event"]] {
        let ran = downbeat(dir.path(), args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ran.stderr.contains("Usage:") || ran.stderr.contains("--help"), "{}", ran.stderr);
    }
    assert!(!dir.path().join("log").exists());
}

#[test]
fn another_event_under_a_known_place_is_refused_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    let before = run(dir.path(), "log", "good.jsonl", &[]);
    fs::write(dir.path().join("other.jsonl"), GOOD.replace("20000", "30000")).unwrap();
    let ran = downbeat(dir.path(), &[&RUN[..], &["other.jsonl"]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let begin = "downbeat: event 1 of case 7: not accepted: its idempotency key was used for another event";
    assert!(ran.stderr.starts_with(begin), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("0 events before it are durable\n"), "{}", ran.stderr);
    let after = run(dir.path(), "log", "good.jsonl", &[]);
    assert_eq!((&after["last_seq"], &after["digests"]), (&before["last_seq"], &before["digests"]));
}

#[test]
fn what_of_a_refused_input_has_come_into_the_log_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    let before = run(dir.path(), "log", "good.jsonl", &[])["last_seq"].as_u64().unwrap();
    let begun =
        r#""activity":"A_SUBMITTED","transition":"COMPLETE","time":"2011-10-02T00:38:44Z","amount":500"#;
    let more: String = (100..150).map(|case| format!("{{\"case\":{case},{begun}}}\n")).collect();
    fs::write(dir.path().join("other.jsonl"), GOOD.replace("20000", "30000") + &more).unwrap();
    let ran = downbeat(dir.path(), &[&RUN[..], &["other.jsonl"]].concat());
    let held = downbeat(dir.path(), &["verify", "log", "--json"]);
    let held: serde_json::Value = serde_json::from_str(&held.stdout).unwrap();
    // How many had gone in when the refusal was seen is a matter of time. None of them makes another event.
    let last = held["last_seq"].as_u64().unwrap();
    let end = format!(
        "0 events before it are durable; the log took {} events of this input and ends at seq {last} now\n",
        last - before
    );
    assert!(ran.code == 1 && last > before && ran.stderr.ends_with(&end), "{}", ran.stderr);
}

#[test]
fn a_log_that_somebody_else_writes_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    let engine =
        Engine::open(Options::new(dir.path().join("log")), downbeat_example_loan::flow(None)).unwrap();
    let pid = std::process::id();
    let locked = format!("log/LOCK: another writer (process {pid}) has this log open");
    refused(dir.path(), "good.jsonl", 3, &locked);
    engine.close().unwrap();
    drop(engine);
    assert_eq!(run(dir.path(), "log", "good.jsonl", &[])["duplicates"], 0);
}

#[test]
fn a_log_of_a_later_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    run(dir.path(), "log", "good.jsonl", &[]);
    let manifest = fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().path());
    for path in manifest.filter(|path| path.to_str().unwrap().contains("MANIFEST")) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 99;
        fs::write(&path, bytes).unwrap();
    }
    let ran = downbeat(dir.path(), &[&RUN[..], &["good.jsonl"]].concat());
    assert_eq!(ran.code, 2);
    let wanted = "format 99.0 is newer than this build reads; use a newer build\n";
    assert!(
        ran.stderr.starts_with("downbeat: log/MANIFEST.") && ran.stderr.ends_with(wanted),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_place_that_cannot_hold_a_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    fs::write(dir.path().join("log"), "a file").unwrap();
    refused(dir.path(), "good.jsonl", 3, "log: cannot open the directory: Not a directory (os error 20)");
    assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "a file");
}

#[test]
fn a_read_only_directory_is_an_error_of_the_system() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    let log = dir.path().join("log");
    fs::create_dir(&log).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(log.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    let ran = downbeat(dir.path(), &[&RUN[..], &["good.jsonl"]].concat());
    assert_eq!((ran.code, ran.stderr.lines().count()), (3, 1));
    assert!(ran.stderr.contains("log") && ran.stderr.contains("ermission denied"), "{}", ran.stderr);
}

#[test]
fn a_page_that_cannot_be_written_is_not_taken_for_a_log_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.jsonl"), GOOD).unwrap();
    run(dir.path(), "log", "good.jsonl", &[]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = finish(Command::new(DOWNBEAT).current_dir(dir.path()).args(["verify", "log"]).stdout(full));
    let said = "downbeat: stdout: No space left on device (os error 28)\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (3, said));
}

#[test]
fn a_disk_that_fills_up_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let summary = Summary::of(&generate(dir.path(), 100_000));
    fs::create_dir(dir.path().join("small")).unwrap();
    // A filesystem of its own, in a mount namespace that ends with the shell.
    let script = "mount -t tmpfs -o size=7m tmpfs small || exit 99; \
         \"$0\" run --flow loan --json --segment-mib 1 --log small/log --input loans.jsonl; echo $? >&2; \
         mount -o remount,size=400m small; \
         exec \"$0\" run --flow loan --json --segment-mib 1 --log small/log --input loans.jsonl";
    let mut command = Command::new("unshare");
    let ran = finish(command.current_dir(dir.path()).args(["-rm", "sh", "-c", script, DOWNBEAT]));
    if ran.code == 99 || ran.stderr.contains("unshare") {
        eprintln!("skipped: no mount namespace: {}", ran.stderr);
        return;
    }
    let (first, code) = ran.stderr.split_once('\n').unwrap();
    assert_eq!((ran.code, code), (0, "3\n"), "{ran:?}");
    assert!(first.contains("the log is full") && first.ends_with("events before it are durable"), "{first}");
    let second = json(&common::Ran { code: 0, stdout: ran.stdout, stderr: String::new() });
    assert_agrees(&second, &summary);
    assert!(second["duplicates"].as_u64().unwrap() > 0);
}
