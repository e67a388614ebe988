//! The flow in parallel: starting it, asking it, mending it, stopping it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use downbeat_flow::{EventType, Flow, Kinds, Stage};
use downbeat_record::{Checkpoint, Key, LeafProgress, Seq};

use crate::board::{Board, Sums};
use crate::error::StartError;
use crate::faults::{Fault, Faults};
use crate::feeds::{Change, Changes, Feeds};
use crate::gate::Gate;
use crate::group::{Blueprint, CatchUp, Group, LeafPort};
use crate::health::{Health, behind};
use crate::hops::{HopLatency, Hops};
use crate::host::{ActorCell, ActorId, Crash, Host};
use crate::leaf::{Gathered, LeafWorker, NewLanes};
use crate::node::Node;
use crate::order::OrderBell;
use crate::plan::Plan;
use crate::ports::Ports;
use crate::requests::Requests;
use crate::settings::Settings;
use crate::sync::channel::{Receiver, bounded};
use crate::sync::thread::{Builder, JoinHandle};
use crate::sync::{Mutex, MutexGuard};
use crate::wait::Wait;

/// A flow that runs on actors.
pub struct Actors {
    shared: Arc<Shared>,
    mender: Option<JoinHandle<()>>,
}

/// What a worker is doing, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its stages, or the leaf.
    pub name: String,
    /// Its shard.
    pub shard: u32,
    /// The last seq it has passed.
    pub cursor: Seq,
    /// How it is.
    pub health: Health,
}

struct Shared {
    blueprint: Blueprint,
    hosts: Vec<Host>,
    /// Carries the leaves, which may block, and the conductor.
    leaf_host: Host,
    conductor: ActorCell,
    groups: Mutex<Vec<GroupState>>,
    gate: Arc<Gate>,
    changes: Arc<Changes>,
    leaf_names: Vec<Arc<str>>,
}

struct GroupState {
    group: Group,
    crashes: u32,
}

