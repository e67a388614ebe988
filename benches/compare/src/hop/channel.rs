//! tokio's bounded channel between tasks, as a chain and back and forth.

use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::Batch;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::hop::token::{Token, Work};
use crate::hop::{CAPACITY, STAGES};

/// A runtime on the calling thread, or on so many of its own.
pub(crate) fn runtime(threads: usize) -> Runtime {
    let runtime = match threads {
        1 => Builder::new_current_thread().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).build(),
    };
    runtime.expect("a runtime starts")
}

/// Tasks that hand tokens on.
pub(crate) struct Chain {
    runtime: Runtime,
    first: Sender<Token>,
    /// The last token that has arrived, told when it is the last of a run.
    arrived: Receiver<u64>,
    goals: Sender<u64>,
    work: Work,
    sent: u64,
}

impl Chain {
    pub(crate) fn start(threads: usize, batch: &Arc<Batch>) -> Self {
        let runtime = runtime(threads);
        let work = Work::new(batch);
        let (first, mut arrive) = channel::<Token>(CAPACITY);
        for _ in 1..STAGES {
            let (out, next) = channel(CAPACITY);
            let stage = work.clone();
            let mut before = std::mem::replace(&mut arrive, next);
            runtime.spawn(async move {
                while let Some(token) = before.recv().await {
                    if out.send(stage.look(token)).await.is_err() {
                        break;
                    }
                }
            });
        }
        let (goals, mut told) = channel(1);
        let (done, arrived) = channel(1);
        let stage = work.clone();
        runtime.spawn(async move {
            let mut sum = 0u64;
            while let Some(goal) = told.recv().await {
                let mut next = 0;
                while next < goal {
                    let Some(token) = arrive.recv().await else { return };
                    sum = sum.wrapping_add(stage.look(token).checked);
                    next = token.seq + 1;
                }
                // Who waits may have given up.
                let _ = done.send(sum).await;
            }
        });
        Self { runtime, first, arrived, goals, work, sent: 0 }
    }

    /// Sends `tokens` tokens through; the time until the last one has arrived.
    pub(crate) fn run(&mut self, tokens: u64) -> Duration {
        let Self { runtime, first, arrived, goals, work, sent } = self;
        let (from, to) = (*sent, *sent + tokens);
        *sent = to;
        let (first, work) = (first.clone(), work.clone());
        let begun = Instant::now();
        runtime.block_on(async {
            goals.send(to).await.expect("the sink lives");
            let source = tokio::spawn(async move {
                for token in work.tokens(from).take(tokens as usize) {
                    first.send(token).await.expect("the chain lives");
                }
            });
            arrived.recv().await.expect("the sink lives");
            source.await.expect("the source ends");
        });
        begun.elapsed()
    }
}

/// One token between two tasks of one thread.
pub(crate) struct Pair {
    runtime: Runtime,
    there: Sender<Token>,
    returned: Receiver<Token>,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let runtime = runtime(1);
        let (there, mut arrive) = channel(CAPACITY);
        let (back, returned) = channel(CAPACITY);
        runtime.spawn(async move {
            while let Some(token) = arrive.recv().await {
                if back.send(token).await.is_err() {
                    break;
                }
            }
        });
        Self { runtime, there, returned }
    }

    /// How long each of so many round trips took, in nanoseconds.
    pub(crate) fn run(&mut self, rounds: usize) -> Vec<u32> {
        let Self { runtime, there, returned } = self;
        runtime.block_on(async {
            let mut times = Vec::with_capacity(rounds);
            let mut token = Token::default();
            for _ in 0..rounds {
                let sent = Instant::now();
                there.send(token).await.expect("the other task lives");
                token = returned.recv().await.expect("the token comes back");
                times.push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            times
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::events;

    #[test]
    fn every_token_arrives_and_every_round_trip_is_timed() {
        for threads in [1, 2] {
            let mut chain = Chain::start(threads, &events());
            for tokens in [1, 5_000] {
                assert!(chain.run(tokens) > Duration::ZERO);
            }
        }
        assert_eq!(Pair::start().run(100).len(), 100);
    }
}
