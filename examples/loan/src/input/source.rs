//! Where bytes come from: a file or stdin, gunzipped and with the format known.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::error::{InputError, Place};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
/// How many bytes are looked at to tell the format.
const HEAD_BYTES: u64 = 4096;

/// Where to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The standard input, written `-`.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Source {
    /// `-` is stdin, anything else a file (`./-` for a file of that name).
    fn from(path: &P) -> Self {
        match path.as_ref() {
            path if path == Path::new("-") => Self::Stdin,
            path => Self::File(path.to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("stdin"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// How events are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// XML, the IEEE 1849 standard for event logs.
    Xes,
    /// A JSON object on each line.
    Jsonl,
    /// Comma-separated values under a header.
    Csv,
}

impl Format {
    /// The format that a file's name tells, after any `.gz`.
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "xes" | "xml" => Some(Self::Xes),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The format that the first bytes tell: a `<`, a `{`, or a first line that names a `case` between commas.
    fn of_head(head: &[u8]) -> Option<Self> {
        match head.trim_ascii_start() {
            [b'<', ..] => Some(Self::Xes),
            [b'{', ..] => Some(Self::Jsonl),
            text => {
                let header = text.split(|byte| *byte == b'\n').next()?;
                let names_case = |cell: &[u8]| matches!(cell.trim_ascii(), b"case" | b"\"case\"");
                (header.contains(&b',') && header.split(|byte| *byte == b',').any(names_case))
                    .then_some(Self::Csv)
            }
        }
    }
}

/// Opens a file, and refuses what is none.
pub(super) fn open(path: &Path) -> Result<File, InputError> {
    match File::open(path).and_then(|opened| Ok((opened.metadata()?.is_dir(), opened))) {
        Ok((true, _)) => Err(InputError::Directory { file: path.display().to_string() }),
        Ok((false, opened)) => Ok(opened),
        Err(source) => Err(not_opened(path, source)),
    }
}

fn not_opened(path: &Path, source: io::Error) -> InputError {
    let file = path.display().to_string();
    match source.kind() {
        ErrorKind::NotFound => InputError::NotFound { file },
        ErrorKind::PermissionDenied => InputError::PermissionDenied { file },
        ErrorKind::IsADirectory => InputError::Directory { file },
        _ => InputError::NotOpened { file, source },
    }
}

/// The bytes of an input: gunzipped, without byte order mark, never none.
pub(super) struct Bytes<'a> {
    pub(super) reader: Box<dyn Read + 'a>,
    pub(super) origin: Origin,
}

/// What errors need to know about where bytes come from.
pub(super) struct Origin {
    file: String,
    gzip: bool,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(
        reader: impl Read + 'a,
        name: &str,
        format: Option<Format>,
    ) -> Result<(Self, Format), InputError> {
        let mut origin = Origin { file: name.to_owned(), gzip: false };
        let (head, rest) = split_head(reader, &origin)?;
        origin.gzip = head.starts_with(&GZIP_MAGIC);
        let plain: Box<dyn Read + 'a> = Box::new(Cursor::new(head).chain(rest));
        let plain = if origin.gzip { Box::new(MultiGzDecoder::new(plain)) } else { plain };

        let (mut head, rest) = split_head(plain, &origin)?;
        if head.starts_with(UTF8_BOM) {
            head.drain(..UTF8_BOM.len());
        }
        if head.trim_ascii().is_empty() && (head.len() as u64) < HEAD_BYTES - UTF8_BOM.len() as u64 {
            return Err(InputError::Empty { file: origin.file });
        }
        let Some(format) = format.or_else(|| Format::of_head(&head)) else {
            let found = String::from_utf8_lossy(&head).into_owned();
            return Err(InputError::UnknownFormat { file: origin.file, found });
        };
        Ok((Self { reader: Box::new(Cursor::new(head).chain(rest)), origin }, format))
    }
}

impl Origin {
    pub(super) fn place(&self, line: u64) -> Place {
        Place { file: self.file.clone(), line, case: None }
    }

    /// What a failed read at a line means: with gzip the decoder's complaints are about the file.
    pub(super) fn failed(&self, line: u64, source: io::Error) -> InputError {
        let place = self.place(line);
        match source.kind() {
            ErrorKind::UnexpectedEof if self.gzip => InputError::GzipTruncated { place },
            ErrorKind::InvalidInput | ErrorKind::InvalidData if self.gzip => {
                InputError::GzipCorrupt { place, source }
            }
            ErrorKind::IsADirectory => InputError::Directory { file: place.file },
            _ => InputError::Read { place, source },
        }
    }
}

fn split_head<R: Read>(mut reader: R, origin: &Origin) -> Result<(Vec<u8>, R), InputError> {
    let mut head = Vec::new();
    let read = reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head);
    read.map_err(|source| origin.failed(1, source))?;
    Ok((head, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format_also_under_gzip() {
        for (name, format) in [
            ("a.xes", Some(Format::Xes)),
            ("b/a.XES.GZ", Some(Format::Xes)),
            ("a.b.jsonl.gz", Some(Format::Jsonl)),
            ("a.ndjson", Some(Format::Jsonl)),
            ("a.csv", Some(Format::Csv)),
            ("csv", None),
            ("a.gz", None),
            ("..", None),
        ] {
            assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn a_dash_is_stdin_and_nothing_else_is() {
        assert_eq!(Source::from("-"), Source::Stdin);
        assert_eq!(Source::from("./-"), Source::File("./-".into()));
    }

    #[test]
    fn a_file_that_cannot_be_opened_says_why() {
        let message = |kind| not_opened(Path::new("a.csv"), io::Error::from(kind)).to_string();
        assert_eq!(
            message(ErrorKind::PermissionDenied),
            "a.csv: permission denied, expected a file that this user may read"
        );
        assert_eq!(message(ErrorKind::NotADirectory), "a.csv: cannot be opened: not a directory");
    }

    #[test]
    fn the_first_bytes_tell_the_format() {
        for (head, format) in [
            ("\n <?xml", Some(Format::Xes)),
            ("\r\n{\"case\"", Some(Format::Jsonl)),
            ("time,case\n1,2", Some(Format::Csv)),
            ("time, \"case\" ,x\r\n", Some(Format::Csv)),
            ("case\n", None),
            ("hello, world", None),
        ] {
            assert_eq!(Format::of_head(head.as_bytes()), format, "{head}");
        }
    }
}
