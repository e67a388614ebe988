//! A small log of real shape, and edits to its files: what a disk, a program or a person may do to them.
//!
//! Three segments of two epochs, each beginning with the contracts; events with and without keys, a checkpoint, and a
//! heartbeat at the end that says that everything before it was durable.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arbitrary::Arbitrary;
use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{
    BLOCK, Batch, BatchHeader, BatchKind, BatchNo, Checkpoint, Contract, ContractTable, Event, Fields,
    IdempotencyKey, Key, Kind, Seq, SourceId, Timestamp, rkyv,
};
use downbeat_wal::{Log, Memory, Options, names};

/// Bytes of a segment: its header and fourteen blocks.
pub(crate) const SEGMENT: u64 = 15 * BLOCK as u64;

/// Where in a block of each kind its checksum and what it covers stand.
const MANIFEST_CRC_AT: usize = 124;
const SEGMENT_CRC_AT: usize = 252;

/// A number with a liking for the edges.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Number {
    Small(u8),
    Medium(u16),
    Any(u64),
    /// So far below 2⁶⁴.
    High(u8),
    /// So far from a power of two.
    Power {
        of: u8,
        off: i8,
    },
}

impl Number {
    pub(crate) fn value(self) -> u64 {
        match self {
            Self::Small(number) => number.into(),
            Self::Medium(number) => number.into(),
            Self::Any(number) => number,
            Self::High(below) => u64::MAX - u64::from(below),
            Self::Power { of, off } => (1_u64 << (of % 64)).wrapping_add_signed(off.into()),
        }
    }
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "fuzz.Moved")]
struct Moved {
    account: u64,
    cents: i64,
}

/// A log and what is in it.
#[derive(Debug)]
pub struct SmallLog {
    /// Its files by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Its batches in order.
    pub batches: Vec<SmallBatch>,
    /// The payload of every event.
    pub events: Vec<Vec<u8>>,
}

/// A batch of a [`SmallLog`].
#[derive(Clone, Debug)]
pub struct SmallBatch {
    /// The file it stands in.
    pub file: String,
    /// Where.
    pub range: std::ops::Range<usize>,
    /// Its number.
    pub batch_no: BatchNo,
    /// Every batch up to this one was durable, says its header.
    pub durable: BatchNo,
    /// How many events there are up to its end.
    pub events: usize,
}

/// How the small log, and anything that is put in its place, is opened.
pub(crate) fn options(memory: &Memory) -> Options {
    Options {
        segment_bytes: SEGMENT,
        batch_bytes: 4 * BLOCK,
        spare_segments: 1,
        ..Options::in_memory(memory)
    }
}

impl SmallLog {
    /// The log, made once.
    ///
    /// # Panics
    ///
    /// When memory would not take it.
    pub fn get() -> &'static Self {
        static LOG: OnceLock<SmallLog> = OnceLock::new();
        LOG.get_or_init(|| {
            let memory = Memory::new();
            write(&memory, 0..9, false);
            write(&memory, 9..20, true);
            Self::found_in(&memory)
        })
    }

    fn found_in(memory: &Memory) -> Self {
        let mut small = Self { files: files(memory), batches: Vec::new(), events: Vec::new() };
        for (name, bytes) in small.files.iter().filter(|(name, _)| names::parse_segment(name).is_some()) {
            let mut at = BLOCK;
            while let Ok(batch) = Batch::read(&bytes[at..]) {
                small.events.extend(batch.records().map(|record| record.payload().bytes().to_vec()));
                let header: BatchHeader = batch.header();
                small.batches.push(SmallBatch {
                    file: name.clone(),
                    range: at..at + batch.padded_len(),
                    batch_no: header.batch_no(),
                    durable: header.durable(),
                    events: small.events.len(),
                });
                at += batch.padded_len();
            }
        }
        small
    }
}

