//! Kinds of types that have no one shape.

use downbeat_record::{Event, Shaped};

#[derive(Event)]
struct Generic<T> {
    value: T,
}

#[derive(Event)]
struct Borrowing<'a> {
    value: &'a str,
}

#[derive(Shaped)]
enum Never {}

#[derive(Shaped)]
union Either {
    number: u32,
    float: f32,
}

fn main() {}
