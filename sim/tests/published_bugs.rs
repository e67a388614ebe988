//! Bugs that other logs had, as scenarios for this one.
//!
//! | what went wrong elsewhere | the test |
//! |---|---|
//! | a batch torn at any sector, the rest zeros, old bytes or garbage (etcd 5230, 6515, 6271, 11488) | `wal/tests/torn_tail.rs`: `a_torn_tail_at_every_sector_boundary_is_cut_and_nothing_else`, `one_lost_sector_in_the_middle_cuts_the_batch` |
//! | everything that was not synced is lost, lengths too; a length read from garbage (etcd 14098) | `everything_unsynced_is_lost_and_nothing_else`, `wal/tests/hostile_bytes.rs` |
//! | several writes in flight, any of them torn (TigerBeetle 2345) | `wal/tests/torn_tail.rs`: `every_subset_of_the_writes_in_flight_recovers_to_a_prefix` |
//! | a write that lands on another batch, or never, under an acknowledged successor (TigerBeetle 2463, 2677, 2711) | `a_write_that_goes_astray_is_noticed_or_harmless` |
//! | recover, go on, crash, recover: the second recovery disagrees with the first (TigerBeetle 2653) | `recovery_after_recovery_after_recovery_agrees` |
//! | a sync fails once and then succeeds (PostgreSQL's fsyncgate, CockroachDB 37102) | `after_a_failed_sync_nothing_is_acknowledged_any_more`, `wal/tests/poison.rs` |
//! | a short write before a sync, ends out of order (turso 2909, sled 935, liburing 1359) | `short_writes_and_ends_out_of_order_acknowledge_nothing_too_early` |
//! | interrupted writes, writes of no bytes (agave 8036, firewood 1498) | `interruptions_are_gone_on_with`, `wal/tests/poison.rs`: `a_write_that_never_gets_on_is_an_error_not_a_loop` |
//! | the offset behind a batch that does not fill its blocks (nodedb 76) | every test here: batches are of all lengths, and are read back |
//! | an error while reading is taken for the end (RocksDB 6288) | `a_read_error_at_any_read_is_no_end` |
//! | old batches in a file that is used again; a log cut between two segments (RocksDB 7701, 12403, 12918; pebble 580; Scylla 11845) | `wal/tests/recovery_table.rs`: rows J and K, `wal/tests/openers.rs`: `a_late_write_of_a_killed_process_cannot_reach_a_segment_of_the_next_one` |
//! | a checksum of 0 is taken for emptiness (Redpanda 4113) | `a_batch_whose_checksum_is_0_is_a_batch` |
//! | recovery needs space (raft-engine 344, etcd 2819, RocksDB 6316) | `a_full_disk_at_any_moment_loses_nothing_and_can_be_opened` |
//! | a bit flips in an acknowledged record, and all behind it is dropped (NATS 7549, 7556; SQLite) | `a_flipped_bit_in_what_is_acknowledged_is_refused_or_harmless` |
//! | the order of create, header, sync, rename, directory sync (Kafka 10101, 16541, 20979; etcd 10688) | `the_power_goes_at_every_single_operation` |
//! | a segment without batches, an end without a marker, a crash while rolling (Aeron 1812, Chronicle 389, 392, 1509) | the same, and `wal/tests/recovery_table.rs`: rows B, D, G |
//! | two ways of reading that disagree (Typhon 587, raft-engine 250) | `src/world.rs`: a reader sees what recovery saw, at the end of every seed |
//! | a whole batch behind a gap stops the open, or comes back (commonware 4327) | `wal/tests/torn_tail.rs`: `an_island_is_never_resurrected_by_later_appends` |
//!
//! Not there yet, so not tested: readers while old segments are retired (SQLite's WAL reset).

#[path = "common/log.rs"]
mod common;

use common::{ALWAYS, append, cut_power, disk, open, options, write};
use downbeat_record::{Batch, BatchNo, Epoch, Fields, Root, Seq, Stamp, Timestamp};
use downbeat_sim::{Fault, Odds};
use downbeat_wal::{Log, NotReady, OpenError};