/// The files of a directory in memory.
pub(crate) fn files(memory: &Memory) -> BTreeMap<String, Vec<u8>> {
    use downbeat_wal::storage::Storage;
    let entries = memory.list().expect("memory lists");
    entries.into_iter().filter_map(|entry| Some((entry.name.clone(), memory.bytes(&entry.name)?))).collect()
}

/// Puts files into a directory in memory.
pub(crate) fn put(files: &BTreeMap<String, Vec<u8>>) -> Memory {
    use downbeat_wal::storage::{Access, Storage};
    let memory = Memory::new();
    for (name, bytes) in files {
        memory.open(name, Access::Create).expect("the directory is empty");
        memory.tamper(name, |content| content.clone_from(bytes));
    }
    memory.sync_dir().expect("memory syncs");
    memory
}

fn write(memory: &Memory, batches: std::ops::Range<u64>, close: bool) {
    let (mut log, _) = Log::open(&options(memory), |_| Ok(())).expect("memory takes a log");
    let mut table = ContractTable::new();
    table.register(Contract::of::<Moved>()).expect("a table takes a contract");
    if batches.start == 0 {
        log.append_control(BatchKind::Contracts, Timestamp(1), &table.to_json()).expect("there is room");
    }
    for number in batches {
        let mut batch = Batch::with_capacity(4 * BLOCK, 0);
        batch.open(log.next_seq());
        for event in 0..1 + number % 5 {
            let fields = Fields {
                kind: Kind(1),
                source: SourceId(number as u32),
                key: Key(event),
                idempotency_key: IdempotencyKey((number % 2).into()),
                ..Fields::default()
            };
            let mut payload = [0; 16];
            let moved = Moved { account: event, cents: number as i64 - 7 };
            let len = moved.encode(&mut payload).expect("it fits");
            batch.push(&fields, Timestamp(1_000 * (number + 1) + event), &payload[..len]).expect("it fits");
        }
        log.append(&mut Arc::new(batch)).expect("there is room");
        if number % 3 == 2 {
            log.drain().expect("memory syncs");
        }
        if number == 5 {
            let seq = Seq(log.next_seq().0 - 1);
            let body = Checkpoint { seq, flow: "small".into(), stages: Vec::new(), leaves: Vec::new() };
            let time = Timestamp(1_000 * (number + 1) + 900);
            log.append_control(BatchKind::Checkpoint, time, &body.to_json()).expect("there is room");
        }
    }
    log.drain().expect("memory syncs");
    if close {
        log.close(Timestamp(1 << 20)).expect("memory closes");
    } else {
        log.heartbeat(Timestamp(1 << 19)).expect("there is room");
        log.drain().expect("memory syncs");
    }
}

/// Something that happens to the files of a log. Files are chosen by number among those there are, places by block.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    /// Other bytes.
    Set {
        /// Which file.
        file: u8,
        /// Which block of it.
        block: u8,
        /// Where in the block.
        at: u16,
        /// What stands there from now on.
        bytes: Bytes,
        /// The checksums of the block, and of the batch that begins there, are made true.
        reseal: bool,
    },
    /// One number of a header, and checksums that are true.
    Forge {
        /// Which file.
        file: u8,
        /// Which block of it.
        block: u8,
        /// Which field of the header.
        field: u8,
        /// What it says from now on.
        number: Forged,
    },
    /// One bit.
    Flip {
        /// Which file.
        file: u8,
        /// Which bit of it.
        bit: u32,
    },
    /// Blocks of zeros.
    Zero {
        /// Which file.
        file: u8,
        /// From which block on.
        block: u8,
        /// How many.
        count: u8,
    },
    /// Blocks that stand where others stood.
    Copy {
        /// From this file and block.
        from: (u8, u8),
        /// To this one.
        to: (u8, u8),
        /// How many.
        count: u8,
    },
    /// Two blocks in each other's place.
    Swap {
        /// Which file.
        file: u8,
        /// The blocks.
        blocks: (u8, u8),
    },
    /// A file that ends early.
    Truncate {
        /// Which file.
        file: u8,
        /// Where it ends.
        len: u32,
    },
    /// A file that has grown.
    Extend {
        /// Which file.
        file: u8,
        /// By these many bytes.
        len: u16,
        /// Of this value.
        byte: u8,
    },
    /// A file that is gone.
    Remove {
        /// Which file.
        file: u8,
    },
    /// A file under another name as well.
    Duplicate {
        /// Which file.
        file: u8,
        /// The segment whose name it gets, too.
        segment: u8,
    },
}

