//! Stage `fraud`: whether an application was, or is being, checked for fraud.

use downbeat::{Context, Event, Out, Reject, Stage};
use rkyv::{Archive, Deserialize, Serialize};

use super::event::{Recorded, step};
use crate::activity::{Activity, Transition};

/// Follows the work of `W_Beoordelen fraude`.
#[derive(Clone, Copy, Debug)]
pub struct Fraud;

/// What is known about the check of one application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct FraudState {
    /// Events of the check; none for most applications.
    pub events: u32,
    /// Somebody is at it.
    pub running: bool,
}

/// How the check of an application stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, Archive, Serialize, Deserialize)]
#[event(name = "loan.FraudCheck", version = 1, crate = downbeat::record)]
pub struct FraudCheck {
    /// Somebody is at it.
    pub running: bool,
}

impl Stage for Fraud {
    type State = FraudState;
    type Output = FraudCheck;

    fn apply(
        &self,
        fraud: &mut FraudState,
        event: &Context<'_>,
        out: &mut Out<'_, FraudCheck>,
    ) -> Result<(), Reject> {
        let Some(recorded) = event.event::<Recorded>()? else { return Ok(()) };
        let (activity, transition) = step(recorded);
        if activity != Activity::WorkFraud {
            return Ok(());
        }
        fraud.events += 1;
        fraud.running = transition == Transition::Start;
        out.send(&FraudCheck { running: fraud.running })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::bench::{Bench, recorded, recorded_as};

    #[test]
    fn a_check_runs_from_its_start_until_it_is_put_down() {
        let mut bench = Bench::of(Fraud);
        let other = bench.apply(&recorded(Activity::WorkValidate, None));
        assert_eq!(other.value::<FraudCheck>(), None);
        for (transition, running) in
            [(Transition::Schedule, false), (Transition::Start, true), (Transition::Complete, false)]
        {
            let check = bench.apply(&recorded_as(Activity::WorkFraud, transition));
            assert_eq!(check.value(), Some(FraudCheck { running }));
        }
        assert_eq!(bench.state(), FraudState { events: 3, running: false });
    }
}
