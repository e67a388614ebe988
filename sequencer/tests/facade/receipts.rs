//! A receipt says what is true, and not before it is true.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use downbeat_record::{Event, Fields, Seq};
use downbeat_sequencer::{Ack, Group, SubmitError, Ticket};

use super::{Woken, cause, keyed, small, start, take};

fn done(tickets: &[Ticket]) -> Vec<bool> {
    tickets.iter().map(Ticket::is_done).collect()
}

#[test]
fn durable_receipts_wait_for_the_watermark_and_ordered_ones_do_not() {
    let (ingress, mut sequencer, _) = start(&small());
    let tickets = [Ack::Durable, Ack::Ordered, Ack::Durable]
        .map(|ack| ingress.try_submit_bytes(&Fields::default(), b"event", ack).unwrap());
    assert_eq!(done(&tickets), [false, false, false]);
    assert_eq!(sequencer.fill(Seq::ZERO), 3);
    assert_eq!(done(&tickets), [false, true, false]);
    sequencer.durable(Seq(2));
    assert_eq!(done(&tickets), [true, true, false]);
    assert!(sequencer.owes_receipts());
    sequencer.durable(Seq(3));
    let seqs = tickets.map(|ticket| ticket.wait().unwrap().seq);
    assert_eq!(seqs, [Seq(1), Seq(2), Seq(3)]);
}

#[test]
fn a_duplicate_of_an_event_in_flight_waits_with_it() {
    let (ingress, mut sequencer, _) = start(&small());
    let first = ingress.try_submit_bytes(&keyed(7), b"event", Ack::Durable).unwrap();
    let again = ingress.try_submit_bytes(&keyed(7), b"event", Ack::Durable).unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), 1);
    let hasty = ingress.try_submit_bytes(&keyed(7), b"event", Ack::Ordered).unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), 0);
    assert_eq!((first.is_done(), again.is_done(), hasty.is_done()), (false, false, true));
    sequencer.durable(Seq(1));
    let (first, again) = (first.wait().unwrap(), again.wait().unwrap());
    assert_eq!((first.seq, first.duplicate), (Seq(1), false));
    assert_eq!((again.seq, again.timestamp, again.duplicate), (Seq(1), first.timestamp, true));

    let late = ingress.try_submit_bytes(&keyed(7), b"event", Ack::Durable).unwrap();
    sequencer.fill(Seq(1));
    assert!(late.is_done(), "its original is durable");
    assert_eq!((sequencer.stats().events, sequencer.stats().duplicates), (1, 3));
}

#[test]
fn the_same_key_with_other_bytes_is_an_error_that_names_the_original() {
    let (ingress, mut sequencer, _) = start(&small());
    let first = ingress.try_submit_bytes(&keyed(7), b"event", Ack::Ordered).unwrap();
    let other = ingress.try_submit_bytes(&keyed(7), b"other", Ack::Durable).unwrap();
    sequencer.fill(Seq::ZERO);
    let first = first.wait().unwrap();
    let error = other.wait().unwrap_err();
    assert!(matches!(error, SubmitError::Conflict { original } if original == first), "{error}");
    assert_eq!(sequencer.next_seq(), Seq(2));
}

#[test]
fn a_dropped_ticket_changes_nothing_for_its_event_and_gives_its_slot_back() {
    let (ingress, mut sequencer, _) = start(&small());
    for round in 0..10 {
        for _ in 0..small().tickets {
            drop(ingress.try_submit_bytes(&Fields::default(), b"event", Ack::Durable).unwrap());
        }
        sequencer.fill(Seq(sequencer.next_seq().0 - 1));
        drop(take(&mut sequencer));
        sequencer.durable(Seq((round + 1) * small().tickets as u64));
    }
    let stats = sequencer.stats();
    assert_eq!((stats.events, stats.batches), (10 * small().tickets as u64, 10));
    assert_eq!(stats.bytes, 5 * stats.events);
}

