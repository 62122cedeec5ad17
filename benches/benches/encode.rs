//! The forward pass on one thread, by instruction level, precision, batch and length.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use membox_encoder::cpu::{CpuEngine, isa::Isa};
use membox_encoder::{EncoderWeights, Engine, Outputs, PackedBatch, Precision};
use std::sync::Arc;

fn encode(c: &mut Criterion) {
    for isa in Isa::available() {
        for precision in [Precision::F32, Precision::Int8] {
            let weights = EncoderWeights::load(&membox_benches::model()).expect("the model");
            let engine = Arc::new(CpuEngine::with_isa(weights, precision, isa));
            let mut group = c.benchmark_group(format!("encode/{}/{precision}", isa.name()));
            group.sample_size(10);
            for (sequences, length) in [(1, 10), (1, 128), (12, 32), (3, 128), (1, 512)] {
                let mut batch = PackedBatch::new();
                (0..sequences)
                    .for_each(|s| batch.push(&(0..length).map(|t| (s * 31 + t * 7 + 1000) as u32).collect::<Vec<_>>()));
                let mut out = vec![0.0; sequences * engine.dimension()];
                let mut session = engine.clone().session();
                group.throughput(Throughput::Elements((sequences * length) as u64));
                group.bench_function(BenchmarkId::from_parameter(format!("{sequences}x{length}")), |b| {
                    b.iter(|| {
                        let outputs = Outputs { vectors: Some(&mut out), normalize: true, ..Outputs::default() };
                        session.run(&batch, outputs, 0, &mut || ())
                    })
                });
            }
        }
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
