//! Text to vectors: tokenizers, weights, engines, and the scheduler that forms batches.
//!
//! The way of a text is the way of the modules: [`Tokenizer`] turns it into token ids, the [`Scheduler`] packs sequences of many callers into
//! batches without padding, an [`Engine`] runs the BERT forward pass, and the caller gets [`Embeddings`]. [`Encoder`] ties
//! them to a model folder. The forward pass is exactly what sentence-transformers computes with all-MiniLM-L6-v2: WordPiece, 256
//! tokens unless more are asked for, mean pooling, unit length.
//!
//! This crate does not know where vectors are kept, and nothing of HTTP.
//!
//! # Example
//!
//! ```no_run
//! use membox_encoder::{Encoder, EncoderConfig, Lane};
//!
//! let encoder = Encoder::load("all-MiniLM-L6-v2", "data/models/all-MiniLM-L6-v2".as_ref(), EncoderConfig::default())?;
//! let answer = encoder.embed(vec!["Where did we park?".into()], Lane::Interactive)?;
//! assert_eq!(answer.rows().next().map(<[f32]>::len), Some(384));
//! # Ok::<(), membox_encoder::EncoderError>(())
//! ```
//!
//! # Threads
//!
//! `tokenize-N` threads turn texts into ids, `encode-N` threads (one a core) run batches. Callers never compute: they hand a request in
//! and are called back. See [`scheduler`].

mod config;
pub mod cpu;
mod encoder;
mod engine;
mod error;
mod lanes;
pub mod scheduler;
mod tokenizer;
mod weights;

pub use config::BertConfig;
pub use encoder::{DEFAULT_MAX_TOKENS, Encoder, EncoderConfig};
pub use engine::{Engine, PackedBatch, Precision, Session};
pub use error::EncoderError;
pub use lanes::Lane;
pub use scheduler::{Embeddings, Inputs, Pending, Request, Scheduler, SchedulerConfig};
pub use tokenizer::{Token, TokenIds, Tokenizer};
pub use weights::BertWeights;
