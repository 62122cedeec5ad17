//! Exact recall on a GPU over random unit vectors, and what a plain copy of the same bytes on the GPU takes; one JSON
//! line a measurement.
//!
//! ```text
//! cargo run --release -p membox-cuda --example recall -- [ROWS]...     (1000000 10000000)
//! ```

use half::f16;
use membox_cuda::{Gpu, ResidentRows, reference};
use std::time::Instant;

const DIMENSION: usize = 384;
const K: usize = 10;

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sizes: Vec<usize> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1_000_000, 10_000_000];
    }
    let gpu = Gpu::find(0)?;
    for count in sizes {
        let mut rows = ResidentRows::new(&gpu, DIMENSION, count, None)?;
        // A block of random rows again and again, each time turned by one number: different rows, quickly made.
        let mut block: Vec<u16> =
            reference::numbers(1, 65_536 * DIMENSION, 0.09).into_iter().map(|x| f16::from_f32(x).to_bits()).collect();
        let begun = Instant::now();
        while rows.len() < count {
            let wanted = (count - rows.len()).min(65_536) * DIMENSION;
            rows.append(&block[..wanted])?;
            block.rotate_left(1);
        }
        let uploaded = begun.elapsed().as_secs_f64();
        let gigabytes = (count * DIMENSION * 2) as f64 / 1e9;
        let copy = gpu.copy_seconds(count * DIMENSION * 2)?;
        for questions in [1, 64] {
            let mut times = Vec::new();
            for seed in 0..30 {
                let queries = reference::numbers(100 + seed, questions * DIMENSION, 0.09);
                let begun = Instant::now();
                let found = rows.search(&queries, K, None)?;
                assert!(found.len() == questions && found.iter().all(|hits| hits.len() == K));
                times.push(begun.elapsed().as_secs_f64());
            }
            let p50 = percentile(&mut times[2..], 0.5);
            println!(
                "{{\"card\": \"{}\", \"rows\": {count}, \"questions\": {questions}, \"p50_ms\": {:.3}, \
                 \"p99_ms\": {:.3}, \"gb_per_s\": {:.0}, \"copy_gb_per_s\": {:.0}, \"upload_s\": {uploaded:.1}}}",
                gpu.name(),
                p50 * 1e3,
                percentile(&mut times[2..], 0.99) * 1e3,
                gigabytes / p50,
                2.0 * gigabytes / copy,
            );
        }
    }
    Ok(())
}
