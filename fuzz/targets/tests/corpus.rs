//! Replays the corpus: every input that once found something, or reaches code that others do not.
#![allow(missing_docs)]

mod common;

use std::time::{Duration, Instant};

use common::corpus;
use downbeat_fuzz_targets::{TARGETS, allocations};

downbeat_fuzz_targets::counting_allocator!();

/// What takes longer than this hangs: the slowest input of the corpus takes a few milliseconds.
const HANGS_AFTER: Duration = Duration::from_secs(20);

#[test]
fn every_input_of_the_corpus_passes() {
    for target in TARGETS {
        for (path, input) in corpus(&target) {
            let begin = Instant::now();
            if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
                panic!("{}: see above", path.display());
            }
            assert!(begin.elapsed() < HANGS_AFTER, "{}: took {:?}", path.display(), begin.elapsed());
        }
    }
}

#[test]
fn the_allocator_that_counts_is_installed_and_counts() {
    let (_, peak) = allocations::peak(|| drop(std::hint::black_box(vec![0_u8; 100_000])));
    assert!((100_000..101_000).contains(&peak), "{peak}");
}
