//! After the first failure nothing is acknowledged any more, whatever the disk says later.

#[path = "common/log.rs"]
mod common;

use common::{append, batch, expect_events, memory_options, open};
use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{BLOCK, BatchKind, SegmentId, Seq, Timestamp};
use downbeat_wal::storage::memory::{Fault, Outcome, Step};
use downbeat_wal::{Log, LogError, Memory, NotReady, Options, names};

const EIO: i32 = 5;
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const ENOSPC: i32 = 28;

#[test]
fn a_sync_that_fails_once_and_then_succeeds_never_acknowledges_again() {
    for step in [Step::Sync, Step::Write] {
        let memory = Memory::new();
        let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
        append(&mut log, 3, 100);
        assert_eq!(log.drain().unwrap().seq, Seq(3));
        memory.fail(Fault { step, after: 0, times: 1, outcome: Outcome::Errno(EIO) });
        append(&mut log, 3, 100);
        let first = log.drain().unwrap_err();
        let LogError::Poisoned(cause) = &first else { panic!("{first}") };
        assert_eq!(cause.source.raw_os_error(), Some(EIO));
        for _ in 0..10 {
            assert!(matches!(log.poll(), Err(LogError::Poisoned(_))));
            assert!(matches!(log.wait(None), Err(LogError::Poisoned(_))));
            assert!(matches!(log.ready(), Err(NotReady::Poisoned(_))));
            assert!(matches!(log.append(&mut batch(Seq(7), 1, 8)), Err(LogError::Poisoned(_))));
            assert_eq!(log.durable().seq, Seq(3));
        }
        assert!(matches!(log.close(Timestamp(1)), Err(LogError::Poisoned(_))));

        let (mut log, recovered, kept) = open(&memory_options(&memory)).unwrap();
        assert!(recovered.next_seq >= Seq(4), "what was acknowledged is there");
        expect_events(&kept, recovered.next_seq.0 - 1, 100);
        append(&mut log, 1, 100);
        log.drain().unwrap();
    }
}

#[test]
fn short_writes_and_interruptions_are_gone_on_with() {
    for outcome in [
        Outcome::Short(4096),
        Outcome::Short(512),
        Outcome::Short(5_000),
        Outcome::Errno(EINTR),
        Outcome::Errno(EAGAIN),
    ] {
        let memory = Memory::new();
        let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
        append(&mut log, 3, 100);
        log.drain().unwrap();
        memory.fail(Fault { step: Step::Write, after: 0, times: 3, outcome });
        for _ in 0..3 {
            append(&mut log, 3, 4_000);
        }
        assert_eq!(log.drain().unwrap().seq, Seq(12), "{outcome:?}");
        assert_eq!(memory.heal(), 3);
        if let Outcome::Errno(_) = outcome {
            // The first write is a durable one; the second needs a sync.
            for after in [0, 1] {
                memory.fail(Fault { step: Step::Sync, after, times: 2, outcome });
                memory.hold(true);
                append(&mut log, 3, 4_000);
                append(&mut log, 3, 4_000);
                memory.hold(false);
                let durable = Seq(18 + 6 * after);
                assert_eq!(log.drain().unwrap().seq, durable, "{outcome:?} from sync {after} on");
                assert_eq!(memory.heal(), 2);
            }
        }
        drop(log);
        memory.power_cut(|_| downbeat_wal::storage::memory::Fate::Lost);
        let (_, _, kept) = open(&memory_options(&memory)).unwrap();
        assert!(kept.events.len() >= 12, "{outcome:?}: {}", kept.events.len());
    }
}

#[test]
fn a_write_that_never_gets_on_is_an_error_not_a_loop() {
    for outcome in [Outcome::Short(0), Outcome::Short(100), Outcome::Errno(EAGAIN)] {
        let memory = Memory::new();
        let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
        memory.fail(Fault { step: Step::Write, after: 0, times: u64::MAX, outcome });
        append(&mut log, 3, 100);
        assert!(matches!(log.drain(), Err(LogError::Poisoned(_))), "{outcome:?}");
    }
}

#[test]
fn a_sync_that_never_gets_on_is_an_error_not_a_loop() {
    for errno in [EINTR, EAGAIN] {
        let memory = Memory::new();
        let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
        append(&mut log, 3, 100);
        log.drain().unwrap();
        // The first write is a durable one and goes well; the second needs a sync.
        memory.fail(Fault { step: Step::Sync, after: 1, times: u64::MAX, outcome: Outcome::Errno(errno) });
        memory.hold(true);
        append(&mut log, 3, 100);
        append(&mut log, 3, 100);
        memory.hold(false);
        let Err(LogError::Poisoned(poison)) = log.drain() else { panic!("it is not durable") };
        assert_eq!((poison.operation, poison.source.raw_os_error()), ("fdatasync", Some(errno)));
        assert_eq!(log.durable().seq, Seq(6));
    }
}

