//! What goes from actor to actor: 24 bytes that say for which event, from which stage, and how much follows.

use downbeat_flow::StageId;
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
