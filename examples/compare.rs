//! Says how near two texts are in meaning, by the embedding model alone: no data folder, no server.
//!
//! ```text
//! $ cargo run --release --bin compare -- data/models/all-MiniLM-L6-v2 \
//!     "Where did we park?" "We left the car on the second level."
//! 0.358
//! ```
//!
//! The three parts of the encoder, in the order in which a program meets them:
//!
//! - A [`Scheduler`] owns the threads that compute. A program has one, and all its models share it.
//! - An [`Encoder`] is a model folder that was loaded: its tokenizer, its weights and the engine that runs them.
//!   [`EncoderConfig`] chooses the precision (int8 unless it says otherwise), the device and the longest text.
//! - [`Encoder::embed`] hands texts in and waits for their vectors. What is in a hurry goes by [`Lane::Interactive`],
//!   and interrupts what goes by [`Lane::Bulk`]. The vectors have unit length, so the product of two is their cosine.

use membox_encoder::{Encoder, EncoderConfig, Lane, Scheduler, SchedulerConfig};
use std::error::Error;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(one), Some(other)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: compare MODEL_FOLDER TEXT TEXT".into());
    };
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default())?);
    let encoder = Encoder::load("all-MiniLM-L6-v2", folder.as_ref(), EncoderConfig::default(), &scheduler)?;

    let embeddings = encoder.embed(vec![one, other], Lane::Interactive)?;
    let rows: Vec<&[f32]> = embeddings.rows().collect();
    let cosine: f32 = rows[0].iter().zip(rows[1]).map(|(a, b)| a * b).sum();
    println!("{cosine:.3}");
    Ok(())
}
