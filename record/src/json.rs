//! Any payload as JSON, from the shape in the log alone: no application code, no Rust type. Or only whether that can be
//! done, for whoever verifies: the same walk, which then makes nothing of what it meets.
//!
//! ```text
//! payload  ┌───────────────────────────────┬──────────────┐
//!          │ strings, vectors, boxes       │ the root     │   a pointer is a signed 32-bit distance
//!          └────────────▲──────────────────┴───┬──────────┘   from where it stands
//!                       └──────────────────────┘
//! ```
//!
//! The result is what `serde_json::to_value` gives for the Rust value with serde's defaults, but for numbers
//! that JSON cannot hold: 128-bit integers are strings, and so are `"NaN"`, `"inf"` and `"-inf"`.
//!
//! Safe for any bytes and any shape. No length is believed: what stands outside the root must lie in the
//! payload, all of it together takes no more bytes than the payload has in front of the root (an archive
//! shares nothing), and at most [`VALUES_PER_BYTE`] values come out per byte, so a vector of elements without
//! bytes cannot be long. Depth ends at [`NESTING_MAX`].

use serde_json::{Map, Number, Value};

use crate::error::DecodeError;
use crate::shape::{Field, Members, NESTING_MAX, PARTS_MAX, Scalar, Shape, Variant};
use crate::verified::Verified;

/// How many values may come out of one byte of a payload; a structure of [`PARTS_MAX`] parts is free. An
/// element counts twice, a field or variant once more for every 16 bytes of its name.
pub const VALUES_PER_BYTE: usize = 16;
/// Bytes of a string that stand in place.
const INLINE: usize = 8;

/// Reads a payload by its shape.
///
/// # Errors
///
/// [`DecodeError::Shape`] with the byte at which the payload is not what the shape says.
///
/// ```
/// use downbeat_record::{Event, Shaped, encoded_here, json, rkyv};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// struct Deposited { account: u64, memo: String }
///
/// let mut bytes = [0; 64];
/// let len = Deposited { account: 7, memo: "rent".into() }.encode(&mut bytes)?;
/// let value = json::decode(&Deposited::shape(), encoded_here(&bytes[..len]))?;
/// assert_eq!(value.to_string(), r#"{"account":7,"memo":"rent"}"#);
/// # Ok::<(), downbeat_record::DecodeError>(())
/// ```
pub fn decode(shape: &Shape, payload: Verified<&[u8]>) -> Result<Value, DecodeError> {
    read(shape, payload.bytes())
}

/// Makes sure that a payload can be read by its shape, without doing it.
///
/// # Errors
///
/// Those of [`decode`], and no others.
pub fn check(shape: &Shape, payload: Verified<&[u8]>) -> Result<(), DecodeError> {
    read(shape, payload.bytes())
}

fn read<F: Form>(shape: &Shape, bytes: &[u8]) -> Result<F, DecodeError> {
    let root = bytes.len().checked_sub(shape.size()).ok_or(wrong("a value of its size", 0))?;
    let values = bytes.len().saturating_mul(VALUES_PER_BYTE).saturating_add(PARTS_MAX);
    Reader { bytes, elsewhere: root, values }.value(shape, root, NESTING_MAX)
}

/// What the walk makes of a payload.
trait Form: Sized {
    /// Nothing is made: what cannot be wrong need not be looked at.
    const IS_NOTHING: bool;
    /// Fields and their names.
    type Fields;

    /// Of what has no parts.
    fn leaf(value: impl FnOnce() -> Value) -> Self;
    fn list(elements: Vec<Self>) -> Self;
    fn object(fields: usize) -> Self::Fields;
    fn put(object: &mut Self::Fields, name: &str, value: Self);
    fn close(object: Self::Fields) -> Self;
}

impl Form for Value {
    const IS_NOTHING: bool = false;
    type Fields = Map<String, Self>;

    fn leaf(value: impl FnOnce() -> Value) -> Self {
        value()
    }

    fn list(elements: Vec<Self>) -> Self {
        Self::Array(elements)
    }

    fn object(fields: usize) -> Self::Fields {
        Map::with_capacity(fields)
    }

    fn put(object: &mut Self::Fields, name: &str, value: Self) {
        object.insert(name.to_owned(), value);
    }

    fn close(object: Self::Fields) -> Self {
        Self::Object(object)
    }
}

