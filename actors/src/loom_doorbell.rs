//! loom: what is published before a ring is taken, however rings and answers interleave.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::Doorbell;

/// A lane of one counter, a bell, and the mailbox behind it.
struct Model {
    bell: Doorbell,
    lane: AtomicU64,
    mailbox: Arc<AtomicU64>,
}

/// Two producers put one thing each on the lane and ring; the consumer works off its mailbox with `handle` until
/// nobody can ring any more. The model fails when something stays on the lane.
fn model(handle: fn(&Model) -> u64) {
    loom::model(move || {
        let mailbox = Arc::new(AtomicU64::new(0));
        let bell = Doorbell::new();
        let posts = mailbox.clone();
        bell.connect(
            || false,
            move || {
                posts.fetch_add(1, Ordering::AcqRel);
            },
        );
        let shared = Arc::new(Model { bell, lane: AtomicU64::new(0), mailbox });
        let producers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.lane.fetch_add(1, Ordering::Release);
                    shared.bell.ring();
                })
            })
            .collect();
        let mut taken = 0;
        let work = |taken: &mut u64| {
            let posted = shared.mailbox.load(Ordering::Acquire);
            assert!(posted <= 1, "{posted} messages in a mailbox that holds at most one");
            if posted == 1 {
                shared.mailbox.fetch_sub(1, Ordering::AcqRel);
                *taken += handle(&shared);
            }
            posted == 1
        };
        work(&mut taken);
        for producer in producers {
            producer.join().unwrap();
        }
        while work(&mut taken) {}
        assert_eq!(taken, 2, "something is left on the lane and nobody rings");
    });
}

#[test]
fn loom_what_is_published_before_a_ring_is_taken() {
    model(|shared| {
        shared.bell.answer();
        shared.lane.swap(0, Ordering::AcqRel)
    });
}

#[test]
#[should_panic(expected = "nobody rings")]
fn loom_looking_before_answering_loses_a_wake_up() {
    model(|shared| {
        let taken = shared.lane.swap(0, Ordering::AcqRel);
        shared.bell.answer();
        taken
    });
}

#[test]
fn loom_a_bell_that_is_connected_late_rings_for_what_was_published_before() {
    loom::model(|| {
        let shared = Arc::new((Doorbell::new(), AtomicBool::new(false)));
        let woken = Arc::new(AtomicBool::new(false));
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(true, Ordering::Release);
                shared.0.ring();
            })
        };
        let wake = woken.clone();
        shared.0.connect(|| false, move || wake.store(true, Ordering::Release));
        producer.join().unwrap();
        assert!(woken.load(Ordering::Acquire));
    });
}
