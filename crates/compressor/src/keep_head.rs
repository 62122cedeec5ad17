//! The keep heads that every box has: small networks over the token states of embedding models, trained by
//! `membox distil`.
//!
//! Their card, `models/keep-head/README.md`, says on what they were trained and how they measure.

use crate::CompressorError;
use membox_encoder::KeepHead;

/// Models whose states a head is built in for, each with its weights.
const BUILT_IN: [(&str, &[u8]); 2] = [
    ("all-MiniLM-L6-v2", include_bytes!("../../../models/keep-head/all-MiniLM-L6-v2.safetensors")),
    ("multilingual-e5-small", include_bytes!("../../../models/keep-head/multilingual-e5-small.safetensors")),
];

/// The head that is built in for a model, by the name that it is installed by.
pub fn built_in(model: &str) -> Result<Option<KeepHead>, CompressorError> {
    let found = BUILT_IN.iter().find(|(name, _)| *name == model);
    Ok(found.map(|(_, weights)| KeepHead::from_safetensors(weights)).transpose()?)
}