/// A number with a liking for the edges, or near what stood there.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Forged {
    /// So far from what stood there.
    Off(i8),
    /// So far below 2⁶⁴.
    High(u8),
    /// So far from a power of two.
    Power(u8, i8),
    /// Any.
    Any(u64),
}

/// A few bytes.
#[derive(Clone, Debug)]
pub struct Bytes(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Bytes {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = u.int_in_range(0..=63_usize)?;
        Ok(Self(u.bytes(len.min(u.len()))?.to_vec()))
    }
}

/// Offset and length of the numbers in a batch header.
const BATCH_FIELDS: [(usize, usize); 12] =
    [(4, 1), (5, 1), (6, 2), (8, 4), (16, 8), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 8), (100, 4)];
/// The same of a segment header.
const SEGMENT_FIELDS: [(usize, usize); 13] = [
    (8, 2),
    (10, 2),
    (12, 4),
    (16, 4),
    (20, 4),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 8),
    (72, 8),
    (112, 8),
    (120, 4),
    (128, 8),
];
/// The same of a manifest.
const MANIFEST_FIELDS: [(usize, usize); 10] =
    [(8, 2), (10, 2), (12, 4), (16, 8), (40, 8), (48, 8), (56, 8), (64, 8), (72, 8), (80, 4)];

impl Edit {
    /// Does it. Answers whether checksums were made true over bytes that no log wrote.
    pub fn apply(&self, files: &mut BTreeMap<String, Vec<u8>>) -> bool {
        let name = |files: &BTreeMap<String, Vec<u8>>, number: u8| {
            let count = files.len().max(1);
            files.keys().nth(usize::from(number) % count).cloned()
        };
        match self {
            Self::Set { file, block, at, bytes, reseal } => {
                let Some(name) = name(files, *file) else { return false };
                let Some(content) = files.get_mut(&name) else { return false };
                let start = block_at(content, *block);
                let from = start + usize::from(*at) % BLOCK;
                for (place, byte) in content.iter_mut().skip(from).zip(&bytes.0) {
                    *place = *byte;
                }
                *reseal && reseal_block(&name, content, start)
            }
            Self::Forge { file, block, field, number } => {
                let Some(name) = name(files, *file) else { return false };
                let Some(content) = files.get_mut(&name) else { return false };
                let start = block_at(content, *block);
                let is_segment = names::parse_segment(&name).is_some();
                let fields: &[(usize, usize)] = match (is_segment, start) {
                    (true, 0) => &SEGMENT_FIELDS,
                    (true, _) => &BATCH_FIELDS,
                    _ => &MANIFEST_FIELDS,
                };
                let (at, len) = fields[usize::from(*field) % fields.len()];
                let Some(place) = content.get_mut(start + at..start + at + len) else { return false };
                let mut word = [0; 8];
                word[..len].copy_from_slice(place);
                let value = number.after(u64::from_le_bytes(word));
                place.copy_from_slice(&value.to_le_bytes()[..len]);
                reseal_block(&name, content, start)
            }
            Self::Flip { file, bit } => {
                let content = name(files, *file).and_then(|name| files.get_mut(&name));
                if let Some(content) = content.filter(|content| !content.is_empty()) {
                    let bit = *bit as usize % (8 * content.len());
                    content[bit / 8] ^= 1 << (bit % 8);
                }
                false
            }
            Self::Zero { file, block, count } => {
                if let Some(content) = name(files, *file).and_then(|name| files.get_mut(&name)) {
                    let range = blocks(content, *block, *count);
                    content[range].fill(0);
                }
                false
            }
            Self::Copy { from, to, count } => {
                let source = name(files, from.0).map(|name| &files[&name]);
                let Some(bytes) = source.map(|bytes| bytes[blocks(bytes, from.1, *count)].to_vec()) else {
                    return false;
                };
                if let Some(content) = name(files, to.0).and_then(|name| files.get_mut(&name)) {
                    let at = block_at(content, to.1);
                    content.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = byte);
                }
                false
            }
            Self::Swap { file, blocks: (one, other) } => {
                if let Some(content) = name(files, *file).and_then(|name| files.get_mut(&name)) {
                    let (one, other) = (blocks(content, *one, 1), blocks(content, *other, 1));
                    if one.len() == other.len() {
                        one.zip(other).for_each(|(one, other)| content.swap(one, other));
                    }
                }
                false
            }
            Self::Truncate { file, len } => {
                if let Some(content) = name(files, *file).and_then(|name| files.get_mut(&name)) {
                    content.truncate(*len as usize % (content.len() + 1));
                }
                false
            }
            Self::Extend { file, len, byte } => {
                if let Some(content) = name(files, *file).and_then(|name| files.get_mut(&name)) {
                    content.resize(content.len() + usize::from(*len), *byte);
                }
                false
            }
            Self::Remove { file } => {
                if let Some(name) = name(files, *file) {
                    files.remove(&name);
                }
                false
            }
            Self::Duplicate { file, segment } => {
                if let Some(content) = name(files, *file).map(|name| files[&name].clone()) {
                    let id = downbeat_record::SegmentId(u64::from(*segment % 6) + 1);
                    files.insert(names::segment(id), content);
                }
                false
            }
        }
    }
}

