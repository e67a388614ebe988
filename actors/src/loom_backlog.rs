//! loom: the cycle through ingress: commands that are held back are asked for, and a shutdown misses none.
//!
//! The front door is one cell: a command takes it, the sequencer empties it. Its own orders are relaxed, like those
//! of the ring's positions.

use std::collections::VecDeque;

use downbeat_flow::Pending;
use downbeat_record::{Fields, Seq};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;
use rtrb::RingBuffer;

use crate::faults::Faults;
use crate::feeds::{Feed, Feeds};
use crate::loom_mutants::check;
use crate::node::Node;
use crate::order::OrderBell;
use crate::outgoing::Outgoing;
use crate::ports::{CommandRefused, Commands};

#[derive(Clone)]
struct Door {
    taken: Arc<AtomicBool>,
    let_in: Arc<AtomicU64>,
}

impl Door {
    fn new(taken: bool) -> Self {
        Self { taken: Arc::new(AtomicBool::new(taken)), let_in: Arc::new(AtomicU64::new(0)) }
    }
}

impl Commands for Door {
    fn try_submit(&self, _: &Fields, _: &[u8]) -> Result<(), CommandRefused> {
        if self.taken.load(Ordering::Relaxed) {
            return Err(CommandRefused::Busy);
        }
        self.taken.store(true, Ordering::Relaxed);
        self.let_in.store(1, Ordering::Relaxed);
        Ok(())
    }
}

struct World {
    node: std::sync::Arc<Node>,
    feeds: Feeds,
    out: Outgoing,
    faults: Faults,
}

/// A worker that emitted one command.
fn world(door: &Door) -> World {
    let node = std::sync::Arc::new(Node::new());
    let order = std::sync::Arc::new(OrderBell::new(|| ()));
    let (batches, _) = RingBuffer::new(1);
    let feed = Feed { batches, node: node.clone(), group: 0, source: true, floor: Seq::ZERO };
    let feeds = Feeds {
        feeds: vec![feed],
        changes: std::sync::Arc::default(),
        order: order.clone(),
        published: Seq(1),
        absent: Vec::new(),
        absent_events: u64::MAX,
    };
    let pending = Pending { fields: Fields::default(), payload: Vec::new() };
    let out = Outgoing {
        lanes: Vec::new(),
        routes: Vec::new(),
        commands: std::sync::Arc::new(door.clone()),
        ledger: None,
        held: pending.memory(),
        held_max: usize::MAX,
        backlog: VecDeque::from([pending]),
    };
    let faults = Faults::new(order);
    World { node, feeds, out, faults }
}

/// The front door is full; the sequencer makes room, and sleeps, while the worker gives up trying.
pub(crate) fn room_comes_while_commands_wait() {
    let door = Door::new(true);
    let World { node, feeds, mut out, faults } = world(&door);
    let rung = Arc::new(AtomicBool::new(false));
    let rings = rung.clone();
    node.bell.connect(|| false, move || rings.store(true, Ordering::Relaxed));
    node.bell.answer();
    rung.store(false, Ordering::Relaxed);
    let worker = {
        let node = node.clone();
        thread::spawn(move || {
            out.flush(&node, &faults);
            !out.backlog.is_empty()
        })
    };
    door.taken.store(false, Ordering::Relaxed);
    feeds.arm(None);
    let held = worker.join().unwrap();
    assert!(!held || rung.load(Ordering::Relaxed), "a command is held back and nobody rings");
}

/// The end of a turn: commands go out, then the cursor passes. The sequencer asks whether all is quiet.
///
/// The sequencer is the thread that is spawned: loom forgets that one thread has loaded what another loads and then
/// stores, and would never let the store come first.
fn turn_and_quiet(turn: fn(&mut Outgoing, &Node, &Faults), held_before: bool) {
    let door = Door::new(false);
    let World { node, mut out, faults, .. } = world(&door);
    if held_before {
        node.backlog.raise();
        node.pass(Seq(1));
    }
    let sequencer = {
        let (node, door) = (node.clone(), door.clone());
        thread::spawn(move || {
            if node.cursor() >= Seq(1) && !node.backlog.is_up() {
                let let_in = door.let_in.load(Ordering::Relaxed);
                assert_eq!(let_in, 1, "nothing is held back and a command is missing");
            }
        })
    };
    turn(&mut out, &node, &faults);
    sequencer.join().unwrap();
}

/// The worker had passed everything and held a command back, which then goes out.
pub(crate) fn quiet_after_all() {
    turn_and_quiet(|out, node, faults| out.flush(node, faults), true);
}

/// The front door is full when the turn ends.
fn held_at_the_end(turn: fn(&mut Outgoing, &Node, &Faults)) {
    let door = Door::new(true);
    let World { node, mut out, faults, .. } = world(&door);
    let sequencer = {
        let node = node.clone();
        thread::spawn(move || {
            let quiet = node.cursor() >= Seq(1) && !node.backlog.is_up();
            assert!(!quiet, "a command is held back and all is called quiet");
        })
    };
    turn(&mut out, &node, &faults);
    sequencer.join().unwrap();
}

#[test]
fn the_sequencer_never_sleeps_on_commands_that_are_held_back() {
    check(room_comes_while_commands_wait);
}

#[test]
fn what_went_out_late_is_seen_by_who_finds_all_quiet() {
    check(quiet_after_all);
}

#[test]
fn what_goes_out_in_time_is_seen_by_who_finds_all_quiet() {
    check(|| {
        turn_and_quiet(
            |out, node, faults| {
                out.flush(node, faults);
                out.publish(node, Seq(1));
            },
            false,
        );
    });
}

#[test]
fn a_worker_that_holds_commands_back_is_never_quiet() {
    check(|| {
        held_at_the_end(|out, node, faults| {
            out.flush(node, faults);
            out.publish(node, Seq(1));
        });
    });
}

#[test]
#[should_panic(expected = "is held back and all is called quiet")]
fn passing_before_holding_back_ends_too_early() {
    check(|| {
        held_at_the_end(|out, node, faults| {
            out.publish(node, Seq(1));
            out.flush(node, faults);
        });
    });
}
