//! What the derives call: a shape from what the compiler says about the archived type.
//!
//! rkyv 0.8 archives a struct as `repr(C)`, so its offsets can be asked for. It archives an enum as
//! `repr(u8)`: every variant is a `repr(C)` struct that starts with the tag. The offsets of a variant cannot
//! be asked for on stable Rust, so they are computed by that rule, and the result is held against the size
//! and alignment that the compiler gives.

use super::{EnumShape, Field, Members, Shape, StructShape, Variant};

/// How fields become members.
pub type Style = fn(Vec<Field>) -> Members;

/// Name, tag, style and fields of a variant; each field is name and shape.
pub type VariantParts<'a> = (&'a str, u8, Style, Vec<(&'a str, Shape)>);

/// No fields and no parentheses.
pub const UNIT: Style = |_| Members::Unit;
/// Fields in parentheses.
pub const POSITIONAL: Style = Members::Positional;
/// Fields in braces.
pub const NAMED: Style = Members::Named;

/// The shape of a struct whose archived form is `A`; each field is name, offset and shape.
pub fn structure<A>(name: &str, style: Style, fields: Vec<(&str, usize, Shape)>) -> Shape {
    let fields = fields.into_iter().map(|(name, offset, shape)| Field {
        name: name.to_owned(),
        offset: narrow(offset),
        shape,
    });
    let members = style(fields.collect());
    Shape::Struct(StructShape {
        name: name.to_owned(),
        size: narrow(size_of::<A>()),
        align: narrow(align_of::<A>()),
        members,
    })
}

/// The shape of an enum whose archived form is `A`.
///
/// # Panics
///
/// When the rule above does not give the size and alignment of `A`: this build of rkyv has another layout.
pub fn enumeration<A>(name: &str, variants: Vec<VariantParts<'_>>) -> Shape {
    let (mut size, mut align) = (1, 1);
    let variants: Vec<Variant> = variants
        .into_iter()
        .map(|(name, tag, style, fields)| {
            let mut end = 1;
            let fields = fields.into_iter().map(|(name, shape)| {
                let offset = usize::next_multiple_of(end, shape.align());
                end = offset + shape.size();
                align = align.max(shape.align());
                Field { name: name.to_owned(), offset: narrow(offset), shape }
            });
            let members = style(fields.collect());
            size = size.max(end);
            Variant { name: name.to_owned(), tag, members }
        })
        .collect();
    size = size.next_multiple_of(align);
    let (expected, found) = ((size, align), (size_of::<A>(), align_of::<A>()));
    assert!(
        expected == found,
        "enum `{name}`: size and alignment are {found:?}, the rule for its shape gives {expected:?}"
    );
    Shape::Enum(EnumShape { name: name.to_owned(), size: narrow(size), align: narrow(align), variants })
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("an event's fixed part is far below 4 GiB")
}
