//! A ring of 16-byte words from one actor to one other: what a lane is made of.
//!
//! Words are written one after the other and become visible together, when they are published. That is once per
//! turn of the sender, before its cursor: a receiver looks no further than that cursor, so to show words earlier
//! would cost an exchange of cache lines for nothing.
//!
//! ```text
//!              freed                 published
//!                │    to be taken       │   written
//!  ──────────────┼──────────┬───────────┼────────────┬──────────────
//!   used again   │          taken       │            at
//!                └ moved by the receiver └ moved by the sender        at − freed ≤ words
//! ```
//!
//! Who may touch what:
//!
//! - The sender alone writes words, between `at` and `freed + words`. It has read `freed` with Acquire, so what
//!   the receiver read of these words lies before that.
//! - The receiver alone reads words, between `taken` and `published`. It has read `published` with Acquire, so it
//!   sees what was written.
//!
//! Words are atomics of their own and are read and written relaxed, which costs what a plain access costs; so
//! there is no `unsafe` here, and a mistake would be a wrong value that the models in `loom_words.rs` find.

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, Site, acquire, release};

struct Word {
    halves: [AtomicU64; 2],
    /// How many words had been taken when this one was: what the sender has to know before it writes over it. Loom
    /// never lets a load see a later store, so without it a sender that is too early would not be found.
    #[cfg(loom)]
    taken: AtomicU64,
}

impl Word {
    fn zeroed() -> Self {
        Self {
            halves: [AtomicU64::new(0), AtomicU64::new(0)],
            #[cfg(loom)]
            taken: AtomicU64::new(0),
        }
    }

    /// Under loom: fails the model unless the word that lay here, `lap` words before, is seen to be taken.
    #[inline(always)]
    #[cfg_attr(not(loom), allow(unused_variables))]
    fn expect_taken(&self, at: u64, lap: u64) {
        #[cfg(loom)]
        if at >= lap {
            let taken = self.taken.load(Ordering::Relaxed);
            assert!(taken > at - lap, "word {at} is written over word {}, which is not taken", at - lap);
        }
    }

    /// Notes that `taken` words are taken, this one last.
    #[cfg(loom)]
    fn note_taken(&self, taken: u64) {
        self.taken.store(taken, Ordering::Relaxed);
    }
}

struct Ends {
    /// Words published, ever.
    published: CachePadded<AtomicU64>,
    /// Words freed, ever.
    freed: CachePadded<AtomicU64>,
}

/// A ring of at least `words` words.
pub(crate) fn ring(words: usize) -> (WordsOut, WordsIn) {
    let count = words.max(1).next_power_of_two();
    let words: Arc<[Word]> = (0..count).map(|_| Word::zeroed()).collect();
    let ends = Arc::new(Ends {
        published: CachePadded::new(AtomicU64::new(0)),
        freed: CachePadded::new(AtomicU64::new(0)),
    });
    (
        WordsOut { words: words.clone(), ends: ends.clone(), at: 0, end: count as u64 },
        WordsIn { words, ends, taken: 0, end: 0 },
    )
}

/// The sender's end.
pub(crate) struct WordsOut {
    words: Arc<[Word]>,
    ends: Arc<Ends>,
    /// Where the next word goes.
    at: u64,
    /// Up to where words may be written, as last seen.
    end: u64,
}

impl WordsOut {
    /// True when that many words can be written.
    #[inline(always)]
    pub(crate) fn fits(&mut self, words: usize) -> bool {
        // `at` is never past `end`, so this cannot wrap.
        self.end.wrapping_sub(self.at) >= words as u64 || self.look(words)
    }

    #[inline(never)]
    fn look(&mut self, words: usize) -> bool {
        self.end = self.ends.freed.load(acquire(Site::WordsFreed)) + self.words.len() as u64;
        self.at + words as u64 <= self.end
    }

