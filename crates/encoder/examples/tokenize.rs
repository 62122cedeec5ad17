//! Tokens a second of one thread, by the words that it remembers and by the `tokenizers` crate alone, in turns; one
//! JSON line a round.
//!
//! ```text
//! cargo run --release -p membox-encoder --example tokenize -- MODEL_DIR TEXTS
//! ```

use membox_encoder::{DEFAULT_MAX_TOKENS, EncoderError, TokenIds, Tokenizer};
use std::time::Instant;

const ROUNDS: usize = 3;

fn rate(texts: &[&str], mut encode: impl FnMut(&str) -> Result<TokenIds, EncoderError>) -> Result<f64, EncoderError> {
    let begun = Instant::now();
    let mut tokens = 0;
    for text in texts {
        tokens += encode(text)?.ids.len();
    }
    Ok(tokens as f64 / begun.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(texts)) = (args.next(), args.next()) else {
        return Err("usage: tokenize MODEL_DIR TEXTS".into());
    };
    let text = std::fs::read_to_string(texts)?;
    let texts: Vec<&str> = text.lines().collect();
    let tokenizer = Tokenizer::load(model.as_ref())?;
    for _ in 0..ROUNDS {
        // A thread that begins knows no word.
        let mut words = tokenizer.word_cache();
        let ours = rate(&texts, |text| tokenizer.encode_with(&mut words, text, DEFAULT_MAX_TOKENS))?;
        let theirs = rate(&texts, |text| tokenizer.encode(text, DEFAULT_MAX_TOKENS))?;
        println!(
            "{{\"by_words_tokens_per_s\": {ours:.0}, \"tokenizers_tokens_per_s\": {theirs:.0}, \"ratio\": {:.2}}}",
            ours / theirs
        );
    }
    Ok(())
}
