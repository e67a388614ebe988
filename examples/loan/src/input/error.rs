//! What can be wrong with an input, each on one line: the place, what was found, what was expected.

use std::fmt;
use std::io;

use super::collect::DEAD_LETTERS_MAX;
use super::lines::LINE_MAX_BYTES;
use super::tags::DEPTH_MAX;

/// The most characters of a found text that a message repeats.
const SHOWN_MAX_CHARS: usize = 60;

/// Where in an input something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the caller named it, or `stdin`.
    pub file: String,
    /// The line, from 1, after gunzipping.
    pub line: u64,
    /// The case it belongs to, where the format puts events into cases and the case is known.
    pub case: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", OneLine(&self.file), self.line)?;
        match &self.case {
            Some(case) => write!(f, ": case {}", Short(case)),
            None => Ok(()),
        }
    }
}

/// One event that could not be read; the file goes on after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct BadInput {
    /// Where it is.
    pub place: Place,
    /// What is wrong with it.
    pub reason: Reason,
    /// The beginning of its text, at most 512 bytes, what is not UTF-8 replaced.
    pub raw: String,
}

/// Why an event could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The activity is not one of the log's.
    #[error("unknown activity {}, expected one of the log's 24, such as \"A_SUBMITTED\"", Quoted(.0))]
    UnknownActivity(String),
    /// The transition is not one of the log's.
    #[error("unknown transition {}, expected SCHEDULE, START or COMPLETE", Quoted(.0))]
    UnknownTransition(String),
    /// A field that every event has is absent or empty.
    #[error("field {field} is missing, expected {expected}")]
    Missing {
        /// The field, as the format names it.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// A field holds something of another type.
    #[error("field {field} is {}, expected {expected}", Short(.found))]
    WrongType {
        /// The field, as the format names it.
        field: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A time that is none.
    #[error("field {field} is {}: {problem}, expected a time such as 2011-10-01T00:38:44.546+02:00", Quoted(.found))]
    Timestamp {
        /// The field, as the format names it.
        field: &'static str,
        /// What is there.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A field that the format does not have, refused so that a typo is not read as "absent".
    #[error("unknown field {}, expected case, activity, transition, time, resource or amount", Quoted(.0))]
    UnknownField(String),
    /// A field that is there twice.
    #[error("field {0} is there twice, expected once")]
    Twice(&'static str),
    /// A line that is not what the format says.
    #[error("malformed line: {}, expected {expected}", OneLine(.problem))]
    Malformed {
        /// What is wrong with it.
        problem: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A line that is too long to be an event.
    #[error("the line is longer than {LINE_MAX_BYTES} bytes, expected one event")]
    TooLong,
    /// A line that is not UTF-8.
    #[error("not UTF-8 at byte {valid_up_to} of the line, expected UTF-8 text")]
    NotUtf8 {
        /// How many bytes of the line are good.
        valid_up_to: usize,
    },
    /// An XES event of no case.
    #[error("an <event> outside a <trace>, expected it inside")]
    NoTrace,
}

/// Why an input could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// There is no such file.
    #[error("{}: no such file", OneLine(.file))]
    NotFound {
        /// The file as the caller named it.
        file: String,
    },
    /// The file may not be read.
    #[error("{}: permission denied, expected a file that this user may read", OneLine(.file))]
    PermissionDenied {
        /// The file as the caller named it.
        file: String,
    },
    /// It is a directory.
    #[error("{}: is a directory, expected a file", OneLine(.file))]
    Directory {
        /// The directory as the caller named it.
        file: String,
    },
    /// Opening it failed for another reason.
    #[error("{}: cannot be opened: {source}", OneLine(.file))]
    NotOpened {
        /// The file as the caller named it.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{}: empty, expected XES, JSONL or CSV", OneLine(.file))]
    Empty {
        /// The file as the caller named it.
        file: String,
    },
    /// Neither its name nor its first bytes tell the format.
    #[error("{}:1: unknown format, begins with {}, expected XES, JSONL or CSV, plain or gzip", OneLine(.file), Quoted(.found))]
    UnknownFormat {
        /// The file as the caller named it.
        file: String,
        /// Its beginning.
        found: String,
    },
    /// The gzip stream ends before its end.
    #[error("{place}: the gzip stream is cut off, expected more after this line: fetch the file again")]
    GzipTruncated {
        /// The line that was being read.
        place: Place,
    },
    /// The gzip stream is damaged.
    #[error("{place}: the gzip stream is damaged: {source}, expected a valid one: fetch the file again")]
    GzipCorrupt {
        /// The line that was being read.
        place: Place,
        /// What the decoder said.
        source: io::Error,
    },
    /// Reading failed.
    #[error("{place}: cannot be read: {source}")]
    Read {
        /// The line that was being read.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// Not well-formed XML, or not XES.
    #[error("{place}: malformed XML: {}, expected a well-formed XES document", OneLine(.problem))]
    Xml {
        /// The tag or text that is wrong.
        place: Place,
        /// What is wrong with it.
        problem: String,
    },
    /// A tag or text too long to be part of an event.
    #[error("{place}: an XML tag or text is longer than {LINE_MAX_BYTES} bytes, expected a shorter one")]
    XmlTooLong {
        /// Where it begins.
        place: Place,
    },
    /// Elements in elements in elements.
    #[error("{place}: XML elements are nested deeper than {DEPTH_MAX}, expected at most that")]
    XmlTooDeep {
        /// The element that is one too deep.
        place: Place,
    },
    /// The header row of a CSV file: without it no row can be read.
    #[error("CSV header: {0}")]
    CsvHeader(Box<BadInput>),
    /// The first bad input, under [`OnBadInput::Stop`](super::OnBadInput::Stop).
    #[error(transparent)]
    Bad(Box<BadInput>),
    /// More bad inputs than are kept.
    #[error(
        "{place}: the bad input after {DEAD_LETTERS_MAX} others, more are not kept: skip them, or see whether this is a loan log"
    )]
    TooManyDeadLetters {
        /// The first one not kept.
        place: Place,
    },
}

/// A text with its line breaks and control characters escaped.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, usize::MAX)
    }
}

/// The beginning of a text, on one line.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, SHOWN_MAX_CHARS)
    }
}

/// The beginning of a text, on one line, in quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Short(self.0))
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, max_chars: usize) -> fmt::Result {
    use fmt::Write;
    let mut chars = text.chars();
    for c in chars.by_ref().take(max_chars) {
        // U+2028 and U+2029 end a line too, for many readers of a message.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
}
