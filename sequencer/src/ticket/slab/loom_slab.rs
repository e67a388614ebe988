//! Models of the slab: complete against poll, against drop, and reuse by another thread.

use std::task::{Context, Poll};

use downbeat_record::{Seq, Timestamp};
use loom::future::block_on;
use loom::thread;

use super::{Outcome, Receipt, Settled, Slab, TicketId};
use crate::sync::{Arc, Site, weaken};

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn placed(seq: u64) -> Outcome {
    Outcome::Placed(Receipt { seq: Seq(seq), timestamp: Timestamp(seq + 1), duplicate: false })
}

/// What [`crate::Ticket`] does when it is polled.
fn poll(slab: &Slab, id: TicketId, context: &mut Context<'_>) -> Poll<Outcome> {
    if let Some(outcome) = slab.outcome(id) {
        return Poll::Ready(outcome);
    }
    slab.register(id, context.waker());
    slab.outcome(id).map_or(Poll::Pending, Poll::Ready)
}

fn complete_against_await() {
    let slab = Arc::new(Slab::new(1));
    let id = slab.take().unwrap();
    let other = slab.clone();
    let sequencer = thread::spawn(move || other.complete(id, placed(7)));
    let outcome = block_on(std::future::poll_fn(|context| poll(&slab, id, context)));
    assert_eq!(outcome, placed(7));
    slab.drop_ticket(id, true);
    sequencer.join().unwrap();
    assert!(slab.take().is_some(), "both let go");
}

/// The sequencer may still be waking the first use of the slot while its second use waits.
fn complete_drop_and_use_again() {
    let slab = Arc::new(Slab::new(1));
    let first = slab.take().unwrap();
    let other = slab.clone();
    let sequencer = thread::spawn(move || {
        other.complete(first, placed(1));
    });
    slab.drop_ticket(first, false);
    if let Some(second) = slab.take() {
        let other = slab.clone();
        let completes = thread::spawn(move || {
            other.complete(second, placed(2));
        });
        let outcome = block_on(std::future::poll_fn(|context| poll(&slab, second, context)));
        assert_eq!(outcome, placed(2), "the outcome of another use");
        completes.join().unwrap();
    }
    sequencer.join().unwrap();
}

/// The sequencer says the outcome of two tickets and only then wakes whoever waited.
fn settle_two_and_wake_then() {
    let slab = Arc::new(Slab::new(2));
    let ids = [slab.take().unwrap(), slab.take().unwrap()];
    let other = slab.clone();
    let sequencer = thread::spawn(move || {
        let settled = [1, 2].map(|n| other.settle(ids[n - 1], placed(n as u64)));
        for (id, settled) in ids.into_iter().zip(settled) {
            if settled == Settled::Waited {
                other.wake(id);
            }
        }
    });
    for (id, seq) in ids.into_iter().zip([1, 2]) {
        let outcome = block_on(std::future::poll_fn(|context| poll(&slab, id, context)));
        assert_eq!(outcome, placed(seq));
        slab.drop_ticket(id, true);
    }
    sequencer.join().unwrap();
    assert!(slab.take().is_some() && slab.take().is_some(), "both let go");
}

/// Two threads take and give back slots; nobody gets one that is in use.
fn take_and_free() {
    let slab = Arc::new(Slab::new(2));
    let threads = [(); 2].map(|()| {
        let slab = slab.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                let id = slab.take().expect("two slots for two threads");
                slab.undo(id);
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(slab.take().is_some() && slab.take().is_some() && slab.take().is_none());
}

#[test]
fn a_waiting_ticket_is_woken_with_its_outcome() {
    check(complete_against_await);
}

#[test]
fn a_slot_used_again_gets_only_its_own_outcome() {
    check(complete_drop_and_use_again);
}

#[test]
fn who_waits_is_woken_after_all_outcomes_are_said() {
    check(settle_two_and_wake_then);
}

#[test]
fn no_slot_is_given_to_two() {
    check(take_and_free);
}

#[test]
#[should_panic(expected = "left == right")]
fn the_release_of_the_outcome_is_needed() {
    weaken(Site::TicketComplete, || check(complete_against_await));
}

#[test]
#[should_panic(expected = "left == right")]
fn the_acquire_of_the_outcome_is_needed() {
    weaken(Site::TicketDone, || check(complete_against_await));
}

#[test]
#[should_panic(expected = "ticket slot")]
fn the_handing_on_of_a_free_slot_is_needed() {
    weaken(Site::TicketFree, || check(take_and_free));
}
