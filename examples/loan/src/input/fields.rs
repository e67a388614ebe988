//! From the fields of an event, as text or JSON values, to their types.

use std::borrow::Cow;

use super::CaseId;
use super::error::Reason;
use super::timestamp;
use crate::activity::{Activity, Transition};

/// A value as a format gives it.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    /// Not there, null or empty.
    Absent,
    Text(Cow<'a, str>),
    Number(u64),
    /// What no field can be, in words.
    Other(String),
}

impl<'a> Cell<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        if text.is_empty() { Self::Absent } else { Self::Text(text) }
    }
}

/// The names that a format gives to the fields.
pub(super) struct Names {
    pub(super) case: &'static str,
    pub(super) activity: &'static str,
    pub(super) transition: &'static str,
    pub(super) time: &'static str,
    pub(super) resource: &'static str,
    pub(super) amount: &'static str,
}

/// The names in JSONL and CSV.
pub(super) const PLAIN: Names = Names {
    case: "case",
    activity: "activity",
    transition: "transition",
    time: "time",
    resource: "resource",
    amount: "amount",
};

/// What an event is, apart from its case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) time_ns: u64,
    pub(super) activity: Activity,
    pub(super) transition: Transition,
    pub(super) resource: Option<u32>,
}

/// The fields of a line of JSONL or CSV, in the order of [`PLAIN`].
pub(super) type Row<'a> = [Cell<'a>; 6];

/// The place of a field in a [`Row`].
pub(super) fn row_index(name: &str) -> Option<(usize, &'static str)> {
    let names = [PLAIN.case, PLAIN.activity, PLAIN.transition, PLAIN.time, PLAIN.resource, PLAIN.amount];
    names.iter().position(|known| *known == name).map(|index| (index, names[index]))
}

pub(super) fn typed_row(row: &Row<'_>) -> Result<(CaseId, Event, Option<u64>), Reason> {
    let [case_cell, activity, transition, time, resource, amount_cell] = row;
    let case = case(case_cell, PLAIN.case)?;
    let event = event(activity, transition, time, resource, &PLAIN)?;
    Ok((case, event, amount(amount_cell, PLAIN.amount)?))
}

pub(super) fn event(
    activity: &Cell<'_>,
    transition: &Cell<'_>,
    time: &Cell<'_>,
    resource: &Cell<'_>,
    names: &Names,
) -> Result<Event, Reason> {
    let activity = text(activity, names.activity, "an activity such as \"A_SUBMITTED\"")?;
    let activity = activity.parse().map_err(|_| Reason::UnknownActivity(bounded(activity)))?;
    let transition = text(transition, names.transition, "SCHEDULE, START or COMPLETE")?;
    let transition = transition.parse().map_err(|_| Reason::UnknownTransition(bounded(transition)))?;
    let time = text(time, names.time, "a time such as 2011-10-01T00:38:44.546+02:00")?;
    let time_ns = timestamp::parse(time).map_err(|problem| Reason::Timestamp {
        field: names.time,
        found: bounded(time),
        problem,
    })?;
    let expected = "a whole number from 0 to 4294967295";
    let resource = match number(resource, names.resource, expected)? {
        None => None,
        Some(number) => match u32::try_from(number) {
            Ok(resource) => Some(resource),
            Err(_) => return Err(wrong_type(names.resource, number.to_string(), expected)),
        },
    };
    Ok(Event { time_ns, activity, transition, resource })
}

pub(super) fn case(cell: &Cell<'_>, field: &'static str) -> Result<CaseId, Reason> {
    let expected = "a whole number, the application's id";
    number(cell, field, expected)?.map(CaseId).ok_or(Reason::Missing { field, expected })
}

pub(super) fn amount(cell: &Cell<'_>, field: &'static str) -> Result<Option<u64>, Reason> {
    number(cell, field, "a whole number of euro")
}

fn text<'c>(cell: &'c Cell<'_>, field: &'static str, expected: &'static str) -> Result<&'c str, Reason> {
    match cell {
        Cell::Text(text) => Ok(text),
        Cell::Absent => Err(Reason::Missing { field, expected }),
        Cell::Number(number) => Err(wrong_type(field, number.to_string(), expected)),
        Cell::Other(found) => Err(wrong_type(field, found.clone(), expected)),
    }
}

fn number(cell: &Cell<'_>, field: &'static str, expected: &'static str) -> Result<Option<u64>, Reason> {
    match cell {
        Cell::Absent => Ok(None),
        Cell::Number(number) => Ok(Some(*number)),
        // `parse` alone would take a leading plus sign.
        Cell::Text(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong_type(field, bounded(digits), expected)),
        },
        Cell::Text(text) => Err(wrong_type(field, format!("\"{}\"", bounded(text)), expected)),
        Cell::Other(found) => Err(wrong_type(field, found.clone(), expected)),
    }
}

fn wrong_type(field: &'static str, found: String, expected: &'static str) -> Reason {
    Reason::WrongType { field, found, expected }
}

/// Enough of a text for a message: a kept bad input must not hold a megabyte.
fn bounded(text: &str) -> String {
    text.chars().take(64).collect()
}
