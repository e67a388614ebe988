//! What became of the applications, computed the obvious way: the oracle that every other computation is held to.
//!
//! An application is *approved* when it had `A_APPROVED`, *declined* when it had `A_DECLINED`, *cancelled* when
//! it had `A_CANCELLED`, else *open*. In the real log no application has two of them; where one has, the first of
//! this list counts and [`Summary::contradictory`] says so.
//!
//! An application was made *several offers* when `O_SENT` completed more than once for it: an offer counts when
//! the customer gets it. In the real log every created offer was sent, so counting `O_CREATED` gives the same.

use std::collections::BTreeMap;

use downbeat::Shaped;
use rkyv::{Archive, Deserialize, Serialize};

use crate::activity::{Activity, Transition};
use crate::input::{CaseId, LoanInput};

/// How an application ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Shaped, Archive, Serialize, Deserialize,
)]
#[shaped(crate = downbeat::record)]
#[rkyv(derive(Clone, Copy, Debug, PartialEq, Eq))]
pub enum Outcome {
    /// The loan was granted.
    Approved,
    /// The bank said no.
    Declined,
    /// The customer said no, or nothing.
    Cancelled,
    /// Not decided within the log.
    Open,
}

/// Applications that ended in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub applications: u64,
    /// What they asked for together, in euro; an application without a known amount adds nothing.
    pub amount_eur: u64,
}

/// What became of all applications of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All events.
    pub events: u64,
    /// All applications.
    pub applications: u64,
    /// Those that had `A_APPROVED`.
    pub approved: Group,
    /// Those that had `A_DECLINED`.
    pub declined: Group,
    /// Those that had `A_CANCELLED`.
    pub cancelled: Group,
    /// Those that had none of them.
    pub open: Group,
    /// Those that had more than one of them.
    pub contradictory: u64,
    /// Completed `O_SENT` events.
    pub offers_sent: u64,
    /// Applications with at least one offer sent.
    pub with_offer: u64,
    /// Applications with more than one offer sent.
    pub with_several_offers: u64,
    /// Applications with more than one offer created, sent or not.
    pub with_several_offers_created: u64,
    /// Applications on which there was any work of `W_Beoordelen fraude`.
    pub fraud_checked: u64,
    /// Events of `W_Beoordelen fraude`.
    pub fraud_events: u64,
}

impl Summary {
    /// Summarises events in any order; of several amounts of one application the first counts.
    pub fn of(inputs: &[LoanInput]) -> Self {
        let mut applications: BTreeMap<CaseId, Application> = BTreeMap::new();
        for input in inputs {
            applications.entry(input.case).or_default().apply(input);
        }
        let mut summary = Self { events: inputs.len() as u64, ..Self::default() };
        for application in applications.values() {
            summary.add(application);
        }
        summary
    }

    /// The applications that ended in this way.
    pub fn group(&self, outcome: Outcome) -> Group {
        match outcome {
            Outcome::Approved => self.approved,
            Outcome::Declined => self.declined,
            Outcome::Cancelled => self.cancelled,
            Outcome::Open => self.open,
        }
    }

    /// Puts one application into its group.
    pub(crate) fn count(&mut self, outcome: Outcome, amount_eur: Option<u64>) {
        let group = match outcome {
            Outcome::Approved => &mut self.approved,
            Outcome::Declined => &mut self.declined,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Open => &mut self.open,
        };
        group.applications += 1;
        // Saturates, because amounts come from outside and a sum of them must not panic.
        group.amount_eur = group.amount_eur.saturating_add(amount_eur.unwrap_or(0));
        self.applications += 1;
    }

    fn add(&mut self, application: &Application) {
        self.count(application.outcome(), application.amount_eur);
        self.contradictory += u64::from(application.is_contradictory());
        self.offers_sent += application.sent;
        self.with_offer += u64::from(application.sent > 0);
        self.with_several_offers += u64::from(application.sent > 1);
        self.with_several_offers_created += u64::from(application.created > 1);
        self.fraud_checked += u64::from(application.fraud > 0);
        self.fraud_events += application.fraud;
    }
}

#[derive(Default)]
struct Application {
    approved: bool,
    declined: bool,
    cancelled: bool,
    created: u64,
    sent: u64,
    fraud: u64,
    /// The first one known.
    amount_eur: Option<u64>,
}

impl Application {
    fn apply(&mut self, input: &LoanInput) {
        let completed = u64::from(input.transition == Transition::Complete);
        match input.activity {
            Activity::ApplicationApproved => self.approved = true,
            Activity::ApplicationDeclined => self.declined = true,
            Activity::ApplicationCancelled => self.cancelled = true,
            Activity::OfferCreated => self.created += completed,
            Activity::OfferSent => self.sent += completed,
            Activity::WorkFraud => self.fraud += 1,
            _ => {}
        }
        self.amount_eur = self.amount_eur.or(input.amount_eur);
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self { approved: true, .. } => Outcome::Approved,
            Self { declined: true, .. } => Outcome::Declined,
            Self { cancelled: true, .. } => Outcome::Cancelled,
            _ => Outcome::Open,
        }
    }

    fn is_contradictory(&self) -> bool {
        u8::from(self.approved) + u8::from(self.declined) + u8::from(self.cancelled) > 1
    }
}
