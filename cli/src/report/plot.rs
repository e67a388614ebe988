//! Pictures: lines with bands over an axis, and rows of figures on one. SVG inside the page, without a size of its own.

use std::fmt::Write as _;

use downbeat_benches::cells::Measured;
use downbeat_benches::cells::measured::{Cell, Unit};

use super::charts::{Chart, Form};
use super::figure::{figure, spread};
use super::html::escape;
use super::scale::{Scale, Tick, beyond, percentiles};

/// The drawing's own units; the page stretches them.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 330.0;
/// Below this share a curve does not widen its scale.
const QUARTER: f64 = 0.25;
/// A row of [`rows`], and its second line when two runs are shown.
const ROW: f64 = 40.0;

/// Whose figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    This,
    Beside,
}

/// A picture, and what its page has to say about it.
pub(crate) struct Drawn {
    pub(crate) svg: String,
    /// Its series, in the order of their colours.
    pub(crate) series: Vec<String>,
    /// The scale is that of the chart, not wider.
    pub(crate) as_fixed: bool,
}

/// A point with its extremes.
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
    says: String,
}

struct Line {
    colour: usize,
    whose: Whose,
    points: Vec<Point>,
}

/// Draws a chart for one run, or for two; nothing when none of them has figures for it.
pub(crate) fn draw(chart: &Chart, this: &Measured, beside: Option<&Measured>) -> Option<Drawn> {
    let runs = || {
        let beside = beside.map(|run| (Whose::Beside, run));
        // What is drawn later lies above.
        beside.into_iter().chain([(Whose::This, this)])
    };
    let series = series(chart, this, beside);
    if series.is_empty() {
        return None;
    }
    let drawn = match &chart.form {
        Form::Rows => rows(chart, &series, &runs().collect::<Vec<_>>()),
        Form::Percentiles => {
            let lines: Vec<Line> =
                runs().flat_map(|(whose, run)| curves(chart, run, whose, &series)).collect();
            let (x, ticks) = percentiles();
            lines_over(chart, x, &ticks, "share that was faster", &lines, false)
        }
        Form::Lines(title, steps, written) => {
            let ticks: Vec<Tick> =
                steps.iter().map(|step| Tick { at: *step, label: written.step(*step) }).collect();
            let x = |value: f64| written.step(value);
            let lines: Vec<Line> =
                runs().flat_map(|(whose, run)| cells(chart, run, whose, &series, x)).collect();
            lines_over(chart, Scale::steps(steps), &ticks, title, &lines, true)
        }
    };
    Some(Drawn { series, ..drawn })
}

