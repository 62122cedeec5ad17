//! An index finds what a scan finds, honours filters, and is never trusted when it is damaged or stale.

use membox_index::{AllowedRows, Effort, Found, IndexError, IndexPolicy, IndexSpec, Scanner, Search, VectorIndex};
use membox_vectors::{RowType, VectorFile, VectorView};
use roaring::RoaringBitmap;
use std::path::Path;

const DIMENSION: usize = 32;

/// Unit vectors around a few centres, as those of real text are.
fn vectors(count: usize) -> Vec<Vec<f32>> {
    clustered(count, 20)
}

fn clustered(count: usize, clusters: usize) -> Vec<Vec<f32>> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let centres: Vec<Vec<f32>> = (0..clusters).map(|_| (0..DIMENSION).map(|_| next()).collect()).collect();
    (0..count)
        .map(|i| {
            let v: Vec<f32> = centres[i % clusters].iter().map(|c| c + 0.4 * next()).collect();
            let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            v.iter().map(|x| x / length).collect()
        })
        .collect()
}

fn file(folder: &Path, count: usize) -> VectorFile {
    file_of(folder, "vectors.mbv", &vectors(count))
}

fn file_of(folder: &Path, name: &str, vectors: &[Vec<f32>]) -> VectorFile {
    let mut file = VectorFile::create(&folder.join(name), DIMENSION, RowType::F16).expect("a file");
    file.append(vectors.iter().map(Vec::as_slice)).expect("room");
    file
}

fn build(view: &VectorView, policy: IndexPolicy) -> VectorIndex {
    let spec = policy.wanted(view.rows()).expect("an index");
    VectorIndex::build(view, spec, 2, &mut |_| true).expect("a build")
}

fn all_rows(view: &VectorView) -> AllowedRows {
    AllowedRows::from((0..view.rows()).collect::<RoaringBitmap>())
}

fn nearest(view: &VectorView, index: &VectorIndex, query: &[f32], k: usize, allowed: &AllowedRows) -> Found {
    let (policy, effort, scanner) = Default::default();
    let search = Search { view, index: Some(index), allowed, policy, effort, scanner: &scanner };
    search.nearest(&[query], k).expect("a search").pop().expect("an answer")
}

/// Share of the exact ten best that a search with the index finds for vectors that are not in it.
fn recall(view: &VectorView, index: &VectorIndex, filter: Option<&RoaringBitmap>) -> f64 {
    let rows = view.rows() as usize;
    recall_of(view, index, &vectors(rows + 40)[rows..], filter).0
}

/// The same for these questions; and how many of them a scan answered.
fn recall_of(
    view: &VectorView,
    index: &VectorIndex,
    queries: &[Vec<f32>],
    filter: Option<&RoaringBitmap>,
) -> (f64, usize) {
    let live: RoaringBitmap = (0..view.rows()).collect();
    let allowed = AllowedRows::from(filter.unwrap_or(&live).clone());
    let (mut found, mut wanted, mut scanned) = (0, 0, 0);
    for query in queries {
        let truth = view.scan(query, 0..view.rows(), filter, 10);
        let Found { rows: got, exact } = nearest(view, index, query, 10, &allowed);
        assert!(got.iter().all(|g| filter.is_none_or(|f| f.contains(g.row))), "a row that is filtered out was found");
        wanted += truth.len();
        found += truth.iter().filter(|t| got.iter().any(|g| g.row == t.row)).count();
        scanned += usize::from(exact);
    }
    (found as f64 / wanted as f64, scanned)
}

#[test]
fn hnsw_and_ivf_find_what_a_scan_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(folder.path(), 20_000);
    let view = file.view(20_000);
    for policy in [IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 0, nprobe: 32 }] {
        let index = build(&view, policy);
        let all = recall(&view, &index, None);
        assert!(all >= 0.95, "{policy:?}: recall {all}");
        // Clusters are rows modulo 20: the first filter cuts through all of them, the second excludes half of them
        // whole.
        for (name, filter) in [
            ("across", RoaringBitmap::from_iter((0..20_000).filter(|r| r / 20 % 2 == 0))),
            ("against", RoaringBitmap::from_iter((0..20_000).filter(|r| r % 2 == 0))),
        ] {
            let filtered = recall(&view, &index, Some(&filter));
            assert!(filtered >= 0.95, "{policy:?}: recall {filtered} with a filter {name} the clusters");
        }
    }
}

