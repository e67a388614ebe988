//! XML as opening and closing elements with their lines: bounded in length and depth, well-formed or an error.
//!
//! On top of what quick-xml checks: one root element, nothing but space, comments and declarations around it, every
//! element closed before the end.

use std::io::{self, BufRead, Read};

use quick_xml::errors::Error as XmlError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::InputError;
use super::lines::LINE_MAX_BYTES;
use super::source::{Bytes, Origin};

/// How deep elements may be nested.
pub(super) const DEPTH_MAX: usize = 64;

/// How much of what is malformed stands in a message.
const PROBLEM_CHARS_MAX: usize = 200;

const BUFFER_BYTES: usize = 256 << 10;

/// What comes next in a document.
pub(super) enum Tag<'a> {
    /// An element begins at this depth, from 1; an empty one is followed by its [`Tag::Close`] too.
    Open(usize, BytesStart<'a>),
    /// The element of this depth ends.
    Close(usize),
    End,
}

pub(super) struct Tags<'a> {
    reader: Reader<Metered<'a>>,
    origin: Origin,
    buffer: Vec<u8>,
    /// The content of the last opening tag and how much of it is the name.
    tag: String,
    name_len: usize,
    /// The line on which the tag that was read last begins.
    line: u64,
    depth: usize,
    /// The last element was `<empty/>`, its close is still to be given.
    empty: bool,
    root_seen: bool,
}

impl<'a> Tags<'a> {
    pub(super) fn new(bytes: Bytes<'a>) -> Self {
        let mut reader = Reader::from_reader(Metered::new(bytes.reader));
        reader.config_mut().check_end_names = true;
        let origin = bytes.origin;
        let (buffer, tag) = (Vec::new(), String::new());
        Self { reader, origin, buffer, tag, name_len: 0, line: 1, depth: 0, empty: false, root_seen: false }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The next tag and the line on which it begins.
    pub(super) fn next(&mut self) -> Result<(u64, Tag<'_>), InputError> {
        if self.empty {
            self.empty = false;
            return Ok((self.line, self.close()));
        }
        loop {
            self.buffer.clear();
            let metered = self.reader.get_mut();
            metered.left = LINE_MAX_BYTES;
            self.line = metered.line;
            let line = self.line;
            let problem = match self.reader.read_event_into(&mut self.buffer) {
                Err(error) => return Err(failed(&self.origin, line, error)),
                Ok(Event::Start(_) | Event::Empty(_)) if self.depth == 0 && self.root_seen => {
                    "a second root element"
                }
                Ok(Event::Start(_) | Event::Empty(_)) if self.depth == DEPTH_MAX => {
                    return Err(InputError::XmlTooDeep { place: self.origin.place(line) });
                }
                Ok(event @ (Event::Start(_) | Event::Empty(_))) => {
                    self.empty = matches!(event, Event::Empty(_));
                    if let Event::Start(tag) | Event::Empty(tag) = event {
                        self.tag.clear();
                        self.tag.push_str(&tag);
                        self.name_len = tag.name().as_ref().len();
                    }
                    break;
                }
                Ok(Event::End(_)) => return Ok((line, self.close())),
                Ok(Event::Eof) if !self.root_seen => "the file ends without an element",
                Ok(Event::Eof) if self.depth > 0 => "the file ends inside an element",
                Ok(Event::Eof) => return Ok((line, Tag::End)),
                Ok(Event::Text(text)) if self.depth == 0 && !text.trim_ascii().is_empty() => {
                    "text outside the root element"
                }
                Ok(Event::CData(_) | Event::GeneralRef(_)) if self.depth == 0 => {
                    "text outside the root element"
                }
                Ok(_) => continue,
            };
            return Err(malformed(&self.origin, line, problem));
        }
        self.root_seen = true;
        self.depth += 1;
        Ok((self.line, Tag::Open(self.depth, BytesStart::from_content(self.tag.as_str(), self.name_len))))
    }

    fn close(&mut self) -> Tag<'static> {
        // quick-xml refuses an end without its start, so there is a level to leave.
        self.depth -= 1;
        Tag::Close(self.depth + 1)
    }
}

/// A reader that counts lines and refuses to go further than `left` bytes.
struct Metered<'a> {
    reader: Box<dyn Read + 'a>,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that were read and not yet consumed.
    unread: std::ops::Range<usize>,
    line: u64,
    left: usize,
}

impl<'a> Metered<'a> {
    fn new(reader: Box<dyn Read + 'a>) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { reader, buffer, unread: 0..0, line: 1, left: LINE_MAX_BYTES }
    }
}

/// The mark of an I/O error that says: further than allowed.
#[derive(Debug, thiserror::Error)]
#[error("longer than {LINE_MAX_BYTES} bytes")]
struct Overrun;

impl BufRead for Metered<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(Overrun));
        }
        if self.unread.is_empty() {
            self.unread = 0..self.reader.read(&mut self.buffer)?;
        }
        let end = self.unread.end.min(self.unread.start + self.left);
        Ok(&self.buffer[self.unread.start..end])
    }

    fn consume(&mut self, len: usize) {
        let consumed = &self.buffer[self.unread.start..self.unread.start + len];
        self.line += consumed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.unread.start += len;
        self.left -= len;
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let len = available.read(out)?;
        self.consume(len);
        Ok(len)
    }
}

fn failed(origin: &Origin, line: u64, error: XmlError) -> InputError {
    match error {
        XmlError::Io(source) if source.get_ref().is_some_and(|inner| inner.is::<Overrun>()) => {
            InputError::XmlTooLong { place: origin.place(line) }
        }
        // The error is shared, so it cannot be moved out; its kind and text can be kept.
        XmlError::Io(source) => origin.failed(line, io::Error::new(source.kind(), source.to_string())),
        XmlError::Syntax(error) => malformed(origin, line, &error.to_string()),
        XmlError::IllFormed(error) => malformed(origin, line, &error.to_string()),
        error => malformed(origin, line, &error.to_string()),
    }
}

pub(super) fn malformed(origin: &Origin, line: u64, problem: &str) -> InputError {
    // It quotes names, which may be as long as a tag.
    let problem = problem.chars().take(PROBLEM_CHARS_MAX).collect();
    InputError::Xml { place: origin.place(line), problem }
}
