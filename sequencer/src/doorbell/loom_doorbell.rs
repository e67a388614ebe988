//! Models of the doorbell: the consumer never sleeps on what was published, and is woken once.

use loom::thread;

use super::Doorbell;
use crate::loom_mutants::check;
use crate::sync::{Arc, AtomicU64, Ordering};

struct World {
    bell: Doorbell,
    published: AtomicU64,
    wakes: Arc<AtomicU64>,
}

fn world() -> Arc<World> {
    let wakes = Arc::new(AtomicU64::new(0));
    let counted = wakes.clone();
    let bell = Doorbell::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    Arc::new(World { bell, published: AtomicU64::new(0), wakes })
}

/// Two producers publish while the consumer goes to sleep: if its second look finds nothing, a wake must come.
pub(crate) fn going_to_sleep() {
    let world = world();
    let producers = [(); 2].map(|()| {
        let world = world.clone();
        thread::spawn(move || {
            world.published.fetch_add(1, Ordering::Release);
            world.bell.ring();
        })
    });
    world.bell.arm();
    let seen = world.published.load(Ordering::Acquire);
    if seen > 0 {
        world.bell.disarm();
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    let wakes = world.wakes.load(Ordering::Relaxed);
    assert!(seen > 0 || wakes > 0, "asleep on two events");
    assert!(wakes <= 1, "{wakes} wakes for one arm");
}

#[test]
fn no_wake_up_is_lost_and_none_is_given_twice() {
    check(going_to_sleep);
}
