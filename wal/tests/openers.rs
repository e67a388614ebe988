//! One writer at a time, each with a higher epoch; what lies around in the directory.

#[path = "common/log.rs"]
mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use common::{append, expect_events, memory_options, on_every_backend, open, options, temp};
use downbeat_record::{BatchKind, Epoch, SegmentId, Timestamp};
use downbeat_wal::storage::Storage;
use downbeat_wal::storage::memory::{Fate, Fault, Outcome, Step};
use downbeat_wal::{BackendChoice, Log, Memory, OpenError, Options, Row, ScanError, names};

const FIRST: &str = "00000000000000000001.seg";
const SECOND: &str = "00000000000000000002.seg";

#[test]
fn a_second_opener_is_refused_and_told_who_has_the_log() {
    on_every_backend(|options| {
        let (log, _, _) = open(options).unwrap();
        match open(options) {
            Err(OpenError::Locked { path, pid }) => {
                assert!(path.ends_with("LOCK"));
                assert_eq!(pid, Some(std::process::id()));
            }
            other => panic!("{:?}", other.map(|(_, recovered, _)| recovered)),
        }
        drop(log);
        open(options).unwrap();
    });
}

#[test]
fn the_epoch_rises_at_every_open_even_when_nothing_is_written() {
    on_every_backend(|options| {
        for epoch in 1..6 {
            let (log, recovered, _) = open(options).unwrap();
            assert_eq!(recovered.epoch, Epoch(epoch));
            if epoch % 2 == 0 {
                log.close(Timestamp(1)).unwrap();
            }
        }
    });
}

/// Found by reading: what the first opening had removed was missed by the second, which refused the log from then on.
#[test]
fn an_opening_that_ends_while_it_removes_what_it_cut_is_done_again() {
    let memory = Memory::new();
    let options = Options { segment_bytes: 64 << 10, depth: 64, ..memory_options(&memory) };
    let (mut log, _, _) = open(&options).unwrap();
    append(&mut log, 1, 64);
    log.drain().unwrap();
    memory.hold(true);
    for _ in 0..40 {
        append(&mut log, 20, 600);
    }
    log.poll().unwrap();
    drop(log);
    memory.hold(false);
    // The batch behind the one that was acknowledged never reached the platter; those in later segments did.
    let mut first = true;
    memory.power_cut(|_| if std::mem::take(&mut first) { Fate::Lost } else { Fate::Kept });

    memory.fail(Fault { step: Step::Remove, after: 0, times: 1, outcome: Outcome::Errno(5) });
    assert!(matches!(open(&options), Err(OpenError::Scan(ScanError::Io { action: "remove", .. }))));
    // A power cut may keep any of the removals.
    memory.remove(SECOND).unwrap();
    let (_, recovered, kept) = open(&options).unwrap();
    assert_eq!((recovered.row, kept.events.len()), (Row::F, 1));
}

#[test]
fn an_idle_reopen_uses_no_segment() {
    on_every_backend(|options| {
        let (mut log, _, _) = open(options).unwrap();
        append(&mut log, 1, 8);
        log.close(Timestamp(100)).unwrap();
        for _ in 0..5 {
            let (log, recovered, _) = open(options).unwrap();
            assert_eq!(recovered.batches, 2, "the event and the heartbeat of the close");
            log.close(Timestamp(200)).unwrap();
        }
        let (mut log, _, _) = open(options).unwrap();
        append(&mut log, 1, 8);
        log.drain().unwrap();
        drop(log);
        let (_, recovered, kept) = open(options).unwrap();
        expect_events(&kept, 2, 8);
        assert_eq!(recovered.row, Row::D);
    });
}

