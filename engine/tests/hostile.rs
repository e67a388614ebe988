//! Hostile and unlucky input at the facade: an error that says what to do, never a panic, and the engine goes on.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Balance, Count, Moved, Notes, Reached, flow, options, total};
use downbeat::{Ack, Engine, ErrorKind, Event, Flow, Group, IdempotencyKey, Key, Seq};
use downbeat_record::{
    AlignedBuf, Batch, BatchKind, Checkpoint, Contract, ContractTable, Fields, Kind, SourceId, Timestamp,
};
use downbeat_wal::{BackendChoice, Log};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Scanned", version = 1, crate = downbeat::record)]
struct Scanned {
    page: Vec<u8>,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Ticked", version = 1, crate = downbeat::record)]
struct Ticked;

type Six<T> = (T, T, T, T, T, T);

/// A shape of thousands of parts.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Wide", version = 1, crate = downbeat::record)]
struct Wide {
    all: Six<Six<Six<Six<u8>>>>,
}

fn open(dir: &Path, batch_bytes: usize) -> Result<Engine, downbeat::Error> {
    let mut options = options(dir).event::<Scanned>().event::<Ticked>().event::<Wide>();
    options.order.batch_bytes = batch_bytes;
    Engine::open(options, flow(Count::default(), Notes::default()))
}

fn one_line(error: &downbeat::Error) -> String {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    text
}

#[test]
fn an_event_that_is_too_long_is_refused_and_one_of_no_bytes_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 256 << 10).unwrap();
    let longest = engine.ingress().payload_len_max();
    for len in [longest + 1, 1 << 20, 64 << 20] {
        let error = engine.submit(&Scanned { page: vec![1; len] }).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        one_line(&error);
    }
    let fits = Scanned { page: vec![1; longest - 16] };
    assert_eq!(engine.submit(&fits).wait().unwrap().seq, Seq(1));
    let key = IdempotencyKey::of(&"k".repeat(1 << 20));
    for duplicate in [false, true] {
        let receipt = engine.submit(&Ticked).idempotency_key(key).key(Key(u64::MAX)).wait().unwrap();
        assert_eq!((receipt.seq, receipt.duplicate), (Seq(2), duplicate));
    }
    engine.submit(&Moved { cents: 5 }).key(Key(1)).wait().unwrap();
    engine.close().unwrap();
    assert_eq!(total(&open(dir.path(), 256 << 10).unwrap()), 5);
}

/// Found by reading: the command was a conflict, which nobody heard of, and the log did not hold in an audit.
#[test]
fn a_key_from_outside_does_not_take_the_place_of_what_a_stage_emits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 256 << 10).unwrap();
    let of_the_command = downbeat_flow::key_of("balance", Seq(2), 0);
    engine.submit(&Ticked).idempotency_key(of_the_command).wait().unwrap();
    engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    engine.close().unwrap();
    assert_eq!((engine.last_seq(), engine.metrics().conflicts), (Seq(3), 0));
    drop(engine);
    let engine = open(dir.path(), 256 << 10).unwrap();
    let again = engine.submit(&Ticked).idempotency_key(of_the_command).wait().unwrap();
    assert_eq!((again.seq, again.duplicate, engine.last_seq()), (Seq(1), true, Seq(3)));
}

#[test]
fn what_no_audit_could_explain_is_refused_at_every_door() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 256 << 10).unwrap();
    let moved = Moved { cents: 5 };
    let kind = engine.kind_of::<Moved>().unwrap();
    let door =
        |fields: &Fields| downbeat::Error::from(engine.ingress().try_send(fields, &moved).unwrap_err());
    let of_a_kind = Fields { kind, ..Fields::default() };
    let bytes = |bytes: &[u8]| {
        let ingress = engine.ingress();
        let error = ingress.try_send_bytes(&of_a_kind, bytes).unwrap_err();
        assert!(ingress.try_submit_bytes(&of_a_kind, bytes, Ack::Durable).is_err());
        assert!(error.to_string().contains("no `bank.Moved v1`"), "{error}");
        downbeat::Error::from(error)
    };
    let group: downbeat::Error = {
        let mut group = Group::new();
        group.push(&of_a_kind, &moved).unwrap();
        group.push_bytes(&of_a_kind, &[1, 2, 3]).unwrap();
        engine.ingress().try_submit_all(&group, Ack::Durable).map(drop).unwrap_err().into()
    };
    for error in [
        engine.submit(&moved).source(SourceId::OF_STAGES).wait().unwrap_err(),
        door(&Fields { kind, source: SourceId::OF_STAGES, ..Fields::default() }),
        door(&Fields { kind, derived: true, ..Fields::default() }),
        door(&Fields::default()),
        door(&Fields { kind: Kind(u16::MAX), ..Fields::default() }),
        door(&Fields { kind: engine.kind_of::<Ticked>().unwrap(), ..Fields::default() }),
        bytes(&[1, 2, 3]),
        bytes(&[]),
        group,
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        one_line(&error);
    }
    assert_eq!(engine.submit(&moved).source(SourceId(7)).wait().unwrap().seq, Seq(1));
    let mut encoded = AlignedBuf::zeroed(moved.encoded_len_max());
    let len = moved.encode(&mut encoded).unwrap();
    engine.ingress().try_send_bytes(&of_a_kind, &encoded[..len]).unwrap();
    engine.close().unwrap();
    assert_eq!(engine.last_seq(), Seq(2));
}

