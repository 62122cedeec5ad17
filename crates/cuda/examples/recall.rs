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
        let copy = gpu.copy_seconds(count * DIMENSION * 2)?;
        println!(
            "{{\"card\": \"{}\", \"rows\": {count}, \"copy_gb_per_s\": {:.0}, \"upload_s\": {uploaded:.1}}}",
            gpu.name(),
            (count * DIMENSION * 4) as f64 / 1e9 / copy,
        );
        let two_of_three: Vec<u32> =
            (0..count.div_ceil(32)).map(|i| 0xb6db_6db6u32.rotate_left(i as u32 % 3)).collect();
        let mut known = Vec::new();
        for has_codes in [false, true] {
            if has_codes && !rows.add_codes()? {
                println!("{{\"rows\": {count}, \"codes\": \"no room\"}}");
                continue;
            }
            for (questions, k, filter) in
                [(1, K, None), (1, K, Some(&two_of_three)), (1, 1000, None), (8, K, None), (64, K, None)]
            {
                let again = rows.scanned_again();
                let (mut times, mut all) = (Vec::new(), Vec::new());
                for seed in 0..30 {
                    let queries = reference::numbers(100 + seed, questions * DIMENSION, 0.09);
                    let begun = Instant::now();
                    let found = rows.search(&queries, k, filter.map(Vec::as_slice))?;
                    times.push(begun.elapsed().as_secs_f64());
                    assert!(found.len() == questions && found.iter().all(|hits| hits.len() == k));
                    all.push(found);
                }
                println!(
                    "{{\"rows\": {count}, \"codes\": {has_codes}, \"questions\": {questions}, \"k\": {k}, \
                     \"filter\": {}, \"p50_ms\": {:.3}, \"p99_ms\": {:.3}, \"scanned_again\": {}}}",
                    filter.is_some(),
                    percentile(&mut times[2..], 0.5) * 1e3,
                    percentile(&mut times[2..], 0.99) * 1e3,
                    rows.scanned_again() - again,
                );
                known.push(all);
            }
        }
        // By codes the answers are those by rows, to the last bit.
        let (by_rows, by_codes) = known.split_at(5);
        assert!(by_codes.is_empty() || by_rows == by_codes, "codes find what rows do");
    }
    Ok(())
}
