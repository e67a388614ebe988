//! Made-up traffic: what a seed promises, and that its proportions are those of the real log.

use downbeat_example_loan::activity::pairs;
use downbeat_example_loan::{Generator, LoanInput, Summary, Volume, write_csv, write_jsonl, write_xes};

/// Each pair's share of the real log's 262,200 events, in the order of `pairs()`.
const REAL_COUNTS: [u64; 36] = [
    13_087, 13_087, 7_367, 5_113, 5_015, 2_246, 2_246, 2_246, 7_635, 2_807, // A_*
    7_030, 7_030, 7_030, 3_454, 2_243, 3_655, 802, // O_*
    4_771, 5_897, 5_898, // W_Afhandelen leads
    7_371, 23_512, 23_967, // W_Completeren aanvraag
    6_634, 22_406, 22_976, // W_Nabellen offertes
    5_023, 7_891, 7_895, // W_Valideren aanvraag
    2_383, 11_400, 11_407, // W_Nabellen incomplete dossiers
    124, 270, 270, // W_Beoordelen fraude
    12,  // W_Wijzigen contractgegevens
];

fn generate(seed: u64, volume: Volume) -> Vec<LoanInput> {
    Generator::new(seed, volume).collect()
}

#[track_caller]
fn assert_close(what: &str, found: u64, of: u64, real: u64, real_of: u64) {
    let (found, real) = (found * 1_000_000 / of, real * 1_000_000 / real_of);
    assert!(found.abs_diff(real) <= 10_000, "{what}: {found} per million, in the real log {real}");
}

#[test]
fn a_million_events_have_the_proportions_of_the_real_log() {
    let inputs = generate(1, Volume::Events(1_000_000));
    assert_eq!(inputs.len(), 1_000_000);
    let summary = Summary::of(&inputs);
    let applications = summary.applications;
    for (what, found, real) in [
        ("approved", summary.approved.applications, 2_246),
        ("declined", summary.declined.applications, 7_635),
        ("cancelled", summary.cancelled.applications, 2_807),
        ("open", summary.open.applications, 399),
        ("offers sent", summary.offers_sent, 7_030),
        ("with an offer", summary.with_offer, 5_015),
        ("with several offers", summary.with_several_offers, 1_438),
        ("checked for fraud", summary.fraud_checked, 108),
        ("fraud events", summary.fraud_events, 664),
    ] {
        assert_close(what, found, applications, real, 13_087);
    }
    assert_eq!(summary.contradictory, 0);
    assert_close("events per 100 applications", 1_000_000, applications * 100, 262_200, 1_308_700);

    for ((activity, transition), real) in pairs().zip(REAL_COUNTS) {
        let is_pair = |input: &&LoanInput| (input.activity, input.transition) == (activity, transition);
        let found = inputs.iter().filter(is_pair).count() as u64;
        assert!(found > 0, "{activity}/{transition} never occurs");
        assert_close(&format!("{activity}/{transition}"), found, 1_000_000, real, 262_200);
    }
}

#[test]
fn amounts_spread_as_in_the_real_log() {
    let inputs = generate(2, Volume::Applications(50_000));
    let mut amounts: Vec<u64> = inputs.iter().filter_map(|input| input.amount_eur).collect();
    assert_eq!(amounts.len(), 50_000);
    amounts.sort_unstable();
    // Quartiles and mean of the real log: 5,000, 10,000, 17,640 and 13,573.
    assert_eq!([amounts[12_500], amounts[25_000]], [5_000, 10_000]);
    assert!((16_000..20_000).contains(&amounts[37_500]), "{}", amounts[37_500]);
    let mean = amounts.iter().sum::<u64>() / 50_000;
    assert!((13_000..14_200).contains(&mean), "{mean}");
    assert!(amounts[0] < 500 && amounts[49_999] <= 99_999);
}

#[test]
fn events_come_in_time_order_and_positions_are_dense() {
    let inputs = generate(3, Volume::Events(100_000));
    assert!(inputs.is_sorted_by_key(|input| (input.time_ns, input.case)));
    let mut by_case = inputs.clone();
    by_case.sort_by_key(|input| (input.case, input.position));
    for trace in by_case.chunk_by(|left, right| left.case == right.case) {
        assert!(trace.iter().map(|input| input.position).eq(0..trace.len() as u32));
        assert!(trace.is_sorted_by_key(|input| input.time_ns));
        assert!(trace[0].amount_eur.is_some() && trace[1..].iter().all(|input| input.amount_eur.is_none()));
        assert!(trace.iter().all(|input| input.activity.occurs_with(input.transition)));
    }
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed| {
        let inputs = generate(seed, Volume::Events(20_000));
        let mut out = Vec::new();
        write_jsonl(&mut out, inputs.iter().copied()).unwrap();
        write_csv(&mut out, inputs.iter().copied()).unwrap();
        write_xes(&mut out, &inputs).unwrap();
        out
    };
    assert_eq!(bytes(4), bytes(4));
    assert_ne!(bytes(4), bytes(5));
}

#[test]
fn every_volume_is_exact() {
    for events in [0, 1, 2, 3, 19, 20, 21, 1_000, 12_345] {
        assert_eq!(Generator::new(6, Volume::Events(events)).count() as u64, events);
    }
    for applications in [0, 1, 2, 5_000] {
        let summary = Summary::of(&generate(6, Volume::Applications(applications)));
        assert_eq!(summary.applications, applications);
    }
}

#[test]
fn a_volume_without_end_starts_at_once_and_stays_in_time() {
    let year_2262_ns = 9_214_646_400_000_000_000;
    for volume in [Volume::Events(u64::MAX), Volume::Applications(u64::MAX)] {
        let inputs: Vec<_> = Generator::new(8, volume).take(100_000).collect();
        assert_eq!(inputs.len(), 100_000);
        assert!(inputs.is_sorted_by_key(|input| input.time_ns) && inputs[99_999].time_ns < year_2262_ns);
    }
}

#[test]
#[ignore = "a measurement: cargo test --release -p downbeat-example-loan -- --ignored --nocapture"]
#[expect(clippy::print_stdout, reason = "a measurement is there to be seen")]
fn five_million_events_a_second() {
    let started = std::time::Instant::now();
    let last = Generator::new(9, Volume::Events(20_000_000)).last().unwrap();
    let elapsed = started.elapsed();
    println!("{} events/s, last {last:?}", 20_000_000_000 / elapsed.as_millis().max(1));
    assert!(elapsed.as_secs() < 4, "{elapsed:?}");
}
