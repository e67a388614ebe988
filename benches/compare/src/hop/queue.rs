//! A chain of stages between queues, on one thread or on two that take every other stage.
//!
//! ```text
//!  source ─► relay ─► relay ─► relay ─► relay ─► sink        five queues, five hops
//!    0         1        0        1        0        1         threads, when there are two
//! ```
//!
//! A thread looks at its stages in turn, as often as there is something; it spins when there is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use downbeat_record::Batch;

use crate::hop::STAGES;
use crate::hop::token::{Token, Work};

/// Tokens that a stage takes before another one's turn.
const BUDGET: usize = 256;

/// The end of a queue that tokens go in at.
pub(crate) trait Push: Send {
    /// Gives the token back when there is no room.
    fn push(&mut self, token: Token) -> Result<(), Token>;
}

/// The end that they come out of.
pub(crate) trait Pop: Send {
    fn pop(&mut self) -> Option<Token>;
}

trait Stage: Send {
    /// Moves some tokens; true when it moved one.
    fn pump(&mut self) -> bool;
}

struct Source<P> {
    out: P,
    work: Work,
    next: u64,
    goal: Arc<AtomicU64>,
}

impl<P: Push> Stage for Source<P> {
    fn pump(&mut self) -> bool {
        let left = self.goal.load(Ordering::Acquire) - self.next;
        let mut moved = 0;
        for token in self.work.tokens(self.next).take(BUDGET.min(left as usize)) {
            if self.out.push(token).is_err() {
                break;
            }
            moved += 1;
        }
        self.next += moved;
        moved > 0
    }
}

struct Relay<Q, P> {
    arrive: Q,
    out: P,
    work: Work,
    held: Option<Token>,
}

impl<Q: Pop, P: Push> Stage for Relay<Q, P> {
    fn pump(&mut self) -> bool {
        let mut moved = false;
        for _ in 0..BUDGET {
            let Some(token) = self.held.take().or_else(|| Some(self.work.look(self.arrive.pop()?))) else {
                break;
            };
            if let Err(token) = self.out.push(token) {
                self.held = Some(token);
                break;
            }
            moved = true;
        }
        moved
    }
}

struct Sink<Q> {
    arrive: Q,
    work: Work,
    arrived: u64,
    sum: u64,
    done: Arc<AtomicU64>,
}

impl<Q: Pop> Stage for Sink<Q> {
    fn pump(&mut self) -> bool {
        let before = self.arrived;
        for _ in 0..BUDGET {
            let Some(token) = self.arrive.pop() else { break };
            let token = self.work.look(token);
            assert_eq!(token.seq, self.arrived, "tokens come in order");
            self.sum = self.sum.wrapping_add(token.checked);
            self.arrived += 1;
        }
        if self.arrived > before {
            self.done.store(self.arrived, Ordering::Release);
        }
        self.arrived > before
    }
}

/// A chain of queues.
pub(crate) struct Chain {
    threads: Vec<Vec<Box<dyn Stage>>>,
    goal: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
}

/// Stages between queues of one kind, on so many threads.
pub(crate) fn chain<P: Push + 'static, Q: Pop + 'static>(
    threads: usize,
    batch: &Arc<Batch>,
    queue: impl Fn() -> (P, Q),
) -> Chain {
    let work = Work::new(batch);
    let (goal, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut chain = Chain { threads: (0..threads).map(|_| Vec::new()).collect(), goal, done };
    let (out, mut arrive) = queue();
    let source = Source { out, work: work.clone(), next: 0, goal: chain.goal.clone() };
    chain.threads[0].push(Box::new(source));
    for index in 1..STAGES {
        let (out, next) = queue();
        let relay = Relay { arrive, out, work: work.clone(), held: None };
        chain.threads[index % threads].push(Box::new(relay));
        arrive = next;
    }
    let sink = Sink { arrive, work, arrived: 0, sum: 0, done: chain.done.clone() };
    chain.threads[STAGES % threads].push(Box::new(sink));
    chain
}

impl Chain {
    /// Sends `tokens` tokens through; the time until the last one has arrived.
    pub(crate) fn run(&mut self, tokens: u64) -> Duration {
        let goal = self.goal.load(Ordering::Relaxed) + tokens;
        let done = &self.done;
        let begun = Instant::now();
        self.goal.store(goal, Ordering::Release);
        std::thread::scope(|scope| {
            let (here, there) = self.threads.split_at_mut(1);
            for stages in there {
                scope.spawn(move || work(stages, done, goal));
            }
            work(&mut here[0], done, goal);
        });
        begun.elapsed()
    }
}

fn work(stages: &mut [Box<dyn Stage>], done: &AtomicU64, goal: u64) {
    while done.load(Ordering::Acquire) < goal {
        let moved = stages.iter_mut().fold(false, |moved, stage| stage.pump() | moved);
        if !moved {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::{disrupt, events, ring};

    #[test]
    fn every_token_arrives_in_order_on_one_thread_and_on_two() {
        let batch = events();
        for threads in [1, 2] {
            for mut chain in [
                chain(threads, &batch, ring::crossbeam),
                chain(threads, &batch, ring::rtrb),
                disrupt::chain(threads, &batch),
            ] {
                for tokens in [1, 5_000] {
                    chain.run(tokens);
                }
                assert_eq!(chain.done.load(Ordering::Acquire), 5_001);
            }
        }
    }
}
