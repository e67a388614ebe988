//! One token between two ractor actors, back and forth: directly, or each time by way of a hub.

use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Token;

enum Play {
    /// Send the ball there.
    Connect([ActorRef<Play>; 2]),
    /// Play this many rounds.
    Begin(usize),
    Ball(Token),
}

/// A paddle sends what it gets to its first target; a hub sends to either in turn.
struct Player {
    hub: bool,
    times: Option<Sender<Vec<u32>>>,
}

#[derive(Default)]
struct Game {
    targets: Option<[ActorRef<Play>; 2]>,
    sent: Option<Instant>,
    left: usize,
    times: Vec<u32>,
}

impl Actor for Player {
    type Msg = Play;
    type State = Game;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Play>, (): ()) -> Result<Game, ActorProcessingErr> {
        Ok(Game::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Play>,
        message: Play,
        game: &mut Game,
    ) -> Result<(), ActorProcessingErr> {
        let mut token = match message {
            Play::Connect(targets) => {
                game.targets = Some(targets);
                return Ok(());
            }
            Play::Begin(rounds) => {
                game.left = rounds;
                game.times = Vec::with_capacity(rounds);
                Token { seq: 0, stage: 0, checked: 0 }
            }
            Play::Ball(token) => token,
        };
        if let Some(times) = &self.times {
            if let Some(sent) = game.sent.take() {
                game.times.push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
                game.left -= 1;
            }
            if game.left == 0 {
                // Who waits may have given up.
                let _ = times.try_send(std::mem::take(&mut game.times));
                return Ok(());
            }
            game.sent = Some(Instant::now());
        }
        let target = if self.hub { (token.seq % 2) as usize } else { 0 };
        token.seq += u64::from(self.hub);
        if let Some(targets) = &game.targets {
            drop(targets[target].cast(Play::Ball(token)));
        }
        Ok(())
    }
}

/// Two actors and one token between them, on one thread.
pub struct PlainPair {
    runtime: Runtime,
    first: ActorRef<Play>,
    times: Receiver<Vec<u32>>,
}

impl PlainPair {
    /// Two actors that send to each other, or with `by_hub` to a third one that sends on.
    ///
    /// # Panics
    ///
    /// When actors cannot be started.
    pub fn start(by_hub: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let (done, times) = channel(1);
        let first = runtime.block_on(async {
            let spawn = async |hub, times| {
                Actor::spawn(None, Player { hub, times }, ()).await.expect("an actor starts").0
            };
            let (first, second) = (spawn(false, Some(done)).await, spawn(false, None).await);
            let hub = spawn(true, None).await;
            let connect = |from: &ActorRef<Play>, to: [&ActorRef<Play>; 2]| {
                let targets = to.map(ActorRef::clone);
                drop(from.cast(Play::Connect(targets)));
            };
            connect(&hub, [&second, &first]);
            let [of_first, of_second] = if by_hub { [&hub, &hub] } else { [&second, &first] };
            connect(&first, [of_first, of_first]);
            connect(&second, [of_second, of_second]);
            first
        });
        Self { runtime, first, times }
    }

    /// Plays `rounds` round trips; how long each took, in nanoseconds, the reading of the clock included.
    ///
    /// # Panics
    ///
    /// When an actor is gone.
    pub fn run(&mut self, rounds: usize) -> Vec<u32> {
        let Self { runtime, first, times } = self;
        runtime.block_on(async {
            drop(first.cast(Play::Begin(rounds)));
            times.recv().await.expect("the token comes back")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_timed() {
        for by_hub in [false, true] {
            let mut pair = PlainPair::start(by_hub);
            assert_eq!((pair.run(1).len(), pair.run(100).len()), (1, 100));
        }
    }
}
