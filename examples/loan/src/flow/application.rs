//! Stage `application`: what is known about an application, and a word to later stages when it moves.

use downbeat::{Context, Event, Out, Reject, Stage};
use rkyv::{Archive, Deserialize, Serialize};

use super::event::{Recorded, step};
use crate::activity::Activity;
use crate::summary::Outcome;

/// Follows the `A_*` milestones.
#[derive(Clone, Copy, Debug)]
pub struct Application;

/// What is known about one application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ApplicationState {
    /// The amount asked for, in euro; the first one counts.
    pub amount_eur: Option<u64>,
    /// All its events.
    pub events: u32,
    /// The loan was granted.
    pub approved: bool,
    /// The bank said no.
    pub declined: bool,
    /// The customer said no, or nothing.
    pub cancelled: bool,
}

/// An application passed a milestone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, Archive, Serialize, Deserialize)]
#[event(name = "loan.ApplicationMoved", version = 1, crate = downbeat::record)]
pub struct ApplicationMoved {
    /// Which milestone.
    pub milestone: Activity,
    /// The amount asked for, in euro, where known.
    pub amount_eur: Option<u64>,
}

impl ApplicationState {
    /// Where it stands; should it have reached several final states, the first of the list counts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self { approved: true, .. } => Outcome::Approved,
            Self { declined: true, .. } => Outcome::Declined,
            Self { cancelled: true, .. } => Outcome::Cancelled,
            _ => Outcome::Open,
        }
    }

    /// True when it reached more than one final state.
    pub fn is_contradictory(&self) -> bool {
        u8::from(self.approved) + u8::from(self.declined) + u8::from(self.cancelled) > 1
    }
}

impl Stage for Application {
    type State = ApplicationState;
    type Output = ApplicationMoved;

    fn apply(
        &self,
        application: &mut ApplicationState,
        event: &Context<'_>,
        out: &mut Out<'_, ApplicationMoved>,
    ) -> Result<(), Reject> {
        let Some(recorded) = event.event::<Recorded>()? else { return Ok(()) };
        let (activity, _) = step(recorded);
        application.events += 1;
        if application.amount_eur.is_none() {
            application.amount_eur = recorded.amount_eur.as_ref().map(|amount| amount.to_native());
        }
        match activity {
            Activity::ApplicationApproved => application.approved = true,
            Activity::ApplicationDeclined => application.declined = true,
            Activity::ApplicationCancelled => application.cancelled = true,
            _ => {}
        }
        if activity.is_application() {
            out.send(&ApplicationMoved { milestone: activity, amount_eur: application.amount_eur })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::bench::{Bench, recorded};

    #[test]
    fn a_milestone_is_passed_on_with_the_amount_that_came_first() {
        let mut bench = Bench::of(Application);
        let submitted = bench.apply(&recorded(Activity::ApplicationSubmitted, Some(5_000)));
        assert_eq!(submitted.value::<ApplicationMoved>().unwrap().amount_eur, Some(5_000));
        let again = bench.apply(&recorded(Activity::ApplicationPreaccepted, Some(9_000)));
        assert_eq!(again.value::<ApplicationMoved>().unwrap().amount_eur, Some(5_000));
        assert_eq!(bench.apply(&recorded(Activity::OfferSent, None)).value::<ApplicationMoved>(), None);
        assert_eq!((bench.state().events, bench.state().outcome()), (3, Outcome::Open));
    }

    #[test]
    fn approval_counts_before_refusal() {
        let mut bench = Bench::of(Application);
        bench.apply(&recorded(Activity::ApplicationDeclined, None));
        assert_eq!(bench.state().outcome(), Outcome::Declined);
        bench.apply(&recorded(Activity::ApplicationApproved, None));
        assert_eq!(bench.state().outcome(), Outcome::Approved);
        assert!(bench.state().is_contradictory());
    }
}
