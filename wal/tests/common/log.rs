//! What every test of the log needs: batches of events, and logs on each backend.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::sync::Arc;

use downbeat_record::{Batch, BatchKind, Fields, Seq, Timestamp, WholeBatch};
use downbeat_wal::{BackendChoice, Log, Memory, OpenError, Options, Recovered};

/// What was kept of a log: per batch its kind, first seq and payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub batches: Vec<(BatchKind, Seq, u32)>,
    pub events: Vec<Vec<u8>>,
}

impl Kept {
    pub fn visit(&mut self, batch: &WholeBatch<'_>) {
        self.batches.push((batch.kind(), batch.first_seq(), batch.count()));
        for record in batch.records() {
            assert_eq!(record.seq.0, self.events.len() as u64 + 1, "seqs are dense");
            self.events.push(record.payload().bytes().to_vec());
        }
    }
}

pub fn options(dir: &Path, backend: BackendChoice) -> Options {
    Options { segment_bytes: 1 << 20, batch_bytes: 64 << 10, backend, ..Options::new(dir) }
}

pub fn memory_options(memory: &Memory) -> Options {
    Options { segment_bytes: 256 << 10, batch_bytes: 16 << 10, ..Options::in_memory(memory) }
}

pub fn open(options: &Options) -> Result<(Log, Recovered, Kept), OpenError> {
    let mut kept = Kept::default();
    let (log, recovered) = Log::open(options, |batch| {
        kept.visit(batch);
        Ok(())
    })?;
    Ok((log, recovered, kept))
}

/// The payload of the event with this seq: its number, then bytes that follow from it.
pub fn payload(seq: u64, len: usize) -> Vec<u8> {
    let mut bytes = seq.to_le_bytes().to_vec();
    bytes.resize(len.max(8), seq as u8);
    bytes
}

/// A batch of `count` events from `first` on.
pub fn batch(first: Seq, count: u64, len: usize) -> Arc<Batch> {
    let mut batch = Batch::with_capacity(64 << 10, u16::MAX);
    fill(&mut batch, first, count, len);
    Arc::new(batch)
}

pub fn fill(batch: &mut Batch, first: Seq, count: u64, len: usize) {
    batch.open(first);
    for seq in first.0..first.0 + count {
        batch.push(&Fields::default(), Timestamp(seq * 10), &payload(seq, len)).expect("it fits");
    }
}

/// Appends one batch of `count` events and says which seq was the last.
pub fn append(log: &mut Log, count: u64, len: usize) -> Seq {
    wait_until_ready(log);
    let mut batch = batch(log.next_seq(), count, len);
    log.append(&mut batch).expect("it is taken");
    Seq(log.next_seq().0 - 1)
}

pub fn wait_until_ready(log: &mut Log) {
    while let Err(error) = log.ready() {
        assert!(error.is_temporary(), "{error}");
        log.wait(Some(std::time::Duration::from_secs(10))).expect("the log goes on");
    }
}

pub fn expect_events(kept: &Kept, count: u64, len: usize) {
    assert_eq!(kept.events.len() as u64, count);
    for (index, event) in kept.events.iter().enumerate() {
        assert_eq!(*event, payload(index as u64 + 1, len), "event {}", index + 1);
    }
}

pub fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for a test")
}

/// Runs a test on every backend that this machine has.
pub fn on_every_backend(test: impl Fn(&Options)) {
    for backend in [BackendChoice::Uring, BackendChoice::Blocking] {
        let dir = temp();
        test(&options(&dir.path().join("log"), backend));
    }
    let memory = Memory::new();
    test(&Options { segment_bytes: 1 << 20, batch_bytes: 64 << 10, ..Options::in_memory(&memory) });
}
