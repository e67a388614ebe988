//! loom: what is published before a ring is taken, however rings and answers interleave.
//!
//! Mailbox and lane are relaxed: what the consumer sees must come from the bell alone. The mailbox is changed and
//! read by exchanges only, which see the newest value whatever their order; the lane is looked at by a load.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::Doorbell;
use crate::loom_mutants::check;

/// A lane of one counter, a bell, and the mailbox behind it.
struct World {
    bell: Doorbell,
    lane: AtomicU64,
    mailbox: Arc<AtomicU64>,
    /// Messages that it may hold: one, and one more while the bell is connected.
    posted_max: u64,
    /// Nobody rings any more.
    over: AtomicBool,
}

impl World {
    fn new(posted_max: u64) -> Arc<Self> {
        let (lane, mailbox) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        Arc::new(Self { bell: Doorbell::new(), lane, mailbox, posted_max, over: AtomicBool::new(false) })
    }

    fn connect(&self) {
        let mailbox = self.mailbox.clone();
        self.bell.connect(
            || false,
            move || {
                mailbox.fetch_add(1, Ordering::Relaxed);
            },
        );
    }

    /// Puts something on the lane and rings.
    fn send(&self) {
        self.lane.fetch_add(1, Ordering::Relaxed);
        self.bell.ring();
    }

    /// Handles messages until nobody rings any more; what was seen on the lane in the end.
    fn consume(&self, handle: fn(&Self) -> u64) -> u64 {
        let mut seen = 0;
        loop {
            let over = self.over.load(Ordering::Relaxed);
            let posted = self.mailbox.swap(0, Ordering::Relaxed);
            assert!(posted <= self.posted_max, "{posted} messages in a mailbox for {}", self.posted_max);
            if posted > 0 {
                seen = handle(self);
            } else if over {
                return seen;
            } else {
                thread::yield_now();
            }
        }
    }

    /// Runs the consumer on a thread of its own while `ring` runs on this one.
    fn run(this: &Arc<Self>, handle: fn(&Self) -> u64, ring: impl FnOnce()) {
        let world = this.clone();
        let consumer = thread::spawn(move || world.consume(handle));
        ring();
        this.over.store(true, Ordering::Relaxed);
        let seen = consumer.join().unwrap();
        assert_eq!(seen, 2, "something is left on the lane and nobody rings");
    }
}

fn answer_then_look(world: &World) -> u64 {
    world.bell.answer();
    world.lane.load(Ordering::Relaxed)
}

fn look_then_answer(world: &World) -> u64 {
    let seen = world.lane.load(Ordering::Relaxed);
    world.bell.answer();
    seen
}

fn rings_from_two(handle: fn(&World) -> u64) {
    let world = World::new(1);
    world.connect();
    World::run(&world, handle, || {
        let other = world.clone();
        let other = thread::spawn(move || other.send());
        world.send();
        other.join().unwrap();
    });
}

/// Two producers put one thing each on the lane and ring.
pub(crate) fn two_ringers() {
    rings_from_two(answer_then_look);
}

/// One of them rings while the bell is connected.
fn rung_while_connected() {
    let world = World::new(2);
    World::run(&world, answer_then_look, || {
        let other = world.clone();
        let other = thread::spawn(move || {
            other.send();
            other.send();
        });
        world.connect();
        other.join().unwrap();
    });
}

#[test]
fn what_is_published_before_a_ring_is_taken() {
    check(two_ringers);
}

#[test]
fn what_is_published_before_the_bell_is_connected_is_taken() {
    check(rung_while_connected);
}

#[test]
#[should_panic(expected = "nobody rings")]
fn looking_before_answering_loses_a_wake_up() {
    check(|| rings_from_two(look_then_answer));
}
