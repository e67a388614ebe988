//! Whatever lies in the directory, opening and reading end, and never with a panic or a wrong event.

#[path = "common/log.rs"]
mod common;

use std::sync::Arc;

use common::{append, memory_options, open, payload};
use downbeat_record::BLOCK;
use downbeat_record::header::{BATCH_HEADER_LEN, BatchHeader};
use downbeat_wal::{Memory, ReadOptions, Reader, Trust};
use proptest::prelude::*;

const SEGMENTS: [&str; 3] =
    ["00000000000000000001.seg", "00000000000000000002.seg", "00000000000000000003.seg"];

fn log() -> Memory {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..20 {
        append(&mut log, 3, 5_000);
        log.drain().unwrap();
    }
    drop(log);
    memory
}

/// Every event that comes out is the one that went in.
fn check(memory: &Memory) -> (Option<usize>, usize) {
    let options = ReadOptions { trust: Trust::Everything, ..Default::default() };
    let mut read = 0;
    if let Ok(mut reader) = Reader::on(Arc::new(memory.copy()), options) {
        while let Ok(Some(located)) = reader.next_batch() {
            for record in located.batch.records() {
                read += 1;
                assert_eq!(record.payload().bytes(), payload(record.seq.0, 5_000));
            }
        }
    }
    let kept = open(&memory_options(memory)).ok().map(|(_, _, kept)| {
        for (index, event) in kept.events.iter().enumerate() {
            assert_eq!(*event, payload(index as u64 + 1, 5_000));
        }
        kept.events.len()
    });
    (kept, read)
}

/// The header of a batch.
struct Mark {
    segment: &'static str,
    at: usize,
    /// Events that it says are durable.
    durable: usize,
}

impl Mark {
    fn bytes(&self, memory: &Memory) -> Vec<u8> {
        memory.bytes(self.segment).unwrap()[self.at..self.at + BATCH_HEADER_LEN].to_vec()
    }
}

/// The headers of a whole log: of every batch but the last, one says that it is durable.
fn marks(whole: &Memory) -> Vec<Mark> {
    let mut headers = Vec::new();
    for segment in SEGMENTS {
        let bytes = whole.bytes(segment).unwrap_or_default();
        let places = (0..bytes.len()).step_by(BLOCK);
        headers.extend(places.filter_map(|at| Some((segment, at, BatchHeader::parse(&bytes[at..]).ok()?))));
    }
    let upto = |batch| {
        let before = headers.iter().filter(|(_, _, header)| header.batch_no() <= batch);
        before.map(|(_, _, header)| header.next_seq().0 as usize - 1).max().unwrap_or_default()
    };
    let marks = headers.iter().map(|(segment, at, header)| Mark {
        segment,
        at: *at,
        durable: upto(header.durable()),
    });
    marks.collect()
}

/// Offset and length of every number in a manifest slot, in a segment header and in a batch header.
const MANIFEST: [(usize, usize); 10] =
    [(8, 2), (10, 2), (12, 4), (16, 8), (40, 8), (48, 8), (56, 8), (64, 8), (72, 8), (80, 4)];
const SEGMENT: [(usize, usize); 13] = [
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
const BATCH: [(usize, usize); 11] =
    [(4, 1), (5, 1), (6, 2), (8, 4), (16, 8), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 8)];

/// Makes the checksum at the end of `bytes[..crc_at + 4]` true.
fn reseal(bytes: &mut [u8], crc_at: usize) {
    let crc = crc32c::crc32c(&bytes[..crc_at]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn reseal_batch(header: &mut [u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..128]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// Whoever can write a number can write its checksum. Each number in turn, at each edge, in each place.
#[test]
fn numbers_at_the_edge_under_true_checksums_are_answered() {
    let edges = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, u64::from(u32::MAX), 1 << 40];
    let whole = log();
    let last = (4096..256 << 10).step_by(4096);
    let names = ["MANIFEST.0", "MANIFEST.1", SEGMENTS[0], SEGMENTS[1]];
    for (name, edge) in names.into_iter().flat_map(|name| edges.map(|edge| (name, edge))) {
        let manifest = name.starts_with('M');
        let fields = if manifest { &MANIFEST[..] } else { &SEGMENT[..] };
        for (at, len) in fields {
            let memory = whole.copy();
            let there = memory.tamper_if_there(name, |bytes| {
                bytes[*at..at + len].copy_from_slice(&edge.to_le_bytes()[..*len]);
                reseal(bytes, if manifest { 124 } else { 252 });
            });
            if there {
                check(&memory);
                // Without a second slot that would hold instead.
                if manifest {
                    let other = if name.ends_with('0') { "MANIFEST.1" } else { "MANIFEST.0" };
                    memory.tamper_if_there(other, |bytes| bytes.fill(0));
                    check(&memory);
                }
            }
        }
        for (at, len) in BATCH.iter().filter(|_| !manifest) {
            for start in [4096, last.clone().nth(12 * 4).unwrap_or(4096)] {
                let memory = whole.copy();
                memory.tamper(name, |bytes| {
                    let header = &mut bytes[start..start + 128];
                    header[*at..at + len].copy_from_slice(&edge.to_le_bytes()[..*len]);
                    if header[..4] == *b"DBB1" {
                        reseal_batch(header);
                    }
                });
                check(&memory);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_give_a_wrong_event_or_lose_one_silently(
        file in 0usize..5,
        changes in prop::collection::vec((0usize..256 << 10, any::<u8>()), 1..6),
    ) {
        let names = [SEGMENTS[0], SEGMENTS[1], SEGMENTS[2], "MANIFEST.0", "MANIFEST.1"];
        let memory = log();
        let whole = memory.copy();
        memory.tamper_if_there(names[file], |bytes| {
            for (at, value) in &changes {
                let at = at % bytes.len();
                bytes[at] = *value;
            }
        });
        // With the header that says so of a batch, that batch may go as well: nothing tells it from a torn end.
        let left = |mark: &Mark| mark.bytes(&memory) == mark.bytes(&whole);
        let said = marks(&whole).into_iter().filter(left).map(|mark| mark.durable).max();
        let (kept, read) = check(&memory);
        if let Some(kept) = kept {
            prop_assert!(Some(kept) >= said, "{kept} kept after {changes:?}, and {said:?} were said to be durable");
            prop_assert_eq!(kept, read, "reader and recovery agree");
        }
    }

    #[test]
    fn any_bytes_at_all_are_safe(
        blocks in prop::collection::vec(any::<[u8; 32]>(), 1..40),
        magic in any::<bool>(),
    ) {
        let memory = log();
        memory.tamper(SEGMENTS[1], |bytes| {
            for (index, block) in blocks.iter().enumerate() {
                let at = (index * 4096) % bytes.len();
                bytes[at..at + 32].copy_from_slice(block);
                if magic {
                    bytes[at..at + 5].copy_from_slice(b"DBB1\x01");
                }
            }
        });
        check(&memory);
    }
}
