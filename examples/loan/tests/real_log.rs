//! The real log, where it is at hand (`../shared/data` beside the project); elsewhere the generator stands in.
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::path::{Path, PathBuf};

use downbeat_example_loan::{
    Activity, CaseId, Generator, Group, LoanInput, OnBadInput, Source, Summary, Volume, read, write_xes,
};

fn real_log() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/bpic2012.xes.gz");
    path.exists().then_some(path)
}

#[test]
fn every_application_of_the_log_ends_in_one_state() {
    let inputs = match real_log() {
        Some(path) => {
            let loaded = read(&Source::from(&path), OnBadInput::Stop).unwrap();
            assert_eq!(Summary::of(&loaded.inputs), real_summary());
            assert_real_ends(&loaded.inputs);
            loaded.inputs
        }
        None => Generator::new(12, Volume::Applications(13_087)).collect(),
    };
    let summary = Summary::of(&inputs);
    assert_eq!((summary.applications, summary.contradictory), (13_087, 0));
    let groups = [summary.approved, summary.declined, summary.cancelled, summary.open];
    assert_eq!(groups.map(|group| group.applications).iter().sum::<u64>(), 13_087);
    assert!(inputs.is_sorted_by_key(|input| input.time_ns));
    assert!(inputs.iter().all(|input| input.activity.occurs_with(input.transition)));
    let submitted = |input: &&LoanInput| input.activity == Activity::ApplicationSubmitted;
    assert!(inputs.iter().filter(submitted).all(|input| input.position == 0 && input.amount_eur.is_some()));
}

#[test]
fn the_log_survives_being_written_and_read() {
    let Some(path) = real_log() else {
        eprintln!("skipped: the real log is not here");
        return;
    };
    let mut inputs = read(&Source::from(&path), OnBadInput::Stop).unwrap().inputs;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.xes");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&copy).unwrap());
    write_xes(&mut file, &inputs).unwrap();
    std::io::Write::flush(&mut file).unwrap();
    let mut again = read(&Source::from(&copy), OnBadInput::Stop).unwrap().inputs;
    // Events of one instant keep the order of their file, and the copy has its cases in another order.
    inputs.sort_by_key(|input| (input.time_ns, input.case, input.position));
    again.sort_by_key(|input| (input.time_ns, input.case, input.position));
    assert!(inputs == again);
}

#[test]
#[ignore = "a measurement: cargo test --release -p downbeat-example-loan -- --ignored --nocapture"]
#[expect(clippy::print_stdout, reason = "a measurement is there to be seen")]
fn the_log_is_read_in_under_two_seconds() {
    let Some(path) = real_log() else { return };
    let started = std::time::Instant::now();
    let loaded = read(&Source::from(&path), OnBadInput::Stop).unwrap();
    let elapsed = started.elapsed();
    println!("{} events in {elapsed:?}", loaded.inputs.len());
    assert!(elapsed.as_secs() < 2, "{elapsed:?}");
}

fn real_summary() -> Summary {
    let group = |applications, amount_eur| Group { applications, amount_eur };
    Summary {
        events: 262_200,
        applications: 13_087,
        approved: group(2_246, 35_290_338),
        declined: group(7_635, 93_078_508),
        cancelled: group(2_807, 42_561_922),
        open: group(399, 6_703_743),
        contradictory: 0,
        offers_sent: 7_030,
        with_offer: 5_015,
        with_several_offers: 1_438,
        with_several_offers_created: 1_438,
        fraud_checked: 108,
        fraud_events: 664,
    }
}

fn assert_real_ends(inputs: &[LoanInput]) {
    let (first, last) = (&inputs[0], &inputs[inputs.len() - 1]);
    assert_eq!(first.case, CaseId(173_688));
    assert_eq!(first.activity, Activity::ApplicationSubmitted);
    assert_eq!(first.time_ns, 1_317_422_324_546_000_000);
    assert_eq!((first.resource, first.amount_eur), (Some(112), Some(20_000)));
    assert_eq!((last.case, last.time_ns), (CaseId(211_624), 1_331_737_494_681_000_000));
}
