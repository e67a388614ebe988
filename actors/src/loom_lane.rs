//! loom: a worker that stops for want of room on a lane is rung once there is some, and all it sends arrives.

use downbeat_flow::StageId;
use downbeat_record::Seq;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::*;
use crate::loom_mutants::check;

/// Tokens with a value of one word each, more than the lane has room for at once.
const EVENTS: u64 = 3;

fn value(seq: u64) -> [u8; WORD] {
    (u128::from(seq) << 64 | u128::from(!seq)).to_ne_bytes()
}

/// A mailbox; exchanges only, which see the newest value.
fn connected(node: &Arc<Node>) -> loom::sync::Arc<AtomicU64> {
    let mailbox = loom::sync::Arc::new(AtomicU64::new(0));
    let posts = mailbox.clone();
    node.bell.connect(
        || false,
        move || {
            posts.fetch_add(1, Ordering::Relaxed);
        },
    );
    mailbox
}

/// Waits for a message and answers.
fn next_message(node: &Node, mailbox: &AtomicU64) {
    while mailbox.swap(0, Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    node.bell.answer();
}

/// Sender and receiver, each of which does something only when it is rung. A ring that is lost stops both: loom
/// then finds a model that never ends.
fn sender_and_receiver() {
    let (from, to) = (Arc::new(Node::new()), Arc::new(Node::new()));
    let (mut out, mut arrive) = lane(0, 1, &from, &to);
    let (to_sender, to_receiver) = (connected(&from), connected(&to));
    let sender = thread::spawn(move || {
        let mut sent = 0;
        while sent < EVENTS {
            next_message(&from, &to_sender);
            while sent < EVENTS && out.has_room() {
                sent += 1;
                out.send_token(StageId(0), Seq(sent), 0, &value(sent));
            }
            out.publish();
            from.pass(Seq(sent));
            out.to.bell.ring();
        }
    });
    let mut taken = 0;
    while taken < EVENTS {
        next_message(&to, &to_receiver);
        let passed = arrive.passed();
        while arrive.head().is_some_and(|token| token.seq <= passed) {
            let mut values = Vec::new();
            let (token, start) = arrive.take(&mut values).unwrap();
            taken += 1;
            assert_eq!(token.seq, Seq(taken), "tokens come in the order of seq");
            assert_eq!(value_bytes(&values, start, token.value_len), value(taken));
        }
        arrive.relieve();
    }
    sender.join().unwrap();
}

#[test]
fn a_worker_without_room_is_rung_when_there_is_some() {
    check(sender_and_receiver);
}
