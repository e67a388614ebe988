//! In steady state an event allocates nothing, from `try_submit` to its receipt.
#![cfg(not(loom))]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use downbeat_record::{Event, Fields, IdempotencyKey, Seq};
use downbeat_sequencer::{Ack, Group, Idempotency, ManualClock, Settings, Start, sequencer};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Moved", version = 1)]
struct Moved {
    from: u64,
    to: u64,
    cents: i64,
    memo: String,
}

#[test]
fn an_event_in_steady_state_allocates_nothing() {
    let settings = Settings {
        idempotency: Idempotency { keys: 1_000, ..Idempotency::default() },
        ..Settings::default()
    };
    let (ingress, mut sequencer) = sequencer(&settings, ManualClock::default(), Start::fresh(&settings));
    let event = Moved { from: 1, to: 2, cents: 3, memo: "a memo that does not fit in line".into() };
    let mut group = Group::new();
    let mut key = 0;
    let mut round = || {
        let mut fields = Fields::default();
        let tickets: [_; 100] = std::array::from_fn(|_| {
            key += 1;
            fields.idempotency_key = IdempotencyKey(key);
            ingress.try_submit(&fields, &event, Ack::Durable).unwrap()
        });
        ingress.try_send(&Fields::default(), &event).unwrap();
        group.clear();
        (0..3).for_each(|_| group.push(&Fields::default(), &event).unwrap());
        let together = ingress.try_submit_all(&group, Ack::Ordered).unwrap();
        let cursor = Seq(sequencer.next_seq().0 - 1);
        assert_eq!(sequencer.fill(cursor), 104);
        drop(sequencer.close_batch().unwrap().clone());
        sequencer.durable(Seq(cursor.0 + 104));
        tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
        together.wait().unwrap();
    };
    (0..20).for_each(|_| round());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..100).for_each(|_| round());
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations for 10,400 events");
}