fn odds(faults: &[(Fault, u32)]) -> Odds {
    let mut odds = Odds::NONE;
    faults.iter().for_each(|(fault, odd)| odds.set(*fault, *odd));
    odds
}

#[test]
fn everything_unsynced_is_lost_and_nothing_else() {
    for seed in 0..200 {
        let disk = disk(seed, Odds::NONE);
        let (mut log, _, _) = open(&disk).unwrap();
        let (durable, _) = write(&mut log, &disk, 5 + seed % 30);
        let sequenced = log.next_seq();
        cut_power(&disk, Some(log));
        let (_, _, left) = open(&disk).unwrap();
        assert!(left >= durable.0 && Seq(left) < sequenced, "seed {seed}: {durable} durable, {left} left");
    }
}

#[test]
fn a_write_that_goes_astray_is_noticed_or_harmless() {
    let mut refused = 0;
    for seed in 0..300 {
        let fault = if seed % 2 == 0 { Fault::LostWrite } else { Fault::Misdirected };
        let disk = disk(seed, Odds::NONE);
        let (mut log, _, _) = open(&disk).unwrap();
        write(&mut log, &disk, 5);
        disk.set_odds(odds(&[(fault, ALWAYS / 16)]));
        let (durable, _) = write(&mut log, &disk, 25);
        disk.calm();
        // The last batch is marked by what is behind it, so that its loss can be told.
        let marked = log.drain().is_ok() && log.heartbeat(Timestamp(0)).is_ok() && log.drain().is_ok();
        assert!(marked, "seed {seed}");
        let astray = disk.is_damaged();
        cut_power(&disk, Some(log));
        match open(&disk) {
            Ok((_, _, left)) => assert!(left >= durable.0, "seed {seed}: {durable} durable, {left} left"),
            Err(error) => {
                assert!(astray && matches!(error, OpenError::Scan(_)), "seed {seed}: {error}");
                refused += 1;
                disk.repair();
                let (_, _, left) = open(&disk).unwrap();
                assert!(left >= durable.0, "seed {seed}: {durable} durable, {left} left after the repair");
            }
        }
    }
    assert!(refused > 50, "only {refused} logs were refused");
}

