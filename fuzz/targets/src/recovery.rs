//! What became of each batch of a log, and what recovery makes of it: the table, written down once more.
//!
//! A real writer writes, by a plan, through some openings; then each batch and each segment header meets its fate. The
//! model knows nothing of salts, chains or files:
//!
//! - *next* is the first batch that is not whole;
//! - *D* is the highest mark in any header that is left, in the manifest, or in the number with which a segment of a
//!   later epoch begins;
//! - D ≥ *next*: refused, with both numbers. Otherwise everything before *next* is kept, and it is a cut exactly
//!   when anything but zeros is left of what came behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::{BLOCK, Batch, BatchNo, Fields, SegmentId, Timestamp};
use downbeat_wal::segment::HeaderBlock;
use downbeat_wal::{Log, Memory, OpenError, Row, ScanError, names};

use crate::log::options;
use crate::{canary, did, show};

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    /// The header is whole, its body is not.
    Body,
    /// The header is not whole.
    Header,
    Zeros,
}

#[derive(Arbitrary, Debug)]
struct Input {
    writers: [Option<Writer>; 3],
    batches: Vec<Fate>,
    /// Of the segments, from the second on.
    headers: [Option<Fate>; 4],
    manifest: [Option<bool>; 2],
}

#[derive(Arbitrary, Debug)]
struct Writer {
    /// Per batch, its length in bytes.
    batches: Vec<u16>,
    /// The writer waits for what is on its way before every so many batches.
    drain_every: u8,
    close: bool,
}

struct Found {
    segment: SegmentId,
    range: std::ops::Range<usize>,
    mark: BatchNo,
    fate: Fate,
}

const BATCHES_MAX: usize = 24;

/// What became of each batch of a log, held against the recovery table.
///
/// # Panics
///
/// When it finds something.
pub fn recovery(input: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(input)) else { return };
    show(&input);
    let memory = Memory::new();
    for writer in input.writers.iter().flatten() {
        write(&memory, writer);
    }
    let (mut batches, segments) = look(&memory);
    let manifest = damage(&memory, &input, &mut batches);
    did(batches.len());
    let expected = model(&batches, &segments, &input, manifest);

    let opened = Log::open(&options(&memory), |_| Ok(()));
    match (opened, expected) {
        (Ok((_, found)), Ok((kept, cut, islands))) => {
            assert_eq!(found.last_batch, kept);
            assert_eq!(found.row.is_cut(), cut, "row {}", found.row);
            let dropped = found.cut.map(|note| note.dropped).unwrap_or_default();
            assert_eq!(dropped, islands);
            assert_eq!(islands.is_empty(), found.row != Row::F);
        }
        (Err(OpenError::Scan(ScanError::Damaged { batch, durable, .. })), Err(expected)) => {
            assert_eq!((batch, durable), expected);
        }
        (Ok((_, found)), Err(expected)) => panic!("{found:?} for {expected:?}"),
        (Err(error), expected) => panic!("{error} for {expected:?}"),
    }
}

fn write(memory: &Memory, writer: &Writer) {
    let (mut log, _) = Log::open(&options(memory), |_| Ok(())).expect("a log is opened again");
    for (index, len) in writer.batches.iter().take(BATCHES_MAX).enumerate() {
        if writer.drain_every > 0 && index % usize::from(writer.drain_every) == 0 {
            log.drain().expect("memory syncs");
        }
        let mut batch = Batch::with_capacity(4 * BLOCK, 0);
        batch.open(log.next_seq());
        let payload = vec![index as u8 + 1; usize::from(*len) % (3 * BLOCK)];
        let time = Timestamp(log.next_seq().0);
        batch.push(&Fields::default(), time, &payload).expect("it fits");
        log.append(&mut Arc::new(batch)).expect("there is room");
    }
    if writer.close {
        log.close(Timestamp(1 << 30)).expect("memory closes");
        return;
    }
    log.drain().expect("memory syncs");
}

/// Every batch, and every segment in use: its epoch and the batch it begins with.
fn look(memory: &Memory) -> (Vec<Found>, BTreeMap<SegmentId, (u64, BatchNo)>) {
    let (mut batches, mut segments) = (Vec::new(), BTreeMap::new());
    for id in (1..).map(SegmentId) {
        let Some(bytes) = memory.bytes(&names::segment(id)) else { break };
        let HeaderBlock::Valid(header, _) = HeaderBlock::parse(&bytes) else { break };
        segments.insert(id, (header.epoch.0, header.first_batch_no));
        let mut at = BLOCK;
        while let Ok(batch) = Batch::read(&bytes[at..]) {
            let range = at..at + batch.padded_len();
            at = range.end;
            batches.push(Found { segment: id, range, mark: batch.header().durable(), fate: Fate::Whole });
        }
    }
    (batches, segments)
}

