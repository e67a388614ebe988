//! loom: a leaf that stops at the gate is rung when it moves, and delivers nothing before.

use downbeat_flow::{LeafError, Nothing, StageId};
use downbeat_record::{Batch, Fields, Timestamp};
use loom::sync::atomic::{AtomicU64 as LoomU64, Ordering};
use loom::thread;

use super::*;
use crate::lane::lane;
use crate::loom_mutants::check;

/// What the disk has, whatever the actors believe. Not an atomic of the model: it is what is true at that moment.
type Disk = Arc<std::sync::atomic::AtomicU64>;

struct Counting {
    disk: Disk,
    delivered: u64,
}

impl Leaf for Counting {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        let durable = self.disk.load(Ordering::Relaxed);
        assert!(delivery.seq.0 <= durable, "seq {} leaves, {durable} is durable", delivery.seq);
        self.delivered += 1;
        assert_eq!(delivery.seq, Seq(self.delivered));
        Ok(())
    }
}

/// Values for two events lie on the lane; the watermark moves over both while the leaf pumps. `moves` is how it
/// moves. What is before `recovered` the leaf may hold back.
fn watermark(recovered: Seq, moves: fn(&Gate, Seq)) {
    let (from, node) = (Arc::new(Node::new()), Arc::new(Node::new()));
    let (mut out, arrive) = lane(16 * 16, 1, &from, &node);
    for record in two_events().records() {
        out.send_out(StageId(0), &record, &[]);
    }
    out.publish();
    from.pass(Seq(2));
    let mailbox = loom::sync::Arc::new(LoomU64::new(0));
    let posts = mailbox.clone();
    node.bell.connect(
        || false,
        move || {
            posts.fetch_add(1, Ordering::Relaxed);
        },
    );
    let disk = Disk::default();
    let gate = Arc::new(Gate::new(recovered, vec![node.clone()]));
    let mut leaf = LeafWorker {
        node: node.clone(),
        name: "counting".into(),
        leaf: Box::new(Counting { disk: disk.clone(), delivered: 0 }),
        lanes: vec![Some(arrive.into())],
        new_lanes: Arc::new(NewLanes::default()),
        gate: gate.clone(),
        kept_max: 4 * 1024,
        delivered: Seq::ZERO,
        partly: (Seq::ZERO, 0),
        gathered: Gathered::default(),
        lingered: false,
        stages: Arc::new([("stage".into(), EventType::of::<Nothing>())]),
        values: Vec::new(),
        faults: Arc::new(Faults::new(Arc::new(OrderBell::new(|| ())))),
        order: Arc::new(OrderBell::new(|| ())),
        stopped: false,
    };
    let sequencer = thread::spawn(move || {
        for seq in 1..=2 {
            disk.store(seq, Ordering::Relaxed);
            moves(&gate, Seq(seq));
        }
    });
    while leaf.node.cursor() < Seq(2) {
        while mailbox.swap(0, Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        leaf.node.bell.answer();
        assert_eq!(leaf.pump(), Progress::Idle);
    }
    sequencer.join().unwrap();
}

fn two_events() -> Batch {
    let mut batch = Batch::with_capacity(4 * 1024, 0);
    batch.open(Seq(1));
    for seq in 1..=2 {
        batch.push(&Fields::default(), Timestamp(seq), &[]).unwrap();
    }
    batch
}

#[test]
fn a_leaf_at_the_watermark_is_rung_when_it_moves_and_delivers_nothing_before() {
    check(|| watermark(Seq::ZERO, Gate::open));
}

/// Each event is a checkpoint of the log that is compared while the leaf holds back what comes after it.
#[test]
fn a_leaf_that_holds_values_back_is_rung_at_each_checkpoint_and_delivers_nothing_before() {
    check(|| watermark(Seq(2), |gate, seq| gate.confirm(seq, (seq < Seq(2)).then_some(Seq(2)))));
}

/// Without the ring the leaf sleeps for ever, which loom sees as a model without an end.
#[test]
#[should_panic(expected = "exceeded maximum number of branches")]
fn a_leaf_that_nobody_rings_sleeps_for_ever() {
    check(|| watermark(Seq::ZERO, Gate::set));
}
