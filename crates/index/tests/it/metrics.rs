//! What a metric finds is what a plain comparison of all vectors finds.

use membox_index::{AllowedRows, IndexPolicy, Scanner, Search, VectorIndex};
use membox_vectors::{Metric, RowType, ScoredRow, VectorFile, VectorView};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use roaring::RoaringBitmap;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::Euclidean];

/// Vectors around some centres, far from the origin and of many lengths.
fn vectors(random: &mut SmallRng, dimension: usize, count: usize) -> Vec<Vec<f32>> {
    let centre = |random: &mut SmallRng| (0..dimension).map(|_| random.random_range(-2.0..3.0)).collect();
    let centres: Vec<Vec<f32>> = (0..20).map(|_| centre(random)).collect();
    let near = |i: usize, random: &mut SmallRng| {
        let size = random.random_range(0.8..1.2);
        centres[i % 20].iter().map(|x| size * (x + random.random_range(-0.8..0.8))).collect()
    };
    (0..count).map(|i| near(i, random)).collect()
}

fn of_length_1(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / length).collect()
}

/// The `k` best of the allowed rows, as they are read back, by sums of doubles.
fn oracle(view: &VectorView, query: &[f32], allowed: &RoaringBitmap, k: usize) -> Vec<ScoredRow> {
    let score = |row: u32| {
        let pairs = || view.vector(row).into_iter().map(f64::from).zip(query.iter().map(|&x| f64::from(x)));
        match view.metric() {
            Metric::Cosine | Metric::InnerProduct => pairs().map(|(a, b)| a * b).sum::<f64>(),
            Metric::Euclidean => -pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        }
    };
    let mut all: Vec<ScoredRow> = allowed.iter().map(|row| ScoredRow { row, score: score(row) as f32 }).collect();
    all.sort();
    all.truncate(k);
    all
}

fn file(folder: &std::path::Path, (metric, row_type): (Metric, RowType), vectors: &[Vec<f32>]) -> VectorFile {
    let file = VectorFile::create(&folder.join("vectors.mbv"), vectors[0].len(), row_type).expect("a file");
    let mut file = file.compared_by(metric);
    match metric {
        Metric::Cosine => {
            let vectors: Vec<Vec<f32>> = vectors.iter().map(|vector| of_length_1(vector)).collect();
            file.append(vectors.iter().map(Vec::as_slice))
        }
        _ => file.append(vectors.iter().map(Vec::as_slice)),
    }
    .expect("room");
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_scan_finds_what_a_plain_comparison_finds(
        seed in any::<u64>(), dimension in 1usize..70, count in 1usize..300, k in 1usize..20, wide: bool,
    ) {
        let mut random = SmallRng::seed_from_u64(seed);
        let vectors = vectors(&mut random, dimension, count + 1);
        let allowed: RoaringBitmap = (0..count as u32).filter(|_| random.random_bool(0.7)).collect();
        let row_type = if wide { RowType::F32 } else { RowType::F16 };
        for metric in METRICS {
            let folder = tempfile::tempdir().expect("a folder");
            let file = file(folder.path(), (metric, row_type), &vectors[..count]);
            let (view, query) = (file.view(count as u32), &vectors[count]);
            let (policy, effort, scanner) = (IndexPolicy::Flat, Default::default(), Scanner::default());
            let rows = &AllowedRows::from(allowed.clone());
            let search = Search { view: &view, index: None, allowed: rows, policy, effort, scanner: &scanner };
            let found = search.nearest(&[query], k).expect("a search").remove(0);
            let wanted = oracle(&view, query, &allowed, k);
            prop_assert!(found.exact && found.rows.len() == wanted.len());
            for (found, wanted) in found.rows.iter().zip(&wanted) {
                // Two may change places where rounding decides.
                let near = 1e-4 * (1.0 + wanted.score.abs());
                prop_assert!((found.score - wanted.score).abs() < near, "{metric:?}: {found:?} for {wanted:?}");
                prop_assert!(allowed.contains(found.row));
                prop_assert_eq!(found.score, view.score(query, found.row));
            }
        }
    }
}

/// Also where a filter cuts through the neighbourhood of a question, and where it excludes it.
#[test]
fn an_index_finds_what_a_plain_comparison_finds() {
    const ROWS: usize = 20_000;
    let mut random = SmallRng::seed_from_u64(11);
    let vectors = vectors(&mut random, 48, ROWS + 30);
    let all: RoaringBitmap = (0..ROWS as u32).collect();
    let across = all.iter().filter(|row| row / 20 % 2 == 0).collect();
    let against = all.iter().filter(|row| row % 2 == 0).collect();
    for metric in METRICS {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(folder.path(), (metric, RowType::F16), &vectors[..ROWS]);
        let view = file.view(ROWS as u32);
        for policy in [IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 0, nprobe: 32 }] {
            let spec = policy.wanted(view.rows()).expect("an index");
            let mut built = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
            built.calibrate(&view, &AllowedRows::from(all.clone()), 64).expect("a measurement");
            built.save(folder.path()).expect("room");
            let index = VectorIndex::load(folder.path(), &view).expect("the index");
            for (name, allowed) in [("none", &all), ("across", &across), ("against", &against)] {
                let rows = &AllowedRows::from(allowed.clone());
                let (effort, scanner) = Default::default();
                let search =
                    Search { view: &view, index: Some(&index), allowed: rows, policy, effort, scanner: &scanner };
                let mut found = 0;
                for query in &vectors[ROWS..] {
                    let query = if metric == Metric::Cosine { of_length_1(query) } else { query.clone() };
                    let best = search.nearest(&[&query], 10).expect("a search").remove(0).rows;
                    assert!(best.iter().all(|row| row.score == view.score(&query, row.row)), "scores are exact");
                    let wanted = oracle(&view, &query, allowed, 10);
                    found += wanted.iter().filter(|wanted| best.iter().any(|own| own.row == wanted.row)).count();
                }
                let recall = found as f64 / 300.0;
                println!("{metric:?} {policy:?} filter {name}: {recall}");
                assert!(recall >= 0.95, "{metric:?}, {policy:?}: recall {recall} with filter {name}");
            }
        }
    }
}
