//! From a producer into the ring, and from the ring into a batch: one thread in turn.

use std::path::Path;

use downbeat_benches::flow::Posted;
use downbeat_record::{Fields, IdempotencyKey, Kind, Seq};
use downbeat_sequencer::{Ack, Ingress, Sequencer, Settings, Start, SystemClock, Ticket, sequencer};

/// What a producer asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Receipt,
    Key,
}

/// The ring and the tickets hold all events of the longer run, and for the order one batch more.
fn start() -> (Ingress, Sequencer) {
    let settings = Settings { ring_bytes: 16 << 20, tickets: 1 << 16, ..Settings::default() };
    sequencer(&settings, SystemClock, Start::fresh(&settings))
}

fn put(ingress: &Ingress, count: u64, form: Form, tickets: &mut Vec<Ticket>) {
    for number in 0..count {
        let (event, key) = Posted::nth(0, number);
        let idempotency_key = IdempotencyKey(if form == Form::Key { u128::from(number + 1) } else { 0 });
        let fields = Fields { kind: Kind(1), key, idempotency_key, ..Fields::default() };
        if form == Form::Receipt {
            tickets.push(ingress.try_submit(&fields, &event, Ack::Durable).expect("there is room"));
        } else {
            ingress.try_send(&fields, &event).expect("there is room");
        }
    }
}

fn submitted(count: u64, form: Form) -> u64 {
    let (ingress, sequencer) = start();
    let mut tickets = Vec::with_capacity(1 << 16);
    put(&ingress, count, form, &mut tickets);
    // Giving a ticket back is not of submitting it.
    std::mem::forget(tickets);
    drop(sequencer);
    count
}

fn ordered(count: u64, form: Form) -> u64 {
    let (ingress, mut sequencer) = start();
    let mut tickets = Vec::with_capacity(1 << 16);
    put(&ingress, 1 << 16, form, &mut tickets);
    while sequencer.next_seq().0 <= count {
        sequencer.fill(Seq(sequencer.next_seq().0 - 1));
        sequencer.close_batch().expect("the ring has events");
        sequencer.durable(Seq(sequencer.next_seq().0 - 1));
    }
    std::mem::forget(tickets);
    sequencer.next_seq().0 - 1
}

pub(super) fn submit(count: u64, _: &Path) -> u64 {
    submitted(count, Form::Plain)
}

pub(super) fn submit_receipt(count: u64, _: &Path) -> u64 {
    submitted(count, Form::Receipt)
}

pub(super) fn submit_key(count: u64, _: &Path) -> u64 {
    submitted(count, Form::Key)
}

pub(super) fn order(count: u64, _: &Path) -> u64 {
    ordered(count, Form::Plain)
}

pub(super) fn order_receipt(count: u64, _: &Path) -> u64 {
    ordered(count, Form::Receipt)
}

pub(super) fn order_key(count: u64, _: &Path) -> u64 {
    ordered(count, Form::Key)
}
