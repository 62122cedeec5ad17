//! FAISS's large arrays are in pages of 2 MB where Linux gives them to programs that ask. Alone in its process, whose
//! memory it looks at.

use membox_index::{IndexPolicy, VectorIndex};
use membox_vectors::{RowType, VectorFile};
use std::fs::read_to_string;

/// KB of this process's memory in large pages.
fn in_large_pages() -> u64 {
    let mappings = read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = mappings.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[test]
fn a_large_graph_is_in_large_pages() {
    let setting = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if setting.is_empty() || setting.contains("[never]") {
        eprintln!("skipped: this system gives out no large pages");
        return;
    }
    const ROWS: u32 = 60_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), 8, RowType::F16).expect("a file");
    let vectors: Vec<Vec<f32>> =
        (0..ROWS).map(|row| (0..8).map(|d| ((row + 1) as f32 * (d + 1) as f32).sin()).collect()).collect();
    file.append(vectors.iter().map(Vec::as_slice)).expect("room");
    drop(vectors);
    let before = in_large_pages();
    let view = file.view(ROWS);
    let spec = IndexPolicy::hnsw().wanted(ROWS).expect("an index");
    let index = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
    // 60 000 times 64 neighbours of four bytes.
    let now = in_large_pages();
    assert!(now >= before + (8 << 10), "{before} KB before, {now} KB with {} rows", index.rows());
}
