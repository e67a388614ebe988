//! The derives: names, versions, shapes, and what is encoded.
#![allow(missing_docs)]

use downbeat_record::{Event, Shape, Shaped, rkyv};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Deposited", version = 3)]
struct Deposited {
    account: u64,
    cents: i64,
    memo: String,
    tags: Vec<String>,
    rate: Rate,
    pair: (u8, u64),
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Rate {
    None,
    Fixed(f64),
    Steps { low: u16, high: Option<u64> },
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Tick;

#[test]
fn a_name_and_a_version_come_from_the_attribute_or_the_type() {
    assert_eq!((Deposited::NAME, Deposited::VERSION), ("bank.Deposited", 3));
    assert_eq!((Tick::NAME, Tick::VERSION), ("Tick", 1));
}

#[test]
fn a_shape_survives_its_json() {
    let shape = Deposited::shape();
    let text = serde_json::to_string(&shape).unwrap();
    println!("{}", serde_json::to_string_pretty(&shape).unwrap());
    assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
}
