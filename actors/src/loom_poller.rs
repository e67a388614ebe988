//! loom: a ring is seen by the poller or wakes the actor, also while the poller stops looking.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::Looking;
use crate::doorbell::Doorbell;
use crate::loom_mutants::check;

/// A ringer rings the bell of an actor while its poller stops looking, and looks once more.
pub(crate) fn seen_or_woken() {
    let looking = std::sync::Arc::new(Looking::default());
    let called = Arc::new(AtomicBool::new(false));
    let bell = Arc::new(Doorbell::new());
    let (seen, calls) = (looking.clone(), called.clone());
    bell.connect(move || seen.will_see(), move || calls.store(true, Ordering::Release));
    // The first call, of connecting, is answered.
    bell.answer();
    called.store(false, Ordering::Relaxed);
    looking.begin();
    let ringer = {
        let bell = bell.clone();
        thread::spawn(move || bell.ring())
    };
    looking.end();
    bell.call_if_rung();
    ringer.join().unwrap();
    assert!(called.load(Ordering::Acquire), "a ring is not seen and wakes nobody");
}

#[test]
fn a_ring_is_seen_or_wakes() {
    check(seen_or_woken);
}