#[test]
fn prepared_segments_of_an_earlier_open_do_not_pile_up() {
    let memory = Memory::new();
    for round in 0..20u64 {
        let (mut log, _, kept) = open(&memory_options(&memory)).unwrap();
        expect_events(&kept, round, 8);
        append(&mut log, 1, 8);
        log.drain().unwrap();
        // They are made anew whether the log was closed or not.
        if round % 2 == 0 {
            drop(log)
        } else {
            drop(log.close(Timestamp(1_000)))
        }
        let segments =
            memory.list().unwrap().iter().filter(|entry| entry.name.ends_with(".seg")).count() as u64;
        assert!(segments <= round + 1 + 2, "{segments} segments after {round} rounds");
    }
    // Another size of segment from here on: the prepared ones do not fit and are made anew.
    let options = Options { segment_bytes: 512 << 10, ..memory_options(&memory) };
    for round in 20..24 {
        let (mut log, _, kept) = open(&options).unwrap();
        expect_events(&kept, round, 8);
        append(&mut log, 1, 8);
        log.drain().unwrap();
    }
}

#[test]
fn a_segment_in_reserve_is_filled_at_its_pace_unless_the_writer_has_none_and_holds_up_no_close() {
    let dir = temp();
    // Sixteen seconds for a segment, but for the first: the opening makes that one ready.
    let slow =
        Options { zero_fill_bytes_per_second: 64 << 10, ..options(dir.path(), BackendChoice::Blocking) };
    let begun = Instant::now();
    let (mut log, _, _) = open(&slow).unwrap();
    while begun.elapsed() < Duration::from_millis(500) {
        log.wait(Some(Duration::from_millis(100))).unwrap();
        assert_eq!(log.spare_segments(), 1);
    }
    // It takes the one that is ready, so the next is made as fast as the disk allows.
    append(&mut log, 1, 8);
    while log.spare_segments() == 0 {
        log.wait(Some(Duration::from_secs(1))).unwrap();
    }
    log.close(Timestamp(100)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[test]
fn as_many_segments_as_asked_for_are_made_ready_each_of_its_size() {
    let dir = temp();
    let options = Options {
        segment_bytes: (1 << 20) + 4096,
        spare_segments: 3,
        ..options(dir.path(), BackendChoice::Blocking)
    };
    let (mut log, _, _) = open(&options).unwrap();
    let begun = Instant::now();
    while log.spare_segments() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} are ready", log.spare_segments());
        log.wait(Some(Duration::from_millis(100))).unwrap();
    }
    append(&mut log, 1, 8);
    log.close(Timestamp(100)).unwrap();
    for id in 1..=3 {
        let file = dir.path().join(names::segment(SegmentId(id)));
        assert_eq!(std::fs::metadata(file).unwrap().len(), options.segment_bytes);
    }
}

/// Found by the simulator: a write that a killed process had handed to the kernel can reach the file after the next
/// process has opened the log. Where that one used the segments that lay ready, the write landed on top of a batch
/// that it had acknowledged. That the log was closed in between says nothing: a device may have lost the manifest of the
/// process that was killed, and show the one before it.
#[test]
fn a_late_write_of_a_killed_process_cannot_reach_a_segment_of_the_next_one() {
    for (backend, closed) in
        [(BackendChoice::Uring, false), (BackendChoice::Blocking, false), (BackendChoice::Blocking, true)]
    {
        let dir = temp();
        let options = options(&dir.path().join("log"), backend);
        let (mut killed, _, _) = open(&options).unwrap();
        append(&mut killed, 1, 8);
        killed.drain().unwrap();
        while killed.spare_segments() == 0 {
            killed.wait(Some(std::time::Duration::from_secs(10))).unwrap();
        }
        let late = OpenOptions::new().write(true).open(options.dir.join(SECOND)).unwrap();
        if closed {
            killed.close(Timestamp(100)).unwrap();
        } else {
            drop(killed);
        }

        let (mut log, _, _) = open(&options).unwrap();
        append(&mut log, 3, 8);
        log.drain().unwrap();
        late.write_all_at(&[0xEE; 4096], 4096).unwrap();
        drop(log);
        let (_, recovered, kept) = open(&options).unwrap();
        expect_events(&kept, 4, 8);
        assert_eq!(recovered.row, Row::D);
    }
}

#[test]
fn a_kernel_that_is_not_asked_has_no_buffers() {
    let dir = temp();
    let (mut log, _, _) = open(&options(&dir.path().join("log"), BackendChoice::Blocking)).unwrap();
    assert!(!log.register(&[]));
}