    /// Writes a word. Precondition: [`WordsOut::fits`].
    #[inline(always)]
    pub(crate) fn write(&mut self, word: u128) {
        assert!(self.at < self.end, "word {} is written, and there is room up to {}", self.at, self.end);
        let slot = &self.words[self.at as usize & (self.words.len() - 1)];
        slot.expect_taken(self.at, self.words.len() as u64);
        let [low, high] = &slot.halves;
        low.store(word as u64, Ordering::Relaxed);
        high.store((word >> 64) as u64, Ordering::Relaxed);
        self.at += 1;
    }

    /// Makes everything written visible to the receiver.
    #[inline]
    pub(crate) fn publish(&self) {
        self.ends.published.store(self.at, release(Site::WordsPublish));
    }
}

/// The receiver's end.
pub(crate) struct WordsIn {
    words: Arc<[Word]>,
    ends: Arc<Ends>,
    /// The next word to take.
    taken: u64,
    /// Up to where words may be taken, as last seen.
    end: u64,
}

impl WordsIn {
    /// The next word, without taking it.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u128> {
        (self.taken < self.end || self.look()).then(|| self.read())
    }

    /// Takes the next word, if there is one.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<u128> {
        let word = self.peek()?;
        self.step();
        Some(word)
    }

    #[inline(never)]
    fn look(&mut self) -> bool {
        self.end = self.ends.published.load(acquire(Site::WordsPublished));
        self.taken < self.end
    }

    /// Takes the next word. Precondition: it was published, by the contract of who sends.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> u128 {
        assert!(self.taken < self.end, "word {} is taken, {} are published", self.taken, self.end);
        let word = self.read();
        self.step();
        word
    }

    #[inline(always)]
    fn step(&mut self) {
        // `taken` is below `end`, so this cannot wrap.
        let taken = self.taken.wrapping_add(1);
        #[cfg(loom)]
        self.slot(self.taken).note_taken(taken);
        self.taken = taken;
    }

    /// Gives the room of everything taken back to the sender.
    #[inline]
    pub(crate) fn free(&self) {
        self.ends.freed.store(self.taken, release(Site::WordsFree));
    }

    #[inline(always)]
    fn slot(&self, number: u64) -> &Word {
        &self.words[number as usize & (self.words.len() - 1)]
    }

    #[inline(always)]
    fn read(&self) -> u128 {
        let [low, high] = &self.slot(self.taken).halves;
        u128::from(low.load(Ordering::Relaxed)) | u128::from(high.load(Ordering::Relaxed)) << 64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_come_out_as_they_went_in_round_after_round() {
        let (mut out, mut arrive) = ring(3);
        let (mut sent, mut taken) = (0u128, 0u128);
        for turn in 0..100 {
            for _ in 0..turn % 5 {
                if out.fits(1) {
                    out.write(sent << 64 | !sent & u128::from(u64::MAX));
                    sent += 1;
                }
            }
            assert!(arrive.peek().is_none(), "what is not published is not seen");
            out.publish();
            while arrive.peek().is_some() {
                assert_eq!(arrive.take(), taken << 64 | !taken & u128::from(u64::MAX));
                taken += 1;
            }
            arrive.free();
        }
        assert_eq!(taken, sent);
        assert!(sent > 100);
    }

    #[test]
    fn a_full_ring_has_room_again_when_words_are_freed_not_when_they_are_taken() {
        let (mut out, mut arrive) = ring(2);
        (0..2).for_each(|word| out.write(word));
        out.publish();
        assert!(!out.fits(1));
        assert_eq!(arrive.peek(), Some(0));
        arrive.take();
        assert!(!out.fits(1));
        arrive.free();
        assert!(out.fits(1) && !out.fits(2));
    }

    #[test]
    #[should_panic(expected = "there is room up to 2")]
    fn a_word_is_never_written_over_one_that_was_not_taken() {
        let (mut out, _arrive) = ring(2);
        (0..3).for_each(|word| out.write(word));
    }
}

#[cfg(all(test, loom))]
#[path = "loom_words.rs"]
pub(crate) mod loom_words;
