//! The numbers of the real log that traffic is drawn from.
//!
//! Counts are of its 13,087 applications; means are of how often work was taken up, in thousandths. Durations and
//! amounts are points of their distributions, drawn from with everything between two points equally likely.

use super::rng::Rng;
use crate::summary::Outcome;

/// How far an application gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Submitted,
    Preaccepted,
    Accepted,
    Offered,
}

/// A way through the process: how often it is taken and what is done on it.
pub(super) struct Route {
    pub(super) stage: Stage,
    pub(super) outcome: Outcome,
    /// Applications without and with work on leads.
    weights: [u32; 2],
    /// Of those, checked for fraud.
    fraud: [u32; 2],
    /// Rounds of completing the application.
    pub(super) complete_mean: u32,
}

const fn route(
    stage: Stage,
    outcome: Outcome,
    weights: [u32; 2],
    fraud: [u32; 2],
    complete_mean: u32,
) -> Route {
    Route { stage, outcome, weights, fraud, complete_mean }
}

const ROUTES: [Route; 12] = [
    route(Stage::Submitted, Outcome::Declined, [3480, 2239], [51, 14], 0),
    route(Stage::Submitted, Outcome::Cancelled, [0, 1], [0, 0], 0),
    route(Stage::Preaccepted, Outcome::Cancelled, [722, 378], [2, 1], 6765),
    route(Stage::Preaccepted, Outcome::Declined, [386, 699], [1, 1], 3080),
    route(Stage::Preaccepted, Outcome::Open, [44, 25], [0, 0], 10_203),
    route(Stage::Accepted, Outcome::Cancelled, [48, 18], [1, 0], 3864),
    route(Stage::Accepted, Outcome::Declined, [13, 16], [0, 0], 2310),
    route(Stage::Accepted, Outcome::Open, [3, 0], [0, 0], 12_667),
    route(Stage::Offered, Outcome::Approved, [1673, 573], [22, 8], 2183),
    route(Stage::Offered, Outcome::Cancelled, [1185, 455], [0, 0], 2560),
    route(Stage::Offered, Outcome::Declined, [543, 259], [5, 1], 2541),
    route(Stage::Offered, Outcome::Open, [235, 92], [1, 0], 2997),
];

const ROUTE_WEIGHTS: [u32; 24] = {
    let mut weights = [0; 24];
    let mut index = 0;
    while index < 24 {
        weights[index] = ROUTES[index / 2].weights[index % 2];
        index += 1;
    }
    weights
};

/// A route, whether it has work on leads, and whether it is checked for fraud.
pub(super) fn pick_route(rng: &mut Rng) -> (&'static Route, bool, bool) {
    let index = rng.weighted(&ROUTE_WEIGHTS);
    let (route, leads) = (&ROUTES[index / 2], index % 2);
    let fraud = rng.below(route.weights[leads]) < route.fraud[leads];
    (route, leads == 1, fraud)
}

/// What is done about the offers of an application, by its outcome.
pub(super) struct Offers {
    /// Applications with one, two, … offers.
    pub(super) counts: [u32; 7],
    /// Rounds of calling about an offer.
    pub(super) call_mean: u32,
    /// Offers sent back none, one or two times.
    pub(super) sent_back: [u32; 3],
    /// Rounds of each validation of what was sent back.
    pub(super) validate_mean: u32,
    /// Of those sent back, with documents missing, in thousandths.
    pub(super) documents: u32,
    /// Rounds of calling about missing documents.
    pub(super) documents_mean: u32,
}

pub(super) const fn offers(outcome: Outcome) -> Offers {
    match outcome {
        Outcome::Approved => Offers {
            counts: [1538, 440, 206, 33, 20, 6, 3],
            call_mean: 3260,
            sent_back: [0, 2067, 179],
            validate_mean: 1400,
            documents: 780,
            documents_mean: 4430,
        },
        Outcome::Cancelled => Offers {
            counts: [1222, 338, 50, 21, 8, 1, 0],
            call_mean: 6130,
            sent_back: [1482, 153, 5],
            validate_mean: 2370,
            documents: 990,
            documents_mean: 10_700,
        },
        Outcome::Declined => Offers {
            counts: [607, 156, 31, 7, 1, 0, 0],
            call_mean: 3850,
            sent_back: [48, 746, 8],
            validate_mean: 1370,
            documents: 377,
            documents_mean: 5200,
        },
        Outcome::Open => Offers {
            counts: [210, 93, 15, 5, 3, 1, 0],
            call_mean: 4350,
            sent_back: [231, 91, 5],
            validate_mean: 1000,
            documents: 900,
            documents_mean: 5300,
        },
    }
}

/// Rounds of work on leads.
pub(super) const LEADS_MEAN: u32 = 1240;
/// Rounds of a fraud check.
pub(super) const FRAUD_MEAN: u32 = 2500;
/// Fraud checks put on a list before they are taken up, beyond the first, in thousandths.
pub(super) const FRAUD_AGAIN: u32 = 148;
/// Cancelled applications whose open work is put down without being taken up, in thousandths.
pub(super) const PUT_DOWN: u32 = 365;
/// Approved applications whose contract is changed, in thousandths.
pub(super) const CONTRACT: u32 = 5;
/// Work taken up or put down by nobody in particular, in thousandths.
pub(super) const NOBODY: u32 = 125;

