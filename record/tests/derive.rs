//! The derives: names, versions, shapes, paths, and what they refuse to compile.
#![allow(missing_docs, dead_code)]

use downbeat_record::shape::{Members, Scalar};
use downbeat_record::{Event, Shape, Shaped, encoded_here, rkyv};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Deposited", version = 3)]
struct Deposited {
    account: u64,
    small: u8,
    memo: String,
    r#type: Option<u128>,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Tick;

#[test]
fn a_name_and_a_version_come_from_the_attribute_or_the_type() {
    assert_eq!((Deposited::NAME, Deposited::VERSION), ("bank.Deposited", 3));
    assert_eq!((Tick::NAME, Tick::VERSION), ("Tick", 1));
}

#[test]
fn offsets_are_those_of_the_archived_form() {
    type Archived = rkyv::Archived<Deposited>;
    let Shape::Struct(shape) = Deposited::shape() else { panic!("a struct has the shape of a struct") };
    assert_eq!((shape.size as usize, shape.align as usize), (size_of::<Archived>(), align_of::<Archived>()));
    let Members::Named(fields) = &shape.members else { panic!("its fields have names") };
    let found: Vec<(&str, usize)> =
        fields.iter().map(|field| (field.name.as_str(), field.offset as usize)).collect();
    let expected = [
        ("account", std::mem::offset_of!(Archived, account)),
        ("small", std::mem::offset_of!(Archived, small)),
        ("memo", std::mem::offset_of!(Archived, memo)),
        ("type", std::mem::offset_of!(Archived, r#type)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn sizes_and_alignments_are_those_of_the_archived_form() {
    fn agrees<T: Shaped>() {
        let (shape, archived) = (T::shape(), (size_of::<T::Archived>(), align_of::<T::Archived>()));
        assert_eq!((shape.size(), shape.align()), archived, "{shape}");
        assert_eq!(shape.check(), Ok(()));
        let text = serde_json::to_string(&shape).unwrap();
        assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
    }
    agrees::<()>();
    agrees::<bool>();
    agrees::<char>();
    agrees::<f64>();
    agrees::<i128>();
    agrees::<String>();
    agrees::<Vec<u128>>();
    agrees::<Box<u128>>();
    agrees::<Option<u8>>();
    agrees::<Option<u128>>();
    agrees::<Option<()>>();
    agrees::<Option<Option<u16>>>();
    agrees::<Option<Box<u64>>>();
    agrees::<[u16; 3]>();
    agrees::<[Option<u64>; 3]>();
    agrees::<[u64; 0]>();
    agrees::<(u8, u64)>();
    agrees::<(u8, u128, u8, String, f32, bool)>();
    agrees::<Deposited>();
    agrees::<Tick>();
    agrees::<Tags>();
    agrees::<Mixed>();
    agrees::<Option<Mixed>>();
}

const ELEVEN: u8 = 11;

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[repr(u8)]
enum Tags {
    Zero,
    One,
    Ten = 10,
    Eleven,
    Twelve = ELEVEN + 1,
    Thirteen,
    Last = u8::MAX,
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Mixed {
    A(u8, u16, u8),
    B { wide: u128, small: u8 },
    C([u8; 21]),
    D,
}

#[test]
fn tags_are_numbered_as_the_compiler_does() {
    let Shape::Enum(shape) = Tags::shape() else { panic!("an enum has the shape of an enum") };
    let tags: Vec<u8> = shape.variants.iter().map(|variant| variant.tag).collect();
    assert_eq!(tags, [0, 1, 10, 11, 12, 13, 255]);
}

#[test]
fn a_shape_reads_as_rust_writes_the_type() {
    let shape = <Vec<Option<([u16; 3], Box<String>)>>>::shape();
    assert_eq!(shape.to_string(), "Vec<Option<tuple>>");
    assert_eq!(<[Option<u8>; 2]>::shape().to_string(), "[Option<u8>; 2]");
    assert_eq!(<Box<()>>::shape().to_string(), "Box<()>");
    assert_eq!(u64::shape(), Shape::Scalar(Scalar::U64));
}

/// As a program sees it that depends on the facade alone.
mod facade {
    pub(crate) mod downbeat {
        pub(crate) use downbeat_record as record;
    }

    use downbeat::record;

    #[derive(record::Event, record::rkyv::Archive, record::rkyv::Serialize, record::rkyv::Deserialize)]
    #[event(crate = downbeat::record)]
    #[rkyv(crate = downbeat::record::rkyv)]
    pub(super) struct Placed {
        pub(super) item: Item,
    }

    #[derive(record::Shaped, record::rkyv::Archive, record::rkyv::Serialize, record::rkyv::Deserialize)]
    #[shaped(crate = downbeat::record)]
    #[rkyv(crate = downbeat::record::rkyv)]
    pub(super) enum Item {
        Named(String),
    }
}

#[test]
fn the_crate_path_can_be_that_of_the_facade() {
    let mut out = [0; 64];
    let event = facade::Placed { item: facade::Item::Named("a name that is long".to_owned()) };
    let len = event.encode(&mut out).unwrap();
    let mut aligned = rkyv::util::AlignedVec::<16>::new();
    aligned.extend_from_slice(&out[..len]);
    assert!(facade::Placed::view(encoded_here(&aligned)).is_ok());
}

#[test]
#[cfg_attr(miri, ignore = "it starts a compiler")]
fn what_no_log_can_explain_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
