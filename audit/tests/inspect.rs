//! A log explains itself: any event as JSON, without the application's types.

mod common;

use common::write;
use downbeat::{Key, Seq};
use downbeat_audit::{EventFilter, inspect};

#[test]
fn events_are_decoded_by_the_contracts_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 100, 1);
    let events: Vec<_> = inspect(dir.path(), EventFilter::default()).unwrap().map(Result::unwrap).collect();
    let first = events[2].to_json();
    assert_eq!(first["kind"], "bank.Moved");
    assert_eq!(first["payload"]["cents"], 2);
    assert_eq!(first["payload"]["memo"], "movement 2 of life 0");
    assert_eq!(first["payload"]["tags"], serde_json::json!(["tag 0", "tag 1"]));
    assert_eq!(first["payload"]["channel"], "Branch");
    assert_eq!(events[1].payload["channel"]["Online"]["country"], serde_json::json!([78, 76]));
    assert!(events.windows(2).all(|pair| pair[1].seq == pair[0].seq.next()));
    let rejected = events.iter().find(|event| event.contract.0 == "downbeat.Rejected").unwrap();
    assert_eq!(rejected.payload["reason"], "overdrawn");
    assert!(rejected.fields.derived && rejected.fields.causation > Seq::ZERO);
}

#[test]
fn a_filter_gives_what_it_says_and_starts_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 12_000, 2);
    let filter = EventFilter { from: Some(Seq(9_000)), to: Some(Seq(9_499)), ..EventFilter::default() };
    let seqs: Vec<_> = inspect(dir.path(), filter).unwrap().map(|event| event.unwrap().seq.0).collect();
    assert_eq!(seqs, (9_000..=9_499).collect::<Vec<_>>());
    let filter = EventFilter {
        kind: Some("bank.Reached".into()),
        key: Some(Key(3)),
        from: Some(Seq(2_000)),
        ..EventFilter::default()
    };
    let found: Vec<_> = inspect(dir.path(), filter).unwrap().map(Result::unwrap).collect();
    assert!(!found.is_empty());
    assert!(found.iter().all(|event| event.contract.0 == "bank.Reached" && event.fields.key == Key(3)));
}
