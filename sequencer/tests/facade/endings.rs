//! Closing drains, a failed log answers everyone, and nobody waits for a sequencer that is gone.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use downbeat_record::{DecodeError, Event, Fields, Seq, Verified};
use downbeat_sequencer::{Ack, Settings, SubmitError};

use super::{Woken, cause, contents, small, start, take};

#[test]
fn closing_refuses_what_comes_later_and_drains_what_came_before() {
    let (ingress, mut sequencer, _) = start(&small());
    let derived = sequencer.derived();
    let ticket = ingress.try_submit_bytes(&Fields::default(), b"last", Ack::Durable).unwrap();
    ingress.close();
    let error = ingress.clone().try_send_bytes(&Fields::default(), b"late").unwrap_err();
    assert!(matches!(error, SubmitError::Closed), "{error}");
    derived.try_send_bytes(&Fields::default(), b"the flow goes on").unwrap();
    assert!(!sequencer.is_closed());
    derived.close();
    assert!(sequencer.is_closed() && !sequencer.is_idle());

    assert_eq!(sequencer.fill(Seq::ZERO), 2);
    assert!(!sequencer.is_idle(), "a batch is open");
    let batch = take(&mut sequencer);
    assert_eq!(contents(&batch), [(Seq(1), b"the flow goes on".to_vec()), (Seq(2), b"last".to_vec())]);
    sequencer.durable(Seq(2));
    assert!(sequencer.is_closed() && sequencer.is_idle());
    drop(sequencer);
    assert_eq!(ticket.wait().unwrap().seq, Seq(2));
    let error = ingress.try_send_bytes(&Fields::default(), b"too late").unwrap_err();
    assert!(matches!(error, SubmitError::Closed), "nothing was lost: {error}");
}

#[test]
fn a_failed_log_answers_everyone_with_its_cause() {
    let (ingress, mut sequencer, _) = start(&small());
    let submit = || ingress.try_submit_bytes(&Fields::default(), b"event", Ack::Durable);
    let durable = submit().unwrap();
    sequencer.fill(Seq::ZERO);
    sequencer.durable(Seq(1));
    let ordered = submit().unwrap();
    sequencer.fill(Seq::ZERO);
    let in_the_ring = submit().unwrap();
    sequencer.fail(cause("fdatasync: input/output error"));
    sequencer.fail(cause("a later one"));
    assert_eq!(durable.wait().unwrap().seq, Seq(1), "what was durable stays so");
    for result in [ordered.wait().map(|_| ()), in_the_ring.wait().map(|_| ()), submit().map(drop)] {
        let error = result.unwrap_err();
        assert!(matches!(error, SubmitError::Poisoned { .. }), "{error}");
        assert!(error.to_string().contains("fdatasync"), "{error}");
    }
    assert_eq!((sequencer.fill(Seq::ZERO), sequencer.next_seq()), (0, Seq(3)));
    assert_eq!(sequencer.stats().poisoned, 2, "one that was owed, one in the ring");
}

#[test]
fn only_one_that_owes_nothing_and_takes_nothing_ends_without_a_word() {
    let fields = Fields::default();
    let open = start(&small());
    drop(open.1);
    let error = open.0.try_send_bytes(&fields, b"").unwrap_err();
    assert!(matches!(error, SubmitError::Poisoned { .. }), "it was not closed: {error}");

    for filled in [false, true] {
        let (ingress, mut sequencer, _) = start(&small());
        let ticket = ingress.try_submit_bytes(&fields, b"event", Ack::Durable).unwrap();
        ingress.close();
        sequencer.derived().close();
        if filled {
            sequencer.fill(Seq::ZERO);
            take(&mut sequencer);
        }
        assert_eq!((sequencer.is_closed(), sequencer.is_idle()), (true, filled));
        drop(sequencer);
        let error = ticket.wait().unwrap_err();
        assert!(
            matches!(error, SubmitError::Poisoned { .. }),
            "its event may or may not be durable: {error}"
        );
    }
}

#[test]
fn who_waits_for_a_sequencer_that_leaves_is_woken() {
    let (ingress, mut sequencer, _) = start(&small());
    let mut ticket = ingress.try_submit_bytes(&Fields::default(), b"event", Ack::Durable).unwrap();
    sequencer.fill(Seq::ZERO);
    let woken = Woken::not_yet();
    let waker = woken.clone().into();
    assert!(Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(sequencer);
    assert!(woken.is());
}

#[test]
fn nobody_waits_for_a_sequencer_that_is_gone() {
    let (ingress, mut sequencer, _) = start(&small());
    let submit = || ingress.try_submit_bytes(&Fields::default(), b"event", Ack::Durable).unwrap();
    let (ordered, waits) = (submit(), submit());
    sequencer.fill(Seq::ZERO);
    let in_the_ring = submit();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| waits.wait());
        drop(sequencer);
        assert!(matches!(waiter.join().unwrap(), Err(SubmitError::Poisoned { .. })));
    });
    for ticket in [ordered, in_the_ring] {
        assert!(ticket.is_done(), "who looks and does not wait looks for ever");
        let error = ticket.wait().unwrap_err();
        assert!(error.to_string().contains("stopped before the event was acknowledged"), "{error}");
    }
    assert!(matches!(ingress.try_send_bytes(&Fields::default(), b""), Err(SubmitError::Poisoned { .. })));
}

/// An event whose encoder fails, or panics.
#[derive(rkyv::Archive)]
struct Broken {
    panics: bool,
}

impl downbeat_record::Shaped for Broken {
    fn shape() -> downbeat_record::Shape {
        downbeat_record::Shape::Unit
    }

    fn out_of_line_max(&self) -> usize {
        0
    }
}

impl Event for Broken {
    const NAME: &'static str = "test.Broken";
    const VERSION: u16 = 1;

    fn encode(&self, _: &mut [u8]) -> Result<usize, DecodeError> {
        assert!(!self.panics, "the encoder panics");
        Err(DecodeError::TooLarge { contract: Self::NAME, room: 0 })
    }

    fn view(_: Verified<&[u8]>) -> Result<&rkyv::Archived<Self>, DecodeError> {
        Err(DecodeError::TooLarge { contract: Self::NAME, room: 0 })
    }
}

#[test]
fn an_encoder_that_fails_gives_its_ticket_back_and_wakes_for_what_it_hid() {
    let (ingress, mut sequencer, _) = start(&Settings { tickets: 1, ..small() });
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = wakes.clone();
    sequencer.doorbell().hang(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    for round in 1..=3 {
        sequencer.doorbell().arm();
        let error =
            ingress.try_submit(&Fields::default(), &Broken { panics: false }, Ack::Durable).unwrap_err();
        assert!(matches!(error, SubmitError::Encode { .. }), "{error}");
        assert_eq!(wakes.load(Ordering::Relaxed), 2 * round - 1);
        sequencer.doorbell().arm();
        let panics = || ingress.try_submit(&Fields::default(), &Broken { panics: true }, Ack::Durable);
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(wakes.load(Ordering::Relaxed), 2 * round);
    }
    drop(ingress.try_submit_bytes(&Fields::default(), b"whole", Ack::Durable).unwrap());
    assert_eq!(sequencer.fill(Seq::ZERO), 1);
    assert_eq!(contents(&take(&mut sequencer)), [(Seq(1), b"whole".to_vec())]);
}
