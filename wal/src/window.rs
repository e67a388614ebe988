//! A file, read from its front to its back in large pieces, the next of them while the last is worked on.
//!
//! ```text
//!  buf  ┌────────────┬─────────────────────────────────┐      thread: reads piece after piece into spare buffers,
//!       │ head       │ piece                           │              two at most ahead of the window
//!       └──────▲─────┴─────────────────────────────────┘
//!              └ what the piece before held of a batch that ends in this one
//! ```
//!
//! The first piece is read by whoever asks for it. Only when a second one is asked for right behind it is reading
//! ahead worth a thread; a reader that follows the end of a log never gets so far. With a storage that allows no
//! threads of ours every piece is read when it is asked for, and is small: there is no disk to be kept busy.
//!
//! Invariants:
//! - memory: a window holds at most [`AHEAD`] + 1 buffers of [`HEAD`] + [`PIECE`] bytes, or one that is as long as the
//!   longest batch asked for;
//! - an error that is met while reading ahead is not reported until its place is asked for. Then it is read once more,
//!   there, so that the error is the one which a reader without a thread would see;
//! - the thread has ended when the window is dropped, or has forgotten what it held.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use downbeat_record::batch::BATCH_BYTES;
use downbeat_record::{AlignedBuf, BLOCK};

use crate::storage::{File, Storage};

/// Bytes read at once: a disk gives its full sequential rate from here on.
const PIECE: usize = 1 << 20;
/// Room in front of a piece for the beginning of a batch that ends in it: as long as batches are by default.
const HEAD: usize = BATCH_BYTES;
/// Pieces that are read, or being read, and not asked for yet.
const AHEAD: usize = 2;

/// Bytes read where there may be nothing.
const LOOK: usize = 64 << 10;

/// Part of a file, and the file behind it.
pub(crate) struct Window {
    file: Arc<dyn File>,
    buf: AlignedBuf,
    /// Where in the buffer the byte at `start` is.
    from: usize,
    start: u64,
    len: usize,
    pace: Pace,
    /// What is wanted next was asked for a moment ago and was not there.
    anew: bool,
    ahead: Option<Ahead>,
}

/// How far a window may read beyond what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// This many bytes, on the caller's thread.
    Pieces(usize),
    /// Ahead, from the second piece on.
    Ahead,
    /// Ahead from the first piece on: who asks is in the middle of a log.
    Streaming,
}

impl Pace {
    /// Whole pieces on the caller's thread.
    const CALLER: Self = Self::Pieces(PIECE);
    /// For who wants a block here and there.
    pub(crate) const SPARSE: Self = Self::Pieces(LOOK);

    /// For a storage; `streaming` when what is read now is not the first of much.
    pub(crate) fn on(storage: &dyn Storage, streaming: bool) -> Self {
        match (storage.single_threaded(), streaming) {
            (true, _) => Self::SPARSE,
            (false, false) => Self::Ahead,
            (false, true) => Self::Streaming,
        }
    }

    /// Room in front of a piece; only what is read ahead needs it.
    fn head(self) -> usize {
        match self {
            Self::Pieces(_) => 0,
            Self::Ahead | Self::Streaming => HEAD,
        }
    }

    fn piece(self) -> usize {
        match self {
            Self::Pieces(bytes) => bytes,
            Self::Ahead | Self::Streaming => PIECE,
        }
    }
}

impl Window {
    pub(crate) fn new(file: Arc<dyn File>, pace: Pace) -> Self {
        Self {
            file,
            buf: AlignedBuf::zeroed(BLOCK),
            from: 0,
            start: 0,
            len: 0,
            pace,
            anew: false,
            ahead: None,
        }
    }

