//! kameo actors with bounded mailboxes and a message for every token, as a chain and back and forth.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::Batch;
use kameo::actor::{ActorRef, Spawn as _};
use kameo::message::{Context, Message};
use kameo::{Actor, mailbox};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::hop::channel::runtime;
use crate::hop::token::{Token, Work};
use crate::hop::{CAPACITY, STAGES};

/// A token, and whether it is the last of a run.
struct Step {
    token: Token,
    last: bool,
}

struct Stage {
    next: Option<ActorRef<Self>>,
    work: Work,
    done: Sender<u64>,
    sum: u64,
}

impl Actor for Stage {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(stage: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(stage)
    }
}

impl Message<Step> for Stage {
    type Reply = ();

    async fn handle(&mut self, step: Step, _: &mut Context<Self, ()>) {
        let token = self.work.look(step.token);
        match &self.next {
            Some(next) => next.tell(Step { token, ..step }).send().await.expect("the next stage lives"),
            None => {
                self.sum = self.sum.wrapping_add(token.checked);
                if step.last {
                    // Who waits may have given up.
                    let _ = self.done.send(self.sum).await;
                }
            }
        }
    }
}

/// Actors that hand tokens on.
pub(crate) struct Chain {
    runtime: Runtime,
    first: ActorRef<Stage>,
    arrived: Receiver<u64>,
    work: Work,
    sent: u64,
}

impl Chain {
    pub(crate) fn start(threads: usize, batch: &Arc<Batch>) -> Self {
        let runtime = runtime(threads);
        let work = Work::new(batch);
        let (done, arrived) = channel(1);
        let first = runtime.block_on(async {
            let mut next = None;
            for _ in 0..STAGES {
                let stage = Stage { next, work: work.clone(), done: done.clone(), sum: 0 };
                next = Some(Stage::spawn_with_mailbox(stage, mailbox::bounded(CAPACITY)));
            }
            next.expect("at least one stage")
        });
        Self { runtime, first, arrived, work, sent: 0 }
    }

    /// Sends `tokens` tokens through; the time until the last one has arrived.
    pub(crate) fn run(&mut self, tokens: u64) -> Duration {
        let Self { runtime, first, arrived, work, sent } = self;
        let from = *sent;
        let last = from + tokens - 1;
        *sent += tokens;
        let (first, work) = (first.clone(), work.clone());
        let begun = Instant::now();
        runtime.block_on(async {
            let source = tokio::spawn(async move {
                for token in work.tokens(from).take(tokens as usize) {
                    let step = Step { token, last: token.seq == last };
                    first.tell(step).send().await.expect("the chain lives");
                }
            });
            arrived.recv().await.expect("the sink lives");
            source.await.expect("the source ends");
        });
        begun.elapsed()
    }
}

/// One of two actors that a token goes between.
struct Paddle {
    /// At one end: when the token was sent, and how long round trips took.
    clock: Option<Clock>,
    other: Option<ActorRef<Self>>,
}

struct Clock {
    sent: Option<Instant>,
    times: Vec<u32>,
    left: usize,
    done: Sender<Vec<u32>>,
}

impl Actor for Paddle {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(paddle: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(paddle)
    }
}

struct Connect(ActorRef<Paddle>);

impl Message<Connect> for Paddle {
    type Reply = ();

    async fn handle(&mut self, Connect(other): Connect, _: &mut Context<Self, ()>) {
        self.other = Some(other);
    }
}

struct Begin(usize);

impl Message<Begin> for Paddle {
    type Reply = ();

    async fn handle(&mut self, Begin(rounds): Begin, _: &mut Context<Self, ()>) {
        if let Some(clock) = &mut self.clock {
            clock.left = rounds;
            clock.times = Vec::with_capacity(rounds);
        }
        self.play(Token::default()).await;
    }
}

impl Message<Token> for Paddle {
    type Reply = ();

    async fn handle(&mut self, token: Token, _: &mut Context<Self, ()>) {
        self.play(token).await;
    }
}

impl Paddle {
    async fn play(&mut self, token: Token) {
        if let Some(clock) = &mut self.clock {
            if let Some(sent) = clock.sent.take() {
                clock.times.push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
                clock.left -= 1;
            }
            if clock.left == 0 {
                // Who waits may have given up.
                let _ = clock.done.send(std::mem::take(&mut clock.times)).await;
                return;
            }
            clock.sent = Some(Instant::now());
        }
        if let Some(other) = &self.other {
            other.tell(token).send().await.expect("the other one lives");
        }
    }
}

/// Two actors and one token between them, on one thread.
pub(crate) struct Pair {
    runtime: Runtime,
    first: ActorRef<Paddle>,
    times: Receiver<Vec<u32>>,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let runtime = runtime(1);
        let (done, times) = channel(1);
        let first = runtime.block_on(async {
            let clock = Clock { sent: None, times: Vec::new(), left: 0, done };
            let spawn =
                |clock| Paddle::spawn_with_mailbox(Paddle { clock, other: None }, mailbox::bounded(CAPACITY));
            let (first, second) = (spawn(Some(clock)), spawn(None));
            for (one, other) in [(&first, &second), (&second, &first)] {
                one.tell(Connect(other.clone())).send().await.expect("it lives");
            }
            first
        });
        Self { runtime, first, times }
    }

    /// How long each of so many round trips took, in nanoseconds.
    pub(crate) fn run(&mut self, rounds: usize) -> Vec<u32> {
        let Self { runtime, first, times } = self;
        runtime.block_on(async {
            first.tell(Begin(rounds)).send().await.expect("it lives");
            times.recv().await.expect("the token comes back")
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
        let mut pair = Pair::start();
        assert_eq!((pair.run(1).len(), pair.run(100).len()), (1, 100));
    }
}
