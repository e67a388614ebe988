//! The tree keeps its own rules.

use xtask::{Finding, arrows, root, tidy};

fn holds(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

#[test]
fn style_rules_hold_in_every_file() {
    holds(&tidy::check(&root()).unwrap());
}

#[test]
fn nobody_imports_what_they_must_not_know() {
    holds(&arrows::check(&root()).unwrap());
}
