//! The flow of a loan: what the bank does about the events of its applications, in five stages and a leaf.
//!
//! ```text
//!                ┌─► application ──ApplicationMoved────────────┐
//!  loan.Recorded ┼─► credit ──CreditScore──┐                   ├─► decision ──► loan.Decided, logged
//!                └─► fraud ───FraudCheck───┴─► offer ──OfferStep┘      │ Decided
//!                                                │ OfferStep           ▼
//!                                                └──────────────────► notify: a line in a file
//! ```
//!
//! All stages are keyed by the case, so each sees one application at a time and may run in any number of shards.
//! `offer` joins `credit` and `fraud`, `decision` joins `application` and `offer`: for each event a join waits
//! until both have passed it, so what it sees does not depend on which of them was faster.

mod application;
mod credit;
mod decision;
mod event;
mod fraud;
mod notify;
mod offer;
mod states;

#[cfg(test)]
mod bench;

use std::path::PathBuf;

use downbeat::Flow;

pub use application::{Application, ApplicationMoved, ApplicationState};
pub use credit::{Credit, CreditScore, CreditState};
pub use decision::{Decision, DecisionState};
pub use event::{Decided, Recorded};
pub use fraud::{Fraud, FraudCheck, FraudState};
pub use notify::Notify;
pub use offer::{Offer, OfferState, OfferStep};
pub use states::{add_application, add_fraud, add_offers, summary_of_states};

/// The loan flow. Notifications go to a file, one a line; without a file nobody is notified.
///
/// ```
/// let flow = downbeat_example_loan::flow(None);
/// let stages: Vec<_> = flow.stages().iter().map(|stage| &*stage.name).collect();
/// assert_eq!(stages, ["application", "credit", "fraud", "offer", "decision"]);
/// ```
pub fn flow(notifications: Option<PathBuf>) -> Flow {
    Flow::named("loan")
        .stage("application", Application)
        .on::<Recorded>()
        .stage("credit", Credit)
        .on::<Recorded>()
        .stage("fraud", Fraud)
        .on::<Recorded>()
        .stage("offer", Offer)
        .after(["credit", "fraud"])
        .stage("decision", Decision)
        .after(["application", "offer"])
        .emits::<Decided>()
        .leaf("notify", Notify::new(notifications))
        .after(["offer", "decision"])
        .build()
        .expect("the stages are declared in an order in which each comes after those it waits for")
}
