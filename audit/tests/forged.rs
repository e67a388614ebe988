//! Batches that someone wrote anew, with every checksum true: the chain, or what they say, gives them away.

mod common;

use std::path::Path;

use common::{contents, flow, resealed, starts, write};
use downbeat::record::{
    Batch, BatchHeader, BatchKind, BatchNo, Checkpoint, ContractTable, Epoch, Fields, Key, Kind,
    RecoveryNote, Root, SegmentId, Seq, Timestamp,
};
use downbeat_audit::{AuditError, Finding, ReplayOptions, Verdict, VerifyOptions, replay, verify};
use downbeat_wal::segment::{HeaderBlock, SegmentHeader};
use downbeat_wal::{BackendChoice, Log, ReadError, ScanError};

fn broken(dir: &Path) -> AuditError {
    let error = verify(dir, VerifyOptions::default(), |_| {}).expect_err("it is found");
    assert_eq!(error.verdict(), Verdict::DoesNotHold, "{error}");
    error
}

fn finding(dir: &Path) -> Finding {
    match broken(dir) {
        AuditError::Content { finding, .. } => *finding,
        other => panic!("{other}"),
    }
}

#[test]
fn a_checkpoint_with_other_digests_and_true_checksums_breaks_the_chain_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1_500, 1);
    let (file, bytes) = contents(dir.path()).remove(0);
    let mut forged = 0;
    for start in starts(&bytes) {
        let Ok(header) = BatchHeader::parse(&bytes[start..]) else { continue };
        if header.kind() != BatchKind::Checkpoint {
            continue;
        }
        let end = start + header.padded_len();
        let batch = Batch::read(&bytes[start..end]).unwrap();
        let mut checkpoint = Checkpoint::from_json(batch.body()).unwrap();
        checkpoint.stages[0].state.0 ^= 1;
        let body = checkpoint.to_json();
        let other = Batch::control(BatchKind::Checkpoint, header.first_seq(), header.timestamp(), &body);
        let other = resealed(other, &header, |_| {});
        assert_eq!(other.len(), end - start);
        let mut changed = bytes.clone();
        changed[start..end].copy_from_slice(&other);
        std::fs::write(&file, &changed).unwrap();
        match broken(dir.path()) {
            AuditError::Log { source, .. } => match *source {
                ReadError::Scan(ScanError::ChainBroken { path, offset, .. }) => {
                    assert_eq!((path, offset), (file.clone(), end as u64));
                }
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        }
        forged += 1;
    }
    assert!(forged > 2);
}

#[test]
fn a_batch_with_another_number_epoch_or_past_is_found_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1_500, 1);
    let (file, bytes) = contents(dir.path()).remove(0);
    let starts = starts(&bytes);
    let (start, end) = (starts[starts.len() / 2], starts[starts.len() / 2 + 1]);
    let header = BatchHeader::parse(&bytes[start..]).unwrap();
    for change in 0..4 {
        let batch = Batch::read(&bytes[start..end]).unwrap();
        let other = resealed(batch, &header, |stamp| match change {
            0 => stamp.batch_no = stamp.batch_no.next(),
            1 => stamp.epoch = Epoch(stamp.epoch.0 + 1),
            2 => stamp.prev_root = Root([7; 32]),
            _ => stamp.salt ^= 1,
        });
        let mut changed = bytes.clone();
        changed[start..end].copy_from_slice(&other);
        std::fs::write(&file, &changed).unwrap();
        let error = broken(dir.path());
        assert_eq!(error.place(), Some((&*file, start as u64)), "{error}");
    }
}

/// A log written by hand, batch by batch: what a broken writer could have made of it.
fn written(dir: &Path, batches: &[(BatchKind, Vec<u8>)], events: &[(u64, Fields, &[u8])]) {
    let options = downbeat_wal::Options {
        segment_bytes: 1 << 20,
        batch_bytes: 64 << 10,
        backend: BackendChoice::Blocking,
        ..downbeat_wal::Options::new(dir)
    };
    let (mut log, _) = Log::open(&options, |_| Ok(())).unwrap();
    let ready = |log: &mut Log| {
        while log.ready().is_err() {
            log.wait(Some(std::time::Duration::from_secs(10))).unwrap();
        }
    };
    for (kind, body) in batches {
        ready(&mut log);
        log.append_control(*kind, Timestamp(1), body).unwrap();
    }
    for (timestamp, fields, payload) in events {
        ready(&mut log);
        let mut batch = Batch::with_capacity(64 << 10, u16::MAX);
        batch.open(log.next_seq());
        batch.push(fields, Timestamp(*timestamp), payload).unwrap();
        log.append(&mut std::sync::Arc::new(batch)).unwrap();
    }
    log.close(Timestamp(u64::MAX / 2)).unwrap();
}

