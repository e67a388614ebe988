//! loom: a waiter that raises its flag, looks once more and sleeps is woken by whoever moves.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::Waiting;
use crate::loom_mutants::check;

struct World {
    waiting: Waiting,
    position: AtomicU64,
    woken: AtomicBool,
}

fn world() -> Arc<World> {
    let (position, woken) = (AtomicU64::new(0), AtomicBool::new(false));
    Arc::new(World { waiting: Waiting::default(), position, woken })
}

/// One moves while the other goes to sleep.
pub(crate) fn a_move_and_a_waiter() {
    let world = world();
    let mover = {
        let world = world.clone();
        thread::spawn(move || {
            world.position.store(1, Ordering::Release);
            if world.waiting.take() {
                world.woken.store(true, Ordering::Release);
            }
        })
    };
    let seen = world.waiting.unless(|| world.position.load(Ordering::Acquire) == 1);
    mover.join().unwrap();
    assert!(seen || world.woken.load(Ordering::Acquire), "the waiter sleeps and nobody wakes it");
}

#[test]
fn a_waiter_never_sleeps_through_a_move() {
    check(a_move_and_a_waiter);
}
