//! An engine that is gone has given back all of its memory, whatever happened to it.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Count, Moved, Notes, flow, options, reached, until_applied};
use downbeat::{Engine, ErrorKind, Key, Seq};

struct Counting;

static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A life with a crash, a subscription that is behind, a second opener and a question.
fn live(crash: bool, close: bool) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path()), flow(Count::default(), Notes::default())).unwrap();
    let locked = Engine::open(options(dir.path()), flow(Count::default(), Notes::default())).unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked);
    let mut events = engine.subscribe(Seq(1));
    let deposit = |times: u64| {
        for n in 0..times {
            engine.submit(&Moved { cents: 100 }).key(Key(n % 7 + 1)).wait().unwrap();
        }
    };
    deposit(100);
    if crash {
        engine.crash("balance");
    }
    deposit(100);
    until_applied(&engine);
    assert_eq!(reached(&engine), 200);
    assert!(events.next_blocking().unwrap().is_some());
    if close {
        engine.close().unwrap();
    }
}

#[test]
fn an_engine_that_is_gone_has_given_back_all_of_its_memory() {
    // What a crash says would be kept for whoever reads the output of the test.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_none_or(|name| !name.starts_with("downbeat-")) {
            before(panic);
        }
    }));
    let lives = [(false, true), (true, true), (true, false)];
    // What is made once for the process is made in the first lives.
    lives.into_iter().for_each(|(crash, close)| live(crash, close));
    let before = LIVE_BYTES.load(Ordering::SeqCst);
    for round in 0..5 {
        lives.into_iter().for_each(|(crash, close)| live(crash, close));
        let left = LIVE_BYTES.load(Ordering::SeqCst).saturating_sub(before);
        assert!(left < 4_096, "{left} bytes are left after round {round}");
    }
}
