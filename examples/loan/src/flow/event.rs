//! The event types of the flow: what the bank recorded comes in, what was decided goes into the order behind it.

use downbeat::{Correlation, Event, IdempotencyKey, Key};
use rkyv::{Archive, Archived, Deserialize, Serialize};

use crate::activity::{Activity, Transition};
use crate::input::LoanInput;
use crate::summary::Outcome;

/// Something happened to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, Archive, Serialize, Deserialize)]
#[event(name = "loan.Recorded", version = 1, crate = downbeat::record)]
pub struct Recorded {
    /// The application; also the event's key.
    pub case: u64,
    /// When, by the bank's own clock: nanoseconds since 1970 UTC.
    pub occurred_at_ns: u64,
    /// What was done.
    pub activity: Activity,
    /// How far it got.
    pub transition: Transition,
    /// Who did it, where known.
    pub resource: Option<u32>,
    /// The requested amount in euro; once per application.
    pub amount_eur: Option<u64>,
}

/// An application reached a final state: at most once per application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, Archive, Serialize, Deserialize)]
#[event(name = "loan.Decided", version = 1, crate = downbeat::record)]
pub struct Decided {
    /// The application; also the event's key.
    pub case: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The requested amount in euro, where known.
    pub amount_eur: Option<u64>,
    /// How many offers the customer had got.
    pub offers: u32,
}

impl From<&LoanInput> for Recorded {
    fn from(input: &LoanInput) -> Self {
        Self {
            case: input.case.0,
            occurred_at_ns: input.time_ns,
            activity: input.activity,
            transition: input.transition,
            resource: input.resource,
            amount_eur: input.amount_eur,
        }
    }
}

impl LoanInput {
    /// The entity it is about: the case.
    pub fn key(&self) -> Key {
        Key(self.case.0)
    }

    /// The transaction it belongs to: all events of a case are one.
    pub fn correlation(&self) -> Correlation {
        Correlation(u128::from(self.case.0))
    }

    /// What the event is called, so that submitting it again changes nothing: the case, and its place in it.
    pub fn idempotency_key(&self) -> IdempotencyKey {
        IdempotencyKey((u128::from(self.case.0) << 64) | (u128::from(self.position) + 1))
    }
}

/// What was done, and how far it got.
pub(super) fn step(event: &Archived<Recorded>) -> (Activity, Transition) {
    (Activity::from(&event.activity), Transition::from(&event.transition))
}
