//! One run of a log, again and again: its first operation on the disk fails, then its second, and so on to the last.

#[path = "common/log.rs"]
mod common;

use std::time::Duration;

use common::{append, batch, expect_events, memory_options, open};
use downbeat_record::{Seq, Timestamp};
use downbeat_wal::storage::memory::{Fate, Fault, Outcome, Step};
use downbeat_wal::{Memory, NotReady};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// Events of a batch, bytes of an event, batches of a run: three segments.
const COUNT: u64 = 2;
const LEN: usize = 5_000;
const BATCHES: u64 = 40;

/// Opens, appends, closes, as far as the disk lets it; returns the last seq that was said to be durable.
fn run(memory: &Memory) -> Seq {
    let Ok((mut log, ..)) = open(&memory_options(memory)) else { return Seq(0) };
    let mut acknowledged = Seq(0);
    for _ in 0..BATCHES {
        let mut patience = 20;
        while log.ready().is_err_and(|error| error.is_temporary()) && patience > 0 {
            patience -= 1;
            if log.wait(Some(Duration::from_millis(1))).is_err() {
                break;
            }
        }
        if log.ready().is_err() || log.append(&mut batch(log.next_seq(), COUNT, LEN)).is_err() {
            break;
        }
        match log.poll() {
            Ok(durable) => acknowledged = durable.seq,
            Err(_) => break,
        }
    }
    let last = Seq(log.next_seq().0 - 1);
    if log.close(Timestamp(1)).is_ok() { last } else { acknowledged }
}

/// What is left after the power was cut holds what was acknowledged, and is a log that goes on.
fn check(memory: &Memory, acknowledged: Seq, context: &str) {
    memory.power_cut(|_| Fate::Lost);
    let (mut log, recovered, kept) =
        open(&memory_options(memory)).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(recovered.next_seq > acknowledged, "{context}: {acknowledged} was acknowledged");
    expect_events(&kept, recovered.next_seq.0 - 1, LEN);
    append(&mut log, COUNT, LEN);
    log.drain().unwrap_or_else(|error| panic!("{context}: {error}"));
}

/// Lets each operation of a trial fail, from the first to the last: `trial` says how many failures it met. Returns how many that were.
fn everywhere(step: Step, mut trial: impl FnMut(Fault, &str) -> u64) -> u64 {
    let mut all = 0;
    for (errno, times) in [(EIO, 1), (ENOSPC, 1), (EIO, u64::MAX), (ENOSPC, u64::MAX)] {
        for after in 0.. {
            let fault = Fault { step, after, times, outcome: Outcome::Errno(errno) };
            let met = trial(fault, &format!("{fault:?}"));
            all += met;
            if met == 0 {
                break;
            }
        }
    }
    all
}

#[test]
fn an_operation_that_fails_in_a_run_takes_nothing_that_was_acknowledged() {
    for step in Step::ALL {
        let met = everywhere(step, |fault, context| {
            let memory = Memory::new();
            memory.fail(fault);
            let acknowledged = run(&memory);
            let met = memory.heal();
            check(&memory, acknowledged, context);
            met
        });
        // A new log has nothing to read and nothing to remove.
        assert_eq!(met == 0, matches!(step, Step::Read | Step::Remove), "{step:?}: {met}");
    }
}

#[test]
fn an_operation_that_fails_in_recovery_takes_nothing_either() {
    let whole = Memory::new();
    let (mut log, ..) = open(&memory_options(&whole)).unwrap();
    for _ in 0..BATCHES {
        append(&mut log, COUNT, LEN);
    }
    let acknowledged = log.drain().unwrap().seq;
    // A crash: there is more to do than after a close.
    drop(log);
    for step in Step::ALL {
        let met = everywhere(step, |fault, context| {
            let memory = whole.copy();
            memory.fail(fault);
            drop(open(&memory_options(&memory)));
            let met = memory.heal();
            check(&memory, acknowledged, context);
            met
        });
        assert!(met > 0, "{step:?}");
    }
}

#[test]
fn a_disk_that_is_full_from_any_append_on_refuses_before_a_seq_is_given_and_goes_on_when_it_is_not() {
    let mut refused = 0;
    for full_from in 0..BATCHES {
        let memory = Memory::new();
        let (mut log, ..) = open(&memory_options(&memory)).unwrap();
        let mut index = 0;
        while index < BATCHES {
            if index == full_from {
                memory.set_capacity(Some(0));
            }
            match log.ready() {
                Ok(()) => {
                    append(&mut log, COUNT, LEN);
                    index += 1;
                }
                Err(NotReady::Full { .. }) => {
                    refused += 1;
                    let durable = log.drain().unwrap().seq;
                    assert_eq!(
                        durable.next(),
                        log.next_seq(),
                        "full from {full_from}: nothing is on its way"
                    );
                    memory.set_capacity(None);
                    common::wait_until_ready(&mut log);
                }
                Err(NotReady::Preparing { .. }) => {
                    log.wait(Some(Duration::from_millis(1))).unwrap();
                }
                Err(other) => panic!("full from {full_from}: {other}"),
            }
        }
        log.close(Timestamp(1)).unwrap();
        let (_, _, kept) = open(&memory_options(&memory)).unwrap();
        expect_events(&kept, COUNT * BATCHES, LEN);
    }
    assert!(refused > 0, "never full");
}
