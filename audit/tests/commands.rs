//! Events that stages emit: what the log holds must be what the code emits, and nothing may be passed over.

mod common;

use std::path::Path;

use common::{Loose, flow, forge, write};
use downbeat::record::{Checkpoint, Correlation, IdempotencyKey, Seq, SourceId};
use downbeat_audit::{AuditError, Diverged, ReplayOptions, Replayed, Verdict, VerifyOptions, replay, verify};
use downbeat_flow::Mismatch;

fn log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1_500, 1);
    dir
}

fn replayed(dir: &Path) -> Result<Replayed, AuditError> {
    // A forger does his work well: bytes and chain hold.
    verify(dir, VerifyOptions::default(), |_| {}).expect("the log holds");
    replay(dir, &flow(1), ReplayOptions::default(), |_| {})
}

fn diverged(dir: &Path) -> Diverged {
    match replayed(dir).err().expect("the difference is found") {
        error @ AuditError::Diverged(_) => {
            assert_eq!(error.verdict(), Verdict::DoesNotHold);
            let AuditError::Diverged(diverged) = error else { unreachable!() };
            diverged
        }
        other => panic!("{other}"),
    }
}

/// Changes the derived event number `index` of a log, and gives the log without checkpoints and what was found.
fn changed(index: u64, change: impl Fn(&mut Loose)) -> (Diverged, Seq, Seq) {
    let (source, target) = (log(), tempfile::tempdir().unwrap());
    let (mut met, mut at, mut cause) = (0, Seq::ZERO, Seq::ZERO);
    let edit = |mut event: Loose| {
        if event.fields.derived {
            if met == index {
                (at, cause) = (event.seq, event.fields.causation);
                change(&mut event);
            }
            met += 1;
        }
        Some(event)
    };
    forge(source.path(), target.path(), true, edit, |_| None);
    (diverged(target.path()), at, cause)
}

#[test]
fn a_log_written_anew_without_a_change_replays() {
    let (source, target) = (log(), tempfile::tempdir().unwrap());
    forge(source.path(), target.path(), true, Some, Some);
    let (one, other) = (replayed(source.path()).unwrap(), replayed(target.path()).unwrap());
    assert_eq!((one.stages, one.derived, one.checkpoints), (other.stages, other.derived, other.checkpoints));
}

#[test]
fn an_emitted_event_with_other_bytes_is_named() {
    let (found, at, of) = changed(7, |event| *event.payload.last_mut().unwrap() ^= 1);
    match found {
        Diverged::Command(mismatch) => match *mismatch {
            Mismatch::Differs { seq, cause, .. } => assert_eq!((seq, cause), (at, of)),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[test]
fn an_event_that_the_code_does_not_emit_is_named() {
    let (found, at, of) = changed(3, |event| event.fields.idempotency_key = IdempotencyKey::of("forged"));
    match found {
        Diverged::Command(mismatch) => assert_eq!(*mismatch, Mismatch::NotEmitted { seq: at, cause: of }),
        other => panic!("{other}"),
    }
}

#[test]
fn an_emitted_event_with_another_header_is_named() {
    for change in
        [(|event: &mut Loose| event.fields.correlation = Correlation(9)) as fn(&mut Loose), |event| {
            event.fields.source = SourceId(9)
        }]
    {
        let (found, at, of) = changed(5, change);
        let Diverged::Command(mismatch) = found else { panic!("{found}") };
        assert!(
            matches!(*mismatch, Mismatch::Differs { seq, cause, .. } if (seq, cause) == (at, of)),
            "{mismatch}"
        );
    }
}

#[test]
fn an_emitted_event_that_is_missing_is_named_when_a_later_one_is_there() {
    // Something else stands in its place, so that all seqs are as they were.
    let (found, at, of) = changed(4, |event| {
        event.fields.derived = false;
        event.fields.causation = Seq::ZERO;
        event.fields.idempotency_key = IdempotencyKey::NONE;
    });
    match found {
        Diverged::NotLogged { stage, cause, by: Some(by) } => {
            assert_eq!((stage.as_str(), cause), ("balance", of));
            assert!(by > at);
        }
        other => panic!("{other}"),
    }
}

/// A log to which all that a stage emits is new: of what is held there is a bound, as there is in an engine.
#[test]
fn what_the_log_does_not_hold_is_kept_up_to_a_bound() {
    let (source, target) = (log(), tempfile::tempdir().unwrap());
    let plain = |mut event: Loose| {
        if event.fields.derived {
            event.fields.derived = false;
            event.fields.causation = Seq::ZERO;
            event.fields.idempotency_key = IdempotencyKey::NONE;
        }
        Some(event)
    };
    forge(source.path(), target.path(), false, plain, |_| None);
    let with = |command_backlog_bytes| {
        let options = ReplayOptions { command_backlog_bytes, ..ReplayOptions::default() };
        replay(target.path(), &flow(1), options, |_| {})
    };
    assert!(with(usize::MAX).unwrap().pending > 50);
    let error = with(16 << 10).err().expect("it is too much");
    assert_eq!((error.verdict(), error.place(), error.intact()), (Verdict::Usage, None, None));
    let message = error.to_string();
    assert!(message.contains("stage `balance`") && message.contains("the 16384 bytes"), "{message}");
}

#[test]
fn an_emitted_event_missing_at_the_end_is_owed_only_by_a_log_that_was_not_closed() {
    let source = log();
    let total = replayed(source.path()).unwrap();
    let derived = |event: Loose| Some(event).filter(|event| !event.fields.derived);
    // The events up to the first derived one, with a checkpoint that covers them.
    let to = {
        let target = tempfile::tempdir().unwrap();
        forge(source.path(), target.path(), false, derived, |_| None);
        let open = replayed(target.path()).unwrap();
        assert!(open.pending > 0 && open.events < total.events);
        open
    };
    for (close, at) in [(true, to.last_seq), (false, to.last_seq), (true, Seq(to.last_seq.0 - 1))] {
        let target = tempfile::tempdir().unwrap();
        let checkpoint = |_| {
            let stages = to.stages.clone();
            (at == to.last_seq).then(|| Checkpoint {
                seq: at,
                flow: "bank".into(),
                stages,
                leaves: Vec::new(),
            })
        };
        forge(source.path(), target.path(), close, derived, checkpoint);
        match replayed(target.path()) {
            Ok(replayed) => assert_eq!((replayed.pending, close && at == to.last_seq), (to.pending, false)),
            Err(AuditError::Diverged(Diverged::NotLogged { stage, by: None, cause })) => {
                assert!(close && at == to.last_seq);
                assert!(stage == "balance" && cause <= at);
            }
            Err(other) => panic!("{other}"),
        }
    }
}
