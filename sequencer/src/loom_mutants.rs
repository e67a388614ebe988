//! The mutants: for every ordering that a proof rests on, a model that fails when it is weakened.
//!
//! A test here is named after its [`Site`] and runs a model that holds, with that one ordering weakened. When it
//! does not fail, the mutant has survived: the model is too weak, or the ordering is stronger than it has to be.

use crate::doorbell::loom_doorbell as doorbell;
use crate::ring::loom_ring as ring;
use crate::sync::{Site, weaken};
use crate::ticket::slab::loom_slab as slab;

/// Every interleaving with up to three preemptions: more finds nothing new in these models and takes hours.
pub(crate) fn check(model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

macro_rules! mutants {
    ($($site:ident: $model:path, $fails:literal;)+) => {
        /// Does not compile while a site has no mutant.
        const _: fn(Site) = |site| match site {
            $(Site::$site => (),)+
        };

        $(
            #[test]
            #[should_panic(expected = $fails)]
            #[allow(non_snake_case)]
            fn $site() {
                weaken(Site::$site, || check($model));
            }
        )+
    };
}

mutants! {
    RingCommit: ring::two_producers, "Causality violation";
    RingCommitted: ring::two_producers, "Causality violation";
    RingHead: ring::a_second_lap, "Causality violation";
    RingRoom: ring::a_second_lap, "Causality violation";
    RingHeadNoted: ring::room_is_handed_on, "Causality violation";
    RingHeadSeen: ring::room_is_handed_on, "Causality violation";
    BellRing: doorbell::going_to_sleep, "asleep on two events";
    BellArm: doorbell::going_to_sleep, "asleep on two events";
    TicketSettled: slab::complete_against_await, "left == right";
    TicketSettle: slab::complete_against_await, "is said to be there and is not visible";
    TicketDone: slab::complete_against_await, "left == right";
    TicketWaits: slab::complete_against_await, "is said to be there and is not visible";
    TicketDrop: slab::complete_drop_and_use_again, "the outcome of another use";
    TicketDropped: slab::let_go_and_used_by_another, "has not let go of the waker";
    TicketFree: slab::take_and_free, "ticket slot";
    TicketTake: slab::take_and_free, "ticket slot";
}