impl Actors {
    /// Starts the actors of a flow, applies the log up to where it was recovered, and returns when every stage
    /// has passed that. The [`Feeds`] belong to the thread that sequences; `wake_order` wakes that thread.
    ///
    /// # Errors
    ///
    /// [`StartError`]: above all when the code does not give the digests that are in the log.
    pub fn start(
        flow: Flow,
        kinds: Arc<Kinds>,
        settings: Settings,
        ports: Ports,
        wake_order: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Self, Feeds), StartError> {
        let plan = Plan::new(&flow, settings.shards.max(1));
        let names: Vec<String> = flow.stages().iter().map(|stage| stage.name.to_string()).collect();
        let senders: Arc<[(Arc<str>, EventType)]> =
            flow.stages().iter().map(|stage| (stage.name.clone(), stage.output)).collect();
        let progress: Vec<_> =
            flow.leaves().iter().map(|leaf| logged_progress(&ports.checkpoints, &leaf.name)).collect();
        let leaf_nodes: Vec<_> = flow.leaves().iter().map(|_| Arc::new(Node::new())).collect();
        let gate = Arc::new(Gate::new(ports.recovered, leaf_nodes.clone()));
        let (reports, interval) = (plan.reports(), settings.checkpoint_interval);
        let board = Arc::new(Board::new(names, reports, interval, ports.checkpoints, gate.clone()));
        let order = Arc::new(OrderBell::new(wake_order));
        let faults = Arc::new(Faults::new(order.clone()));

        let hosts = (0..settings.threads.max(1))
            .map(|index| {
                let core = settings.first_core.map(|first| first.saturating_add(index));
                Host::start(format!("downbeat-flow-{index}"), settings.wait, core)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let leaf_host = Host::start("downbeat-leaves".to_owned(), Wait::Park, None)?;
        let (crashes, crashed) = bounded(1024);
        let conductor = leaf_host.conductor(crashes)?;

        let mut leaf_ports = Vec::new();
        let mut leaf_workers = Vec::new();
        for (index, (def, node)) in flow.leaves().iter().zip(leaf_nodes).enumerate() {
            let new_lanes = Arc::new(NewLanes::default());
            let upstream = plan.leaves[index].clone();
            let mut leaf = def.take();
            let remembered = leaf.resume().map_err(|error| StartError::Leaf {
                leaf: def.name.to_string(),
                reason: error.to_string(),
            })?;
            if let Some(seq) = remembered.filter(|seq| *seq > ports.recovered) {
                let reason = format!(
                    "it remembers that it delivered seq {seq}, and the log ends with {}: its memory is that of another log, or \
                     this one has lost its end",
                    ports.recovered
                );
                return Err(StartError::Leaf { leaf: def.name.to_string(), reason });
            }
            let delivered = remembered.or(progress[index]).unwrap_or_default();
            // A checkpoint may ask before it has had a turn.
            node.pass(delivered);
            leaf_workers.push(LeafWorker {
                node: node.clone(),
                name: def.name.clone(),
                leaf,
                lanes: upstream.iter().map(|_| None).collect(),
                new_lanes: new_lanes.clone(),
                gate: gate.clone(),
                kept_max: settings.backlog_bytes,
                delivered,
                partly: (Seq::ZERO, 0),
                gathered: Gathered::default(),
                lingered: false,
                stages: senders.clone(),
                values: Vec::with_capacity(64),
                faults: faults.clone(),
                order: order.clone(),
                stopped: false,
            });
            leaf_ports.push(LeafPort { node, new_lanes, upstream });
        }
        let leaf_names = flow.leaves().iter().map(|leaf| leaf.name.clone()).collect();
        let requests = plan.workers.iter().map(|_| Arc::new(Requests::default())).collect();
        let blueprint = Blueprint {
            flow,
            kinds,
            plan,
            settings,
            board,
            faults: faults.clone(),
            order: order.clone(),
            hops: Arc::new(Hops::new()),
            commands: ports.commands,
            history: ports.history.clone(),
            leaves: leaf_ports,
            requests,
        };

        let (mut groups, mut feeds, mut catch_ups) = (Vec::new(), Vec::new(), Vec::new());
        for group in 0..blueprint.plan.groups {
            let (group, new_feeds, catch_up) = blueprint.build(group, &hosts, &conductor)?;
            feeds.extend(
                new_feeds.into_iter().map(|feed| crate::feeds::Feed { floor: ports.recovered, ..feed }),
            );
            catch_ups.push(catch_up);
            groups.push(GroupState { group, crashes: 0 });
        }
        for worker in leaf_workers {
            leaf_host.spawn(worker, &conductor)?;
        }
        let changes = Arc::new(Changes::default());
        let shared = Arc::new(Shared {
            blueprint,
            hosts,
            leaf_host,
            conductor,
            groups: Mutex::new(groups),
            gate,
            changes: changes.clone(),
            leaf_names,
        });
        let mut all = CatchUp::join(catch_ups);
        all.read(&*ports.history, ports.recovered, &faults)?;
        all.finish();
        if let Some(fault) = faults.first() {
            return Err(fault.into());
        }
        if shared.groups().iter().any(|state| state.group.fate.has_fallen()) {
            // Who watches over the actor says so once it has had its turn.
            let (actor, reason) =
                crashed.recv().map_err(|_| StartError::Spawn("the conductor is gone".to_owned()))?;
            let group = shared.group_of(actor).unwrap_or_default();
            return Err(Fault::Group { group, stages: shared.stages_of(group), times: 1, reason }.into());
        }
        let mending = shared.clone();
        let mender =
            Builder::new().name("downbeat-mender".to_owned()).spawn(move || mending.mend(&crashed))?;
        let absent_events = shared.blueprint.settings.absent_events;
        let feeds =
            Feeds { feeds, changes, order, published: ports.recovered, absent: Vec::new(), absent_events };
        Ok((Self { shared, mender: Some(mender) }, feeds))
    }

    /// Moves the durable watermark: leaves may deliver what follows from events up to it.
    pub fn durable(&self, upto: Seq) {
        self.shared.gate.open(upto);
    }

    /// Why the flow cannot go on, if it cannot.
    pub fn fault(&self) -> Option<Fault> {
        self.shared.blueprint.faults.first()
    }

    /// The checkpoints that were completed since the last call and are to be logged.
    pub fn checkpoints(&self) -> Vec<Sums> {
        self.shared.blueprint.board.take()
    }

    /// Asks for a checkpoint at `last`, the last seq there is; it shows up in [`Actors::checkpoints`] unless the
    /// log has it.
    pub fn ask_checkpoint(&self, last: Seq) {
        self.shared.blueprint.board.ask(last);
        self.shared.each_node(|node| node.bell.ring());
    }

    /// The last seq for which a checkpoint is complete.
    pub fn checkpointed(&self) -> Seq {
        self.shared.blueprint.board.complete_upto()
    }

    /// The digests at [`Actors::checkpointed`], whether the log has them or not; `None` when there are none.
    pub fn newest_sums(&self) -> Option<Sums> {
        self.shared.blueprint.board.newest()
    }

    /// True when [`Actors::checkpoints`] would return something.
    pub fn has_checkpoints(&self) -> bool {
        self.shared.blueprint.board.has_news()
    }

    /// How far each leaf has delivered.
    pub fn leaf_progress(&self) -> Vec<LeafProgress> {
        let leaves = self.shared.blueprint.leaves.iter().zip(&self.shared.leaf_names);
        leaves
            .map(|(port, name)| LeafProgress { leaf: name.to_string(), delivered: port.node.cursor() })
            .collect()
    }

    /// Where every worker and every leaf stands, and how it is; `published` is the last seq that was published, more than
    /// `lag_max` events behind is far.
    pub fn status(&self, published: Seq, lag_max: u64) -> Vec<WorkerStatus> {
        let (blueprint, now) = (&self.shared.blueprint, Instant::now());
        let health = |node: &Node, reach: Seq| node.pulse.health(behind(reach, node.cursor()), lag_max, now);
        let mut all = Vec::new();
        let groups = self.shared.groups();
        let nodes: BTreeMap<usize, &Arc<Node>> = groups
            .iter()
            .flat_map(|state| state.group.nodes.iter().map(|(index, node)| (*index, node)))
            .collect();
        let passed = |workers: &[usize]| {
            workers.iter().filter_map(|index| nodes.get(index)).map(|node| node.cursor()).min()
        };
        for (index, node) in &nodes {
            let place = &blueprint.plan.workers[*index];
            let names: Vec<&str> = place.stages.iter().map(|id| &*blueprint.flow.stage(*id).name).collect();
            all.push(WorkerStatus {
                name: names.join("+"),
                shard: place.shard,
                cursor: node.cursor(),
                health: health(node, passed(&place.from).unwrap_or(published)),
            });
        }
        for (port, name) in blueprint.leaves.iter().zip(&self.shared.leaf_names) {
            // What is not durable yet, it cannot deliver.
            let reach = passed(&port.upstream).unwrap_or(published).min(self.shared.gate.upto());
            all.push(WorkerStatus {
                name: name.to_string(),
                shard: 0,
                cursor: port.node.cursor(),
                health: health(&port.node, reach),
            });
        }
        all
    }

    /// Notes who is at what, so that a later [`Actors::status`] can tell for how long.
    pub fn look(&self) {
        let now = Instant::now();
        self.shared.each_node(|node| {
            node.pulse.look(now);
        });
        for leaf in &self.shared.blueprint.leaves {
            leaf.node.pulse.look(now);
        }
    }

    /// How long values took from stage to stage, sampled since the start; `None` when none was measured.
    pub fn hop_latency(&self) -> Option<HopLatency> {
        self.shared.blueprint.hops.latency()
    }

    /// True when every stage and every leaf has passed `last`, and no command is held back.
    pub fn is_quiet(&self, last: Seq) -> bool {
        let mut quiet = true;
        self.shared.each_node(|node| {
            quiet &= node.cursor() >= last && !node.backlog.is_up();
        });
        quiet && self.shared.blueprint.leaves.iter().all(|leaf| leaf.node.cursor() >= last)
    }

    /// Folds over every key and state of a stage; each shard answers between two events, in the order of its
    /// keys. `None` when the flow has no such stage, or it is not an `S`, or its group was given up ([`Actors::fault`]).
    ///
    /// # Panics
    ///
    /// When `fold` does.
    pub fn fold_states<S: Stage, A: Send + 'static>(
        &self,
        stage: &str,
        start: A,
        fold: impl Fn(A, Key, &S::State) -> A + Send + Sync + 'static,
    ) -> Option<A> {
        let blueprint = &self.shared.blueprint;
        let id = blueprint.flow.stages().iter().find(|def| &*def.name == stage)?.id;
        let fold = Arc::new(fold);
        let mut total = start;
        for (index, place) in blueprint.plan.workers.iter().enumerate() {
            if !place.stages.contains(&id) {
                continue;
            }
            let (answer, wait) = bounded(1);
            let (name, fold) = (stage.to_owned(), fold.clone());
            blueprint.requests[index].put(Box::new(move |unit| {
                // A panic of the question is that of the one who asked; the states are only read.
                let folded = catch_unwind(AssertUnwindSafe(|| {
                    let mut sum = Some(total);
                    let known = unit.each_state::<S>(&name, |key, state| {
                        sum = sum.take().map(|sum| fold(sum, key, state));
                    });
                    sum.filter(|_| known)
                }));
                // Who asked waits; if it was dropped nobody needs the answer.
                let _ = answer.send(folded);
            }));
            self.shared.ring_worker(index);
            total = wait.recv().ok()?.unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Some(total)
    }

    /// Makes the actor that runs `stage` panic outside `apply`: for tests of supervision.
    #[doc(hidden)]
    pub fn crash(&self, stage: &str) {
        let blueprint = &self.shared.blueprint;
        let named = |id: &downbeat_flow::StageId| &*blueprint.flow.stage(*id).name == stage;
        if let Some(index) = blueprint.plan.workers.iter().position(|place| place.stages.iter().any(named)) {
            blueprint.requests[index].crash();
            self.shared.ring_worker(index);
        }
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        let actors: Vec<(usize, ActorCell)> =
            self.shared.groups().iter_mut().flat_map(|state| state.group.actors.drain(..)).collect();
        for (host, actor) in actors {
            self.shared.hosts[host].kill(vec![actor]);
        }
        // The mender ends when the conductor, which holds the other end of its channel, is gone.
        self.shared.leaf_host.kill(self.shared.conductor.get_children());
        self.shared.leaf_host.kill(vec![self.shared.conductor.clone()]);
        if let Some(mender) = self.mender.take() {
            // It notes its errors as faults and does not panic.
            let _ = mender.join();
        }
    }
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, Vec<GroupState>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each_node(&self, mut visit: impl FnMut(&Node)) {
        for state in self.groups().iter() {
            state.group.nodes.values().for_each(|node| visit(node));
        }
    }

    fn ring_worker(&self, index: usize) {
        let group = self.blueprint.plan.workers[index].group;
        if let Some(node) = self.groups()[group].group.nodes.get(&index) {
            node.bell.ring();
        }
    }

    /// Rebuilds the groups of actors that crash, until there is no conductor any more.
    fn mend(&self, crashes: &Receiver<Crash>) {
        while let Ok((actor, reason)) = crashes.recv() {
            let Some(group) = self.group_of(actor) else { continue };
            if let Err(fault) = self.rebuild(group, reason) {
                self.blueprint.faults.note(fault);
                self.give_up(group);
                self.blueprint.order.wake();
            }
        }
    }

    /// No incarnation of the group will answer any more.
    fn give_up(&self, group: usize) {
        let workers = self.blueprint.plan.workers.iter().zip(&self.blueprint.requests);
        workers.filter(|(place, _)| place.group == group).for_each(|(_, requests)| requests.close());
    }

    /// The group whose present incarnation holds the actor.
    fn group_of(&self, actor: ActorId) -> Option<usize> {
        let groups = self.groups();
        let holds = |state: &GroupState| state.group.actors.iter().any(|(_, cell)| cell.get_id() == actor);
        groups.iter().position(holds)
    }

    fn rebuild(&self, index: usize, reason: String) -> Result<(), Fault> {
        let (actors, crashes) = {
            let mut groups = self.groups();
            let state = &mut groups[index];
            state.crashes += 1;
            (std::mem::take(&mut state.group.actors), state.crashes)
        };
        self.change(Change::Detach(index));
        for (host, actor) in actors {
            self.hosts[host].kill(vec![actor]);
        }
        if crashes > self.blueprint.settings.rebuilds {
            return Err(Fault::Group { group: index, stages: self.stages_of(index), times: crashes, reason });
        }
        let (history, faults) = (&*self.blueprint.history, &*self.blueprint.faults);
        let failed = |reason: String| Fault::History { reason };
        let built = self.blueprint.build(index, &self.hosts, &self.conductor);
        let (group, feeds, mut catch_up) = built.map_err(|error| failed(error.to_string()))?;
        self.groups()[index].group = group;
        // First as far as the log is durable, again and again, until what is left is little.
        loop {
            let durable = history.durable();
            catch_up.read(history, durable, faults)?;
            if history.durable().0 - durable.0 <= JOIN_DISTANCE {
                break;
            }
        }
        let (answer, joined) = bounded(1);
        self.change(Change::Attach(feeds, answer));
        if let Ok(upto) = joined.recv() {
            if catch_up.position > upto {
                let reason = format!("seq {} is durable, {upto} is published", catch_up.position);
                return Err(failed(reason));
            }
            catch_up.read(history, upto, faults)?;
            catch_up.finish();
        } else {
            // Nothing is ordered any more.
            self.give_up(index);
        }
        Ok(())
    }

    fn change(&self, change: Change) {
        // The sequencer thread takes changes whenever it is woken.
        self.changes.put(change);
        self.blueprint.order.wake();
    }

    fn stages_of(&self, group: usize) -> String {
        let workers = self.blueprint.plan.workers.iter().filter(|place| place.group == group);
        let names: Vec<&str> =
            workers.flat_map(|place| &place.stages).map(|id| &*self.blueprint.flow.stage(*id).name).collect();
        names.join(", ")
    }
}

/// How far a leaf was when the log last spoke of it: a run without the leaf says nothing about it.
fn logged_progress(checkpoints: &[Checkpoint], leaf: &str) -> Option<Seq> {
    let mut newest_first = checkpoints.iter().rev().flat_map(|checkpoint| &checkpoint.leaves);
    newest_first.find(|progress| progress.leaf == leaf).map(|progress| progress.delivered)
}

/// How far behind the durable end a rebuilt group may be when it joins what is live, in events.
const JOIN_DISTANCE: u64 = 16_384;
