//! A lane: the bounded way from one actor to another.
//!
//! A ring of 16-byte words ([`crate::words`]) in which tokens lie, each followed by its value. Whatever a worker
//! sends during its turn becomes visible when the turn ends, before its cursor passes the events it was sent for.
//!
//! ```text
//!  ring      ┌───────┬───────────┬───────┬───────┬─────────────────┐
//!            │ token │ value …   │ token │ token │ value …         │
//!            └───────┴───────────┴───────┴───────┴─────────────────┘
//!  sender                                            receiver
//!  has_room? ──no──► starved := true, stop           take(seq) … ──► relieve(): free, starved? ring the sender
//!      │ yes
//!      └──► token, value, … publish, cursor := seq, ring the receiver
//! ```
//!
//! A lane is never found full while sending: a worker asks for the room of one event before it applies it, and
//! stops when there is none. That cannot deadlock. The worker with the lowest unapplied seq finds its lanes
//! empty, because everyone after it has passed all earlier events, and an empty lane holds what one event sends.

use std::sync::Arc;

use downbeat_flow::{OUTPUT_BYTES_MAX, StageId};
use downbeat_record::{Record, Seq};
use zerocopy::IntoBytes;

use crate::node::Node;
use crate::token::Token;
use crate::waiting::Waiting;
use crate::words::{WordsIn, WordsOut, ring};

/// Bytes of a word, the unit of a lane and the alignment of an archive.
const WORD: usize = size_of::<u128>();
/// Words in front of a value that leaves the process: timestamp and key, correlation.
pub(crate) const PREFIX_WORDS: usize = 2;
/// The most that one stage puts on a lane for one event: its token, the prefix, the value.
const EVENT_WORDS_MAX: usize = 1 + PREFIX_WORDS + VALUE_WORDS_MAX;
/// Words of a value; few in a model, where every word is two atomics that it keeps a history of, and under Miri, which looks at
/// all words of a lane whenever one is touched.
const VALUE_WORDS_MAX: usize = match (cfg!(loom), cfg!(any(shuttle, miri))) {
    (true, _) => 1,
    (_, true) => 8,
    _ => OUTPUT_BYTES_MAX.div_ceil(WORD),
};

/// A lane of `bytes` from `from` to `to`, on which `stages` stages may send for one event; larger when what one
/// event sends would not fit.
pub(crate) fn lane(bytes: usize, stages: usize, from: &Arc<Node>, to: &Arc<Node>) -> (LaneOut, LaneIn) {
    let need = stages * EVENT_WORDS_MAX;
    let (words_out, words_in) = ring((bytes / WORD).max(need));
    let starved = Arc::new(Waiting::default());
    (
        LaneOut { words: words_out, starved: starved.clone(), to: to.clone(), need },
        LaneIn { words: words_in, starved, from: from.clone() },
    )
}

/// The sender's end.
pub(crate) struct LaneOut {
    words: WordsOut,
    starved: Arc<Waiting>,
    pub(crate) to: Arc<Node>,
    /// Words that one event may take.
    need: usize,
}

impl LaneOut {
    /// True when whatever one event sends fits. When false, the receiver will ring once it made room.
    #[inline(always)]
    pub(crate) fn has_room(&mut self) -> bool {
        let Self { words, starved, need, .. } = self;
        words.fits(*need) || starved.unless(|| words.fits(*need))
    }

    /// Sends a value for an event.
    #[inline]
    pub(crate) fn send(&mut self, from: StageId, record: &Record<'_>, value: &[u8]) {
        self.send_token(from, record.seq, record.slot, value);
    }

    /// Sends a value for the event that has this place and lies at this slot of its batch.
    #[inline(always)]
    pub(crate) fn send_token(&mut self, from: StageId, seq: Seq, slot: u32, value: &[u8]) {
        self.words.write(Token { seq, slot, value_len: value.len() as u32, from }.pack());
        self.write_value(value);
    }

    /// Sends a value that leaves the process: with the parts of the event's header that a leaf is told.
    pub(crate) fn send_out(&mut self, from: StageId, record: &Record<'_>, value: &[u8]) {
        let (seq, slot) = (record.seq, record.slot);
        self.words.write(Token { seq, slot, value_len: value.len() as u32, from }.pack());
        self.words.write(u128::from(record.timestamp.0) | u128::from(record.fields.key.0) << 64);
        self.words.write(record.fields.correlation.0);
        self.write_value(value);
    }

    #[inline(always)]
    fn write_value(&mut self, value: &[u8]) {
        let (words, rest) = value.as_chunks::<WORD>();
        words.iter().for_each(|word| self.words.write(u128::from_ne_bytes(*word)));
        if !rest.is_empty() {
            self.write_rest(rest);
        }
    }

    fn write_rest(&mut self, bytes: &[u8]) {
        let mut word = [0; WORD];
        word[..bytes.len()].copy_from_slice(bytes);
        self.words.write(u128::from_ne_bytes(word));
    }

    /// Makes what was sent visible; before the cursor passes the events it was sent for.
    #[inline]
    pub(crate) fn publish(&self) {
        self.words.publish();
    }
}

/// The receiver's end.
pub(crate) struct LaneIn {
    words: WordsIn,
    starved: Arc<Waiting>,
    pub(crate) from: Arc<Node>,
}

impl LaneIn {
    /// The first token, if there is one.
    #[inline(always)]
    pub(crate) fn head(&mut self) -> Option<Token> {
        self.words.peek().map(Token::unpack)
    }

    /// Takes the first token and puts its value behind what is in `values`; the word where it starts.
    #[inline(always)]
    pub(crate) fn take(&mut self, values: &mut Vec<u128>) -> Option<(Token, usize)> {
        let token = Token::unpack(self.words.next()?);
        Some((token, self.take_value(token, values)))
    }

    /// Takes a value that leaves the process, with its prefix in front.
    pub(crate) fn take_out(
        &mut self,
        values: &mut Vec<u128>,
    ) -> Option<(Token, [u128; PREFIX_WORDS], usize)> {
        let token = Token::unpack(self.words.next()?);
        let prefix = std::array::from_fn(|_| self.words.take());
        Some((token, prefix, self.take_value(token, values)))
    }

    #[inline(always)]
    fn take_value(&mut self, token: Token, values: &mut Vec<u128>) -> usize {
        let start = values.len();
        if token.value_len == 0 {
            return start;
        }
        for _ in 0..(token.value_len as usize).div_ceil(WORD) {
            values.push(self.words.take());
        }
        start
    }

    /// Gives back the room of what was taken, and rings the sender if it stopped for want of it.
    #[inline]
    pub(crate) fn relieve(&self) {
        self.words.free();
        if self.starved.take() {
            self.from.bell.ring();
        }
    }

    /// The last seq that the sender has passed: whatever it sends for events up to here is on the lane.
    #[inline]
    pub(crate) fn passed(&self) -> Seq {
        self.from.cursor()
    }
}

/// The bytes of a value that [`LaneIn::take`] put at `start`.
#[inline]
pub(crate) fn value_bytes(values: &[u128], start: usize, len: u32) -> &[u8] {
    &values[start..].as_bytes()[..len as usize]
}

#[cfg(all(test, loom))]
#[path = "loom_lane.rs"]
mod loom_lane;
