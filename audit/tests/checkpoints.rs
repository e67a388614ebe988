//! Digests in the log: a false one is named with the stage and the interval in which the difference must lie.

mod common;

use common::{Balance, flow, forge, options, write};
use downbeat::record::{Checkpoint, Digest, Seq};
use downbeat::{Engine, Event, Flow, Key};
use downbeat_audit::{AuditError, Diverged, ReplayOptions, Verdict, replay};
use downbeat_flow::Mismatch;

fn replayed(dir: &std::path::Path, flow: &Flow) -> Result<downbeat_audit::Replayed, AuditError> {
    replay(dir, flow, ReplayOptions::default(), |_| {})
}

#[test]
fn a_false_digest_is_named_with_its_stage_and_the_checkpoint_that_held_before() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(source.path(), 3_000, 1);
    for (stage, what) in [("balance", "the state digest"), ("count", "the output digest")] {
        let target = target.path().join(stage);
        let falsify = |mut checkpoint: Checkpoint| {
            if checkpoint.seq == Seq(1_500) {
                let digest = checkpoint.stages.iter_mut().find(|digest| digest.stage == stage).unwrap();
                let place = if what == "the state digest" { &mut digest.state } else { &mut digest.outputs };
                *place = Digest(place.0 ^ 1);
            }
            Some(checkpoint)
        };
        forge(source.path(), &target, true, Some, falsify);
        match replayed(&target, &flow(1)).err().unwrap() {
            AuditError::Diverged(Diverged::Digest { stage: found, what: which, after, seq, .. }) => {
                assert_eq!((found.as_str(), which, after, seq), (stage, what, Seq(1_000), Seq(1_500)));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_altered_event_shows_in_the_first_checkpoint_behind_it() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(source.path(), 3_000, 1);
    // From the first event behind a checkpoint that came from outside, up to the next checkpoint: where in the order what
    // stages emit stands, and how much of it in a row, is another in each run.
    let (mut from, mut to) = (Seq(1_233), Seq(u64::MAX));
    let edit = |mut event: common::Loose| {
        if event.seq > from && event.seq <= to && !event.fields.derived {
            if to == Seq(u64::MAX) {
                (from, to) = (Seq(event.seq.0 - 1), Seq(event.seq.0.next_multiple_of(500)));
            }
            // The key of the account: its balance is not where it should be.
            event.fields.key = Key(event.fields.key.0 + 100);
        }
        Some(event)
    };
    forge(source.path(), target.path(), true, edit, Some);
    match replayed(target.path(), &flow(1)).err().unwrap() {
        AuditError::Diverged(Diverged::Digest { after, seq, .. }) => {
            assert_eq!((after, seq), (Seq(to.0 - 500), to));
        }
        // An emitted event that differs shows it sooner.
        AuditError::Diverged(Diverged::Command(mismatch)) => match *mismatch {
            Mismatch::NotEmitted { seq, cause } | Mismatch::Differs { seq, cause, .. } => {
                assert!(from < cause && cause < seq, "{mismatch}");
            }
            other => panic!("{other}"),
        },
        AuditError::Diverged(Diverged::NotLogged { cause, .. }) => assert!(from < cause),
        other => panic!("{other}"),
    }
}

#[test]
fn a_stage_that_the_flow_does_not_have_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let moved = |n: u64| common::Moved {
        cents: n as i64 % 9,
        memo: String::new(),
        channel: common::Channel::Branch,
        tags: Vec::new(),
    };
    let engine = Engine::open(options(dir.path()), flow(1)).unwrap();
    for n in 0..20 {
        engine.submit(&moved(n)).key(Key(n + 1)).send().unwrap();
    }
    engine.close().unwrap();
    let fewer = Flow::named("bank")
        .stage("balance", Balance { factor: 1 })
        .on::<common::Moved>()
        .emits::<common::Reached>()
        .build()
        .unwrap();
    match replayed(dir.path(), &fewer).err().unwrap() {
        AuditError::Diverged(Diverged::NoStage { stage, flow, seq }) => {
            assert_eq!((stage.as_str(), flow.as_str(), seq), ("count", "bank", Seq(20)));
        }
        other => panic!("{other}"),
    }
    let whole = replayed(dir.path(), &flow(1)).unwrap();
    let moved = whole.kinds.iter().find(|kind| kind.name == common::Moved::NAME).unwrap();
    assert!(moved.applied && moved.events == 20);
    assert!(whole.kinds.iter().any(|kind| kind.name == "bank.Reached" && !kind.applied && kind.events == 0));
}

#[test]
fn what_a_retired_stage_left_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 3_000, 1);
    let whole = replayed(dir.path(), &flow(1)).unwrap();
    let rest = Flow::named("bank").retired("balance").retired("count").build().unwrap();
    let rest = replayed(dir.path(), &rest).unwrap();
    assert!(rest.derived > 0, "nothing was emitted");
    assert_eq!((rest.last_seq, rest.derived, rest.pending), (whole.last_seq, whole.derived, 0));
}

mod changed {
    use downbeat::{Context, Event, Flow, Nothing, Out, Reject, Stage};

    /// The same name and version with one field more.
    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(name = "bank.Reached", version = 1, crate = downbeat::record)]
    pub(super) struct Reached {
        pub balance: i64,
        pub currency: u32,
    }

    struct Ignore;

    impl Stage for Ignore {
        type State = ();
        type Output = Nothing;

        fn apply(&self, (): &mut (), _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
            Ok(())
        }
    }

    pub(super) fn flow() -> Flow {
        Flow::named("bank").stage("ignore", Ignore).on::<Reached>().build().unwrap()
    }
}

#[test]
fn an_event_type_that_changed_without_a_new_version_is_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 300, 1);
    let error = replayed(dir.path(), &changed::flow()).err().unwrap();
    assert_eq!(error.verdict(), Verdict::Usage);
    let message = error.to_string();
    assert!(message.contains("bank.Reached") && message.contains("`currency`"), "{message}");
}
