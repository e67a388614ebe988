//! The log as it is written, into memory, and as it is read again.

use std::path::Path;
use std::sync::Arc;

use downbeat_audit::{ReplayOptions, VerifyOptions};
use downbeat_benches::flow::{Spread, five, kinds};
use downbeat_benches::made::fill;
use downbeat_record::Batch;
use downbeat_wal::{Log, Memory, Options};

/// Sealed, hashed, handed over, durable; into one segment of a memory that copies what it is given.
pub(super) fn append(count: u64, _: &Path) -> u64 {
    let kinds = kinds(&five(Spread::Together));
    let options =
        Options { segment_bytes: 16 << 20, spare_segments: 1, ..Options::in_memory(&Memory::new()) };
    let (mut log, _) = Log::open(&options, |_| Ok(())).expect("a new log opens");
    let mut batch = Arc::new(Batch::with_capacity(64 << 10, 0));
    let mut events = 0;
    while events < count {
        let unique = Arc::get_mut(&mut batch).expect("the log has let go of it");
        unique.open(log.next_seq());
        events += fill(unique, &kinds, events, u64::MAX);
        log.append(&mut batch).expect("there is room");
        log.drain().expect("it becomes durable");
    }
    events
}

pub(super) fn verify(count: u64, dir: &Path) -> u64 {
    let verified = downbeat_audit::verify(dir, VerifyOptions::default(), |_| ()).expect("the log holds");
    assert_eq!(verified.events, count, "the log has as many events as the path is to be gone");
    verified.events
}

pub(super) fn replay(count: u64, dir: &Path) -> u64 {
    let flow = five(Spread::Together);
    let replayed = downbeat_audit::replay(dir, &flow, ReplayOptions::default(), |_| ());
    let replayed = replayed.expect("the code gives what the log records");
    assert_eq!(replayed.events, count, "the log has as many events as the path is to be gone");
    replayed.events
}
