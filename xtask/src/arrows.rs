//! Who may import whom, checked against what cargo resolves.
//!
//! ```text
//!  derive ◄─ record ◄─┬─ sequencer ◄─┐
//!                     ├─ wal ◄───────┼─ engine ◄─ cli
//!                     └─ flow ◄─ actors ◄─┘        │
//!                          ▲─── audit ◄────────────┤
//!              sim (record, sequencer, wal, flow)  │
//!                              benches (any) ◄─────┘ without criterion
//! ```
//!
//! Order, durability and effect never import each other: only `engine` joins them. Normal dependencies count;
//! what a test or a build script needs does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::tree::Finding;

/// Per package, which of ours it may import.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("downbeat-derive", &[]),
    ("downbeat-record", &["downbeat-derive"]),
    ("downbeat-sequencer", &["downbeat-record"]),
    ("downbeat-wal", &["downbeat-record"]),
    ("downbeat-flow", &["downbeat-record"]),
    ("downbeat-actors", &["downbeat-record", "downbeat-flow"]),
    (
        "downbeat",
        &["downbeat-record", "downbeat-sequencer", "downbeat-wal", "downbeat-flow", "downbeat-actors"],
    ),
    ("downbeat-audit", &["downbeat-record", "downbeat-flow", "downbeat-wal"]),
    ("downbeat-sim", &["downbeat-record", "downbeat-sequencer", "downbeat-wal", "downbeat-flow"]),
    ("downbeat-cli", &["downbeat", "downbeat-audit", "downbeat-benches", "downbeat-example-loan"]),
];

/// Packages that may import any of ours.
const FREE: [&str; 4] = ["downbeat-benches", "downbeat-example-loan", "downbeat-fuzz-targets", "xtask"];

/// Per package, what it must not reach, through however many others.
const MUST_NOT_KNOW: [(&str, &[&str]); 7] = [
    ("downbeat-record", &["tokio", "ractor", "io-uring", "crossbeam"]),
    ("downbeat-sequencer", &["tokio", "ractor", "io-uring"]),
    ("downbeat-wal", &["tokio", "ractor"]),
    ("downbeat-flow", &["tokio", "ractor", "io-uring", "crossbeam"]),
    ("downbeat-actors", &["io-uring"]),
    ("downbeat-audit", &["tokio", "ractor"]),
    ("downbeat-sim", &["tokio", "ractor"]),
];

/// The program measures with the library of the benches, and must not carry what only the benches need.
const PROGRAM: &str = "downbeat-cli";
const NOT_IN_PROGRAM: &str = "criterion";

/// A default feature of ractor that costs two thirds of a hop. Features unify over a workspace, so one
/// dependency that names ractor without care turns it on for everyone.
const SPANS: &str = "message_span_propogation";

/// Every arrow that should not be there.
///
/// # Errors
///
/// When cargo does not say what it resolves.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = findings(&resolve(root)?);
    findings.extend(carried(&tree_of_program(root)?));
    Ok(findings)
}

/// What the program is built of when it is built alone: in the metadata of a workspace the features of all its
/// members are unified, and the benches want more than the program does.
fn tree_of_program(root: &Path) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "-p", PROGRAM, "-e", "normal", "--prefix", "none", "-f", "{p}"];
    let tree = Command::new(cargo).args(arguments).current_dir(root).output().context("cargo tree")?;
    anyhow::ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr).trim());
    String::from_utf8(tree.stdout).context("cargo tree")
}

fn carried(tree: &str) -> Option<Finding> {
    let found = tree.lines().any(|line| line.split(' ').next() == Some(NOT_IN_PROGRAM));
    let what =
        format!("{PROGRAM} carries {NOT_IN_PROGRAM}: use downbeat-benches without its default features");
    found.then(|| Finding { path: "cli/Cargo.toml".to_owned(), line: 0, what })
}

/// What cargo resolves for this machine: for others it would have to fetch crates that nobody here builds.
fn resolve(root: &Path) -> anyhow::Result<Metadata> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().context("rustc -vV")?;
    let version = String::from_utf8(version.stdout).context("rustc -vV")?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV has no host")?;
    let platform = ["--filter-platform".to_owned(), host.to_owned()];
    let metadata = MetadataCommand::new().current_dir(root).other_options(platform).exec();
    metadata.context("cargo metadata")
}

fn findings(metadata: &Metadata) -> Vec<Finding> {
    let members = metadata.workspace_packages();
    let ours: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &members {
        findings.extend(imports(package, &ours));
        findings.extend(reaches(package, metadata));
    }
    findings.extend(spans(metadata));
    findings
}

/// The direct arrows between ours.
fn imports(package: &Package, ours: &BTreeSet<&str>) -> Vec<Finding> {
    let name = package.name.as_str();
    if FREE.contains(&name) {
        return vec![];
    }
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == name) else {
        return vec![at(package, "is not in the table of arrows: add it to xtask/src/arrows.rs".to_owned())];
    };
    let normal = package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal);
    let wrong = normal.filter(|one| ours.contains(&*one.name) && !allowed.contains(&&*one.name));
    wrong
        .map(|one| {
            let may = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
            at(
                package,
                format!("imports {}, but may import {may}: move what joins them to engine/", one.name),
            )
        })
        .collect()
}