/// The names of the series of a chart, those of this run first.
pub(crate) fn series(chart: &Chart, this: &Measured, beside: Option<&Measured>) -> Vec<String> {
    let mut names = Vec::<String>::new();
    for run in [Some(this), beside].into_iter().flatten() {
        let of_cells = run.cells_of(chart.id).map(|cell| &cell.series);
        for name in of_cells.chain(run.curves_of(chart.id).map(|curve| &curve.series)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

fn curves(chart: &Chart, run: &Measured, whose: Whose, series: &[String]) -> Vec<Line> {
    let line = |curve: &downbeat_benches::cells::percentiles::Curve| {
        let points = curve.points.iter().map(|point| Point {
            x: beyond(point.share),
            y: point.ns,
            low: point.low_ns,
            high: point.high_ns,
            says: String::new(),
        });
        Line { colour: colour(series, &curve.series), whose, points: points.collect() }
    };
    run.curves_of(chart.id).map(line).collect()
}

fn cells(
    chart: &Chart,
    run: &Measured,
    whose: Whose,
    series: &[String],
    step: impl Fn(f64) -> String,
) -> Vec<Line> {
    let of = |name: &String| {
        let cells = run.cells_of(chart.id).filter(|cell| cell.series == *name);
        let mut points: Vec<Point> = cells
            .filter_map(|cell| {
                let x = cell.x?;
                let says = format!("{name}, {}: {}", step(x), says(cell));
                Some(Point { x, y: cell.median, low: cell.low, high: cell.high, says })
            })
            .collect();
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        Line { colour: colour(series, name), whose, points }
    };
    series.iter().map(of).filter(|line| !line.points.is_empty()).collect()
}

fn says(cell: &Cell) -> String {
    let median = figure(cell.median, cell.unit);
    match spread(cell.low, cell.high, cell.rounds.len(), cell.unit) {
        spread if spread.is_empty() => median,
        spread => format!("{median} ({spread})"),
    }
}

fn colour(series: &[String], name: &str) -> usize {
    series.iter().position(|one| one == name).unwrap_or_default()
}

fn lines_over(
    chart: &Chart,
    x: Scale,
    x_ticks: &[Tick],
    x_title: &str,
    lines: &[Line],
    marks: bool,
) -> Drawn {
    // The fastest few of a curve may lie at the edge: they would make all others small.
    let counts = |point: &&Point| marks || point.x >= beyond(QUARTER);
    let points = lines.iter().flat_map(|line| &line.points).filter(counts);
    let values = points.flat_map(|point| [point.low, point.y, point.high]);
    let x = x.drawn(LEFT, RIGHT);
    let y = Scale::decades(chart.span, values).drawn(BOTTOM, TOP);
    let mut svg = begin(chart, HEIGHT);
    for tick in y.ticks(|value| mark(value, chart.unit)) {
        let at = y.at(tick.at);
        let class = if tick.label.is_empty() { "fine" } else { "grid" };
        let _ = write!(svg, r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
        text(&mut svg, LEFT - 8.0, at + 4.0, "end", &tick.label);
    }
    for tick in x_ticks {
        let at = x.at(tick.at);
        let _ = write!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{BOTTOM}"/>"#);
        text(&mut svg, at.min(RIGHT - 14.0), BOTTOM + 18.0, "middle", &tick.label);
    }
    text(&mut svg, (LEFT + RIGHT) / 2.0, HEIGHT - 8.0, "middle", x_title);
    // Bands below all lines.
    for line in lines.iter().filter(|line| line.points.len() > 1) {
        let there = line.points.iter().map(|point| (x.at(point.x), y.at(point.high)));
        let back = line.points.iter().rev().map(|point| (x.at(point.x), y.at(point.low)));
        let _ =
            write!(svg, r#"<polygon class="band {}" points="{}"/>"#, class(line), path(there.chain(back)));
    }
    for line in lines {
        let points = line.points.iter().map(|point| (x.at(point.x), y.at(point.y)));
        let _ = write!(svg, r#"<polyline class="line {}" points="{}"/>"#, class(line), path(points));
        for point in line.points.iter().filter(|_| marks || line.points.len() == 1) {
            let class = format!("mark {}", class(line));
            marker(&mut svg, line.colour, &class, x.at(point.x), y.at(point.y), &point.says);
        }
    }
    svg += "</svg>";
    Drawn { svg, series: Vec::new(), as_fixed: y.as_fixed }
}

/// A figure a row: a mark at the median, a bar from the least to the most, the figure beside it.
fn rows(chart: &Chart, series: &[String], runs: &[(Whose, &Measured)]) -> Drawn {
    let cells: Vec<(Whose, &Cell)> =
        runs.iter().flat_map(|(whose, run)| run.cells_of(chart.id).map(|cell| (*whose, cell))).collect();
    let values = cells.iter().flat_map(|(_, cell)| [cell.low, cell.high]);
    let (left, right) = (34.0, WIDTH - 130.0);
    let x = Scale::decades(chart.span, values).drawn(left, right);
    let row = if runs.len() > 1 { ROW + 16.0 } else { ROW };
    let bottom = TOP + row * series.len() as f64;
    let mut svg = begin(chart, bottom + 28.0);
    for tick in x.ticks(|value| mark(value, chart.unit)) {
        let at = x.at(tick.at);
        let class = if tick.label.is_empty() { "fine" } else { "grid" };
        let _ =
            write!(svg, r#"<line class="{class}" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{bottom:.1}"/>"#);
        text(&mut svg, at, bottom + 18.0, "middle", &tick.label);
    }
    for (index, name) in series.iter().enumerate() {
        let top = TOP + row * index as f64;
        let _ = write!(svg, r#"<text class="name" x="{left}" y="{:.1}">{}</text>"#, top + 14.0, escape(name));
        // This run first.
        for (whose, cell) in cells.iter().rev().filter(|(_, cell)| cell.series == *name) {
            let at = top + if *whose == Whose::This { 26.0 } else { 42.0 };
            let class = format!("c{} {}", colour(series, name), of(*whose));
            let (low, high) = (x.at(cell.low), x.at(cell.high));
            let _ = write!(
                svg,
                r#"<line class="span {class}" x1="{low:.1}" x2="{high:.1}" y1="{at:.1}" y2="{at:.1}"/>"#
            );
            let says = format!("{name}: {}", says(cell));
            marker(&mut svg, colour(series, name), &format!("mark {class}"), x.at(cell.median), at, &says);
            let shown = figure(cell.median, cell.unit);
            let _ = write!(
                svg,
                r#"<text class="figure {}" x="{:.1}" y="{:.1}">{}</text>"#,
                of(*whose),
                right + 14.0,
                at + 4.0,
                escape(&shown)
            );
        }
    }
    svg += "</svg>";
    Drawn { svg, series: Vec::new(), as_fixed: x.as_fixed }
}

/// The sign of a series as it stands in a legend, or that of a run when there is no series.
pub(crate) fn swatch(series: Option<usize>, whose: Whose, marks: bool) -> String {
    let class = series.map_or("neutral".to_owned(), |colour| format!("c{colour}"));
    let mut svg = format!(r#"<svg class="swatch {class}" viewBox="0 0 34 12" aria-hidden="true">"#);
    let of = of(whose);
    let _ = write!(svg, r#"<line class="line {of}" x1="1" x2="33" y1="6" y2="6"/>"#);
    if marks {
        let form = series.unwrap_or_default();
        marker(&mut svg, form, &format!("mark {of}"), 17.0, 6.0, "");
    }
    svg + "</svg>"
}

fn begin(chart: &Chart, height: f64) -> String {
    let title = escape(chart.title);
    format!(r#"<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">"#)
}

fn of(whose: Whose) -> &'static str {
    match whose {
        Whose::This => "this",
        Whose::Beside => "beside",
    }
}

fn class(line: &Line) -> String {
    format!("c{} {}", line.colour, of(line.whose))
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    if !what.is_empty() {
        let what = escape(what);
        let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{what}</text>"#);
    }
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

/// Each series has a form too, for eyes and printers that see no colour.
fn marker(svg: &mut String, form: usize, class: &str, x: f64, y: f64, says: &str) {
    let corners: &[(f64, f64)] = match form % 4 {
        0 => &[],
        1 => &[(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)],
        2 => &[(0.0, -5.0), (5.0, 4.0), (-5.0, 4.0)],
        _ => &[(0.0, -5.5), (5.5, 0.0), (0.0, 5.5), (-5.5, 0.0)],
    };
    let title = if says.is_empty() { String::new() } else { format!("<title>{}</title>", escape(says)) };
    let _ = if corners.is_empty() {
        write!(svg, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="4.5">{title}</circle>"#)
    } else {
        let at = path(corners.iter().map(|(dx, dy)| (x + dx, y + dy)));
        write!(svg, r#"<polygon class="{class}" points="{at}">{title}</polygon>"#)
    };
}

/// A round value, without the digits that say nothing.
fn mark(value: f64, unit: Unit) -> String {
    figure(value, unit).replace(".00 ", " ").replace(".0 ", " ")
}
