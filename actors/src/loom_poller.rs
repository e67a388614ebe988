//! loom: a ring is seen by the poller or wakes the actor, also while the poller stops looking.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::Looking;

/// A ringer sets the flag of a bell and wakes if nobody looks; the poller stops looking, and looks once more.
fn model(will_see: fn(&Looking) -> bool, end: fn(&Looking)) {
    loom::model(move || {
        let shared = Arc::new((Looking::default(), AtomicBool::new(false), AtomicBool::new(false)));
        shared.0.begin();
        let ringer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(true, Ordering::Release);
                if !will_see(&shared.0) {
                    shared.2.store(true, Ordering::Release);
                }
            })
        };
        end(&shared.0);
        let seen = shared.1.load(Ordering::Acquire);
        ringer.join().unwrap();
        assert!(seen || shared.2.load(Ordering::Acquire), "a ring is not seen and wakes nobody");
    });
}

#[test]
fn loom_a_ring_is_seen_or_wakes() {
    model(Looking::will_see, Looking::end);
}

#[test]
#[should_panic(expected = "wakes nobody")]
fn loom_the_fence_of_the_ringer_is_needed() {
    model(|looking| looking.0.load(Ordering::Relaxed), Looking::end);
}

#[test]
#[should_panic(expected = "wakes nobody")]
fn loom_the_fence_of_the_poller_is_needed() {
    model(Looking::will_see, |looking| looking.0.store(false, Ordering::Relaxed));
}