#[test]
fn contracts_stand_at_the_start_of_every_segment() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    log.append_control(BatchKind::Contracts, Timestamp(1), b"old").unwrap();
    log.append_control(BatchKind::Contracts, Timestamp(1), b"newest").unwrap();
    for _ in 0..30 {
        append(&mut log, 3, 5_000);
        log.poll().unwrap();
    }
    log.drain().unwrap();
    drop(log);
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 1, 8);
    log.drain().unwrap();
    drop(log);
    let mut first_after_header = 0;
    for id in 1.. {
        let Some(bytes) = memory.bytes(&names::segment(SegmentId(id))) else { break };
        if bytes[..8] != *b"DOWNBEAT" {
            break;
        }
        let batch = downbeat_record::Batch::read(&bytes[4096..]).unwrap();
        assert_eq!(batch.kind(), BatchKind::Contracts, "segment {id}");
        assert_eq!(batch.body(), if id == 1 { &b"old"[..] } else { b"newest" });
        first_after_header += 1;
    }
    assert!(first_after_header >= 3, "{first_after_header}");
}

#[test]
fn a_log_that_is_there_is_opened_without_being_asked_to_make_one() {
    on_every_backend(|options| {
        let (mut log, ..) = open(options).unwrap();
        append(&mut log, 2, 8);
        log.close(Timestamp(100)).unwrap();
        let (log, recovered, kept) = open(&Options { create: false, ..options.clone() }).unwrap();
        assert_eq!((log.log_id(), log.epoch()), (recovered.log_id, recovered.epoch));
        assert_eq!(log.next_batch(), recovered.last_batch.next());
        expect_events(&kept, 2, 8);
    });
    open(&Options::in_memory(&Memory::new())).unwrap();
}

#[test]
fn a_close_writes_the_slot_that_is_not_the_newest() {
    let memory = Memory::new();
    let (log, ..) = open(&memory_options(&memory)).unwrap();
    let slots = || names::MANIFEST.map(|slot| memory.bytes(slot));
    let before = slots();
    log.close(Timestamp(1)).unwrap();
    let after = slots();
    assert!(before[1].is_some() && before[1] == after[1], "the newest stays until the next is whole");
    assert!(before[0] != after[0]);
}

/// A write that is interrupted or comes to a part is gone on with, wherever it is.
#[test]
fn an_opening_goes_on_with_what_was_written_in_part() {
    for outcome in [Outcome::Errno(4), Outcome::Short(512)] {
        for after in 0..8 {
            let memory = Memory::new();
            memory.fail(Fault { step: Step::Write, after, times: 1, outcome });
            for epoch in 1..4 {
                let (log, recovered, _) = open(&memory_options(&memory)).unwrap();
                assert_eq!(recovered.epoch, Epoch(epoch), "{outcome:?} at {after}");
                assert!(log.ready().is_ok());
            }
        }
    }
}

