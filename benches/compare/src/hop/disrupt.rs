//! The disruptor crate's single-producer ring, as a queue of a chain and back and forth.

use std::collections::VecDeque;
use std::sync::Arc;

use disruptor::{
    BusySpin, EventPoller, Producer as _, SingleConsumerBarrier, SingleProducer, SingleProducerBarrier,
    build_single_producer,
};
use downbeat_record::Batch;

use crate::hop::CAPACITY;
use crate::hop::queue::{self, Chain, Pop, Push};
use crate::hop::ring::{spin, times};
use crate::hop::token::Token;

/// Tokens that are taken out at once.
const TAKE: u64 = 256;

/// A chain of rings.
pub(crate) fn chain(threads: usize, batch: &Arc<Batch>) -> Chain {
    queue::chain(threads, batch, ring)
}

struct In(SingleProducer<Token, SingleConsumerBarrier>);

/// What is there is taken out together, as its users are told to.
struct Out {
    poller: EventPoller<Token, SingleProducerBarrier>,
    taken: VecDeque<Token>,
}

fn ring() -> (In, Out) {
    let (poller, builder) = build_single_producer(CAPACITY, Token::default, BusySpin).new_event_poller();
    (In(builder.build()), Out { poller, taken: VecDeque::with_capacity(TAKE as usize) })
}

impl Push for In {
    #[inline]
    fn push(&mut self, token: Token) -> Result<(), Token> {
        self.0.try_publish(|slot| *slot = token).map(drop).map_err(|_| token)
    }
}

impl Pop for Out {
    #[inline]
    fn pop(&mut self) -> Option<Token> {
        if self.taken.is_empty()
            && let Ok(mut some) = self.poller.take(TAKE)
        {
            self.taken.extend((&mut some).copied());
        }
        self.taken.pop_front()
    }
}

/// Two threads that spin until the token comes.
pub(crate) fn pair() -> impl FnMut(usize) -> Vec<u32> {
    move |rounds| {
        let ((mut there, mut arrive), (mut back, mut returned)) = (ring(), ring());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..rounds {
                    let token = spin(|| arrive.pop());
                    back.push(token).expect("one token is under way");
                }
            });
            times(rounds, |token| {
                there.push(token).expect("one token is under way");
                spin(|| returned.pop())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_timed() {
        assert_eq!(pair()(100).len(), 100);
    }
}
