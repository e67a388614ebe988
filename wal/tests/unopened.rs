//! A file that cannot be opened is not one that is not there, nor is a directory empty that cannot be listed: nothing is cut, and
//! nothing made anew.

#[path = "common/log.rs"]
mod common;
#[path = "common/watched.rs"]
mod watched;

use std::io;
use std::sync::Arc;

use common::{append, expect_events, memory_options, open};
use downbeat_wal::{BackendChoice, Memory, Options, ReadOptions, Reader, Trust, names};
use watched::Watched;

/// A copy in which this file cannot be opened; without a name, it cannot be listed.
fn denied(memory: &Memory, denied: &str) -> Arc<Watched> {
    let denied = denied.to_owned();
    let before = move |name: &str| {
        if name == denied { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    };
    Arc::new(Watched { memory: memory.copy(), before: Arc::new(before) })
}

#[test]
fn a_directory_that_cannot_be_listed_is_an_error_and_no_empty_one() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 3, 5_000);
    log.drain().unwrap();
    drop(log);
    let storage = denied(&memory, "");
    let options = Options { backend: BackendChoice::Storage(storage.clone()), ..memory_options(&memory) };
    let refused = open(&options).map(drop).unwrap_err().to_string();
    assert!(refused.contains("cannot list"), "{refused}");
    assert!(Reader::on(storage.clone(), ReadOptions::default()).is_err());
    let (_, _, kept) = open(&memory_options(&storage.memory)).unwrap();
    expect_events(&kept, 3, 5_000);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_and_no_missing_file() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..20 {
        append(&mut log, 3, 5_000);
        log.drain().unwrap();
    }
    drop(log);
    let segments = [1, 2].map(|id| names::segment(downbeat_record::SegmentId(id)));
    let files = segments.into_iter().chain(names::MANIFEST.map(str::to_owned));
    for name in files {
        assert!(memory.bytes(&name).is_some(), "{name} is there");
        let storage = denied(&memory, &name);
        let options =
            Options { backend: BackendChoice::Storage(storage.clone()), ..memory_options(&storage.memory) };
        let refused = open(&options).map(drop).unwrap_err().to_string();
        assert!(refused.contains(&name) && refused.contains("cannot open"), "{name}: {refused}");

        let options = ReadOptions { trust: Trust::Everything, ..Default::default() };
        let read = Reader::on(storage.clone(), options).and_then(|mut reader| {
            while reader.next_batch()?.is_some() {}
            Ok(())
        });
        let refused = read.unwrap_err().to_string();
        assert!(refused.contains(&name), "{name}: {refused}");

        let (_, _, kept) = open(&memory_options(&storage.memory)).unwrap();
        expect_events(&kept, 60, 5_000);
    }
}