fn table() -> ContractTable {
    let mut table = ContractTable::new();
    table.register(downbeat::record::Contract::of::<common::Reached>()).unwrap();
    table
}

#[test]
fn what_batches_say_must_fit_what_stands_before_them() {
    let contracts = (BatchKind::Contracts, table().to_json());
    let event = Fields { kind: Kind(1), key: Key(1), ..Fields::default() };
    let checkpoint = |seq| {
        let checkpoint =
            Checkpoint { seq: Seq(seq), flow: "f".into(), stages: Vec::new(), leaves: Vec::new() };
        (BatchKind::Checkpoint, checkpoint.to_json())
    };
    let note = RecoveryNote {
        epoch: Epoch(1),
        kept: BatchNo(9),
        kept_seq: Seq(0),
        segment: None,
        offset: 0,
        dropped: Vec::new(),
        row: "D".into(),
    };
    let note = (BatchKind::Recovery, serde_json::to_vec(&note).unwrap());
    let derived = Fields { derived: true, causation: Seq(2), ..event };
    type Case<'a> = (&'a str, Vec<(BatchKind, Vec<u8>)>, Vec<(u64, Fields, &'a [u8])>);
    let cases: [Case<'_>; 8] = [
        ("explains", vec![], vec![(5, event, &[0; 8])]),
        ("timestamp", vec![contracts.clone()], vec![(5, event, &[0; 8]), (5, event, &[0; 8])]),
        ("is no valid", vec![contracts.clone()], vec![(5, event, &[0; 7])]),
        ("covers seq 3", vec![contracts.clone(), checkpoint(3)], vec![]),
        ("cannot be read", vec![(BatchKind::Checkpoint, b"{}".to_vec())], vec![]),
        ("contract table", vec![contracts.clone(), (BatchKind::Contracts, b"[]".to_vec())], vec![]),
        ("kept batch 9", vec![contracts.clone(), note], vec![]),
        ("emitted by a stage", vec![contracts.clone()], vec![(5, event, &[0; 8]), (6, derived, &[0; 8])]),
    ];
    for (what, batches, events) in cases {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), &batches, &events);
        let message = finding(dir.path()).to_string();
        assert!(message.contains(what), "{what}: {message}");
        // Found by reading: a replay took most of them. It decodes no payloads but those it applies.
        if what != "is no valid" {
            let replayed = replay(dir.path(), &flow(1), ReplayOptions::default(), |_| {}).map(drop);
            assert_eq!(replayed.unwrap_err().to_string(), broken(dir.path()).to_string());
        }
    }
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), &[contracts, checkpoint(0)], &[(5, event, &[0; 8])]);
    verify(dir.path(), VerifyOptions::default(), |_| {}).unwrap();
}

#[test]
fn a_forged_recovery_cannot_cut_off_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 600, 1);
    let (file, bytes) = contents(dir.path()).remove(0);
    let starts = starts(&bytes);
    let HeaderBlock::Valid(first, _) = HeaderBlock::parse(&bytes) else { panic!("a segment") };
    // A later writer claims to have found only half of the log.
    let middle = starts.len() / 2;
    let before = Batch::read(&bytes[starts[middle - 1]..starts[middle]]).unwrap();
    let last = before.header();
    let header = SegmentHeader {
        segment: SegmentId(2),
        epoch: Epoch(first.epoch.0 + 1),
        salt: first.salt ^ 1,
        first_seq: last.next_seq(),
        first_batch_no: last.batch_no().next(),
        prev_root: before.root(),
        ..first
    };
    let block = header.to_block();
    let beat = Batch::control(BatchKind::Heartbeat, last.next_seq(), last.timestamp(), &[]);
    let beat = resealed(beat, &last, |stamp| {
        stamp.batch_no = header.first_batch_no;
        stamp.epoch = header.epoch;
        stamp.salt = header.batch_salt();
        stamp.prev_root = Root::of(&block);
        stamp.durable = last.batch_no();
    });
    let mut segment = [&block[..], &beat].concat();
    segment.resize(bytes.len(), 0);
    std::fs::write(file.with_file_name("00000000000000000002.seg"), segment).unwrap();
    for name in ["MANIFEST.0", "MANIFEST.1"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let error = broken(dir.path());
    assert_eq!(error.place(), Some((&*file, starts[middle] as u64)), "{error}");
    assert_eq!(error.intact(), Some(last.last_seq()));
    match finding(dir.path()) {
        Finding::Cut { epoch, batch, durable } => {
            assert_eq!((epoch, batch), (header.epoch, header.first_batch_no));
            assert!(durable > batch);
        }
        other => panic!("{other}"),
    }
}