#[test]
fn a_filter_that_excludes_the_nearest_clusters_loses_no_recall() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = clustered(30_050, 300);
    let file = file_of(folder.path(), "vectors.mbv", &all[..30_000]);
    let view = file.view(30_000);
    let index = build(&view, IndexPolicy::hnsw());
    let even: RoaringBitmap = (0..30_000).filter(|row| row % 2 == 0).collect();
    let (recall, _) = recall_of(&view, &index, &all[30_000..], Some(&even));
    assert!(recall >= 0.95, "recall {recall}");
}

#[test]
fn many_rows_of_a_filter_at_odds_with_the_question_are_told_apart_by_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = clustered(100_050, 1000);
    let file = file_of(folder.path(), "vectors.mbv", &all[..100_000]);
    let view = file.view(100_000);
    // The clusters are rows modulo 1000: half of them are excluded whole, those of the questions among them.
    let even: RoaringBitmap = (0..100_000).filter(|row| row % 2 == 0).collect();
    let odd: Vec<Vec<f32>> = all[100_000..].iter().skip(1).step_by(2).cloned().collect();
    for policy in [IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 0, nprobe: 2 }] {
        let index = build(&view, policy);
        let (recall, scanned) = recall_of(&view, &index, &odd, Some(&even));
        assert!(recall >= 0.9, "{policy:?}: recall {recall}");
        assert_eq!(scanned, 0, "{policy:?}: not every row was scored exactly");
    }
}

#[test]
fn few_rows_here_and_there_are_found_where_the_graph_does_not_lead() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = clustered(100_050, 3000);
    let file = file_of(folder.path(), "vectors.mbv", &all[..100_000]);
    let view = file.view(100_000);
    let index = build(&view, IndexPolicy::hnsw());
    // Of each cluster one or two.
    let few: RoaringBitmap = (0..100_000).filter(|row| row * 7919 % 20 == row / 3000 % 20).collect();
    let (recall, scanned) = recall_of(&view, &index, &all[100_000..], Some(&few));
    assert!(recall >= 0.98 && scanned == 0, "recall {recall}, {scanned} scanned, {} allowed", few.len());
}

#[test]
fn fresh_rows_are_found_before_the_index_covers_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(folder.path(), 12_000);
    let index = build(&file.view(10_000), IndexPolicy::hnsw());
    let view = file.view(12_000);
    let live = AllowedRows::from((0..12_000).collect::<RoaringBitmap>());
    for row in [10_000, 11_111, 11_999] {
        let found = nearest(&view, &index, &view.vector(row), 1, &live);
        assert_eq!((found.rows[0].row, found.exact), (row, false));
    }
}

/// As they are asked while rows come, and the index is extended, and a compaction puts another file in the place of
/// this one.
#[test]
fn many_rows_that_no_index_covers_are_told_apart_by_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = clustered(90_020, 900);
    let (queries, scanner) = (&all[90_000..], Scanner::default());
    let recall = |view: &VectorView, index: Option<&VectorIndex>, policy: IndexPolicy| {
        let live: RoaringBitmap = (0..view.rows()).filter(|row| row % 7 > 0).collect();
        let (allowed, mut found, mut exact) = (AllowedRows::from(live), 0, 0);
        for query in queries {
            let (truth, effort) = (view.scan(query, 0..view.rows(), Some(allowed.rows()), 10), Effort::default());
            let search = Search { view, index, allowed: &allowed, policy, effort, scanner: &scanner };
            let got = search.nearest(&[query], 10).expect("a search").remove(0);
            assert!(got.rows.iter().all(|row| row.row % 7 > 0 && row.score == view.score(query, row.row)));
            found += truth.iter().filter(|t| got.rows.contains(t)).count();
            exact += usize::from(got.exact);
        }
        (found as f64 / 200.0, exact)
    };
    let mut file = file_of(folder.path(), "vectors.mbv", &all[..60_000]);
    let view = file.view(60_000);
    let (bits, exact) = recall(&view, None, IndexPolicy::Auto);
    assert!(bits >= 0.95 && exact == 0, "recall {bits}, {exact} scanned");
    assert_eq!(recall(&view, None, IndexPolicy::Flat), (1.0, 20), "who wants no index is answered exactly");
    let mut index = build(&file.view(20_000), IndexPolicy::hnsw());
    file.append(all[60_000..90_000].iter().map(Vec::as_slice)).expect("room");
    let view = file.view(90_000);
    for covered in [20_000, 55_000] {
        index.extend(&file.view(covered), 2, &mut |_| true).expect("an extension");
        let (together, exact) = recall(&view, Some(&index), IndexPolicy::hnsw());
        assert!(together >= 0.95 && exact == 0, "{covered} covered: recall {together}, {exact} scanned");
    }
    let reversed: Vec<Vec<f32>> = all[..90_000].iter().rev().cloned().collect();
    let other = file_of(folder.path(), "other.mbv", &reversed);
    let (after, _) = recall(&other.view(90_000), None, IndexPolicy::Auto);
    assert!(after >= 0.95, "recall {after}");
}

