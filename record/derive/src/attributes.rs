//! What stands in `#[event(…)]` and `#[shaped(…)]`, checked where it is written.

use proc_macro2::Span;
use syn::{Attribute, DeriveInput, Error, LitInt, LitStr, Path, Result, parse_quote};

/// The longest name of a contract, in bytes; `downbeat_record::contract::NAME_LEN_MAX` is the same number.
const NAME_LEN_MAX: usize = 128;

pub(crate) struct EventAttributes {
    pub(crate) name: String,
    pub(crate) version: u16,
    pub(crate) crate_path: Path,
}

pub(crate) fn event(input: &DeriveInput) -> Result<EventAttributes> {
    let (mut name, mut version, mut crate_path) = (None, None, None);
    for attribute in named(&input.attrs, "event") {
        attribute.parse_nested_meta(|meta| {
            let at = meta.path.clone();
            if meta.path.is_ident("name") {
                let text: LitStr = meta.value()?.parse()?;
                set(&mut name, contract_name(&text)?, &at)
            } else if meta.path.is_ident("version") {
                let number: LitInt = meta.value()?.parse()?;
                set(&mut version, contract_version(&number)?, &at)
            } else if meta.path.is_ident("crate") {
                set(&mut crate_path, meta.value()?.parse()?, &at)
            } else {
                Err(meta.error("unknown attribute; `event` takes `name`, `version` and `crate`"))
            }
        })?;
    }
    if let Some(attribute) = named(&input.attrs, "shaped").next() {
        return Err(Error::new_spanned(attribute, "`Event` implements `Shaped` too; use `#[event(…)]`"));
    }
    let name = match name {
        Some(name) => name,
        None => {
            let default = input.ident.to_string();
            check_name(default.trim_start_matches("r#"), input.ident.span())?
        }
    };
    Ok(EventAttributes {
        name,
        version: version.unwrap_or(1),
        crate_path: crate_path.unwrap_or_else(default_path),
    })
}

pub(crate) fn shaped(input: &DeriveInput) -> Result<Path> {
    let mut crate_path = None;
    for attribute in named(&input.attrs, "shaped") {
        attribute.parse_nested_meta(|meta| {
            let at = meta.path.clone();
            if meta.path.is_ident("crate") {
                set(&mut crate_path, meta.value()?.parse()?, &at)
            } else {
                Err(meta.error("unknown attribute; `shaped` takes `crate`"))
            }
        })?;
    }
    Ok(crate_path.unwrap_or_else(default_path))
}

fn default_path() -> Path {
    parse_quote!(::downbeat_record)
}

fn named<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a Attribute> {
    attributes.iter().filter(move |attribute| attribute.path().is_ident(name))
}

fn set<T>(slot: &mut Option<T>, value: T, at: &Path) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new_spanned(at, "given twice"));
    }
    Ok(())
}

fn contract_name(text: &LitStr) -> Result<String> {
    check_name(&text.value(), text.span())
}

fn check_name(name: &str, span: Span) -> Result<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(known) {
        let message = "a contract's name is 1 to 128 ASCII letters, digits, `.`, `_`, `-`, `:` or `/`";
        return Err(Error::new(span, message));
    }
    Ok(name.to_owned())
}

fn contract_version(number: &LitInt) -> Result<u16> {
    match number.base10_parse::<u16>() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(Error::new(number.span(), "a contract's version is a number from 1 to 65535")),
    }
}
