//! Closing drains, a failed log answers everyone, and nobody waits for a sequencer that is gone.

use downbeat_record::{Fields, Seq};
use downbeat_sequencer::{Ack, SubmitError};

use super::{cause, contents, small, start, take};

#[test]
fn closing_refuses_what_comes_later_and_drains_what_came_before() {
    let (ingress, mut sequencer, _) = start(&small());
    let derived = ingress.derived();
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
        let error = ticket.wait().unwrap_err();
        assert!(error.to_string().contains("stopped"), "{error}");
    }
    assert!(matches!(ingress.try_send_bytes(&Fields::default(), b""), Err(SubmitError::Poisoned { .. })));
}
