//! The promises of the storage seam, run against every implementation of it.

#[path = "common/log.rs"]
mod common;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::temp;
use downbeat_record::{AlignedBuf, BLOCK};
use downbeat_wal::storage::disk::{Disk, DiskQueue};
use downbeat_wal::storage::{Access, Completion, EntryKind, Flush, Memory, Queue, Source, Storage, Write};

fn on_every_storage(test: impl Fn(&dyn Storage)) {
    for queue in [DiskQueue::Uring, DiskQueue::Blocking] {
        let dir = temp();
        test(&Disk::open(dir.path(), false, queue).unwrap());
    }
    test(&Memory::new());
}

fn block(byte: u8, blocks: usize) -> AlignedBuf {
    let mut block = AlignedBuf::zeroed(blocks * BLOCK);
    block.fill(byte);
    block
}

/// Drives a queue until `count` operations have ended; says how, by ticket.
fn settle(queue: &mut dyn Queue, count: usize) -> BTreeMap<u64, io::Result<usize>> {
    let mut done = Vec::new();
    while done.len() < count {
        queue.submit().unwrap();
        queue.reap(&mut done).unwrap();
        if done.len() < count {
            queue.wait(Some(Duration::from_secs(10))).unwrap();
        }
    }
    assert_eq!(done.len(), count);
    done.into_iter().map(|Completion { ticket, result }| (ticket, result)).collect()
}

#[test]
fn what_is_written_is_read_back_and_the_end_of_a_file_is_no_error() {
    on_every_storage(|storage| {
        let file = storage.open("a", Access::Create).unwrap();
        assert!(file.is_empty().unwrap());
        file.allocate(4 * BLOCK as u64).unwrap();
        assert!(!file.is_empty().unwrap());
        assert_eq!(file.len().unwrap(), 4 * BLOCK as u64);
        assert_eq!(file.write_at(&block(7, 2), BLOCK as u64, true).unwrap(), 2 * BLOCK);
        file.sync_data().unwrap();
        let mut read = block(9, 8);
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 4 * BLOCK);
        let expected = [vec![0; BLOCK], vec![7; 2 * BLOCK], vec![0; BLOCK]].concat();
        assert!(read[..4 * BLOCK] == expected[..]);
        assert_eq!(file.read_at(&mut read, 4 * BLOCK as u64).unwrap(), 0);
    });
}

