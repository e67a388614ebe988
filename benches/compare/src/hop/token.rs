//! What goes through a chain, and what a stage does with it.

use std::sync::Arc;

use downbeat_record::Batch;

/// As big as the one that goes through a lane: 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) seq: u64,
    /// Where its event begins, in units of 16 bytes.
    pub(crate) slot: u32,
    /// Of the events that stages have read, so that reading is not left out.
    pub(crate) checked: u64,
}

const _: () = assert!(size_of::<Token>() == 24);

/// The events that tokens name.
#[derive(Clone)]
pub(crate) struct Work {
    batch: Arc<Batch>,
    slots: Arc<[u32]>,
}

impl Work {
    pub(crate) fn new(batch: &Arc<Batch>) -> Self {
        Self { batch: batch.clone(), slots: batch.records().map(|record| record.slot).collect() }
    }

    /// Tokens from `from` on, without an end; they go round the events.
    pub(crate) fn tokens(&self, from: u64) -> impl Iterator<Item = Token> + use<'_> {
        let begin = from % self.slots.len() as u64;
        let slots = self.slots.iter().copied().cycle().skip(begin as usize);
        (from..).zip(slots).map(|(seq, slot)| Token { seq, slot, checked: 0 })
    }

    /// Reads the first eight bytes of the event.
    #[inline]
    pub(crate) fn look(&self, token: Token) -> Token {
        let event = self.batch.buffer()[token.slot as usize * 16..].first_chunk();
        let event = u64::from_ne_bytes(*event.expect("an event is longer"));
        Token { checked: token.checked.wrapping_add(event), ..token }
    }
}
