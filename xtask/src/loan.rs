//! What is true of the BPI Challenge 2012 log, held against the summary of a run.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Where in the summary, and what must stand there. The counts are those of the published log,
/// doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f.
const TRUE_OF_THE_LOG: [(&str, u64); 5] = [
    ("/events", 262_200),
    ("/applications/approved", 2_246),
    ("/applications/declined", 7_635),
    ("/applications/cancelled", 2_807),
    ("/applications/open", 399),
];

/// Checks the JSON that `downbeat run --flow loan --json` wrote.
///
/// # Errors
///
/// Every number that is not what the log says.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let summary: Value = serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?;
    let wrong = differences(&summary);
    ensure!(wrong.is_empty(), "{}: {}", file.display(), wrong.join("; "));
    println!("check-loan: 262200 events; 2246 approved, 7635 declined, 2807 cancelled, 399 open");
    Ok(())
}

fn differences(summary: &Value) -> Vec<String> {
    let one = |(path, expected): (&str, u64)| match summary.pointer(path) {
        Some(found) if found.as_u64() == Some(expected) => None,
        Some(found) => Some(format!("{path} is {found}, the log says {expected}")),
        None => Some(format!("{path} is missing, the log says {expected}")),
    };
    TRUE_OF_THE_LOG.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_counts_pass_and_any_other_is_named() {
        let applications =
            serde_json::json!({"approved": 2246, "declined": 7635, "cancelled": 2807, "open": 399});
        let mut summary = serde_json::json!({"events": 262_200, "applications": applications});
        assert_eq!(differences(&summary), Vec::<String>::new());
        summary["applications"]["open"] = 398.into();
        assert_eq!(differences(&summary), ["/applications/open is 398, the log says 399"]);
        summary["applications"] = Value::Null;
        assert_eq!(differences(&summary).len(), 4);
    }
}
