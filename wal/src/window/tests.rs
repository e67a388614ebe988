//! Reading ahead gives what reading gives, and says no more and no sooner.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::storage::Handle;

/// A file whose every block says where it is, and which cannot be read from `broken` on.
struct Numbered {
    blocks: u64,
    broken: Mutex<u64>,
    reads: AtomicUsize,
}

fn file(blocks: u64) -> Arc<Numbered> {
    Arc::new(Numbered { blocks, broken: Mutex::new(u64::MAX), reads: AtomicUsize::new(0) })
}

impl File for Numbered {
    fn len(&self) -> io::Result<u64> {
        Ok(self.blocks * BLOCK as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        assert!(buf.as_ptr().addr().is_multiple_of(BLOCK) && buf.len().is_multiple_of(BLOCK));
        assert!(offset.is_multiple_of(BLOCK as u64));
        let len = (self.len()?.saturating_sub(offset) as usize).min(buf.len());
        if offset + len as u64 > *self.broken.lock().unwrap() {
            return Err(io::Error::from_raw_os_error(5));
        }
        for (block, bytes) in buf[..len].chunks_mut(BLOCK).enumerate() {
            bytes.fill(0);
            bytes[..8].copy_from_slice(&(offset / BLOCK as u64 + block as u64).to_le_bytes());
        }
        Ok(len)
    }

    fn write_at(&self, _: &[u8], _: u64, _: bool) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn handle(&self) -> Handle<'_> {
        Handle::Number(0)
    }
}

fn check(bytes: &[u8], offset: u64) {
    for (block, bytes) in bytes.chunks(BLOCK).enumerate() {
        let found = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(found, offset / BLOCK as u64 + block as u64);
    }
}

const PACES: [Pace; 4] = [Pace::CALLER, Pace::SPARSE, Pace::Ahead, Pace::Streaming];

#[test]
#[cfg_attr(miri, ignore = "millions of bytes")]
fn whatever_the_pace_every_byte_comes_once_and_in_its_place() {
    for pace in PACES {
        // Lengths around the head and around a piece, and a file that ends within one.
        for step in [1, 3, 17, 63, 64, 65, 200, 256, 300, 700] {
            let file = file(5_003);
            let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, pace);
            let (mut offset, step) = (0, step * BLOCK);
            while offset < file.len().unwrap() {
                // As a scan does: the header first, then the whole.
                check(window.at(offset, BLOCK).unwrap(), offset);
                let bytes = window.at(offset, step).unwrap();
                assert_eq!(bytes.len() as u64, (file.len().unwrap() - offset).min(step as u64));
                check(bytes, offset);
                offset += bytes.len() as u64;
            }
            assert!(window.at(offset, BLOCK).unwrap().is_empty());
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "millions of bytes")]
fn who_jumps_gets_what_is_there_and_not_what_was_read_ahead() {
    for pace in PACES {
        let file = file(4_096);
        let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, pace);
        let piece = PIECE / BLOCK;
        // On, far on, back a little, back far, on again, and each time from within what is read ahead.
        for block in
            [0, piece, 5 * piece, 6 * piece, 6 * piece - 1, 7 * piece - 1, piece / 2, piece, 3 * piece]
        {
            let offset = (block * BLOCK) as u64;
            for want in [BLOCK, 3 * BLOCK] {
                let bytes = window.at(offset, want).unwrap();
                assert_eq!(bytes.len(), want);
                check(bytes, offset);
            }
        }
    }
}

#[test]
fn an_error_ahead_is_said_where_it_is_and_not_before() {
    let step = 16 * BLOCK;
    let within = |steps: usize| (8 * PIECE + steps * step) as u64;
    for (pace, offset) in PACES.into_iter().flat_map(|pace| [0, 1, 5].map(|steps| (pace, within(steps)))) {
        let file = file(4_096);
        *file.broken.lock().unwrap() = offset;
        let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, pace);
        for offset in (0..offset).step_by(step) {
            check(window.at(offset, step).unwrap(), offset);
        }
        assert_eq!(window.at(offset, BLOCK).unwrap_err().raw_os_error(), Some(5));
        assert_eq!(window.at(offset, BLOCK).unwrap_err().raw_os_error(), Some(5));
        *file.broken.lock().unwrap() = u64::MAX;
        check(window.at(offset, step).unwrap(), offset);
    }
}

#[test]
fn a_thread_begins_with_the_second_piece_and_ends_with_the_window() {
    for (pace, early) in [(Pace::Ahead, false), (Pace::Streaming, true)] {
        let file = file(100_000);
        let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, pace);
        window.at(0, BLOCK).unwrap();
        assert_eq!(window.is_ahead(), early);
        window.at(PIECE as u64, BLOCK).unwrap();
        assert!(window.is_ahead());
        assert!(Arc::strong_count(&file) > 2, "the thread has the file");
        window.forget();
        assert_eq!(Arc::strong_count(&file), 2, "the window has it, and the test");
        window.at(PIECE as u64, BLOCK).unwrap();
        assert!(!window.is_ahead(), "what is looked at again is the end of something");
        window.at(3 * PIECE as u64, BLOCK).unwrap();
        assert!(!window.is_ahead(), "and so is the first piece behind it");
        drop(window);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}

#[test]
fn no_more_is_read_ahead_than_there_are_buffers() {
    let file = file(100_000);
    let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, Pace::Streaming);
    for piece in 0..50 {
        window.at(piece * PIECE as u64, BLOCK).unwrap();
        let reads = file.reads.load(Ordering::Relaxed);
        assert!(reads <= piece as usize + 1 + AHEAD, "{reads} reads at piece {piece}");
    }
}

#[test]
fn where_there_may_be_nothing_a_little_is_read_and_once() {
    for (pace, again) in PACES.into_iter().flat_map(|pace| [false, true].map(|again| (pace, again))) {
        if pace != Pace::SPARSE && !again {
            continue;
        }
        let file = file(100_000);
        let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, pace);
        if again {
            window.forget();
        }
        for offset in (0..LOOK).step_by(BLOCK) {
            window.at(offset as u64, BLOCK).unwrap();
        }
        assert_eq!(file.reads.load(Ordering::Relaxed), 1, "{pace:?}");
        assert!(window.buf.len() < 2 * HEAD, "{} bytes for a look", window.buf.len());
    }
}

#[test]
fn a_storage_without_threads_is_read_by_who_asks() {
    let file = file(4_096);
    let pace = Pace::on(&crate::storage::Memory::new(), true);
    let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>, pace);
    for piece in 0..16 {
        window.at(piece * PIECE as u64, BLOCK).unwrap();
        assert_eq!(file.reads.load(Ordering::Relaxed), piece as usize + 1);
        assert!(!window.is_ahead());
    }
}
