//! The shape of an archived type: what its bytes mean, in a form that is written into the log.
//!
//! ```text
//! struct Deposited { account: u64, memo: String }      archived, 16 bytes, alignment 8
//!                                                      ┌────────────┬────────────┐
//! {"type": "struct", "name": "Deposited",              │ account    │ memo       │
//!  "size": 16, "align": 8, "fields": [                 └────────────┴────────────┘
//!    {"name": "account", "offset": 0, "shape": "u64"},   0            8
//!    {"name": "memo", "offset": 8, "shape": "string"}]}
//! ```
//!
//! The layout is that of rkyv 0.8 with `little_endian`, `aligned` and `pointer_width_32`: numbers are little
//! endian and aligned to their size, structs follow the rules of C, an enum is a one-byte tag and then the
//! fields of its variant by the rules of C, a string or vector is eight bytes that point into the archive.
//!
//! Invariants of a shape that [`Shape::check`] accepted, which every shape in a [`crate::ContractTable`] is:
//! no deeper than [`NESTING_MAX`] levels, at most [`PARTS_MAX`] parts, every field inside its struct, all
//! sizes below 2³¹, names distinct within their struct or enum and tags within their enum.
//!
//! Not here: comparing two shapes ([`crate::contract`]), reading bytes by one ([`crate::json`]).

mod check;
mod shaped;
mod text;

#[doc(hidden)]
pub mod layout;

use std::fmt;

pub use check::{NAME_LEN_MAX, NESTING_MAX, PARTS_MAX, ShapeError, ShapeFault};
pub use shaped::Shaped;

/// What the bytes of an archived value mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// No bytes.
    Unit,
    /// A number, a truth value or a character.
    Scalar(Scalar),
    /// UTF-8 text: up to eight bytes in place, longer ones elsewhere in the archive.
    String,
    /// Any number of elements, elsewhere in the archive.
    Vec(Box<Shape>),
    /// A tag byte, 0 or 1, and the value if it is 1.
    Option(Box<Shape>),
    /// A fixed number of elements, in place.
    Array {
        /// What each element is.
        of: Box<Shape>,
        /// How many there are.
        len: u32,
    },
    /// One value, elsewhere in the archive.
    Box(Box<Shape>),
    /// Fields side by side; tuples are structs too.
    Struct(StructShape),
    /// One of several variants.
    Enum(EnumShape),
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Rust's own")]
pub enum Scalar {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
    Char,
}

/// Fields side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructShape {
    /// The Rust type's name: for people; another name is not another shape.
    pub name: String,
    /// Bytes of the archived form.
    pub size: u32,
    /// Alignment of the archived form.
    pub align: u32,
    /// What is inside.
    pub members: Members,
}

/// One of several variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumShape {
    /// The Rust type's name: for people; another name is not another shape.
    pub name: String,
    /// Bytes of the archived form.
    pub size: u32,
    /// Alignment of the archived form.
    pub align: u32,
    /// The variants; the byte at offset 0 says which one it is.
    pub variants: Vec<Variant>,
}

/// One variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The byte at offset 0 that stands for it.
    pub tag: u8,
    /// What is inside; offsets count from the start of the enum, tag included.
    pub members: Members,
}

/// The inside of a struct or of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Nothing, as in `struct Tick;`.
    Unit,
    /// Fields without names, as in `struct Cents(i64);`. Their names are their numbers.
    Positional(Vec<Field>),
    /// Fields with names.
    Named(Vec<Field>),
}

impl Members {
    /// The fields in the order of their declaration.
    pub fn fields(&self) -> &[Field] {
        match self {
            Self::Unit => &[],
            Self::Positional(fields) | Self::Named(fields) => fields,
        }
    }
}

/// A field of a struct or of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Where it starts in the archived form, in bytes.
    pub offset: u32,
    /// What it is.
    pub shape: Shape,
}

impl Shape {
    /// Bytes of the fixed part of the archived form; the stride of a vector of these.
    pub fn size(&self) -> usize {
        match self {
            Self::Unit => 0,
            Self::Scalar(scalar) => scalar.size(),
            Self::String | Self::Vec(_) => 8,
            Self::Option(of) => {
                let align = of.align().max(1);
                align.saturating_add(of.size()).checked_next_multiple_of(align).unwrap_or(usize::MAX)
            }
            Self::Array { of, len } => of.size().saturating_mul(*len as usize),
            Self::Box(_) => 4,
            Self::Struct(shape) => shape.size as usize,
            Self::Enum(shape) => shape.size as usize,
        }
    }

    /// Alignment of the archived form.
    pub fn align(&self) -> usize {
        match self {
            Self::Unit => 1,
            Self::Scalar(scalar) => scalar.size(),
            Self::String | Self::Vec(_) | Self::Box(_) => 4,
            Self::Option(of) | Self::Array { of, .. } => of.align(),
            Self::Struct(shape) => shape.align as usize,
            Self::Enum(shape) => shape.align as usize,
        }
    }
}

impl Scalar {
    /// Every scalar.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::U128,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::I128,
        Self::F32,
        Self::F64,
        Self::Char,
    ];

    /// Bytes it takes, which is also its alignment.
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 | Self::Char => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::U128 | Self::I128 => 16,
        }
    }

    /// Its name in Rust and in a contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
        }
    }
}

/// As Rust writes the type.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("()"),
            Self::Scalar(scalar) => f.write_str(scalar.name()),
            Self::String => f.write_str("String"),
            Self::Vec(of) => write!(f, "Vec<{of}>"),
            Self::Option(of) => write!(f, "Option<{of}>"),
            Self::Array { of, len } => write!(f, "[{of}; {len}]"),
            Self::Box(of) => write!(f, "Box<{of}>"),
            Self::Struct(StructShape { name, .. }) | Self::Enum(EnumShape { name, .. }) => f.write_str(name),
        }
    }
}
