//! Models of the ring: every interleaving (up to three preemptions) of two producers and the consumer on a
//! ring of a few cells.

use loom::thread;

use super::cells::CELL;
use super::{Drain, FRAME, Refused, Ring};
use crate::loom_mutants::check;

const ONE_CELL: usize = CELL - FRAME;

/// Claims until there is room, writes `len` bytes of `tag`, and commits.
fn send(ring: &Ring, tag: u64, len: usize) {
    let mut claim = loop {
        match ring.claim(len) {
            Ok(claim) => break claim,
            Err(Refused::Full) => thread::yield_now(),
            Err(Refused::Closed) => panic!("nobody closed the ring"),
        }
    };
    claim.body()[..len].fill(tag as u8);
    claim.commit(len, tag);
}

/// Sends one cell if there is room now.
fn try_send(ring: &Ring, tag: u64) -> Result<(), Refused> {
    let mut claim = ring.claim(ONE_CELL)?;
    claim.body().fill(tag as u8);
    claim.commit(ONE_CELL, tag);
    Ok(())
}

/// Takes the next entry, whole, and gives its room back.
fn receive(drain: &mut Drain) -> u64 {
    loop {
        if let Some(tag) = try_receive(drain) {
            return tag;
        }
        thread::yield_now();
    }
}

fn try_receive(drain: &mut Drain) -> Option<u64> {
    let entry = drain.peek();
    let tag = entry.map(|entry| {
        assert!(entry.body.iter().all(|byte| u64::from(*byte) == entry.tag), "torn: {entry:?}");
        entry.tag
    });
    if tag.is_some() {
        drain.advance();
    }
    drain.release();
    tag
}

/// Two producers, one entry each, read while they are written.
pub(crate) fn two_producers() {
    let (ring, mut drain) = Ring::new(4 * CELL);
    let producers = [1, 2].map(|tag| {
        let ring = ring.clone();
        thread::spawn(move || send(&ring, tag, ONE_CELL))
    });
    let mut tags = [receive(&mut drain), receive(&mut drain)];
    tags.sort_unstable();
    assert_eq!(tags, [1, 2]);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert_eq!(try_receive(&mut drain), None);
    assert!(ring.is_empty());
}

/// Two producers on a ring with room for one of their two: the second lap overwrites what was read.
pub(crate) fn a_second_lap() {
    let (ring, mut drain) = Ring::new(2 * CELL);
    let other = ring.clone();
    let producer = thread::spawn(move || {
        send(&other, 1, ONE_CELL);
        send(&other, 2, ONE_CELL);
        send(&other, 3, ONE_CELL);
    });
    for tag in 1..=3 {
        assert_eq!(receive(&mut drain), tag);
    }
    producer.join().unwrap();
}

/// One producer learns of the room, the other may use it by what the first one noted.
pub(crate) fn room_is_handed_on() {
    let (ring, mut drain) = Ring::new(2 * CELL);
    send(&ring, 1, ONE_CELL);
    send(&ring, 2, ONE_CELL);
    let producers = [3, 4].map(|tag| {
        let ring = ring.clone();
        thread::spawn(move || try_send(&ring, tag).is_ok())
    });
    assert_eq!((try_receive(&mut drain), try_receive(&mut drain)), (Some(1), Some(2)));
    let sent = producers.map(|producer| producer.join().unwrap());
    let mut received: Vec<u64> = std::iter::from_fn(|| try_receive(&mut drain)).collect();
    received.sort_unstable();
    let expected: Vec<u64> =
        [3, 4].into_iter().zip(sent).filter(|(_, sent)| *sent).map(|(tag, _)| tag).collect();
    assert_eq!(received, expected);
}

#[test]
fn two_producers_lose_duplicate_and_tear_nothing() {
    check(two_producers);
}

#[test]
fn a_lap_overwrites_only_what_was_read() {
    check(a_second_lap);
}

#[test]
fn room_that_another_producer_saw_is_room() {
    check(room_is_handed_on);
}

#[test]
fn entries_of_one_producer_stay_in_order_across_the_wrap() {
    check(|| {
        let (ring, mut drain) = Ring::new(4 * CELL);
        for tag in 8..11 {
            send(&ring, tag, ONE_CELL);
            assert_eq!(receive(&mut drain), tag);
        }
        // One cell is left before the end of the memory: a run of two is padded.
        let other = ring.clone();
        let producer = thread::spawn(move || {
            send(&other, 1, ONE_CELL + CELL);
            send(&other, 2, ONE_CELL);
        });
        assert_eq!((receive(&mut drain), receive(&mut drain)), (1, 2));
        producer.join().unwrap();
    });
}

#[test]
fn a_full_ring_refuses_and_takes_again() {
    check(|| {
        let (ring, mut drain) = Ring::new(2 * CELL);
        send(&ring, 1, ONE_CELL);
        let other = ring.clone();
        let producer = thread::spawn(move || {
            let taken = [2, 3].map(|tag| try_send(&other, tag));
            assert_eq!(taken[0], Ok(()), "one cell was free");
            taken[1].is_ok()
        });
        assert_eq!(receive(&mut drain), 1);
        let third = producer.join().unwrap();
        assert_eq!(receive(&mut drain), 2);
        assert_eq!(try_receive(&mut drain), third.then_some(3));
    });
}

#[test]
fn what_was_claimed_before_the_close_is_drained_and_nothing_else() {
    check(|| {
        let (ring, mut drain) = Ring::new(4 * CELL);
        let producers = [1, 2].map(|tag| {
            let ring = ring.clone();
            thread::spawn(move || match try_send(&ring, tag) {
                Ok(()) => 1,
                Err(refused) => {
                    assert_eq!(refused, Refused::Closed);
                    0
                }
            })
        });
        ring.close();
        let mut drained = 0;
        while !ring.is_empty() {
            drained += usize::from(try_receive(&mut drain).is_some());
            thread::yield_now();
        }
        assert_eq!(ring.claim(1).err(), Some(Refused::Closed));
        let accepted: usize = producers.map(|producer| producer.join().unwrap()).iter().sum();
        assert_eq!(drained, accepted);
    });
}

#[test]
fn an_abandoned_claim_is_skipped() {
    check(|| {
        let (ring, mut drain) = Ring::new(4 * CELL);
        let other = ring.clone();
        let abandons = thread::spawn(move || {
            let mut claim = other.claim(ONE_CELL).unwrap();
            claim.body()[0] = 9;
        });
        let other = ring.clone();
        let sends = thread::spawn(move || send(&other, 2, ONE_CELL));
        assert_eq!(receive(&mut drain), 2);
        abandons.join().unwrap();
        sends.join().unwrap();
        assert_eq!(try_receive(&mut drain), None);
        assert!(ring.is_empty());
    });
}
