//! Relays: what a hop costs, on the very lanes, nodes, doorbells and hosts that carry a flow, without a flow.
//!
//! A relay does for a token what a worker does around a stage: it looks how far its sender has passed, asks for
//! room, takes the token with its value, reads of the event it names, sends on; then it publishes its cursor,
//! rings, and relieves. What is left out is the stage.
//!
//! ```text
//!  chain:  [source] ──► [relay] ──► … ──► [relay] ── the last one says when the last token is through
//!  pair:   [relay] ◄──► [relay]                   ── one token, back and forth
//! ```
//!
//! For the benches; not part of what this crate promises.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use downbeat_flow::StageId;
use downbeat_record::{Batch, Seq};

use crate::error::StartError;
use crate::host::{ActorCell, Host};
use crate::lane::{LaneIn, LaneOut, lane, value_bytes};
use crate::node::Node;
use crate::pump::Pump;
use crate::settings::Settings;
use crate::sync::{AtomicU64, Ordering};
use crate::wait::Wait;
use crate::worker::{BUDGET, Progress};

/// The events that tokens name: one batch, gone through again and again, as seqs that never end.
struct Lap {
    batch: Arc<Batch>,
    slots: Vec<u32>,
    /// The seqs of earlier laps.
    before: u64,
}

impl Lap {
    fn new(batch: &Arc<Batch>) -> Self {
        let slots = batch.records().map(|record| record.slot).collect();
        Self { batch: batch.clone(), slots, before: 0 }
    }

    /// The slot of an event and its seq within the batch.
    #[inline]
    fn find(&mut self, seq: Seq) -> (u32, Seq) {
        while seq.0 - self.before > self.slots.len() as u64 {
            self.before += self.slots.len() as u64;
        }
        let index = seq.0 - self.before;
        (self.slots[index as usize - 1], Seq(self.batch.first_seq().0 + index - 1))
    }
}

/// What a relay reads of the event that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Its first eight bytes.
    Touch,
    /// All of its header, as a worker does.
    Record,
}

/// Who is told that the last token of a run has arrived.
struct Finish {
    goal: Arc<AtomicU64>,
    done: SyncSender<Instant>,
}

enum Role {
    /// Makes tokens up to the goal.
    Source(Arc<AtomicU64>),
    Relay(LaneIn),
}

struct Relay {
    node: Arc<Node>,
    role: Role,
    out: Option<LaneOut>,
    finish: Option<Finish>,
    lap: Lap,
    values: Vec<u128>,
    position: Seq,
    form: Form,
    /// Of what was touched, so that it is not left out.
    sum: u64,
}

/// What tokens carry, and what is done with them.
#[derive(Clone, Copy)]
struct Form {
    value_bytes: usize,
    read: Read,
}

impl Pump for Relay {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn pump(&mut self) -> Progress {
        let start = self.position;
        let progress = match self.form.read {
            Read::Touch => self.pass_on(|lap, slot, _| {
                let event = lap.batch.buffer()[slot as usize * 16..].first_chunk();
                u64::from_ne_bytes(*event.expect("an event is longer"))
            }),
            Read::Record => self.pass_on(|lap, slot, seq| {
                let (_, local) = lap.find(seq);
                lap.batch.record(slot, local).expect("every slot begins an event").timestamp.0
            }),
        };
        if self.position > start {
            self.out.iter().for_each(LaneOut::publish);
            self.node.pass(self.position);
            self.out.iter().for_each(|out| out.to.bell.ring());
        }
        if let Role::Relay(lane) = &self.role {
            lane.relieve();
        }
        if let Some(finish) = &self.finish
            && self.position > start
            && self.position.0 == finish.goal.load(Ordering::Acquire)
        {
            // Who waits may have given up.
            let _ = finish.done.try_send(Instant::now());
        }
        progress
    }
}

