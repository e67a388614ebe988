//! loom: a sequencer that sleeps until a cursor has moved is woken when it has, and when there is news.

use downbeat_record::Seq;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::OrderBell;

/// The worker passes seqs 1 to 2, `tell` is what it does after each; the sequencer sleeps until 2.
fn model(tell: fn(&OrderBell, u64)) {
    loom::model(move || {
        let (cursor, woken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let wakes = woken.clone();
        let bell = Arc::new(OrderBell::new(move || wakes.store(true, Ordering::Release)));
        let worker = {
            let (bell, cursor) = (bell.clone(), cursor.clone());
            thread::spawn(move || {
                for seq in 1..=2 {
                    cursor.store(seq, Ordering::Release);
                    tell(&bell, seq);
                }
            })
        };
        bell.arm(Seq(2));
        let there = cursor.load(Ordering::Acquire) == 2;
        worker.join().unwrap();
        assert!(there || woken.load(Ordering::Acquire), "the sequencer sleeps and nobody wakes it");
    });
}

#[test]
fn loom_the_sequencer_never_sleeps_through_a_move() {
    model(|bell, seq| bell.moved(Seq(seq)));
}

#[test]
fn loom_the_sequencer_never_sleeps_through_news() {
    model(|bell, seq| {
        if seq == 2 {
            bell.news();
        }
    });
}

#[test]
#[should_panic(expected = "nobody wakes it")]
fn loom_the_fence_of_the_worker_is_needed() {
    model(|bell, seq| {
        if bell.until.load(Ordering::Relaxed) <= seq {
            bell.wake();
        }
    });
}
