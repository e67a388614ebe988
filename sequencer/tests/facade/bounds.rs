//! Everything is bounded, every bound has an answer, and none of them can stop the flow.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use downbeat_record::{
    Batch, Contract, ContractTable, Event, Fields, Kind, Seq, Shape, SourceId, Timestamp, rkyv,
};
use downbeat_sequencer::{
    Ack, Bound, Clock, Group, ManualClock, Settings, Start, Stop, SubmitError, sequencer,
};

use super::{Woken, cause, contents, small, start, take};

fn fields() -> Fields {
    Fields::default()
}

#[test]
fn a_ring_that_nobody_drains_pushes_back_and_takes_again_when_drained() {
    let (ingress, mut sequencer, _) = start(&small());
    let mut sent = 0;
    let error = loop {
        match ingress.try_send_bytes(&fields(), &[0; 100]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    let SubmitError::Backpressure { bound: Bound::Ring, fill } = error else { panic!("{error}") };
    assert_eq!((fill.used, fill.capacity, sent), (42 * 192, 8 << 10, 42));
    assert_eq!(ingress.fill(), fill);
    let mut drained = 0;
    while drained < sent {
        drained += sequencer.fill(Seq(drained as u64));
        drop(sequencer.close_batch().map(|batch| batch.clone()));
    }
    assert_eq!(ingress.fill().used, 0);
    ingress.try_send_bytes(&fields(), &[0; 100]).unwrap();
}

/// A second passes at every look.
struct Ticking(u64);

impl Clock for Ticking {
    fn now(&mut self) -> Timestamp {
        self.0 += 1_000_000_000;
        Timestamp(self.0)
    }
}

#[test]
fn the_clock_is_looked_at_for_every_64_events_of_a_fill() {
    let settings = Settings { ring_bytes: 64 << 10, batch_bytes: 64 << 10, window_events: 1_024, ..small() };
    let (ingress, mut sequencer) = sequencer(&settings, Ticking(0), Start::fresh(&settings));
    for _ in 0..200 {
        ingress.try_send_bytes(&fields(), b"event").unwrap();
    }
    assert_eq!(sequencer.fill(Seq::ZERO), 200);
    let batch = take(&mut sequencer);
    let seconds: Vec<u64> = batch.records().map(|record| record.timestamp.0 / 1_000_000_000).collect();
    let expected: Vec<u64> = (0..200).map(|index| index / 64 + 1).collect();
    assert_eq!(seconds, expected);
}

#[test]
fn tickets_in_flight_are_bounded_and_a_waiting_producer_gets_the_next_one() {
    let (ingress, mut sequencer, _) = start(&Settings { tickets: 1, ..small() });
    let held = ingress.try_submit_bytes(&fields(), b"a", Ack::Ordered).unwrap();
    let error = ingress.try_submit_bytes(&fields(), b"b", Ack::Ordered).unwrap_err();
    assert!(matches!(error, SubmitError::Backpressure { bound: Bound::Tickets, .. }), "{error}");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            ingress
                .blocking(|| ingress.try_submit_bytes(&fields(), b"b", Ack::Ordered))
                .unwrap()
                .wait()
                .unwrap()
        });
        sequencer.fill(Seq::ZERO);
        assert_eq!(held.wait().unwrap().seq, Seq(1));
        while sequencer.next_seq() < Seq(3) {
            sequencer.fill(Seq::ZERO);
            std::thread::yield_now();
        }
        assert_eq!(waits.join().unwrap().seq, Seq(2));
    });
}

/// Found by reading: it was told to wait, and nobody would have woken it.
#[test]
fn who_waits_for_a_ticket_hears_that_the_door_is_closed() {
    let (ingress, _sequencer, _) = start(&Settings { tickets: 1, ..small() });
    let submit = || ingress.try_submit_bytes(&fields(), b"event", Ack::Durable);
    let held = submit().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ingress.blocking(submit).map(drop));
        ingress.close();
        assert!(matches!(waits.join().unwrap(), Err(SubmitError::Closed)));
    });
    drop(held);
}

