//! Of which commit a tree is; `build.rs` asks when it builds, a report when it runs, and the two may differ.
//!
//! Only what goes into a build counts: a document that was edited changes no figure.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes into a build, besides what `Cargo.lock` names.
const SOURCES: [&str; 13] = [
    ".cargo",
    "Cargo.toml",
    "Cargo.lock",
    "record",
    "sequencer",
    "wal",
    "flow",
    "actors",
    "engine",
    "audit",
    "benches/Cargo.toml",
    "benches/src",
    "benches/guard",
];
/// And the benches themselves, but nothing in other folders beside them.
const BENCHES: &str = ":(glob)benches/*.rs";

/// What stands for a commit where there is no repository.
pub(crate) const UNKNOWN: &str = "unknown";

/// The commit of the tree at `root`, `with changes` when the sources are not as it has them; `unknown` without git, or
/// where no repository begins.
pub(crate) fn commit(root: &Path) -> String {
    let Some(commit) = repository(root).and_then(|()| git(root, &["rev-parse", "--short", "HEAD"])) else {
        return UNKNOWN.to_owned();
    };
    let mut status = vec!["status", "--porcelain", "--untracked-files=normal", "--", BENCHES];
    status.extend(SOURCES);
    match git(root, &status) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}

/// An archive that was unpacked inside of another repository is not of that one.
fn repository(root: &Path) -> Option<()> {
    let top = PathBuf::from(git(root, &["rev-parse", "--show-toplevel"])?);
    (top.canonicalize().ok()? == root.canonicalize().ok()?).then_some(())
}

/// What a program prints, when it is there and ends well.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    output("git", &[&["--no-optional-locks", "-C", root.to_str()?], arguments].concat())
}

/// Files and folders that change when [`commit`] may.
#[allow(dead_code, reason = "build.rs, which shares this file, is the one who watches")]
pub(crate) fn watched(root: &Path) -> Vec<PathBuf> {
    let benches = root.join("benches").read_dir().into_iter().flatten().filter_map(Result::ok);
    let benches =
        benches.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut watched: Vec<PathBuf> = SOURCES.iter().map(|source| root.join(source)).chain(benches).collect();
    if repository(root).is_some() {
        // The log of HEAD grows with each commit, reset and checkout, also where branches are packed into one file; a
        // repository may be set to keep none.
        let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
        for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
            let path = git(root, &["rev-parse", "--git-path", name]);
            watched.extend(path.map(|path| root.join(path)));
        }
    }
    // What is not there would count as changed every time.
    watched.retain(|path| path.exists());
    watched
}
