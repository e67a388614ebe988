//! loom: no word is lost, torn, seen before it is published, or written over before it was taken.

use downbeat_record::Seq;
use loom::sync::Arc;
use loom::thread;

use super::{WordsIn, WordsOut, ring};
use crate::loom_mutants::check;
use crate::node::Node;

/// Words that go through a ring of two.
const WORDS: u64 = 6;

fn word(number: u64) -> u128 {
    u128::from(number) << 64 | u128::from(!number)
}

/// The sender publishes every second word, and then its cursor, as a worker does; the receiver looks no further
/// than that cursor, at which everything has to be there.
fn turns(publish: fn(&WordsOut), free: fn(&WordsIn)) {
    let (mut out, mut arrive) = ring(2);
    let node = Arc::new(Node::new());
    let sender = {
        let node = node.clone();
        thread::spawn(move || {
            let mut sent = 0;
            while sent < WORDS {
                if !out.fits(2) {
                    thread::yield_now();
                    continue;
                }
                out.write(word(sent));
                out.write(word(sent + 1));
                sent += 2;
                publish(&out);
                node.pass(Seq(sent));
            }
        })
    };
    let mut taken = 0;
    while taken < WORDS {
        let passed = node.cursor().0;
        if taken == passed {
            thread::yield_now();
            continue;
        }
        while taken < passed {
            assert!(arrive.peek().is_some(), "what the cursor has passed is on the lane");
            assert_eq!(arrive.take(), word(taken), "what is taken is what was sent");
            taken += 1;
        }
        free(&arrive);
    }
    sender.join().unwrap();
    assert_eq!(arrive.peek(), None);
}

pub(crate) fn round_after_round() {
    turns(WordsOut::publish, WordsIn::free);
}

/// A worker looks at the first token of a lane before its sender's cursor has passed it, to see for which event
/// it is: a word that is seen early is whole too.
pub(crate) fn looked_at_early() {
    let (mut out, mut arrive) = ring(4);
    let sender = thread::spawn(move || {
        for number in 0..2 {
            out.write(word(number + 1));
            out.publish();
        }
    });
    let mut taken = 0;
    for _ in 0..2 {
        if let Some(seen) = arrive.peek() {
            assert_eq!(seen, word(taken + 1), "words are seen whole and in order");
            arrive.take();
            taken += 1;
        }
    }
    sender.join().unwrap();
}

#[test]
fn words_arrive_whole_and_in_order() {
    check(round_after_round);
}

#[test]
fn words_that_are_seen_early_are_whole() {
    check(looked_at_early);
}

#[test]
#[should_panic(expected = "what the cursor has passed is on the lane")]
fn words_that_are_not_published_are_not_there() {
    check(|| {
        turns(
            |out| {
                if out.at == 2 {
                    out.publish();
                }
            },
            WordsIn::free,
        );
    });
}

#[test]
#[should_panic(expected = "which is not taken")]
fn what_is_freed_before_it_is_taken_is_written_over() {
    check(|| {
        turns(WordsOut::publish, |arrive| {
            arrive.ends.freed.store(arrive.taken + 2, crate::sync::Ordering::Release);
        });
    });
}
