//! The mutants: for every ordering that a proof rests on, a model that fails when it is weakened.
//!
//! A test here is named after its [`Site`] and runs a model that holds, with that one ordering weakened. When it
//! does not fail, the mutant has survived: the model is too weak, or the ordering is stronger than it has to be.

use crate::backlog::loom_backlog as backlog;
use crate::doorbell::loom_doorbell as doorbell;
use crate::order::loom_order as order;
use crate::poller::loom_poller as poller;
use crate::sync::{Site, weaken};
use crate::waiting::loom_waiting as waiting;
use crate::words::loom_words as words;

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
    DoorbellRing: doorbell::two_ringers, "nobody rings";
    DoorbellAnswer: doorbell::two_ringers, "nobody rings";
    LookingSeen: poller::seen_or_woken, "wakes nobody";
    LookingEnd: poller::seen_or_woken, "wakes nobody";
    WordsPublish: words::looked_at_early, "whole and in order";
    WordsPublished: words::looked_at_early, "whole and in order";
    WordsFree: words::round_after_round, "which is not taken";
    WordsFreed: words::round_after_round, "which is not taken";
    CursorPass: words::round_after_round, "what the cursor has passed is on the lane";
    CursorPassed: words::round_after_round, "what the cursor has passed is on the lane";
    WaitingTake: waiting::a_move_and_a_waiter, "nobody wakes it";
    WaitingRaise: waiting::a_move_and_a_waiter, "nobody wakes it";
    OrderMoved: order::a_cursor_moves, "nobody wakes it";
    OrderArm: order::a_cursor_moves, "nobody wakes it";
    BacklogRaise: backlog::room_comes_while_commands_wait, "held back and nobody rings";
    BacklogLower: backlog::quiet_after_all, "nothing is held back and a command is missing";
    BacklogDown: backlog::quiet_after_all, "nothing is held back and a command is missing";
}
