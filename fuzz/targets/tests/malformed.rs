//! Malformed logs: a small log after seeded edits is opened, read, verified and inspected; each gives the right answer or
//! an error of one line, and of a log that opens all that it keeps is shown.
//!
//! `DOWNBEAT_MALFORMED_ROUNDS` makes it more than the few that every run of the tests does, `DOWNBEAT_MALFORMED_SEED`
//! others; a failure names the round, and one round alone is run with both set.
#![allow(missing_docs, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use downbeat_audit::{EventFilter, VerifyOptions, inspect, verify};
use downbeat_fuzz_targets::{Edit, Edited, SmallLog, check_edited};

const ROUNDS: u64 = 10_000;
const EDITS_MAX: u64 = 4;

/// What the rounds came to.
#[derive(Debug, Default)]
struct Tally {
    whole: u64,
    cut: u64,
    refused: u64,
    forged: u64,
    verified: u64,
}

#[test]
fn malformed_logs_give_the_right_answer_or_a_clear_error() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let rounds = number("DOWNBEAT_MALFORMED_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("DOWNBEAT_MALFORMED_SEED").unwrap_or(0);
    // In memory where there is such a place: what was written a moment ago is read past the cache otherwise.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut tally = Tally::default();
    for round in seed..seed + rounds {
        let edits = edits(round);
        let looked = catch_unwind(AssertUnwindSafe(|| look(dir.path(), &edits, &mut tally)));
        assert!(looked.is_ok(), "seed {round}: see above; the edits were {edits:?}");
    }
    println!("{rounds} rounds from seed {seed}: {tally:?}");
    let each = [tally.whole, tally.cut, tally.refused, tally.forged, tally.verified];
    assert!(rounds < 1_000 || each.iter().all(|count| *count > rounds / 200), "{tally:?}");
}

/// The edits of a round follow from its number.
fn edits(round: u64) -> Vec<Edit> {
    let mut state = round;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let count = 1 + next() % EDITS_MAX;
    let bytes: Vec<u8> = (0..count * 16).flat_map(|_| next().to_le_bytes()).collect();
    let mut bytes = Unstructured::new(&bytes);
    (0..count).map(|_| Edit::arbitrary(&mut bytes).expect("there are bytes enough")).collect()
}

fn look(dir: &Path, edits: &[Edit], tally: &mut Tally) {
    let total = SmallLog::get().events.len();
    let edited = check_edited(edits);
    match &edited.kept {
        _ if edited.forged => tally.forged += 1,
        Err(_) => tally.refused += 1,
        Ok(kept) if *kept == total => tally.whole += 1,
        Ok(_) => tally.cut += 1,
    }
    put(dir, &edited.files);
    tally.verified += u64::from(audited(dir, &edited, total));
}

/// Verifies and inspects; true when it is verified.
fn audited(dir: &Path, edited: &Edited, total: usize) -> bool {
    let range = edited.promised..=total;
    let verified = verify(dir, VerifyOptions::default(), |_| {});
    let holds = verified.is_ok();
    match verified {
        Ok(verified) => {
            let events = verified.events as usize;
            assert!(edited.forged || range.contains(&events), "{events} events hold, of {range:?}");
            assert!(edited.kept.is_ok(), "it holds, and is refused for writing: {:?}", edited.kept);
        }
        Err(error) => one_line(&error.to_string()),
    }
    let mut read = 0;
    match inspect(dir, EventFilter::default()) {
        Ok(events) => {
            for event in events {
                match event {
                    Ok(_) => read += 1,
                    Err(error) => one_line(&error.to_string()),
                }
            }
        }
        Err(error) => one_line(&error.to_string()),
    }
    assert!(edited.forged || read <= total, "{read} events out of {total}");
    // What opening keeps is shown, all of it.
    if let (Ok(kept), false) = (&edited.kept, edited.forged) {
        assert_eq!(read, *kept);
    }
    holds
}

fn one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
}

fn put(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}
