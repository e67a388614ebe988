//! What goes from actor to actor: for which event, from which stage, and how much follows.

use downbeat_flow::{OUTPUT_BYTES_MAX, STAGES_MAX, StageId};
use downbeat_record::Seq;

/// A value on its way from one stage to the next, keyed by the seq of the event it was sent for.
///
/// The token does not own anything and is not a command: it is an input that the receiver waits for. The event
/// itself is where it was sequenced, `slot` units of 16 bytes into its batch; the value, if there is one, is the
/// next `value_len` bytes of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Token {
    /// The event.
    pub seq: Seq,
    /// Where the event starts in its batch, in units of 16 bytes.
    pub slot: u32,
    /// Bytes of the value.
    pub value_len: u32,
    /// The stage that sent it.
    pub from: StageId,
}

const _: () = assert!(size_of::<Token>() == 24);

/// A token as it lies in a lane: one word, which goes from registers to the lane and back. Fields written one by one
/// and then copied as a whole would stall the copy.
///
/// ```text
/// ┌──────────────── seq 64 ───────────────┬───── slot 32 ─────┬── value_len 24 ──┬ from 8 ┐
/// ```
pub(crate) type Packed = u128;

const VALUE_LEN_BITS: u32 = 24;
const _: () = assert!(OUTPUT_BYTES_MAX < 1 << VALUE_LEN_BITS && STAGES_MAX <= 1 << (32 - VALUE_LEN_BITS));

impl Token {
    #[inline]
    pub(crate) fn pack(self) -> Packed {
        let rest = u64::from(self.value_len) | u64::from(self.from.0) << VALUE_LEN_BITS;
        u128::from(self.seq.0) | u128::from(u64::from(self.slot) | rest << 32) << 64
    }

    #[inline]
    pub(crate) fn unpack(packed: Packed) -> Self {
        let place = (packed >> 64) as u64;
        let rest = (place >> 32) as u32;
        Self {
            seq: Seq(packed as u64),
            slot: place as u32,
            value_len: rest & ((1 << VALUE_LEN_BITS) - 1),
            from: StageId((rest >> VALUE_LEN_BITS) as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_token_is_the_token() {
        let (value_len, from) = (OUTPUT_BYTES_MAX as u32, StageId(STAGES_MAX as u16 - 1));
        for (seq, slot) in [(1, 0), (u64::MAX, u32::MAX), (1 << 63, 7)] {
            for (value_len, from) in [(value_len, from), (0, from), (value_len, StageId(0))] {
                let token = Token { seq: Seq(seq), slot, value_len, from };
                assert_eq!(Token::unpack(token.pack()), token);
            }
        }
    }
}
