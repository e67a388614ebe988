//! The same chain the usual way: ractor with a message for every token, peer to peer, and through a hub that every
//! stage reports to.
//!
//! ```text
//!  peer to peer:  source ──► stage ──► stage ──► … ──► sink
//!  hub:           source ──► hub ⇄ stage, hub ⇄ stage, …, hub ──► sink
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use downbeat_record::Batch;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

mod pair;

pub use pair::PlainPair;

/// Tokens under way at most; an unbounded mailbox needs someone to count.
const WINDOW: u64 = 1_024;
/// Tokens after which the source hears that there is room.
const CREDIT: u64 = 256;

/// As big as the one that goes through a lane.
#[derive(Clone, Copy)]
struct Token {
    seq: u64,
    stage: u32,
    checked: u64,
}

/// What the ends of a chain share.
#[derive(Default)]
struct Window {
    done: AtomicU64,
    room: Notify,
}

impl Window {
    fn arrived(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(CREDIT) {
            self.room.notify_one();
        }
    }
}

/// What a stage does with a token, in both forms: it reads the first eight bytes of its event.
struct Work {
    batch: Arc<Batch>,
    slots: Vec<u32>,
}

impl Work {
    #[inline]
    fn look(&self, token: Token) -> Token {
        let index = (token.seq % self.slots.len() as u64) as usize;
        let event = self.batch.buffer()[self.slots[index] as usize * 16..].first_chunk();
        let event = u64::from_ne_bytes(*event.expect("an event is longer"));
        Token { checked: token.checked.wrapping_add(event), ..token }
    }
}

struct Peer {
    next: Option<ActorRef<Token>>,
    work: Arc<Work>,
    window: Arc<Window>,
}

impl Actor for Peer {
    type Msg = Token;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Token>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Token>, token: Token, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let token = self.work.look(token);
        match &self.next {
            Some(next) => drop(next.cast(token)),
            None => self.window.arrived(),
        }
        Ok(())
    }
}

struct Spoke {
    work: Arc<Work>,
}

/// Where a spoke reports to, told once.
enum ToSpoke {
    Hub(ActorRef<ToHub>),
    Token(Token),
}

impl Actor for Spoke {
    type Msg = ToSpoke;
    type State = Option<ActorRef<ToHub>>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ToSpoke>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(None)
    }

    async fn handle(
        &self,
        _: ActorRef<ToSpoke>,
        message: ToSpoke,
        hub: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ToSpoke::Hub(told) => *hub = Some(told),
            ToSpoke::Token(token) => {
                if let Some(hub) = hub {
                    drop(hub.cast(ToHub(self.work.look(token))));
                }
            }
        }
        Ok(())
    }
}

struct ToHub(Token);

struct Hub {
    spokes: Vec<ActorRef<ToSpoke>>,
    window: Arc<Window>,
}

impl Actor for Hub {
    type Msg = ToHub;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ToHub>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<ToHub>,
        ToHub(token): ToHub,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match self.spokes.get(token.stage as usize) {
            Some(spoke) => {
                drop(spoke.cast(ToSpoke::Token(Token { stage: token.stage + 1, ..token })));
            }
            None => self.window.arrived(),
        }
        Ok(())
    }
}

enum Way {
    Peers(ActorRef<Token>),
    Hub(ActorRef<ToHub>),
}

/// A chain of actors on one thread: the one that calls [`Plain::run`].
pub struct Plain {
    runtime: Runtime,
    way: Way,
    window: Arc<Window>,
    sent: u64,
    stages: u64,
}

impl Plain {
    /// Stages that send to the next one.
    ///
    /// # Panics
    ///
    /// When actors cannot be started.
    pub fn peers(stages: usize, batch: &Arc<Batch>) -> Self {
        Self::start(stages, batch, async |work: Arc<Work>, window: Arc<Window>| {
            let mut next: Option<ActorRef<Token>> = None;
            for _ in 0..stages {
                let peer = Peer { next: next.take(), work: work.clone(), window: window.clone() };
                next = Some(Actor::spawn(None, peer, ()).await.expect("an actor starts").0);
            }
            Way::Peers(next.expect("at least one stage"))
        })
    }

    /// Stages that report to a hub, which sends on.
    ///
    /// # Panics
    ///
    /// When actors cannot be started.
    pub fn hub(stages: usize, batch: &Arc<Batch>) -> Self {
        Self::start(stages, batch, async |work: Arc<Work>, window: Arc<Window>| {
            let mut spokes = Vec::new();
            for _ in 0..stages {
                let spoke = Spoke { work: work.clone() };
                spokes.push(Actor::spawn(None, spoke, ()).await.expect("an actor starts").0);
            }
            let hub = Hub { spokes: spokes.clone(), window };
            let hub = Actor::spawn(None, hub, ()).await.expect("an actor starts").0;
            for spoke in &spokes {
                spoke.cast(ToSpoke::Hub(hub.clone())).map_err(drop).expect("a spoke lives");
            }
            Way::Hub(hub)
        })
    }

    fn start(
        stages: usize,
        batch: &Arc<Batch>,
        spawn: impl AsyncFnOnce(Arc<Work>, Arc<Window>) -> Way,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let slots = batch.records().map(|record| record.slot).collect();
        let work = Arc::new(Work { batch: batch.clone(), slots });
        let window = Arc::new(Window::default());
        let way = runtime.block_on(spawn(work, window.clone()));
        Self { runtime, way, window, sent: 0, stages: stages as u64 }
    }

    /// Stages that a token passes.
    pub fn stages(&self) -> u64 {
        self.stages
    }

    /// Sends `tokens` tokens through, a multiple of 256; the time until the last one has arrived.
    ///
    /// # Panics
    ///
    /// When an actor is gone.
    pub fn run(&mut self, tokens: u64) -> Duration {
        assert!(tokens.is_multiple_of(CREDIT), "{tokens} tokens are not whole credits of {CREDIT}");
        let (way, window) = (&self.way, &self.window);
        let (from, to) = (self.sent, self.sent + tokens);
        self.sent = to;
        let begun = Instant::now();
        self.runtime.block_on(async move {
            for seq in from..to {
                while seq - window.done.load(Ordering::Relaxed) >= WINDOW {
                    window.room.notified().await;
                }
                let token = Token { seq, stage: 0, checked: 0 };
                way.send(token);
            }
            while window.done.load(Ordering::Relaxed) < to {
                window.room.notified().await;
            }
        });
        begun.elapsed()
    }
}

impl Way {
    #[inline]
    fn send(&self, token: Token) {
        let sent = match self {
            Self::Peers(first) => first.cast(token).is_ok(),
            Self::Hub(hub) => hub.cast(ToHub(token)).is_ok(),
        };
        assert!(sent, "the chain is gone");
    }
}
