//! The summary, taken from the states of the stages: what the flow knows when the log ends.
//!
//! [`Summary::of`] computes the same from the input alone; a test holds the two together. The parts are
//! functions of one state each, so that whoever can show the states can have the summary: a live engine, or a
//! replay.

use downbeat::{Engine, Key};

use super::application::{Application, ApplicationState};
use super::fraud::{Fraud, FraudState};
use super::offer::{Offer, OfferState};
use crate::summary::Summary;

/// The summary of a live engine; `None` when it does not run the loan flow.
pub fn summary_of_states(engine: &Engine) -> Option<Summary> {
    let summary = Summary::default();
    let summary = engine.fold_states::<Application, _>("application", summary, add_application)?;
    let summary = engine.fold_states::<Offer, _>("offer", summary, add_offers)?;
    engine.fold_states::<Fraud, _>("fraud", summary, add_fraud)
}

/// Puts in what stage `application` knows about one application.
#[must_use]
pub fn add_application(mut summary: Summary, _: Key, application: &ApplicationState) -> Summary {
    summary.count(application.outcome(), application.amount_eur);
    summary.events += u64::from(application.events);
    summary.contradictory += u64::from(application.is_contradictory());
    summary
}

/// Puts in what stage `offer` knows about one application.
#[must_use]
pub fn add_offers(mut summary: Summary, _: Key, offers: &OfferState) -> Summary {
    summary.offers_sent += u64::from(offers.sent);
    summary.with_offer += u64::from(offers.sent > 0);
    summary.with_several_offers += u64::from(offers.sent > 1);
    summary.with_several_offers_created += u64::from(offers.created > 1);
    summary
}

/// Puts in what stage `fraud` knows about one application.
#[must_use]
pub fn add_fraud(mut summary: Summary, _: Key, fraud: &FraudState) -> Summary {
    summary.fraud_checked += u64::from(fraud.events > 0);
    summary.fraud_events += u64::from(fraud.events);
    summary
}
