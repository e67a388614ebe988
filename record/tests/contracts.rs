//! Contracts: the log's table, and what happens when a type changes under its version.
#![allow(missing_docs, dead_code)]

use downbeat_record::contract::{Change, Changed, Verdict, diff};
use downbeat_record::shape::{EnumShape, Field, Members, Scalar, StructShape, Variant};
use downbeat_record::{Contract, ContractError, ContractTable, Event, Kind, Shape, Shaped, rkyv};

/// The same type as somebody has it before and after an edit.
macro_rules! versions {
    ($($module:ident { $($body:tt)* })*) => {$(
        mod $module {
            use super::*;
            #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
            pub(super) struct LoanRequested { $($body)* }
        }
    )*};
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Applicant {
    name: String,
    income: i64,
}

versions! {
    first { pub amount: u64, pub applicant: Applicant, pub term: u16, pub months: u16 }
    with_currency { pub amount: u64, pub applicant: Applicant, pub term: u16, pub months: u16, pub currency: String }
    with_currency_in_front { pub currency: String, pub amount: u64, pub applicant: Applicant, pub term: u16, pub months: u16 }
    without_term { pub amount: u64, pub applicant: Applicant, pub months: u16 }
    swapped { pub amount: u64, pub applicant: Applicant, pub months: u16, pub term: u16 }
    signed { pub amount: i64, pub applicant: Applicant, pub term: u16, pub months: u16 }
    optional { pub amount: Option<u64>, pub applicant: Applicant, pub term: u16, pub months: u16 }
    many { pub amount: u64, pub applicant: Vec<Applicant>, pub term: u16, pub months: u16 }
}

/// What a log that has the first version says to another one.
fn refusal<E: Event>() -> String {
    let mut table = ContractTable::new();
    table.register(Contract::of::<first::LoanRequested>()).unwrap();
    let before = table.clone();
    let error = table.register(Contract::of::<E>()).unwrap_err();
    assert_eq!(table, before);
    error.to_string()
}

#[test]
fn an_added_field_is_named() {
    let expected = "contract `LoanRequested` v1: field `currency` was added; declare it as v2";
    assert_eq!(refusal::<with_currency::LoanRequested>(), expected);
    assert_eq!(refusal::<with_currency_in_front::LoanRequested>(), expected);
}

#[test]
fn a_removed_field_is_named() {
    let expected = "contract `LoanRequested` v1: field `term` was removed; declare it as v2";
    assert_eq!(refusal::<without_term::LoanRequested>(), expected);
}

#[test]
fn fields_that_change_places_are_named() {
    let text = refusal::<swapped::LoanRequested>();
    assert!(text.contains("field `term` was moved from byte 24 to byte 26"), "{text}");
    assert!(text.contains("field `months` was moved from byte 26 to byte 24"), "{text}");
}

#[test]
fn a_changed_type_is_named_before_and_after() {
    let text = refusal::<signed::LoanRequested>();
    assert!(text.contains("field `amount` was `u64` and is `i64`"), "{text}");
    let text = refusal::<optional::LoanRequested>();
    assert!(text.contains("field `amount` was `u64` and is `Option<u64>`"), "{text}");
    let text = refusal::<many::LoanRequested>();
    assert!(text.contains("field `applicant` was `Applicant` and is `Vec<Applicant>`"), "{text}");
}

mod nested {
    use super::*;

    #[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    pub(super) struct Applicant {
        name: String,
        income: u64,
    }

    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    pub(super) struct LoanRequested {
        amount: u64,
        applicant: Applicant,
        term: u16,
        months: u16,
    }
}

#[test]
fn a_change_inside_a_field_is_named_by_its_path() {
    let text = refusal::<nested::LoanRequested>();
    assert!(text.contains("field `applicant.income` was `i64` and is `u64`"), "{text}");
}

