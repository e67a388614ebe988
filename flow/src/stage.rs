//! A stage: a deterministic state machine that reads events in the order of their seq.
//!
//! What a stage may see is in the signature of [`Stage::apply`]: the state of the event's key, the event, what
//! earlier stages sent for the same event, and a place for what it puts out. No clock, no I/O, no other key:
//! logical time is the event's timestamp, ids and randomness come from its seq.

use std::fmt;

use downbeat_record::rkyv::api::high::HighSerializer;
use downbeat_record::rkyv::rancor;
use downbeat_record::rkyv::ser::allocator::ArenaHandle;
use downbeat_record::rkyv::util::AlignedVec;
use downbeat_record::{DecodeError, Event, rkyv};

use crate::context::Context;
use crate::out::Out;

/// What to do with an event, as a pure function of the log so far.
///
/// `apply` is called once for every event the stage is `on`, and for every event for which a stage it comes
/// `after` sent a value, in the order of their seq. The same code runs live on actors and in an audit on one
/// thread, and must give the same result: that is checked, by digests in the log.
pub trait Stage: Send + Sync + 'static {
    /// What it remembers about one key. A key it never saw has `State::default()`.
    type State: State;
    /// What it sends to the stages and leaves that come after it; [`Nothing`](crate::Nothing) when none.
    type Output: Event;
    /// Whether a rejected event leaves no trace in the state. It costs a clone of the state per event; a stage
    /// with a large state that checks before it changes anything can set this to false.
    const ROLLBACK: bool = true;

    /// Applies one event.
    ///
    /// # Errors
    ///
    /// [`Reject`] parks this one event: its outputs are dropped, the state is as before (see
    /// [`Stage::ROLLBACK`]), a `downbeat.Rejected` event with the reason enters the log, and the rest goes on.
    /// A panic counts as a rejection.
    fn apply(
        &self,
        state: &mut Self::State,
        event: &Context<'_>,
        out: &mut Out<'_, Self::Output>,
    ) -> Result<(), Reject>;
}

/// What a stage may remember: anything with rkyv's `Archive` and `Serialize` derived, so that it can be
/// compared, and later kept, as bytes. Use `BTreeMap` and `Vec`, not hash maps: their bytes differ from run to
/// run.
pub trait State: Default + Clone + Send + 'static {
    /// Writes the state as bytes behind what is in `out`; equal states give equal bytes.
    fn write(&self, out: AlignedVec) -> AlignedVec;
}

impl<T> State for T
where
    T: Default + Clone + Send + 'static,
    T: for<'a> rkyv::Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Panic>>,
{
    fn write(&self, out: AlignedVec) -> AlignedVec {
        rkyv::util::with_arena(|arena| {
            match rkyv::api::high::to_bytes_in_with_alloc::<_, _, rancor::Panic>(self, out, arena.acquire()) {
                Ok(bytes) => bytes,
            }
        })
    }
}

/// Why a stage does not accept an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Boxed, it is two words, and what comes back from a stage for every event fits into two registers.
    reason: Box<str>,
}

impl Reject {
    /// A rejection with a reason a person can read. The reason goes into the log and is compared on replay, so
    /// it must follow from the event and the state alone.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into().into_boxed_str() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Reject {}

/// Without what the check said: that names addresses, and depends on how the program was built. A reason is logged and
/// compared.
impl From<DecodeError> for Reject {
    fn from(error: DecodeError) -> Self {
        Self::new(match error {
            DecodeError::Invalid { contract, .. } => format!("the payload is not a valid {contract}"),
            error => error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by reading: what rkyv says names addresses in a debug build, and nothing in a release build.
    #[test]
    fn the_reason_of_a_payload_that_cannot_be_read_follows_from_the_log_alone() {
        let said = "pointer overran range: ptr 0x7f0012345678".to_owned();
        let reject = Reject::from(DecodeError::Invalid { contract: "bank.Moved", reason: said });
        assert_eq!(reject.reason(), "the payload is not a valid bank.Moved");
    }
}
