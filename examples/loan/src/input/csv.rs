//! CSV: rows under a header that names the columns, in any order; one row is one line.
//!
//! Cells may be quoted (RFC 4180: a quote inside is doubled), but no value of a loan event has a line break,
//! so a quote that is open at the end of its line is an error and the next line is a row again.

use std::borrow::Cow;

use super::collect::Collector;
use super::error::{InputError, Reason};
use super::fields::{self, Cell, Row, row_index};
use super::lines::Lines;
use super::source::Bytes;

const HEADER_EXPECTED: &str = "the columns case, activity, transition, time and if known resource, amount";
const COLUMNS_MAX: usize = 6;

pub(super) fn read(bytes: Bytes<'_>, collector: &mut Collector) -> Result<(), InputError> {
    let mut lines = Lines::new(bytes);
    let header = match lines.next()? {
        None => return Ok(()),
        Some(line) => line.and_then(Header::parse),
    };
    let header = header.map_err(|reason| InputError::CsvHeader(Box::new(lines.bad(reason))))?;
    lines.for_each(collector, |line, collector| {
        let (case, event, amount) = fields::typed_row(&header.row(line)?)?;
        collector.accept(case, event, amount);
        Ok(())
    })
}

/// Which field each column holds.
struct Header {
    fields: [usize; COLUMNS_MAX],
    len: usize,
}

impl Header {
    fn parse(line: &str) -> Result<Self, Reason> {
        let mut header = Self { fields: [0; COLUMNS_MAX], len: 0 };
        let mut present = [false; COLUMNS_MAX];
        for cell in Cells(Some(line)) {
            let cell = cell?;
            let Some((field, name)) = row_index(cell.trim()) else {
                return Err(Reason::UnknownField(cell.chars().take(64).collect()));
            };
            if present[field] {
                return Err(Reason::Twice(name));
            }
            present[field] = true;
            header.fields[header.len] = field;
            header.len += 1;
        }
        let [case, activity, transition, time, ..] = present;
        for (present, field) in
            [(case, "case"), (activity, "activity"), (transition, "transition"), (time, "time")]
        {
            if !present {
                return Err(Reason::Missing { field, expected: HEADER_EXPECTED });
            }
        }
        Ok(header)
    }

    fn row<'a>(&self, line: &'a str) -> Result<Row<'a>, Reason> {
        let mut row = [const { Cell::Absent }; 6];
        let mut len = 0;
        for cell in Cells(Some(line)) {
            let cell = cell?;
            if let Some(field) = self.fields[..self.len].get(len) {
                row[*field] = Cell::text(cell);
            }
            len += 1;
        }
        if len == self.len {
            return Ok(row);
        }
        let problem = format!("{len} cells under a header of {}", self.len);
        Err(Reason::Malformed { problem, expected: "a cell for each column" })
    }
}

/// The cells of a line, from what is left of it.
struct Cells<'a>(Option<&'a str>);

impl<'a> Iterator for Cells<'a> {
    type Item = Result<Cow<'a, str>, Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.take()?;
        let Some(quoted) = rest.strip_prefix('"') else {
            let (cell, rest) = rest.split_once(',').map_or((rest, None), |(cell, rest)| (cell, Some(rest)));
            self.0 = rest;
            return Some(Ok(Cow::Borrowed(cell)));
        };
        let Some((cell, rest)) = unquote(quoted) else { return Some(Err(quote("a quote is not closed"))) };
        match rest.strip_prefix(',') {
            Some(rest) => self.0 = Some(rest),
            None if rest.is_empty() => {}
            None => return Some(Err(quote("text after a closing quote"))),
        }
        Some(Ok(cell))
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let (mut cell, mut rest) = quoted.split_once('"').map(|(cell, rest)| (Cow::Borrowed(cell), rest))?;
    while let Some(doubled) = rest.strip_prefix('"') {
        let (more, after) = doubled.split_once('"')?;
        let cell = cell.to_mut();
        cell.push('"');
        cell.push_str(more);
        rest = after;
    }
    Some((cell, rest))
}

fn quote(problem: &str) -> Reason {
    Reason::Malformed {
        problem: problem.to_owned(),
        expected: "a cell such as \"1,5\" or \"say \"\"yes\"\"\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(line: &str) -> Result<Vec<String>, Reason> {
        Cells(Some(line)).map(|cell| cell.map(Cow::into_owned)).collect()
    }

    #[test]
    fn quotes_and_commas_are_kept_apart() {
        for (line, expected) in [
            ("a,b", vec!["a", "b"]),
            (",", vec!["", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"say \"\"yes\"\"\",\"\"", vec!["say \"yes\"", ""]),
            ("a\"b,c", vec!["a\"b", "c"]),
            ("\"a\",", vec!["a", ""]),
        ] {
            assert_eq!(cells(line).unwrap(), expected, "{line}");
        }
        assert!(cells("a,\"b").is_err());
        assert!(cells("\"a\"b").is_err());
        assert!(cells("\"a\"\"").is_err());
    }
}
