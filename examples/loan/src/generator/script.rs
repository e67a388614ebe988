//! The life of one application, written down before it is lived.
//!
//! ```text
//!  submitted ─► leads? ─► fraud? ─► preaccepted ─► completing ─► accepted ─► offered ─► calls ─► sent back
//!      │                                │                           │          ▲  │                  │
//!      ▼                                ▼                           ▼          └──┘ another offer    ▼
//!  declined                  declined, cancelled or open  ◄──────────────────────────────────── validation
//!                                                                                  approved ◄──┘    ▲│ documents?
//!                                                                                                   └┘
//! ```
//!
//! Work is a list entry (SCHEDULE) and rounds of taking it up (START) and putting it down (COMPLETE). What a round
//! leads to happens inside it.

use super::profile::{self, Gap, Offers, Route, Stage};
use super::rng::Rng;
use crate::activity::{Activity, Transition};
use crate::summary::Outcome;

/// No work is taken up more often than this: with it a script has fewer than 600 steps.
const ROUNDS_MAX: u32 = 60;

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Since the step before.
    pub(super) gap_ms: u32,
    /// 0 when nobody in particular.
    pub(super) resource: u16,
    pub(super) activity: Activity,
    pub(super) transition: Transition,
}

/// Writes a whole life over `steps`.
pub(super) fn write(rng: &mut Rng, steps: &mut Vec<Step>) {
    steps.clear();
    let (route, leads, fraud) = profile::pick_route(rng);
    let mut script = Script { rng, steps, person: profile::SYSTEM };
    script.submit(leads, fraud, route);
    if route.stage >= Stage::Preaccepted {
        script.complete(route);
    }
    if route.stage == Stage::Offered {
        script.offered(route.outcome, &profile::offers(route.outcome));
    }
}

struct Script<'a> {
    rng: &'a mut Rng,
    steps: &'a mut Vec<Step>,
    /// Who is at it.
    person: u16,
}

