//! Hosts for runs under shuttle: an actor is a thread of its scheduler, its mailbox a counter.
//!
//! It stands in for ractor and tokio, and keeps what the rest of this crate relies on: a message is a ring, handled
//! one at a time; a panic ends the actor and is told to the conductor; a killed actor stops before its next
//! message. It does not show anything about ractor itself, nor about the poller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use shuttle::sync::{Condvar, Mutex, MutexGuard};

use crate::pump::Pump;
use crate::sync::channel::Sender;
use crate::sync::thread::Builder;
use crate::wait::Wait;
use crate::worker::Progress;

/// Rings that may wait in a mailbox: one, and one more while the bell is connected.
const RINGS_MAX: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActorId(usize);

/// An actor that crashed, and what its panic said.
pub(crate) type Crash = (ActorId, String);

#[derive(Debug, thiserror::Error)]
#[error("a thread could not be started: {0}")]
pub(crate) struct SpawnErr(#[from] std::io::Error);

#[derive(Default)]
struct Mailbox {
    rings: usize,
    killed: bool,
    gone: bool,
}

struct Inner {
    mailbox: Mutex<Mailbox>,
    changed: Condvar,
    /// Of the conductor: who was spawned, and whom to tell of crashes.
    children: Mutex<Vec<ActorCell>>,
    crashes: Mutex<Option<Sender<Crash>>>,
}

/// An actor, from outside.
#[derive(Clone)]
pub(crate) struct ActorCell(Arc<Inner>);

impl ActorCell {
    fn new(crashes: Option<Sender<Crash>>) -> Self {
        Self(Arc::new(Inner {
            mailbox: Mutex::default(),
            changed: Condvar::new(),
            children: Mutex::default(),
            crashes: Mutex::new(crashes),
        }))
    }

    pub(crate) fn get_id(&self) -> ActorId {
        ActorId(Arc::as_ptr(&self.0).addr())
    }

    pub(crate) fn get_children(&self) -> Vec<Self> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.0.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Mailbox)) {
        change(&mut self.mailbox());
        self.0.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Mailbox) -> bool) -> MutexGuard<'_, Mailbox> {
        let mut mailbox = self.mailbox();
        while !until(&mailbox) {
            mailbox = self.0.changed.wait(mailbox).unwrap_or_else(PoisonError::into_inner);
        }
        mailbox
    }

    fn ring(&self) {
        self.change(|mailbox| {
            mailbox.rings += 1;
            let rings = mailbox.rings;
            assert!(rings <= RINGS_MAX || mailbox.gone, "{rings} rings in a mailbox for {RINGS_MAX}");
        });
    }

    /// True when there is a message to handle; false when the actor was killed.
    fn next(&self) -> bool {
        let mut mailbox = self.wait(|mailbox| mailbox.killed || mailbox.rings > 0);
        mailbox.rings = mailbox.rings.saturating_sub(1);
        !mailbox.killed
    }

    /// The life of an actor; what its panic said, if it crashed.
    fn live<P: Pump>(&self, pump: &mut P) -> Option<String> {
        while self.next() {
            pump.node().bell.answer();
            match catch_unwind(AssertUnwindSafe(|| pump.pump())) {
                Ok(Progress::More) => pump.node().bell.ring(),
                Ok(Progress::Idle) => {}
                Err(panic) => {
                    let reason = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned());
                    return Some(reason.unwrap_or_else(|| "a panic without words".to_owned()));
                }
            }
        }
        None
    }
}

/// Starts actors; as the runtime of a host does, it ends those that are left when it is dropped.
#[derive(Default)]
pub(crate) struct Host {
    actors: Mutex<Vec<ActorCell>>,
}

impl Host {
    pub(crate) fn start(_: String, _: Wait, _: Option<usize>) -> std::io::Result<Self> {
        Ok(Self::default())
    }

    pub(crate) fn conductor(&self, crashes: Sender<Crash>) -> Result<ActorCell, SpawnErr> {
        let conductor = ActorCell::new(Some(crashes));
        conductor.change(|mailbox| mailbox.gone = true);
        Ok(conductor)
    }

    pub(crate) fn spawn<P: Pump>(&self, mut pump: P, conductor: &ActorCell) -> Result<ActorCell, SpawnErr> {
        let actor = ActorCell::new(None);
        for list in [&conductor.0.children, &self.actors] {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(actor.clone());
        }
        let node = pump.node().clone();
        let (living, conductor) = (actor.clone(), conductor.clone());
        let actors = Builder::new().name("actor".to_owned());
        actors.spawn(move || {
            let crash = living.live(&mut pump);
            drop(pump);
            if let Some(reason) = crash {
                let crashes = conductor.0.crashes.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(crashes) = crashes {
                    let _ = crashes.try_send((living.get_id(), reason));
                }
            }
            living.change(|mailbox| mailbox.gone = true);
        })?;
        let rung = actor.clone();
        node.bell.connect(|| false, move || rung.ring());
        Ok(actor)
    }

    /// Kills actors at their next message boundary and waits until they are gone.
    pub(crate) fn kill(&self, actors: Vec<ActorCell>) {
        for actor in actors {
            actor.0.crashes.lock().unwrap_or_else(PoisonError::into_inner).take();
            actor.change(|mailbox| mailbox.killed = true);
            drop(actor.wait(|mailbox| mailbox.gone));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A schedule that failed does not go on, so there is nobody to wait for.
        if !std::thread::panicking() {
            let actors = std::mem::take(&mut *self.actors.lock().unwrap_or_else(PoisonError::into_inner));
            self.kill(actors);
        }
    }
}
