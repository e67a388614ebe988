//! What the documents claim is there: every test that `docs/recovery.md` names, and a row for every letter.

use std::fs;
use std::path::Path;

#[test]
fn every_test_named_in_the_recovery_document_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("../docs/recovery.md")).unwrap();
    let sources: String = fs::read_dir(root.join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let quoted = document.split('`').skip(1).step_by(2);
    let tests: Vec<_> = quoted.filter(|name| name.matches('_').count() >= 4).collect();
    assert!(tests.len() >= 20, "{}", tests.len());
    for test in tests {
        assert!(sources.contains(&format!("fn {test}(")), "docs/recovery.md names {test}");
    }
    for letter in 'A'..='Q' {
        assert!(document.contains(&format!("\n| {letter} |")), "no row {letter}");
        assert!(
            sources.contains(&format!("fn row_{}_", letter.to_ascii_lowercase())),
            "no test for row {letter}"
        );
    }
}
