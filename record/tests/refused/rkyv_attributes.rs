//! Attributes of rkyv that make the archived form another than the types say.

use downbeat_record::{Event, rkyv};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct With {
    #[rkyv(with = rkyv::with::AsBox)]
    value: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[rkyv(
    serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator),
    deserialize_bounds(__D::Error: rkyv::rancor::Source),
    bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)),
)]
struct Tree {
    #[rkyv(omit_bounds)]
    children: Vec<Tree>,
}

fn main() {}