#[test]
fn what_can_never_fit_is_told_at_once() {
    let (ingress, mut sequencer, _) = start(&Settings { window_events: 8, ..small() });
    let max = ingress.payload_len_max();
    let error = ingress.try_send_bytes(&fields(), &vec![0; max + 1]).unwrap_err();
    assert!(matches!(error, SubmitError::TooLarge { len, max } if len == max + 1), "{error}");
    ingress.try_send_bytes(&fields(), &vec![1; max]).unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), 1);

    let mut group = Group::new();
    (0..7).for_each(|_| group.push_bytes(&fields(), b"").unwrap());
    let error = ingress.try_submit_all(&group, Ack::Ordered).unwrap_err();
    assert!(matches!(error, SubmitError::TooMany { count: 7, max: 6 }), "{error}");
    group.clear();
    (0..3).for_each(|_| group.push_bytes(&fields(), &vec![0; max / 2]).unwrap());
    let error = ingress.try_submit_all(&group, Ack::Ordered).unwrap_err();
    assert!(matches!(error, SubmitError::TooLarge { .. }), "{error}");
}

#[test]
fn what_nobody_could_explain_is_refused_from_outside() {
    let clock = ManualClock::new(Timestamp(1_000));
    let mut table = ContractTable::new();
    for name in ["one", "two", "three"] {
        table.register(Contract { name: name.to_owned(), version: 1, shape: Shape::Unit }).unwrap();
    }
    let start = Start { contracts: Some(Arc::new(table)), ..Start::fresh(&small()) };
    let (ingress, mut sequencer) = sequencer(&small(), clock, start);
    let good = Fields { kind: Kind(2), source: SourceId(SourceId::OF_STAGES.0 - 1), ..Fields::default() };
    let of_a_stage = Fields { kind: Kind(3), source: SourceId::OF_STAGES, derived: true, ..good };
    let refusals = [
        (Fields { kind: Kind(0), ..good }, "kind 0 has no contract"),
        (Fields { kind: Kind(4), ..good }, "kind 4 has no contract"),
        (Fields { source: SourceId::OF_STAGES, ..good }, "source 2147483648 is reserved"),
        (Fields { source: SourceId(u32::MAX), ..good }, "source 4294967295 is reserved"),
        (Fields { derived: true, ..good }, "leave `derived` false"),
    ];
    for (fields, why) in refusals {
        let mut group = Group::new();
        for fields in [good, fields, good] {
            group.push_bytes(&fields, b"").unwrap();
        }
        let errors = [
            ingress.try_send_bytes(&fields, b"").unwrap_err(),
            ingress.try_submit_bytes(&fields, b"", Ack::Ordered).map(drop).unwrap_err(),
            ingress.try_submit_all(&group, Ack::Ordered).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(why), "{fields:?}: {error}");
        }
        group.clear();
        group.push_bytes(&good, b"").unwrap();
        drop(ingress.try_submit_all(&group, Ack::Ordered).unwrap());
    }
    for kind in [Kind(1), Kind(3)] {
        ingress.try_send_bytes(&Fields { kind, ..good }, b"").unwrap();
    }
    sequencer.derived().try_send_bytes(&of_a_stage, b"").unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), refusals.len() + 2 + 1);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Paid")]
struct Paid(u64);

/// As long as the first version, so that its bytes could pass for it.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Paid", version = 2)]
struct PaidV2(u64);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Refunded")]
struct Refunded(u64);

#[test]
fn an_event_under_the_kind_of_another_type_is_refused() {
    let mut table = ContractTable::new();
    let contracts = [Contract::of::<Refunded>(), Contract::of::<Paid>(), Contract::of::<PaidV2>()];
    let [refunded, paid, paid_v2] = contracts.map(|contract| table.register(contract).unwrap());
    let of = |kind| Fields { kind, ..Fields::default() };
    let start = Start { contracts: Some(Arc::new(table)), ..Start::fresh(&small()) };
    let (ingress, mut sequencer) = sequencer(&small(), ManualClock::new(Timestamp(1_000)), start);

    let wrong = [
        (
            refunded,
            "kind 1 is that of `test.Refunded v1` in this log, and the event is one of `test.Paid v1`",
        ),
        (paid_v2, "kind 3 is that of `test.Paid v2` in this log, and the event is one of `test.Paid v1`"),
        (Kind(0), "kind 0 has no contract"),
        (Kind(4), "kind 4 has no contract"),
    ];
    for (kind, why) in wrong {
        let mut group = Group::new();
        group.push(&of(paid), &Paid(1)).unwrap();
        group.push(&of(kind), &Paid(2)).unwrap();
        group.push(&of(refunded), &Refunded(3)).unwrap();
        let errors = [
            ingress.try_send(&of(kind), &Paid(1)).unwrap_err(),
            ingress.try_submit(&of(kind), &Paid(1), Ack::Ordered).map(drop).unwrap_err(),
            ingress.try_submit_all(&group, Ack::Ordered).map(drop).unwrap_err(),
            sequencer.derived().try_send(&of(kind), &Paid(1)).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(why), "{kind}: {error}");
        }
        group.clear();
        group.push(&of(paid), &Paid(4)).unwrap();
        drop(ingress.try_submit_all(&group, Ack::Ordered).unwrap());
    }
    ingress.try_send(&of(refunded), &Refunded(5)).unwrap();
    drop(ingress.try_submit(&of(paid_v2), &PaidV2(6), Ack::Ordered).unwrap());
    assert_eq!(sequencer.fill(Seq::ZERO), wrong.len() + 2);
}

