//! loom: no word is lost, torn, seen before it is published, or written over before it was taken.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::{WordsIn, WordsOut, ring};

/// Words that go through a ring of two.
const WORDS: u64 = 6;

fn word(number: u64) -> u128 {
    u128::from(number) << 64 | u128::from(!number)
}

/// The sender publishes every second word, and then its cursor, as a worker does; the receiver looks no further
/// than that cursor, at which everything has to be there.
fn model(publish: fn(&WordsOut), free: fn(&WordsIn)) {
    loom::model(move || {
        let (mut out, mut arrive) = ring(2);
        let cursor = Arc::new(AtomicU64::new(0));
        let sender = {
            let cursor = cursor.clone();
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
                    cursor.store(sent, Ordering::Release);
                }
            })
        };
        let mut taken = 0;
        while taken < WORDS {
            let passed = cursor.load(Ordering::Acquire);
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
    });
}

#[test]
fn loom_words_arrive_whole_and_in_order() {
    model(WordsOut::publish, WordsIn::free);
}

#[test]
#[should_panic(expected = "what the cursor has passed is on the lane")]
fn loom_words_that_are_not_published_are_not_there() {
    model(
        |out| {
            if out.at == 2 {
                out.publish();
            }
        },
        WordsIn::free,
    );
}

#[test]
#[should_panic(expected = "taken is what was sent")]
fn loom_what_is_freed_before_it_is_taken_is_written_over() {
    model(WordsOut::publish, |arrive| arrive.ends.freed.store(arrive.taken + 2, Ordering::Release));
}
