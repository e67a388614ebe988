//! One event type with everything in it that an event can hold, and random values of it.
#![allow(missing_docs, dead_code, unreachable_pub)]

use downbeat_record::{Event, Shaped, rkyv};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
#[event(name = "test.Everything", version = 2)]
pub struct Everything {
    pub flag: bool,
    pub bytes: (u8, i8),
    pub shorts: (u16, i16, u16),
    pub words: (u32, i32),
    pub longs: (u64, i64),
    #[serde(serialize_with = "as_text")]
    pub wide: u128,
    #[serde(serialize_with = "as_text")]
    pub wide_signed: i128,
    pub small_float: f32,
    pub float: f64,
    pub character: char,
    pub nothing: (),
    pub text: String,
    pub texts: Vec<String>,
    pub nested_texts: Vec<Vec<String>>,
    pub numbers: Vec<u64>,
    pub blob: Vec<u8>,
    pub optional: Option<u64>,
    pub optional_text: Option<String>,
    pub twice_optional: Option<Option<i16>>,
    pub array: [u16; 3],
    pub array_of_text: [String; 2],
    pub boxed: Box<Inner>,
    pub optional_box: Option<Box<i64>>,
    pub inner: Inner,
    pub inners: Vec<Inner>,
    pub newtype: Cents,
    pub positional: Pair,
    pub unit: Unit,
    pub empty: Empty,
    pub plain: Plain,
    pub choice: Choice,
    pub choices: Vec<Choice>,
    pub pairs: Vec<(String, u64)>,
    pub r#type: u8,
}

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Inner {
    pub tiny: u8,
    pub name: String,
    pub amount: i64,
    pub late: bool,
}

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Cents(pub i64);

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Pair(pub u8, pub String);

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Unit;

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Empty {}

#[derive(
    Debug, Clone, Copy, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
#[repr(u8)]
pub enum Plain {
    First,
    Second = 5,
    Third,
    Last = 255,
}

#[derive(
    Debug, Clone, PartialEq, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub enum Choice {
    Nothing,
    One(u64),
    Two(u8, String),
    Named {
        small: u8,
        #[serde(serialize_with = "as_text")]
        wide: u128,
        inner: Inner,
    },
    Nested(Plain),
    Many(Vec<Option<Cents>>),
    EmptyTuple(),
    EmptyNamed {},
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub fn text() -> impl Strategy<Value = String> {
    // An interpreter takes for ever over all letters there are.
    let (short, long) =
        if cfg!(miri) { ("[aé✓]{0,4}", "[aé✓]{9,60}") } else { ("\\PC{0,4}", "\\PC{9,60}") };
    let very_long = if cfg!(miri) { 100..200 } else { 1_000..9_000_usize };
    prop_oneof![
        4 => short,
        2 => "[a-z]{7,10}",
        1 => long,
        1 => very_long.prop_map(|len| "downbeat ".chars().cycle().take(len).collect()),
    ]
}

fn inner() -> impl Strategy<Value = Inner> {
    (any::<u8>(), text(), any::<i64>(), any::<bool>()).prop_map(|(tiny, name, amount, late)| Inner {
        tiny,
        name,
        amount,
        late,
    })
}

fn plain() -> impl Strategy<Value = Plain> {
    prop_oneof![Just(Plain::First), Just(Plain::Second), Just(Plain::Third), Just(Plain::Last)]
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Nothing),
        any::<u64>().prop_map(Choice::One),
        (any::<u8>(), text()).prop_map(|(small, text)| Choice::Two(small, text)),
        (any::<u8>(), any::<u128>(), inner()).prop_map(|(small, wide, inner)| Choice::Named {
            small,
            wide,
            inner
        }),
        plain().prop_map(Choice::Nested),
        vec(any::<Option<i64>>().prop_map(|cents| cents.map(Cents)), 0..4).prop_map(Choice::Many),
        Just(Choice::EmptyTuple()),
        Just(Choice::EmptyNamed {}),
    ]
}