#[test]
fn a_full_disk_is_backpressure_before_a_seq_is_assigned_and_ends_when_space_returns() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    memory.set_capacity(Some(2 * options.segment_bytes));
    let (mut log, _, _) = open(&options).unwrap();
    let full = loop {
        match log.ready() {
            Ok(()) => {
                append(&mut log, 3, 4_000);
                log.poll().unwrap();
            }
            Err(full) => break full,
        }
    };
    assert!(full.is_temporary());
    let NotReady::Full { cause, .. } = &full else { panic!("{full}") };
    assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
    let acknowledged = log.drain().unwrap().seq;
    assert_eq!(acknowledged.next(), log.next_seq(), "nothing was lost");

    memory.set_capacity(None);
    log.ready().expect("it goes on by itself");
    append(&mut log, 3, 4_000);
    let seq = log.drain().unwrap().seq;
    drop(log);
    let (_, _, kept) = open(&options).unwrap();
    expect_events(&kept, seq.0, 4_000);
}

#[test]
fn a_write_that_fails_on_its_way_is_said_of_the_place_where() {
    let place = |faults: &[Fault]| {
        let memory = Memory::new();
        let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
        append(&mut log, 3, 4_000);
        log.drain().unwrap();
        faults.iter().for_each(|fault| memory.fail(*fault));
        append(&mut log, 3, 4_000);
        let Err(LogError::Poisoned(poison)) = log.drain() else { panic!("it is not durable") };
        assert_eq!((poison.operation, poison.source.raw_os_error()), ("write", Some(EIO)));
        poison.offset
    };
    // One after the other.
    let write = |outcome| Fault { step: Step::Write, after: 0, times: 1, outcome };
    let first = place(&[write(Outcome::Errno(EIO))]);
    let later = place(&[write(Outcome::Short(2 * BLOCK + 100)), write(Outcome::Errno(EIO))]);
    assert_eq!(later, first + 2 * BLOCK as u64);
}

/// Found by reading: the message joined the file that waited for its sync with the place of a write into the next.
#[test]
fn a_write_that_fails_is_said_of_the_file_it_was_for() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    // 21 batches of three blocks fill a segment.
    for _ in 0..19 {
        append(&mut log, 3, 4_000);
        log.drain().unwrap();
    }
    memory.fail(Fault { step: Step::Write, after: 2, times: 1, outcome: Outcome::Errno(EIO) });
    memory.hold(true);
    for _ in 0..3 {
        append(&mut log, 3, 4_000);
    }
    memory.hold(false);
    let Err(LogError::Poisoned(poison)) = log.drain() else { panic!("a write failed") };
    assert!(poison.path.ends_with(names::segment(SegmentId(2))), "{poison}");
    assert_eq!((poison.operation, poison.offset), ("write", 0), "{poison}");
}

#[test]
fn what_was_ready_stays_so_with_a_control_batch_in_between() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    memory.set_capacity(Some(3 * options.segment_bytes));
    let (mut log, _, _) = open(&options).unwrap();
    let body = vec![b'x'; options.batch_bytes - BATCH_HEADER_LEN];
    let mut rounds = 0;
    while log.ready().is_ok() {
        log.append_control(BatchKind::Checkpoint, Timestamp(1), &body).unwrap();
        let mut largest = batch(log.next_seq(), 3, 5_000);
        assert_eq!(largest.padded_len(), options.batch_bytes);
        log.append(&mut largest).unwrap();
        log.drain().unwrap();
        rounds += 1;
    }
    assert!(rounds > 3 * 6, "of eight blocks each, in three segments of 64: {rounds}");
}

/// Found by reading: in a segment a block smaller, a batch that had its seqs already found no room.
#[test]
fn the_smallest_segment_holds_all_that_may_come_before_what_was_ready() {
    let memory = Memory::new();
    let smallest = Options { spare_segments: 1, ..memory_options(&memory) };
    let blocks = |blocks: usize| Options { segment_bytes: (blocks * BLOCK) as u64, ..smallest.clone() };
    let least = 2 + 3 * smallest.batch_bytes / BLOCK;
    let Err(refused) = open(&blocks(least - 1)) else { panic!("a segment that is too small") };
    assert!(refused.to_string().contains("two blocks and three batches"), "{refused}");
    let options = blocks(least);

    let full = vec![b'x'; options.batch_bytes - BATCH_HEADER_LEN];
    let (mut log, _, _) = open(&options).unwrap();
    log.append_control(BatchKind::Contracts, Timestamp(1), &full).unwrap();
    append(&mut log, 1, 100);
    log.drain().unwrap();
    drop(log);
    memory.tamper(&names::segment(SegmentId(1)), |bytes| bytes[6 * BLOCK + 100] = 1);
    memory.set_capacity(Some(2 * options.segment_bytes));
    let (mut log, recovered, _) = open(&options).unwrap();
    assert!(recovered.cut.is_some(), "which is to be noted, before the contracts");
    log.ready().unwrap();
    log.append_control(BatchKind::Checkpoint, Timestamp(2), &full).unwrap();
    let mut largest = batch(log.next_seq(), 3, 5_000);
    assert_eq!(largest.padded_len(), options.batch_bytes);
    log.append(&mut largest).unwrap();
}