#[test]
fn names_are_created_once_listed_in_order_renamed_and_removed() {
    on_every_storage(|storage| {
        for name in ["b", "a"] {
            storage.open(name, Access::Create).unwrap();
        }
        let kind = |result: io::Result<Arc<dyn downbeat_wal::storage::File>>| result.err().map(|e| e.kind());
        assert_eq!(kind(storage.open("a", Access::Create)), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(storage.open("c", Access::Write)), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(storage.open("c", Access::Read)), Some(io::ErrorKind::NotFound));
        storage.rename("a", "c").unwrap();
        storage.sync_dir().unwrap();
        let entries = storage.list().unwrap();
        assert!(entries.iter().all(|entry| entry.kind == EntryKind::File));
        assert_eq!(entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        storage.remove("b").unwrap();
        assert_eq!(storage.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_is_held_by_one_and_ends_with_its_holder() {
    on_every_storage(|storage| {
        let lock = storage.lock("LOCK").unwrap();
        assert_eq!(storage.lock("LOCK").err().unwrap().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(storage.holder("LOCK"), Some(std::process::id()));
        drop(lock);
        storage.lock("LOCK").unwrap();
    });
}

#[test]
fn a_queue_ends_every_operation_once() {
    on_every_storage(|storage| {
        let file = storage.open("a", Access::Create).unwrap();
        file.allocate(64 * BLOCK as u64).unwrap();
        let (mut queue, _) = storage.queue(8).unwrap();
        for round in 0..20u64 {
            for ticket in 0..8 {
                queue.write(Write {
                    ticket,
                    file: Arc::clone(&file),
                    source: Source::Block(Arc::new(block((round + ticket) as u8, 1))),
                    skip: 0,
                    offset: ticket * BLOCK as u64,
                    dsync: ticket == 0,
                });
            }
            for (ticket, result) in settle(&mut *queue, 8) {
                assert_eq!(result.unwrap(), BLOCK, "ticket {ticket}");
            }
            queue.sync(Flush { ticket: 99, file: Arc::clone(&file) });
            assert!(settle(&mut *queue, 1)[&99].is_ok());
            let mut read = block(0, 8);
            file.read_at(&mut read, 0).unwrap();
            assert!((0..8).all(|at| read[at * BLOCK] == (round as usize + at) as u8));
        }
    });
}

#[test]
fn what_the_system_refuses_is_an_error_of_that_operation_and_of_no_other() {
    for queue in [DiskQueue::Uring, DiskQueue::Blocking] {
        let dir = temp();
        let disk = Disk::open(dir.path(), false, queue).unwrap();
        let file = disk.open("a", Access::Create).unwrap();
        file.allocate(BLOCK as u64).unwrap();
        let read_only = disk.open("a", Access::Read).unwrap();
        let (mut queue, _) = disk.queue(8).unwrap();
        for (ticket, file) in [(1, read_only), (2, file)] {
            let source = Source::Block(Arc::new(block(1, 1)));
            queue.write(Write { ticket, file, source, skip: 0, offset: 0, dsync: true });
        }
        let mut ended = settle(&mut *queue, 2);
        const EBADF: i32 = 9;
        assert_eq!(ended.remove(&1).unwrap().unwrap_err().raw_os_error(), Some(EBADF));
        assert_eq!(ended.remove(&2).unwrap().unwrap(), BLOCK);
    }
}

#[test]
fn a_write_that_skips_leaves_what_is_before_it() {
    on_every_storage(|storage| {
        let file = storage.open("a", Access::Create).unwrap();
        file.allocate(4 * BLOCK as u64).unwrap();
        let (mut queue, _) = storage.queue(8).unwrap();
        let source = Source::Block(Arc::new(block(5, 3)));
        queue.write(Write {
            ticket: 1,
            file: Arc::clone(&file),
            source,
            skip: BLOCK,
            offset: 0,
            dsync: false,
        });
        assert_eq!(settle(&mut *queue, 1).remove(&1).unwrap().unwrap(), 2 * BLOCK);
        let mut read = block(9, 3);
        file.read_at(&mut read, 0).unwrap();
        assert!(read[..BLOCK].iter().all(|byte| *byte == 0) && read[BLOCK..].iter().all(|byte| *byte == 5));
    });
}

#[test]
fn a_queue_that_is_dropped_with_writes_in_flight_waits_for_them() {
    on_every_storage(|storage| {
        let file = storage.open("a", Access::Create).unwrap();
        file.allocate(64 * BLOCK as u64).unwrap();
        let (mut queue, _) = storage.queue(8).unwrap();
        let memory = Arc::new(block(3, 8));
        for ticket in 0..8 {
            let source = Source::Block(Arc::clone(&memory));
            let offset = ticket * 8 * BLOCK as u64;
            queue.write(Write { ticket, file: Arc::clone(&file), source, skip: 0, offset, dsync: false });
        }
        queue.submit().unwrap();
        drop(queue);
        assert_eq!(Arc::strong_count(&memory), 1, "what completes is given back, not leaked");
        let mut read = block(0, 64);
        file.read_at(&mut read, 0).unwrap();
        assert!(read.iter().all(|byte| *byte == 3));
    });
}

#[test]
fn more_files_than_the_queue_has_slots_can_be_in_flight() {
    on_every_storage(|storage| {
        let (mut queue, _) = storage.queue(8).unwrap();
        let open = |index: u64| {
            let file = storage.open(&format!("f{index}"), Access::Create).unwrap();
            file.allocate(BLOCK as u64).unwrap();
            file
        };
        let files: Vec<_> = (0..20).map(open).collect();
        for (ticket, file) in files.iter().enumerate() {
            let source = Source::Block(Arc::new(block(ticket as u8 + 1, 1)));
            let ticket = ticket as u64;
            queue.write(Write { ticket, file: Arc::clone(file), source, skip: 0, offset: 0, dsync: true });
        }
        assert!(settle(&mut *queue, 20).into_values().all(|result| result.unwrap() == BLOCK));
        for (index, file) in files.iter().enumerate() {
            let mut read = block(0, 1);
            file.read_at(&mut read, 0).unwrap();
            assert!(read.iter().all(|byte| *byte == index as u8 + 1));
        }
    });
}

#[test]
fn the_bell_ends_a_wait_from_another_thread_and_is_not_lost_when_rung_before() {
    on_every_storage(|storage| {
        let (mut queue, _) = storage.queue(8).unwrap();
        let bell = queue.bell();
        for _ in 0..200 {
            bell.ring();
            queue.wait(None).unwrap();
            let ringer = bell.clone();
            let thread = std::thread::spawn(move || ringer.ring());
            queue.wait(None).unwrap();
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_before() {
    const TIMEOUT: Duration = Duration::from_millis(20);
    on_every_storage(|storage| {
        let (mut queue, _) = storage.queue(8).unwrap();
        // A signal may end one.
        let waited = (0..3).map(|_| {
            let begun = Instant::now();
            queue.wait(Some(TIMEOUT)).unwrap();
            begun.elapsed()
        });
        assert!(waited.max() >= Some(TIMEOUT));
    });
}

#[test]
fn a_queue_says_what_it_writes_with() {
    let dir = temp();
    let named = |storage: &dyn Storage| storage.queue(8).unwrap().0.backend().to_string();
    assert_eq!(named(&Disk::open(dir.path(), false, DiskQueue::Uring).unwrap()), "io_uring");
    assert_eq!(named(&Disk::open(dir.path(), false, DiskQueue::Blocking).unwrap()), "pwritev2");
    assert_eq!(named(&Memory::new()), "memory");
}

#[test]
fn a_queue_may_move_to_another_thread_before_its_first_use() {
    on_every_storage(|storage| {
        let file = storage.open("a", Access::Create).unwrap();
        file.allocate(BLOCK as u64).unwrap();
        let (mut queue, _) = storage.queue(8).unwrap();
        let thread = std::thread::spawn(move || {
            let source = Source::Block(Arc::new(block(1, 1)));
            queue.write(Write { ticket: 1, file, source, skip: 0, offset: 0, dsync: true });
            assert!(settle(&mut *queue, 1).remove(&1).unwrap().is_ok());
        });
        thread.join().unwrap();
    });
}
