//! Stage `decision`: joins the application and its offers, and puts the decision into the order.
//!
//! A decision is sent to `notify` and emitted as an event: it gets a place in the same order, with the event
//! that decided as its cause. Whoever reads the log later finds it there, and a replay is compared with it.

use downbeat::{Context, Out, Reject, Stage};
use rkyv::{Archive, Deserialize, Serialize};

use super::application::ApplicationMoved;
use super::event::Decided;
use super::offer::OfferStep;
use crate::activity::Activity;
use crate::summary::Outcome;

/// Joins `application` and `offer`.
#[derive(Clone, Copy, Debug)]
pub struct Decision;

/// What a decision is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DecisionState {
    /// Offers that went to the customer.
    pub offers: u32,
    /// It was decided; what comes later does not change it.
    pub outcome: Option<Outcome>,
}

impl Stage for Decision {
    type State = DecisionState;
    type Output = Decided;

    fn apply(
        &self,
        decision: &mut DecisionState,
        event: &Context<'_>,
        out: &mut Out<'_, Decided>,
    ) -> Result<(), Reject> {
        if let Some(offer) = event.input::<OfferStep>()? {
            decision.offers = offer.number.to_native();
        }
        let Some(moved) = event.input::<ApplicationMoved>()? else { return Ok(()) };
        let outcome = match Activity::from(&moved.milestone) {
            Activity::ApplicationApproved => Outcome::Approved,
            Activity::ApplicationDeclined => Outcome::Declined,
            Activity::ApplicationCancelled => Outcome::Cancelled,
            _ => return Ok(()),
        };
        if decision.outcome.is_some() {
            return Ok(());
        }
        decision.outcome = Some(outcome);
        let decided = Decided {
            case: event.key().0,
            outcome,
            amount_eur: moved.amount_eur.as_ref().map(|amount| amount.to_native()),
            offers: decision.offers,
        };
        out.send(&decided)?;
        out.emit(&decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::bench::{Bench, CASE, recorded};
    use crate::flow::offer::Check;

    fn bench(milestone: Activity) -> Bench<Decision> {
        Bench::of(Decision)
            .emits::<Decided>()
            .after("application", ApplicationMoved { milestone, amount_eur: Some(7_000) })
            .after("offer", OfferStep { number: 2, points: 640, check: Check::None })
    }

    #[test]
    fn a_final_state_is_decided_once_and_emitted_once() {
        let mut bench = bench(Activity::ApplicationApproved);
        bench.apply_with(&recorded(Activity::OfferSent, None), &["offer"]);
        let first = bench.apply_with(&recorded(Activity::ApplicationApproved, None), &["application"]);
        let decided = Decided { case: CASE, outcome: Outcome::Approved, amount_eur: Some(7_000), offers: 2 };
        assert_eq!((first.value(), first.emitted()), (Some(decided), vec![decided]));
        let second = bench.apply_with(&recorded(Activity::ApplicationApproved, None), &["application"]);
        assert_eq!((second.value::<Decided>(), second.emitted::<Decided>()), (None, vec![]));
    }

    #[test]
    fn a_milestone_on_the_way_decides_nothing() {
        let mut bench = bench(Activity::ApplicationPreaccepted);
        let moved = bench.apply_with(&recorded(Activity::ApplicationPreaccepted, None), &["application"]);
        assert!(moved.emitted::<Decided>().is_empty());
        assert_eq!(bench.state().outcome, None);
    }
}
