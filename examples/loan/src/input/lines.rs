//! Lines of a text, numbered from 1 and bounded in length, for the formats of one event a line.

use std::io::{BufRead, BufReader, Read};

use super::collect::Collector;
use super::error::{BadInput, InputError, Reason};
use super::source::{Bytes, Origin};

/// The longest line, and the longest XML tag or text, in bytes.
pub(super) const LINE_MAX_BYTES: usize = 1 << 20;
/// How much of a bad input is kept.
const RAW_MAX_BYTES: usize = 512;
const BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Lines<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    origin: Origin,
    buffer: Vec<u8>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: Bytes<'a>) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, bytes.reader);
        Self { reader, origin: bytes.origin, buffer: Vec::new(), number: 0 }
    }

    /// The next line that is not blank, without its end, or why it cannot be one; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Result<&str, Reason>>, InputError> {
        loop {
            if !self.fill()? {
                return Ok(None);
            }
            if self.buffer.len() > LINE_MAX_BYTES {
                return Ok(Some(Err(Reason::TooLong)));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let text = str::from_utf8(&self.buffer);
        Ok(Some(text.map_err(|error| Reason::NotUtf8 { valid_up_to: error.valid_up_to() })))
    }

    /// The line that [`Lines::next`] gave, as a bad input.
    pub(super) fn bad(&self, reason: Reason) -> BadInput {
        BadInput { place: self.origin.place(self.number), reason, raw: raw(&self.buffer) }
    }

    /// Gives every line to `event`, which accepts it or says why not.
    pub(super) fn for_each(
        mut self,
        collector: &mut Collector,
        mut event: impl FnMut(&str, &mut Collector) -> Result<(), Reason>,
    ) -> Result<(), InputError> {
        while let Some(line) = self.next()? {
            if let Err(reason) = line.and_then(|line| event(line, collector)) {
                collector.refuse(self.bad(reason))?;
            }
        }
        Ok(())
    }

    /// Reads a line into the buffer, of a longer one only the part that shows it; false at the end.
    fn fill(&mut self) -> Result<bool, InputError> {
        self.buffer.clear();
        self.number += 1;
        let number = self.number;
        let mut bounded = (&mut self.reader).take(LINE_MAX_BYTES as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer);
        let len = read.map_err(|source| self.origin.failed(number, source))?;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        } else if len > LINE_MAX_BYTES {
            self.reader.skip_until(b'\n').map_err(|source| self.origin.failed(number, source))?;
        }
        Ok(len > 0)
    }
}

/// The part of a bad input that is kept.
pub(super) fn raw(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(RAW_MAX_BYTES)]).into_owned()
}
