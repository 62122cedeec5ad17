//! Exact scans and index searches over 100 000 vectors of 384 dimensions, one query on one thread, top 10.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use membox_index::{Allowed, IndexPolicy, VectorIndex, bits_below, search};
use membox_vectors::{RowType, VectorFile};
use roaring::RoaringBitmap;

const ROWS: u32 = 100_000;

fn searches(c: &mut Criterion) {
    let vectors = membox_benches::vectors(ROWS as usize + 64, 384);
    let queries = &vectors[ROWS as usize..];
    let live: RoaringBitmap = (0..ROWS).collect();
    let bits = bits_below(&live, ROWS);
    for row_type in [RowType::F16, RowType::F32] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), 384, row_type).expect("a file");
        file.append(vectors[..ROWS as usize].iter().map(Vec::as_slice)).expect("room");
        let view = file.view(ROWS);
        let mut group = c.benchmark_group(format!("scan/{}", row_type.name()));
        group.sample_size(20).throughput(Throughput::Bytes(u64::from(ROWS) * view.header().stride() as u64));
        let mut next = queries.iter().cycle();
        group.bench_function("100k", |b| b.iter(|| view.scan(next.next().expect("a query"), 0..ROWS, None, 10)));
        group.finish();
        if row_type == RowType::F32 {
            continue;
        }
        for policy in [IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 0, nprobe: 32 }] {
            let spec = policy.wanted(ROWS).expect("an index");
            let index = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
            let mut group = c.benchmark_group(format!("index/{}", spec.name()));
            group.sample_size(20);
            let mut next = queries.iter().cycle();
            let find = |q: &[f32], allowed: Allowed<'_>| {
                search(&view, Some(&index), q, 10, allowed, Default::default()).expect("a search")
            };
            let recall = |allowed: Allowed, filter: Option<&RoaringBitmap>| {
                let hits = |q: &Vec<f32>| {
                    let truth = view.scan(q, 0..ROWS, filter, 10);
                    let got = find(q, allowed).rows;
                    truth.iter().filter(|t| got.iter().any(|g| g.row == t.row)).count()
                };
                queries.iter().map(hits).sum::<usize>() as f64 / (queries.len() * 10) as f64
            };
            let half: RoaringBitmap = (0..ROWS).filter(|r| r % 2 == 0).collect();
            eprintln!(
                "index/{}: recall@10 {:.3}, with half filtered out {:.3}",
                spec.name(),
                recall(Allowed::Live(&live, &bits), None),
                recall(Allowed::Filtered(&half), Some(&half))
            );
            group.bench_function("100k", |b| {
                b.iter(|| find(next.next().expect("a query"), Allowed::Live(&live, &bits)))
            });
            group.bench_function("100k half filtered", |b| {
                b.iter(|| find(next.next().expect("a query"), Allowed::Filtered(&half)))
            });
        }
    }
}

criterion_group!(benches, searches);
criterion_main!(benches);
