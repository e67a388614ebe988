//! Any edits to the files of a small log: opening and reading say what is wrong, or give out what was there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::{BLOCK, Seq};
use downbeat_wal::{Log, Memory, OpenError, ReadOptions, Reader, ScanError, Trust};

use crate::allocations::{DECODER, within};
use crate::log::{Edit, SEGMENT, SmallBatch, SmallLog, files, options, put};
use crate::{canary, did, show};

/// What a reader takes whatever it reads: a piece and its head to read in, and one to look ahead in.
const READER: usize = 2 * ((1 << 20) + (256 << 10)) + DECODER;
/// What opening takes besides: zeros for the next segments, and the memory that plays the disk.
const OPENER: usize = READER + (256 << 10) + 12 * SEGMENT as usize;
const EDITS_MAX: usize = 12;

type Files = BTreeMap<String, Vec<u8>>;

/// Edits to the files of a small log, held against the log before.
///
/// # Panics
///
/// When it finds something.
pub fn scan(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let mut edits = Vec::new();
    while edits.len() < EDITS_MAX && !u.is_empty() {
        match Edit::arbitrary(&mut u) {
            Ok(edit) => edits.push(edit),
            Err(_) => break,
        }
    }
    show(&edits);
    check(&edits);
    did(edits.len());
}

/// What became of a small log after edits, and what recovery made of it.
#[derive(Debug)]
pub struct Edited {
    /// Its files.
    pub files: Files,
    /// Checksums were made true over bytes that no log wrote.
    pub forged: bool,
    /// How many events opening it keeps; or why it is refused.
    pub kept: Result<usize, String>,
    /// How many events the batches that are left say to have been durable.
    pub promised: usize,
}

/// Does the edits, opens and reads what is left, and holds the answers against each other and the log before.
///
/// # Panics
///
/// When an answer is wrong.
pub fn check(edits: &[Edit]) -> Edited {
    let small = SmallLog::get();
    let mut files = small.files.clone();
    let forged = edits.iter().filter(|edit| edit.apply(&mut files)).count() > 0;
    let promised = promised(small, &files);
    let kept = answers(small, &files, forged, promised);
    Edited { files, forged, kept, promised }
}

fn answers(small: &SmallLog, changed: &Files, forged: bool, promised: usize) -> Result<usize, String> {
    let bytes: usize = changed.values().map(Vec::len).sum();
    let everything = read(&put(changed), Trust::Everything, bytes);
    let durable = read(&put(changed), Trust::Durable, bytes);
    assert!(everything.starts_with(&durable), "what is durable is part of everything");

    let memory = put(changed);
    let kept = match open(&memory, bytes) {
        Ok(kept) => kept,
        // The planted fault: damage is taken for a torn tail.
        Err(OpenError::Scan(ScanError::Damaged { first_seq, .. })) if canary() && !forged => {
            small.events[..first_seq.0 as usize - 1].to_vec()
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n'), "{text}");
            let after = files(&memory);
            assert!(
                changed.iter().all(|(name, bytes)| after[name] == *bytes),
                "a refused log is not changed"
            );
            return Err(text);
        }
    };
    if !forged {
        assert!(small.events.starts_with(&kept), "an event that nobody wrote");
        assert!(kept.len() >= promised, "{} events were kept of {promised} acknowledged", kept.len());
    }
    if !canary() {
        assert_eq!(kept, everything, "opening keeps what reading finds");
        let again = open(&memory, bytes).map_err(|error| error.to_string());
        assert_eq!(again.as_ref(), Ok(&kept), "opening twice keeps the same");
    }
    Ok(kept.len())
}

/// How many events the batches that are left say to have been durable.
fn promised(small: &SmallLog, changed: &Files) -> usize {
    let part = |files: &Files, batch: &SmallBatch| {
        let file = files.get(&batch.file)?;
        Some([file.get(..BLOCK)?, file.get(batch.range.clone())?].concat())
    };
    let left = small.batches.iter().filter(|batch| part(changed, batch) == part(&small.files, batch));
    let Some(durable) = left.map(|batch| batch.durable).max() else { return 0 };
    let acknowledged = small.batches.iter().filter(|batch| batch.batch_no <= durable);
    acknowledged.map(|batch| batch.events).max().unwrap_or(0)
}

fn open(memory: &Memory, bytes: usize) -> Result<Vec<Vec<u8>>, OpenError> {
    let mut kept = Vec::new();
    let mut next = Seq(1);
    within(2 * bytes + OPENER, || {
        Log::open(&options(memory), |batch| {
            assert!(next == batch.first_seq() || kept.is_empty(), "{next:?}, then {:?}", batch.first_seq());
            next = batch.next_seq();
            kept.extend(batch.records().map(|record| record.payload().bytes().to_vec()));
            Ok(())
        })
    })?;
    Ok(kept)
}

/// The events that a reader gives out, until it stops, for whatever reason.
fn read(memory: &Memory, trust: Trust, bytes: usize) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    within(2 * bytes + READER, || {
        // The beginning, wherever it is: a forged manifest may say that the first segment was retired.
        let options = ReadOptions { from: Seq::ZERO, trust, ..ReadOptions::default() };
        let Ok(mut reader) = Reader::on(Arc::new(memory.clone()), options) else { return };
        // An empty batch takes a block, so there cannot be more of them.
        for _ in 0..=bytes / BLOCK {
            match reader.next_batch() {
                Ok(Some(located)) => {
                    let payloads = located.batch.records().map(|record| record.payload().bytes().to_vec());
                    events.extend(payloads);
                }
                Ok(None) => return,
                Err(error) => {
                    assert!(!error.to_string().contains('\n'), "{error}");
                    return;
                }
            }
        }
        panic!("more batches come out than there is room for");
    });
    events
}