#[test]
fn who_waits_for_a_ticket_is_woken_when_dropped_ones_have_become_durable() {
    let (ingress, mut sequencer, _) = start(&small());
    for _ in 0..small().tickets {
        drop(ingress.try_submit_bytes(&Fields::default(), b"", Ack::Durable).unwrap());
    }
    sequencer.fill(Seq::ZERO);
    let woken = Woken::not_yet();
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let (fields, event) = (Fields::default(), paid());
    let mut submit = pin!(ingress.submit(&fields, &event, Ack::Durable));
    assert!(submit.as_mut().poll(&mut context).is_pending());
    assert!(!woken.is());
    sequencer.durable(Seq(small().tickets as u64));
    assert!(woken.is(), "there are tickets again");
    assert!(matches!(submit.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
}

#[test]
fn a_door_says_whether_the_log_takes_events() {
    let (ingress, mut sequencer, _) = start(&small());
    ingress.check().unwrap();
    sequencer.refuse(Some(cause("no space left")));
    assert!(matches!(ingress.check(), Err(SubmitError::Full { .. })));
    sequencer.refuse(None);
    ingress.check().unwrap();
    ingress.send_blocking(&Fields::default(), &paid()).unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), 1);

    let (ingress, mut sequencer, _) = start(&small());
    sequencer.fail(cause("gone"));
    sequencer.refuse(None);
    assert!(matches!(ingress.check(), Err(SubmitError::Poisoned { .. })), "space is no remedy for that");
    let error = ingress.send_blocking(&Fields::default(), &paid()).unwrap_err();
    assert!(matches!(error, SubmitError::Poisoned { .. }), "{error}");
}

#[test]
fn an_awaited_ticket_is_woken_from_another_thread() {
    let (ingress, mut sequencer, _) = start(&small());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let ticket =
                pollster::block_on(async { ingress.submit(&Fields::default(), &paid(), Ack::Durable).await });
            pollster::block_on(ticket.unwrap()).unwrap().seq
        });
        while sequencer.fill(Seq::ZERO) == 0 {
            std::thread::yield_now();
        }
        let batch = take(&mut sequencer);
        let record = batch.records().next().unwrap();
        assert_eq!(Paid::view(record.payload()).unwrap().cents, 1_250);
        sequencer.durable(Seq(1));
        assert_eq!(waits.join().unwrap(), Seq(1));
    });
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Paid", version = 1)]
struct Paid {
    cents: i64,
    memo: String,
}

fn paid() -> Paid {
    Paid { cents: 1_250, memo: "rent of the month, paid on the first day of it".into() }
}

#[test]
fn a_receipt_is_waited_for_as_long_as_asked_and_no_longer() {
    let (ingress, mut sequencer, _) = start(&small());
    let mut ticket = ingress.try_submit_bytes(&Fields::default(), b"event", Ack::Ordered).unwrap();
    assert!(ticket.wait_timeout(Duration::from_millis(20)).is_none());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ticket.wait_timeout(Duration::from_secs(60)));
        sequencer.fill(Seq::ZERO);
        assert_eq!(waits.join().unwrap().expect("it is there").unwrap().seq, Seq(1));
    });
}

#[test]
fn bytes_of_payloads_are_counted_once_each_alone_and_in_groups() {
    let (ingress, mut sequencer, _) = start(&small());
    for payload in [&b"abc"[..], b"", b"de"] {
        ingress.try_send_bytes(&keyed(payload.len() as u128 + 1), payload).unwrap();
    }
    let mut group = Group::new();
    for (key, payload) in [(10, &b"abcd"[..]), (11, b"efghi")] {
        group.push_bytes(&keyed(key), payload).unwrap();
    }
    drop(ingress.try_submit_all(&group, Ack::Ordered).unwrap());
    drop(ingress.try_submit_all(&group, Ack::Ordered).unwrap());
    ingress.try_send_bytes(&keyed(10), b"another").unwrap();
    sequencer.fill(Seq::ZERO);
    let stats = sequencer.stats();
    assert_eq!((stats.events, stats.bytes, stats.duplicates, stats.conflicts), (5, 14, 1, 1));
}
