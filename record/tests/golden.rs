//! Golden bytes of format version 1. They never change: a build that writes or reads other bytes is another
//! format version, with golden files of its own.
#![allow(missing_docs)]

use downbeat_record::{
    Batch, BatchNo, Contract, ContractTable, Correlation, Epoch, Event, Fields, IdempotencyKey, Key, Kind,
    Root, Seq, Shaped, SourceId, Stamp, Timestamp, encoded_here, json, rkyv,
};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Transferred", version = 1)]
struct Transferred {
    from: u64,
    to: u64,
    cents: i64,
    memo: String,
    fee: Option<u32>,
    via: Channel,
    splits: Vec<(String, i64)>,
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Channel {
    Branch,
    Card { terminal: u32, limit: u128 },
    Wire(String),
}

fn transferred() -> [Transferred; 3] {
    let plain = |memo: &str, fee, via| Transferred {
        from: 1,
        to: 2,
        cents: -1_250,
        memo: memo.to_owned(),
        fee,
        via,
        splits: Vec::new(),
    };
    [
        plain("rent", None, Channel::Branch),
        plain("a memo of more than eight bytes", Some(35), Channel::Wire("SEPA".to_owned())),
        Transferred {
            splits: vec![("savings".to_owned(), -1_000), ("a long account name".to_owned(), -250)],
            ..plain("", Some(0), Channel::Card { terminal: 9, limit: u128::MAX - 1 })
        },
    ]
}

fn batch() -> Batch {
    let mut batch = Batch::with_capacity(8192, 0);
    batch.open(Seq(42));
    let all = Fields {
        kind: Kind(1),
        source: SourceId(0x0102_0304),
        key: Key(0x1111_2222_3333_4444),
        correlation: Correlation(0x5555_6666_7777_8888_9999_aaaa_bbbb_cccc),
        causation: Seq(41),
        idempotency_key: IdempotencyKey(0xdddd_eeee_ffff_0000_1111_2222_3333_4444),
        derived: true,
    };
    let shared = Fields { idempotency_key: IdempotencyKey::NONE, derived: false, ..all };
    let bare = Fields { kind: Kind(1), source: SourceId(7), ..Fields::default() };
    let mut out = [0; 1_024];
    for (index, (event, fields)) in transferred().iter().zip([all, shared, bare]).enumerate() {
        let len = event.encode(&mut out).unwrap();
        let timestamp = Timestamp(1_700_000_000_000_000_000 + 1_000 * index as u64);
        batch.push(&fields, timestamp, &out[..len]).unwrap();
    }
    batch.seal(&Stamp {
        batch_no: BatchNo(3),
        epoch: Epoch(2),
        salt: 0x600d_cafe,
        prev_root: Root([0x5a; 32]),
        durable: BatchNo(2),
        clock_error_ns: 1_500,
    });
    batch
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const BATCH: &str = include_str!("golden/batch_v1.hex");
const CONTRACTS: &str = include_str!("golden/contracts_v1.json");

#[test]
fn a_sealed_batch_has_the_bytes_of_version_1() {
    assert_eq!(hex(batch().bytes()), BATCH);
}

#[test]
fn the_bytes_of_version_1_read_as_what_was_written() {
    let read = Batch::read(&unhex(BATCH)).unwrap();
    assert_eq!(read.root().to_string(), "4330ea885e2472e623b9f8540693b622fff9653ef2facfd55c8f3462b0ddf5e6");
    let table = ContractTable::from_json(CONTRACTS.as_bytes()).unwrap();
    let shape = &table.get(Kind(1)).unwrap().shape;
    let events: Vec<String> = read
        .records()
        .map(|record| format!("{} {}", record.seq, json::decode(shape, record.payload()).unwrap()))
        .collect();
    assert_eq!(
        events,
        [
            r#"42 {"from":1,"to":2,"cents":-1250,"memo":"rent","fee":null,"via":"Branch","splits":[]}"#,
            concat!(
                r#"43 {"from":1,"to":2,"cents":-1250,"memo":"a memo of more than eight bytes","fee":35,"#,
                r#""via":{"Wire":"SEPA"},"splits":[]}"#
            ),
            concat!(
                r#"44 {"from":1,"to":2,"cents":-1250,"memo":"","fee":0,"#,
                r#""via":{"Card":{"terminal":9,"limit":"340282366920938463463374607431768211454"}},"#,
                r#""splits":[["savings",-1000],["a long account name",-250]]}"#
            ),
        ]
    );
}

#[test]
fn a_contract_table_has_the_text_of_version_1() {
    let mut table = ContractTable::new();
    table.register(Contract::of::<Transferred>()).unwrap();
    assert_eq!(String::from_utf8(table.to_json()).unwrap(), CONTRACTS);
}

#[test]
fn a_view_reads_the_bytes_of_version_1() {
    let read = Batch::read(&unhex(BATCH)).unwrap();
    let record = read.records().nth(2).unwrap();
    let view = Transferred::view(encoded_here(record.payload().bytes())).unwrap();
    assert_eq!((view.cents.to_native(), view.splits[1].0.as_str()), (-1_250, "a long account name"));
    assert_eq!(record.fields.source, SourceId(7));
}