prop_compose! {
    fn numbers()(
        flag in any::<bool>(),
        bytes in any::<(u8, i8)>(),
        shorts in any::<(u16, i16, u16)>(),
        words in any::<(u32, i32)>(),
        longs in any::<(u64, i64)>(),
        wide in any::<u128>(),
        wide_signed in any::<i128>(),
        small_float in any::<f32>(),
        float in any::<f64>(),
        character in any::<char>(),
    ) -> Everything {
        Everything { flag, bytes, shorts, words, longs, wide, wide_signed, small_float, float, character, ..zero() }
    }
}

prop_compose! {
    fn texts()(
        text in text(),
        texts in vec(text(), 0..4),
        nested_texts in vec(vec(text(), 0..3), 0..3),
        numbers in vec(any::<u64>(), 0..5),
        blob in vec(any::<u8>(), 0..40),
        optional_text in proptest::option::of(text()),
        array_of_text in [text(), text()],
        pairs in vec((text(), any::<u64>()), 0..3),
        positional in (any::<u8>(), text()),
    ) -> Everything {
        let positional = Pair(positional.0, positional.1);
        Everything {
            text, texts, nested_texts, numbers, blob, optional_text, array_of_text, pairs, positional, ..zero()
        }
    }
}

prop_compose! {
    pub fn everything()(
        numbers in numbers(),
        texts in texts(),
        optional in any::<Option<u64>>(),
        twice_optional in any::<Option<Option<i16>>>(),
        array in any::<[u16; 3]>(),
        boxed in inner(),
        optional_box in any::<Option<i64>>(),
        inner in inner(),
        inners in vec(inner(), 0..4),
        newtype in any::<i64>(),
        plain in plain(),
        (choice, choices) in (choice(), vec(choice(), 0..5)),
    ) -> Everything {
        Everything {
            flag: numbers.flag,
            bytes: numbers.bytes,
            shorts: numbers.shorts,
            words: numbers.words,
            longs: numbers.longs,
            wide: numbers.wide,
            wide_signed: numbers.wide_signed,
            small_float: numbers.small_float,
            float: numbers.float,
            character: numbers.character,
            optional,
            twice_optional,
            array,
            boxed: Box::new(boxed),
            optional_box: optional_box.map(Box::new),
            inner,
            inners,
            newtype: Cents(newtype),
            plain,
            choice,
            choices,
            ..texts
        }
    }
}

pub fn zero() -> Everything {
    let inner = || Inner { tiny: 0, name: String::new(), amount: 0, late: false };
    Everything {
        flag: false,
        bytes: (0, 0),
        shorts: (0, 0, 0),
        words: (0, 0),
        longs: (0, 0),
        wide: 0,
        wide_signed: 0,
        small_float: 0.0,
        float: 0.0,
        character: '\0',
        nothing: (),
        text: String::new(),
        texts: Vec::new(),
        nested_texts: Vec::new(),
        numbers: Vec::new(),
        blob: Vec::new(),
        optional: None,
        optional_text: None,
        twice_optional: None,
        array: [0; 3],
        array_of_text: [String::new(), String::new()],
        boxed: Box::new(inner()),
        optional_box: None,
        inner: inner(),
        inners: Vec::new(),
        newtype: Cents(0),
        positional: Pair(0, String::new()),
        unit: Unit,
        empty: Empty {},
        plain: Plain::First,
        choice: Choice::Nothing,
        choices: Vec::new(),
        pairs: Vec::new(),
        r#type: 9,
    }
}

/// A payload of the shape, at the alignment that a batch gives it.
pub fn encoded(event: &impl Event) -> rkyv::util::AlignedVec<16> {
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.resize(event.encoded_len_max(), 0xa5);
    let len = event.encode(&mut bytes).unwrap();
    bytes.resize(len, 0);
    bytes
}
