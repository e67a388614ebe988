//! Any bytes over a log: an answer, never a panic.

mod common;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use common::{contents, flow, starts, write};
use downbeat_audit::{EventFilter, ReplayOptions, VerifyOptions, follow, inspect, replay, verify};
use proptest::prelude::*;

/// The files of a small log, made once.
fn files() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 400, 2);
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut files: Vec<_> = contents(dir.path())
            .into_iter()
            .filter(|(_, bytes)| bytes[0] != 0)
            .map(|(path, bytes)| {
                let end = *starts(&bytes).last().unwrap();
                (name(&path), bytes[..end].to_vec())
            })
            .collect();
        for manifest in ["MANIFEST.0", "MANIFEST.1"] {
            files.push((manifest.to_owned(), fs::read(dir.path().join(manifest)).unwrap()));
        }
        files
    })
}

fn look(dir: &Path) {
    // Whatever they say: they come back.
    let _ = verify(dir, VerifyOptions::default(), |_| {});
    let _ = replay(dir, &flow(1), ReplayOptions::default(), |_| {});
    for events in [inspect(dir, EventFilter::default()), follow(dir, EventFilter::default())] {
        let _ = events.map(Iterator::count);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn random_bytes_over_a_log_never_panic(
        writes in prop::collection::vec((0..64usize, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..200)), 1..6),
        lost in 0..12usize,
        whole in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut changed = files().to_vec();
        for (file, at, bytes) in writes {
            let index = file % changed.len();
            let (_, content) = &mut changed[index];
            // Headers are rare among the bytes of a log, and most depends on them.
            let at = if file < 32 { at.index(content.len()) / 4_096 * 4_096 } else { at.index(content.len()) };
            let end = (at + bytes.len()).min(content.len());
            content[at..end].copy_from_slice(&bytes[..end - at]);
        }
        if lost < changed.len() {
            changed.remove(lost);
        }
        for (name, mut bytes) in changed {
            if whole && name.ends_with(".seg") {
                bytes.resize(1 << 20, 0);
            }
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        look(dir.path());
    }

    #[test]
    fn random_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["00000000000000000001.seg", "MANIFEST.0"] {
            fs::write(dir.path().join(name), &bytes).unwrap();
        }
        look(dir.path());
    }
}
