//! Threads that carry actors: all that ractor does here is lifecycle, supervision and doorbells.
//!
//! Each host is one thread with a current-thread runtime. What an actor receives is a [`Ring`] and nothing else;
//! it is zero-sized, so ringing allocates nothing. Data never travels in a mailbox, which ractor cannot bound.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
pub(crate) use ractor::{ActorCell, ActorId, SpawnErr};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::pin::pin;
use crate::poller::Poller;
use crate::pump::Pump;
use crate::wait::Wait;
use crate::worker::Progress;

/// The one message: look at your lanes.
pub(crate) struct Ring;

/// An actor that crashed, and what its panic said.
pub(crate) type Crash = (ActorId, String);

/// The ractor actor around a [`Pump`].
struct Pumping<P> {
    poller: Arc<Poller>,
    pump: std::marker::PhantomData<fn() -> P>,
}

impl<P: Pump> Actor for Pumping<P> {
    type Msg = Ring;
    type State = P;
    type Arguments = P;

    async fn pre_start(&self, _: ActorRef<Ring>, pump: P) -> Result<P, ActorProcessingErr> {
        Ok(pump)
    }

    async fn handle(&self, _: ActorRef<Ring>, _: Ring, pump: &mut P) -> Result<(), ActorProcessingErr> {
        self.poller.resume();
        pump.node().bell.answer();
        pump.node().pulse.turn();
        let progress = pump.pump();
        pump.node().pulse.turn();
        if progress == Progress::More {
            pump.node().bell.ring();
            // The runtime would give one that always has a message many turns before it looks at others. Where turns are
            // short that is as it should be: a look is a system call.
            if pump.lingered() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

/// Watches over all actors and passes on who crashed.
struct Conductor {
    crashes: Sender<Crash>,
}

impl Actor for Conductor {
    type Msg = Ring;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ring>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Ring>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, error) = event {
            // The channel holds more crashes than there can be actors; a full one means nobody mends any more.
            let _ = self.crashes.try_send((who.get_id(), error.to_string()));
        }
        Ok(())
    }
}

/// Tasks that a thread which looks for work runs between two looks at timers and sockets.
const EVENT_INTERVAL: u32 = 1_024;

/// One thread that carries actors.
pub(crate) struct Host {
    handle: Handle,
    poller: Arc<Poller>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts a thread named `name` that waits as `wait` says, on `core` if one is given.
    pub(crate) fn start(name: String, wait: Wait, core: Option<usize>) -> std::io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        if wait != Wait::Park {
            // Between two looks at timers and sockets, of which there are none.
            builder.event_interval(EVENT_INTERVAL);
        }
        let runtime = builder.enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let (stopped, poller) = (stop.clone(), Arc::new(Poller::new(wait)));
        let looking = poller.clone();
        handle.spawn(async move { looking.run().await });
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            pin(core);
            runtime.block_on(async move { stopped.notified().await });
        })?;
        Ok(Self { handle, poller, stop, thread: Some(thread) })
    }

    /// Starts the actor that watches over all others.
    pub(crate) fn conductor(&self, crashes: Sender<Crash>) -> Result<ActorCell, SpawnErr> {
        let spawned = self.run(async move { Actor::spawn(None, Conductor { crashes }, ()).await });
        spawned.map(|(actor, _)| actor.get_cell())
    }

    /// Starts an actor, lets the conductor watch it, and connects its doorbell.
    pub(crate) fn spawn<P: Pump>(&self, pump: P, conductor: &ActorCell) -> Result<ActorCell, SpawnErr> {
        let node = pump.node().clone();
        let conductor = conductor.clone();
        let pumping = Pumping { poller: self.poller.clone(), pump: std::marker::PhantomData };
        let spawned = self.run(async move { Actor::spawn_linked(None, pumping, pump, conductor).await });
        let (actor, _) = spawned?;
        let cell = actor.get_cell();
        self.poller.watch(&node);
        let looking = self.poller.looking.clone();
        let will_see = move || looking.will_see();
        // An actor that is gone needs no wake-up; the error also is not safe to keep.
        node.bell.connect(will_see, move || {
            let _: bool = actor.cast(Ring).is_ok();
        });
        Ok(cell)
    }

    /// Kills actors at their next message boundary and waits until they are gone.
    pub(crate) fn kill(&self, actors: Vec<ActorCell>) {
        self.run(async move {
            for actor in actors {
                let _ = actor.kill_and_wait(None).await;
            }
        });
    }

    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (done, wait): (Sender<T>, Receiver<T>) = bounded(1);
        self.handle.spawn(async move { drop(done.send(work.await)) });
        wait.recv().expect("a host runs until it is dropped")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A host thread does not panic: actors catch their own.
            let _ = thread.join();
        }
    }
}
