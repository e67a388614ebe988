//! What can happen to a loan application: the 24 activities of the real log and their lifecycle transitions.
//!
//! `A_*` is the state of the application, `O_*` the state of an offer, `W_*` manual work; only work is
//! scheduled and started, everything else completes at once. The texts are the log's own, Dutch included, and
//! parsing is exact: case and spaces count.

use std::fmt;
use std::str::FromStr;

use downbeat::Shaped;
use rkyv::{Archive, Archived, Deserialize, Serialize};

/// A text that is not an [`Activity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown activity, expected one of the log's 24, such as \"A_SUBMITTED\"")]
pub struct UnknownActivity;

/// A text that is not a [`Transition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown transition, expected SCHEDULE, START or COMPLETE")]
pub struct UnknownTransition;

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident, $unknown:ident: $($(#[$each:meta])* $variant:ident = $text:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Shaped, Archive, Serialize, Deserialize)]
        #[shaped(crate = downbeat::record)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$each])* $variant,)+
        }

        impl From<&Archived<$name>> for $name {
            #[inline]
            fn from(archived: &Archived<$name>) -> Self {
                match archived {
                    $(Archived::<$name>::$variant => Self::$variant,)+
                }
            }
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The log's own text.
            #[inline]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = $unknown;

            fn from_str(text: &str) -> Result<Self, $unknown> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($unknown),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

texts! {
    /// The log's `concept:name`: what was done.
    Activity, UnknownActivity:
    /// The customer sent the application.
    ApplicationSubmitted = "A_SUBMITTED",
    /// It was taken in.
    ApplicationPartlySubmitted = "A_PARTLYSUBMITTED",
    /// It passed the first check and needs to be completed.
    ApplicationPreaccepted = "A_PREACCEPTED",
    /// It is complete; an offer can be made.
    ApplicationAccepted = "A_ACCEPTED",
    /// An offer is being made.
    ApplicationFinalized = "A_FINALIZED",
    /// The loan is granted: a final state.
    ApplicationApproved = "A_APPROVED",
    /// The granted loan is in the books.
    ApplicationRegistered = "A_REGISTERED",
    /// The granted loan is paid out.
    ApplicationActivated = "A_ACTIVATED",
    /// The bank said no: a final state.
    ApplicationDeclined = "A_DECLINED",
    /// The customer said no, or nothing: a final state.
    ApplicationCancelled = "A_CANCELLED",
    /// A product was chosen for an offer.
    OfferSelected = "O_SELECTED",
    /// The offer was written.
    OfferCreated = "O_CREATED",
    /// The offer went to the customer.
    OfferSent = "O_SENT",
    /// The customer sent it back, signed.
    OfferSentBack = "O_SENT_BACK",
    /// The offer became the loan.
    OfferAccepted = "O_ACCEPTED",
    /// The offer was withdrawn, often for a better one.
    OfferCancelled = "O_CANCELLED",
    /// The offer fell with the application.
    OfferDeclined = "O_DECLINED",
    /// Work: follow up an incomplete first contact.
    WorkLeads = "W_Afhandelen leads",
    /// Work: complete a preaccepted application.
    WorkComplete = "W_Completeren aanvraag",
    /// Work: call the customer about a sent offer.
    WorkCallOffer = "W_Nabellen offertes",
    /// Work: assess what the customer sent back.
    WorkValidate = "W_Valideren aanvraag",
    /// Work: call the customer about missing documents.
    WorkCallDocuments = "W_Nabellen incomplete dossiers",
    /// Work: check for fraud.
    WorkFraud = "W_Beoordelen fraude",
    /// Work: change an approved contract.
    WorkContract = "W_Wijzigen contractgegevens",
}

texts! {
    /// The log's `lifecycle:transition`: how far it got.
    Transition, UnknownTransition:
    /// Put on somebody's list.
    Schedule = "SCHEDULE",
    /// Taken up.
    Start = "START",
    /// Done, or put down again.
    Complete = "COMPLETE",
}

impl Activity {
    /// True for the `A_*` activities: the application moved.
    #[inline]
    pub const fn is_application(self) -> bool {
        (self as u8) < Self::OfferSelected as u8
    }

    /// True for the `W_*` activities, which people do.
    #[inline]
    pub const fn is_work(self) -> bool {
        self as u8 >= Self::WorkLeads as u8
    }

    /// Whether the pair is one of the 36 of the real log. A reader accepts the others too.
    #[inline]
    pub const fn occurs_with(self, transition: Transition) -> bool {
        match self {
            Self::WorkContract => matches!(transition, Transition::Schedule),
            _ if self.is_work() => true,
            _ => matches!(transition, Transition::Complete),
        }
    }
}

/// The 36 pairs of the real log, in the order of their numbers.
pub fn pairs() -> impl Iterator<Item = (Activity, Transition)> {
    Activity::ALL
        .iter()
        .flat_map(|&activity| Transition::ALL.iter().map(move |&transition| (activity, transition)))
        .filter(|(activity, transition)| activity.occurs_with(*transition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back_as_itself() {
        assert_eq!(Activity::ALL.len(), 24);
        for activity in Activity::ALL {
            assert_eq!(activity.to_string().parse(), Ok(*activity));
        }
        for transition in Transition::ALL {
            assert_eq!(transition.to_string().parse(), Ok(*transition));
        }
    }

    #[test]
    fn there_are_36_pairs() {
        assert_eq!(pairs().count(), 36);
    }

    #[test]
    fn an_unknown_text_is_an_error() {
        for text in ["", "a_submitted", "A_SUBMITTED ", "W_Afhandelen", "A_SUBMITTED\0"] {
            assert_eq!(text.parse::<Activity>(), Err(UnknownActivity));
        }
        assert_eq!("complete".parse::<Transition>(), Err(UnknownTransition));
    }
}
