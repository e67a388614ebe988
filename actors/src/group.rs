//! Building the workers of a shard group, at the start and again after a crash.
//!
//! ```text
//!  build: nodes ─► lanes ─► workers ─► actors          nothing is shared with the incarnation before
//!  catch up: log ─► every worker of the group, until it is close to the live end
//!  join: the sequencer attaches the feeds and says after which seq; the log is read up to exactly there
//! ```
//!
//! While a group catches up, other groups and the order go on, by [`Settings::absent_events`] and no further: the window does
//! not count it until then. It starts to count when it joins, at most [`JOIN_DISTANCE`](crate::actors) events behind; a
//! window that is smaller stands until it is there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use downbeat_flow::{Flow, Kinds, Shards};
use downbeat_record::{Batch, Seq};
use rtrb::RingBuffer;

use crate::board::Board;
use crate::error::StartError;
use crate::fate::Fate;
use crate::faults::{Fault, Faults};
use crate::feeds::Feed;
use crate::hops::Hops;
use crate::host::{ActorCell, Host};
use crate::lane::{LaneIn, LaneOut, lane};
use crate::leaf::NewLanes;
use crate::node::Node;
use crate::order::OrderBell;
use crate::outgoing::{Outgoing, Recall, Route};
use crate::plan::Plan;
use crate::ports::{Commands, History};
use crate::requests::Requests;
use crate::settings::Settings;
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::worker::{Turn, Worker};

/// Batches of the log that may be on their way to one worker.
const CATCH_UP_BATCHES: usize = 8;

/// What comes out of the log to one worker: its batches, then `None` for its end. A way that ends without was given up.
pub(crate) type Logged = Option<Arc<Batch>>;

/// A leaf, as those who build workers need it.
pub(crate) struct LeafPort {
    pub(crate) node: Arc<Node>,
    pub(crate) new_lanes: Arc<NewLanes>,
    /// The workers it gets values from.
    pub(crate) upstream: Vec<usize>,
}

/// What every incarnation of every group is built from.
pub(crate) struct Blueprint {
    pub(crate) flow: Flow,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) plan: Plan,
    pub(crate) settings: Settings,
    pub(crate) board: Arc<Board>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) order: Arc<OrderBell>,
    pub(crate) hops: Arc<Hops>,
    pub(crate) commands: Arc<dyn Commands>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) leaves: Vec<LeafPort>,
    /// Per worker, the questions put to it; they outlive an incarnation.
    pub(crate) requests: Vec<Arc<Requests>>,
}

/// One incarnation of a group.
pub(crate) struct Group {
    /// Its actors, with the host that carries each.
    pub(crate) actors: Vec<(usize, ActorCell)>,
    /// Its workers' nodes.
    pub(crate) nodes: BTreeMap<usize, Arc<Node>>,
    /// What they share.
    pub(crate) fate: Arc<Fate>,
}

/// The way of the log into a group that catches up.
pub(crate) struct CatchUp {
    ways: Vec<(Sender<Logged>, Arc<Node>)>,
    live: Vec<Receiver<Infallible>>,
    /// The last seq handed over.
    pub(crate) position: Seq,
}

impl Blueprint {
    /// Builds the workers of a group and starts their actors; they wait for the log.
    pub(crate) fn build(
        &self,
        group: usize,
        hosts: &[Host],
        conductor: &ActorCell,
    ) -> Result<(Group, Vec<Feed>, CatchUp), StartError> {
        let members: Vec<usize> =
            (0..self.plan.workers.len()).filter(|index| self.plan.workers[*index].group == group).collect();
        let nodes: BTreeMap<usize, Arc<Node>> =
            members.iter().map(|index| (*index, Arc::new(Node::new()))).collect();
        let mut arriving: BTreeMap<usize, Vec<LaneIn>> = BTreeMap::new();
        let mut leaving = BTreeMap::new();
        for index in &members {
            let (lanes, targets, leaf_targets) = self.lanes_of(*index, &nodes, &mut arriving);
            leaving.insert(*index, (lanes, self.routes_of(*index, &targets, &leaf_targets)));
        }

        let fate = Arc::new(Fate::new(nodes.values().cloned()));
        let (live, all_live) = bounded(1);
        let (mut feeds, mut ways, mut actors) = (Vec::new(), Vec::new(), Vec::new());
        for index in members {
            let place = &self.plan.workers[index];
            let node = &nodes[&index];
            // What it emits while it reads the log goes to the front door when that is through, and until then nobody
            // may think that all is in.
            node.backlog.raise();
            let (batches, feed) = RingBuffer::new(self.settings.batches);
            let (send, receive) = bounded(CATCH_UP_BATCHES);
            let (lanes, routes) = leaving.remove(&index).unwrap_or_default();
            let shards =
                if place.keyed { Shards::One(place.shard, self.plan.shards) } else { Shards::One(0, 1) };
            let unit = self.flow.unit(&place.stages, shards, &self.kinds);
            let alone = !place.keyed || self.plan.shards == 1;
            let names = place.stages.iter().map(|id| &*self.flow.stage(*id).name);
            let worker = Worker {
                node: node.clone(),
                scans: unit.is_on_anything(),
                unit,
                shard: place.shard,
                position: Seq::ZERO,
                current: None,
                catch_up: Some(receive),
                live: Some(live.clone()),
                feed,
                fate: fate.clone(),
                lanes: arriving.remove(&index).unwrap_or_default(),
                out: Outgoing {
                    lanes,
                    routes,
                    commands: self.commands.clone(),
                    ledger: Some(Recall::new(names, alone)),
                    backlog: Default::default(),
                    held: 0,
                    held_max: self.settings.backlog_bytes,
                },
                board: self.board.clone(),
                next_barrier: self.board.next_barrier(Seq::ZERO),
                reported: Seq::ZERO,
                requests: self.requests[index].clone(),
                faults: self.faults.clone(),
                order: self.order.clone(),
                last: place.to.is_empty(),
                hops: self.hops.clone(),
                values: Vec::with_capacity(64),
                turn: Turn::new(),
            };
            // Shards go side by side; with fewer of them than threads, so do stages.
            let enough = self.plan.shards as usize >= hosts.len();
            let host = if enough { place.shard as usize } else { index } % hosts.len();
            actors.push((host, hosts[host].spawn(worker, conductor)?));
            let source = place.from.is_empty();
            feeds.push(Feed { batches, node: node.clone(), group, source, floor: Seq::ZERO });
            ways.push((send, node.clone()));
        }
        Ok((
            Group { actors, nodes, fate },
            feeds,
            CatchUp { ways, live: vec![all_live], position: Seq::ZERO },
        ))
    }

