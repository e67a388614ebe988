//! The example in `docs/format.md` is what the code does.
#![allow(missing_docs)]

use downbeat_record::{Contract, ContractTable, Event, Kind, encoded_here, json, rkyv};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Deposited", version = 1)]
struct Deposited {
    account: u64,
    cents: i64,
    memo: String,
    tags: Vec<u16>,
    note: Option<u32>,
}

const DOCUMENT: &str = include_str!("../../docs/format.md");

/// The code block after a heading of its own.
fn block(info: &str) -> &'static str {
    let start = format!("```{info}\n");
    let after = DOCUMENT.split_once(&start).expect("the block is there").1;
    after.split_once("```").expect("the block ends").0
}

#[test]
fn the_documented_table_is_what_is_written() {
    let mut table = ContractTable::new();
    table.register(Contract::of::<Deposited>()).unwrap();
    let documented = ContractTable::from_json(block("json contracts").as_bytes()).unwrap();
    assert_eq!(documented, table);
}

#[test]
fn the_documented_payload_is_what_is_encoded_and_decoded() {
    let event = Deposited {
        account: 7,
        cents: 1_250,
        memo: "rent for May".to_owned(),
        tags: vec![3, 5],
        note: Some(9),
    };
    let mut out = [0; 256];
    let len = event.encode(&mut out).unwrap();
    let documented: Vec<u8> = block("hex payload")
        .lines()
        .flat_map(|line| line.split('|').nth(1).expect("bytes stand between bars").split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    assert_eq!(out[..len], documented);

    let table = ContractTable::from_json(block("json contracts").as_bytes()).unwrap();
    let value = json::decode(&table.get(Kind(1)).unwrap().shape, encoded_here(&documented)).unwrap();
    let expected: serde_json::Value = serde_json::from_str(block("json decoded")).unwrap();
    assert_eq!(value, expected);
}