#[test]
fn a_saved_index_loads_and_extends() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(folder.path(), 3000);
    let index = build(&file.view(2000), IndexPolicy::hnsw());
    index.save(folder.path()).expect("a save");
    let view = file.view(3000);
    let mut loaded = VectorIndex::load(folder.path(), &view).expect("a load");
    assert_eq!((loaded.rows(), loaded.spec().name()), (2000, "hnsw"));
    loaded.extend(&view, 2, &mut |_| true).expect("room");
    assert_eq!(loaded.rows(), 3000);
    assert!(recall(&view, &loaded, None) >= 0.95);
    loaded.save(folder.path()).expect("a save");
    let saved = std::fs::read_dir(folder.path()).expect("a folder").flatten();
    let count = saved.filter(|e| e.file_name().to_string_lossy().ends_with(".faiss")).count();
    assert_eq!(count, 1, "the older file is removed");
}

#[test]
fn what_is_damaged_stale_or_foreign_is_not_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let file_a = file(folder.path(), 1000);
    let view = file_a.view(1000);
    let refusal = |view: &VectorView| match VectorIndex::load(folder.path(), view) {
        Err(IndexError::Unusable { reason, .. }) => reason,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was loaded"),
    };
    assert!(refusal(&view).contains("no manifest"));
    let manifest = build(&view, IndexPolicy::hnsw()).save(folder.path()).expect("a save");

    assert!(refusal(&file_a.view(999)).contains("covers 1000 rows of 999"));
    let other = tempfile::tempdir().expect("a folder");
    assert!(refusal(&file(other.path(), 1000).view(1000)).contains("another vector file"));

    for name in [manifest.file.as_str(), "index.json"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).expect("bytes");
        for at in [0, whole.len() / 3, whole.len() - 2] {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).expect("a write");
            refusal(&view);
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("a write");
        refusal(&view);
        std::fs::write(&path, &whole).expect("a write");
    }
    assert!(VectorIndex::load(folder.path(), &view).is_ok());
}

#[test]
fn an_automatic_index_widens_its_beam_until_it_finds_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(folder.path(), 6000);
    let view = file.view(6000);
    // So thin a graph that a narrow beam gets lost in it.
    let spec = IndexSpec::Hnsw { m: 8, ef_construction: 16, ef_search: 10 };
    let mut index = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
    let before = recall(&view, &index, None);
    index.calibrate(&view, &all_rows(&view), 64).expect("a calibration");
    let after = recall(&view, &index, None);
    assert!(before < 0.9 && after > 0.95, "recall@10 {before}, then {after} by {:?}", index.spec());
    let IndexSpec::Hnsw { ef_search, .. } = index.spec() else { panic!("{:?}", index.spec()) };
    assert!(ef_search > 10 && ef_search <= 4096);
    index.save(folder.path()).expect("a save");
    assert_eq!(VectorIndex::load(folder.path(), &view).expect("an index").spec(), index.spec(), "the beam is kept");
}

