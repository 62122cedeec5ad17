//! Drops the words of a text that a reader can do without.
//!
//! ```text
//! $ cargo run --release --bin compress -- data/models/all-MiniLM-L6-v2 0.5 < transcript.txt
//! ```
//!
//! The text comes from standard input, and what is left of it goes to standard output. What is kept is cut out of the
//! text as it stands; no word is changed, and dates, amounts, addresses and names are kept whole or dropped whole.
//!
//! - A compressor needs a model that says how likely each token is to be kept. Here it is the keep head, a small layer
//!   that comes with membox and stands on the embedding model ([`keep_head::built_in`]). [`Compressor::load`] takes
//!   one of the LLMLingua-2 models instead.
//! - [`CompressOptions`] say how much is left: a `rate`, or a budget of tokens. In [`Mode::Strict`] no more than that
//!   is ever left; the default mode ends near it.
//! - The answer counts tokens as OpenAI's models count them, before and after.

use membox_compressor::{CompressOptions, Compressor, Mode, keep_head};
use membox_encoder::{Encoder, EncoderConfig, Lane, Scheduler, SchedulerConfig};
use std::error::Error;
use std::sync::Arc;

/// The model that the folder holds.
const MODEL: &str = "all-MiniLM-L6-v2";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(rate)) = (arguments.next(), arguments.next()) else {
        return Err("usage: compress MODEL_FOLDER RATE < TEXT".into());
    };
    let text = std::io::read_to_string(std::io::stdin())?;
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default())?);
    let keep_head = keep_head::built_in(MODEL)?;
    let config = EncoderConfig { keep_head, ..EncoderConfig::default() };
    let encoder = Encoder::load(MODEL, folder.as_ref(), config, &scheduler)?;
    let compressor = Compressor::over(Arc::new(encoder))?;

    let options = CompressOptions { rate: rate.parse()?, mode: Mode::Strict, ..CompressOptions::default() };
    let answer = compressor.compress(&[text], &options, Lane::Interactive)?;
    println!("{}", answer.compressed_prompt);
    eprintln!("{} of {} tokens are left", answer.compressed_tokens, answer.origin_tokens);
    Ok(())
}
