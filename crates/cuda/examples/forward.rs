//! The forward pass of models with random weights, in the shapes of real ones; one JSON line a measurement. The host
//! does as little as it can: token ids are there before, so what is measured is the GPU and how it is fed.
//!
//! ```text
//! cargo run --release -p membox-cuda --example forward -- [SHAPE]...     (minilm bert-base xlmr-large)
//! cargo run --release -p membox-cuda --example forward -- --once SHAPE   (three batches, for a profiler)
//! ```

use half::f16;
use membox_cuda::{
    CudaError, Gpu, HostActivation, HostLayer, HostLinear, HostModel, HostNorm, Model, Pass, Request, reference,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name, hidden size, heads and layers.
const SHAPES: [(&str, usize, usize, usize); 3] =
    [("minilm", 384, 12, 6), ("bert-base", 768, 12, 12), ("xlmr-large", 1024, 16, 24)];
const VOCABULARY: usize = 8192;
const POSITIONS: usize = 512;
/// Tokens of a batch; the middle one is the encoder's.
const BATCH_TOKENS: [usize; 3] = [4096, 16_384, 65_536];
/// How long each measurement takes.
const SECONDS: Duration = Duration::from_millis(400);

/// Weights, the same ones for each layer: what they are changes no time.
struct Weights {
    qkv: (Vec<f32>, Vec<f32>),
    output: (Vec<f32>, Vec<f32>),
    up: (Vec<f32>, Vec<f32>),
    down: (Vec<f32>, Vec<f32>),
    words: Vec<f32>,
    ones: Vec<f32>,
    noughts: Vec<f32>,
}

impl Weights {
    fn new(hidden: usize) -> Self {
        let linear = |seed, outputs: usize, inputs: usize| {
            (reference::uniform(seed, outputs * inputs).iter().map(|x| x * 0.05).collect(), vec![0.01; outputs])
        };
        Self {
            qkv: linear(1, 3 * hidden, hidden),
            output: linear(2, hidden, hidden),
            up: linear(3, 4 * hidden, hidden),
            down: linear(4, hidden, 4 * hidden),
            words: reference::uniform(5, VOCABULARY * hidden),
            ones: vec![1.0; hidden],
            noughts: vec![0.0; hidden],
        }
    }

    fn model(&self, hidden: usize, heads: usize, layers: usize) -> HostModel<'_> {
        fn linear(of: &(Vec<f32>, Vec<f32>)) -> HostLinear<'_> {
            HostLinear { weight: &of.0, bias: &of.1 }
        }
        let norm = HostNorm { gamma: &self.ones, beta: &self.noughts };
        let layer = HostLayer {
            qkv: linear(&self.qkv),
            attention_output: linear(&self.output),
            attention_norm: Some(norm),
            intermediate: linear(&self.up),
            output: linear(&self.down),
            output_norm: norm,
            angles: None,
            window: None,
        };
        HostModel {
            hidden,
            heads,
            intermediate: 4 * hidden,
            epsilon: 1e-12,
            word_embeddings: &self.words,
            positions: &self.words[..POSITIONS * hidden],
            longest: 0,
            angles: Vec::new(),
            activation: HostActivation::Gelu,
            gated: false,
            embedding_norm: norm,
            layers: vec![layer; layers],
            relative: None,
            final_norm: None,
            keep: None,
            masked_lm: None,
        }
    }
}

/// A batch of sequences of one length.
struct Batch {
    ids: Vec<u32>,
    positions: Vec<u32>,
    offsets: Vec<u32>,
}

impl Batch {
    fn new(length: usize, tokens: usize) -> Self {
        let count = (tokens / length).max(1) * length;
        Self {
            ids: (0..count).map(|i| (i * 7919 % VOCABULARY) as u32).collect(),
            positions: (0..count).map(|i| (i % length) as u32).collect(),
            offsets: (0..=count / length).map(|s| (s * length) as u32).collect(),
        }
    }

    fn run(&self, pass: &mut Pass<f16>, vectors: &mut [f32]) -> Result<(), CudaError> {
        let (ids, positions, offsets) = (&self.ids, &self.positions, &self.offsets);
        let vectors = Some(vectors);
        pass.run(Request { ids, positions, offsets, vectors, normalize: true, ..Request::default() })
    }
}

/// Tokens a second of so many threads, each with a pass of its own.
fn throughput(
    model: &Arc<Model<f16>>,
    hidden: usize,
    (length, tokens): (usize, usize),
    threads: usize,
) -> Result<f64, CudaError> {
    let batch = Batch::new(length, tokens);
    let worker = || -> Result<f64, CudaError> {
        let mut pass = Pass::new(model, false)?;
        let mut vectors = vec![0.0; (batch.offsets.len() - 1) * hidden];
        batch.run(&mut pass, &mut vectors)?;
        let (begun, mut runs) = (Instant::now(), 0);
        while begun.elapsed() < SECONDS {
            batch.run(&mut pass, &mut vectors)?;
            runs += 1;
        }
        assert!(vectors.iter().all(|x| x.is_finite()), "vectors of numbers");
        Ok(f64::from(runs) * batch.ids.len() as f64 / begun.elapsed().as_secs_f64())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    })
}

/// p50 and p99 of a short sequence alone, in milliseconds.
fn latency(model: &Arc<Model<f16>>, hidden: usize) -> Result<(f64, f64), CudaError> {
    let (batch, mut pass, mut vector) = (Batch::new(10, 10), Pass::new(model, true)?, vec![0.0; hidden]);
    let mut times = Vec::new();
    for _ in 0..1000 {
        let begun = Instant::now();
        batch.run(&mut pass, &mut vector)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.drain(..100);
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let once = wanted.first().is_some_and(|first| first == "--once");
    wanted.retain(|shape| shape != "--once");
    let gpu = Gpu::find(0)?;
    for (name, hidden, heads, layers) in SHAPES {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let weights = Weights::new(hidden);
        let model = Model::<f16>::upload(&gpu, &weights.model(hidden, heads, layers), None)?;
        if once {
            let (batch, mut pass) = (Batch::new(128, BATCH_TOKENS[1]), Pass::new(&model, false)?);
            let mut vectors = vec![0.0; (batch.offsets.len() - 1) * hidden];
            (0..3).try_for_each(|_| batch.run(&mut pass, &mut vectors))?;
            continue;
        }
        let (p50, p99) = latency(&model, hidden)?;
        println!("{{\"shape\": \"{name}\", \"query_ms\": {{\"p50\": {p50:.3}, \"p99\": {p99:.3}}}}}");
        let sizes = BATCH_TOKENS.map(|tokens| (32, tokens, 2));
        let lengths = [16, 32, 128, 256].into_iter().flat_map(|length| [1, 2].map(|t| (length, BATCH_TOKENS[1], t)));
        for (length, tokens, threads) in sizes.into_iter().chain(lengths) {
            let rate = throughput(&model, hidden, (length, tokens), threads)?;
            println!(
                "{{\"shape\": \"{name}\", \"sequence\": {length}, \"batch\": {tokens}, \"threads\": {threads}, \
                 \"tokens_per_s\": {rate:.0}}}"
            );
        }
    }
    Ok(())
}
