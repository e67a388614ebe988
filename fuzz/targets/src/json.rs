//! Any payload by any shape as JSON; and values of an event type, whose JSON is known.

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::json::{VALUES_PER_BYTE, decode};
use downbeat_record::shape::PARTS_MAX;
use downbeat_record::{AlignedBuf, Event, Shaped, encoded_here, rkyv};

use crate::allocations::within;
use crate::canary;
use crate::contracts::Form;

/// What a value takes at the most, in bytes: a named field in an object, with its share of the table of the object.
const VALUE: usize = 320;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Any(Form<'a>, &'a [u8]),
    Value(Box<Everything>, Option<(u16, u8)>),
}

#[derive(Arbitrary, Debug, serde::Serialize, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "fuzz.Everything")]
struct Everything {
    flag: bool,
    small: (u8, i16),
    #[serde(serialize_with = "as_text")]
    wide: u128,
    character: char,
    text: String,
    texts: Vec<String>,
    nested: Vec<Vec<u16>>,
    optional: Option<Option<i64>>,
    array: [u32; 3],
    boxed: Box<Inner>,
    inners: Vec<Inner>,
    choice: Choice,
    choices: Vec<Choice>,
    nothing: (),
}

#[derive(Arbitrary, Debug, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Inner {
    tiny: u8,
    name: String,
    amount: i64,
}

#[derive(Arbitrary, Debug, serde::Serialize, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Choice {
    Nothing,
    Amount(u64),
    Pair(u8, String),
    Fields { late: bool, memo: Option<String> },
}

fn as_text<S: serde::Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// A payload by a shape, or a value, as JSON.
///
/// # Panics
///
/// When it finds something.
pub fn json(input: &[u8]) {
    match Input::arbitrary_take_rest(Unstructured::new(input)) {
        Ok(Input::Any(form, payload)) => {
            let shape = form.shape();
            // Only shapes that pass are in a table; but decoding is safe for all.
            if shape.check().is_ok() || payload.len() % 2 == 0 {
                any(&shape, payload);
            }
        }
        Ok(Input::Value(value, change)) => through(&value, change),
        Err(_) => {}
    }
}

fn any(shape: &downbeat_record::Shape, payload: &[u8]) {
    let aligned = AlignedBuf::from_slice(payload);
    let bound = VALUE * (VALUES_PER_BYTE * payload.len() + PARTS_MAX);
    let decoded = within(bound, || decode(shape, encoded_here(&aligned[..payload.len()])));
    if let Err(error) = decoded {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

fn through(value: &Everything, change: Option<(u16, u8)>) {
    let mut bytes = AlignedBuf::zeroed(value.encoded_len_max());
    let len = value.encode(&mut bytes).expect("there is room");
    assert!(len <= value.encoded_len_max());
    let mut shape = Everything::shape();
    if let (true, downbeat_record::Shape::Struct(whole)) = (canary(), &mut shape) {
        // The planted fault: the shape says that a field stands where it does not.
        if let downbeat_record::shape::Members::Named(fields) = &mut whole.members {
            let other = fields[1].offset;
            fields[0].offset = other;
        }
    }
    let decoded = decode(&shape, encoded_here(&bytes[..len])).expect("what was encoded is decoded");
    assert_eq!(decoded, serde_json::to_value(value).expect("it is plain data"));
    assert!(Everything::view(encoded_here(&bytes[..len])).is_ok());
    if let Some((at, mask)) = change.filter(|_| len > 0) {
        bytes[usize::from(at) % len] ^= mask;
        any(&shape, &bytes[..len]);
        let _ = Everything::view(encoded_here(&bytes[..len]));
    }
}
