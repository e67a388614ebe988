//! An open-addressing table from 32-bit hashes to entry slots, made for a window that evicts as often as it
//! inserts: linear probing, at most half full, and removal shifts the cluster back, so there are no tombstones,
//! no rehash and no growth. A word holds hash and slot, so probing touches entries only on a likely hit.

/// Words `0` are empty; others are `hash << 32 | slot + 1`.
pub(super) struct Index {
    /// Zeroed by the allocator: pages that were never written to take no memory.
    words: Vec<u64>,
}

impl Index {
    /// Room for `entries` at half load.
    pub(super) fn for_entries(entries: usize) -> Self {
        Self { words: vec![0; (entries * 2).next_power_of_two().max(2)] }
    }

    /// The first slot under `hash` that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let word = self.words[at];
            if word == 0 {
                return None;
            }
            if (word >> 32) as u32 == hash && is_it(slot_of(word)) {
                return Some(slot_of(word));
            }
            at = self.after(at);
        }
    }

    /// The word where a search for `hash` begins; reading it brings it into the cache.
    #[inline]
    pub(super) fn home_word(&self, hash: u32) -> u64 {
        self.words[self.home(hash)]
    }

    /// Adds `slot` under `hash`; others may stand there.
    #[inline]
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        let mut at = self.home(hash);
        while self.words[at] != 0 {
            at = self.after(at);
        }
        self.words[at] = u64::from(hash) << 32 | u64::from(slot + 1);
    }

    /// Removes `slot`, which stands under `hash`.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let wanted = u64::from(hash) << 32 | u64::from(slot + 1);
        let mut hole = self.home(hash);
        while self.words[hole] != wanted {
            assert!(self.words[hole] != 0, "slot {slot} does not stand under hash {hash:#x}");
            hole = self.after(hole);
        }
        let mut at = self.after(hole);
        while self.words[at] != 0 {
            // A word may move back into the hole unless that is before its home.
            let home = self.home((self.words[at] >> 32) as u32);
            if self.distance(home, at) >= self.distance(hole, at) {
                self.words[hole] = self.words[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.words[hole] = 0;
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.words.len() - 1)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.words.len() - 1)
    }

    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.words.len() - 1)
    }
}

#[inline]
fn slot_of(word: u64) -> u32 {
    word as u32 - 1
}
