//! Payloads and shapes that nobody of ours wrote: a value or an error, never a panic, never a flood.
#![allow(missing_docs)]

mod sample;

use downbeat_record::json::{self, VALUES_PER_BYTE};
use downbeat_record::shape::{
    EnumShape, Field, Members, NESTING_MAX, PARTS_MAX, Scalar, StructShape, Variant,
};
use downbeat_record::{DecodeError, Event, Shape, Shaped, Verified, encoded_here};
use proptest::collection::vec;
use proptest::prelude::*;
use sample::{Everything, encoded, everything};
use serde_json::Value;

/// Decodes, and makes sure that a check alone says the same.
fn decode(shape: &Shape, payload: Verified<&[u8]>) -> Result<Value, DecodeError> {
    let decoded = json::decode(shape, payload);
    assert_eq!(json::check(shape, payload), decoded.as_ref().map(drop).map_err(Clone::clone));
    decoded
}

fn byte() -> Shape {
    Shape::Scalar(Scalar::U8)
}

fn list(of: Shape) -> Shape {
    Shape::Vec(Box::new(of))
}

/// The fixed part of a vector: a distance and a length.
fn vector(distance: i32, len: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&distance.to_le_bytes());
    bytes[4..].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn refusal(shape: &Shape, bytes: &[u8]) -> &'static str {
    match decode(shape, encoded_here(bytes)).unwrap_err() {
        DecodeError::Shape { what, .. } => what,
        other => panic!("{other}"),
    }
}

/// How many values there are, text and names counted by their bytes.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(name, value)| name.len() / 16 + weight(value)).sum::<usize>()
        }
        Value::String(text) => 1 + text.len() / 16,
        _ => 1,
    }
}

#[test]
fn lengths_beyond_the_payload_are_refused() {
    for len in [1, 2, 1_000, u32::MAX] {
        assert_eq!(refusal(&list(byte()), &vector(-1, len)), "what it points to");
        assert_eq!(refusal(&list(list(byte())), &vector(-8, len)), "what it points to");
    }
    let text = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    assert_eq!(
        refusal(&Shape::String, &[&[0xbf, 0xff, 0xff, 0xff][..], &text[4..]].concat()),
        "what it points to"
    );
}

#[test]
fn elements_without_bytes_cannot_be_many() {
    let refused = [Shape::Unit, Shape::Array { of: Box::new(byte()), len: 0 }];
    for of in refused {
        assert_eq!(refusal(&list(of.clone()), &vector(0, u32::MAX)), "so many values");
        let array = Shape::Array { of: Box::new(of), len: u32::MAX };
        assert_eq!(refusal(&array, &[]), "so many values");
    }
    let few = decode(&list(Shape::Unit), encoded_here(&vector(0, 3))).unwrap();
    assert_eq!(few, serde_json::json!([null, null, null]));
}

#[test]
fn nested_arrays_without_bytes_reserve_no_memory() {
    let array = |of| Shape::Array { of: Box::new(of), len: 4_000 };
    let nested = (0..60).fold(Shape::Unit, |of, _| array(of));
    assert_eq!(nested.check(), Ok(()));
    assert_eq!(refusal(&nested, &[]), "so many values");
}

#[test]
#[cfg_attr(miri, ignore = "half a million values")]
fn numbers_that_are_too_many_are_refused_at_the_first_of_them() {
    let numbers = |len| Shape::Array { of: Box::new(byte()), len };
    let fields = |count: u32| {
        let field =
            |number: u32| Field { name: number.to_string(), offset: 0, shape: numbers(4_000 - number) };
        Members::Positional((0..count).map(field).collect())
    };
    let outcomes = (1..14).map(|count| {
        let members = fields(count);
        let shape = Shape::Struct(StructShape { name: "S".to_owned(), size: 4_000, align: 1, members });
        decode(&shape, encoded_here(&[7; 4_000])).is_ok()
    });
    // 68,096 values for these bytes, and each field takes eight thousand.
    assert_eq!(outcomes.filter(|read| *read).count(), 8);
}

/// What a check goes over at once must hold for each of them.
#[test]
fn elements_in_place_are_refused_one_by_one() {
    let array = |of, len| Shape::Array { of: Box::new(of), len };
    let bytes = [0, 1, 2, 1];
    let wrong = |what, offset| Err(DecodeError::Shape { what, offset });
    assert_eq!(
        decode(&array(Shape::Scalar(Scalar::Bool), 4), encoded_here(&bytes)),
        wrong("a truth value", 2)
    );
    let surrogate = [b'a'.into(), 0xd800_u32].map(u32::to_le_bytes).concat();
    assert_eq!(
        decode(&array(Shape::Scalar(Scalar::Char), 2), encoded_here(&surrogate)),
        wrong("a character", 4)
    );

    // No log has a field that reaches out of its struct.
    let members =
        Members::Positional(vec![Field { name: "0".to_owned(), offset: 2, shape: array(byte(), 4) }]);
    let shape = Shape::Struct(StructShape { name: "S".to_owned(), size: 4, align: 1, members });
    assert_eq!(decode(&shape, encoded_here(&bytes)), wrong("a value of its size", 4));

    let nested = |levels| (0..levels).fold(byte(), |of, _| array(of, 1));
    let read = (50..80).filter(|levels| decode(&nested(*levels), encoded_here(&[7])).is_ok()).count();
    assert_eq!(read, NESTING_MAX - 50);
}

