//! LLMLingua-2 prompt compression, and token counting.
//!
//! Compression drops the words that a reader can do without. A token classifier says how likely each token is to be
//! kept; tokens are merged into words, and the least likely words go until `rate` of the text, or a budget of tokens,
//! is left (Pan et al., *LLMLingua-2*, ACL 2024; reference implementation: the Python package `llmlingua` 0.2.2).
//! [`Compressor`] runs one of the two published models, or a small [keep head](keep_head) over the embedding model,
//! which is there anyway.
//!
//! Three [modes](Mode):
//! - `parity` answers as the package does, to the character, its faults included (`parity`, the module);
//! - `default` makes the same selection with the faults mended: the answer is cut out of the source text, so that
//!   white space, emoji and unknown words stay as they were; sequences have their right special tokens; nothing is
//!   lost where a long text is cut; the answer to a text is never empty; nothing is dropped from several contexts
//!   unless asked; a forced token is a whole word, wherever it stands;
//! - `strict` is `default` with one threshold over the whole text, such that the budget holds, always.
//!
//! In both, what one thing is to its reader is kept whole or is gone ([`wholes()`]):
//!
//! | whole | for example |
//! |---|---|
//! | a character as it is seen (grapheme cluster of UAX #29) | `é` of two code points, `क्ष`, 👩‍👩‍👧, 🇩🇪 |
//! | a word with its marks, its apostrophe and its hyphens | `don't`, `हिन्दी`, `well-known` |
//! | a number with sign, currency, separators and unit | `-40 °C`, `€1,234,567.89`, `50%`, `3.5e-4`, `5 million km` |
//! | a date, a time, a telephone number | `2026-11-28`, `28 Nov 2026`, `May 7th, 2023`, `10:30 am`, `+49 30 1234-567` |
//! | an address: e-mail, URL, path, network | `a.b@c.example`, `https://a.example/b`, `../src/main.rs`, `10.0.0.1:80` |
//! | a name of a thing | `foo_bar`, `CVE-2024-1234`, `v1.2.3`, `C++`, `.NET`, `#tag`, `@name`, UUIDs, hashes |
//! | what redaction has put into a text | `[EMAIL_REDACTED]`, `al***om` |
//!
//! The probability of a whole is the mean of its tokens' (or the first's), without those of signs where it has
//! letters or digits. A forced string within a whole keeps all of it. A whole is read across the borders of passes,
//! so no border cuts it, however long it is. In mode `strict` a whole that does not fit is gone; where not one fits,
//! the answer is empty. Only runs of the scripts that have no blanks and whose words need a dictionary (Thai, Lao,
//! Khmer, Burmese), and data of more than 8 KiB without a blank, are cut then, between characters. Chinese and
//! Japanese words are the model's own: characters, and words in katakana. Tags of
//! [structured](CompressOptions::structured) texts cut where they stand.
//!
//! [`TokenCounter`] counts as OpenAI's models count, by tiktoken's encodings.
//!
//! This crate does not know where text comes from or goes.
//!
//! # Example
//!
//! ```no_run
//! use membox_compressor::{CompressOptions, Compressor};
//! use membox_encoder::{EncoderConfig, Lane, Scheduler, SchedulerConfig};
//! use std::sync::Arc;
//!
//! let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default())?);
//! let folder = "data/models/llmlingua-2-bert-base-multilingual-cased-meetingbank".as_ref();
//! let compressor = Compressor::load("llmlingua-2", folder, EncoderConfig::default(), &scheduler)?;
//! let options = CompressOptions { rate: 0.33, ..CompressOptions::default() };
//! let contexts = ["So, um, I've been thinking about the project.".into()];
//! let answer = compressor.compress(&contexts, &options, Lane::Interactive)?;
//! println!("{} ({} of {} tokens)", answer.compressed_prompt, answer.compressed_tokens, answer.origin_tokens);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod compressor;
mod conversation;
pub mod distil;
mod error;
pub mod keep_head;
mod negation;
mod options;
pub mod parity;
mod percentile;
mod rarity;
mod salience;
mod select;
mod structured;
mod tokens;
mod units;
mod wholes;

pub use answer::{CompressedConversation, CompressedText, Message};
pub use compressor::{Compressor, Remembered};
pub use conversation::DEFAULT_KEEP_LAST;
pub use error::CompressorError;
pub use options::{CompressOptions, Mode, TokenToWord};
pub use structured::{JsonRule, ValueType};
pub use tokens::{DEFAULT_ENCODING, TOKENS_PER_CONVERSATION, TOKENS_PER_MESSAGE, TokenCounter, conversation_overhead};
pub use wholes::{beginning, wholes};
