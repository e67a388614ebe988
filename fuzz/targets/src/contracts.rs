//! Any text as a contract table, and any shapes in one: refused, or the same after writing and reading.

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::contract::{Verdict, diff};
use downbeat_record::shape::{EnumShape, Field, Members, Scalar, StructShape, Variant};
use downbeat_record::{Contract, ContractTable, Shape};

use crate::allocations::{DECODER, within};
use crate::canary;
use crate::log::Number;

/// A table is read as JSON of any form before it is read as a table. The dearest text is a list of empty objects.
const JSON: usize = 128;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a [u8]),
    Shapes(Vec<(Name<'a>, u16, Form<'a>)>),
}

/// Names of contracts are rarely text of any kind.
#[derive(Arbitrary, Debug)]
pub(crate) enum Name<'a> {
    Letter(u8),
    Text(&'a str),
}

impl Name<'_> {
    fn text(&self) -> String {
        match self {
            Self::Letter(number) => char::from(b'a' + number % 26).to_string(),
            Self::Text(text) => (*text).to_owned(),
        }
    }
}

/// A shape: with the layout that the rules of C give, or with any numbers.
#[derive(Arbitrary, Debug)]
pub(crate) enum Form<'a> {
    Unit,
    Scalar(u8),
    String,
    Vec(Box<Form<'a>>),
    Option(Box<Form<'a>>),
    Array(Box<Form<'a>>, Number),
    Box(Box<Form<'a>>),
    Struct(Name<'a>, Inside<'a>),
    Enum(Name<'a>, Vec<(Name<'a>, Inside<'a>)>),
    Wild(Name<'a>, Number, Number, Vec<(Name<'a>, Number, Form<'a>)>),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Inside<'a> {
    Nothing,
    Positional(Vec<Form<'a>>),
    Named(Vec<(Name<'a>, Form<'a>)>),
}

impl Form<'_> {
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Unit => Shape::Unit,
            Self::Scalar(number) => Shape::Scalar(Scalar::ALL[usize::from(*number) % Scalar::ALL.len()]),
            Self::String => Shape::String,
            Self::Vec(of) => Shape::Vec(Box::new(of.shape())),
            Self::Option(of) => Shape::Option(Box::new(of.shape())),
            Self::Array(of, len) => Shape::Array { of: Box::new(of.shape()), len: len.value() as u32 },
            Self::Box(of) => Shape::Box(Box::new(of.shape())),
            Self::Struct(name, inside) => {
                let (members, end, align) = inside.members(0);
                let size = narrow(end.next_multiple_of(align));
                Shape::Struct(StructShape { name: name.text(), size, align: narrow(align), members })
            }
            Self::Enum(name, variants) => {
                let (mut size, mut align) = (1, 1);
                let variants = variants.iter().take(256).enumerate().map(|(tag, (name, inside))| {
                    let (members, end, inner) = inside.members(1);
                    (size, align) = (size.max(end), align.max(inner));
                    Variant { name: name.text(), tag: tag as u8, members }
                });
                let variants = variants.collect();
                let size = narrow(size.next_multiple_of(align));
                Shape::Enum(EnumShape { name: name.text(), size, align: narrow(align), variants })
            }
            Self::Wild(name, size, align, fields) => {
                let fields = fields.iter().map(|(name, offset, form)| Field {
                    name: name.text(),
                    offset: offset.value() as u32,
                    shape: form.shape(),
                });
                let members = Members::Named(fields.collect());
                let (size, align) = (size.value() as u32, align.value() as u32);
                Shape::Struct(StructShape { name: name.text(), size, align, members })
            }
        }
    }
}

impl Inside<'_> {
    /// The members from an offset on, where they end, and their alignment.
    fn members(&self, from: usize) -> (Members, usize, usize) {
        let (mut end, mut align) = (from, 1);
        let mut field = |name: String, form: &Form<'_>| {
            let shape = form.shape();
            // Wild shapes inside may claim any alignment.
            let aligned = shape.align().clamp(1, 1 << 20);
            let offset = end.checked_next_multiple_of(aligned).unwrap_or(end);
            end = offset.saturating_add(shape.size()).min(1 << 40);
            align = align.max(aligned);
            Field { name, offset: narrow(offset), shape }
        };
        let members = match self {
            Self::Nothing => Members::Unit,
            Self::Positional(forms) => {
                let fields = forms.iter().enumerate().map(|(index, form)| field(index.to_string(), form));
                Members::Positional(fields.collect())
            }
            Self::Named(forms) => {
                Members::Named(forms.iter().map(|(name, form)| field(name.text(), form)).collect())
            }
        };
        (members, end, align)
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A contract table as text, or shapes.
///
/// # Panics
///
/// When it finds something.
pub fn contracts(input: &[u8]) {
    match Input::arbitrary_take_rest(Unstructured::new(input)) {
        Ok(Input::Text(text)) => from_text(text),
        Ok(Input::Shapes(shapes)) => from_shapes(&shapes),
        Err(_) => {}
    }
}

fn from_text(text: &[u8]) {
    let table = within(JSON * text.len() + DECODER, || ContractTable::from_json(text));
    match table {
        Ok(table) => round_trip(&table),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

fn from_shapes(shapes: &[(Name<'_>, u16, Form<'_>)]) {
    let mut table = ContractTable::new();
    for (name, version, form) in shapes {
        let before = table.clone();
        let contract = Contract { name: name.text(), version: *version, shape: form.shape() };
        match table.register(contract.clone()) {
            Ok(kind) => {
                let known = table.get(kind).expect("a kind that was given out has a contract");
                assert_eq!((&known.name, known.version), (&contract.name, contract.version));
                assert_eq!(diff(&known.shape, &contract.shape).verdict(), Verdict::Identical);
                assert!(table.len() - before.len() <= 1);
            }
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                assert!(table == before, "after an error the table is as it was");
            }
        }
    }
    round_trip(&table);
}

fn round_trip(table: &ContractTable) {
    let mut text = table.to_json();
    if canary() {
        // The planted fault: a version is written down as another.
        text = String::from_utf8_lossy(&text).replace("\"version\":1,", "\"version\":2,").into_bytes();
    }
    let again = ContractTable::from_json(&text).expect("what was written is read");
    assert!(again == *table, "what was written is read as it was");
    again.continues(table).expect("a table continues itself");
    for (kind, contract) in table.iter() {
        assert_eq!(table.kind_of(&contract.name, contract.version), Some(kind));
    }
}