impl Relay {
    /// Passes tokens on for a turn; `read` is what is done with the event of each.
    #[inline(always)]
    fn pass_on(&mut self, mut read: impl FnMut(&mut Lap, u32, Seq) -> u64) -> Progress {
        let Self { role, out, lap, values, position, form, sum, .. } = self;
        match role {
            Role::Source(goal) => {
                let limit = Seq(goal.load(Ordering::Acquire));
                let words = form.value_bytes.div_ceil(size_of::<u128>());
                turn(position, limit, out, |seq, out| {
                    values.clear();
                    values.resize(words, 7);
                    let slot = lap.find(seq).0;
                    *sum = sum.wrapping_add(read(lap, slot, seq));
                    send(out, seq, slot, values, form.value_bytes as u32);
                })
            }
            Role::Relay(lane) => {
                let limit = lane.passed();
                turn(position, limit, out, |seq, out| {
                    values.clear();
                    let (token, _) = lane.take(values).expect("the sender has passed this seq");
                    if token.seq != seq {
                        out_of_order(token.seq, seq);
                    }
                    *sum = sum.wrapping_add(read(lap, token.slot, seq));
                    send(out, seq, token.slot, values, token.value_len);
                })
            }
        }
    }
}

/// An `assert_eq!` would put what it compares into memory, for a message that never comes.
#[cold]
fn out_of_order(found: Seq, expected: Seq) -> ! {
    panic!("tokens come in the order of seq: {found} where {expected} is next")
}

/// Does `pass` for every seq from behind `position` up to `limit`, while there is room and the turn lasts.
#[inline(always)]
fn turn(
    position: &mut Seq,
    limit: Seq,
    out: &mut Option<LaneOut>,
    mut pass: impl FnMut(Seq, &mut Option<LaneOut>),
) -> Progress {
    let mut seq = *position;
    let end = Seq(limit.0.min(seq.0 + BUDGET as u64));
    while seq < end && out.as_mut().is_none_or(LaneOut::has_room) {
        seq = seq.next();
        pass(seq, out);
    }
    *position = seq;
    // At the limit, or without room, whoever changes that rings.
    if seq == end && end < limit { Progress::More } else { Progress::Idle }
}

#[inline(always)]
fn send(out: &mut Option<LaneOut>, seq: Seq, slot: u32, values: &[u128], value_len: u32) {
    match out {
        Some(out) if value_len == 0 => out.send_token(StageId(0), seq, slot, &[]),
        Some(out) => out.send_token(StageId(0), seq, slot, value_bytes(values, 0, value_len)),
        None => {}
    }
}

/// A source and some relays after it, each an actor.
pub struct Chain {
    goal: Arc<AtomicU64>,
    source: Arc<Node>,
    done: Receiver<Instant>,
    sent: u64,
    relays: u64,
    actors: Vec<(usize, ActorCell)>,
    conductor: ActorCell,
    hosts: Vec<Host>,
}

impl Chain {
    /// Starts an actor for every entry of `hosts`, on the thread of that number: the source, then the relays.
    /// Each token names an event of `batch`, of which every relay reads `read`, and carries a value of `value_bytes`.
    ///
    /// # Errors
    ///
    /// When threads or actors cannot be started.
    ///
    /// # Panics
    ///
    /// With less than two entries, and on an empty batch.
    pub fn start(
        hosts: &[usize],
        batch: &Arc<Batch>,
        value_bytes: usize,
        read: Read,
    ) -> Result<Self, StartError> {
        let form = Form { value_bytes, read };
        assert!(hosts.len() > 1 && !batch.is_empty(), "{} actors, {} events", hosts.len(), batch.count());
        let placement = hosts;
        let (hosts, conductor) = start_hosts(placement, Wait::Park)?;
        let nodes: Vec<Arc<Node>> = placement.iter().map(|_| Arc::new(Node::new())).collect();
        let goal = Arc::new(AtomicU64::new(0));
        let (done, wait) = sync_channel(1);
        let mut role = Role::Source(goal.clone());
        let mut actors = Vec::new();
        for (index, host) in placement.iter().enumerate() {
            let next = nodes.get(index + 1).map(|next| lane(lane_bytes(), 1, &nodes[index], next));
            let (out, arrive) = next.unzip();
            let finish = arrive.is_none().then(|| Finish { goal: goal.clone(), done: done.clone() });
            let before = std::mem::replace(&mut role, arrive.map_or(Role::Source(goal.clone()), Role::Relay));
            let relay = relay(&nodes[index], before, out, finish, batch, form);
            actors.push((*host, hosts[*host].spawn(relay, &conductor)?));
        }
        let relays = placement.len() as u64 - 1;
        Ok(Self { goal, source: nodes[0].clone(), done: wait, sent: 0, relays, actors, conductor, hosts })
    }

