//! Tables as text and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use downbeat_benches::Sample;
use serde_json::{Value, json};

use crate::compare::{Row, Standing};
use crate::stats::Spread;

/// How a figure is shown, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// More is better.
    PerSecond,
    /// Less is better.
    Nanoseconds,
}

impl Unit {
    pub(crate) fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::PerSecond => 1e9 / sample.nanoseconds(),
            Self::Nanoseconds => sample.nanoseconds(),
        }
    }

    fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond if figure >= 1e6 => format!("{:.2} M/s", figure / 1e6),
            Self::PerSecond => format!("{:.2} k/s", figure / 1e3),
            Self::Nanoseconds => format!("{figure:.1} ns"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::Nanoseconds => "ns",
        }
    }

    /// True when `a` is better than `b`.
    fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Self::PerSecond => a > b,
            Self::Nanoseconds => a < b,
        }
    }
}

/// What stands beside each other, and what is wanted of it.
pub(crate) struct Table<'t, 'a> {
    pub(crate) title: &'t str,
    pub(crate) unit: Unit,
    pub(crate) rows: &'t [Row<'a>],
    /// Whether each commit was timed.
    pub(crate) percentiles: bool,
    pub(crate) ratios: Vec<Ratio>,
}

/// Two rows beside each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) spread: Spread,
    pub(crate) goal: Option<Goal>,
}

/// What a ratio is wanted to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// As much as this, or more.
    AtLeast(f64),
    /// As much as this, or less.
    AtMost(f64),
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) => figure >= goal,
            Self::AtMost(goal) => figure <= goal,
        }
    }

    fn show(self) -> String {
        match self {
            Self::AtLeast(goal) => format!("goal at least {goal}"),
            Self::AtMost(goal) => format!("goal at most {goal}"),
        }
    }
}