/// Found by reading: contracts that found no room went into the log all the same, with the next batch that did.
#[test]
fn contracts_that_were_refused_are_not_in_the_log() {
    let memory = Memory::new();
    let options = Options { spare_segments: 1, ..memory_options(&memory) };
    memory.set_capacity(Some(options.segment_bytes));
    let (mut log, _, _) = open(&options).unwrap();
    log.append_control(BatchKind::Contracts, Timestamp(1), b"old").unwrap();
    while log.append(&mut batch(log.next_seq(), 1, 100)).is_ok() {
        log.drain().unwrap();
    }
    let refused = log.append_control(BatchKind::Contracts, Timestamp(1), b"new").unwrap_err();
    assert!(matches!(refused, LogError::NotReady(_)), "{refused}");
    memory.set_capacity(None);
    append(&mut log, 3, 5_000);
    log.drain().unwrap();
    drop(log);
    let mut contracts = Vec::new();
    let opened = Log::open(&options, |batch| {
        if batch.kind() == BatchKind::Contracts {
            contracts.push(batch.body().to_vec());
        }
        Ok(())
    });
    drop(opened.unwrap());
    assert_eq!(contracts, [b"old", b"old"], "one for each segment");
}

/// Waiting helps against a full disk, and against nothing that took the place away; that is said of the second try in a
/// row, since once may have been a stranger who removed one file.
#[test]
fn why_there_is_no_segment_says_what_helps() {
    let (enoent, eacces, erofs) = (2, 13, 30);
    let not_ready = |errors: &[(i32, u64)]| {
        let memory = Memory::new();
        // Both slots of the manifest are there.
        for _ in 0..2 {
            open(&memory_options(&memory)).unwrap();
        }
        for (errno, times) in errors {
            let outcome = Outcome::Errno(*errno);
            memory.fail(Fault { step: Step::Create, after: 0, times: *times, outcome });
        }
        // The opening tries once, and whoever asks again.
        let (log, ..) = open(&memory_options(&memory)).unwrap();
        log.ready().err()
    };
    for errno in [enoent, erofs] {
        let lost = not_ready(&[(errno, u64::MAX)]).unwrap();
        assert!(matches!(lost, NotReady::Lost { .. }) && !lost.is_temporary(), "{lost}");
        assert!(not_ready(&[(errno, 1)]).is_none(), "it was there again");
        let once = not_ready(&[(ENOSPC, 1), (errno, u64::MAX)]).unwrap();
        assert!(matches!(once, NotReady::Preparing { .. }) && once.is_temporary(), "{once}");
    }
    for (errno, helps) in [(ENOSPC, "free some space"), (eacces, "see to that")] {
        let full = not_ready(&[(errno, u64::MAX)]).unwrap();
        assert!(matches!(full, NotReady::Full { .. }) && full.is_temporary(), "{full}");
        assert!(full.to_string().contains(helps), "{full}");
    }
}

#[test]
fn recovery_needs_no_space() {
    let memory = Memory::new();
    let options = memory_options(&memory);
    memory.set_capacity(Some(options.segment_bytes));
    let (mut log, _, _) = open(&options).unwrap();
    append(&mut log, 3, 100);
    log.drain().unwrap();
    drop(log);
    memory.power_cut(|_| downbeat_wal::storage::memory::Fate::Lost);
    let (log, _, kept) = open(&options).unwrap();
    expect_events(&kept, 3, 100);
    assert!(matches!(log.ready(), Err(NotReady::Full { .. })));
    drop(log);
}

#[test]
fn failures_while_a_segment_is_prepared_leave_no_half_segment_behind() {
    for step in [Step::Allocate, Step::Create, Step::Rename, Step::SyncDir, Step::Write, Step::Sync] {
        let memory = Memory::new();
        let options = memory_options(&memory);
        let (mut log, _, _) = open(&options).unwrap();
        let mut failed = 0;
        for _ in 0..60 {
            // What is on its way stands still, so what fails is the preparation.
            memory.hold(true);
            append(&mut log, 3, 4_000);
            memory.fail(Fault { step, after: 0, times: 2, outcome: Outcome::Errno(ENOSPC) });
            for _ in 0..4 {
                log.poll().unwrap();
            }
            failed += memory.heal();
            memory.hold(false);
            log.drain().unwrap();
        }
        assert!(failed > 2, "{step:?} failed {failed} times");
        let seq = log.drain().unwrap().seq;
        drop(log);
        memory.power_cut(|_| downbeat_wal::storage::memory::Fate::Lost);
        let (_, _, kept) = open(&options).unwrap();
        expect_events(&kept, seq.0, 4_000);
    }
}
