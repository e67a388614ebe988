//! In steady state an event allocates nothing, on any thread, from `submit` to the leaf that delivers its effect.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Balance, Moved, Reached};
use downbeat::{
    Context, Delivery, Engine, Flow, Key, Leaf, LeafError, Nothing, Options, Out, Reject, Stage, Ticket,
};

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

/// Sends on what the balance sent: a second hop.
struct Relay;

impl Stage for Relay {
    type State = u64;
    type Output = Reached;

    fn apply(&self, count: &mut u64, event: &Context<'_>, out: &mut Out<'_, Reached>) -> Result<(), Reject> {
        if let Some(reached) = event.input::<Reached>()? {
            *count += 1;
            out.send(&Reached { balance: reached.balance.to_native() })?;
        }
        Ok(())
    }
}

/// Takes what was emitted.
struct Echo;

impl Stage for Echo {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        *count += u64::from(event.event::<Reached>()?.is_some());
        Ok(())
    }
}

/// Counts deliveries.
struct Effects(Arc<AtomicU64>);

impl Leaf for Effects {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        delivery.value::<Reached>().map_err(|error| LeafError::new(error.to_string()))?;
        self.0.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

/// Submits `count` deposits of a hundred, each of which is sent on, delivered, and emits an event of its own.
fn traffic(engine: &Engine, tickets: &mut Vec<Ticket>, count: u64) {
    for number in 0..count {
        if tickets.len() == tickets.capacity() {
            receive(tickets);
        }
        let event = Moved { cents: 100 };
        tickets.push(engine.submit(&event).key(Key(number % 64 + 1)).ticket().expect("the engine is open"));
    }
    receive(tickets);
}

fn receive(tickets: &mut Vec<Ticket>) {
    for ticket in tickets.drain(..) {
        ticket.wait().expect("it becomes durable");
    }
}

#[test]
fn an_event_allocates_nothing_from_submit_to_effect() {
    const EVENTS: u64 = 20_000;
    let dir = tempfile::tempdir().expect("a directory");
    let delivered = Arc::new(AtomicU64::new(0));
    let flow = Flow::named("bank")
        .stage("balance", Balance)
        .on::<Moved>()
        .emits::<Reached>()
        .stage("relay", Relay)
        .after(["balance"])
        .stage("echo", Echo)
        .on::<Reached>()
        .leaf("effects", Effects(delivered.clone()))
        .after(["relay"])
        .build()
        .expect("the flow is sound");
    let mut options = Options::new(dir.path());
    // Neither a segment nor a checkpoint is begun while it counts: both are for thousands of events.
    options.log.segment_bytes = 64 << 20;
    options.actors.checkpoint_interval = 1 << 40;
    let engine = Engine::open(options, flow).expect("the engine opens");
    let mut tickets = Vec::with_capacity(1_000);
    let settled = |events: u64| {
        while delivered.load(Ordering::Acquire) < events {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
    };
    traffic(&engine, &mut tickets, EVENTS);
    settled(EVENTS);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    traffic(&engine, &mut tickets, EVENTS);
    settled(2 * EVENTS);
    let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
    // What a runtime or a table grows by now and then is not of an event; one allocation an event would be 20,000.
    assert!(allocations < EVENTS / 100, "{allocations} allocations for {EVENTS} events");
    // What is delivered is durable; the last commands may not be in the order yet. A close lets them through.
    engine.close().expect("it closes");
    assert_eq!(
        engine.fold_states::<Echo, u64>("echo", 0, |sum, _: Key, count| sum + count),
        Some(2 * EVENTS)
    );
}
