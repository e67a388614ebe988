//! crossbeam's bounded channel and rtrb's ring, as queues of a chain and back and forth.

use std::time::Instant;

use ::crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use ::rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::hop::CAPACITY;
use crate::hop::queue::{Pop, Push};
use crate::hop::token::Token;

/// A bounded channel.
pub(crate) fn crossbeam() -> (Sender<Token>, Receiver<Token>) {
    bounded(CAPACITY)
}

impl Push for Sender<Token> {
    #[inline]
    fn push(&mut self, token: Token) -> Result<(), Token> {
        match self.try_send(token) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(token)) => Err(token),
            Err(TrySendError::Disconnected(_)) => panic!("the chain is gone"),
        }
    }
}

impl Pop for Receiver<Token> {
    #[inline]
    fn pop(&mut self) -> Option<Token> {
        self.try_recv().ok()
    }
}

/// A ring.
pub(crate) fn rtrb() -> (Producer<Token>, Consumer<Token>) {
    RingBuffer::new(CAPACITY)
}

impl Push for Producer<Token> {
    #[inline]
    fn push(&mut self, token: Token) -> Result<(), Token> {
        Self::push(self, token).map_err(|PushError::Full(token)| token)
    }
}

impl Pop for Consumer<Token> {
    #[inline]
    fn pop(&mut self) -> Option<Token> {
        Self::pop(self).ok()
    }
}

/// How long each of so many round trips took, in nanoseconds.
pub(crate) fn times(rounds: usize, mut trip: impl FnMut(Token) -> Token) -> Vec<u32> {
    let mut token = Token::default();
    (0..rounds)
        .map(|_| {
            let sent = Instant::now();
            token = trip(token);
            u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX)
        })
        .collect()
}

/// Two threads that block until the token comes.
pub(crate) fn crossbeam_pair() -> impl FnMut(usize) -> Vec<u32> {
    move |rounds| {
        let ((there, arrive), (back, returned)) = (crossbeam(), crossbeam());
        std::thread::scope(|scope| {
            scope.spawn(move || arrive.into_iter().try_for_each(|token| back.send(token)));
            let times = times(rounds, |token| {
                there.send(token).expect("the other thread lives");
                returned.recv().expect("the token comes back")
            });
            drop(there);
            times
        })
    }
}

/// Two threads that spin until the token comes.
pub(crate) fn rtrb_pair() -> impl FnMut(usize) -> Vec<u32> {
    move |rounds| {
        let ((mut there, mut arrive), (mut back, mut returned)) = (rtrb(), rtrb());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..rounds {
                    let token = spin(|| Pop::pop(&mut arrive));
                    Push::push(&mut back, token).expect("one token is under way");
                }
            });
            times(rounds, |token| {
                Push::push(&mut there, token).expect("one token is under way");
                spin(|| Pop::pop(&mut returned))
            })
        })
    }
}

/// Looks until there is something.
#[inline]
pub(crate) fn spin(mut look: impl FnMut() -> Option<Token>) -> Token {
    loop {
        if let Some(token) = look() {
            return token;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_timed() {
        assert_eq!(crossbeam_pair()(100).len(), 100);
        assert_eq!(rtrb_pair()(100).len(), 100);
    }
}
