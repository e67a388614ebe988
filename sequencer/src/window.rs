//! Which idempotency keys were used, for what, and where: bounded by count and by age.
//!
//! ```text
//!  index   key ─hash─► [tag | entry number]   open addressing, at most half full, no tombstones
//!  entries … e7 e8 e9 …                       a ring in order of insertion = order of seq = order of time
//!          ▲ oldest      ▲ next
//! ```
//!
//! The window is part of the ordering state: its answers depend on the log alone, because only events that are
//! in the log were inserted, in their order, with their time. After a crash it is rebuilt by the same
//! [`IdempotencyWindow::insert`].
//!
//! Invariants: a key answers while fewer than `keys` newer ones were inserted *and* the log is no more than
//! `age_ns` past it; each insertion costs the same (no growth that moves entries, no rehash); nothing iterates
//! in hash order. Expired entries are forgotten a few per insertion, and never answered from.

mod index;

use downbeat_record::{Fields, IdempotencyKey, Record, Seq, Timestamp};
use index::Index;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Entries that are allocated together.
const CHUNK: usize = 4096;
/// Expired entries forgotten per insertion, so that no insertion pays for a day.
const EXPIRED_PER_INSERT: usize = 2;

/// How long a key is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// At most this many keys, up to 1,073,741,824; 0 turns deduplication off, which an engine does not
    /// allow.
    pub keys: usize,
    /// At most this long, in nanoseconds of log time.
    pub age_ns: u64,
}

impl Default for Idempotency {
    /// A million keys, a day.
    fn default() -> Self {
        Self { keys: 1 << 20, age_ns: 24 * 3_600 * 1_000_000_000 }
    }
}

/// The most keys that are remembered.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1 << 30;

/// What a key was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its place.
    pub seq: Seq,
    /// Its time.
    pub timestamp: Timestamp,
}

/// What the window knows about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: the event is new.
    New,
    /// The same event has a place.
    Duplicate(Original),
    /// Another event has this key.
    Conflict(Original),
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: [u64; 2],
    fingerprint: u64,
    seq: u64,
    timestamp: u64,
}

/// The keys of the last events that had one.
pub struct IdempotencyWindow {
    bounds: Idempotency,
    index: Index,
    /// Entry number `n` stands at `n % keys`; chunks are allocated when they are first reached.
    entries: Vec<Box<[Entry; CHUNK]>>,
    oldest: u64,
    next: u64,
}

impl IdempotencyWindow {
    /// An empty window.
    pub fn new(bounds: Idempotency) -> Self {
        let bounds = Idempotency { keys: bounds.keys.min(IDEMPOTENCY_KEYS_MAX), ..bounds };
        Self {
            bounds,
            index: Index::for_entries(bounds.keys),
            entries: Vec::with_capacity(bounds.keys.div_ceil(CHUNK)),
            oldest: 0,
            next: 0,
        }
    }

    /// What stands under `key`, seen from log time `now`. [`IdempotencyKey::NONE`] is always new. A key of a producer and the
    /// same key of a stage are two: the lowest bit of the fingerprint tells them apart.
    #[inline]
    pub fn admit(&self, key: IdempotencyKey, fingerprint: u64, now: Timestamp) -> Admission {
        if key.is_none() || self.next == self.oldest {
            return Admission::New;
        }
        let words = split(key);
        let found = self.index.find(hash(words), |slot| {
            let entry = self.entry(slot);
            let same = entry.key == words && (entry.fingerprint ^ fingerprint) & OF_A_STAGE == 0;
            same && now.0.saturating_sub(entry.timestamp) <= self.bounds.age_ns
        });
        let Some(slot) = found else { return Admission::New };
        let entry = self.entry(slot);
        let original = Original { seq: Seq(entry.seq), timestamp: Timestamp(entry.timestamp) };
        if entry.fingerprint == fingerprint {
            Admission::Duplicate(original)
        } else {
            Admission::Conflict(original)
        }
    }

    /// Brings the words of the index that these keys need, and those that as many evictions need, into the cache.
    ///
    /// The index is larger than a cache and hit at random. One by one each event waits for memory, about 100 ns;
    /// these reads depend on nothing and so wait together.
    #[inline]
    pub(crate) fn warm(&self, keys: impl Iterator<Item = IdempotencyKey>) {
        let (mut words, mut count) = (0, 0);
        for key in keys {
            words ^= self.index.home_word(hash(split(key)));
            count += 1;
        }
        if self.next - self.oldest + count > self.bounds.keys as u64 {
            for number in self.oldest..(self.oldest + count).min(self.next) {
                words ^= self.index.home_word(hash(self.entry(self.slot(number)).key));
            }
        }
        std::hint::black_box(words);
    }