#[test]
fn a_batch_that_is_held_for_long_is_passed_over() {
    let (ingress, mut sequencer, _) = start(&small());
    let mut held = Vec::<Arc<Batch>>::new();
    for round in 0..12 {
        ingress.try_send_bytes(&fields(), b"event").unwrap();
        assert_eq!(sequencer.fill(Seq(round)), 1, "{:?}", sequencer.stopped());
        let batch = take(&mut sequencer);
        assert!(held.iter().all(|one| one.index() != batch.index()));
        if round % 5 == 0 && held.len() < 2 {
            held.push(batch);
        }
    }
    assert_eq!(held.len(), 2);
}

#[test]
fn who_waits_for_room_is_woken_when_half_of_the_ring_is_free_and_not_before() {
    let settings = Settings { window_events: 8, ..small() };
    let (ingress, mut sequencer, _) = start(&settings);
    while ingress.try_send_bytes(&fields(), &[0; 100]).is_ok() {}
    let woken = Woken::not_yet();
    let waker = Waker::from(woken.clone());
    let mut room = pin!(ingress.room());
    assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut steps = 0;
    while !woken.is() {
        let slowest = Seq(sequencer.next_seq().0 - 1);
        assert!(sequencer.fill(slowest) > 0 && sequencer.stopped() == Stop::Window);
        drop(take(&mut sequencer));
        let fill = ingress.fill();
        assert_eq!(woken.is(), fill.used <= fill.capacity / 2, "{fill} bytes are taken");
        steps += 1;
    }
    assert!(steps > 2);
}

#[test]
fn how_full_a_ring_was_is_noted_and_whether_anything_is_in_it() {
    let settings = Settings { window_events: 8, ..small() };
    let (ingress, mut sequencer, _) = start(&settings);
    assert!(!sequencer.has_input());
    (0..6).for_each(|_| ingress.try_send_bytes(&fields(), &[0; 100]).unwrap());
    assert!(sequencer.has_input());
    let six = ingress.fill().used;
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (6, Stop::Empty));
    assert_eq!((sequencer.stats().fill_max, ingress.fill().used), (six, 0));
    assert!(!sequencer.has_input());
    (0..12).for_each(|_| ingress.try_send_bytes(&fields(), &[0; 100]).unwrap());
    assert_eq!((sequencer.fill(Seq(2)), sequencer.stopped()), (2, Stop::Window));
    assert!(sequencer.has_input());
    assert_eq!(sequencer.stats().fill_max, 2 * six, "also when it is not emptied");
    sequencer.fill(Seq(8));
    assert_eq!(sequencer.stats().fill_max, 2 * six);
}

#[test]
fn the_order_stays_within_the_window_of_the_slowest_cursor() {
    let settings = Settings { window_events: 8, ..small() };
    let (ingress, mut sequencer, _) = start(&settings);
    (0..20).for_each(|_| ingress.try_send_bytes(&fields(), b"").unwrap());
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (6, Stop::Window), "two are for the flow");
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (0, Stop::Window));
    (0..5).for_each(|_| sequencer.derived().try_send_bytes(&fields(), b"").unwrap());
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (2, Stop::Window), "and they use them");
    assert_eq!(sequencer.fill(Seq(4)), 3, "derived ones go up to seq 12, others to seq 10");
    assert_eq!(sequencer.next_seq(), Seq(12));
    assert_eq!(sequencer.fill(Seq(11)), 6);
}