impl Form for () {
    const IS_NOTHING: bool = true;
    type Fields = ();

    fn leaf(_: impl FnOnce() -> Value) {}
    fn list(_: Vec<()>) {}
    fn object(_: usize) {}
    fn put((): &mut (), _: &str, (): ()) {}
    fn close((): ()) {}
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Bytes outside the root that no string, vector or box has claimed.
    elsewhere: usize,
    /// Values that may still come out.
    values: usize,
}

impl<'a> Reader<'a> {
    fn value<F: Form>(&mut self, shape: &Shape, at: usize, levels: usize) -> Result<F, DecodeError> {
        self.charge(1, at)?;
        let levels = levels.checked_sub(1).ok_or(wrong("so deep a value", at))?;
        match shape {
            Shape::Unit => Ok(F::leaf(|| Value::Null)),
            Shape::Scalar(scalar) => self.scalar(*scalar, at),
            Shape::String => self.string(at),
            Shape::Vec(of) => {
                let len = self.word(at.saturating_add(4))? as usize;
                let start = if len == 0 { at } else { self.pointee(at, at, of, len)? };
                self.elements(of, start, len, levels)
            }
            Shape::Option(of) => match self.byte(at)? {
                0 => Ok(F::leaf(|| Value::Null)),
                1 => self.value(of, at.saturating_add(of.align()), levels),
                _ => Err(wrong("an option", at)),
            },
            Shape::Array { of, len } => self.elements(of, at, *len as usize, levels),
            Shape::Box(of) => {
                let start = self.pointee(at, at, of, 1)?;
                self.value(of, start, levels)
            }
            Shape::Struct(shape) => self.members(&shape.members, at, levels),
            Shape::Enum(shape) => {
                let tag = self.byte(at)?;
                let variant = shape.variants.iter().find(|variant| variant.tag == tag);
                self.variant(variant.ok_or(wrong("a known variant", at))?, at, levels)
            }
        }
    }

    fn scalar<F: Form>(&self, scalar: Scalar, at: usize) -> Result<F, DecodeError> {
        /// A number of this type, made by `from`.
        macro_rules! number {
            ($type:ty, $from:expr) => {{
                let bytes = self.array(at)?;
                F::leaf(|| $from(<$type>::from_le_bytes(bytes)))
            }};
        }
        Ok(match scalar {
            Scalar::Bool => match self.byte(at)? {
                byte @ 0..=1 => F::leaf(|| Value::Bool(byte == 1)),
                _ => return Err(wrong("a truth value", at)),
            },
            Scalar::U8 => number!(u8, Value::from),
            Scalar::U16 => number!(u16, Value::from),
            Scalar::U32 => number!(u32, Value::from),
            Scalar::U64 => number!(u64, Value::from),
            Scalar::U128 => number!(u128, |wide: u128| wide.to_string().into()),
            Scalar::I8 => number!(i8, Value::from),
            Scalar::I16 => number!(i16, Value::from),
            Scalar::I32 => number!(i32, Value::from),
            Scalar::I64 => number!(i64, Value::from),
            Scalar::I128 => number!(i128, |wide: i128| wide.to_string().into()),
            Scalar::F32 => number!(f32, |value: f32| float(value.into())),
            Scalar::F64 => number!(f64, float),
            Scalar::Char => {
                let character = char::from_u32(self.word(at)?).ok_or(wrong("a character", at))?;
                F::leaf(|| character.to_string().into())
            }
        })
    }

    /// In place, ended by 0xff or the eighth byte; unless the first byte starts with the bits 10, which UTF-8
    /// text cannot: then the other six bits and the three bytes behind it are the length.
    fn string<F: Form>(&mut self, at: usize) -> Result<F, DecodeError> {
        let repr: [u8; INLINE] = self.array(at)?;
        let text = if repr[0] & 0xc0 == 0x80 {
            let word = self.word(at)?;
            let len = (word & 0x3f) | (word & !0xff) >> 2;
            let len = len as usize;
            if len <= INLINE {
                return Err(wrong("a string of its length", at));
            }
            let start = self.pointee(at.saturating_add(4), at, &Shape::Scalar(Scalar::U8), len)?;
            self.range(start, len)?
        } else {
            let len = repr.iter().position(|byte| *byte == 0xff).unwrap_or(INLINE);
            self.range(at, len)?
        };
        let text = std::str::from_utf8(text).map_err(|_| wrong("UTF-8 text", at))?;
        Ok(F::leaf(|| text.into()))
    }

