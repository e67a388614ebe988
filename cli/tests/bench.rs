//! `bench`: what it measures is there under its documented names, in a page that needs nothing else; and what makes no
//! sense is refused before anything is measured.
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use common::{DOWNBEAT, Ran, downbeat, finish, generate, json, run};
use serde_json::Value;

/// The smallest run there is, once for all tests: what it printed, its JSON, its page.
fn smallest() -> &'static (Ran, Value, String) {
    static SMALLEST: OnceLock<(Ran, Value, String)> = OnceLock::new();
    SMALLEST.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let ran = downbeat(dir.path(), &["bench", "--smoke", "--json", "run.json", "--html", "run.html"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["run.html", "run.json"], "nothing else is left behind");
        let text = fs::read_to_string(dir.path().join("run.json")).unwrap();
        let page = fs::read_to_string(dir.path().join("run.html")).unwrap();
        (ran, serde_json::from_str(&text).unwrap(), page)
    })
}

fn kept(dir: &Path) {
    let (_, run, page) = smallest();
    fs::write(dir.join("run.json"), run.to_string()).unwrap();
    fs::write(dir.join("run.html"), page).unwrap();
}

fn refused(dir: &Path, args: &[&str], code: i32, message: &str) {
    let ran = downbeat(dir, &[&["bench", "--smoke"], args].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stderr, format!("downbeat: {message}\n"));
}

