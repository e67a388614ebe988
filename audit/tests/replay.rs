//! The code gives what the log records, with any number of shards; other code is found out.

mod common;

use common::{Balance, Count, flow, write};
use downbeat::Seq;
use downbeat_audit::{AuditError, Diverged, ReplayOptions, Verdict, VerifyOptions, replay, verify};

#[test]
fn replay_agrees_with_every_digest_in_the_log_whatever_the_shards() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 6_000, 3);
    let verified = verify(dir.path(), VerifyOptions::default(), |_| {}).unwrap();
    assert!(verified.checkpoints.len() >= 12, "{} checkpoints", verified.checkpoints.len());
    let mut digests = Vec::new();
    for shards in [1, 2, 8] {
        let replayed =
            replay(dir.path(), &flow(1), ReplayOptions { shards, ..ReplayOptions::default() }, |_| {})
                .unwrap();
        assert_eq!(replayed.events, verified.events);
        assert_eq!(replayed.last_seq, verified.last_seq);
        assert_eq!(replayed.checkpoints as usize, verified.checkpoints.len());
        assert_eq!(replayed.pending, 0, "a clean close lets every emitted event in");
        assert!(replayed.derived > 100 && replayed.rejected > 100);
        let (mut sum, mut count) = (0, 0);
        assert!(replayed.each_state::<Balance>("balance", |_, balance| sum += balance));
        assert!(replayed.each_state::<Count>("count", |_, n| count += n));
        assert!(!replayed.each_state::<Count>("balance", |_, _| {}));
        assert_eq!(count, replayed.derived - replayed.rejected);
        digests.push((replayed.stages, sum));
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(digests[0].0, verified.checkpoints.last().unwrap().stages);
}

#[test]
fn a_replay_stops_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 2_000, 1);
    let options = ReplayOptions { to: Some(Seq(777)), ..ReplayOptions::default() };
    let replayed = replay(dir.path(), &flow(1), options, |_| {}).unwrap();
    assert_eq!((replayed.events, replayed.last_seq), (777, Seq(777)));
}

#[test]
fn other_code_is_named_with_the_first_place_that_differs() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3_000, 1);
    let Err(error) = replay(dir.path(), &flow(2), ReplayOptions::default(), |_| {}) else {
        panic!("other code gives the same");
    };
    assert_eq!(error.verdict(), Verdict::DoesNotHold);
    let message = error.to_string();
    match error {
        AuditError::Diverged(Diverged::Digest { stage, after, seq, .. }) => {
            assert_eq!(stage, "balance", "{message}");
            assert!(after < seq && seq <= Seq(500), "{message}");
        }
        AuditError::Diverged(Diverged::Command(_)) => assert!(message.starts_with("seq "), "{message}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_log_that_ends_anywhere_replays_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1_000, 1);
    // Without the manifest's word, the end of the log is wherever whole batches end.
    let file = common::segments(dir.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let mut offset = 4096;
    let mut ends = Vec::new();
    while let Ok(header) = downbeat::record::BatchHeader::parse(&whole[offset..]) {
        offset += header.padded_len();
        ends.push(offset);
    }
    assert!(ends.len() > 10);
    for end in ends.iter().step_by(5) {
        let mut cut = whole.clone();
        cut[*end..].fill(0);
        std::fs::write(&file, cut).unwrap();
        let replayed = replay(dir.path(), &flow(1), ReplayOptions::default(), |_| {});
        // A log cut where it was acknowledged is refused; it is never replayed as if it were whole.
        match replayed {
            Ok(replayed) => assert!(replayed.last_seq > Seq::ZERO),
            Err(error) => assert_eq!(error.verdict(), Verdict::DoesNotHold, "{error}"),
        }
    }
}