    fn elements<F: Form>(
        &mut self,
        of: &Shape,
        start: usize,
        len: usize,
        levels: usize,
    ) -> Result<F, DecodeError> {
        // Paid for before the memory is taken: the capacities of nested arrays add up to what is allowed.
        self.charge(len, start)?;
        let (mut at, stride) = (start, of.size());
        if F::IS_NOTHING && levels > 0 && len <= self.values && is_any_bytes(of) {
            let bytes = len.checked_mul(stride).and_then(|bytes| start.checked_add(bytes));
            if bytes.is_some_and(|end| end <= self.bytes.len()) {
                self.values -= len;
                return Ok(F::list(Vec::new()));
            }
        }
        let mut elements = Vec::with_capacity(len);
        for _ in 0..len {
            elements.push(self.value(of, at, levels)?);
            at = at.saturating_add(stride);
        }
        Ok(F::list(elements))
    }

    fn members<F: Form>(&mut self, members: &Members, at: usize, levels: usize) -> Result<F, DecodeError> {
        match members {
            Members::Unit => Ok(F::leaf(|| Value::Null)),
            // serde takes a struct with one field and no name for that field.
            Members::Positional(fields) if fields.len() == 1 => self.field(&fields[0], at, levels),
            Members::Positional(fields) => {
                let fields = fields.iter().map(|field| self.field(field, at, levels));
                fields.collect::<Result<Vec<_>, _>>().map(F::list)
            }
            Members::Named(fields) => {
                let mut object = F::object(fields.len());
                for field in fields {
                    self.charge(field.name.len() / 16, at)?;
                    let value = self.field(field, at, levels)?;
                    F::put(&mut object, &field.name, value);
                }
                Ok(F::close(object))
            }
        }
    }

    fn field<F: Form>(&mut self, field: &Field, at: usize, levels: usize) -> Result<F, DecodeError> {
        self.value(&field.shape, at.saturating_add(field.offset as usize), levels)
    }

    fn variant<F: Form>(&mut self, variant: &Variant, at: usize, levels: usize) -> Result<F, DecodeError> {
        self.charge(variant.name.len() / 16, at)?;
        if variant.members == Members::Unit {
            return Ok(F::leaf(|| variant.name.as_str().into()));
        }
        let inside = self.members(&variant.members, at, levels)?;
        let mut object = F::object(1);
        F::put(&mut object, &variant.name, inside);
        Ok(F::close(object))
    }

    /// Follows the pointer at `at`, relative to `base`, to `len` values, and claims their bytes.
    fn pointee(&mut self, at: usize, base: usize, of: &Shape, len: usize) -> Result<usize, DecodeError> {
        let start = base.checked_add_signed(self.word(at)? as i32 as isize);
        let claimed = of.size().checked_mul(len).filter(|claimed| *claimed <= self.elsewhere);
        let (Some(start), Some(claimed)) = (start, claimed) else {
            return Err(wrong("what it points to", at));
        };
        self.range(start, claimed)?;
        self.elsewhere -= claimed;
        Ok(start)
    }

    fn charge(&mut self, values: usize, at: usize) -> Result<(), DecodeError> {
        self.values = self.values.checked_sub(values).ok_or(wrong("so many values", at))?;
        Ok(())
    }

    fn byte(&self, at: usize) -> Result<u8, DecodeError> {
        self.bytes.get(at).copied().ok_or(wrong("one more byte", at))
    }

    fn word(&self, at: usize) -> Result<u32, DecodeError> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(wrong("a value of its size", at))
    }

    fn range(&self, start: usize, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = start.checked_add(len);
        end.and_then(|end| self.bytes.get(start..end)).ok_or(wrong("what it points to", start))
    }
}

/// True for numbers: whatever their bytes are, they are one.
fn is_any_bytes(shape: &Shape) -> bool {
    matches!(shape, Shape::Scalar(scalar) if !matches!(scalar, Scalar::Bool | Scalar::Char))
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "inf".into(),
        None => "-inf".into(),
    }
}

const fn wrong(what: &'static str, offset: usize) -> DecodeError {
    DecodeError::Shape { what, offset }
}
