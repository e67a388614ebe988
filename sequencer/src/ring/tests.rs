//! Claims about the ring on real threads and at its edges; `loom_ring.rs` has the interleavings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use proptest::prelude::*;

use super::*;

fn send(ring: &Ring, tag: u64, len: usize) -> Result<(), Refused> {
    let mut claim = ring.claim(len)?;
    assert_eq!(claim.body().as_ptr() as usize % 16, 0);
    claim.body()[..len].fill(tag as u8);
    claim.commit(len, tag);
    Ok(())
}

fn receive(drain: &mut Drain) -> Option<(u64, usize)> {
    let entry = drain.peek()?;
    assert!(entry.body.iter().all(|byte| *byte == entry.tag as u8));
    let read = (entry.tag, entry.body.len());
    drain.advance();
    drain.release();
    Some(read)
}

#[test]
fn a_full_ring_says_so_and_takes_again_what_was_released() {
    let (ring, mut drain) = Ring::new(4 * CELL);
    for tag in 0..4 {
        send(&ring, tag, CELL - FRAME).unwrap();
    }
    assert_eq!((ring.used(), ring.capacity()), (4 * CELL, 4 * CELL));
    assert_eq!(send(&ring, 9, 1), Err(Refused::Full));
    assert_eq!(receive(&mut drain), Some((0, CELL - FRAME)));
    assert_eq!(send(&ring, 4, 1), Ok(()));
}

#[test]
fn the_longest_body_fits_at_every_position() {
    let (ring, mut drain) = Ring::new(16 * CELL);
    for tag in 0..64 {
        send(&ring, tag, ring.body_len_max()).unwrap();
        assert_eq!(receive(&mut drain), Some((tag, ring.body_len_max())));
        send(&ring, tag, 1).unwrap();
        assert_eq!(receive(&mut drain), Some((tag, 1)));
    }
}

#[test]
fn a_panic_while_encoding_does_not_stop_the_ring() {
    let (ring, mut drain) = Ring::new(4 * CELL);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _claim = ring.claim(8).unwrap();
        panic!("the encoder failed");
    }));
    assert!(panicked.is_err());
    send(&ring, 1, 8).unwrap();
    assert_eq!(receive(&mut drain), Some((1, 8)));
    assert!(ring.is_empty());
}

#[test]
fn an_entry_is_not_read_before_those_claimed_earlier() {
    let (ring, mut drain) = Ring::new(4 * CELL);
    let first = ring.claim(8).unwrap();
    send(&ring, 2, 8).unwrap();
    assert!(!drain.is_ready());
    assert_eq!(receive(&mut drain), None);
    drop(first);
    assert_eq!(receive(&mut drain), Some((2, 8)));
}

/// Steps of one run against the model.
const STEPS_MAX: usize = if cfg!(miri) { 20 } else { 300 };

proptest! {
    /// Any lengths, any pauses of the consumer: entries come out as a queue would give them.
    #[test]
    fn the_ring_is_a_queue(
        cells in 2_usize..40,
        steps in prop::collection::vec(prop_oneof![(0_usize..600).prop_map(Some), Just(None)], 1..STEPS_MAX),
    ) {
        let (ring, mut drain) = Ring::new(cells * CELL);
        let mut model = std::collections::VecDeque::new();
        for (tag, step) in steps.into_iter().enumerate() {
            match step {
                Some(len) if len <= ring.body_len_max() => match send(&ring, tag as u64, len) {
                    Ok(()) => model.push_back((tag as u64, len)),
                    Err(refused) => {
                        prop_assert_eq!(refused, Refused::Full);
                        prop_assert!(!model.is_empty(), "an empty ring takes everything up to its bound");
                    }
                },
                Some(_) => {}
                None => prop_assert_eq!(receive(&mut drain), model.pop_front()),
            }
            prop_assert!(ring.used() <= ring.capacity());
        }
        while let Some(expected) = model.pop_front() {
            prop_assert_eq!(receive(&mut drain), Some(expected));
        }
        prop_assert_eq!(receive(&mut drain), None);
    }
}

#[test]
fn nothing_is_lost_or_torn_and_each_producer_keeps_its_order() {
    const PRODUCERS: u64 = 4;
    const EACH: u64 = if cfg!(miri) { 50 } else { 200_000 };
    let (ring, mut drain) = Ring::new(64 * CELL);
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let ring = &ring;
            scope.spawn(move || {
                for n in 0..EACH {
                    let tag = n << 8 | producer;
                    let len = 1 + (n % 300) as usize;
                    while send(ring, tag, len) == Err(Refused::Full) {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut next = [0; PRODUCERS as usize];
        while next.iter().sum::<u64>() < PRODUCERS * EACH {
            let Some((tag, len)) = receive(&mut drain) else {
                thread::yield_now();
                continue;
            };
            let (producer, n) = ((tag & 0xFF) as usize, tag >> 8);
            assert_eq!((n, len), (next[producer], 1 + (n % 300) as usize));
            next[producer] += 1;
        }
    });
    assert!(ring.is_empty());
}
