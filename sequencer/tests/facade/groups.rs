//! A group is placed as a whole or not at all.

use downbeat_record::Seq;
use downbeat_sequencer::{Ack, Group, Settings, Stop, SubmitError};

use super::{contents, keyed, small, start, take};

fn group(keys: impl IntoIterator<Item = u128>, len: usize) -> Group {
    let mut group = Group::new();
    for key in keys {
        group.push_bytes(&keyed(key), &vec![key as u8; len]).unwrap();
    }
    group
}

#[test]
fn a_group_takes_consecutive_places_of_one_batch() {
    let (ingress, mut sequencer, _) = start(&small());
    ingress.try_send_bytes(&keyed(0), &[0; 3_000]).unwrap();
    let ticket = ingress.try_submit_all(&group(1..=3, 400), Ack::Durable).unwrap();
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (1, Stop::BatchFull), "not a part of it");
    take(&mut sequencer);
    assert_eq!(sequencer.fill(Seq::ZERO), 3);
    let batch = take(&mut sequencer);
    let expected: Vec<_> = (1..=3).map(|n| (Seq(n + 1), vec![n as u8; 400])).collect();
    assert_eq!(contents(&batch), expected);

    sequencer.durable(Seq(3));
    assert!(!ticket.is_done(), "its last event is not durable");
    sequencer.durable(Seq(4));
    assert_eq!(ticket.wait().unwrap().seq, Seq(2));
}

/// Found by reading: an event of four gigabytes was a panic, and what was put together before had no bound.
#[test]
fn a_group_larger_than_any_batch_is_refused_while_it_is_put_together() {
    let (mut group, large) = (group(1..=1, 8), vec![0; 200 << 20]);
    group.push_bytes(&keyed(2), &large).unwrap();
    for payload in [&large[..], &vec![0; (1 << 32) + 1]] {
        let error = group.push_bytes(&keyed(4), payload).unwrap_err();
        assert!(matches!(error, SubmitError::TooLarge { .. }), "{error}");
    }
    assert_eq!(group.len(), 2, "as it was");
}

#[test]
fn a_group_sent_again_gets_its_first_receipt_and_no_place() {
    let (ingress, mut sequencer, _) = start(&small());
    let first = ingress.try_submit_all(&group(1..=3, 8), Ack::Ordered).unwrap();
    let again = ingress.try_submit_all(&group(1..=3, 8), Ack::Durable).unwrap();
    let mixed = ingress.try_submit_all(&group(3..=4, 8), Ack::Durable).unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), 3);
    let first = first.wait().unwrap();
    sequencer.durable(Seq(2));
    assert!(!again.is_done(), "the last event of the original is not durable");
    sequencer.durable(Seq(3));
    let again = again.wait().unwrap();
    assert_eq!((again.seq, again.timestamp, again.duplicate), (first.seq, first.timestamp, true));
    assert!(matches!(mixed.wait(), Err(SubmitError::Conflict { original }) if original.seq == Seq(3)));
    assert_eq!(sequencer.next_seq(), Seq(4));
}

#[test]
fn a_group_waits_for_the_whole_room_in_the_window() {
    let (ingress, mut sequencer, _) = start(&Settings { window_events: 8, ..small() });
    ingress.try_send_bytes(&keyed(0), b"").unwrap();
    drop(ingress.try_submit_all(&group(1..=6, 8), Ack::Ordered).unwrap());
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (1, Stop::Window));
    assert_eq!((sequencer.fill(Seq(1)), sequencer.stopped()), (6, Stop::Empty));
}

#[test]
fn each_event_of_a_group_has_its_own_key_or_none_has_one() {
    let mut group = group([5, 3, 9], 8);
    for key in [3, 0] {
        let error = group.push_bytes(&keyed(key), b"x").unwrap_err();
        assert!(matches!(error, SubmitError::GroupKeys { index: 3, key: k } if k.0 == key), "{error}");
    }
    assert_eq!(group.len(), 3);
    group.clear();
    assert!(group.is_empty());
    group.push_bytes(&keyed(0), b"x").unwrap();
    group.push_bytes(&keyed(0), b"x").unwrap();
    assert!(group.push_bytes(&keyed(3), b"x").is_err());
}
