//! Style rules as a check: what a reader of this tree may rely on in every file.
//!
//! Each rule looks at text alone, line by line, so a finding has a place. Rules that clippy or rustc can enforce
//! are not here.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tree::{Finding, Source, sources};

/// Lines of the longest file.
const LINES_MAX: usize = 700;

/// Where `unsafe` may stand: the ring, the buffers, the io_uring driver, and the allocators that count.
const UNSAFE_IN: [&str; 7] = [
    "record/src/buffer.rs",
    "sequencer/src/ring.rs",
    "sequencer/src/ring/",
    "wal/src/storage/uring.rs",
    "wal/src/storage/uring/",
    "benches/src/allocations.rs",
    "fuzz/targets/src/allocations.rs",
];

/// Tests that count allocations by an allocator of their own.
const COUNTING_TESTS: [&str; 4] = [
    "record/tests/allocation.rs",
    "sequencer/tests/allocations.rs",
    "engine/tests/allocations.rs",
    "engine/tests/leaves_nothing.rs",
];

/// Files of the actors crate that name ractor, the crate; the benches compare with it.
const RACTOR_IN: [&str; 6] = [
    "actors/src/host.rs",
    "actors/src/group.rs",
    "actors/src/actors.rs",
    "actors/src/error.rs",
    "actors/src/hop.rs",
    "benches/",
];

/// Where io_uring, the crate, is named.
const URING_IN: [&str; 2] = ["wal/src/storage/uring.rs", "wal/src/storage/uring/"];

// Written apart, so that this file passes its own rules.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
];
const HOMES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Everything that breaks a rule.
///
/// # Errors
///
/// When the tree cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let sources = sources(root)?;
    let mut findings: Vec<Finding> = sources.iter().flat_map(of_one).collect();
    findings.extend(decisions(&sources));
    findings.extend(named_in_documents(root, &sources));
    Ok(findings)
}

fn of_one(source: &Source) -> Vec<Finding> {
    let mut findings = vec![];
    if source.is_rust() {
        findings.extend(first_line(source));
        findings.extend(length(source));
        findings.extend(allowed(source, is_unsafe, &[&UNSAFE_IN[..], &COUNTING_TESTS].concat(), "`unsafe`"));
        findings.extend(allowed(source, |code| names(code, "ractor"), &RACTOR_IN, "ractor"));
        findings.extend(allowed(source, |code| names(code, "io_uring"), &URING_IN, "io_uring"));
        findings.extend(words(source, &UNFINISHED, "finish it, or open an issue and leave the line out"));
    }
    findings.extend(words(source, &HOMES, "a path of one machine; use a relative one"));
    findings
}

/// Every source file begins with its page one.
fn first_line(source: &Source) -> Option<Finding> {
    let counts = source.path.contains("/src/") && !source.text.starts_with("//!");
    counts.then(|| source.finding(1, "begin with `//!`: what the file is for, in one sentence"))
}

fn length(source: &Source) -> Option<Finding> {
    let lines = source.lines().count();
    let what = || format!("{lines} lines, over {LINES_MAX}: which two things is it?");
    (lines > LINES_MAX).then(|| source.finding(0, what()))
}

/// Something that only some files may have in their code.
fn allowed(source: &Source, has: impl Fn(&str) -> bool, homes: &[&str], what: &str) -> Vec<Finding> {
    if homes.iter().any(|home| source.path.starts_with(home)) {
        return vec![];
    }
    let found = source.lines().filter(|(_, line)| has(code_of(line)));
    found.map(|(line, _)| source.finding(line, format!("{what} belongs to {}", homes.join(", ")))).collect()
}

fn words(source: &Source, words: &[&str], advice: &str) -> Vec<Finding> {
    let found = source.lines().flat_map(|(line, text)| {
        let hit = words.iter().find(|word| text.contains(**word));
        hit.map(|word| source.finding(line, format!("`{word}`: {advice}")))
    });
    found.collect()
}

/// The line without its comment. A `//` inside a string ends it too early, which hides nothing these rules look
/// for.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// True when the keyword begins a block, a function, a trait or an impl.
fn is_unsafe(code: &str) -> bool {
    let begins = ["{", "fn ", "impl", "trait ", "extern "];
    code.split_once("unsafe ").is_some_and(|(_, rest)| begins.iter().any(|what| rest.starts_with(what)))
}