/// How long after the step before: the 0th, 10th, 25th, 50th, 75th, 90th and about the 99th percentile, in ms.
pub(super) struct Gap([u32; 7]);

impl Gap {
    pub(super) const NONE: Self = Self([0; 7]);
    pub(super) const SYSTEM: Self = Self([100, 100, 200, 300, 500, 1_100, 10_000]);
    pub(super) const DECISION: Self = Self([5_000, 27_600, 36_000, 42_000, 90_000, 350_000, 2_000_000]);
    pub(super) const DESK: Self = Self([600, 1_500, 5_000, 60_000, 170_000, 400_000, 1_500_000]);
    pub(super) const LEADS: Self = Self([0, 9_600, 18_200, 60_800, 2_494_700, 38_876_500, 90_000_000]);
    pub(super) const FRAUD: Self = Self([0, 7_100, 26_500, 571_600, 40_390_100, 153_461_600, 500_000_000]);
    pub(super) const COMPLETE: Self = Self([0, 400, 5_900, 3_516_000, 35_309_500, 87_367_500, 520_000_000]);
    pub(super) const CALL_OFFER: Self =
        Self([100, 100, 10_000, 59_399_300, 358_339_600, 619_572_600, 1_200_000_000]);
    pub(super) const VALIDATE: Self = Self([0, 200, 500, 784_200, 69_089_200, 271_516_100, 520_000_000]);
    pub(super) const CALL_DOCUMENTS: Self =
        Self([100, 32_700, 679_200, 3_709_500, 26_754_400, 133_466_900, 520_000_000]);
    pub(super) const CONTRACT: Self =
        Self([5_400, 7_100, 12_900, 366_800, 259_265_900, 1_223_509_300, 2_400_000_000]);

    pub(super) fn draw(&self, rng: &mut Rng) -> u32 {
        /// For each twentieth of all draws, the point it starts from.
        const FROM: [u8; 20] = [0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5];
        let from = usize::from(FROM[rng.below(20) as usize]);
        let (low, high) = (self.0[from], self.0[from + 1]);
        low + rng.below(high - low)
    }
}

/// Who works on applications, busiest first; the first is the system itself.
const RESOURCES: [u16; 60] = [
    112, 11169, 10138, 11181, 10861, 10609, 10913, 11189, 11180, 11119, 10909, 10972, 11203, 11201, 10982,
    11122, 11049, 10629, 10910, 11259, 10899, 10809, 10932, 11121, 10881, 11000, 11179, 11003, 10929, 11009,
    10889, 10863, 10939, 10912, 11019, 11289, 11002, 10933, 10931, 11202, 11200, 10789, 11302, 10935, 11300,
    11299, 11319, 11309, 11120, 10880, 10228, 10188, 10862, 10914, 10971, 11029, 10859, 11001, 10779, 11339,
];

/// The system.
pub(super) const SYSTEM: u16 = RESOURCES[0];

/// A person: those in the first half of the list twice as often.
pub(super) fn person(rng: &mut Rng) -> u16 {
    let people = RESOURCES.len() as u32 - 1;
    let index = rng.below(people + people / 2);
    RESOURCES[1 + (index % people) as usize]
}

/// Requested amounts: every 128th part of the applications, by amount, in euro.
const AMOUNTS_EUR: [u32; 129] = [
    0, 500, 1000, 1000, 1500, 1500, 2000, 2000, 2500, 2500, 2500, 3000, 3000, 3000, 3500, 3600, 4000, 4000,
    4900, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000,
    5000, 5000, 5000, 5500, 6000, 6000, 6000, 6000, 6000, 6500, 6550, 7000, 7000, 7000, 7500, 7500, 7500,
    7500, 7500, 8000, 8000, 8000, 8000, 8500, 9000, 9000, 9950, 10000, 10000, 10000, 10000, 10000, 10000,
    10000, 10000, 10000, 10000, 10000, 10000, 10000, 10500, 11000, 12000, 12000, 12500, 12595, 13000, 14000,
    15000, 15000, 15000, 15000, 15000, 15000, 15000, 15000, 15000, 15000, 15500, 16000, 17000, 17600, 18497,
    20000, 20000, 20000, 20000, 20000, 20000, 21000, 22500, 24063, 25000, 25000, 25000, 25000, 25000, 25500,
    27500, 30000, 30000, 30000, 30000, 33000, 35000, 36000, 40000, 40000, 45000, 50000, 50000, 50000, 50000,
    99999,
];

/// A requested amount: mostly a round one, now and then any.
pub(super) fn amount_eur(rng: &mut Rng) -> u64 {
    let from = rng.below(128) as usize;
    let (low, high) = (AMOUNTS_EUR[from], AMOUNTS_EUR[from + 1]);
    let amount = if rng.chance(940) { low } else { low + rng.below(high - low + 1) };
    u64::from(amount)
}
