//! Throughput and single-query latency of the encoder on the lines of a file, and what token vectors cost, one JSON
//! line a precision, and the vectors as raw f32.
//!
//! ```text
//! cargo run --release -p membox-encoder --example throughput -- MODEL_DIR TEXTS [OUT_DIR]
//! ```

use membox_encoder::{
    DEFAULT_MAX_TOKENS, Encoder, EncoderConfig, EncoderError, Inputs, Lane, Precision, Request, Scheduler,
    SchedulerConfig, Wanted,
};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOKEN_DIMENSION: usize = 48;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(texts)) = (args.next(), args.next()) else {
        return Err("usage: throughput MODEL_DIR TEXTS [OUT_DIR]".into());
    };
    let out_dir = args.next();
    let texts: Vec<String> = std::fs::read_to_string(texts)?.lines().map(str::to_owned).collect();
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default())?);
    for precision in [Precision::F32, Precision::Int8] {
        let encoder = Encoder::load(
            "model",
            model.as_ref(),
            EncoderConfig { precision, ..EncoderConfig::default() },
            &scheduler,
        )?;
        encoder.embed(texts.iter().take(64).cloned().collect(), Lane::Bulk)?;
        let begun = Instant::now();
        let answer = encoder.embed(texts.clone(), Lane::Bulk)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut single = Vec::new();
        for text in texts.iter().take(200) {
            let begun = Instant::now();
            encoder.embed(vec![text.clone()], Lane::Interactive)?;
            single.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let mut short = Vec::new();
        for i in 0..400 {
            let text = format!("where did we leave the keys {i}?");
            let begun = Instant::now();
            encoder.embed(vec![text], Lane::Interactive)?;
            short.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        for times in [&mut single, &mut short] {
            times.sort_by(f64::total_cmp);
        }
        let cost = cost_of_token_vectors(&encoder, &texts)?;
        println!(
            "{{\"engine\": \"membox {}\", \"texts_per_s\": {:.1}, \"tokens_per_s\": {:.0}, \"p50_ms\": \
             {:.3}, \"p99_ms\": {:.3}, \"query10_p50_ms\": {:.3}, \"query10_p99_ms\": {:.3}, \
             \"token_vectors_cost\": {:.4}}}",
            encoder.engine().name(),
            texts.len() as f64 / seconds,
            answer.tokens as f64 / seconds,
            single[100],
            single[197],
            short[200],
            short[395],
            cost,
        );
        if let Some(folder) = &out_dir {
            let mut file = std::io::BufWriter::new(std::fs::File::create(format!("{folder}/membox-{precision}.f32"))?);
            for x in &answer.vectors {
                file.write_all(&x.to_le_bytes())?;
            }
        }
    }
    Ok(())
}

/// How much more processor time a pass takes that gives token vectors too, by the best of some turns.
fn cost_of_token_vectors(encoder: &Encoder, texts: &[String]) -> Result<f64, EncoderError> {
    let mut best = [f64::MAX; 2];
    for turn in 0..20 {
        let token_vectors = (turn % 2 == 1).then_some(TOKEN_DIMENSION);
        let (inputs, max_tokens) = (Inputs::Texts(texts.to_vec()), DEFAULT_MAX_TOKENS);
        let wanted = Wanted { token_vectors, ..Wanted::vectors(true) };
        let begun = processor_time();
        encoder.encode(Request { inputs, max_tokens, wanted, lane: Lane::Bulk })?;
        best[turn % 2] = best[turn % 2].min((processor_time() - begun).as_secs_f64());
    }
    Ok(best[1] / best[0] - 1.0)
}

/// Of all threads of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