impl Forged {
    fn after(self, before: u64) -> u64 {
        match self {
            Self::Off(off) => before.wrapping_add_signed(off.into()),
            Self::High(below) => u64::MAX - u64::from(below),
            Self::Power(of, off) => (1_u64 << (of % 64)).wrapping_add_signed(off.into()),
            Self::Any(number) => number,
        }
    }
}

/// Where the block of this number begins; counted round, so that every number is one of a block that is there.
fn block_at(content: &[u8], number: u8) -> usize {
    usize::from(number) % content.len().div_ceil(BLOCK).max(1) * BLOCK
}

fn blocks(content: &[u8], first: u8, count: u8) -> std::ops::Range<usize> {
    let from = block_at(content, first);
    from..(from + usize::from(count) * BLOCK).min(content.len())
}

/// Makes the checksum of a header block or manifest true, or those of the batch that begins there.
fn reseal_block(name: &str, content: &mut [u8], start: usize) -> bool {
    let crc_at = match (names::parse_segment(name).is_some(), start) {
        (true, 0) => SEGMENT_CRC_AT,
        (true, _) => {
            let Some(bytes) = content.get_mut(start..) else { return false };
            return reseal_batch(bytes);
        }
        _ => MANIFEST_CRC_AT,
    };
    if content.len() < crc_at + 4 || start > 0 {
        return false;
    }
    let crc = crc32c::crc32c(&content[..crc_at]);
    content[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    true
}

/// Makes the checksums of the batch at the front of `bytes` true; that of its body only when it ends where it says.
pub(crate) fn reseal_batch(bytes: &mut [u8]) -> bool {
    if bytes.len() < BATCH_HEADER_LEN {
        return false;
    }
    let body_len = u32::from_le_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]) as usize;
    let padded = (BATCH_HEADER_LEN + body_len).next_multiple_of(BLOCK);
    if let Some(body) = bytes.get(BATCH_HEADER_LEN..padded) {
        let crc = crc32c::crc32c(body);
        bytes[96..100].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..BATCH_HEADER_LEN]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    true
}
