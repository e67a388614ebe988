//! A log that agrees is read once; whatever is in doubt is read again, and judged knowing everything.

mod common;

use common::{check, flow, forge, write};
use downbeat::record::Checkpoint;
use downbeat_audit::{AuditError, Diverged, Progress, ReplayOptions, replay};

fn replayed(dir: &std::path::Path) -> (Result<u64, AuditError>, Progress) {
    let mut last = Progress::default();
    let replayed = replay(dir, &flow(1), ReplayOptions::default(), |progress| {
        assert!(progress.bytes > last.bytes && progress.bytes <= progress.bytes_total);
        last = progress;
    });
    (replayed.map(|replayed| replayed.checkpoints), last)
}

#[test]
fn a_log_that_agrees_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 6_000, 3);
    let verified = check(dir.path()).unwrap();
    let (checkpoints, last) = replayed(dir.path());
    assert_eq!(checkpoints.unwrap() as usize, verified.checkpoints.len());
    assert_eq!((last.batches, last.bytes), (verified.batches, verified.bytes));
}

#[test]
fn a_checkpoint_behind_a_later_one_is_compared_all_the_same() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(source.path(), 3_000, 1);
    for falsify in [false, true] {
        let target = target.path().join(falsify.to_string());
        // The first one moves to the place of the third.
        let (mut kept, mut number): (Option<Checkpoint>, _) = (None, 0);
        forge(source.path(), &target, true, Some, |checkpoint| {
            number += 1;
            match number {
                1 => {
                    kept = Some(checkpoint);
                    None
                }
                3 => kept.take().map(|mut first| {
                    first.stages[0].state.0 ^= u128::from(falsify);
                    first
                }),
                _ => Some(checkpoint),
            }
        });
        let verified = check(&target).unwrap();
        assert!(verified.checkpoints[0].seq > verified.checkpoints[1].seq);
        match replayed(&target) {
            (Ok(checkpoints), last) => {
                assert!(!falsify);
                assert_eq!(checkpoints as usize, verified.checkpoints.len());
                assert!(last.batches > verified.batches, "it was read again");
            }
            (Err(AuditError::Diverged(Diverged::Digest { seq, .. })), _) => {
                assert!(falsify);
                assert_eq!(seq, verified.checkpoints[1].seq);
            }
            (Err(other), _) => panic!("{other}"),
        }
    }
}