mod renamed {
    use super::*;

    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(name = "LoanRequested")]
    pub(super) struct Requested {
        amount: u64,
        applicant: Applicant,
        term: u16,
        months: u16,
    }
}

#[test]
fn an_array_of_another_length_is_another_type_and_one_of_other_elements_is_named_inside() {
    let only = |old: Shape, new: Shape| {
        let diff = diff(&old, &new);
        assert_eq!((diff.changes.len(), diff.verdict()), (1, Verdict::Breaking));
        let Change { path, what } = &diff.changes[0];
        match what {
            Changed::Type { from, to } => format!("{path}: {from} to {to}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(only(<[u8; 3]>::shape(), <[u8; 4]>::shape()), ": [u8; 3] to [u8; 4]");
    assert_eq!(only(<[u8; 3]>::shape(), <[i8; 3]>::shape()), "[]: u8 to i8");
    assert_eq!(only(Vec::<[u8; 3]>::shape(), Vec::<[u8; 2]>::shape()), "[]: [u8; 3] to [u8; 2]");
}

#[test]
fn renaming_a_rust_type_changes_no_contract() {
    let mut table = ContractTable::new();
    assert_eq!(table.register(Contract::of::<first::LoanRequested>()), Ok(Kind(1)));
    assert_eq!(table.register(Contract::of::<renamed::Requested>()), Ok(Kind(1)));
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum OutcomeOld {
    Approved { rate: u32 },
    Declined(String),
    Open,
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum OutcomeMore {
    Approved { rate: u32 },
    Declined(String),
    Open,
    Expired,
}

#[derive(Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum OutcomeOther {
    Open,
    Approved { rate: u32, fee: u32 },
    Declined { why: String },
}

#[test]
fn variants_are_matched_by_name_and_verdicts_say_what_it_means() {
    let verdict = |old: Shape, new: Shape| diff(&old, &new).verdict();
    assert_eq!(verdict(OutcomeOld::shape(), OutcomeOld::shape()), Verdict::Identical);
    assert_eq!(verdict(OutcomeOld::shape(), OutcomeMore::shape()), Verdict::Additive);
    assert_eq!(verdict(OutcomeMore::shape(), OutcomeOld::shape()), Verdict::Breaking);
    let changes = diff(&OutcomeOld::shape(), &OutcomeOther::shape());
    assert_eq!(
        changes.to_string(),
        "variant `Approved` was moved from tag 0 to tag 1, field `Approved.fee` was added, \
         variant `Declined` was moved from tag 1 to tag 2, \
         field `Declined` was `Declined(…)` and is `Declined { … }`, \
         variant `Open` was moved from tag 2 to tag 0"
    );
}

#[test]
fn a_difference_of_padding_alone_is_found() {
    let shape = |size| {
        let field = Field { name: "a".to_owned(), offset: 0, shape: Shape::Scalar(Scalar::U8) };
        let members = Members::Named(vec![field]);
        Shape::Struct(StructShape { name: "A".to_owned(), size, align: 1, members })
    };
    let one_of = |size, names: &[&str]| {
        let variant = |(tag, name): (usize, &&str)| Variant {
            name: (*name).to_owned(),
            tag: tag as u8,
            members: Members::Unit,
        };
        let variants = names.iter().enumerate().map(variant).collect();
        Shape::Enum(EnumShape { name: "B".to_owned(), size, align: 1, variants })
    };
    for (old, new) in [(shape(1), shape(2)), (one_of(1, &["X"]), one_of(2, &["X"]))] {
        let diff = diff(&old, &new);
        assert_eq!((diff.changes.len(), diff.verdict()), (1, Verdict::Breaking));
        assert_eq!(diff.changes[0].what, Changed::Layout);
        assert_eq!(diff.to_string(), "the type itself has another size or alignment");
    }
    // What is new explains the size.
    let added = diff(&one_of(1, &["X"]), &one_of(2, &["X", "Y"]));
    assert_eq!(added.changes.iter().map(|change| &change.what).collect::<Vec<_>>(), [&Changed::VariantAdded]);
    let verdicts = [Verdict::Identical, Verdict::Additive, Verdict::Breaking].map(|one| one.to_string());
    assert_eq!(verdicts, ["identical", "additive", "breaking"]);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "a.Second", version = 2)]
struct Second {
    value: u8,
}

#[test]
fn kinds_are_dense_and_keep_the_order_of_first_use() {
    let mut table = ContractTable::new();
    assert!(table.is_empty());
    assert_eq!(table.register(Contract::of::<first::LoanRequested>()), Ok(Kind(1)));
    assert!(!table.is_empty());
    assert_eq!(table.register(Contract::of::<Second>()), Ok(Kind(2)));
    assert_eq!(table.register(Contract::of::<first::LoanRequested>()), Ok(Kind(1)));
    assert_eq!(table.kind_of("a.Second", 2), Some(Kind(2)));
    assert_eq!(table.kind_of_event::<Second>(), Some(Kind(2)));
    assert_eq!(table.kind_of("a.Second", 1), None);
    assert_eq!(table.get(Kind(2)).unwrap().name, "a.Second");
    assert_eq!((table.get(Kind(0)), table.get(Kind(3))), (None, None));
    assert_eq!(table.versions("a.Second").collect::<Vec<_>>(), [(2, Kind(2))]);
    assert_eq!(table.iter().map(|(kind, _)| kind).collect::<Vec<_>>(), [Kind(1), Kind(2)]);
}

#[test]
fn a_table_survives_its_json() {
    let mut table = ContractTable::new();
    table.register(Contract::of::<first::LoanRequested>()).unwrap();
    table.register(Contract::of::<Second>()).unwrap();
    let read = ContractTable::from_json(&table.to_json()).unwrap();
    assert_eq!(read, table);
    assert_eq!(read.to_json(), table.to_json());
    assert_eq!(ContractTable::from_json(&ContractTable::new().to_json()), Ok(ContractTable::new()));
}

#[test]
fn a_merge_takes_all_or_nothing() {
    let mut table = ContractTable::new();
    table.register(Contract::of::<first::LoanRequested>()).unwrap();
    let before = table.clone();
    let refused = table.merge([Contract::of::<Second>(), Contract::of::<with_currency::LoanRequested>()]);
    assert!(matches!(refused, Err(ContractError::Changed { version: 1, .. })));
    assert_eq!(table, before);
    assert_eq!(table.merge([Contract::of::<Second>(), Contract::of::<first::LoanRequested>()]), Ok(1));
    assert_eq!(table.merge([Contract::of::<Second>()]), Ok(0));
    assert_eq!(table.kind_of_event::<Second>(), Some(Kind(2)));
}

#[test]
fn a_later_table_continues_an_earlier_one_or_is_refused() {
    let mut earlier = ContractTable::new();
    earlier.register(Contract::of::<first::LoanRequested>()).unwrap();
    let mut later = earlier.clone();
    later.register(Contract::of::<Second>()).unwrap();
    assert_eq!(later.continues(&earlier), Ok(()));
    assert!(matches!(earlier.continues(&later), Err(ContractError::Renumbered { kind: Kind(2), .. })));

    let mut other = ContractTable::new();
    other.register(Contract::of::<Second>()).unwrap();
    assert!(matches!(other.continues(&earlier), Err(ContractError::Renumbered { kind: Kind(1), .. })));

    let mut next_version = ContractTable::new();
    let contract = Contract { version: 2, ..Contract::of::<first::LoanRequested>() };
    next_version.register(contract).unwrap();
    assert!(matches!(next_version.continues(&earlier), Err(ContractError::Renumbered { kind: Kind(1), .. })));

    let mut changed = ContractTable::new();
    changed.register(Contract::of::<swapped::LoanRequested>()).unwrap();
    assert!(matches!(changed.continues(&earlier), Err(ContractError::Changed { .. })));
}
