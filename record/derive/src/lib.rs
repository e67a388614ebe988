//! `#[derive(Event)]` and `#[derive(Shaped)]`: a Rust type becomes a contract that a log can explain.
//!
//! ```text
//! type ──parse──► attributes ──refuse──► what no log can explain ──► shape() ──► Event
//!                 attributes.rs          forbidden.rs                shaped.rs   event.rs
//! ```
//!
//! The macros write no layout rule of their own: offsets are asked from the compiler, on the archived type.
//! Use them through `downbeat_record` (or `downbeat::record`), which names the traits they implement.
#![forbid(unsafe_code)]

mod attributes;
mod event;
mod forbidden;
mod shaped;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum an event: `Event` and `Shaped` are implemented.
///
/// ```ignore
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(name = "bank.Deposited", version = 1)]
/// struct Deposited { account: u64, cents: i64, memo: String }
/// ```
///
/// | attribute | meaning | default |
/// |---|---|---|
/// | `name = "…"` | the contract's name: letters, digits, `.`, `_`, `-`, `:`, `/`; at most 128 bytes | the type's name |
/// | `version = n` | the contract's version, 1 to 65535 | 1 |
/// | `crate = path` | where `downbeat_record` is found | `::downbeat_record` |
///
/// A crate that has no dependency on `rkyv` itself says where rkyv's derives find it:
/// `#[rkyv(crate = downbeat::record::rkyv)]`, beside `#[event(crate = downbeat::record)]`.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Makes a struct or an enum usable as a field of an event: `Shaped` is implemented.
///
/// `#[shaped(crate = path)]` says where `downbeat_record` is found; the default is `::downbeat_record`.
#[proc_macro_derive(Shaped, attributes(shaped))]
pub fn derive_shaped(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    shaped::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}