    /// Hops of one token: one per relay.
    pub fn hops(&self) -> u64 {
        self.relays
    }

    /// Sends `tokens` tokens through; the time until the last one has arrived.
    ///
    /// # Panics
    ///
    /// When an actor crashed.
    pub fn run(&mut self, tokens: u64) -> Duration {
        self.sent += tokens;
        let begun = Instant::now();
        self.goal.store(self.sent, Ordering::Release);
        self.source.bell.ring();
        let end = self.done.recv_timeout(Duration::from_secs(60)).expect("the last token arrives");
        end - begun
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        stop(&self.hosts, &mut self.actors, &self.conductor);
    }
}

/// One end of a [`Pair`].
struct Paddle {
    node: Arc<Node>,
    arrive: LaneIn,
    out: LaneOut,
    lap: Lap,
    values: Vec<u128>,
    /// At one end: when the token was sent, how long round trips took, and who wants to know.
    clock: Option<Clock>,
}

struct Clock {
    sent: Instant,
    times: Vec<u32>,
    /// A run has begun.
    playing: bool,
    /// Round trips to go.
    left: Arc<AtomicU64>,
    done: SyncSender<Vec<u32>>,
}

impl Pump for Paddle {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn pump(&mut self) -> Progress {
        self.values.clear();
        let arrived = self.arrive.take(&mut self.values);
        let serve = self.clock.as_mut().is_some_and(|clock| clock.returned(arrived.is_some()));
        if arrived.is_some() && self.clock.is_none() || serve {
            let seq = self.node.cursor().next();
            let (slot, local) = self.lap.find(seq);
            assert!(self.lap.batch.record(slot, local).is_some(), "every slot begins an event");
            assert!(self.out.has_room(), "one token is under way at most");
            if let Some(clock) = &mut self.clock {
                clock.sent = Instant::now();
            }
            self.out.send_token(StageId(0), seq, slot, &[]);
            self.out.publish();
            self.node.pass(seq);
            self.out.to.bell.ring();
        }
        self.arrive.relieve();
        Progress::Idle
    }
}

