//! Contract tables that nobody of ours wrote: an error each, whatever stands in them.
#![allow(missing_docs)]

use downbeat_record::contract::{NAME_LEN_MAX, TABLE_LEN_MAX};
use downbeat_record::shape::{Field, Members, NESTING_MAX, PARTS_MAX, Scalar, ShapeFault, StructShape};
use downbeat_record::{Contract, ContractError, ContractTable, Kind, Shape};
use proptest::prelude::*;

/// Longer than anything that is not hostile. Miri is too slow for a megabyte.
const LONG: usize = if cfg!(miri) { 1 << 11 } else { 1 << 20 };

fn table_of(shape: &str) -> Result<ContractTable, ContractError> {
    ContractTable::from_json(format!(r#"[{{"kind":1,"name":"a","version":1,"shape":{shape}}}]"#).as_bytes())
}

fn structure(size: u32, align: u32, fields: Vec<Field>) -> Shape {
    Shape::Struct(StructShape { name: "S".to_owned(), size, align, members: Members::Named(fields) })
}

fn field(name: &str, offset: u32, shape: Shape) -> Field {
    Field { name: name.to_owned(), offset, shape }
}

fn fault(shape: &Shape) -> ShapeFault {
    let contract = Contract { name: "a".to_owned(), version: 1, shape: shape.clone() };
    let written = serde_json::to_string(shape).unwrap();
    assert!(table_of(&written).is_err(), "accepted from a log: {written}");
    match ContractTable::new().register(contract).unwrap_err() {
        ContractError::Shape { error, .. } => error.fault,
        other => panic!("{other}"),
    }
}

#[test]
fn deep_nesting_is_an_error_at_every_depth() {
    let byte = || Shape::Scalar(Scalar::U8);
    let options = |depth| (0..depth).fold(byte(), |of, _| Shape::Option(Box::new(of)));
    assert_eq!(options(NESTING_MAX).check(), Ok(()));
    assert_eq!(fault(&options(NESTING_MAX + 1)), ShapeFault::TooDeep);
    let structs = |depth| (0..depth).fold(byte(), |of, _| structure(1, 1, vec![field("f", 0, of)]));
    assert_eq!(structs(NESTING_MAX / 3).check(), Ok(()));
    assert_eq!(fault(&structs(NESTING_MAX / 3 + 1)), ShapeFault::TooDeep);
    for depth in [100, 127, 128, 129, 1_000, LONG] {
        let text = r#"{"type":"box","of":"#.repeat(depth) + "\"u8\"" + &"}".repeat(depth);
        assert!(table_of(&text).is_err());
        assert!(ContractTable::from_json("[".repeat(depth).as_bytes()).is_err());
    }
}

#[test]
fn what_is_accepted_at_full_depth_can_be_read_again() {
    let deepest = [
        (0..NESTING_MAX).fold(Shape::String, |of, _| Shape::Vec(Box::new(of))),
        (0..NESTING_MAX / 3).fold(Shape::Unit, |of, _| structure(0, 1, vec![field("f", 0, of)])),
    ];
    for shape in deepest {
        let mut table = ContractTable::new();
        table.register(Contract { name: "a".to_owned(), version: 1, shape }).unwrap();
        assert_eq!(ContractTable::from_json(&table.to_json()), Ok(table));
    }
}

/// Found by reading: the name was quoted whole.
#[test]
fn a_very_long_name_is_refused_in_few_words() {
    let text = format!(r#"[{{"kind":1,"name":"{}","version":1,"shape":"u8"}}]"#, "n".repeat(LONG));
    let error = ContractTable::from_json(text.as_bytes()).unwrap_err();
    assert!(matches!(error, ContractError::Name { .. }) && error.to_string().len() < 1_000, "{error}");
}

/// Found by fuzzing: the parser quotes a key that it does not know as it stands.
#[test]
fn a_message_is_one_short_line_whatever_the_keys_are_called() {
    let key = "a\\n\\u001b[2J".to_owned() + &"b".repeat(LONG);
    let text = format!(r#"[{{"{key}":1}}]"#);
    let message = ContractTable::from_json(text.as_bytes()).unwrap_err().to_string();
    assert!(message.contains(r"a\n\u{1b}[2J") && message.len() < 1_000, "{message:?}");
}

#[test]
#[cfg_attr(miri, ignore = "millions of bytes")]
fn a_table_is_as_long_as_is_allowed_and_not_a_byte_longer() {
    let mut text = b"[]".to_vec();
    text.resize(TABLE_LEN_MAX, b' ');
    assert_eq!(ContractTable::from_json(&text), Ok(ContractTable::new()));
    for longer in [TABLE_LEN_MAX + 1, TABLE_LEN_MAX + 4096] {
        text.resize(longer, b' ');
        let refused = ContractTable::from_json(&text).unwrap_err().to_string();
        assert!(refused.contains(&format!("{longer} bytes are more than {TABLE_LEN_MAX}")), "{refused}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "a million names")]
fn of_a_million_contracts_a_table_takes_as_many_as_there_are_kinds() {
    let contract = |n: u32| Contract { name: format!("n{n}"), version: 1, shape: Shape::Unit };
    let mut table = ContractTable::new();
    for n in 1..=1_000_000 {
        let expected = u16::try_from(n).map(Kind).map_err(|_| ContractError::Full);
        assert_eq!(table.register(contract(n)), expected);
    }
    assert_eq!(table.len(), usize::from(u16::MAX));
    assert_eq!(table.register(contract(7)), Ok(Kind(7)), "it has that one");
    let text = table.to_json();
    assert_eq!(ContractTable::from_json(&text).as_ref(), Ok(&table));
    let text = String::from_utf8(text).unwrap();
    let longer = text.trim_end().strip_suffix(']').unwrap().to_owned()
        + r#",{"kind":65536,"name":"more","version":1,"shape":"unit"}]"#;
    let refused = ContractTable::from_json(longer.as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("65536"), "{refused}");
}

#[test]
#[cfg_attr(miri, ignore = "thousands of names beside each other")]
fn too_many_parts_are_an_error() {
    let wide = |count: usize| {
        let fields = (0..count).map(|index| field(&index.to_string(), 0, Shape::Unit));
        structure(0, 1, fields.collect())
    };
    assert_eq!(wide(PARTS_MAX - 1).check(), Ok(()));
    assert_eq!(fault(&wide(PARTS_MAX)), ShapeFault::TooManyParts);
}

#[test]
fn layouts_that_cannot_be_are_errors() {
    let long = || Shape::Scalar(Scalar::U64);
    assert_eq!(fault(&structure(8, 8, vec![field("a", 1, long())])), ShapeFault::Outside);
    assert_eq!(fault(&structure(8, 8, vec![field("a", u32::MAX, long())])), ShapeFault::Outside);
    assert_eq!(fault(&structure(8, 0, vec![])), ShapeFault::Alignment);
    assert_eq!(fault(&structure(8, 3, vec![])), ShapeFault::Alignment);
    assert_eq!(fault(&structure(32, 32, vec![])), ShapeFault::Alignment);
    assert_eq!(fault(&structure(7, 8, vec![])), ShapeFault::Alignment);
    assert_eq!(fault(&structure(1 << 31, 8, vec![])), ShapeFault::TooLarge);
    let huge = |of, len| Shape::Array { of: Box::new(of), len };
    assert_eq!(fault(&huge(long(), 1 << 28)), ShapeFault::TooLarge);
    assert_eq!(fault(&huge(huge(huge(long(), u32::MAX), u32::MAX), u32::MAX)), ShapeFault::TooLarge);
    assert_eq!(fault(&Shape::Vec(Box::new(Shape::Unit))), ShapeFault::NoBytes);

    let byte = || Shape::Scalar(Scalar::U8);
    assert_eq!(fault(&huge(byte(), 1 << 31)), ShapeFault::TooLarge);
    for possible in [
        huge(byte(), i32::MAX as u32),
        structure(i32::MAX as u32, 1, vec![]),
        structure(32, 16, vec![]),
        structure(16, 8, vec![field("a", 0, long()), field("b", 8, long())]),
        Shape::Vec(Box::new(byte())),
    ] {
        assert_eq!(possible.check(), Ok(()), "{possible:?}");
    }
}

#[test]
fn names_that_are_empty_long_or_twice_are_errors() {
    let named = |names: &[&str]| {
        let fields = names.iter().map(|name| field(name, 0, Shape::Unit));
        structure(0, 1, fields.collect())
    };
    assert_eq!(fault(&named(&["a", "b", "a"])), ShapeFault::NotDistinct);
    assert_eq!(fault(&named(&[""])), ShapeFault::Name);
    assert_eq!(fault(&named(&["a\u{1b}[2J"])), ShapeFault::Name);
    assert_eq!(fault(&named(&[&"x".repeat(NAME_LEN_MAX + 1)])), ShapeFault::Name);
    assert_eq!(named(&["a", &"x".repeat(NAME_LEN_MAX)]).check(), Ok(()));
    let longest = Contract { name: "x".repeat(NAME_LEN_MAX), version: 1, shape: Shape::Unit };
    assert!(ContractTable::new().register(longest).is_ok());
    for (name, version) in
        [("", 1), ("a", 0), ("a b", 1), ("a\n", 1), ("é", 1), (&*"x".repeat(NAME_LEN_MAX + 1), 1)]
    {
        let contract = Contract { name: name.to_owned(), version, shape: Shape::Unit };
        let refused = ContractTable::new().register(contract);
        assert!(matches!(refused, Err(ContractError::Name { .. })));
    }
}

#[test]
fn enums_that_cannot_be_read_are_errors() {
    for variants in [
        "[]",
        r#"[{"name":"A","tag":0},{"name":"A","tag":1}]"#,
        r#"[{"name":"A","tag":0},{"name":"B","tag":0}]"#,
        r#"[{"name":"A","tag":256}]"#,
        r#"[{"name":"A","tag":-1}]"#,
        r#"[{"name":"A","tag":0,"fields":[{"name":"x","offset":0,"shape":"u8"}]}]"#,
        r#"[{"name":"A","tag":0,"fields":[],"items":[]}]"#,
    ] {
        let text = format!(r#"{{"type":"enum","name":"E","size":4,"align":4,"variants":{variants}}}"#);
        assert!(table_of(&text).is_err(), "{text}");
    }
    let sizeless = r#"{"type":"enum","name":"E","size":0,"align":1,"variants":[{"name":"A","tag":0}]}"#;
    assert!(table_of(sizeless).is_err());
}

#[test]
fn a_key_that_only_a_later_build_knows_is_refused_wherever_it_stands() {
    for shape in [
        r#"{"type":"vec","of":"u8" KEY}"#,
        r#"{"type":"option","of":"u8" KEY}"#,
        r#"{"type":"box","of":"u8" KEY}"#,
        r#"{"type":"array","len":2,"of":"u8" KEY}"#,
        r#"{"type":"struct","name":"S","size":1,"align":1,"items":[] KEY}"#,
        r#"{"type":"struct","name":"S","size":1,"align":1,"fields":[{"name":"a","offset":0,"shape":"u8" KEY}]}"#,
        r#"{"type":"enum","name":"E","size":1,"align":1,"variants":[{"name":"A","tag":0}] KEY}"#,
        r#"{"type":"enum","name":"E","size":1,"align":1,"variants":[{"name":"A","tag":0 KEY}]}"#,
    ] {
        assert!(table_of(&shape.replace("KEY", "")).is_ok(), "{shape}");
        let text = table_of(&shape.replace("KEY", r#","unit":"cents""#)).unwrap_err().to_string();
        assert!(text.contains("a key is not known to this build"), "{shape}: {text}");
    }
}

#[test]
fn an_error_says_where_in_the_type() {
    let shape = r#"{"type":"struct","name":"S","size":0,"align":1,"fields":[{"name":"outer","offset":0,"shape":
        {"type":"struct","name":"T","size":0,"align":1,"fields":[{"name":"inner","offset":0,"shape":"u7"}]}}]}"#;
    let text = table_of(shape).unwrap_err().to_string();
    assert!(text.contains("`outer.inner`") && text.contains("not known to this build"), "{text}");
}

#[test]
fn tables_that_do_not_number_or_name_their_contracts_are_errors() {
    for text in [
        "",
        "{}",
        "null",
        "[null]",
        r#"[{"kind":2,"name":"a","version":1,"shape":"u8"}]"#,
        r#"[{"kind":0,"name":"a","version":1,"shape":"u8"}]"#,
        r#"[{"kind":1,"name":"a","version":1,"shape":"u8"},{"kind":2,"name":"a","version":1,"shape":"u8"}]"#,
        r#"[{"kind":1,"name":"a","version":70000,"shape":"u8"}]"#,
        r#"[{"kind":1,"name":"a","version":1}]"#,
        r#"[{"kind":1,"name":"a","version":1,"shape":"u8","more":true}]"#,
        r#"[{"kind":1,"name":"a","version":1,"shape":"u8"}] trailing"#,
    ] {
        assert!(ContractTable::from_json(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    #[test]
    fn mutated_tables_are_a_table_or_an_error(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = include_bytes!("golden/contracts_v1.json").to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(table) = ContractTable::from_json(&bytes) {
            prop_assert_eq!(ContractTable::from_json(&table.to_json()).unwrap(), table);
        }
    }

    #[test]
    fn random_text_is_a_table_or_an_error(bytes in "[\\[\\]{}\":,a-z0-9]{0,80}") {
        let _ = ContractTable::from_json(bytes.as_bytes());
    }
}
