//! loom: a waiter that raises its flag, looks once more and sleeps is woken by whoever moves.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::Waiting;

/// `take` is what the mover does after its move; the model fails when the waiter sleeps although it moved.
fn model(take: fn(&Waiting, &AtomicBool) -> bool, raise: fn(&Waiting, &AtomicBool)) {
    loom::model(move || {
        let shared =
            Arc::new((Waiting::default(), AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(false)));
        let mover = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.2.store(1, Ordering::Release);
                if take(&shared.0, &shared.1) {
                    shared.3.store(true, Ordering::Release);
                }
            })
        };
        raise(&shared.0, &shared.1);
        let seen = shared.2.load(Ordering::Acquire) == 1;
        mover.join().unwrap();
        assert!(seen || shared.3.load(Ordering::Acquire), "the waiter sleeps and nobody wakes it");
    });
}

#[test]
fn loom_a_waiter_never_sleeps_through_a_move() {
    model(|waiting, _| waiting.take(), |waiting, _| waiting.raise());
}

#[test]
#[should_panic(expected = "nobody wakes it")]
fn loom_the_fence_of_the_mover_is_needed() {
    model(
        |_, flag| flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel),
        |_, flag| {
            flag.store(true, Ordering::Relaxed);
            loom::sync::atomic::fence(Ordering::SeqCst);
        },
    );
}

#[test]
#[should_panic(expected = "nobody wakes it")]
fn loom_the_fence_of_the_waiter_is_needed() {
    model(
        |_, flag| {
            loom::sync::atomic::fence(Ordering::SeqCst);
            flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel)
        },
        |_, flag| flag.store(true, Ordering::Relaxed),
    );
}
