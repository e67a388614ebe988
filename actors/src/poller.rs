//! The part of a host that looks for rings, so that nobody has to wake it.
//!
//! While it looks, who rings only sets the bell's flag, and the poller, on the thread of the actors, calls the
//! actor. A wake-up from another thread, a system call and a sleep's end, is spared on both sides.
//!
//! ```text
//!  ringer: rung := true, fence, looking? ── no ──► wake the actor
//!  poller: looking ─► rung? call ─► nothing for a while: looking := false, fence, look once more, sleep
//!              ▲                                                                                    │
//!              └──────────────────── looking := true ◄── an actor was woken ◄───────────────────────┘
//! ```
//!
//! Either the ringer sees that nobody looks, or the poller's last look sees the ring: `loom_poller.rs`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Notify;

use crate::node::Node;
use crate::sync::{AtomicBool, AtomicU64, Ordering, Site, fence};
use crate::wait::Wait;

/// Looks at all bells before other tasks of the thread get their turn.
const LOOKS: usize = 32;

/// Whether somebody looks at the bells of a host.
#[derive(Default)]
pub(crate) struct Looking(AtomicBool);

impl Looking {
    /// For a ringer, after its flag: true when the poller will see it.
    #[inline]
    pub(crate) fn will_see(&self) -> bool {
        fence(Site::LookingSeen);
        self.0.load(Ordering::Relaxed)
    }

    /// For the poller: it begins to look.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// For the poller: it stops, and has to look once more.
    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
        fence(Site::LookingEnd);
    }
}

/// The poller of one host.
pub(crate) struct Poller {
    wait: Wait,
    pub(crate) looking: Arc<Looking>,
    /// An actor was woken while nobody looked.
    resume: Notify,
    nodes: Mutex<Vec<Weak<Node>>>,
    /// How often `nodes` was changed.
    changes: AtomicU64,
}

impl Poller {
    pub(crate) fn new(wait: Wait) -> Self {
        Self {
            wait,
            looking: Arc::default(),
            resume: Notify::new(),
            nodes: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Looks at the bell of one more actor.
    pub(crate) fn watch(&self, node: &Arc<Node>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(node));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// An actor of this host was woken: there is work, so it is time to look again.
    #[inline]
    pub(crate) fn resume(&self) {
        if self.wait != Wait::Park && !self.looking.will_see() {
            self.resume.notify_one();
        }
    }

    /// Looks, and sleeps in between as the policy says. Never ends.
    pub(crate) async fn run(&self) {
        if self.wait == Wait::Park {
            return;
        }
        loop {
            self.looking.begin();
            self.look().await;
            self.looking.end();
            self.call_rung(&self.watched());
            self.resume.notified().await;
        }
    }

    fn watched(&self) -> Vec<Weak<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn call_rung(&self, nodes: &[Weak<Node>]) -> bool {
        let mut found = false;
        for node in nodes.iter().filter_map(Weak::upgrade) {
            found |= node.bell.call_if_rung();
        }
        found
    }

    /// Until nothing was rung for as long as the policy says.
    async fn look(&self) {
        let (mut seen, mut nodes) = (u64::MAX, Vec::new());
        let mut idle_since = Instant::now();
        poll_fn(|context| {
            let changes = self.changes.load(Ordering::Acquire);
            if changes != seen {
                (seen, nodes) = (changes, self.watched());
            }
            for _ in 0..LOOKS {
                if self.call_rung(&nodes) {
                    idle_since = Instant::now();
                    break;
                }
                std::hint::spin_loop();
            }
            if self.wait.looks_again(idle_since) {
                // The thread's other tasks run, and then this one again.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

#[cfg(all(test, loom))]
#[path = "loom_poller.rs"]
pub(crate) mod loom_poller;