    /// The lanes that leave a worker, and which of them goes where; their other ends go to `arriving` and to the
    /// leaves.
    fn lanes_of(
        &self,
        index: usize,
        nodes: &BTreeMap<usize, Arc<Node>>,
        arriving: &mut BTreeMap<usize, Vec<LaneIn>>,
    ) -> (Vec<LaneOut>, BTreeMap<usize, usize>, BTreeMap<usize, usize>) {
        let place = &self.plan.workers[index];
        let (mut lanes, mut targets, mut leaf_targets) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (to, sending) in &place.to {
            let (out, arrive) = lane(self.settings.lane_bytes, *sending, &nodes[&index], &nodes[to]);
            targets.insert(*to, lanes.len());
            lanes.push(out);
            arriving.entry(*to).or_default().push(arrive);
        }
        for (leaf, sending) in &place.to_leaves {
            let port = &self.leaves[*leaf];
            let (out, arrive) = lane(self.settings.lane_bytes, *sending, &nodes[&index], &port.node);
            leaf_targets.insert(*leaf, lanes.len());
            lanes.push(out);
            let at = port.upstream.iter().position(|worker| *worker == index);
            port.new_lanes.put(at.expect("a leaf knows the workers that send to it"), arrive);
            port.node.bell.ring();
        }
        (lanes, targets, leaf_targets)
    }

    /// Per stage, on which of a worker's lanes its values go.
    fn routes_of(
        &self,
        index: usize,
        targets: &BTreeMap<usize, usize>,
        leaf_targets: &BTreeMap<usize, usize>,
    ) -> Vec<Vec<Route>> {
        let place = &self.plan.workers[index];
        let mut routes: Vec<Vec<Route>> = self.flow.stages().iter().map(|_| Vec::new()).collect();
        for id in &place.stages {
            let routes = &mut routes[usize::from(id.0)];
            // The workers after this stage, by the stages they run: shards of one group lie side by side.
            let mut by_group: BTreeMap<&[downbeat_flow::StageId], Vec<(u32, usize)>> = BTreeMap::new();
            for (to, lane) in targets {
                let other = &self.plan.workers[*to];
                if other.stages.iter().any(|stage| self.flow.stage(*stage).after.contains(id)) {
                    by_group.entry(&other.stages).or_default().push((other.shard, *lane));
                }
            }
            for (_, mut lanes) in by_group {
                lanes.sort_unstable();
                match lanes.as_slice() {
                    [(_, lane)] => routes.push(Route::Lane(*lane)),
                    _ => routes.push(Route::ByKey(lanes.into_iter().map(|(_, lane)| lane).collect())),
                }
            }
            for (leaf, lane) in leaf_targets {
                if self.leaf_is_after(*leaf, *id) {
                    routes.push(Route::Leaf(*lane));
                }
            }
        }
        routes
    }

    fn leaf_is_after(&self, leaf: usize, stage: downbeat_flow::StageId) -> bool {
        self.flow.leaves().get(leaf).is_some_and(|def| def.after.contains(&stage))
    }
}

impl CatchUp {
    /// One way for several groups that start together.
    pub(crate) fn join(parts: Vec<Self>) -> Self {
        let mut all = Self { ways: Vec::new(), live: Vec::new(), position: Seq::ZERO };
        for part in parts {
            all.ways.extend(part.ways);
            all.live.extend(part.live);
        }
        all
    }

    /// Reads the log up to `upto` into the workers, or until there is a fault: then what is left changes nothing.
    pub(crate) fn read(&mut self, history: &dyn History, upto: Seq, faults: &Faults) -> Result<(), Fault> {
        if upto <= self.position {
            return Ok(());
        }
        let mut reached = self.position;
        let read = history.read(self.position.next(), upto, &mut |batch| {
            reached = Seq(batch.next_seq().0 - 1);
            // Workers of a group of which one crashed take nothing; the conductor knows, and this ends for nothing.
            let taken = self.ways.iter().all(|(way, node)| {
                let sent = way.send(Some(batch.clone())).is_ok();
                node.bell.ring();
                sent
            });
            taken && !faults.any()
        });
        self.position = reached;
        read.map_err(|error| Fault::History { reason: error.to_string() })?;
        faults.first().map_or(Ok(()), Err)
    }

    /// Lets the workers go live and waits until they have applied everything they were handed, or one has crashed.
    pub(crate) fn finish(self) {
        let Self { ways, live, .. } = self;
        for (way, node) in ways {
            // A worker that crashed takes nothing.
            let _ = way.send(None);
            node.bell.ring();
        }
        // Nothing is ever sent: it disconnects when the last worker has dropped its end.
        for all in live {
            let _ = all.recv();
        }
    }
}
