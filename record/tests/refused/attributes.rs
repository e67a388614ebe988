//! Attributes that are wrong, each where it stands.

use downbeat_record::{Event, Shaped};

#[derive(Event)]
#[event(name = "", version = 1)]
struct EmptyName;

#[derive(Event)]
#[event(name = "a b")]
struct Space;

#[derive(Event)]
#[event(version = 0)]
struct Zero;

#[derive(Event)]
#[event(version = 65536)]
struct TooHigh;

#[derive(Event)]
#[event(version = "1")]
struct Text;

#[derive(Event)]
#[event(nmae = "a")]
struct Typo;

#[derive(Event)]
#[event(name = "a", name = "b")]
struct Twice;

#[derive(Event)]
#[event]
struct Bare;

#[derive(Shaped)]
#[shaped(name = "a")]
struct NotAnEvent;

fn main() {}
