//! The whole flow on an engine: what its stages know is what the input says.

use std::path::{Path, PathBuf};

use downbeat::{Engine, Options};
use downbeat_example_loan::flow::Recorded;
use downbeat_example_loan::{
    Activity, CaseId, Generator, LoanInput, Summary, Transition, Volume, flow, summary_of_states,
};

fn open(dir: &Path, notifications: Option<PathBuf>, shards: u32) -> Engine {
    let mut options = Options::new(dir.join("log")).shards(shards).threads(2);
    options.log.segment_bytes = 8 << 20;
    Engine::open(options, flow(notifications)).unwrap()
}

fn submit(engine: &Engine, inputs: &[LoanInput]) {
    for input in inputs {
        let (event, key) = (Recorded::from(input), input.idempotency_key());
        let submission = engine.submit(&event).key(input.key()).correlation(input.correlation());
        submission.idempotency_key(key).send().unwrap();
    }
}

#[test]
fn what_the_states_say_is_what_the_input_says_with_any_number_of_shards() {
    let inputs: Vec<_> = Generator::new(3, Volume::Applications(400)).collect();
    for shards in [1, 2, 8] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path(), None, shards);
        submit(&engine, &inputs);
        engine.close().unwrap();
        assert_eq!(summary_of_states(&engine), Some(Summary::of(&inputs)), "{shards} shards");
    }
}

/// No log has these, but nothing forbids them.
#[test]
fn strange_applications_are_counted_as_the_oracle_counts_them() {
    use Activity::*;
    let lives: [&[(Activity, Transition, Option<u64>)]; 6] = [
        &[
            (ApplicationDeclined, Transition::Complete, None),
            (ApplicationApproved, Transition::Complete, Some(9)),
        ],
        &[(ApplicationCancelled, Transition::Schedule, None), (ApplicationDeclined, Transition::Start, None)],
        &[(OfferSent, Transition::Start, Some(u64::MAX)), (OfferSent, Transition::Complete, Some(1))],
        &[(OfferCreated, Transition::Complete, Some(u64::MAX)), (OfferCreated, Transition::Complete, None)],
        &[(WorkFraud, Transition::Schedule, None), (OfferSent, Transition::Complete, None)],
        &[
            (ApplicationApproved, Transition::Complete, Some(0)),
            (ApplicationApproved, Transition::Complete, None),
        ],
    ];
    let mut inputs = Vec::new();
    for (case, life) in lives.iter().enumerate() {
        for (position, (activity, transition, amount_eur)) in life.iter().enumerate() {
            let (position, time_ns) = (position as u32, inputs.len() as u64 + 1);
            inputs.push(LoanInput {
                case: CaseId(case as u64),
                position,
                time_ns,
                activity: *activity,
                transition: *transition,
                resource: None,
                amount_eur: *amount_eur,
            });
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), None, 1);
    submit(&engine, &inputs);
    engine.close().unwrap();
    assert_eq!(summary_of_states(&engine), Some(Summary::of(&inputs)));
}

#[test]
fn every_notification_is_told_once_across_restarts() {
    let inputs: Vec<_> = Generator::new(5, Volume::Applications(200)).collect();
    let (dir, lines) = (tempfile::tempdir().unwrap(), |path: &Path| std::fs::read_to_string(path).unwrap());
    let (whole, torn) = (dir.path().join("whole"), dir.path().join("torn"));
    let engine = open(dir.path(), Some(whole.clone()), 1);
    submit(&engine, &inputs);
    engine.close().unwrap();
    drop(engine);
    let told = lines(&whole);
    assert!(told.lines().count() > 200, "offers and decisions are told");

    // A crash that left the last lines whole, torn, or not there.
    for cut in (told.len() - 400..told.len()).step_by(13) {
        std::fs::write(&torn, &told[..cut]).unwrap();
        open(dir.path(), Some(torn.clone()), 1).close().unwrap();
        assert_eq!(lines(&torn), told, "cut at byte {cut}");
    }
    // And one who comes late is told everything.
    let late = dir.path().join("late");
    open(dir.path(), Some(late.clone()), 2).close().unwrap();
    assert_eq!(lines(&late), told);
}
