//! Models of the slab: complete against poll, against drop, and reuse by another thread.

use std::task::{Context, Poll, Waker};

use downbeat_record::{Seq, Timestamp};
use loom::future::block_on;
use loom::thread;

use super::{Outcome, Receipt, Settled, Slab, TicketId};
use crate::loom_mutants::check;
use crate::sync::Arc;

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

pub(crate) fn complete_against_await() {
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
pub(crate) fn complete_drop_and_use_again() {
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
pub(crate) fn take_and_free() {
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

/// A holder lets go while its ticket is completed; another thread may use the slot again.
pub(crate) fn let_go_and_used_by_another() {
    let slab = Arc::new(Slab::new(1));
    let first = slab.take().unwrap();
    let completes = {
        let slab = slab.clone();
        thread::spawn(move || slab.complete(first, placed(1)))
    };
    let takes = {
        let slab = slab.clone();
        thread::spawn(move || {
            if let Some(second) = slab.take() {
                slab.register(second, Waker::noop());
                slab.undo(second);
            }
        })
    };
    let polled = poll(&slab, first, &mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending() || polled == Poll::Ready(placed(1)));
    slab.drop_ticket(first, true);
    completes.join().unwrap();
    takes.join().unwrap();
}

#[test]
fn a_slot_is_used_again_only_after_its_holder_took_the_waker_out() {
    check(let_go_and_used_by_another);
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
