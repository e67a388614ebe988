//! Models of a ticket whose sequencer leaves: an answer that was given counts, and nobody waits for ever.

use loom::future::block_on;
use loom::thread;

use super::*;
use crate::ingress::{Lane, Shared};
use crate::loom_mutants::check;
use crate::ring::Drain;
use crate::settings::Settings;

/// A ticket in flight, and what the sequencer holds. The model keeps what is shared until its threads are done: loom
/// does not see that the last owner of a standard `Arc` comes after all others.
fn world() -> (Ticket, TicketId, std::sync::Arc<Shared>, [Drain; 2]) {
    let settings = Settings { ring_bytes: 128, derived_ring_bytes: 128, tickets: 1, ..Settings::default() };
    let (shared, drains) = Shared::new(&settings, 1, None);
    let id = shared.slab.take().unwrap();
    let ticket = Ticket::new(Arc::new(Handle::new(shared.clone(), Lane::Outside)), id);
    (ticket, id, shared, drains)
}

fn placed() -> Receipt {
    Receipt { seq: Seq(7), timestamp: Timestamp(8), duplicate: false }
}

/// The sequencer answers and leaves while the holder waits.
fn answered_and_left() {
    let (ticket, id, shared, _drains) = world();
    let leaving = shared.clone();
    let sequencer = thread::spawn(move || {
        leaving.slab.complete(id, Outcome::Placed(placed()));
        leaving.door.leave();
        leaving.slab.wake_all();
    });
    let receipt = block_on(ticket).expect("the holder has an answer and is told that nobody is there");
    assert_eq!(receipt, placed());
    sequencer.join().unwrap();
    drop(shared);
}

/// Whether the waker was called. Not an atomic of the model: it is what has happened.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// The sequencer leaves without an answer while the holder begins to wait.
fn left(leave: fn(&Shared)) {
    let (mut ticket, _, shared, _drains) = world();
    let leaving = shared.clone();
    let sequencer = thread::spawn(move || leave(&leaving));
    let woken = Arc::new(Woken::default());
    let answer = ticket.poll_once(&mut Context::from_waker(&woken.clone().into()));
    sequencer.join().unwrap();
    let is_woken = woken.0.load(std::sync::atomic::Ordering::SeqCst);
    assert!(answer.is_ready() || is_woken, "the holder waits and nobody wakes it");
    let answer = ticket.done().or(shared.door.gone().map(|cause| Err(SubmitError::Poisoned { cause })));
    assert!(matches!(answer, Some(Err(SubmitError::Poisoned { .. }))), "{answer:?}");
    drop((ticket, shared));
}

#[test]
fn an_answer_that_was_given_before_the_sequencer_left_counts() {
    check(answered_and_left);
}

#[test]
fn nobody_waits_for_a_sequencer_that_left() {
    check(|| {
        left(|shared| {
            shared.door.leave();
            shared.slab.wake_all();
        });
    });
}

/// Whoever is woken before the door says why would wait again.
#[test]
#[should_panic(expected = "the holder waits and nobody wakes it")]
fn waking_before_leaving_loses_a_wake_up() {
    check(|| {
        left(|shared| {
            shared.slab.wake_all();
            shared.door.leave();
        });
    });
}