/// What a package reaches over normal dependencies.
fn reaches(package: &Package, metadata: &Metadata) -> Vec<Finding> {
    let Some((_, forbidden)) = MUST_NOT_KNOW.iter().find(|(name, _)| *name == package.name.as_str()) else {
        return vec![];
    };
    let paths = paths_from(&package.id, metadata);
    let reached = paths.iter().filter(|(id, _)| forbidden.contains(&metadata[id].name.as_str()));
    reached
        .map(|(id, path)| {
            let path: Vec<_> = path.iter().map(|id| metadata[id].name.as_str()).collect();
            let what = format!("must not know {}, and reaches it by {}", metadata[id].name, path.join(" → "));
            at(package, what)
        })
        .collect()
}

/// Every package that `from` reaches, with one way there.
fn paths_from<'a>(
    from: &'a PackageId,
    metadata: &'a Metadata,
) -> BTreeMap<&'a PackageId, Vec<&'a PackageId>> {
    let nodes = metadata.resolve.as_ref().map(|resolve| &resolve.nodes[..]).unwrap_or_default();
    let mut paths = BTreeMap::from([(from, vec![from])]);
    let mut ahead = vec![from];
    while let Some(id) = ahead.pop() {
        let Some(node) = nodes.iter().find(|node| node.id == *id) else { continue };
        let normal = |kinds: &[cargo_metadata::DepKindInfo]| {
            kinds.iter().any(|info| info.kind == DependencyKind::Normal)
        };
        for next in node.deps.iter().filter(|dep| normal(&dep.dep_kinds)).map(|dep| &dep.pkg) {
            if !paths.contains_key(next) {
                let mut path = paths[id].clone();
                path.push(next);
                paths.insert(next, path);
                ahead.push(next);
            }
        }
    }
    paths
}

/// The features of ractor, unified over the workspace.
fn spans(metadata: &Metadata) -> Vec<Finding> {
    let nodes = metadata.resolve.as_ref().map(|resolve| &resolve.nodes[..]).unwrap_or_default();
    let with = nodes.iter().filter(|node| {
        metadata[&node.id].name.as_str() == "ractor"
            && node.features.iter().any(|feature| feature.as_str() == SPANS)
    });
    with.map(|node| {
        let what = format!(
            "{} is built with `{SPANS}`: see who asks for it with `cargo tree -e features -i ractor`",
            node.id
        );
        Finding { path: "Cargo.toml".to_owned(), line: 0, what }
    })
    .collect()
}

fn at(package: &Package, what: String) -> Finding {
    let folder = package.manifest_path.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
    Finding { path: format!("{folder}/Cargo.toml"), line: 0, what: format!("{} {what}", package.name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::root;

    /// What is found after `change` was done to one package.
    fn found_after(package: &str, change: impl FnOnce(&mut Package, &[Package])) -> Vec<String> {
        let mut metadata = resolve(&root()).unwrap();
        let all = metadata.packages.clone();
        let one = metadata.packages.iter_mut().find(|one| one.name.as_str() == package).unwrap();
        change(one, &all);
        findings(&metadata).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_from_effect_to_durability_is_found() {
        let found = found_after("downbeat-actors", |actors, all| {
            let engine = all.iter().find(|one| one.name.as_str() == "downbeat").unwrap();
            let wal = engine.dependencies.iter().find(|one| one.name.as_str() == "downbeat-wal").unwrap();
            actors.dependencies.push(wal.clone());
        });
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("actors/Cargo.toml: downbeat-actors imports downbeat-wal"), "{found:?}");
    }

    #[test]
    fn what_is_reached_through_others_is_found() {
        let mut metadata = resolve(&root()).unwrap();
        let id =
            |name: &str| metadata.packages.iter().find(|one| one.name.as_str() == name).unwrap().id.clone();
        let (flow, actors) = (id("downbeat-flow"), id("downbeat-actors"));
        let engine = id("downbeat");
        let nodes = &mut metadata.resolve.as_mut().unwrap().nodes;
        let to_actors = nodes.iter().find(|node| node.id == engine).unwrap().deps.iter();
        let to_actors = to_actors.filter(|dep| dep.pkg == actors).cloned().collect::<Vec<_>>();
        nodes.iter_mut().find(|node| node.id == flow).unwrap().deps.extend(to_actors);
        let found: Vec<_> = findings(&metadata).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|one| one.contains("downbeat-flow must not know tokio")), "{found:?}");
        assert!(found.iter().any(|one| one.contains("downbeat-flow must not know ractor")), "{found:?}");
    }

    #[test]
    fn a_new_package_has_to_enter_the_table() {
        let found = found_after("downbeat-flow", |flow, _| {
            flow.name = serde_json::from_value("downbeat-new".into()).unwrap();
        });
        assert!(found.iter().any(|one| one.contains("is not in the table of arrows")), "{found:?}");
    }

    #[test]
    fn a_program_that_carries_what_only_the_benches_need_is_found() {
        assert_eq!(carried("downbeat-cli v0.1.0\nclap v4.6.7\ncriterion-plot v0.5.0\n"), None);
        let found = carried("downbeat-cli v0.1.0\ncriterion v0.8.2\n").unwrap();
        assert!(found.to_string().starts_with("cli/Cargo.toml: downbeat-cli carries criterion"), "{found}");
    }

    #[test]
    fn span_propagation_is_found_in_the_unified_features() {
        let mut metadata = resolve(&root()).unwrap();
        let ractor = metadata.packages.iter().find(|one| one.name.as_str() == "ractor").unwrap().id.clone();
        let nodes = &mut metadata.resolve.as_mut().unwrap().nodes;
        let node = nodes.iter_mut().find(|node| node.id == ractor).unwrap();
        node.features.push(serde_json::from_value(SPANS.into()).unwrap());
        assert_eq!(findings(&metadata).len(), 1);
    }
}
