//! Text to vectors, and text to keep probabilities: tokenizers, weights, engines, and the scheduler that forms batches.
//!
//! The way of a text is the way of the modules: [`Tokenizer`] turns it into token ids, the [`Scheduler`] packs
//! sequences of many callers into batches without padding, an [`Engine`] runs the forward pass, and the caller gets
//! [`Embeddings`]. [`Encoder`] ties them to a model folder, and gives what sentence-transformers computes of it: its
//! files say how states are pooled, how many tokens are read, and what comes before a text ([`ModelDescription`]). With
//! the LLMLingua-2 models (BERT or XLM-RoBERTa with a token classifier), or with a [`KeepHead`] over MiniLM, the same
//! pass says how likely each token is to be kept.
//!
//! This crate does not know where vectors are kept, and nothing of HTTP.
//!
//! # Example
//!
//! ```no_run
//! use membox_encoder::{Encoder, EncoderConfig, Lane, Scheduler, SchedulerConfig};
//! use std::sync::Arc;
//!
//! let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default())?);
//! let folder = "data/models/all-MiniLM-L6-v2".as_ref();
//! let encoder = Encoder::load("all-MiniLM-L6-v2", folder, EncoderConfig::default(), &scheduler)?;
//! let answer = encoder.embed(vec!["Where did we park?".into()], Lane::Interactive)?;
//! assert_eq!(answer.rows().next().map(<[f32]>::len), Some(384));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! `tokenize-N` threads turn texts into ids, `encode-N` threads (one a core) run batches. Callers never compute: they
//! hand a request in and are called back. See [`scheduler`].

mod architecture;
mod axes;
mod background;
mod checksums;
pub mod cpu;
mod cross_encoder;
pub mod cuda;
mod documents;
mod encoder;
mod engine;
mod error;
mod lanes;
mod mixed_precision;
#[cfg(test)]
mod panics;
mod pooling;
mod prompts;
mod proof;
mod queries;
mod request;
mod room;
pub mod scheduler;
mod sentence_transformer;
mod splade;
mod tensors;
mod ticket;
mod tokenizer;
mod vector_head;
mod weights;
mod windows;
mod word_cache;
mod worker;

pub use architecture::{Activation, Architecture, ModelType, Positions};
pub use axes::{MAX_TOKEN_DIMENSION, TOKEN_AXES_FILE, TOKEN_DIMENSIONS, TokenAxes};
pub use background::{Background, CosineScale};
pub use checksums::{ChecksumSource, Checksums};
pub use cross_encoder::{TokenPair, sigmoid};
pub use documents::{DocumentEmbedding, DocumentWindows};
pub use encoder::{Encoder, EncoderConfig};
pub use engine::{Device, Engine, Outputs, PackedBatch, Precision, Session};
pub use error::EncoderError;
pub use lanes::Lane;
pub use mixed_precision::{Int8Check, LayerPrecision, PRECISION_FILE};
pub use pooling::Pooling;
pub use prompts::{Prompts, Purpose};
pub use queries::{EncodedQueries, QueryEmbedding, QueryTokens};
pub use request::{Embeddings, Inputs, Request, Wanted};
pub use scheduler::{Model, Scheduler, SchedulerConfig};
pub use sentence_transformer::{DEFAULT_MAX_TOKENS, MODULES_FILE, ModelDescription, ModelKind, PROMPTS_FILE};
pub use splade::TokenWeight;
pub use tensors::{WEIGHTS_FILE, WEIGHTS_INDEX_FILE, weight_files};
pub use ticket::Pending;
pub use tokenizer::{Family, Piece, Token, TokenIds, Tokenizer, Words};
pub use vector_head::VectorHead;
pub use weights::{EncoderWeights, KeepHead};
pub use windows::{MAX_WINDOWS, TokenWindow, token_windows};
