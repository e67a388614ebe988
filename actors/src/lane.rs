//! A lane: the bounded way from one actor to another.
//!
//! Two single-producer single-consumer rings side by side: tokens, and the 16-byte words of their values. A
//! value is in its ring before its token is, so who sees the token can take the value.
//!
//! ```text
//!  sender                                            receiver
//!  has_room? ──no──► starved := true, stop           take(seq) … ──► relieve(): starved? ring the sender
//!      │ yes
//!      └──► values.push(words), tokens.push(token), … cursor := seq, ring the receiver
//! ```
//!
//! A lane is never found full while pushing: a worker asks for the room of one event before it applies it, and
//! stops when there is none. That cannot deadlock. The worker with the lowest unapplied seq finds its lanes
//! empty, because everyone after it has passed all earlier events, and an empty lane holds what one event sends.

use std::sync::Arc;

use downbeat_flow::{OUTPUT_BYTES_MAX, StageId};
use downbeat_record::{Record, Seq};
use rtrb::{Consumer, Producer, RingBuffer};
use zerocopy::{FromBytes, IntoBytes};

use crate::node::Node;
use crate::token::{Packed, Token};
use crate::waiting::Waiting;

/// Bytes of a word, the unit of the value ring and the alignment of an archive.
const WORD: usize = size_of::<u128>();
/// Up to this many words are moved one by one: a copy in one piece is dearer to begin.
const FEW_WORDS: usize = 4;
/// Words in front of a value that leaves the process: timestamp and key, correlation.
const PREFIX_WORDS: usize = 2;

/// How much a lane holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneSize {
    pub(crate) tokens: usize,
    pub(crate) value_bytes: usize,
}

/// A lane from `from` to `to`, on which `stages` stages may send for one event.
pub(crate) fn lane(size: LaneSize, stages: usize, from: &Arc<Node>, to: &Arc<Node>) -> (LaneOut, LaneIn) {
    let need_words = stages * (OUTPUT_BYTES_MAX.div_ceil(WORD) + PREFIX_WORDS);
    let (tokens_out, tokens_in) = RingBuffer::new(size.tokens.max(stages));
    let (values_out, values_in) = RingBuffer::new((size.value_bytes / WORD).max(need_words));
    let starved = Arc::new(Waiting::default());
    (
        LaneOut {
            tokens: tokens_out,
            values: values_out,
            starved: starved.clone(),
            to: to.clone(),
            need_tokens: stages,
            need_words,
        },
        LaneIn { tokens: tokens_in, values: values_in, starved, from: from.clone() },
    )
}

/// The sender's end.
pub(crate) struct LaneOut {
    tokens: Producer<Packed>,
    values: Producer<u128>,
    starved: Arc<Waiting>,
    pub(crate) to: Arc<Node>,
    need_tokens: usize,
    need_words: usize,
}

impl LaneOut {
    /// True when whatever one event sends fits. When false, the receiver will ring once it made room.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.fits() || self.starved.unless(|| self.fits())
    }

    #[inline(always)]
    fn fits(&self) -> bool {
        (self.tokens.cached_slots() >= self.need_tokens || self.tokens.slots() >= self.need_tokens)
            && (self.values.cached_slots() >= self.need_words || self.values.slots() >= self.need_words)
    }

    /// Sends a value for an event.
    #[inline]
    pub(crate) fn send(&mut self, from: StageId, record: &Record<'_>, value: &[u8]) {
        self.send_token(from, record.seq, record.slot, value);
    }

    /// Sends a value for the event that has this place and lies at this slot of its batch.
    #[inline(always)]
    pub(crate) fn send_token(&mut self, from: StageId, seq: Seq, slot: u32, value: &[u8]) {
        if value.len() <= FEW_WORDS * WORD {
            let (words, rest) = value.as_chunks::<WORD>();
            words.iter().for_each(|word| self.push_word(*word));
            if !rest.is_empty() {
                self.push_rest(rest);
            }
        } else {
            self.push_long(value);
        }
        let token = Token { seq, slot, value_len: value.len() as u32, from };
        self.tokens.push(token.pack()).expect("room for one event was there");
    }

    /// Sends a value that leaves the process: with the parts of the event's header that a leaf is told.
    pub(crate) fn send_out(&mut self, from: StageId, record: &Record<'_>, value: &[u8]) {
        let place = u128::from(record.timestamp.0) | u128::from(record.fields.key.0) << 64;
        let prefix = [place, record.fields.correlation.0];
        self.values.push_entire_slice(&prefix).expect("room for one event was there");
        self.send(from, record, value);
    }

    #[inline(never)]
    fn push_long(&mut self, value: &[u8]) {
        let (whole, rest) = value.split_at(value.len() - value.len() % WORD);
        match <[u128]>::ref_from_bytes(whole) {
            Ok(words) => self.values.push_entire_slice(words).expect("room for one event was there"),
            // An output buffer is 16-byte aligned, so this is not reached; it would still be right.
            Err(_) => whole.as_chunks::<WORD>().0.iter().for_each(|word| self.push_word(*word)),
        }
        if !rest.is_empty() {
            self.push_rest(rest);
        }
    }

    fn push_rest(&mut self, bytes: &[u8]) {
        let mut word = [0; WORD];
        word[..bytes.len()].copy_from_slice(bytes);
        self.push_word(word);
    }

    #[inline]
    fn push_word(&mut self, word: [u8; WORD]) {
        self.values.push(u128::from_ne_bytes(word)).expect("room for one event was there");
    }
}

/// The receiver's end.
pub(crate) struct LaneIn {
    tokens: Consumer<Packed>,
    values: Consumer<u128>,
    starved: Arc<Waiting>,
    pub(crate) from: Arc<Node>,
}

impl LaneIn {
    /// The seq of the first token, if there is one.
    #[inline]
    pub(crate) fn head(&self) -> Option<Token> {
        self.tokens.peek().ok().map(|token| Token::unpack(*token))
    }

    /// Takes the first token and puts its value behind what is in `values`; the word where it starts.
    #[inline(always)]
    pub(crate) fn take(&mut self, values: &mut Vec<u128>) -> Option<(Token, usize)> {
        let token = Token::unpack(self.tokens.pop().ok()?);
        let start = self.take_words((token.value_len as usize).div_ceil(WORD), values);
        Some((token, start))
    }

    /// Takes a value that leaves the process, with its prefix in front.
    pub(crate) fn take_out(
        &mut self,
        values: &mut Vec<u128>,
    ) -> Option<(Token, [u128; PREFIX_WORDS], usize)> {
        let token = Token::unpack(self.tokens.pop().ok()?);
        let mut prefix = [0; PREFIX_WORDS];
        self.values.pop_entire_slice(&mut prefix).expect("a value is there before its token");
        let start = self.take_words((token.value_len as usize).div_ceil(WORD), values);
        Some((token, prefix, start))
    }

    #[inline(always)]
    fn take_words(&mut self, words: usize, values: &mut Vec<u128>) -> usize {
        let start = values.len();
        if words <= FEW_WORDS {
            (0..words)
                .for_each(|_| values.push(self.values.pop().expect("a value is there before its token")));
        } else {
            self.take_long(words, values);
        }
        start
    }

    #[inline(never)]
    fn take_long(&mut self, words: usize, values: &mut Vec<u128>) {
        let start = values.len();
        values.resize(start + words, 0);
        self.values.pop_entire_slice(&mut values[start..]).expect("a value is there before its token");
    }

    /// Rings the sender if it stopped for want of room; called after taking.
    #[inline]
    pub(crate) fn relieve(&self) {
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