/// Found by reading, with the fuzzers: the thread that opens panicked, and the message was all that one got.
#[test]
fn contracts_that_no_batch_can_hold_are_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), 16 << 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(one_line(&error).contains("batch_bytes"), "{error}");
    let engine = open(dir.path(), 256 << 10).unwrap();
    engine.submit(&Moved { cents: 5 }).key(Key(1)).wait().unwrap();
    engine.close().unwrap();
    // The log holds the contracts now, and repeats them in every segment.
    let error = open(dir.path(), 16 << 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(one_line(&error).contains("batch_bytes"), "{error}");
    assert_eq!(total(&open(dir.path(), 256 << 10).unwrap()), 5);
}

/// Found by reading: the first checkpoint was a panic of the thread that orders, and whoever subscribed waited for ever.
#[test]
fn names_that_no_checkpoint_can_hold_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.order.batch_bytes = 16 << 10;
    let flow = Flow::named("long").stage(&"x".repeat(16 << 10), Balance).on::<Moved>().emits::<Reached>();
    let error = Engine::open(options, flow.build().unwrap()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(
        one_line(&error).contains("a checkpoint of this flow") && one_line(&error).contains("batch_bytes")
    );
}

#[test]
fn a_log_from_the_end_of_time_is_refused() {
    for (time, refused) in [(u64::MAX, true), (3 << 62, false)] {
        let dir = tempfile::tempdir().unwrap();
        let log = downbeat_wal::Options { backend: BackendChoice::Blocking, ..options(dir.path()).log };
        let (mut log, _) = Log::open(&log, |_| Ok(())).unwrap();
        let mut table = ContractTable::new();
        table.register(Contract::of::<Ticked>()).unwrap();
        log.append_control(BatchKind::Contracts, Timestamp(1), &table.to_json()).unwrap();
        let mut batch = Batch::with_capacity(4096, 0);
        batch.open(Seq(1));
        batch.push(&Fields { kind: Kind(1), ..Fields::default() }, Timestamp(time), &[]).unwrap();
        log.append(&mut Arc::new(batch)).unwrap();
        log.close(Timestamp(1)).unwrap();
        match open(dir.path(), 256 << 10) {
            Err(error) => {
                assert!(refused, "{error}");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(one_line(&error).contains("timestamp"), "{error}");
            }
            Ok(engine) => {
                assert!(!refused);
                engine.submit(&Moved { cents: 5 }).key(Key(1)).wait().unwrap();
                engine.close().unwrap();
            }
        }
    }
}

/// Found by reading: with keys it was a panic of the thread that opens, without them it was taken.
#[test]
fn a_log_in_which_time_goes_back_is_refused_and_says_where() {
    for key in [IdempotencyKey::NONE, IdempotencyKey(7)] {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 256 << 10).unwrap().close().unwrap();
        let (mut log, _) =
            downbeat_wal::Log::open(&downbeat_wal::Options::new(dir.path()), |_| Ok(())).unwrap();
        for (seq, time) in [(1, 2_000_000_000_000_000_000), (2, 1_000_000_000_000_000_000)] {
            let mut batch = Batch::with_capacity(16 << 10, 0);
            batch.open(Seq(seq));
            let fields = Fields {
                idempotency_key: IdempotencyKey(key.0 * u128::from(seq)),
                kind: Kind(1),
                ..Fields::default()
            };
            batch.push(&fields, Timestamp(time), &[]).unwrap();
            log.append(&mut Arc::new(batch)).unwrap();
        }
        log.drain().unwrap();
        drop(log);
        let error = open(dir.path(), 256 << 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(one_line(&error).contains("seq 2 has timestamp 1000000000000000000"), "{error}");
    }
}

/// Found by reading: an opening took what no audit holds for a log, and one such checkpoint ended the engine when it came to
/// that event.
#[test]
fn a_log_that_says_what_cannot_be_is_refused_when_it_is_opened() {
    let forged = |forge: fn(&mut Log)| {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 256 << 10).unwrap().close().unwrap();
        let (mut log, _) = Log::open(&downbeat_wal::Options::new(dir.path()), |_| Ok(())).unwrap();
        forge(&mut log);
        log.drain().unwrap();
        drop(log);
        let error = open(dir.path(), 256 << 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        one_line(&error)
    };
    let ahead = forged(|log| {
        let body = Checkpoint { seq: Seq(9), flow: "bank".into(), stages: Vec::new(), leaves: Vec::new() };
        log.append_control(BatchKind::Checkpoint, Timestamp(1 << 60), &body.to_json()).unwrap();
    });
    assert!(ahead.contains("it is a checkpoint of seq 9, and the log is at seq 0"), "{ahead}");
    let unexplained = forged(|log| {
        let mut batch = Batch::with_capacity(16 << 10, 0);
        batch.open(Seq(1));
        let fields = Fields { kind: Kind(99), ..Fields::default() };
        batch.push(&fields, Timestamp(2_000_000_000_000_000_000), &[]).unwrap();
        log.append(&mut Arc::new(batch)).unwrap();
    });
    assert!(
        unexplained.contains("seq 1 is of kind 99, which no contract before it explains"),
        "{unexplained}"
    );
}
