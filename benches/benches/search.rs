//! Exact scans over 500 000 vectors of 384 dimensions, which no cache holds, and index searches over 100 000; top 10.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use membox_index::{AllowedRows, IndexPolicy, Scanner, Search, VectorIndex};
use membox_vectors::{RowType, VectorFile};
use rayon::prelude::*;
use roaring::RoaringBitmap;

const ROWS: u32 = 100_000;
/// Rows that are scanned: the same vectors, several times.
const SCANNED: u32 = 5 * ROWS;

fn searches(c: &mut Criterion) {
    let vectors = membox_benches::vectors(ROWS as usize + 64, 384);
    let queries = &vectors[ROWS as usize..];
    let live = AllowedRows::from((0..ROWS).collect::<RoaringBitmap>());
    for row_type in [RowType::F16, RowType::F32] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), 384, row_type).expect("a file");
        for _ in 0..SCANNED / ROWS {
            file.append(vectors[..ROWS as usize].iter().map(Vec::as_slice)).expect("room");
        }
        let view = file.view(SCANNED);
        let mut group = c.benchmark_group(format!("scan/{}", row_type.name()));
        group.sample_size(20).throughput(Throughput::Bytes(u64::from(SCANNED) * view.header().stride() as u64));
        let mut next = queries.iter().cycle();
        group.bench_function("500k", |b| b.iter(|| view.scan(next.next().expect("a query"), 0..SCANNED, None, 10)));
        // What a scan could reach at best: the same bytes read by as many threads.
        group.bench_function("plain read of the same bytes", |b| {
            b.iter(|| {
                let stretches: Vec<u32> = (0..SCANNED).step_by(1 << 16).collect();
                let read = |&first: &u32| {
                    let rows = first..SCANNED.min(first + (1 << 16));
                    rows.flat_map(|row| view.bytes(row).as_chunks::<8>().0).fold(0, |x, b| x ^ u64::from_le_bytes(*b))
                };
                stretches.par_iter().map(read).reduce(|| 0, |a, b| a ^ b)
            })
        });
        let several: Vec<&[f32]> = queries.iter().take(16).map(Vec::as_slice).collect();
        group
            .bench_function("500k, 16 queries together", |b| b.iter(|| view.scan_many(&several, 0..SCANNED, None, 10)));
        group.finish();
        let view = file.view(ROWS);
        if row_type == RowType::F32 {
            continue;
        }
        for policy in [IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 0, nprobe: 32 }] {
            let scanner = Scanner::default();
            let spec = policy.wanted(ROWS).expect("an index");
            let index = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
            let mut group = c.benchmark_group(format!("index/{}", spec.name()));
            group.sample_size(20);
            let mut next = queries.iter().cycle();
            let find = |q: &[f32], allowed: &AllowedRows| {
                let (policy, effort) = Default::default();
                let search = Search { view: &view, index: Some(&index), allowed, policy, effort, scanner: &scanner };
                search.nearest(&[q], 10).expect("a search").remove(0)
            };
            let recall = |allowed: &AllowedRows| {
                let hits = |q: &Vec<f32>| {
                    let truth = view.scan(q, 0..ROWS, Some(allowed.rows()), 10);
                    let got = find(q, allowed).rows;
                    truth.iter().filter(|t| got.iter().any(|g| g.row == t.row)).count()
                };
                queries.iter().map(hits).sum::<usize>() as f64 / (queries.len() * 10) as f64
            };
            let half = AllowedRows::from((0..ROWS).filter(|r| r % 2 == 0).collect::<RoaringBitmap>());
            eprintln!(
                "index/{}: recall@10 {:.3}, with half filtered out {:.3}",
                spec.name(),
                recall(&live),
                recall(&half)
            );
            group.bench_function("100k", |b| b.iter(|| find(next.next().expect("a query"), &live)));
            group.bench_function("100k half filtered", |b| b.iter(|| find(next.next().expect("a query"), &half)));
        }
    }
}

criterion_group!(benches, searches);
criterion_main!(benches);