#[test]
fn rows_that_are_the_same_widen_no_beam() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), DIMENSION, RowType::F16).expect("a file");
    let all = vectors(1000);
    // Thirty versions of each record: which of them are found is all the same.
    (0..30).for_each(|_| file.append(all.iter().map(Vec::as_slice)).map(drop).expect("room"));
    let view = file.view(30_000);
    let spec = IndexPolicy::hnsw().wanted(30_000).expect("an index");
    let mut index = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
    index.calibrate(&view, &all_rows(&view), 64).expect("a calibration");
    let IndexSpec::Hnsw { ef_search, .. } = index.spec() else { panic!("{:?}", index.spec()) };
    // From 480 on a scan takes no longer.
    assert!(ef_search <= 256, "a beam of {ef_search}");
}

#[test]
fn searches_run_from_many_threads_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(folder.path(), 2000);
    let index = build(&file.view(2000), IndexPolicy::hnsw());
    let queries = vectors(50);
    let alone: Vec<_> = queries.iter().map(|q| index.walk(q, 10, None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (query, want) in queries.iter().zip(&alone) {
                    assert_eq!(&index.walk(query, 10, None), want);
                }
            });
        }
    });
}

#[test]
fn a_build_stops_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(folder.path(), 6000);
    let spec = IndexSpec::Hnsw { m: 8, ef_construction: 16, ef_search: 16 };
    let mut steps = 0;
    let stopped = VectorIndex::build(&file.view(6000), spec, 1, &mut |_| {
        steps += 1;
        false
    });
    assert!(matches!(stopped, Err(IndexError::Stopped)) && steps == 1);
}

#[test]
fn rows_that_are_the_same_hide_neither_each_other_nor_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), DIMENSION, RowType::F16).expect("a file");
    let different = vectors(6000);
    file.append(different.iter().map(Vec::as_slice)).expect("room");
    // Half of the records were written again as they were; the old rows of some of these are zeros already. And there
    // is one text that many said.
    let again = 0..3000;
    file.append(again.clone().map(|i| different[i].as_slice())).expect("room");
    file.erase(again.clone().step_by(3).map(|row| row as u32)).expect("an overwriting");
    file.append((0..5000).map(|_| different[5999].as_slice())).expect("room");
    let view = file.view(file.rows());
    // One thread: the graph is the same each time.
    let spec = IndexPolicy::hnsw().wanted(view.rows()).expect("an index");
    let index = VectorIndex::build(&view, spec, 1, &mut |_| true).expect("a build");
    let live: RoaringBitmap = (3000..view.rows()).collect();
    let (mut found, mut wanted) = (0, 0);
    for query in vectors(6100).iter().skip(6000) {
        let truth = view.scan(query, 0..view.rows(), Some(&live), 10);
        let got = index.walk(query, 16, Some(&live.clone().into()));
        wanted += truth.len();
        // Of the many that are the same, any will do.
        found += truth.iter().filter(|t| t.row >= 9000 || got.contains(&t.row)).count();
    }
    assert!(found as f64 >= 0.97 * wanted as f64, "{found} of {wanted}");
    let doubles = index.walk(&different[5999], 64, Some(&live.into())).into_iter().filter(|row| *row >= 9000).count();
    assert!(doubles >= 60, "{doubles} of 64 are the row that was asked for");
}

#[test]
fn records_that_are_written_again_after_a_build_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let different = clustered(12_000, 300);
    let mut file = file_of(folder.path(), "vectors.mbv", &different);
    let mut index = build(&file.view(12_000), IndexPolicy::hnsw());
    // Half of them, in an order of their own; what they replace is dead, and holds the graph together all the same.
    let again: Vec<u32> = (0..6000).map(|i| i * 7919 % 12_000).collect();
    file.append(again.iter().map(|&i| different[i as usize].as_slice())).expect("room");
    let view = file.view(file.rows());
    index.extend(&view, 2, &mut |_| true).expect("an extension");
    let live: RoaringBitmap =
        (0..view.rows()).collect::<RoaringBitmap>() - again.into_iter().collect::<RoaringBitmap>();
    let (recall, scanned) = recall_of(&view, &index, &clustered(12_200, 300)[12_000..], Some(&live));
    assert!(recall >= 0.97 && scanned == 0, "recall {recall}, {scanned} scanned");
}
