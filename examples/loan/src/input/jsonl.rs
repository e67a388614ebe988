//! JSONL: one JSON object on a line, its fields in any order.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::collect::Collector;
use super::error::{InputError, Reason};
use super::fields::{self, Cell, Row, row_index};
use super::lines::Lines;
use super::source::Bytes;

const EXPECTED: &str = "a JSON object with case, activity, transition and time";

pub(super) fn read(bytes: Bytes<'_>, collector: &mut Collector) -> Result<(), InputError> {
    Lines::new(bytes).for_each(collector, |line, collector| {
        let object: Object<'_> = serde_json::from_str(line).map_err(malformed)?;
        let (case, event, amount) = fields::typed_row(&object.into_row()?)?;
        collector.accept(case, event, amount);
        Ok(())
    })
}

fn malformed(error: serde_json::Error) -> Reason {
    let text = error.to_string();
    // The line that serde_json counts is always 1, and what it expected is only its view of it.
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    let problem = match problem.split_once(", expected ") {
        Some((problem, _)) => problem.to_owned(),
        None => format!("{problem} at column {}", error.column()),
    };
    Reason::Malformed { problem, expected: EXPECTED }
}

/// An object's known fields, and the first thing that is wrong with them although it is JSON.
struct Object<'a> {
    row: Row<'a>,
    wrong: Option<Reason>,
}

impl<'a> Object<'a> {
    fn into_row(self) -> Result<Row<'a>, Reason> {
        match self.wrong {
            Some(reason) => Err(reason),
            None => Ok(self.row),
        }
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object { row: [const { Cell::Absent }; 6], wrong: None };
        let mut seen = [false; 6];
        while let Some(Text(name)) = map.next_key()? {
            let Some((index, name)) = row_index(&name) else {
                map.next_value::<IgnoredAny>()?;
                object.wrong.get_or_insert_with(|| Reason::UnknownField(name.chars().take(64).collect()));
                continue;
            };
            if seen[index] {
                object.wrong.get_or_insert(Reason::Twice(name));
            }
            seen[index] = true;
            object.row[index] = map.next_value::<Value<'_>>()?.0;
        }
        Ok(object)
    }
}

/// A string, borrowed from the line where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)?.0 {
            Cell::Text(text) => Ok(Self(text)),
            _ => Ok(Self(Cow::Borrowed(""))),
        }
    }
}

/// Any JSON value, as a cell.
struct Value<'a>(Cell<'a>);

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Value)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Absent)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Cell<'de>, E> {
        Ok(Cell::Other(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Cell<'de>, E> {
        Ok(Cell::Number(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Cell<'de>, E> {
        Ok(u64::try_from(value).map_or_else(|_| Cell::Other(value.to_string()), Cell::Number))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Other(value.to_string()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::text(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cell<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object".to_owned()))
    }
}