#[test]
fn no_log_is_made_unless_asked() {
    let dir = temp();
    for path in [dir.path().to_path_buf(), dir.path().join("none")] {
        let options = Options { create: false, ..options(&path, BackendChoice::Auto) };
        assert!(matches!(open(&options), Err(OpenError::NotFound { .. })));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was left behind");
}

#[test]
fn a_log_is_neither_found_nor_made_among_files_of_others() {
    let dir = temp();
    std::fs::write(dir.path().join("notes.txt"), "of somebody").unwrap();
    let options = Options { create: false, ..options(dir.path(), BackendChoice::Auto) };
    assert!(matches!(open(&options), Err(OpenError::NotFound { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn a_path_that_leads_through_a_file_is_no_log_that_is_not_there() {
    let dir = temp();
    std::fs::write(dir.path().join("file"), "no directory").unwrap();
    let options = Options { create: false, ..options(&dir.path().join("file/log"), BackendChoice::Auto) };
    match open(&options).map(drop) {
        Err(OpenError::Scan(ScanError::Io { action: "open the directory", source, .. })) => {
            assert_eq!(source.kind(), std::io::ErrorKind::NotADirectory);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_of_strangers_are_neither_read_nor_removed() {
    let dir = temp();
    let options = options(dir.path(), BackendChoice::Auto);
    let strangers = ["notes.txt", "1.seg", "00000000000000000001.seg.bak", "00000000000000000000.seg"];
    for name in strangers {
        std::fs::write(dir.path().join(name), "mine").unwrap();
    }
    std::fs::create_dir(dir.path().join("checkpoints")).unwrap();
    let (mut log, _, _) = open(&options).unwrap();
    append(&mut log, 1, 8);
    log.close(Timestamp(100)).unwrap();
    expect_events(&open(&options).unwrap().2, 1, 8);
    for name in strangers {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), "mine");
    }
}

#[test]
fn a_link_in_place_of_a_segment_is_refused() {
    let dir = temp();
    let log_dir = dir.path().join("log");
    let options = options(&log_dir, BackendChoice::Auto);
    let (mut log, _, _) = open(&options).unwrap();
    append(&mut log, 1, 8);
    log.drain().unwrap();
    drop(log);
    std::fs::rename(log_dir.join(FIRST), dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), log_dir.join(FIRST)).unwrap();
    assert!(matches!(open(&options), Err(OpenError::Scan(ScanError::NotAFile { .. }))));
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = temp();
    let log_dir = dir.path().join("a/log");
    let (mut log, _, _) = open(&options(&log_dir, BackendChoice::Auto)).unwrap();
    append(&mut log, 1, 8);
    log.drain().unwrap();
    drop(log);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&log_dir), 0o700);
    for entry in std::fs::read_dir(&log_dir).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_hundred_opens_leak_no_descriptor() {
    let dir = temp();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let own = |before: usize, after: usize| after <= before + 16;
    for backend in [BackendChoice::Uring, BackendChoice::Blocking] {
        let options = options(&dir.path().join("log"), backend);
        open(&options).unwrap();
        let before = descriptors();
        for _ in 0..100 {
            let (mut log, _, _) = open(&options).unwrap();
            if log.next_seq().0 < 4 {
                append(&mut log, 1, 8);
                log.drain().unwrap();
            }
        }
        let after = descriptors();
        assert!(own(before, after), "{before} descriptors before, {after} after (other tests hold some)");
    }
}

#[test]
fn a_log_opened_here_can_be_driven_by_another_thread() {
    on_every_backend(|options| {
        let (mut log, _, _) = open(options).unwrap();
        let thread = std::thread::spawn(move || {
            append(&mut log, 3, 100);
            log.drain().unwrap();
            log.close(Timestamp(100)).unwrap();
        });
        thread.join().unwrap();
        expect_events(&open(options).unwrap().2, 3, 100);
    });
}

#[test]
fn a_visitor_can_refuse() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 1, 8);
    log.drain().unwrap();
    drop(log);
    let refused = Log::open(&memory_options(&memory), |_| Err("not mine".into()));
    assert!(matches!(refused, Err(OpenError::Refused { .. })));
    open(&memory_options(&memory)).unwrap();
}

/// They are written again at the start of every segment, and would go over its end.
#[test]
fn a_log_with_contracts_that_no_batch_holds_is_refused_before_it_is_written_to() {
    let memory = Memory::new();
    let large = Options { segment_bytes: 1 << 20, batch_bytes: 128 << 10, ..Options::in_memory(&memory) };
    let (mut log, _, _) = open(&large).unwrap();
    log.append_control(BatchKind::Contracts, Timestamp(1), &[b'x'; 100_000]).unwrap();
    log.close(Timestamp(2)).unwrap();
    let small = Options { segment_bytes: 64 << 10, batch_bytes: 16 << 10, ..Options::in_memory(&memory) };
    match open(&small) {
        Err(OpenError::Settings { what }) => assert!(what.contains("batch_bytes"), "{what}"),
        Err(other) => panic!("{other}"),
        Ok((mut log, ..)) => {
            append(&mut log, 1, 8);
            log.drain().unwrap();
            drop(log);
            let kept = open(&small).map(|(_, _, kept)| kept.events.len());
            panic!("opened and written to; of the one event acknowledged there are then {kept:?}");
        }
    }
    expect_events(&open(&large).unwrap().2, 0, 8);
}
