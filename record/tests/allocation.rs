//! The hot path takes no memory: encoding, pushing, sealing and viewing an event.
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use downbeat_record::{
    Batch, BatchNo, Epoch, Event, Fields, Root, Seq, Stamp, Timestamp, encoded_here, rkyv,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts what the thread that asks does, so that other tests do not disturb.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local `Cell` without a
// destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Miri looks at every byte that a slice reaches whenever one is passed on.
const LINES: usize = if cfg!(miri) { 3 } else { 50 };

/// For the largest event.
const ROOM: usize = if cfg!(miri) { 8 * 1024 } else { 32 * 1024 };

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Order {
    id: u64,
    memo: String,
    lines: Vec<String>,
    nested: Vec<Vec<String>>,
    prices: Vec<u64>,
}

fn order() -> Order {
    let text = || "a text that is too long to stand in place".to_owned();
    Order {
        id: 7,
        memo: text(),
        lines: (0..LINES).map(|_| text()).collect(),
        nested: (0..5).map(|_| (0..5).map(|_| text()).collect()).collect(),
        prices: (0..100).collect(),
    }
}

#[repr(align(16))]
struct Aligned([u8; ROOM]);

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn encoding_and_viewing_allocate_nothing_in_steady_state() {
    let (event, mut out) = (order(), Box::new(Aligned([0; ROOM])));
    event.encode(&mut out.0).unwrap();
    let count = allocations(|| {
        for _ in 0..if cfg!(miri) { 3 } else { 100 } {
            let room = event.encoded_len_max();
            let len = event.encode(&mut out.0[..room]).unwrap();
            let view = Order::view(encoded_here(&out.0[..len])).unwrap();
            assert_eq!(view.lines.len(), LINES);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_batch_is_filled_sealed_and_read_without_an_allocation() {
    let (event, mut out) = (order(), Box::new(Aligned([0; ROOM])));
    let len = event.encode(&mut out.0).unwrap();
    let (capacity, rounds) = if cfg!(miri) { (16 * 1024, 2) } else { (256 * 1024, 10) };
    let mut batch = Batch::with_capacity(capacity, 0);
    let stamp = Stamp {
        batch_no: BatchNo(1),
        epoch: Epoch(1),
        salt: 1,
        prev_root: Root([0; 32]),
        durable: BatchNo(0),
        clock_error_ns: 0,
    };
    let count = allocations(|| {
        for round in 0..rounds {
            batch.open(Seq(1 + round));
            while batch.push(&Fields::default(), Timestamp(batch.used() as u64), &out.0[..len]).is_ok() {}
            batch.seal(&stamp);
            for record in batch.records() {
                assert_eq!(Order::view(record.payload()).unwrap().id, 7);
            }
            assert_ne!(batch.root(), Root::default());
        }
    });
    assert_eq!(count, 0);
}
