//! Threads that commit, each through a hold of its own on one log.
//!
//! They live as long as the log is measured: a connection is opened once, and a log that belongs to one thread
//! stays with it. Each commits, waits until that is durable, and commits again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use downbeat_benches::Sample;
use downbeat_benches::latency::Latencies;

use crate::compare::Measured;
use crate::event::{EVENT_BYTES, Event, Events};
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;

/// What there is to do in one sample.
struct Job {
    /// Commits that nobody has begun.
    left: AtomicI64,
    time_max: Duration,
    begin: Barrier,
}

enum Order {
    /// Put away what was left behind.
    Settle,
    Work(Arc<Job>),
}

/// What one thread has done.
#[derive(Default)]
struct Done {
    latencies: Latencies,
    commits: u64,
    span: Option<(Instant, Instant)>,
}

struct Member {
    orders: SyncSender<Order>,
    done: Receiver<Result<Done>>,
    thread: Option<JoinHandle<()>>,
}

/// The threads of one shape, on one log.
pub(crate) struct Crew {
    members: Vec<Member>,
    shape: Shape,
    commits: u64,
}

impl Crew {
    /// Starts the threads; each has its hold on the log when this returns.
    pub(crate) fn start(peer: &Arc<dyn Peer>, shape: Shape) -> Result<Self> {
        let members: Vec<Member> = (0..shape.threads)
            .map(|index| Member::start(peer.clone(), index, shape))
            .collect::<Result<_>>()?;
        let crew = Self { members, shape, commits: 0 };
        for member in &crew.members {
            member.answer().context("opening")?;
        }
        Ok(crew)
    }

    /// Lets every thread put away what the last sample left behind.
    pub(crate) fn settle(&self) -> Result<()> {
        for member in &self.members {
            member.order(Order::Settle)?;
        }
        self.members.iter().try_for_each(|member| member.answer().map(drop))
    }

    /// One sample: as many commits and as much time as the shape allows.
    pub(crate) fn work(&mut self) -> Result<Measured> {
        let job = Arc::new(Job {
            left: AtomicI64::new(self.shape.commits_max),
            time_max: self.shape.time_max,
            begin: Barrier::new(self.members.len()),
        });
        for member in &self.members {
            member.order(Order::Work(job.clone()))?;
        }
        let mut all = Done::default();
        for member in &self.members {
            let done = member.answer()?;
            all.latencies.merge(&done.latencies);
            all.commits += done.commits;
            all.span = match (all.span, done.span) {
                (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                (a, b) => a.or(b),
            };
        }
        let (begun, ended) = all.span.context("no thread has worked")?;
        self.commits += all.commits;
        let events = all.commits * self.shape.events as u64;
        let bytes = events * EVENT_BYTES as u64;
        let sample = Sample { bytes, ..Sample::new(events, ended - begun) };
        Ok(Measured { sample, latencies: all.latencies })
    }

    /// Events that were acknowledged, in all samples.
    pub(crate) fn events(&self) -> u64 {
        self.commits * self.shape.events as u64
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Without orders the thread ends.
            member.orders = sync_channel(0).0;
        }
        for thread in self.members.iter_mut().filter_map(|member| member.thread.take()) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Member {
    fn start(peer: Arc<dyn Peer>, index: usize, shape: Shape) -> Result<Self> {
        let (orders, received) = sync_channel::<Order>(1);
        let (answers, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("committer-{index}")).spawn(move || {
            let mut committer = match peer.committer(index, shape) {
                Ok(committer) => committer,
                Err(error) => {
                    // Who asked may have given up.
                    let _ = answers.send(Err(error));
                    return;
                }
            };
            let mut events = Events::new(shape.events, index as u64 + 1);
            let mut answered = answers.send(Ok(Done::default())).is_ok();
            while answered && let Ok(order) = received.recv() {
                let answer = match order {
                    Order::Settle => committer.settle().map(|()| Done::default()),
                    Order::Work(job) => Work::new(&job, &mut events).run(committer.as_mut()),
                };
                answered = answers.send(answer).is_ok();
            }
        })?;
        Ok(Self { orders, done, thread: Some(thread) })
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).ok().context("the committer is gone; see its message")
    }

    fn answer(&self) -> Result<Done> {
        self.done.recv().context("the committer is gone; see its message")?
    }
}

/// The part of one thread in a sample.
pub(crate) struct Work<'j> {
    job: &'j Job,
    events: &'j mut Events,
    until: Instant,
    done: Done,
}

impl<'j> Work<'j> {
    fn new(job: &'j Job, events: &'j mut Events) -> Self {
        // What it takes to note times is there before they begin: 64 histograms are thousands of pages.
        let mut done = Done::default();
        done.latencies.add(Duration::from_millis(1));
        done.latencies.clear();
        job.begin.wait();
        let begun = Instant::now();
        done.span = Some((begun, begun));
        Self { job, events, until: begun + job.time_max, done }
    }

    fn run(mut self, committer: &mut dyn Committer) -> Result<Done> {
        committer.drive(&mut self)?;
        if let Some((_, ended)) = &mut self.done.span {
            *ended = Instant::now();
        }
        Ok(self.done)
    }

    /// The events of the next commit, while there is one to make.
    pub(crate) fn next(&mut self) -> Option<&[Event]> {
        let goes_on = Instant::now() < self.until && self.job.left.fetch_sub(1, Ordering::Relaxed) > 0;
        goes_on.then(|| self.events.next())
    }

    /// Notes a commit that is durable.
    pub(crate) fn committed(&mut self, begun: Instant) {
        self.done.latencies.add(begun.elapsed());
        self.done.commits += 1;
    }
}
