//! Which shapes may stand in a log: the bounds that keep a hostile one harmless.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::{EnumShape, Field, Members, Shape, StructShape, Variant};

/// The most levels of JSON in a shape: a struct takes three, an enum five, anything else that holds another
/// one. Far more than people write, and half of what JSON parsers accept by default.
pub const NESTING_MAX: usize = 64;
/// The most parts of a shape: itself, its fields and variants, theirs, and so on.
pub const PARTS_MAX: usize = 4096;
/// The longest name of a contract, type, variant or field, in bytes.
pub const NAME_LEN_MAX: usize = 128;
/// The largest fixed part, in bytes: an archive's pointers are 32 bits, signed.
const SIZE_MAX: usize = i32::MAX as usize;
/// The largest alignment: payloads start on a multiple of 16 bytes.
const ALIGN_MAX: u32 = 16;

/// A shape that cannot be written into a log, or was not written by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Where in the type: field names joined by dots; empty for the type itself.
    pub path: String,
    /// What is wrong there.
    pub fault: ShapeFault,
}

/// What is wrong with a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeFault {
    /// See [`NESTING_MAX`].
    #[error("nested deeper than {NESTING_MAX} levels")]
    TooDeep,
    /// See [`PARTS_MAX`].
    #[error("has more than {PARTS_MAX} parts")]
    TooManyParts,
    /// The fixed part is 2 GiB or more.
    #[error("its fixed part is 2 GiB or more")]
    TooLarge,
    /// An alignment that is no power of two, or above 16, or that does not divide the size.
    #[error("its alignment is not possible")]
    Alignment,
    /// A field or the tag lies outside of its struct or enum.
    #[error("does not lie inside what holds it")]
    Outside,
    /// Two fields, variants or tags are the same, or an enum has no variant.
    #[error("is there twice, or not at all")]
    NotDistinct,
    /// A name is empty, longer than [`NAME_LEN_MAX`], or would move a terminal's cursor.
    #[error("has a name that is empty, longer than {NAME_LEN_MAX} bytes or not printable")]
    Name,
    /// A vector whose elements have no bytes: its length is all there is.
    #[error("is a vector of elements without bytes; a number says the same")]
    NoBytes,
    /// Not the JSON of a shape.
    #[error("is not the JSON of a shape: {0}")]
    Json(&'static str),
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "the shape {}", self.fault)
        } else {
            write!(f, "`{}` {}", self.path.escape_debug(), self.fault)
        }
    }
}

impl std::error::Error for ShapeError {}

impl ShapeError {
    pub(super) fn here(fault: ShapeFault) -> Self {
        Self { path: String::new(), fault }
    }

    /// The same, seen from what holds it.
    pub(super) fn under(mut self, name: &str) -> Self {
        self.path = if self.path.is_empty() { name.to_owned() } else { format!("{name}.{}", self.path) };
        self
    }
}

impl Shape {
    /// Makes sure that the shape may stand in a log.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, and where. Any shape is safe, however deep: this stops at
    /// [`NESTING_MAX`].
    pub fn check(&self) -> Result<(), ShapeError> {
        let mut parts = PARTS_MAX;
        check(self, NESTING_MAX, &mut parts)
    }
}

fn check(shape: &Shape, levels: usize, parts: &mut usize) -> Result<(), ShapeError> {
    count(parts)?;
    match shape {
        Shape::Unit | Shape::Scalar(_) | Shape::String => Ok(()),
        Shape::Vec(of) | Shape::Option(of) | Shape::Array { of, .. } | Shape::Box(of) => {
            check(of, deeper(levels, 1)?, parts)?;
            if matches!(shape, Shape::Vec(_)) && of.size() == 0 {
                return Err(ShapeError::here(ShapeFault::NoBytes));
            }
            if shape.size() > SIZE_MAX { Err(ShapeError::here(ShapeFault::TooLarge)) } else { Ok(()) }
        }
        Shape::Struct(StructShape { name, size, align, members }) => {
            check_name(name)?;
            check_extent(*size, *align)?;
            check_members(members, 0, *size, deeper(levels, 3)?, parts)
        }
        Shape::Enum(EnumShape { name, size, align, variants }) => {
            check_name(name)?;
            check_extent(*size, *align)?;
            let levels = deeper(levels, 5)?;
            let (mut names, mut tags) = (BTreeSet::new(), BTreeSet::new());
            for variant in variants {
                let fresh = names.insert(&variant.name) && tags.insert(variant.tag);
                check_variant(variant, fresh, *size, levels, parts)
                    .map_err(|error| error.under(&variant.name))?;
            }
            if variants.is_empty() { Err(ShapeError::here(ShapeFault::NotDistinct)) } else { Ok(()) }
        }
    }
}

fn check_variant(
    variant: &Variant,
    fresh: bool,
    size: u32,
    levels: usize,
    parts: &mut usize,
) -> Result<(), ShapeError> {
    count(parts)?;
    check_name(&variant.name)?;
    if !fresh {
        return Err(ShapeError::here(ShapeFault::NotDistinct));
    }
    if size == 0 {
        return Err(ShapeError::here(ShapeFault::Outside));
    }
    check_members(&variant.members, 1, size, levels, parts)
}

/// The fields must lie between `from` and `size`.
fn check_members(
    members: &Members,
    from: u32,
    size: u32,
    levels: usize,
    parts: &mut usize,
) -> Result<(), ShapeError> {
    let mut names = BTreeSet::new();
    for field in members.fields() {
        let fresh = names.insert(&field.name);
        check_field(field, fresh, from..size, levels, parts).map_err(|error| error.under(&field.name))?;
    }
    Ok(())
}

fn check_field(
    field: &Field,
    fresh: bool,
    room: Range<u32>,
    levels: usize,
    parts: &mut usize,
) -> Result<(), ShapeError> {
    check_name(&field.name)?;
    if !fresh {
        return Err(ShapeError::here(ShapeFault::NotDistinct));
    }
    check(&field.shape, levels, parts)?;
    let end = (field.offset as usize).saturating_add(field.shape.size());
    if field.offset < room.start || end > room.end as usize {
        return Err(ShapeError::here(ShapeFault::Outside));
    }
    Ok(())
}

fn check_extent(size: u32, align: u32) -> Result<(), ShapeError> {
    if size as usize > SIZE_MAX {
        return Err(ShapeError::here(ShapeFault::TooLarge));
    }
    if !align.is_power_of_two() || align > ALIGN_MAX || !size.is_multiple_of(align) {
        return Err(ShapeError::here(ShapeFault::Alignment));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), ShapeError> {
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.chars().any(char::is_control) {
        return Err(ShapeError::here(ShapeFault::Name));
    }
    Ok(())
}

fn count(parts: &mut usize) -> Result<(), ShapeError> {
    *parts = parts.checked_sub(1).ok_or_else(|| ShapeError::here(ShapeFault::TooManyParts))?;
    Ok(())
}

pub(super) fn deeper(levels: usize, by: usize) -> Result<usize, ShapeError> {
    levels.checked_sub(by).ok_or_else(|| ShapeError::here(ShapeFault::TooDeep))
}
