//! Any bytes as a file of loan events: an answer of one line or events, the same whatever is done about bad input, and
//! the same after writing and reading.

use downbeat_example_loan::{
    Format, InputError, Loaded, LoanInput, OnBadInput, read_from, write_csv, write_jsonl, write_xes,
};

use crate::allocations::within;
use crate::canary;

/// What a reader holds whatever it reads: the pieces in which it reads, unpacks and parses.
const READER: usize = 1 << 20;
/// What a byte of input may become, in bytes: a line without anything in it is a bad input with its place and reason.
const BYTE: usize = 640;
/// Bad inputs that say more than this are shortened, in bytes; and a message that names one.
const LINE_MAX: usize = 2_000;

/// A file of events as XES, held against itself, written and read again.
///
/// # Panics
///
/// When it finds something.
pub fn xes(input: &[u8]) {
    check(input, Format::Xes);
}

/// A file of events as lines of JSON, held against itself, written and read again.
///
/// # Panics
///
/// When it finds something.
pub fn jsonl(input: &[u8]) {
    check(input, Format::Jsonl);
}

/// A file of events as CSV, held against itself, written and read again.
///
/// # Panics
///
/// When it finds something.
pub fn csv(input: &[u8]) {
    check(input, Format::Csv);
}

fn check(input: &[u8], format: Format) {
    // A packed input may be a thousand times as long; that it is read in pieces is tested with a stream.
    let packed = input.starts_with(b"\x1f\x8b");
    let bound = READER + BYTE * input.len() * if packed { 1_032 } else { 1 };
    let read = |format, policy| within(bound, || read_from(input, "fuzzed", format, policy));
    let [stopped, skipped, kept] =
        [OnBadInput::Stop, OnBadInput::Skip, OnBadInput::DeadLetter].map(|policy| read(Some(format), policy));
    for error in [&stopped, &skipped, &kept].into_iter().filter_map(|result| result.as_ref().err()) {
        one_line(&error.to_string());
    }
    match (stopped, skipped, kept) {
        (stopped, Ok(skipped), Ok(kept)) => {
            assert_eq!((skipped.bad, &skipped.inputs), (kept.bad, &kept.inputs));
            assert_eq!(kept.bad, kept.dead_letters.len() as u64);
            assert_eq!(stopped.is_ok(), kept.bad == 0, "to stop is to stop at the first bad input");
            kept.dead_letters.iter().for_each(|letter| one_line(&letter.to_string()));
            again(&kept.inputs);
        }
        (Err(_), Err(skipped), Err(kept)) => assert_eq!(skipped.to_string(), kept.to_string()),
        (stopped, skipped, kept) => panic!("{stopped:?} {skipped:?} {kept:?}"),
    }
    let _ = read(None, OnBadInput::Skip);
}

fn one_line(text: &str) {
    assert!(!text.contains(['\n', '\r']) && text.len() < LINE_MAX, "{text}");
}

/// What was read is written in every format and read again.
fn again(inputs: &[LoanInput]) {
    if inputs.is_empty() {
        return;
    }
    let reread = |format, text: &[u8]| -> Result<Loaded, InputError> {
        let text = if canary() {
            String::from_utf8_lossy(text).replace("COMPLETE", "START")
        } else {
            String::from_utf8_lossy(text).into_owned()
        };
        read_from(text.as_bytes(), "written", Some(format), OnBadInput::Stop)
    };
    let mut text = Vec::new();
    write_jsonl(&mut text, inputs.iter().copied()).expect("memory takes it");
    same(inputs, &reread(Format::Jsonl, &text).expect("what was written is read"));
    text.clear();
    write_csv(&mut text, inputs.iter().copied()).expect("memory takes it");
    same(inputs, &reread(Format::Csv, &text).expect("what was written is read"));
    // In XES an amount belongs to the case, and stands on its first event.
    let first_only = inputs.iter().all(|input| input.amount_eur.is_none() || input.position == 0);
    let in_order = |pair: &[LoanInput]| pair[0].case != pair[1].case || pair[0].position < pair[1].position;
    if first_only && inputs.windows(2).all(in_order) {
        text.clear();
        write_xes(&mut text, inputs).expect("memory takes it");
        let mut loaded = reread(Format::Xes, &text).expect("what was written is read");
        let mut expected = inputs.to_vec();
        let by_place = |input: &LoanInput| (input.case, input.position);
        expected.sort_by_key(by_place);
        loaded.inputs.sort_by_key(by_place);
        same(&expected, &loaded);
    }
}

/// Positions are counted in the order of the file, so events that were not in time there get others.
fn same(inputs: &[LoanInput], loaded: &Loaded) {
    let without_place = |inputs: &[LoanInput]| -> Vec<_> {
        inputs.iter().map(|input| LoanInput { position: 0, ..*input }).collect()
    };
    assert_eq!(without_place(inputs), without_place(&loaded.inputs));
}
