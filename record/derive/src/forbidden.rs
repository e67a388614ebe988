//! What an event cannot hold, and why: the reason stands in the compile error, at the type.
//!
//! This looks at names, so that the common mistakes get their own words. A type that hides behind an alias is
//! refused all the same: it does not implement `Shaped`.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, DeriveInput, Error, Field, GenericArgument, PathArguments, PathSegment, Result, Type};

/// Names that are refused wherever they stand.
const PLAIN: &[(&str, &str)] = &[
    ("usize", "`usize` has another width on another machine; use `u32` or `u64`"),
    ("isize", "`isize` has another width on another machine; use `i32` or `i64`"),
];

/// Names that are refused when they have type arguments: without, they are somebody's own type.
const GENERIC: &[(&str, &str)] = &[
    ("HashMap", "the order of a `HashMap` differs from run to run; use a `Vec` of pairs, sorted by key"),
    ("HashSet", "the order of a `HashSet` differs from run to run; use a sorted `Vec`"),
    ("BTreeMap", "a `BTreeMap` is written as tree nodes; use a `Vec` of pairs, which is what it means"),
    ("BTreeSet", "a `BTreeSet` is written as tree nodes; use a sorted `Vec`, which is what it means"),
    ("Rc", "`Rc` shares a value by its address, which means nothing in a log; hold the value or a `Box`"),
    ("Arc", "`Arc` shares a value by its address, which means nothing in a log; hold the value or a `Box`"),
    ("Weak", "`Weak` points at a value by its address, which means nothing in a log; hold an id"),
];

/// Refuses attributes of rkyv that make the archived form another than the field types say.
pub(crate) fn check_container(input: &DeriveInput) -> Result<()> {
    if !input.generics.params.is_empty() {
        let message = "a contract has one shape: a generic type has many; write out the types";
        return Err(Error::new_spanned(&input.generics, message));
    }
    check_rkyv(&input.attrs, &["as", "remote"])
}

pub(crate) fn check_field(field: &Field) -> Result<()> {
    check_rkyv(&field.attrs, &["with", "niche", "omit_bounds", "getter"])?;
    check_type(&field.ty)
}

fn check_type(ty: &Type) -> Result<()> {
    match ty {
        Type::Path(path) => path.path.segments.iter().try_for_each(check_segment),
        Type::Array(array) => check_type(&array.elem),
        Type::Paren(inner) => check_type(&inner.elem),
        Type::Group(inner) => check_type(&inner.elem),
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(check_type),
        Type::Reference(_) => {
            Err(Error::new_spanned(ty, "an event owns its data; use `String`, `Vec` or the value itself"))
        }
        _ => Ok(()),
    }
}

fn check_segment(segment: &PathSegment) -> Result<()> {
    let refused = |names: &[(&str, &'static str)]| {
        names.iter().find(|(name, _)| segment.ident == name).map(|(_, reason)| *reason)
    };
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return match refused(PLAIN) {
            Some(reason) => Err(Error::new_spanned(&segment.ident, reason)),
            None => Ok(()),
        };
    };
    if let Some(reason) = refused(GENERIC) {
        return Err(Error::new_spanned(segment, reason));
    }
    arguments.args.iter().try_for_each(|argument| match argument {
        GenericArgument::Type(ty) => check_type(ty),
        _ => Ok(()),
    })
}

fn check_rkyv(attributes: &[Attribute], refused: &[&str]) -> Result<()> {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("rkyv")) {
        for word in first_words(attribute.meta.require_list()?.tokens.clone()) {
            if refused.iter().any(|name| word == name) {
                let message = match word.to_string().as_str() {
                    "omit_bounds" => "a type that holds itself has no bounded shape".to_owned(),
                    name => format!("with `{name}` the archived form is not what the field types say"),
                };
                return Err(Error::new(word.span(), message));
            }
        }
    }
    Ok(())
}

/// The first identifier of every comma-separated part.
fn first_words(tokens: TokenStream) -> Vec<proc_macro2::Ident> {
    let (mut words, mut at_start) = (Vec::new(), true);
    for token in tokens {
        match token {
            TokenTree::Ident(word) if at_start => {
                words.push(word);
                at_start = false;
            }
            TokenTree::Punct(punct) => at_start = punct.as_char() == ',',
            _ => at_start = false,
        }
    }
    words
}
