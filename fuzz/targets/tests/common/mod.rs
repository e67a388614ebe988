//! The corpus as it lies in the tree.

use std::fs;
use std::path::{Path, PathBuf};

use downbeat_fuzz_targets::Target;

/// The inputs of a target, with their files.
pub(crate) fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target.name);
    let listing = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = listing.map(|entry| entry.expect("a folder is listed").path());
    let mut inputs: Vec<_> =
        paths.map(|path| (path.clone(), fs::read(&path).expect("an input is read"))).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{}: no inputs", folder.display());
    inputs
}
