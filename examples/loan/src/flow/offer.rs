//! Stage `offer`: joins the score and the fraud check, counts the offers, and says when one goes out.
//!
//! For an event `credit` may have sent something, or `fraud`, or neither, in which case this stage is not
//! called. Which of the two was faster makes no difference.

use downbeat::{Context, Event, Out, Reject, Shaped, Stage};
use rkyv::{Archive, Deserialize, Serialize};

use super::credit::CreditScore;
use super::event::{Recorded, step};
use super::fraud::FraudCheck;
use crate::activity::Activity;

/// Joins `credit` and `fraud`.
#[derive(Clone, Copy, Debug)]
pub struct Offer;

/// The offers of one application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct OfferState {
    /// Offers that were written.
    pub created: u32,
    /// Offers that went to the customer.
    pub sent: u32,
    /// The fraud check, if there was one.
    pub check: Check,
}

/// How far a fraud check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Shaped, Archive, Serialize, Deserialize)]
#[shaped(crate = downbeat::record)]
pub enum Check {
    /// Nobody saw a reason for one.
    #[default]
    None,
    /// Somebody is at it.
    Running,
    /// It was put down.
    Done,
}

/// An offer went to the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, Archive, Serialize, Deserialize)]
#[event(name = "loan.OfferStep", version = 1, crate = downbeat::record)]
pub struct OfferStep {
    /// Which one it is for this application, from 1.
    pub number: u32,
    /// The credit score.
    pub points: u16,
    /// The fraud check.
    pub check: Check,
}

impl Stage for Offer {
    type State = OfferState;
    type Output = OfferStep;

    fn apply(
        &self,
        offer: &mut OfferState,
        event: &Context<'_>,
        out: &mut Out<'_, OfferStep>,
    ) -> Result<(), Reject> {
        if let Some(check) = event.input::<FraudCheck>()? {
            offer.check = if check.running { Check::Running } else { Check::Done };
        }
        let (Some(score), Some(recorded)) = (event.input::<CreditScore>()?, event.event::<Recorded>()?)
        else {
            return Ok(());
        };
        match step(recorded).0 {
            Activity::OfferCreated => offer.created += 1,
            Activity::OfferSent => {
                offer.sent += 1;
                let points = score.points.to_native();
                out.send(&OfferStep { number: offer.sent, points, check: offer.check })?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::bench::{Bench, recorded};

    const SCORE: CreditScore = CreditScore { points: 640 };

    #[test]
    fn offers_are_numbered_as_they_go_out() {
        let mut bench = Bench::of(Offer).after("credit", SCORE).after("fraud", FraudCheck { running: true });
        let created = bench.apply_with(&recorded(Activity::OfferCreated, None), &["credit"]);
        assert_eq!(created.value::<OfferStep>(), None);
        for number in 1..=2 {
            let sent = bench.apply_with(&recorded(Activity::OfferSent, None), &["credit"]);
            assert_eq!(sent.value(), Some(OfferStep { number, points: 640, check: Check::None }));
        }
        assert_eq!(bench.state(), OfferState { created: 1, sent: 2, check: Check::None });
    }

    #[test]
    fn an_offer_carries_what_fraud_said_before() {
        let mut bench = Bench::of(Offer).after("credit", SCORE).after("fraud", FraudCheck { running: true });
        assert_eq!(
            bench.apply_with(&recorded(Activity::WorkFraud, None), &["fraud"]).value::<OfferStep>(),
            None
        );
        let sent = bench.apply_with(&recorded(Activity::OfferSent, None), &["credit"]);
        assert_eq!(sent.value(), Some(OfferStep { number: 1, points: 640, check: Check::Running }));
    }
}