    /// The bytes from `offset`, a multiple of a block, on: `want` of them, or fewer where the file ends.
    pub(crate) fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        if !self.holds(offset, want) && !self.advance(offset, want) {
            self.read(offset, want)?;
        }
        let from = self.from + (offset - self.start) as usize;
        let to = (self.from + self.len).min(from + want);
        Ok(&self.buf[from.min(to)..to])
    }

    /// Forgets what was read, so that what another process has written since is seen.
    pub(crate) fn forget(&mut self) {
        self.len = 0;
        self.anew = true;
        self.ahead = None;
        if self.pace == Pace::Streaming {
            self.pace = Pace::Ahead;
        }
    }

    /// True while pieces are read ahead.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    fn holds(&self, offset: u64, want: usize) -> bool {
        offset >= self.start && offset + want as u64 <= self.end()
    }

    fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// Goes on to the next piece, if that is what is asked for and it is there.
    fn advance(&mut self, offset: u64, want: usize) -> bool {
        let in_sequence = offset >= self.start && offset <= self.end();
        let tail = self.end().saturating_sub(offset) as usize;
        if self.ahead.is_none() && in_sequence && self.len >= PIECE {
            self.begin();
        }
        let Some(ahead) = self.ahead.as_mut().filter(|_| in_sequence && tail <= HEAD && want <= tail + PIECE)
        else {
            return false;
        };
        let Some(Piece { mut buf, len }) = ahead.next() else { return false };
        let from = self.from + self.len - tail;
        buf[HEAD - tail..HEAD].copy_from_slice(&self.buf[from..from + tail]);
        let used = std::mem::replace(&mut self.buf, buf);
        ahead.give_back(used);
        (self.from, self.start, self.len) = (HEAD - tail, offset, tail + len);
        self.holds(offset, want)
    }

    /// Reads a piece where it is asked for.
    fn read(&mut self, offset: u64, want: usize) -> io::Result<()> {
        self.ahead = None;
        let piece = if std::mem::take(&mut self.anew) { LOOK } else { self.pace.piece() };
        // Room for more than there is would only be zeroed, which is most of what reading a small log costs.
        let left = self.file.len()?.saturating_sub(offset).max(1);
        let need = (want.max(piece) as u64).min(left).next_multiple_of(BLOCK as u64) as usize;
        let head = self.pace.head();
        if self.buf.len() < head + need {
            self.buf = AlignedBuf::zeroed(head + need);
        }
        (self.from, self.start, self.len) = (head, offset, 0);
        let least = want.next_multiple_of(BLOCK).min(need);
        self.len = match self.file.read_at(&mut self.buf[head..head + need], offset) {
            // What cannot be read may lie behind what is wanted.
            Err(_) if least < need => self.file.read_at(&mut self.buf[head..head + least], offset)?,
            read => read?,
        };
        if self.pace == Pace::Streaming && self.len >= PIECE {
            self.begin();
        }
        Ok(())
    }

    /// Reads ahead from the end of the window on.
    fn begin(&mut self) {
        if matches!(self.pace, Pace::Pieces(_)) {
            return;
        }
        match Ahead::begin(&self.file, self.end()) {
            Ok(ahead) => self.ahead = Some(ahead),
            // Where no thread is to be had the caller reads for itself.
            Err(_) => self.pace = Pace::CALLER,
        }
    }
}

/// A piece, behind the head of its buffer.
struct Piece {
    buf: AlignedBuf,
    len: usize,
}

/// The thread that reads ahead. It ends at the end of the file, after an error, and when nobody wants more.
struct Ahead {
    /// In a mutex that nobody ever locks: a receiver alone would keep a reader from being shared.
    pieces: Mutex<Option<Receiver<Piece>>>,
    spare: Option<SyncSender<AlignedBuf>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    fn begin(file: &Arc<dyn File>, offset: u64) -> io::Result<Self> {
        let (read, pieces) = sync_channel(AHEAD);
        let (spare, spares) = sync_channel(AHEAD + 1);
        for _ in 0..AHEAD {
            // The other end is in this function.
            let _ = spare.try_send(AlignedBuf::zeroed(HEAD + PIECE));
        }
        let file = Arc::clone(file);
        let thread = Builder::new()
            .name("downbeat-read".into())
            .spawn(move || read_ahead(&*file, offset, &spares, &read))?;
        Ok(Self { pieces: Mutex::new(Some(pieces)), spare: Some(spare), thread: Some(thread) })
    }

    /// The next piece; `None` at the end of the file, and where it could not be read.
    fn next(&mut self) -> Option<Piece> {
        let pieces = self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner);
        pieces.as_ref()?.recv().ok()
    }

    fn give_back(&mut self, buf: AlignedBuf) {
        // A longer one was for a longer batch, a shorter one has never been used.
        if buf.len() == HEAD + PIECE
            && let Some(spare) = &self.spare
        {
            // The thread may have reached the end.
            let _ = spare.try_send(buf);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Without the other ends the thread stops behind the read it is in.
        self.spare = None;
        *self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_ahead(file: &dyn File, mut offset: u64, spares: &Receiver<AlignedBuf>, read: &SyncSender<Piece>) {
    while let Ok(mut buf) = spares.recv() {
        // An error is met again by whoever gets there.
        let Ok(len @ 1..) = file.read_at(&mut buf[HEAD..], offset) else { return };
        offset += len as u64;
        if read.send(Piece { buf, len }).is_err() || len < PIECE {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
