//! The keep head that every box has: a small network over the token states of all-MiniLM-L6-v2, trained by
//! `membox distil`.
//!
//! Its card, `models/keep-head/README.md`, says on what it was trained and how it measures.

use crate::CompressorError;
use membox_encoder::KeepHead;

/// The model whose states it reads.
pub const MODEL: &str = "all-MiniLM-L6-v2";

const WEIGHTS: &[u8] = include_bytes!("../../../models/keep-head/all-MiniLM-L6-v2.safetensors");

/// The head that is built in.
pub fn built_in() -> Result<KeepHead, CompressorError> {
    Ok(KeepHead::from_safetensors(WEIGHTS)?)
}
