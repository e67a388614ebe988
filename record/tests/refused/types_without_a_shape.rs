//! A type that hides behind a name is refused by its missing trait.

use downbeat_record::{Event, Shaped, rkyv};

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Inner {
    value: u64,
}

type Map = std::collections::HashMap<u64, u64>;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Refused {
    inner: Inner,
    map: Map,
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Fine {
    value: u64,
}

fn main() {}