#[test]
fn recovery_after_recovery_after_recovery_agrees() {
    for seed in 0..100 {
        let disk = disk(seed, Odds::NONE);
        let mut before = 0;
        for round in 0..8 {
            let (mut log, recovered, left) = open(&disk).unwrap();
            assert!(left >= before, "seed {seed} round {round}: {before} were there, {left} are left");
            let (again, epoch) = (left, recovered.epoch);
            if seed % 2 == 0 {
                // Again, without having written anything.
                cut_power(&disk, Some(log));
                let opened = open(&disk).unwrap();
                log = opened.0;
                assert_eq!(
                    (opened.2, opened.1.epoch),
                    (again, Epoch(epoch.0 + 1)),
                    "seed {seed} round {round}"
                );
            }
            let (durable, _) = write(&mut log, &disk, seed % 7);
            before = durable.0.max(left);
            cut_power(&disk, Some(log));
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let mut failed = 0;
    for seed in 0..200 {
        let disk = disk(seed, Odds::NONE);
        let (mut log, _, _) = open(&disk).unwrap();
        disk.set_odds(odds(&[(Fault::SyncError, ALWAYS / 8)]));
        let (durable, error) = write(&mut log, &disk, 60);
        // The device is well again, and says so at every later sync.
        disk.calm();
        if error.is_some() {
            failed += 1;
            for _ in 0..20 {
                disk.step();
                assert!(append(&mut log).is_err() && log.poll().is_err(), "seed {seed}");
                assert_eq!(log.durable().seq, durable, "seed {seed}");
                assert!(matches!(log.ready(), Err(NotReady::Poisoned(_))), "seed {seed}");
            }
        }
        cut_power(&disk, Some(log));
        let (_, _, left) = open(&disk).unwrap();
        assert!(left >= durable.0, "seed {seed}: {durable} durable, {left} left");
    }
    assert!(failed > 100, "only {failed} syncs failed");
}

#[test]
fn short_writes_and_ends_out_of_order_acknowledge_nothing_too_early() {
    let rough = [(Fault::ShortWrite, ALWAYS / 2), (Fault::Reordered, ALWAYS), (Fault::Late, ALWAYS / 2)];
    for seed in 0..300 {
        let disk = disk(seed, odds(&rough));
        let (mut log, _, _) = open(&disk).unwrap();
        let (durable, error) = write(&mut log, &disk, seed % 40);
        assert!(error.is_none(), "seed {seed}: {error:?}");
        cut_power(&disk, Some(log));
        let (_, _, left) = open(&disk).unwrap();
        assert!(left >= durable.0, "seed {seed}: {durable} durable, {left} left");
    }
}

#[test]
fn interruptions_are_gone_on_with() {
    for seed in 0..50 {
        let disk = disk(seed, odds(&[(Fault::Interrupted, ALWAYS / 2), (Fault::ShortWrite, ALWAYS / 4)]));
        let (mut log, _, _) = open(&disk).unwrap();
        write(&mut log, &disk, 30);
        let durable = log.drain().unwrap().seq;
        assert_eq!(durable.next(), log.next_seq(), "seed {seed}: everything is durable");
    }
}

#[test]
fn a_read_error_at_any_read_is_no_end() {
    let disk = disk(1, Odds::NONE);
    let (mut log, _, _) = open(&disk).unwrap();
    write(&mut log, &disk, 40);
    let durable = log.drain().unwrap().seq;
    cut_power(&disk, Some(log));
    let mut refused = 0;
    for _ in 0..300 {
        disk.set_odds(odds(&[(Fault::ReadError, ALWAYS / 8)]));
        let opened = open(&disk);
        disk.calm();
        match opened {
            Ok((log, _, left)) => {
                assert_eq!(left, durable.0);
                cut_power(&disk, Some(log));
            }
            Err(error) => {
                assert!(error.to_string().contains("os error"), "{error}");
                refused += 1;
                disk.restart();
            }
        }
    }
    assert!(refused > 50, "only {refused} opens met an error");
}

#[test]
fn a_batch_whose_checksum_is_0_is_a_batch() {
    // A CRC is affine in the bits it covers, so four free bytes are enough to make it whatever one likes.
    let sealed = |free: u32| {
        let mut batch = Batch::with_capacity(4096, 0);
        batch.open(Seq(1));
        batch.push(&Fields::default(), Timestamp(1), &free.to_le_bytes()).expect("it fits");
        let stamp = Stamp {
            batch_no: BatchNo(1),
            epoch: Epoch(1),
            salt: 0,
            prev_root: Root::default(),
            durable: BatchNo::ZERO,
            clock_error_ns: 0,
        };
        batch.seal(&stamp);
        batch
    };
    let crc = |free: u32| sealed(free).header().body_crc();
    let (mut target, mut free) = (crc(0), 0u32);
    // Gauss over the two-element field: which free bits make up the checksum of none of them?
    let mut rows: Vec<(u32, u32)> = (0..32).map(|bit| (crc(1 << bit) ^ crc(0), 1 << bit)).collect();
    for bit in 0..32 {
        let Some(at) = rows.iter().position(|(crc, _)| crc >> bit & 1 == 1) else { continue };
        let pivot = rows.swap_remove(at);
        let reduce = |row: &mut (u32, u32)| {
            if row.0 >> bit & 1 == 1 {
                *row = (row.0 ^ pivot.0, row.1 ^ pivot.1);
            }
        };
        rows.iter_mut().for_each(reduce);
        if target >> bit & 1 == 1 {
            (target, free) = (target ^ pivot.0, free ^ pivot.1);
        }
    }
    assert_eq!(crc(free), 0, "four bytes were enough");

    let disk = disk(1, Odds::NONE);
    let mut found = Vec::new();
    for _ in 0..2 {
        found.clear();
        let opened = Log::open(&options(&disk), |batch| {
            found.extend(batch.records().map(|record| record.payload().bytes().to_vec()));
            Ok(())
        });
        let (mut log, _) = opened.unwrap();
        if found.is_empty() {
            let mut batch = Batch::with_capacity(4096, 0);
            batch.open(Seq(1));
            batch.push(&Fields::default(), Timestamp(1), &free.to_le_bytes()).expect("it fits");
            log.append(&mut std::sync::Arc::new(batch)).unwrap();
            log.drain().unwrap();
        }
        cut_power(&disk, Some(log));
    }
    assert_eq!(found, [free.to_le_bytes().to_vec()]);
}

#[test]
fn a_full_disk_at_any_moment_loses_nothing_and_can_be_opened() {
    for full_from in 0..40 {
        let disk = disk(full_from, Odds::NONE);
        let (mut log, _, _) = open(&disk).unwrap();
        write(&mut log, &disk, full_from);
        disk.set_full(true);
        let (mut durable, error) = write(&mut log, &disk, 40);
        assert!(error.is_none(), "{full_from}: {error:?}");
        assert!(matches!(log.ready(), Err(NotReady::Full { .. })), "{full_from}: {:?}", log.ready());
        disk.set_full(false);
        assert!(log.poll().is_ok() && log.ready().is_ok(), "{full_from}: it goes on by itself");
        durable = write(&mut log, &disk, 5).0.max(durable);

        // And again, with the disk full when the log is opened.
        let rolled = log.next_seq() > Seq(20);
        cut_power(&disk, Some(log));
        disk.set_full(true);
        let opened = open(&disk);
        if rolled {
            let (log, _, left) = opened.unwrap();
            assert!(left >= durable.0, "{full_from}: {durable} durable, {left} left");
            assert!(matches!(log.ready(), Err(NotReady::Full { .. })), "{full_from}: {:?}", log.ready());
        }
    }
}

#[test]
fn a_flipped_bit_in_what_is_acknowledged_is_refused_or_harmless() {
    let disk = disk(1, Odds::NONE);
    let (mut log, _, _) = open(&disk).unwrap();
    write(&mut log, &disk, 12);
    let durable = log.drain().unwrap().seq;
    log.heartbeat(Timestamp(0)).unwrap();
    log.drain().unwrap();
    let first = "00000000000000000001.seg";
    cut_power(&disk, Some(log));
    let end = disk.bytes(first).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for byte in (0..end).step_by(41) {
        disk.damage(first, |bytes| bytes[byte] ^= 1 << (byte % 8));
        match open(&disk) {
            Ok((log, _, left)) => {
                assert!(left >= durable.0, "byte {byte}: {durable} durable, {left} left");
                cut_power(&disk, Some(log));
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains(first) && text.contains("batch"), "byte {byte}: {text}");
                disk.restart();
            }
        }
        disk.repair();
    }
    assert!(refused > 100, "only {refused} flips were refused");
}

/// A log that is made, written over several segments and closed, in as many lives as the power allows.
#[test]
fn the_power_goes_at_every_single_operation() {
    let mut cuts = 0;
    for seed in 0..3 {
        for operation in 0.. {
            let disk = disk(seed * 1_000 + operation, Odds::NONE);
            disk.light_fuse(operation);
            let mut durable = Seq::ZERO;
            let mut told = |log: &mut Log| {
                let (reached, _) = write(log, &disk, 25);
                if disk.has_power() {
                    durable = durable.max(reached);
                }
            };
            for _ in 0..2 {
                let Ok((mut log, _, _)) = open(&disk) else { break };
                told(&mut log);
                let _ = log.close(Timestamp(1));
            }
            if disk.has_power() {
                break;
            }
            cuts += 1;
            disk.restart();
            let (_, _, left) = open(&disk).unwrap_or_else(|error| panic!("operation {operation}: {error}"));
            assert!(left >= durable.0, "operation {operation}: {durable} durable, {left} left");
        }
    }
    assert!(cuts > 300, "only {cuts} operations");
}