#[test]
fn a_batch_is_used_again_only_when_its_last_reader_is_gone() {
    let (ingress, mut sequencer, _) = start(&small());
    let mut held = Vec::new();
    let round = |sequencer: &mut downbeat_sequencer::Sequencer| {
        ingress.try_send_bytes(&fields(), b"event").unwrap();
        sequencer.fill(Seq(sequencer.next_seq().0 - 1))
    };
    for _ in 0..3 {
        assert_eq!(round(&mut sequencer), 1);
        held.push(take(&mut sequencer));
    }
    assert_eq!((round(&mut sequencer), sequencer.stopped()), (0, Stop::Batches), "one is for the flow");
    sequencer.derived().try_send_bytes(&fields(), b"derived").unwrap();
    assert_eq!(sequencer.fill(Seq(3)), 2, "it is open for derived events, and then others may come along");
    held.push(take(&mut sequencer));
    assert_eq!((round(&mut sequencer), sequencer.stopped()), (0, Stop::Batches));

    let second_reader = held[1].clone();
    drop(held.remove(1));
    assert_eq!((sequencer.fill(Seq(5)), sequencer.stopped()), (0, Stop::Batches));
    assert_eq!(contents(&second_reader), [(Seq(2), b"event".to_vec())], "nobody wrote over it");
    drop((second_reader, held.pop()));
    assert_eq!(sequencer.fill(Seq(5)), 1);
    assert_eq!(contents(&take(&mut sequencer))[0].0, Seq(6));
}

#[test]
fn batches_keep_their_index_and_their_memory() {
    let (ingress, mut sequencer, _) = start(&small());
    let memory: Vec<_> = sequencer.batches().iter().map(|batch| batch.buffer().as_ptr()).collect();
    for (index, batch) in sequencer.batches().iter().enumerate() {
        assert_eq!(batch.index() as usize, index);
    }
    for seq in 0..20 {
        ingress.try_send_bytes(&fields(), b"event").unwrap();
        sequencer.fill(Seq(seq));
        let batch = take(&mut sequencer);
        assert_eq!(batch.buffer().as_ptr(), memory[batch.index() as usize]);
    }
}

#[test]
fn an_entry_that_does_not_fit_waits_for_the_next_batch() {
    let (ingress, mut sequencer, _) = start(&small());
    (0..3).for_each(|n| ingress.try_send_bytes(&fields(), &[n; 1_800]).unwrap());
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (2, Stop::BatchFull));
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (0, Stop::BatchFull));
    assert_eq!(sequencer.open_batch().0, 2);
    let first = take(&mut sequencer);
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.stopped()), (1, Stop::Empty));
    assert_eq!((first.count(), take(&mut sequencer).first_seq()), (2, Seq(3)));
}

#[test]
fn a_full_log_is_told_at_the_door_and_nothing_is_lost() {
    let (ingress, mut sequencer, _) = start(&small());
    ingress.try_send_bytes(&fields(), b"before").unwrap();
    sequencer.refuse(Some(cause("no segment is free")));
    let error = ingress.try_send_bytes(&fields(), b"refused").unwrap_err();
    assert!(matches!(&error, SubmitError::Full { .. }), "{error}");
    assert!(error.to_string().contains("no segment is free"), "{error}");
    sequencer.refuse(None);
    ingress.try_send_bytes(&fields(), b"after").unwrap();
    assert_eq!(sequencer.fill(Seq::ZERO), 2);
    let batch: Arc<_> = take(&mut sequencer);
    assert_eq!(contents(&batch), [(Seq(1), b"before".to_vec()), (Seq(2), b"after".to_vec())]);
}

#[test]
fn who_finds_no_ticket_is_told_how_many_there_are() {
    let (ingress, _sequencer, _) = start(&Settings { tickets: 3, ..small() });
    let submit = || ingress.try_submit_bytes(&fields(), b"event", Ack::Ordered);
    let held = [submit().unwrap(), submit().unwrap(), submit().unwrap()];
    let error = submit().map(drop).unwrap_err();
    assert!(error.to_string().contains("3 of 3 tickets"), "{error}");
    drop(held);
}
