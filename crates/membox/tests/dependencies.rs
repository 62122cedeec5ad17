//! The crates of the workspace use each other as `docs/dependencies.txt` says, and not otherwise.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

type Uses = BTreeMap<String, BTreeSet<String>>;

/// Names without what all of them begin with.
fn short(name: &str) -> String {
    name.strip_prefix("membox-").unwrap_or(name).to_owned()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// What the crates use, those of their tests and builds among it.
fn used() -> Uses {
    let mut cargo = Command::new(env!("CARGO"));
    let metadata = cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let metadata = metadata.output().expect("cargo metadata");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |of: &Value| short(of["name"].as_str().expect("a name"));
    let uses = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        dependencies.iter().filter(|dependency| dependency["path"].is_string()).map(name).collect()
    };
    packages.iter().map(|package| (name(package), uses(package))).collect()
}

fn allowed() -> Uses {
    let list = std::fs::read_to_string(root().join("docs/dependencies.txt")).expect("the list");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let (name, uses) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
        (name.to_owned(), uses.split_whitespace().map(str::to_owned).collect())
    };
    lines.map(read).collect()
}

#[test]
fn crates_use_each_other_as_the_list_says() {
    let (used, allowed) = (used(), allowed());
    let names: BTreeSet<&String> = used.keys().chain(allowed.keys()).collect();
    let differences = names.into_iter().filter(|name| used.get(*name) != allowed.get(*name));
    let shown = |name: &String| format!("{name} uses {:?}, and the list says {:?}", used.get(name), allowed.get(name));
    let differences: Vec<String> = differences.map(shown).collect();
    assert!(differences.is_empty(), "docs/dependencies.txt and the manifests differ:\n{}", differences.join("\n"));
}

#[test]
fn what_callers_say_and_hear_depends_on_nothing() {
    assert_eq!(allowed().get("api"), Some(&BTreeSet::new()));
    for engine in ["compressor", "redaction", "index", "records", "vectors", "encoder"] {
        assert!(!allowed()[engine].contains("api"), "{engine} has types of its own");
    }
}
