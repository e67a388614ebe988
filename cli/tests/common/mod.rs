//! The built program, files for it, and what it should say about them.
#![allow(dead_code, unreachable_pub)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use downbeat_example_loan::{Generator, LoanInput, Summary, Volume, write_jsonl};
use serde_json::Value;

/// The program.
pub const DOWNBEAT: &str = env!("CARGO_BIN_EXE_downbeat");

/// What it did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs it in a directory, with these arguments.
pub fn downbeat(dir: &Path, args: &[&str]) -> Ran {
    finish(Command::new(DOWNBEAT).current_dir(dir).args(args).stdin(Stdio::null()))
}

/// Runs any command to its end.
pub fn finish(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `downbeat run --flow loan --json`, which must go well and say nothing on stderr.
pub fn run(dir: &Path, log: &str, input: &str, more: &[&str]) -> Value {
    let args = [&["run", "--flow", "loan", "--json", "--log", log, "--input", input], more].concat();
    json(&downbeat(dir, &args))
}

/// The one JSON object of a run that went well.
pub fn json(ran: &Ran) -> Value {
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Writes generated traffic to `loans.jsonl` in a directory.
pub fn generate(dir: &Path, events: u64) -> Vec<LoanInput> {
    let inputs: Vec<_> = Generator::new(7, Volume::Events(events)).collect();
    let mut file = BufWriter::new(File::create(dir.join("loans.jsonl")).unwrap());
    write_jsonl(&mut file, inputs.iter().copied()).unwrap();
    file.flush().unwrap();
    inputs
}

/// Holds what a run printed to the oracle.
pub fn assert_agrees(printed: &Value, summary: &Summary) {
    let groups = [
        ("approved", summary.approved),
        ("declined", summary.declined),
        ("cancelled", summary.cancelled),
        ("open", summary.open),
    ];
    for (name, group) in groups {
        assert_eq!(printed["applications"][name], group.applications, "{name}");
        assert_eq!(printed["amounts"][name], group.amount_eur, "{name}");
    }
    assert_eq!(printed["events"], summary.events);
    assert_eq!(printed["multiple_offers"], summary.with_several_offers);
    assert_eq!(printed["fraud_checked"], summary.fraud_checked);
    assert_eq!(printed["last_seq"], summary.events + decided(summary), "each decision is one event more");
}

/// How many applications were decided.
pub fn decided(summary: &Summary) -> u64 {
    summary.applications - summary.open.applications
}

/// The real log, where it is at hand.
pub fn real_log() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/bpic2012.xes.gz");
    path.exists().then(|| path.canonicalize().unwrap())
}

/// What a digest map should equal across runs and replays.
pub fn digests(printed: &Value) -> &Value {
    let digests = &printed["digests"];
    assert_eq!(digests.as_object().unwrap().len(), 5, "{printed}");
    digests
}
