//! Where the states of a key lie: a number for every key, the same for all keyed stages of one unit and shard.
//!
//! One look-up an event instead of one a stage; and since the number is known before a stage runs, the processor
//! fetches the states of later stages while earlier ones are at work.
//!
//! A stage holds a place for every key up to the highest row it was given. In a unit of several stages that are on
//! different events, that can be a place for a key that it never sees: the size of an empty state.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use downbeat_record::Key;

/// The place of a key's states within each keyed stage of a unit and shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) u32);

/// The keys of one shard.
pub(crate) struct Rows {
    index: HashMap<Key, Row, BuildHasherDefault<KeyHasher>>,
    /// In the order in which they came.
    keys: Vec<Key>,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self { index: HashMap::default(), keys: Vec::new() }
    }

    /// The row of a key, which it gets now if it has none.
    #[inline]
    pub(crate) fn of(&mut self, key: Key) -> Row {
        let Self { index, keys } = self;
        *index.entry(key).or_insert_with(|| {
            let row = u32::try_from(keys.len()).expect("a shard has less than 2^32 keys");
            keys.push(key);
            Row(row)
        })
    }

    /// The keys, by row.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// Spreads 64-bit keys over a table; nothing depends on the order it gives.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        let product = u128::from(key ^ 0x9E37_79B9_7F4A_7C15) * 0xA076_1D64_78BD_642F;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
