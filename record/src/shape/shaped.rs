//! Which Rust types can stand in an event.

use super::{Scalar, Shape, layout};

/// A type that can stand in an event: it knows its shape, and how much it needs besides its fixed part.
///
/// Derive it for nested structs and enums with `#[derive(Shaped)]`; `#[derive(Event)]` includes it.
///
/// `usize` and `isize` do not have it, since their width differs between machines; hash maps and sets do not,
/// since their order differs between runs; `Rc`, `Arc` and `Weak` do not, since an address means nothing in a
/// log. A value that implements this has one archived form, the same on every machine and in every run.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in an event",
    label = "a log cannot explain this type",
    note = "an event holds bool, fixed-width numbers, char, String, Vec, Option, Box, arrays, tuples, and structs and enums that derive `Shaped`",
    note = "usize varies in width, hash maps vary in order, Rc and Arc have no address in a log"
)]
pub trait Shaped: rkyv::Archive {
    /// What the archived form looks like.
    fn shape() -> Shape;

    /// An upper bound of the bytes this value needs outside its fixed part, alignment included. Zero means
    /// that its archive is its fixed part and nothing else.
    fn out_of_line_max(&self) -> usize;
}

macro_rules! scalars {
    ($($ty:ty => $scalar:ident),* $(,)?) => {$(
        impl Shaped for $ty {
            fn shape() -> Shape {
                Shape::Scalar(Scalar::$scalar)
            }

            #[inline]
            fn out_of_line_max(&self) -> usize {
                0
            }
        }

        const _: () = assert!(size_of::<rkyv::Archived<$ty>>() == Scalar::$scalar.size());
        const _: () = assert!(align_of::<rkyv::Archived<$ty>>() == Scalar::$scalar.size());
    )*};
}

scalars! {
    bool => Bool,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64, u128 => U128,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64, i128 => I128,
    f32 => F32, f64 => F64, char => Char,
}

const _: () = assert!(size_of::<rkyv::Archived<String>>() == 8 && align_of::<rkyv::Archived<String>>() == 4);
const _: () = assert!(size_of::<rkyv::Archived<Vec<u128>>>() == 8);
const _: () = assert!(size_of::<rkyv::Archived<Box<u128>>>() == 4);

impl Shaped for () {
    fn shape() -> Shape {
        Shape::Unit
    }

    #[inline]
    fn out_of_line_max(&self) -> usize {
        0
    }
}

impl Shaped for String {
    fn shape() -> Shape {
        Shape::String
    }

    #[inline]
    fn out_of_line_max(&self) -> usize {
        if self.len() <= rkyv::string::repr::INLINE_CAPACITY { 0 } else { self.len() }
    }
}

impl<T: Shaped> Shaped for Vec<T> {
    fn shape() -> Shape {
        Shape::Vec(Box::new(T::shape()))
    }

    #[inline]
    fn out_of_line_max(&self) -> usize {
        // Everything the elements point at comes first, then the elements at their alignment.
        let elements = self.iter().map(T::out_of_line_max).sum::<usize>();
        elements + align_of::<T::Archived>() - 1 + self.len() * size_of::<T::Archived>()
    }
}

impl<T: Shaped> Shaped for Option<T> {
    fn shape() -> Shape {
        Shape::Option(Box::new(T::shape()))
    }

    #[inline]
    fn out_of_line_max(&self) -> usize {
        self.as_ref().map_or(0, T::out_of_line_max)
    }
}

impl<T: Shaped, const N: usize> Shaped for [T; N] {
    fn shape() -> Shape {
        let len = u32::try_from(N).expect("an array in an event has less than 2³² elements");
        Shape::Array { of: Box::new(T::shape()), len }
    }

    #[inline]
    fn out_of_line_max(&self) -> usize {
        self.iter().map(T::out_of_line_max).sum()
    }
}

impl<T: Shaped> Shaped for Box<T> {
    fn shape() -> Shape {
        Shape::Box(Box::new(T::shape()))
    }

    #[inline]
    fn out_of_line_max(&self) -> usize {
        T::out_of_line_max(self) + align_of::<T::Archived>() - 1 + size_of::<T::Archived>()
    }
}

macro_rules! tuples {
    ($($($ty:ident $index:tt),*;)*) => {$(
        impl<$($ty: Shaped),*> Shaped for ($($ty,)*) {
            fn shape() -> Shape {
                layout::structure::<rkyv::Archived<Self>>(
                    "tuple",
                    layout::POSITIONAL,
                    vec![$((
                        stringify!($index),
                        std::mem::offset_of!(rkyv::Archived<Self>, $index),
                        $ty::shape(),
                    )),*],
                )
            }

            #[inline]
            fn out_of_line_max(&self) -> usize {
                0 $(+ self.$index.out_of_line_max())*
            }
        }
    )*};
}

tuples! {
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
}
