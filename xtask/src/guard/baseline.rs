//! What each path cost when it was last accepted, and with what that was counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// How much dearer a path may get before somebody has to say that it is worth it.
const TOLERANCE_PERCENT: f64 = 3.0;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// How much dearer a path may be.
    pub tolerance_percent: f64,
    /// What decides a count besides our source: compiler, valgrind, libc, processor.
    made_with: BTreeMap<String, String>,
    instructions_per_event: BTreeMap<String, f64>,
}

/// How a path stands to its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Within the tolerance.
    Holds {
        /// What it was.
        before: f64,
    },
    /// Dearer than the tolerance allows.
    Dearer {
        /// What it was.
        before: f64,
    },
    /// Cheaper by more than the tolerance; until the baseline says so, that can be lost again unseen.
    Cheaper {
        /// What it was.
        before: f64,
    },
    /// The baseline does not have it.
    New,
}

impl Baseline {
    /// An empty one.
    pub fn new(made_with: BTreeMap<String, String>) -> Self {
        Self { tolerance_percent: TOLERANCE_PERCENT, made_with, instructions_per_event: BTreeMap::new() }
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// When it is not there, or is none.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let what = || format!("{}: `cargo xtask guard --update` makes it", file.display());
        let text = fs::read_to_string(file).with_context(what)?;
        serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("a baseline is plain data")?;
        fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))
    }

    /// Notes what a path costs, to a hundredth of an instruction.
    pub fn set(&mut self, name: &str, instructions: f64) {
        let rounded = (instructions * 100.0).round() / 100.0;
        self.instructions_per_event.insert(name.to_owned(), rounded);
    }

    /// The paths it has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.instructions_per_event.keys().map(String::as_str)
    }

    /// How `now` stands to what was noted.
    pub fn change(&self, name: &str, now: f64) -> Change {
        let Some(&before) = self.instructions_per_event.get(name) else { return Change::New };
        let percent = percent(before, now);
        if percent > self.tolerance_percent {
            Change::Dearer { before }
        } else if percent < -self.tolerance_percent {
            Change::Cheaper { before }
        } else {
            Change::Holds { before }
        }
    }

    /// What it was made with and is not so now, one line each.
    pub fn differences(&self, now: &BTreeMap<String, String>) -> Vec<String> {
        let unlike = now.iter().filter(|(what, value)| self.made_with.get(*what) != Some(value));
        unlike
            .map(|(what, value)| {
                let before = self.made_with.get(what).map_or("nothing noted", String::as_str);
                format!("{what}: {before}; this is {value}")
            })
            .collect()
    }
}

impl Change {
    /// Whether somebody has to look.
    pub fn fails(self) -> bool {
        matches!(self, Self::Dearer { .. } | Self::New)
    }

    /// A line of the report.
    pub fn line(self, name: &str, now: f64) -> String {
        let (before, said) = match self {
            Self::Holds { before } => (before, ""),
            Self::Dearer { before } => (before, "  dearer"),
            Self::Cheaper { before } => (before, "  cheaper"),
            Self::New => return format!("{name:<28}{:>10}{now:>10.2}{:>10}  not in the baseline", "-", "-"),
        };
        format!("{name:<28}{before:>10.2}{now:>10.2}{:>+8.1} %{said}", percent(before, now))
    }
}

fn percent(before: f64, now: f64) -> f64 {
    (now / before - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let mut baseline = Baseline::new(BTreeMap::from([("rustc".to_owned(), "1.95.0".to_owned())]));
        baseline.set("order/plain", 100.004);
        baseline
    }

    #[test]
    fn what_is_dearer_than_the_tolerance_fails_and_what_is_cheaper_does_not() {
        let before = 100.0;
        for (now, expected) in [
            (100.0, Change::Holds { before }),
            (102.9, Change::Holds { before }),
            (103.1, Change::Dearer { before }),
            (97.1, Change::Holds { before }),
            (96.0, Change::Cheaper { before }),
        ] {
            let change = baseline().change("order/plain", now);
            assert_eq!(change, expected, "{now}");
            assert_eq!(change.fails(), now > 103.0, "{now}");
        }
    }

    #[test]
    fn a_path_that_nobody_has_accepted_fails() {
        let change = baseline().change("order/new", 1.0);
        assert_eq!(change, Change::New);
        assert!(change.fails());
    }

    #[test]
    fn another_compiler_is_said() {
        let same = BTreeMap::from([("rustc".to_owned(), "1.95.0".to_owned())]);
        assert!(baseline().differences(&same).is_empty());
        let other = BTreeMap::from([("rustc".to_owned(), "1.96.0".to_owned())]);
        assert_eq!(baseline().differences(&other), ["rustc: 1.95.0; this is 1.96.0"]);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("guard.json");
        baseline().write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap(), baseline());
    }
}
