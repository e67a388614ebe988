//! The shape of an archived type: what its bytes mean, in a form that is written into the log.

use serde::{Deserialize, Serialize};

/// What the bytes of an archived value mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Nothing.
    Unit,
}

/// A type that can stand in an event: it knows its shape, and how much it needs besides its fixed part.
pub trait Shaped: rkyv::Archive {
    /// What the archived form looks like.
    fn shape() -> Shape;

    /// An upper bound of the bytes this value needs outside its fixed part, alignment included.
    fn out_of_line_max(&self) -> usize;
}
