//! The figures behind a picture, as a table.

use std::fmt::Write as _;

use downbeat_benches::cells::Measured;
use downbeat_benches::cells::measured::{Cell, Unit};
use downbeat_benches::cells::percentiles::Curve;

use super::charts::{Chart, Form, Written};
use super::figure::{figure, nanoseconds, ratio, spread};
use super::html::escape;
use super::summary::better;
use crate::page::number;

/// Percentiles that a table shows.
const SHARES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

/// The table of a chart, for one run or for two.
pub(crate) fn table(chart: &Chart, series: &[String], this: &Measured, beside: Option<&Measured>) -> String {
    let mut html = r#"<div class="wide"><table>"#.to_owned();
    match &chart.form {
        Form::Percentiles => percentiles(&mut html, chart, series, this, beside),
        Form::Rows => rows(&mut html, chart, series, this, beside),
        Form::Lines(title, steps, written) => {
            lines(&mut html, (title, steps, *written), chart, series, this, beside);
        }
    }
    html + "</table></div>"
}

fn percentiles(
    html: &mut String,
    chart: &Chart,
    series: &[String],
    this: &Measured,
    beside: Option<&Measured>,
) {
    *html += "<thead><tr><th></th>";
    for (_, name) in SHARES {
        let _ = write!(html, "<th>{name}</th>");
    }
    *html += "<th>max</th><th>times</th></tr></thead><tbody>";
    for name in series {
        for (run, class) in [(Some(this), "this"), (beside, "beside")] {
            let Some(curve) = run.and_then(|run| run.curve(chart.id, name)) else { continue };
            let shown = if class == "this" { escape(name) } else { "… beside".to_owned() };
            let _ = write!(html, r#"<tr class="{class}"><th>{shown}</th>"#);
            SHARES.iter().for_each(|(share, _)| percentile(html, curve, *share));
            let _ =
                write!(html, "<td>{}</td><td>{}</td></tr>", nanoseconds(curve.max_ns), number(curve.count));
        }
    }
    *html += "</tbody>";
}

fn percentile(html: &mut String, curve: &Curve, share: f64) {
    let point = curve.points.iter().find(|point| point.share >= share - 1e-9);
    let _ = match point {
        Some(point) => {
            let spread = spread(point.low_ns, point.high_ns, curve.rounds, Unit::Nanoseconds);
            write!(html, "<td>{}<small>{spread}</small></td>", nanoseconds(point.ns))
        }
        None => write!(html, r#"<td class="none">too few</td>"#),
    };
}

fn rows(html: &mut String, chart: &Chart, series: &[String], this: &Measured, beside: Option<&Measured>) {
    let more = if beside.is_some() { "<th>beside</th><th>times as good</th>" } else { "" };
    let _ = write!(
        html,
        "<thead><tr><th></th><th>median</th><th>least–most</th><th>rounds</th>{more}</tr></thead><tbody>"
    );
    for name in series {
        let _ = write!(html, "<tr><th>{}</th>", escape(name));
        let cell = this.cell(chart.id, name, None);
        let _ = match cell {
            Some(cell) => write!(
                html,
                "<td>{}</td><td>{}</td><td>{}</td>",
                figure(cell.median, cell.unit),
                spread(cell.low, cell.high, cell.rounds.len(), cell.unit),
                cell.rounds.len()
            ),
            None => write!(html, r#"<td class="none">–</td><td></td><td></td>"#),
        };
        if let Some(beside) = beside {
            let other = beside.cell(chart.id, name, None);
            let _ = write!(html, "<td>{}</td><td>{}</td>", median(other), compared(cell, other));
        }
        *html += "</tr>";
    }
    *html += "</tbody>";
}

fn lines(
    html: &mut String,
    (title, steps, written): (&str, &[f64], Written),
    chart: &Chart,
    series: &[String],
    this: &Measured,
    beside: Option<&Measured>,
) {
    let _ = write!(html, "<thead><tr><th>{}</th>", escape(title));
    for name in series {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    *html += "</tr></thead><tbody>";
    for step in steps {
        let at = |run: &'_ Measured, name: &str| run.cell(chart.id, name, Some(*step)).cloned();
        let known =
            |name: &String| at(this, name).is_some() || beside.is_some_and(|run| at(run, name).is_some());
        if !series.iter().any(known) {
            continue;
        }
        let _ = write!(html, "<tr><th>{}</th>", written.step(*step));
        for name in series {
            let cell = at(this, name);
            let other = beside.and_then(|run| at(run, name));
            let _ = write!(html, "<td>{}", median(cell.as_ref()));
            if let Some(cell) = &cell {
                let also = cell.events_per_second.map(|value| figure(value, Unit::EventsPerSecond));
                let also = also.or(cell.bytes_per_second.map(|value| figure(value, Unit::BytesPerSecond)));
                let _ = write!(
                    html,
                    "<small>{}</small>",
                    spread(cell.low, cell.high, cell.rounds.len(), cell.unit)
                );
                also.iter().for_each(|also| *html += &format!("<small>{also}</small>"));
            }
            if let Some(other) = &other {
                let compared = compared(cell.as_ref(), Some(other));
                let _ = write!(
                    html,
                    r#"<small class="beside">beside {}, {compared} as good</small>"#,
                    median(Some(other))
                );
            }
            *html += "</td>";
        }
        *html += "</tr>";
    }
    *html += "</tbody>";
}

fn median(cell: Option<&Cell>) -> String {
    cell.map_or("–".to_owned(), |cell| figure(cell.median, cell.unit))
}

/// How many times as good this one is.
fn compared(this: Option<&Cell>, other: Option<&Cell>) -> String {
    match (this, other) {
        (Some(this), Some(other)) => ratio(better(this.unit, this.median, other.median)),
        _ => "–".to_owned(),
    }
}
