//! The flow that grows: a chain of any number of stages, on events of any size.
//!
//! ```text
//!  parcel ──► s01 ──► s02 ──► … ──► s16
//! ```

use downbeat_flow::{Context, Flow, Nothing, Out, Reject, Stage};
use downbeat_record::{Event, Key};

use crate::flow::{ACCOUNTS, Spread, Step};

/// What happens, in as many bytes as wanted.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bench.Parcel", version = 1)]
pub struct Parcel {
    /// Which one of its producer.
    pub number: u64,
    /// The rest of its bytes.
    pub rest: Vec<u8>,
}

/// What an event takes without its rest: the number, and where the rest is.
const FIXED: usize = 16;

impl Parcel {
    /// An event of `payload_bytes` bytes.
    ///
    /// # Panics
    ///
    /// Below 16 bytes.
    pub fn new(payload_bytes: usize) -> Self {
        Self { number: 0, rest: vec![0x5a; payload_bytes - FIXED] }
    }

    /// Makes it the `number`th of a producer; the account that it is about.
    pub fn become_nth(&mut self, producer: u64, number: u64) -> Key {
        self.number = number;
        let mixed = (number ^ producer << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Key((mixed >> 40) % ACCOUNTS + 1)
    }
}

/// Reads the event, sends a step.
struct First;

impl Stage for First {
    type State = u64;
    type Output = Step;

    fn apply(&self, state: &mut u64, event: &Context<'_>, out: &mut Out<'_, Step>) -> Result<(), Reject> {
        let Some(parcel) = event.event::<Parcel>()? else { return Ok(()) };
        let last = parcel.rest.last().copied().unwrap_or_default();
        *state = state.wrapping_mul(31).wrapping_add(parcel.number.to_native() ^ u64::from(last));
        out.send(&Step { known: *state, cents: 1 })
    }
}

/// Reads the step of the stage before, sends one.
struct Next;

impl Stage for Next {
    type State = u64;
    type Output = Step;

    fn apply(&self, state: &mut u64, event: &Context<'_>, out: &mut Out<'_, Step>) -> Result<(), Reject> {
        let Some(step) = event.input::<Step>()? else { return Ok(()) };
        *state = state.wrapping_mul(17).wrapping_add(step.known.to_native());
        out.send(&Step { known: *state, cents: step.cents.to_native() })
    }
}

/// Reads the step of the stage before, sends nothing.
struct Last;

impl Stage for Last {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, state: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        let Some(step) = event.input::<Step>()? else { return Ok(()) };
        *state = state.wrapping_mul(13).wrapping_add(step.known.to_native());
        Ok(())
    }
}

/// Reads the event, sends nothing: a chain of one.
struct Only;

impl Stage for Only {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, state: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        let Some(parcel) = event.event::<Parcel>()? else { return Ok(()) };
        *state = state.wrapping_mul(31).wrapping_add(parcel.number.to_native());
        Ok(())
    }
}

/// A chain of `stages` stages.
///
/// # Panics
///
/// Without a stage.
pub fn chain(stages: usize, spread: Spread) -> Flow {
    assert!(stages > 0, "a chain of {stages} stages");
    let name = |index: usize| format!("s{index:02}");
    let mut flow = Flow::named("chain");
    for index in 1..=stages {
        flow = match index {
            1 if stages == 1 => flow.stage(&name(1), Only).on::<Parcel>(),
            1 => flow.stage(&name(1), First).on::<Parcel>(),
            _ if index == stages => flow.stage(&name(index), Last).after([name(index - 1).as_str()]),
            _ => flow.stage(&name(index), Next).after([name(index - 1).as_str()]),
        };
        if spread == Spread::Together {
            flow = flow.group("chain");
        }
    }
    flow.build().expect("the chain is sound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_bytes_that_are_asked_for() {
        for payload_bytes in [16, 64, 4_096] {
            let mut out = vec![0; 2 * payload_bytes];
            assert_eq!(Parcel::new(payload_bytes).encode(&mut out).unwrap(), payload_bytes);
        }
    }

    #[test]
    fn a_chain_has_as_many_stages_as_asked_for() {
        for stages in [1, 2, 16] {
            for spread in [Spread::Apart, Spread::Together] {
                assert_eq!(chain(stages, spread).stages().len(), stages);
            }
        }
    }
}
