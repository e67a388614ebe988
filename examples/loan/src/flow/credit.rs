//! Stage `credit`: a score for every offer that is written or sent.
//!
//! Whole points and whole euros: the same application has the same score on every machine.

use downbeat::{Context, Event, Out, Reject, Stage};
use rkyv::{Archive, Deserialize, Serialize};

use super::event::{Recorded, step};
use crate::activity::{Activity, Transition};

/// Scores an application from its amount and from what its handling took so far.
#[derive(Clone, Copy, Debug)]
pub struct Credit;

/// What the score is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CreditState {
    /// The amount asked for, in euro.
    pub amount_eur: u64,
    /// Items of work that were completed.
    pub work_done: u32,
    /// Times the customer was called about missing documents.
    pub reminders: u32,
}

/// A score, 300 to 850; higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Event, Archive, Serialize, Deserialize)]
#[event(name = "loan.CreditScore", version = 1, crate = downbeat::record)]
pub struct CreditScore {
    /// The points.
    pub points: u16,
}

impl CreditState {
    /// The score: 700, less 4 per 1,000 euro up to 300, plus 5 per item of work up to 100, less 10 per reminder
    /// up to 200.
    pub fn score(&self) -> CreditScore {
        let amount = (self.amount_eur / 1_000 * 4).min(300) as u16;
        let work = (u64::from(self.work_done) * 5).min(100) as u16;
        let reminders = (u64::from(self.reminders) * 10).min(200) as u16;
        CreditScore { points: (700 + work - amount - reminders).clamp(300, 850) }
    }
}

impl Stage for Credit {
    type State = CreditState;
    type Output = CreditScore;

    fn apply(
        &self,
        credit: &mut CreditState,
        event: &Context<'_>,
        out: &mut Out<'_, CreditScore>,
    ) -> Result<(), Reject> {
        let Some(recorded) = event.event::<Recorded>()? else { return Ok(()) };
        if let Some(amount) = recorded.amount_eur.as_ref() {
            credit.amount_eur = amount.to_native();
        }
        match step(recorded) {
            (Activity::OfferCreated | Activity::OfferSent, Transition::Complete) => out.send(&credit.score()),
            (activity, Transition::Complete) if activity.is_work() => {
                credit.work_done = credit.work_done.saturating_add(1);
                if activity == Activity::WorkCallDocuments {
                    credit.reminders = credit.reminders.saturating_add(1);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::bench::{Bench, recorded};

    #[test]
    fn a_score_is_sent_for_an_offer_and_for_nothing_else() {
        let mut bench = Bench::of(Credit);
        let submitted = bench.apply(&recorded(Activity::ApplicationSubmitted, Some(20_000)));
        assert_eq!(submitted.value::<CreditScore>(), None);
        for _ in 0..3 {
            bench.apply(&recorded(Activity::WorkComplete, None));
        }
        bench.apply(&recorded(Activity::WorkCallDocuments, None));
        let offered = bench.apply(&recorded(Activity::OfferSent, None));
        assert_eq!(offered.value(), Some(CreditScore { points: 700 - 80 + 20 - 10 }));
    }

    #[test]
    fn a_score_stays_within_its_range_whatever_comes_in() {
        for amount_eur in [0, 20_000, u64::MAX] {
            for (work_done, reminders) in [(0, 0), (u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
                let points = CreditState { amount_eur, work_done, reminders }.score().points;
                assert!((300..=850).contains(&points), "{points}");
            }
        }
    }
}