/// The names in the first column of the tables of a document.
fn documented(document: &str, heading: &str) -> BTreeSet<String> {
    let table = document.split(heading).nth(1).unwrap();
    let rows =
        table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let names = rows.skip(2).flat_map(|row| {
        let first = row.split('|').nth(1).unwrap();
        first.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn the_json_has_the_names_that_are_documented_and_no_others() {
    let (_, run, _) = smallest();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench.md");
    let document = fs::read_to_string(document).unwrap();
    let names: BTreeSet<String> = run.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, documented(&document, "## The JSON"));
    for name in ["run", "machine", "build", "floor"] {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap();
        for field in run[name].as_object().unwrap().keys() {
            assert!(row.contains(&format!("`{field}`")), "{name}.{field}");
        }
    }
    let charts = |list: &str| -> BTreeSet<String> {
        let all = run[list].as_array().unwrap().iter();
        all.map(|one| one["chart"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(charts("cells"), documented(&document, "A cell has"));
    assert_eq!(charts("curves"), documented(&document, "A curve has"));
    assert_eq!((&run["format"], &run["version"]), (&"downbeat-bench".into(), &1.into()));
    assert_eq!(run["run"]["scale"], "test");
}

#[test]
fn every_figure_is_a_number_and_every_log_was_replayed() {
    let (_, run, _) = smallest();
    for cell in run["cells"].as_array().unwrap() {
        let [low, median, high] = ["low", "median", "high"].map(|name| cell[name].as_f64().unwrap());
        assert!(0.0 < low && low <= median && median <= high, "{cell}");
        assert_eq!(cell["rounds"].as_array().unwrap().len(), 1, "{cell}");
    }
    for curve in run["curves"].as_array().unwrap() {
        let points = curve["points"].as_array().unwrap();
        assert!(points.len() > 2 && curve["count"].as_u64().unwrap() >= 5, "{curve}");
        let times = points.iter().map(|point| point["ns"].as_f64().unwrap());
        assert!(times.is_sorted(), "{curve}");
    }
    // Five forms, one alone, three rates, and two points of two lines in each of three pictures.
    assert_eq!(run["replays"]["logs"], 5 + 1 + 3 + 12);
}

#[test]
fn the_page_has_all_sections_and_needs_nothing_else() {
    let (_, run, page) = smallest();
    for section in ["summary", "disk", "log", "hop", "end_to_end", "scaling", "how"] {
        assert!(page.contains(&format!("<h2 id=\"{section}\">")), "{section}");
    }
    let lists = ["cells", "curves"].map(|list| run[list].as_array().unwrap());
    let charts: BTreeSet<&str> =
        lists.iter().flat_map(|list| list.iter()).map(|one| one["chart"].as_str().unwrap()).collect();
    for chart in &charts {
        assert!(page.contains(&format!("<h3 id=\"{chart}\">")), "{chart}");
    }
    assert_eq!(page.matches("<svg class=\"plot\"").count(), charts.len());
    assert!(!page.contains("NaN") && !page.contains("inf "), "a coordinate is no number");
    for outside in ["http:", "https:", "//", "src=", "@import", "url(", "<link", "javascript:"] {
        let found = page.find(outside).map(|at| &page[at.saturating_sub(40)..at + 40]);
        assert_eq!(found, None, "{outside}");
    }
    // The one script is data.
    assert_eq!(page.matches("<script").count(), 1);
    let data = page.split_once(r#"<script type="application/json" id="downbeat-bench">"#).unwrap().1;
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(&data, run);
}

#[test]
fn the_page_on_the_terminal_says_on_what_it_was_measured() {
    let (ran, run, _) = smallest();
    for label in [
        "machine",
        "kernel",
        "filesystem",
        "disk floor before",
        "disk floor after",
        "build",
        "compiler",
        "date",
        "command",
    ] {
        assert!(
            ran.stdout.lines().any(|line| line.trim_start().starts_with(label)),
            "{label}: {}",
            ran.stdout
        );
    }
    assert!(ran.stdout.contains("  ✓ 21 logs were replayed"), "{}", ran.stdout);
    assert!(ran.stdout.contains(run["build"]["commit"].as_str().unwrap()));
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
}

#[test]
fn a_run_that_was_kept_is_shown_again_and_laid_beside_another() {
    let dir = tempfile::tempdir().unwrap();
    kept(dir.path());
    let (_, run, page) = smallest();
    let again = downbeat(dir.path(), &["bench", "--from", "run.json", "--html", "again.html"]);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""));
    assert_eq!(
        &fs::read_to_string(dir.path().join("again.html")).unwrap(),
        page,
        "the same run, the same page"
    );
    assert_eq!(&json(&downbeat(dir.path(), &["bench", "--from", "run.html", "--json"])), run);

    let mut slower = run.clone();
    for cell in slower["cells"].as_array_mut().unwrap() {
        for name in ["low", "median", "high"] {
            cell[name] = (cell[name].as_f64().unwrap() / 2.0).into();
        }
    }
    fs::write(dir.path().join("slower <1>.json"), slower.to_string()).unwrap();
    let args = ["bench", "--from", "run.html", "--beside", "slower <1>.json", "--html", "both.html"];
    let both = downbeat(dir.path(), &args);
    assert_eq!((both.code, both.stderr.as_str()), (0, ""));
    assert!(
        both.stdout.contains("slower <1>.json, and how many times as good this run is"),
        "{}",
        both.stdout
    );
    let line = both.stdout.lines().find(|line| line.contains("five stages in one actor")).unwrap();
    assert!(line.ends_with(" 2.00×"), "{line}");
    let both = fs::read_to_string(dir.path().join("both.html")).unwrap();
    assert!(both.contains("slower &lt;1&gt;.json") && !both.contains("slower <1>"));
    assert_eq!(both.matches("<script type=\"application/json\"").count(), 2);
    let lines = |whose: &str| both.matches(&format!("<polyline class=\"line c0 {whose}\"")).count();
    assert!(lines("this") > 5 && lines("beside") == lines("this"));
}

#[test]
fn what_cannot_be_measured_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), 100);
    run(dir.path(), "log", "loans.jsonl", &[]);
    fs::write(dir.path().join("file"), "").unwrap();
    let holds = "log: holds a log; give another directory, on the disk that is to be measured";
    refused(dir.path(), &["--dir", "log"], 2, holds);
    refused(dir.path(), &["--dir", "absent"], 3, "absent: no such directory");
    refused(dir.path(), &["--dir", "file"], 3, "file: is a file, expected a directory");
    let no_place = "absent/x.html: cannot be written: No such file or directory (os error 2)";
    refused(dir.path(), &["--html", "absent/x.html"], 3, no_place);
    refused(dir.path(), &["--json", "log"], 3, "log: cannot be written: is a directory");
    std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
    refused(dir.path(), &["--html", "link"], 3, "link: cannot be written: is not a regular file");
    let no_file = "absent: cannot be read: No such file or directory (os error 2)";
    refused(dir.path(), &["--beside", "absent"], 3, no_file);
    let expected = "expected what `downbeat bench --json` or `--html` wrote";
    let no_json = format!("file: is not JSON (EOF while parsing a value at line 1 column 0), {expected}");
    refused(dir.path(), &["--beside", "file"], 1, &no_json);
    fs::write(dir.path().join("other.json"), "{}").unwrap();
    refused(
        dir.path(),
        &["--beside", "other.json"],
        1,
        &format!("other.json: is not a run of bench, {expected}"),
    );
    for args in [&["--from", "run.json"][..], &["--quick"]] {
        assert_eq!(downbeat(dir.path(), &[&["bench", "--smoke"], args].concat()).code, 2, "{args:?}");
    }
}

#[test]
fn a_disk_without_room_is_refused_with_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("small")).unwrap();
    // A filesystem of its own, in a mount namespace that ends with the shell.
    let script = "mount -t tmpfs -o size=100m tmpfs small || exit 99; exec \"$0\" bench --dir small";
    let mut command = Command::new("unshare");
    let ran = finish(command.current_dir(dir.path()).args(["-rm", "sh", "-c", script, DOWNBEAT]));
    if ran.code == 99 || ran.stderr.contains("unshare") {
        eprintln!("skipped: no mount namespace: {}", ran.stderr);
        return;
    }
    let message = "downbeat: small: 100.0 MiB are free, a run needs 480.0 MiB; --quick needs 416.0 MiB\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (3, message), "{ran:?}");
}