/// How often the figure of one row goes into that of another, round by round.
pub(crate) fn ratio(rows: &[Row<'_>], unit: Unit, row: &str, of: &str, goal: Option<Goal>) -> Option<Ratio> {
    let figures = |name: &str| {
        let row = rows.iter().find(|row| row.name == name)?;
        Some(row.figures(|sample| unit.of(sample)))
    };
    let spread = Spread::of_ratios(&figures(row)?, &figures(of)?)?;
    Some(Ratio { name: format!("{row} / {of}"), spread, goal })
}

/// The row with the best median among those that give the same promise.
pub(crate) fn best_peer<'t>(rows: &'t [Row<'_>], unit: Unit) -> Option<&'t str> {
    let mut best: Option<(&str, f64)> = None;
    for row in rows.iter().filter(|row| row.standing == Standing::Same) {
        let Some(spread) = Spread::of(&row.figures(|sample| unit.of(sample))) else { continue };
        if best.is_none_or(|(_, median)| unit.is_better(spread.median, median)) {
            best = Some((&row.name, spread.median));
        }
    }
    best.map(|(name, _)| name)
}

impl Table<'_, '_> {
    /// As the other benches print. What rows say in full is told once: those in `told` have been.
    pub(crate) fn text(&self, told: &mut BTreeSet<String>) -> String {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let mut text = format!("\n## {}\n\n", self.title);
        for row in self.rows {
            let name = &row.name;
            match row.failure() {
                Some(why) => {
                    let _ = writeln!(text, "{name:<width$}  not measured: {why}");
                }
                None => {
                    let _ = writeln!(text, "{name:<width$}  {}", self.figures(row));
                }
            }
        }
        let untold: Vec<&Row<'_>> = self.rows.iter().filter(|row| !told.contains(&row.name)).collect();
        if !untold.is_empty() {
            text.push('\n');
        }
        let mut before = String::new();
        for row in untold {
            told.insert(row.name.clone());
            let mut says = row.says.clone();
            if let Standing::Less(reason) = &row.standing {
                let _ = write!(says, "; * {reason}");
            }
            let _ =
                writeln!(text, "{:<width$}  {}", row.name, if says == before { "as above" } else { &says });
            before = says;
        }
        if !self.ratios.is_empty() {
            text.push('\n');
        }
        for Ratio { name, spread, goal } in &self.ratios {
            let verdict = goal.map_or_else(String::new, |goal| {
                let verdict = if goal.is_met(spread.median) { "holds" } else { "missed" };
                format!("; {}: {verdict}", goal.show())
            });
            let (median, min, max) = (spread.median, spread.min, spread.max);
            let _ = writeln!(text, "{name}: {median:.2} ({min:.2} to {max:.2}){verdict}");
        }
        text
    }

    fn figures(&self, row: &Row<'_>) -> String {
        let Some(spread) = Spread::of(&row.figures(|sample| self.unit.of(sample))) else {
            return "not measured".to_owned();
        };
        let mark = if matches!(row.standing, Standing::Less(_)) { "*" } else { " " };
        let [median, min, max] = [spread.median, spread.min, spread.max].map(|figure| self.unit.show(figure));
        let mut text = format!("{mark}{median:>11}  min {min:>11}  max {max:>11}");
        if self.percentiles {
            let (p50, p99) = (row.latencies.at(0.5), row.latencies.at(0.99));
            let _ = match self.unit {
                Unit::PerSecond => write!(text, "  p50 {:>8.1} µs  p99 {:>8.1} µs", p50 / 1e3, p99 / 1e3),
                Unit::Nanoseconds => write!(text, "  p50 {p50:>6.0} ns  p99 {p99:>6.0} ns"),
            };
        }
        let others = row.figures(|sample| sample.others).into_iter().fold(0.0, f64::max) * 100.0;
        let _ = write!(text, "  ({} rounds, others at most {others:.1} %", row.samples.len());
        if !row.floor.is_zero() {
            let _ = write!(text, ", floor {:.0} µs", row.floor.as_nanos() as f64 / 1e3);
        }
        if row.disturbed > 0 {
            let _ = write!(text, ", {} disturbed", row.disturbed);
        }
        text.push(')');
        if !row.word.is_empty() {
            let _ = write!(text, "  {}", row.word);
        }
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row(row)).collect();
        let ratios: Vec<Value> = self
            .ratios
            .iter()
            .map(|Ratio { name, spread, goal }| {
                let met = goal.map(|goal| goal.is_met(spread.median));
                let (median, min, max) = (spread.median, spread.min, spread.max);
                let goal = goal.map(Goal::show);
                json!({ "name": name, "median": median, "min": min, "max": max, "goal": goal, "met": met })
            })
            .collect();
        json!({ "title": self.title, "unit": self.unit.name(), "rows": rows, "ratios": ratios })
    }

    fn row(&self, row: &Row<'_>) -> Value {
        let figures = row.figures(|sample| self.unit.of(sample));
        let spread = Spread::of(&figures);
        let [p50, p99] =
            [0.5, 0.99].map(|share| (row.latencies.count() > 0).then(|| row.latencies.at(share)));
        json!({
            "name": row.name,
            "standing": match &row.standing {
                Standing::Ours => "downbeat",
                Standing::Same => "same promise",
                Standing::Less(_) => "less",
            },
            "less": if let Standing::Less(reason) = &row.standing { Some(reason) } else { None },
            "promise": row.word,
            "says": row.says,
            "not_measured": row.failure(),
            "median": spread.map(|spread| spread.median),
            "min": spread.map(|spread| spread.min),
            "max": spread.map(|spread| spread.max),
            "rounds": figures,
            "p50_ns": p50,
            "p99_ns": p99,
            "others": row.figures(|sample| sample.others),
            "floor_ns": row.floor.as_nanos() as u64,
            "disturbed": row.disturbed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compare::{Measured, Timed};

    fn row(name: &str, standing: Standing, nanoseconds: &[u64]) -> Row<'static> {
        let mut row = Row::new(name, standing, "fdatasync", "says", Ok(Box::new(Timed(Measured::default))));
        row.samples = nanoseconds.iter().map(|ns| Sample::new(1, Duration::from_nanos(*ns))).collect();
        row
    }

    fn rows() -> Vec<Row<'static>> {
        vec![
            row("ours", Standing::Ours, &[10, 20, 30]),
            row("slow", Standing::Same, &[80, 80, 80]),
            row("fast", Standing::Same, &[30, 30, 30]),
            row("cheat", Standing::Less("does not sync".to_owned()), &[1, 1, 1]),
        ]
    }

    #[test]
    fn the_best_peer_is_one_that_gives_the_same_promise() {
        assert_eq!(best_peer(&rows(), Unit::PerSecond), Some("fast"));
        assert_eq!(best_peer(&rows(), Unit::Nanoseconds), Some("fast"));
        assert_eq!(best_peer(&rows()[..1], Unit::PerSecond), None);
    }

    #[test]
    fn a_goal_is_judged_by_the_median() {
        let goal = Some(Goal::AtLeast(1.5));
        let found = ratio(&rows(), Unit::PerSecond, "ours", "fast", goal).expect("both were measured");
        assert!((found.spread.median - 1.5).abs() < 1e-9, "{found:?}");
        assert!((found.spread.min - 1.0).abs() < 1e-9 && (found.spread.max - 3.0).abs() < 1e-9, "{found:?}");
        let rows = rows();
        let table =
            Table { title: "t", unit: Unit::PerSecond, rows: &rows, percentiles: false, ratios: vec![found] };
        assert!(
            table
                .text(&mut BTreeSet::new())
                .contains("ours / fast: 1.50 (1.00 to 3.00); goal at least 1.5: holds"),
            "{}",
            table.text(&mut BTreeSet::new())
        );
        assert_eq!(table.json()["ratios"][0]["met"], true);
    }

    #[test]
    fn a_row_that_gives_less_is_marked_with_its_reason() {
        let rows = rows();
        let table =
            Table { title: "t", unit: Unit::PerSecond, rows: &rows, percentiles: false, ratios: vec![] };
        let mut told = BTreeSet::new();
        let text = table.text(&mut told);
        assert!(text.contains("says; * does not sync"), "{text}");
        let again = table.text(&mut told);
        assert!(!again.contains("says; * does not sync") && again.contains("cheat  *"), "told once: {again}");
        assert_eq!(table.json()["rows"][3]["less"], "does not sync");
    }

    #[test]
    fn a_row_that_could_not_be_measured_says_why() {
        let rows =
            [Row::new("absent", Standing::Same, "fdatasync", "says", Err(anyhow::anyhow!("install it")))];
        let table =
            Table { title: "t", unit: Unit::PerSecond, rows: &rows, percentiles: true, ratios: vec![] };
        assert!(
            table.text(&mut BTreeSet::new()).contains("absent  not measured: install it"),
            "{}",
            table.text(&mut BTreeSet::new())
        );
        assert_eq!(best_peer(&rows, Unit::PerSecond), None);
    }
}