#[test]
fn bytes_that_are_shared_do_not_multiply() {
    // 64 vectors that all point at the same 64 vectors, four times over: 16 million values from 512 bytes.
    let mut bytes = Vec::new();
    for index in 0..64_i32 {
        bytes.extend_from_slice(&vector(-8 * index, 64));
    }
    bytes.extend_from_slice(&vector(-512, 64));
    let shape = list(list(list(list(byte()))));
    assert_eq!(refusal(&shape, &bytes), "what it points to");
}

#[test]
fn a_pointer_to_itself_ends() {
    let boxes = (0..40).fold(byte(), |of, _| Shape::Box(Box::new(of)));
    assert_eq!(refusal(&boxes, &[0, 0, 0, 0]), "what it points to");
    let bytes = [[0; 4]; 50].concat();
    assert_eq!(decode(&boxes, encoded_here(&bytes)), Ok(0.into()));
}

#[test]
fn pointers_out_of_the_payload_are_refused() {
    for distance in [i32::MIN, -9, 8, i32::MAX] {
        let mut bytes = vec![7; 8];
        bytes.extend_from_slice(&vector(distance, 1));
        assert_eq!(refusal(&list(byte()), &bytes), "what it points to", "{distance}");
    }
}

#[test]
fn values_that_no_type_has_are_refused() {
    let scalar = Shape::Scalar;
    assert_eq!(refusal(&scalar(Scalar::Bool), &[2]), "a truth value");
    assert_eq!(refusal(&scalar(Scalar::Char), &0xd800_u32.to_le_bytes()), "a character");
    assert_eq!(refusal(&scalar(Scalar::Char), &0x11_0000_u32.to_le_bytes()), "a character");
    assert_eq!(refusal(&Shape::Option(Box::new(byte())), &[2, 0]), "an option");
    assert_eq!(refusal(&Shape::String, &[0xc3, 0xff, 0, 0, 0, 0, 0, 0]), "UTF-8 text");
    assert_eq!(refusal(&Shape::String, &[0x88, 0, 0, 0, 0, 0, 0, 0]), "a string of its length");
    let variants = vec![Variant { name: "A".to_owned(), tag: 1, members: Members::Unit }];
    let choice = Shape::Enum(EnumShape { name: "E".to_owned(), size: 1, align: 1, variants });
    assert_eq!(refusal(&choice, &[0]), "a known variant");
}

#[test]
fn a_shape_without_a_bottom_is_refused() {
    let deep = (0..1_000).fold(byte(), |of, _| Shape::Box(Box::new(of)));
    assert_eq!(refusal(&deep, &[0; 4_096]), "so deep a value");
}

/// Any shape, also ones that no log would be given.
fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Unit),
        Just(Shape::String),
        prop::sample::select(&Scalar::ALL[..]).prop_map(Shape::Scalar),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let number = prop_oneof![8 => 0..64_u32, 1 => any::<u32>()];
        let fields = vec(
            ("[a-z]{1,40}", number, inner).prop_map(|(name, offset, shape)| Field { name, offset, shape }),
            0..5,
        );
        let members = prop_oneof![
            Just(Members::Unit),
            fields.clone().prop_map(Members::Positional),
            fields.prop_map(Members::Named),
        ];
        let extent =
            (prop_oneof![8 => 0..64_u32, 1 => any::<u32>()], prop_oneof![Just(1_u32), Just(8), any::<u32>()]);
        let variant = ("[a-z]{1,40}", 0..4_u8, members.clone()).prop_map(|(name, tag, members)| Variant {
            name,
            tag,
            members,
        });
        prop_oneof![
            boxed.clone().prop_map(Shape::Vec),
            boxed.clone().prop_map(Shape::Option),
            boxed.clone().prop_map(Shape::Box),
            (boxed, prop_oneof![0..5_u32, any::<u32>()]).prop_map(|(of, len)| Shape::Array { of, len }),
            (extent.clone(), members).prop_map(|((size, align), members)| {
                Shape::Struct(StructShape { name: "S".to_owned(), size, align, members })
            }),
            (extent, vec(variant, 0..4)).prop_map(|((size, align), variants)| {
                Shape::Enum(EnumShape { name: "E".to_owned(), size, align, variants })
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 1_000 }))]

    #[test]
    fn a_mutated_payload_is_a_value_or_an_error(
        event in everything(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = encoded(&event).to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(value) = decode(&Everything::shape(), encoded_here(&bytes)) {
            prop_assert!(weight(&value) <= VALUES_PER_BYTE * bytes.len() + PARTS_MAX);
        }
    }

    /// What the typed check accepts, the decoder accepts too: the two readers of one log do not disagree.
    #[test]
    fn what_can_be_viewed_can_be_decoded(
        event in everything(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = encoded(&event);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if Everything::view(encoded_here(&bytes)).is_ok() {
            prop_assert!(decode(&Everything::shape(), encoded_here(&bytes)).is_ok());
        }
    }

    #[test]
    fn any_bytes_by_any_shape_are_a_value_or_an_error(
        shape in shapes(),
        bytes in vec(prop_oneof![3 => Just(0_u8), 2 => 0..9_u8, 1 => 0xf0_u8..=0xff, 1 => any::<u8>()], 0..300),
    ) {
        let _ = shape.check();
        if let Ok(value) = decode(&shape, encoded_here(&bytes)) {
            prop_assert!(weight(&value) <= VALUES_PER_BYTE * bytes.len() + PARTS_MAX);
        }
    }
}