impl Script<'_> {
    fn submit(&mut self, leads: bool, fraud: bool, route: &Route) {
        self.done(Activity::ApplicationSubmitted, &Gap::NONE);
        self.done(Activity::ApplicationPartlySubmitted, &Gap::SYSTEM);
        let ends_here = route.stage == Stage::Submitted;
        if fraud {
            self.schedule(Activity::WorkFraud);
            if self.rng.chance(profile::FRAUD_AGAIN) {
                self.schedule(Activity::WorkFraud);
            }
            let rounds = self.rng.rounds(profile::FRAUD_MEAN, ROUNDS_MAX);
            self.work(Activity::WorkFraud, &Gap::FRAUD, rounds);
        }
        if leads {
            self.schedule(Activity::WorkLeads);
            let rounds = self.rng.rounds(profile::LEADS_MEAN, ROUNDS_MAX);
            self.work(Activity::WorkLeads, &Gap::LEADS, rounds - 1);
            self.start(Activity::WorkLeads, &Gap::LEADS);
        }
        match (ends_here, route.outcome) {
            (true, Outcome::Declined) => self.done(Activity::ApplicationDeclined, &Gap::DECISION),
            (true, _) => self.done(Activity::ApplicationCancelled, &Gap::DECISION),
            (false, _) => self.done(Activity::ApplicationPreaccepted, &Gap::DECISION),
        }
        if !ends_here {
            self.schedule(Activity::WorkComplete);
        }
        if leads {
            self.put_down(Activity::WorkLeads);
        }
    }

    fn complete(&mut self, route: &Route) {
        let rounds = self.rng.rounds(route.complete_mean, ROUNDS_MAX);
        self.work(Activity::WorkComplete, &Gap::COMPLETE, rounds - 1);
        let untouched = route.stage == Stage::Preaccepted
            && route.outcome == Outcome::Cancelled
            && self.rng.chance(profile::PUT_DOWN);
        if untouched {
            self.person = profile::SYSTEM;
        } else {
            self.start(Activity::WorkComplete, &Gap::COMPLETE);
        }
        if route.stage >= Stage::Accepted {
            self.done(Activity::ApplicationAccepted, &Gap::DECISION);
        }
        match (route.stage, route.outcome) {
            (Stage::Offered, _) => {
                self.done(Activity::OfferSelected, &Gap::DESK);
                self.done(Activity::ApplicationFinalized, &Gap::NONE);
                self.send_offer();
            }
            (_, Outcome::Declined) => self.done(Activity::ApplicationDeclined, &Gap::DECISION),
            (_, Outcome::Cancelled) => self.done(Activity::ApplicationCancelled, &Gap::DESK),
            _ => {}
        }
        self.put_down(Activity::WorkComplete);
    }

    fn offered(&mut self, outcome: Outcome, offers: &Offers) {
        let more_offers = self.rng.weighted(&offers.counts) as u32;
        let sent_back = self.rng.weighted(&offers.sent_back) as u32;
        let rounds = self.rng.rounds(offers.call_mean, ROUNDS_MAX).max(more_offers + 1);
        for round in 0..rounds - 1 {
            self.start(Activity::WorkCallOffer, &Gap::CALL_OFFER);
            if round < more_offers {
                self.done(Activity::OfferCancelled, &Gap::DESK);
                self.done(Activity::OfferSelected, &Gap::NONE);
                self.send_offer();
            }
            self.put_down(Activity::WorkCallOffer);
        }
        if sent_back > 0 {
            self.start(Activity::WorkCallOffer, &Gap::CALL_OFFER);
            self.done(Activity::OfferSentBack, &Gap::DESK);
            self.schedule(Activity::WorkValidate);
            self.put_down(Activity::WorkCallOffer);
            self.validated(outcome, offers, sent_back > 1);
        } else {
            let untouched = outcome == Outcome::Cancelled && self.rng.chance(profile::PUT_DOWN);
            if !untouched {
                self.start(Activity::WorkCallOffer, &Gap::CALL_OFFER);
            }
            self.decide(outcome);
            self.put_down(Activity::WorkCallOffer);
        }
    }

    /// From the first validation to the decision, by way of missing documents.
    fn validated(&mut self, outcome: Outcome, offers: &Offers, sent_back_again: bool) {
        let documents = self.rng.chance(offers.documents);
        if documents {
            let rounds = self.rng.rounds(offers.validate_mean, ROUNDS_MAX);
            self.work(Activity::WorkValidate, &Gap::VALIDATE, rounds - 1);
            self.start(Activity::WorkValidate, &Gap::VALIDATE);
            self.schedule(Activity::WorkCallDocuments);
            self.put_down(Activity::WorkValidate);
            let rounds = self.rng.rounds(offers.documents_mean, ROUNDS_MAX);
            self.work(Activity::WorkCallDocuments, &Gap::CALL_DOCUMENTS, rounds - 1);
            self.start(Activity::WorkCallDocuments, &Gap::CALL_DOCUMENTS);
            if sent_back_again {
                self.done(Activity::OfferSentBack, &Gap::DESK);
            }
            if outcome == Outcome::Cancelled {
                self.decide(outcome);
                return self.put_down(Activity::WorkCallDocuments);
            }
            self.schedule(Activity::WorkValidate);
            self.put_down(Activity::WorkCallDocuments);
        }
        let rounds = self.rng.rounds(offers.validate_mean, ROUNDS_MAX);
        self.work(Activity::WorkValidate, &Gap::VALIDATE, rounds - 1);
        self.start(Activity::WorkValidate, &Gap::VALIDATE);
        if sent_back_again && !documents {
            self.done(Activity::OfferSentBack, &Gap::DESK);
        }
        self.decide(outcome);
        self.put_down(Activity::WorkValidate);
        if outcome == Outcome::Approved && self.rng.chance(profile::CONTRACT) {
            self.push(Activity::WorkContract, Transition::Schedule, &Gap::CONTRACT);
        }
    }

    fn decide(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Approved => {
                self.done(Activity::OfferAccepted, &Gap::DESK);
                self.done(Activity::ApplicationApproved, &Gap::NONE);
                self.done(Activity::ApplicationRegistered, &Gap::NONE);
                self.done(Activity::ApplicationActivated, &Gap::NONE);
            }
            Outcome::Declined => {
                self.done(Activity::OfferDeclined, &Gap::DESK);
                self.done(Activity::ApplicationDeclined, &Gap::NONE);
            }
            Outcome::Cancelled => {
                self.done(Activity::ApplicationCancelled, &Gap::DESK);
                self.done(Activity::OfferCancelled, &Gap::NONE);
            }
            Outcome::Open => {}
        }
    }

    fn send_offer(&mut self) {
        self.done(Activity::OfferCreated, &Gap::SYSTEM);
        self.done(Activity::OfferSent, &Gap::NONE);
        self.schedule(Activity::WorkCallOffer);
    }

    fn work(&mut self, activity: Activity, gap: &Gap, rounds: u32) {
        for _ in 0..rounds {
            self.start(activity, gap);
            self.put_down(activity);
        }
    }

    fn schedule(&mut self, activity: Activity) {
        self.push(activity, Transition::Schedule, &Gap::SYSTEM);
    }

    fn start(&mut self, activity: Activity, gap: &Gap) {
        self.person = profile::person(self.rng);
        self.push_work(activity, Transition::Start, gap);
    }

    fn put_down(&mut self, activity: Activity) {
        self.push_work(activity, Transition::Complete, &Gap::DESK);
    }

    fn done(&mut self, activity: Activity, gap: &Gap) {
        self.push(activity, Transition::Complete, gap);
    }

    fn push(&mut self, activity: Activity, transition: Transition, gap: &Gap) {
        let gap_ms = gap.draw(self.rng);
        self.steps.push(Step { gap_ms, resource: self.person, activity, transition });
    }

    fn push_work(&mut self, activity: Activity, transition: Transition, gap: &Gap) {
        self.push(activity, transition, gap);
        let knows_who = matches!(activity, Activity::WorkFraud | Activity::WorkValidate);
        if !knows_who && self.rng.chance(profile::NOBODY) {
            self.steps.last_mut().expect("a step was just pushed").resource = 0;
        }
    }
}