    /// Remembers a key that was new, in order of seq. [`IdempotencyKey::NONE`] is not remembered.
    ///
    /// # Panics
    ///
    /// When `seq` or `timestamp` is not after that of the insertion before.
    pub fn insert(&mut self, key: IdempotencyKey, fingerprint: u64, seq: Seq, timestamp: Timestamp) {
        if key.is_none() || self.bounds.keys == 0 {
            return;
        }
        self.check_order(seq, timestamp);
        for _ in 0..EXPIRED_PER_INSERT {
            if self.next > self.oldest
                && timestamp.0 - self.entry(self.slot(self.oldest)).timestamp > self.bounds.age_ns
            {
                self.forget_oldest();
            }
        }
        if self.next - self.oldest == self.bounds.keys as u64 {
            self.forget_oldest();
        }
        let (slot, words) = (self.slot(self.next), split(key));
        if slot as usize / CHUNK == self.entries.len() {
            self.entries.push(Box::new([Entry::default(); CHUNK]));
        }
        self.entries[slot as usize / CHUNK][slot as usize % CHUNK] =
            Entry { key: words, fingerprint, seq: seq.0, timestamp: timestamp.0 };
        self.index.insert(hash(words), slot);
        self.next += 1;
    }

    /// Remembers an event of the log, as [`crate::Order`] did when it was new.
    pub fn insert_record(&mut self, record: &Record<'_>) {
        if !record.fields.idempotency_key.is_none() {
            let print = fingerprint(&record.fields, record.payload().bytes());
            self.insert(record.fields.idempotency_key, print, record.seq, record.timestamp);
        }
    }

    /// Entries held, expired ones that were not yet forgotten included.
    pub fn len(&self) -> usize {
        (self.next - self.oldest) as usize
    }

    /// True when no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory taken or reserved; at most 56 to 72 for each of the `keys` allowed, as they round up.
    pub fn memory_bytes(&self) -> usize {
        self.entries.len() * size_of::<[Entry; CHUNK]>() + self.index.memory_bytes()
    }

    /// Entries are in order of seq and of time, which is what lets the oldest be the first to expire.
    fn check_order(&self, seq: Seq, timestamp: Timestamp) {
        if self.next > self.oldest {
            let last = self.entry(self.slot(self.next - 1));
            assert!(seq.0 > last.seq, "a key of seq {seq} after one of seq {}", last.seq);
            assert!(
                timestamp.0 > last.timestamp,
                "a key of time {timestamp} after one of time {}",
                last.timestamp
            );
        }
    }

    fn forget_oldest(&mut self) {
        let slot = self.slot(self.oldest);
        self.index.remove(hash(self.entry(slot).key), slot);
        self.oldest += 1;
    }

    #[inline]
    fn slot(&self, number: u64) -> u32 {
        (number % self.bounds.keys as u64) as u32
    }

    #[inline]
    fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

impl std::fmt::Debug for IdempotencyWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdempotencyWindow")
            .field("bounds", &self.bounds)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// What makes two events with one key the same event: kind, entity and payload. Correlation, causation and
/// source may differ: a retry may come by another way.
///
/// The lowest bit says whether a stage emitted the event. What a stage calls it follows from the log and can be known
/// to anybody: a producer that uses the same key must not take its place.
#[inline]
pub fn fingerprint(fields: &Fields, payload: &[u8]) -> u64 {
    let seed = fields.key.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(fields.kind.0);
    (xxh3_64_with_seed(payload, seed) & !OF_A_STAGE) | u64::from(fields.derived)
}

/// The bit of a fingerprint that tells what a stage emitted from what came from outside.
const OF_A_STAGE: u64 = 1;

#[inline]
fn split(key: IdempotencyKey) -> [u64; 2] {
    [key.0 as u64, (key.0 >> 64) as u64]
}

/// Keys come from outside and may be counters; this spreads them. It decides speed only, never an answer.
#[inline]
fn hash(key: [u64; 2]) -> u32 {
    let halves = [key[0].wrapping_mul(0x2D35_8DCC_AA6C_78A5), key[1].wrapping_mul(0x8BB8_4B93_962E_ACC9)];
    let mixed = halves[0] ^ halves[1].rotate_left(32);
    let spread = (mixed ^ (mixed >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (spread >> 32) as u32
}

#[cfg(all(test, not(loom)))]
mod tests;
