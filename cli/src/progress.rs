//! A line on stderr that moves while something long is under way; nothing when nobody is looking.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `total` steps, drawn only on a terminal and only when wanted.
pub(crate) fn bar(wanted: bool, what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target(wanted));
    let style = ProgressStyle::with_template("  {msg:<12} {bar:32} {human_pos}/{human_len}  {per_sec}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_message(what);
    bar
}

/// A bar over about as many seconds, in tenths.
pub(crate) fn share(wanted: bool, seconds: f64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some((seconds * 10.0) as u64), target(wanted));
    if let Ok(style) = ProgressStyle::with_template("  {msg:<13} {bar:32} {percent:>3} %  {elapsed}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

/// A line without an end in sight.
pub(crate) fn spinner(wanted: bool, what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, target(wanted));
    if let Ok(style) = ProgressStyle::with_template("  {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(what);
    spinner.tick();
    spinner
}

/// Counts events without an end in sight.
pub(crate) fn counter(wanted: bool, what: &'static str) -> ProgressBar {
    let counter = ProgressBar::with_draw_target(None, target(wanted));
    if let Ok(style) = ProgressStyle::with_template("  {msg:<12} {human_pos} events  {per_sec}") {
        counter.set_style(style);
    }
    counter.set_message(what);
    counter
}

/// Hidden by itself when stderr is no terminal.
fn target(wanted: bool) -> ProgressDrawTarget {
    if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
