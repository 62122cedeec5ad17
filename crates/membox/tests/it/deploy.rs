//! What `deploy` watches is there to be watched: every metric that an alert or a panel names is one that a box shows.

use crate::common::{Server, data_with_model};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of the box's own metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !is_name(c)).filter(|word| word.starts_with("membox_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_that_deploy_names_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let post = |path: &str, body: Value| {
        let (status, answer) = server.call("POST", path, &body);
        assert_eq!(status, 200, "{path}: {answer}");
    };
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"redaction": {"mode": "full"}})).0, 201);
    post("/v1/collections/c/records", json!({"records": [{"text": "write to lena@example.com"}]}));
    post("/v1/collections/c/recall", json!({"query": "whom to write to"}));
    post("/v1/sessions/s/messages", json!({"messages": [{"role": "user", "content": "hello"}]}));
    post("/v1/tokens", json!({"input": "hello"}));
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "memory_list", "arguments": {}}});
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    assert_eq!(server.raw("POST", "/mcp", &headers, call.to_string().into_bytes()).0, 200);
    let (_, _, shown) = server.raw("GET", "/metrics", &[], Vec::new());
    let resident = shown.lines().find_map(|line| line.strip_prefix("membox_resident_bytes "));
    assert!(resident.and_then(|bytes| bytes.parse::<f64>().ok()).is_some_and(|bytes| bytes > 1e7), "{resident:?}");
    for name in shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(shown.contains(&format!("# HELP {name} ")), "{name} does not say what it means");
    }
    let shown = named(&shown);
    let (status, headers, page) = server.raw("GET", "/dashboard", &[], Vec::new());
    assert_eq!(status, 200);
    assert!(
        headers.iter().any(|(name, value)| name == "content-security-policy" && value.contains("connect-src 'self'"))
    );
    assert!(!page.contains("http://") && !page.contains("https://"), "it loads nothing from elsewhere");
    for (file, text) in [
        ("alerts.yml", include_str!("../../../../deploy/alerts.yml")),
        ("alerts.test.yml", include_str!("../../../../deploy/alerts.test.yml")),
        ("grafana.json", include_str!("../../../../deploy/grafana.json")),
        ("/dashboard", page.as_str()),
    ] {
        let missing: Vec<String> = named(text).difference(&shown).cloned().collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, which the box does not show");
        assert!(named(text).len() > 4, "{file} names nothing");
    }
    let dashboard: Value = serde_json::from_str(include_str!("../../../../deploy/grafana.json")).expect("JSON");
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(panel["title"].is_string() && panel["targets"][0]["expr"].is_string(), "{panel}");
    }
    server.stop();
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_container_has_limits_and_no_more_rights_than_it_needs() {
    let compose = include_str!("../../../../deploy/compose.yaml");
    // What a service says itself, or takes over from what all boxes share.
    let blocks: Vec<&str> = compose.split("\n  weights:\n").collect();
    let [shared, rest] = blocks[..] else { panic!("weights is there once") };
    let weights = rest.split("\n  membox-gpu:\n").next().expect("its settings");
    for block in [shared, weights] {
        for wanted in [
            "mem_limit:",
            "memswap_limit:",
            "pids_limit:",
            "nofile:",
            "core: 0",
            "read_only: true",
            "no-new-privileges:true",
            "cap_drop:\n",
            "- ALL",
        ] {
            assert!(block.contains(wanted), "{wanted} is missing in\n{block}");
        }
    }
    assert_eq!(compose.matches("    <<: *membox\n").count(), 2, "both boxes have what is shared");
    assert!(!compose.contains("privileged: true"));
}

#[test]
fn nothing_of_pypi_is_installed_without_its_hash() {
    let list = |folder: &str, ending: &str| {
        let files = std::fs::read_dir(root().join(folder)).expect("a folder").flatten().map(|entry| entry.path());
        files.filter(|path| path.to_string_lossy().ends_with(ending)).collect::<Vec<_>>()
    };
    let scripts = [list("scripts", ".sh"), list("benches", ".sh"), vec![root().join("Makefile")]].concat();
    let mut installs = 0;
    for path in scripts {
        let text = std::fs::read_to_string(&path).expect("a file").replace("\\\n", " ");
        let is_install = |line: &&str| line.contains("pip\" install") || line.contains("pip install");
        // What has no index is built here.
        for line in text.lines().filter(is_install).filter(|line| !line.contains("--no-index")) {
            installs += 1;
            assert!(line.contains("--require-hashes"), "{}: {line}", path.display());
            assert!(line.contains("--only-binary :all:") || line.contains("llama"), "{}: {line}", path.display());
        }
    }
    assert!(installs > 0, "the test looks where they are");
    let mut packages = 0;
    for path in [list("scripts", ".txt"), list("benches", ".txt")].concat() {
        let text = std::fs::read_to_string(&path).expect("a file").replace("\\\n", " ");
        for line in text.lines().filter(|line| line.contains("==") && !line.starts_with('#')) {
            packages += 1;
            assert!(line.contains("--hash=sha256:"), "{}: {line}", path.display());
        }
    }
    assert!(packages > 20);
}

#[test]
fn the_notices_and_the_sbom_name_what_is_in_the_binary() {
    let made = Command::new(root().join("scripts/notices.sh")).output().expect("a script");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| std::fs::read_to_string(root().join("target/notices").join(name)).expect("a file");
    let (notices, sbom) = (read("THIRD-PARTY-NOTICES.txt"), read("membox.cdx.json"));
    let sbom: Value = serde_json::from_str(&sbom).expect("JSON");
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    let components = sbom["components"].as_array().expect("components");
    let find = |name: &str| components.iter().find(|component| component["name"] == name);
    for (name, licence) in [
        ("FAISS", "MIT"),
        ("SQLite", "blessing"),
        ("OpenBLAS", "BSD-3-Clause"),
        ("rusqlite", "MIT"),
        ("English stop words of spaCy", "MIT"),
        ("all-MiniLM-L6-v2", "Apache-2.0"),
    ] {
        let found = find(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(found["licenses"][0]["expression"], licence, "{name}");
        assert!(notices.contains(name), "{name} is not in the notices");
    }
    assert!(find("tempfile").is_some() && find("proptest").is_none(), "tests are no part of the binary");
    let with_hash = components.iter().filter(|component| component["hashes"][0]["alg"] == "SHA-256").count();
    assert!(with_hash > 300, "{with_hash} packages have the checksum of Cargo.lock");
    assert!(notices.contains("Permission is hereby granted, free of charge"), "it has the words of licences");
}