impl Clock {
    /// Notes a round trip that has ended; true when another one is to begin.
    fn returned(&mut self, arrived: bool) -> bool {
        let left = self.left.load(Ordering::Acquire);
        if arrived {
            self.times.push(u32::try_from(self.sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
            self.left.store(left - 1, Ordering::Release);
            self.playing = left > 1;
            if !self.playing {
                let _ = self.done.try_send(std::mem::take(&mut self.times));
            }
            return self.playing;
        }
        // Rung without a token: the start of a run.
        let begins = left > 0 && !std::mem::replace(&mut self.playing, left > 0);
        if begins {
            self.times.reserve(left as usize);
        }
        begins
    }
}

/// Two actors and one token between them.
pub struct Pair {
    left: Arc<AtomicU64>,
    first: Arc<Node>,
    done: Receiver<Vec<u32>>,
    actors: Vec<(usize, ActorCell)>,
    conductor: ActorCell,
    hosts: Vec<Host>,
}

impl Pair {
    /// Starts both, each on the thread of that number.
    ///
    /// # Errors
    ///
    /// When threads or actors cannot be started.
    pub fn start(hosts: [usize; 2], batch: &Arc<Batch>) -> Result<Self, StartError> {
        Self::start_waiting(hosts, batch, Wait::Park)
    }

    /// Starts both, on threads that wait as `wait` says.
    ///
    /// # Errors
    ///
    /// When threads or actors cannot be started.
    pub fn start_waiting(hosts: [usize; 2], batch: &Arc<Batch>, wait: Wait) -> Result<Self, StartError> {
        let placement = hosts;
        let (hosts, conductor) = start_hosts(&placement, wait)?;
        let (first, second) = (Arc::new(Node::new()), Arc::new(Node::new()));
        let (there_out, there_in) = lane(lane_bytes(), 1, &first, &second);
        let (back_out, back_in) = lane(lane_bytes(), 1, &second, &first);
        let left = Arc::new(AtomicU64::new(0));
        let (done, wait) = sync_channel(1);
        let clock =
            Clock { sent: Instant::now(), times: Vec::new(), playing: false, left: left.clone(), done };
        let paddle = |node: &Arc<Node>, arrive, out, clock| Paddle {
            node: node.clone(),
            arrive,
            out,
            lap: Lap::new(batch),
            values: Vec::with_capacity(64),
            clock,
        };
        let near = hosts[placement[0]].spawn(paddle(&first, back_in, there_out, Some(clock)), &conductor)?;
        let far = hosts[placement[1]].spawn(paddle(&second, there_in, back_out, None), &conductor)?;
        let actors = vec![(placement[0], near), (placement[1], far)];
        Ok(Self { left, first, done: wait, actors, conductor, hosts })
    }

    /// Plays `rounds` round trips; how long each took, in nanoseconds, the reading of the clock included.
    ///
    /// # Panics
    ///
    /// When an actor crashed.
    pub fn run(&mut self, rounds: u64) -> Vec<u32> {
        self.left.store(rounds, Ordering::Release);
        self.first.bell.ring();
        self.done.recv_timeout(Duration::from_secs(60)).expect("the token comes back")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        stop(&self.hosts, &mut self.actors, &self.conductor);
    }
}

/// The size of lanes that ships; under Miri a small one.
fn lane_bytes() -> usize {
    if cfg!(miri) { 1 << 10 } else { Settings::default().lane_bytes }
}

fn relay(
    node: &Arc<Node>,
    role: Role,
    out: Option<LaneOut>,
    finish: Option<Finish>,
    batch: &Arc<Batch>,
    form: Form,
) -> Relay {
    let values = Vec::with_capacity(form.value_bytes.max(64));
    Relay {
        node: node.clone(),
        role,
        out,
        finish,
        lap: Lap::new(batch),
        values,
        position: Seq::ZERO,
        form,
        sum: 0,
    }
}

/// As many threads as `placement` names; the last one carries the conductor too.
fn start_hosts(placement: &[usize], wait: Wait) -> Result<(Vec<Host>, ActorCell), StartError> {
    let count = placement.iter().max().map_or(1, |last| last + 1);
    let hosts = (0..count)
        .map(|index| Host::start(format!("downbeat-hop-{index}"), wait, None))
        .collect::<Result<Vec<_>, _>>()?;
    let (crashes, _) = crossbeam::channel::bounded(1);
    let conductor = hosts[count - 1].conductor(crashes)?;
    Ok((hosts, conductor))
}

fn stop(hosts: &[Host], actors: &mut Vec<(usize, ActorCell)>, conductor: &ActorCell) {
    for (host, actor) in actors.drain(..) {
        hosts[host].kill(vec![actor]);
    }
    hosts[hosts.len() - 1].kill(vec![conductor.clone()]);
}

#[cfg(test)]
mod tests {
    use downbeat_record::{Fields, Timestamp};

    use super::*;

    fn batch() -> Arc<Batch> {
        let mut batch = Batch::with_capacity(8 << 10, 0);
        let mut time = 0..;
        while let Some(time) = time.next()
            && batch.push(&Fields::default(), Timestamp(time + 1), &[7; 64]).is_ok()
        {}
        Arc::new(batch)
    }

    #[test]
    fn every_token_arrives_on_one_thread_and_on_two() {
        let forms = [([0, 0, 0], Read::Touch), ([0, 1, 0], Read::Record), ([0, 1, 1], Read::Touch)];
        for (placement, read) in forms {
            let mut chain = Chain::start(&placement, &batch(), 40, read).unwrap();
            assert_eq!(chain.hops(), 2);
            for tokens in if cfg!(miri) { [1, 1, 2] } else { [1, 511, 20_000] } {
                assert!(chain.run(tokens) > Duration::ZERO);
            }
        }
    }

    #[test]
    fn every_round_trip_is_timed() {
        let spin = Wait::Spin(Duration::from_micros(50));
        let waits = [([0, 0], Wait::Park), ([0, 1], Wait::Park), ([0, 1], Wait::Poll), ([0, 1], spin)];
        // An interpreter takes for ever over a thread that never sleeps.
        for (placement, wait) in waits.into_iter().take(if cfg!(miri) { 2 } else { 4 }) {
            let mut pair = Pair::start_waiting(placement, &batch(), wait).unwrap();
            for rounds in [1, if cfg!(miri) { 2 } else { 300 }] {
                assert_eq!(pair.run(rounds).len() as u64, rounds);
            }
        }
    }
}