/// True when a path of this crate is used.
fn names(code: &str, crate_name: &str) -> bool {
    let path = format!("{crate_name}::");
    code.match_indices(&path)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

/// Decisions are numbered from 1 without a gap.
fn decisions(sources: &[Source]) -> Vec<Finding> {
    let folder = "docs/decisions/";
    let files = sources.iter().filter(|source| source.path.starts_with(folder));
    let numbered = files.enumerate().map(|(index, source)| (format!("{:04}-", index + 1), source));
    let wrong = numbered.filter(|(number, source)| !source.path[folder.len()..].starts_with(number.as_str()));
    wrong
        .map(|(number, source)| source.finding(0, format!("the next decision is {number}…: close the gap")))
        .collect()
}

/// What a document names is there: tests that hold a promise, files, and where links go.
fn named_in_documents(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let functions: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.is_rust())
        .flat_map(|source| source.text.split("fn ").skip(1))
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .collect();
    let mut findings = vec![];
    for document in sources.iter().filter(|source| source.path.ends_with(".md")) {
        let folder = root.join(&document.path);
        let folder = folder.parent().unwrap_or(root);
        for (line, text) in document.lines() {
            for name in text.split('`').skip(1).step_by(2) {
                if is_claim(name) && !functions.contains(name) {
                    findings
                        .push(document.finding(line, format!("names the test `{name}`, which is not there")));
                } else if is_file(name) && !root.join(name).exists() {
                    findings.push(document.finding(line, format!("names `{name}`, which is not there")));
                }
            }
            for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
                let target = link.0.split('#').next().unwrap_or_default();
                if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                    findings.push(document.finding(line, format!("links to {target}, which is not there")));
                }
            }
        }
    }
    findings
}

/// A test is named as a claim: many words.
fn is_claim(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.matches('_').count() >= 4 && name.chars().all(plain)
}

/// A path from the root of the tree to a file.
fn is_file(name: &str) -> bool {
    let ends = [".rs", ".toml", ".md"].iter().any(|end| name.ends_with(end));
    ends && name.contains('/') && !name.contains(char::is_whitespace) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_broken(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        of_one(&source).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_that_keeps_the_rules_has_no_finding() {
        assert!(rules_broken("flow/src/lib.rs", "//! What to do.\n#![forbid(unsafe_code)]\n").is_empty());
        assert!(
            rules_broken("wal/src/storage/uring/write.rs", "//! One.\nuse io_uring::opcode;\n").is_empty()
        );
        assert!(
            rules_broken("flow/src/unit.rs", "//! A unit.\n// ractor::Actor is not named here.\n").is_empty()
        );
    }

    #[test]
    fn every_rule_finds_what_breaks_it_with_its_place() {
        let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        let unfinished = format!("//! A.\n// {} later\n", UNFINISHED[0]);
        let home = format!("Run `{}me/x`.\n", HOMES[0]);
        for (path, text, expected) in [
            ("flow/src/unit.rs", "use std::fmt;\n", "flow/src/unit.rs:1: begin"),
            ("flow/src/unit.rs", &long, "flow/src/unit.rs: 701 lines"),
            (
                "flow/src/unit.rs",
                concat!("//! A.\nlet x = unsa", "fe { *p };\n"),
                "flow/src/unit.rs:2: `unsafe`",
            ),
            ("engine/src/a.rs", "//! A.\nuse ractor::Actor;\n", "engine/src/a.rs:2: ractor"),
            ("wal/src/log.rs", "//! A.\nuse io_uring::opcode;\n", "wal/src/log.rs:2: io_uring"),
            ("cli/src/main.rs", &unfinished, "cli/src/main.rs:2: `"),
            ("README.md", &home, "README.md:1: `"),
        ] {
            let found = rules_broken(path, text);
            assert!(found.iter().any(|finding| finding.starts_with(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_gap_between_decisions_is_found() {
        let file = |name: &str| Source { path: format!("docs/decisions/{name}"), text: String::new() };
        assert!(decisions(&[file("0001-a.md"), file("0002-b.md")]).is_empty());
        let found = decisions(&[file("0001-a.md"), file("0003-c.md")]);
        assert_eq!(
            found[0].to_string(),
            "docs/decisions/0003-c.md: the next decision is 0002-…: close the gap"
        );
    }

    #[test]
    fn what_a_document_names_and_is_not_there_is_found() {
        let text = "`a_test_that_is_there`, `a_test_that_is_gone`, `flow/src/lib.rs`, `flow/src/no.rs`\n\
                    [here](README.md), [gone](docs/gone.md#part), [far](https://example.org/x.md)\n";
        let tree = [
            Source { path: "README.md".to_owned(), text: text.to_owned() },
            Source { path: "flow/src/lib.rs".to_owned(), text: "fn a_test_that_is_there() {}".to_owned() },
        ];
        let found = named_in_documents(&crate::tree::root(), &tree);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "README.md:1: names the test `a_test_that_is_gone`, which is not there",
                "README.md:1: names `flow/src/no.rs`, which is not there",
                "README.md:2: links to docs/gone.md, which is not there",
            ]
        );
    }
}
