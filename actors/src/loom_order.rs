//! loom: a sequencer that sleeps until a cursor has moved is woken when it has, and when there is news.

use downbeat_record::Seq;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::OrderBell;
use crate::loom_mutants::check;
use crate::node::Node;

/// The worker passes seqs 1 to 2, `tell` is what it does after each; the sequencer sleeps until 2, the window's gate.
fn gate(tell: fn(&OrderBell, u64)) {
    let (node, woken) = (Arc::new(Node::new()), Arc::new(AtomicBool::new(false)));
    let wakes = woken.clone();
    let bell = Arc::new(OrderBell::new(move || wakes.store(true, Ordering::Release)));
    let worker = {
        let (bell, node) = (bell.clone(), node.clone());
        thread::spawn(move || {
            for seq in 1..=2 {
                node.pass(Seq(seq));
                tell(&bell, seq);
            }
        })
    };
    bell.arm(Seq(2));
    let there = node.cursor() == Seq(2);
    worker.join().unwrap();
    assert!(there || woken.load(Ordering::Acquire), "the sequencer sleeps and nobody wakes it");
}

pub(crate) fn a_cursor_moves() {
    gate(|bell, seq| bell.moved(Seq(seq)));
}

/// Two workers; the sequencer sleeps, is woken, and sleeps again until the slower one is there.
fn two_workers() {
    let nodes = Arc::new([Node::new(), Node::new()]);
    let woken = Arc::new(AtomicU64::new(0));
    let wakes = woken.clone();
    // Exchanges only: a store beside them may be put in between by loom, though not by a machine.
    let bell = Arc::new(OrderBell::new(move || {
        wakes.fetch_add(1, Ordering::Release);
    }));
    let workers = [0, 1].map(|index| {
        let (bell, nodes) = (bell.clone(), nodes.clone());
        thread::spawn(move || {
            nodes[index].pass(Seq(2));
            bell.moved(Seq(2));
        })
    });
    let slowest = || nodes.iter().map(Node::cursor).min() == Some(Seq(2));
    bell.arm(Seq(2));
    let mut there = slowest();
    if !there && woken.swap(0, Ordering::Acquire) > 0 {
        // It was woken, by the faster one or by both, and is about to sleep again.
        bell.arm(Seq(2));
        there = slowest();
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(there || woken.load(Ordering::Acquire) > 0, "the sequencer sleeps and nobody wakes it");
}

#[test]
fn the_sequencer_never_sleeps_through_a_move() {
    check(a_cursor_moves);
}

#[test]
fn the_sequencer_never_sleeps_through_the_move_of_the_slower_one() {
    check(two_workers);
}

#[test]
fn the_sequencer_never_sleeps_through_news() {
    check(|| {
        gate(|bell, seq| {
            if seq == 2 {
                bell.news();
            }
        });
    });
}