/// Lets every batch, header and manifest slot meet its fate. Answers with what the manifest then says.
fn damage(memory: &Memory, input: &Input, batches: &mut [Found]) -> Manifest {
    for (batch, fate) in batches.iter_mut().zip(&input.batches) {
        batch.fate = *fate;
        let range = batch.range.clone();
        memory.tamper(&names::segment(batch.segment), |bytes| match fate {
            Fate::Whole => {}
            Fate::Body => bytes[range.start + 128] ^= 1,
            Fate::Header => bytes[range.start + 40] ^= 1,
            Fate::Zeros => bytes[range].fill(0),
        });
    }
    for (index, fate) in input.headers.iter().enumerate() {
        let name = names::segment(SegmentId(index as u64 + 2));
        memory.tamper_if_there(&name, |bytes| match fate {
            None | Some(Fate::Whole) => {}
            Some(Fate::Zeros) => bytes[..BLOCK].fill(0),
            Some(Fate::Body | Fate::Header) => {
                if bytes[..BLOCK].iter().any(|byte| *byte != 0) {
                    bytes[48] ^= 1;
                }
            }
        });
    }
    let mut left = Manifest::default();
    for (name, fate) in names::MANIFEST.iter().zip(input.manifest) {
        memory.tamper_if_there(name, |bytes| {
            if fate == Some(false) {
                // Torn.
                bytes[60] ^= 1;
                return;
            }
            let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            let (generation, durable, closed) = (word(16), BatchNo(word(64)), bytes[80] == 1);
            if generation > left.generation {
                left = Manifest { generation, durable, closed };
            }
            if canary() {
                // The planted fault: the manifest forgets what was durable.
                bytes[64..72].fill(0);
                let crc = crc32c::crc32c(&bytes[..124]);
                bytes[124..128].copy_from_slice(&crc.to_le_bytes());
            }
        });
    }
    left
}

#[derive(Clone, Copy, Default)]
struct Manifest {
    generation: u64,
    durable: BatchNo,
    closed: bool,
}

/// The last batch kept, whether something is cut, and the whole batches among that; or next and D.
type Expected = Result<(BatchNo, bool, Vec<BatchNo>), (BatchNo, BatchNo)>;

fn model(
    batches: &[Found],
    segments: &BTreeMap<SegmentId, (u64, BatchNo)>,
    input: &Input,
    manifest: Manifest,
) -> Expected {
    let header = |id: SegmentId| match id.0.checked_sub(2).and_then(|index| input.headers.get(index as usize))
    {
        Some(Some(fate)) => *fate,
        _ => Fate::Whole,
    };
    let gone = |found: &Found| found.fate != Fate::Whole || header(found.segment) != Fate::Whole;
    let first = batches.iter().position(gone).unwrap_or(batches.len());
    let next = BatchNo(first as u64 + 1);
    let behind = &batches[first..];

    let readable = |found: &&Found| matches!(found.fate, Fate::Whole | Fate::Body);
    let marks = behind.iter().filter(readable).map(|found| found.mark);
    // The first segment behind the gap, if a later writer began it.
    let stopped = match first.checked_sub(1) {
        Some(last) => batches[last].segment,
        None => SegmentId(1),
    };
    let at = behind.first().map_or(stopped, |found| found.segment);
    let following = SegmentId(if header(at) == Fate::Whole { at.0 + 1 } else { at.0 });
    let begun =
        segments.get(&following).filter(|_| header(following) == Fate::Whole).and_then(|(epoch, begins)| {
            let before = segments.get(&SegmentId(following.0 - 1)).map_or(0, |(epoch, _)| *epoch);
            (*epoch > before && *begins > next).then(|| BatchNo(begins.0 - 1))
        });
    let durable = marks.chain(begun).fold(manifest.durable, BatchNo::max);
    if durable >= next {
        return Err((next, durable));
    }
    if manifest.closed && manifest.durable.next() == next {
        return Ok((BatchNo(first as u64), false, Vec::new()));
    }
    let torn_header =
        segments.keys().any(|id| *id > stopped && matches!(header(*id), Fate::Body | Fate::Header));
    let dirty = torn_header || behind.iter().any(|found| found.fate != Fate::Zeros);
    let islands = behind.iter().enumerate().filter(|(_, found)| found.fate == Fate::Whole);
    let islands = islands.map(|(index, _)| BatchNo((first + index) as u64 + 1)).collect();
    Ok((BatchNo(first as u64), dirty, islands))
}
