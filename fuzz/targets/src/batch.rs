//! Batches: any bytes are refused or walked to the end; what was pushed comes out; a changed byte is noticed.

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::batch::BATCH_BYTES;
use downbeat_record::{
    Batch, BatchError, BatchKind, BatchNo, Correlation, Epoch, Fields, IdempotencyKey, Key, Kind, Root, Seq,
    SourceId, Stamp, Timestamp,
};

use crate::allocations::decoding;
use crate::canary;
use crate::log::{Number, reseal_batch};
use crate::show;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// Bytes as they are.
    Raw(&'a [u8]),
    /// Bytes whose checksums are made true, under a header whose lengths may lie.
    Sealed { header: Header, body: &'a [u8] },
    /// Events that go in and come out, and one byte that is changed on the way.
    Events { first: Number, start: Number, events: Vec<Event<'a>>, change: Option<(u32, u8)> },
}

#[derive(Arbitrary, Debug)]
struct Header {
    kind: u8,
    count: Number,
    body_len: Option<Number>,
    first_seq: Number,
    timestamp: Number,
}

/// Small numbers where equal ones matter: later events may refer to what the first one says.
#[derive(Arbitrary, Debug)]
struct Event<'a> {
    kind: u16,
    source: u32,
    correlation: u8,
    link: (u8, u8),
    key: Option<u128>,
    derived: bool,
    later: u16,
    payload: &'a [u8],
}

/// Bytes of a batch, or events that become one.
///
/// # Panics
///
/// When it finds something.
pub fn batch(input: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(input)) else { return };
    show(&input);
    match input {
        Input::Raw(bytes) => walk(bytes),
        Input::Sealed { header, body } => sealed(&header, body),
        Input::Events { first, start, events, change } => through(first, start, &events, change),
    }
}

fn read(bytes: &[u8]) -> Result<Batch, BatchError> {
    decoding(bytes.len(), || Batch::read(bytes))
}

fn walk(bytes: &[u8]) {
    let Ok(batch) = read(bytes) else { return };
    let (mut next, mut last) = (batch.first_seq(), None);
    for record in batch.records() {
        assert_eq!(record.seq, next);
        assert!(last.is_none_or(|last| record.timestamp > last), "{last:?}, then {:?}", record.timestamp);
        let found = batch.record(record.slot, record.seq).expect("what was walked over is found");
        assert_eq!((found.fields, found.payload()), (record.fields, record.payload()));
        (next, last) = (Seq(next.0 + 1), Some(record.timestamp));
    }
    assert_eq!(next, batch.next_seq(), "as many events come out as the header says");
    // Any pair is safe, though only pairs of a walk mean something.
    for slot in (0..64).chain([u32::MAX - 1, u32::MAX]) {
        let _ = batch.record(slot, batch.first_seq());
    }
}

fn stamp() -> Stamp {
    Stamp {
        batch_no: BatchNo(7),
        epoch: Epoch(2),
        salt: 0x5157_5a11,
        prev_root: Root([3; 32]),
        durable: BatchNo(6),
        clock_error_ns: u32::MAX,
    }
}

fn sealed(header: &Header, body: &[u8]) {
    let body = &body[..body.len().min(BATCH_BYTES)];
    let mut batch = Batch::control(BatchKind::Checkpoint, Seq(1), Timestamp(1), body);
    batch.seal(&stamp());
    let mut bytes = batch.bytes().to_vec();
    bytes[5] = header.kind;
    bytes[24..32].copy_from_slice(&header.first_seq.value().to_le_bytes());
    bytes[32..36].copy_from_slice(&(header.count.value() as u32).to_le_bytes());
    bytes[56..64].copy_from_slice(&header.timestamp.value().to_le_bytes());
    if let Some(len) = header.body_len {
        bytes[36..40].copy_from_slice(&(len.value() as u32).to_le_bytes());
    }
    reseal_batch(&mut bytes);
    walk(&bytes);
}

fn through(first: Number, start: Number, events: &[Event<'_>], change: Option<(u32, u8)>) {
    // Whoever pushes counts on by as much as there is room for.
    let first = Seq(first.value().clamp(1, u64::MAX / 2));
    let mut timestamp = start.value().min(u64::MAX / 2);
    let mut batch = Batch::with_capacity(BATCH_BYTES, 0);
    batch.open(first);
    let mut pushed = Vec::new();
    for event in events {
        timestamp += u64::from(event.later) + 1;
        let fields = Fields {
            kind: Kind(event.kind),
            source: SourceId(event.source),
            correlation: Correlation(u128::from(event.correlation % 4) << 100),
            causation: Seq(event.link.0.into()),
            key: Key(event.link.1.into()),
            idempotency_key: IdempotencyKey(event.key.unwrap_or(0)),
            derived: event.derived,
        };
        match batch.push(&fields, Timestamp(timestamp), event.payload) {
            Ok(seq) => {
                assert_eq!(seq.0, first.0 + pushed.len() as u64);
                pushed.push((fields, Timestamp(timestamp), event.payload));
            }
            Err(_) => break,
        }
    }
    if pushed.is_empty() {
        return;
    }
    batch.seal(&stamp());
    let mut bytes = batch.bytes().to_vec();
    if canary() && pushed.len() > 1 {
        // As if another source of the first event had been written down.
        bytes[128 + 8] ^= 1;
        reseal_batch(&mut bytes);
    }
    let back = read(&bytes).expect("what was sealed is read");
    let records: Vec<_> = back.records().map(|r| (r.fields, r.timestamp, r.payload().bytes())).collect();
    assert_eq!(records, pushed);
    assert_eq!((back.first_seq(), back.header().batch_no()), (first, BatchNo(7)));
    assert_eq!(
        (back.root(), back.last_timestamp()),
        (Root::of(&bytes), Timestamp(pushed[pushed.len() - 1].1.0))
    );
    walk(&bytes);
    if let Some((at, mask)) = change.filter(|(_, mask)| *mask != 0) {
        let at = at as usize % bytes.len();
        bytes[at] ^= mask;
        assert!(read(&bytes).is_err(), "byte {at} was changed, and nobody noticed");
    }
}
