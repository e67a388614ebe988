//! The page: stamp, summary, charts with their tables, and the run itself as JSON.

use std::fmt::Write as _;
use std::path::Path;

use downbeat_benches::cells::Measured;

use super::charts::{Chart, Form, SECTIONS, Section};
use super::figure::{figure, nanoseconds, ratio, spread};
use super::plot::{Whose, draw, swatch};
use super::read::{IN_PAGE, PAGE_END};
use super::summary::{Answer, GROUPS, Row, better};
use super::table::table;
use crate::page::{bytes, number};

const STYLE: &str = include_str!("page.css");
/// Nothing may come from anywhere else, and nothing in the page may run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A run that is laid beside another one.
pub(crate) struct Beside {
    pub(crate) name: String,
    pub(crate) run: Measured,
}

impl Beside {
    pub(crate) fn new(path: &Path, run: Measured) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self { name: name.to_string_lossy().into_owned(), run }
    }
}

/// The whole page.
pub(crate) fn page(this: &Measured, beside: Option<&Beside>) -> String {
    let title = escape(&format!("Downbeat on {}", this.machine.cpu));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    head(&mut html, this, beside);
    summary(&mut html, this, beside);
    for section in &SECTIONS {
        charts(&mut html, section, this, beside);
    }
    how(&mut html, this);
    embed(&mut html, IN_PAGE, this);
    if let Some(beside) = beside {
        embed(&mut html, r#"<script type="application/json" id="downbeat-bench-beside">"#, &beside.run);
    }
    html + "</body>\n</html>\n"
}

fn head(html: &mut String, this: &Measured, beside: Option<&Beside>) {
    *html += "<header>\n<h1>What Downbeat does on this machine</h1>\n";
    let _ = writeln!(
        html,
        r#"<p class="lead">One run of <code>{}</code>, {}.</p>"#,
        escape(&this.run.command),
        escape(&this.run.date)
    );
    if this.run.scale != "full" || !this.build.optimised {
        let why = if this.build.optimised {
            format!(
                "This was a {} run: few rounds and short ones. What may be published comes from a full run.",
                this.run.scale
            )
        } else {
            "The program was built without optimisation: no figure here says anything about speed.".to_owned()
        };
        let _ = writeln!(html, r#"<p class="warn">{}</p>"#, escape(&why));
    }
    stamp(html, this, beside);
    *html += "<nav><a href=\"#summary\">Summary</a>";
    for section in &SECTIONS {
        let _ = write!(html, "<a href=\"#{}\">{}</a>", section.id, section.title);
    }
    *html += "<a href=\"#how\">How it was measured</a></nav>\n</header>\n";
}

fn stamp(html: &mut String, this: &Measured, beside: Option<&Beside>) {
    *html += r#"<div class="wide"><table class="stamp">"#;
    if let Some(beside) = beside {
        let _ = write!(
            html,
            "<thead><tr><th></th><th>this run</th><th>beside it: {}</th></tr></thead>",
            escape(&beside.name)
        );
    }
    *html += "<tbody>";
    let (ours, theirs) = (facts(this), beside.map(|beside| facts(&beside.run)));
    for (index, (label, value)) in ours.iter().enumerate() {
        let _ = write!(html, "<tr><th>{label}</th><td>{}</td>", escape(value));
        if let Some((_, value)) = theirs.as_ref().and_then(|theirs| theirs.get(index)) {
            let _ = write!(html, "<td>{}</td>", escape(value));
        }
        *html += "</tr>";
    }
    *html += "</tbody></table></div>\n";
}

/// What a run was made on, with, when: the same rows for every run.
pub(crate) fn facts(run: &Measured) -> Vec<(&'static str, String)> {
    let Measured { machine, build, run: ran, .. } = run;
    let memory =
        machine.memory_bytes.map_or(String::new(), |memory| format!(", {} of memory", bytes(memory)));
    let cores = if machine.cores == 1 { "1 core".to_owned() } else { format!("{} cores", machine.cores) };
    let cache = machine.write_cache.as_deref().map_or("unknown".to_owned(), |cache| cache.replace(' ', "-"));
    let fua = machine.fua.map_or("FUA unknown", |fua| if fua { "FUA" } else { "no FUA" });
    let direct = if machine.direct_io { "O_DIRECT" } else { "no O_DIRECT" };
    let uring = if machine.io_uring { "io_uring" } else { "no io_uring" };
    let floor = |floor: &downbeat_benches::cells::measured::Floor| {
        let [p50, p99, max] = [floor.p50_ns, floor.p99_ns, floor.max_ns].map(nanoseconds);
        format!("p50 {p50}, p99 {p99}, max {max}")
    };
    let written = ran.written_bytes.map_or(String::new(), |written| format!(", {} written", bytes(written)));
    let (before, after) = (floor(&run.floor.before), floor(&run.floor.after));
    vec![
        ("machine", format!("{}, {cores}{memory}", machine.cpu)),
        ("kernel", format!("Linux {}", machine.kernel)),
        ("filesystem", format!("{}, {cache} cache, {fua}, {direct}, {uring}", machine.filesystem)),
        ("disk floor before", before),
        ("disk floor after", after),
        ("build", format!("downbeat {} from {}", build.version, build.commit)),
        ("compiler", format!("{}; allocator {}", build.compiler, build.allocator)),
        ("date", format!("{}, {} long{written}", ran.date, nanoseconds(ran.seconds * 1e9))),
        ("mode", ran.mode.clone()),
        ("command", ran.command.clone()),
        (
            "others",
            format!(
                "used {:.0} % of the cores in all, at most {:.0} % during a cell; load at the beginning {}",
                ran.others * 100.0,
                run.others() * 100.0,
                machine.load
            ),
        ),
    ]
}

fn summary(html: &mut String, this: &Measured, beside: Option<&Beside>) {
    *html += "<h2 id=\"summary\">Summary</h2>\n";
    let _ = writeln!(
        html,
        "<p>Medians of the rounds, with the least and the most. {} logs were closed and replayed on one thread, {} \
         events: the digests of all stages were those of the live run, every time.</p>",
        number(this.replays.logs),
        number(this.replays.events)
    );
    let more = if beside.is_some() { "<th>beside</th><th>times as good</th>" } else { "" };
    let _ = write!(
        html,
        "<div class=\"wide\"><table><thead><tr><th></th><th>median</th><th>least–most</th><th></th>{more}</tr></thead>"
    );
    for group in &GROUPS {
        let rows: Vec<_> = group.rows.iter().filter_map(|row| Some((row, row.of(this)?))).collect();
        if rows.is_empty() {
            continue;
        }
        let _ =
            write!(html, "<tbody><tr class=\"group\"><th colspan=\"6\">{}</th></tr>", escape(group.title));
        for (row, answer) in rows {
            summary_row(html, row, &answer, beside.map(|beside| row.of(&beside.run)));
        }
        *html += "</tbody>";
    }
    *html += "</table></div>\n";
}

fn summary_row(html: &mut String, row: &Row, answer: &Answer, beside: Option<Option<Answer>>) {
    let against =
        answer.against.map_or(String::new(), |(times, called)| format!("{} {called}", ratio(times)));
    let _ = write!(
        html,
        "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td>",
        escape(row.name),
        figure(answer.value, answer.unit),
        spread(answer.low, answer.high, answer.rounds, answer.unit),
        escape(&against)
    );
    match beside {
        Some(Some(beside)) => {
            let better = better(answer.unit, answer.value, beside.value);
            let _ = write!(
                html,
                "<td>{}</td><td class=\"{}\">{}</td>",
                figure(beside.value, beside.unit),
                colour(answer, &beside),
                ratio(better)
            );
        }
        Some(None) => *html += "<td class=\"none\">–</td><td></td>",
        None => {}
    }
    *html += "</tr>";
}

/// Only what lies outside the spread of both runs is called better or worse.
fn colour(this: &Answer, beside: &Answer) -> &'static str {
    let more_is_better = this.unit != downbeat_benches::cells::measured::Unit::Nanoseconds;
    if this.low > beside.high {
        if more_is_better { "better" } else { "worse" }
    } else if this.high < beside.low {
        if more_is_better { "worse" } else { "better" }
    } else {
        "same"
    }
}

fn charts(html: &mut String, section: &Section, this: &Measured, beside: Option<&Beside>) {
    let _ = writeln!(
        html,
        "<section>\n<h2 id=\"{}\">{}</h2>\n<p>{}</p>",
        section.id,
        section.title,
        escape(section.about)
    );
    for chart in section.charts {
        figure_of(html, chart, this, beside);
    }
    *html += "</section>\n";
}

fn figure_of(html: &mut String, chart: &Chart, this: &Measured, beside: Option<&Beside>) {
    let run = beside.map(|beside| &beside.run);
    let _ = writeln!(html, "<h3 id=\"{}\">{}</h3>", chart.id, escape(chart.title));
    let Some(drawn) = draw(chart, this, run) else {
        *html += "<p class=\"note\">Not measured.</p>\n";
        return;
    };
    *html += "<figure>\n";
    if !matches!(chart.form, Form::Rows) || beside.is_some() {
        legend(html, chart, &drawn.series, beside);
    }
    let _ = writeln!(html, "<div class=\"scroll\">{}</div>", drawn.svg);
    let better = match chart.unit {
        downbeat_benches::cells::measured::Unit::Nanoseconds => "Lower is better",
        _ => "Higher is better",
    };
    let better = if matches!(chart.form, Form::Rows) {
        if better.starts_with("Lower") { "Further left is better" } else { "Further right is better" }
    } else {
        better
    };
    let wider = if drawn.as_fixed {
        ""
    } else {
        " The scale is wider than that of other pages, for a figure lies beyond it."
    };
    let _ = writeln!(
        html,
        "<figcaption>{better}. The shade is from the least to the most of the rounds.{wider}</figcaption>\n</figure>"
    );
    *html += &table(chart, &drawn.series, this, run);
    html.push('\n');
}

fn legend(html: &mut String, chart: &Chart, series: &[String], beside: Option<&Beside>) {
    let marks = !matches!(chart.form, Form::Percentiles);
    *html += "<ul class=\"legend\">";
    if !matches!(chart.form, Form::Rows) {
        for (colour, name) in series.iter().enumerate() {
            let _ = write!(html, "<li>{}{}</li>", swatch(Some(colour), Whose::This, marks), escape(name));
        }
    }
    if let Some(beside) = beside {
        for (whose, name) in [(Whose::This, "this run"), (Whose::Beside, beside.name.as_str())] {
            let _ = write!(html, "<li>{}{}</li>", swatch(None, whose, marks), escape(name));
        }
    }
    *html += "</ul>\n";
}

fn how(html: &mut String, this: &Measured) {
    *html += "<h2 id=\"how\">How it was measured</h2>\n";
    for text in [
        "Cells that stand in one picture were measured in turn, round after round, so that the moods of the machine fall \
         on all of them alike. The figure is the median of the rounds. Each picture has a share of the time of a run; \
         when it is over, no further round begins. One round is always done.",
        "Percentiles are of all rounds together, out of histograms with three digits; the shade is that of the best and \
         the worst round at each percentile. A line ends where each round has one more sample beyond it.",
        "Every log that an engine wrote was closed, read again with all checksums and its chain of hashes, and replayed on \
         one thread without actors. A run in which any digest differs ends with an error and gives no page.",
        "Scales and order are the same in every page of this version, so two of them can be laid side by side. The run \
         is in this page as JSON; nothing in the page is executed, and nothing is loaded from elsewhere.",
    ] {
        let _ = writeln!(html, "<p>{text}</p>");
    }
    let _ = writeln!(
        html,
        "<p>To measure again, and to lay this run beside the new one:</p>\n\
         <p><code>downbeat bench{}{} --html NEW.html --beside THIS.html</code></p>",
        if this.run.scale == "quick" { " --quick" } else { "" },
        if this.run.mode == "shared" { String::new() } else { format!(" --mode {}", escape(&this.run.mode)) }
    );
}

/// The run as JSON, in which nothing can end the element.
fn embed(html: &mut String, begin: &str, run: &Measured) {
    let json = json(run).replace('<', "\\u003c");
    let _ = writeln!(html, "{begin}{json}{PAGE_END}");
}

/// A run as one line of JSON.
pub(crate) fn json(run: &Measured) -> String {
    serde_json::to_string(run).expect("a run has no maps with odd keys")
}

/// Text as it may stand in an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
