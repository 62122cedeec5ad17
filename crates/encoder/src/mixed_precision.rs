//! Which layers of a model int8 spoils: some models have rows of weights far larger than the others, of which 8 bits
//! leave little. Such layers are computed in f32, and a file in the model's folder says which.

use crate::EncoderError;
use crate::checksums::{Checksums, ModelFiles};
use crate::cpu::MixedEngine;
use crate::engine::PackedBatch;
use crate::sentence_transformer::ModelDescription;
use crate::tokenizer::Tokenizer;
use crate::weights::EncoderWeights;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What this box has found out about a model, in its folder.
pub const PRECISION_FILE: &str = "membox.json";

/// The content of [`PRECISION_FILE`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPrecision {
    /// Layers that are computed in f32 where the others are in int8, from 0.
    pub f32_layers: Vec<usize>,
}

/// How near int8 is to f32, and by which layers in f32 it comes near enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Check {
    /// Least cosine of a text's vector in int8 throughout to that in f32.
    pub least: f32,
    /// Layers to be computed in f32, ascending; none where int8 is near enough.
    pub layers: LayerPrecision,
    /// Least cosine with these layers in f32.
    pub least_with_them: f32,
}

impl Int8Check {
    /// Holds int8 against f32 on some texts. Where the least cosine is below `wanted`, every layer is tried in int8
    /// alone, and of those that do the most harm as many go to f32 as it takes.
    ///
    /// # Errors
    /// As [`EncoderWeights::load`]; and a text cannot be tokenized.
    pub fn of(folder: &Path, texts: &[String], wanted: f32) -> Result<Self, EncoderError> {
        let checksums = Checksums::default();
        let files = ModelFiles::new(folder, &checksums);
        let description = ModelDescription::read_from(&files)?;
        let tokenizer = Tokenizer::read(&files)?;
        let tokenizer = if description.lower_case { tokenizer.in_lower_case() } else { tokenizer };
        let mut batch = PackedBatch::new();
        for text in texts {
            batch.push(&tokenizer.encode(text, description.max_tokens)?.ids);
        }
        let weights = EncoderWeights::read_from(&files, None, None)?.with_pooling(description.pooling);
        let mut engine = MixedEngine::new(weights);
        let layers = description.architecture.num_hidden_layers;
        let all: Vec<usize> = (0..layers).collect();
        let exact = engine.vectors(&all, &batch);
        let mut least = |in_f32: &[usize]| least_cosine(&exact, &engine.vectors(in_f32, &batch), texts.len());
        let throughout = least(&[]);
        if throughout >= wanted {
            let (layers, least_with_them) = (LayerPrecision::default(), throughout);
            return Ok(Self { least: throughout, layers, least_with_them });
        }
        let others = |layer: usize| all.iter().copied().filter(|other| *other != layer).collect::<Vec<usize>>();
        let mut alone: Vec<(f32, usize)> = all.iter().map(|&layer| (least(&others(layer)), layer)).collect();
        alone.sort_by(|a, b| a.0.total_cmp(&b.0));
        let worst = |count: usize| alone.iter().take(count).map(|(_, layer)| *layer).collect::<Vec<usize>>();
        // All of them are enough; half of what is left is tried each time.
        let (mut too_few, mut enough, mut least_with_them) = (0, layers, 1.0);
        while too_few + 1 < enough {
            let count = too_few.midpoint(enough);
            match least(&worst(count)) {
                found if found >= wanted => (enough, least_with_them) = (count, found),
                _ => too_few = count,
            }
        }
        let mut f32_layers = worst(enough);
        f32_layers.sort_unstable();
        Ok(Self { least: throughout, layers: LayerPrecision { f32_layers }, least_with_them })
    }
}

/// The least cosine of vectors of unit length; below every other where one is no number.
fn least_cosine(a: &[f32], b: &[f32], count: usize) -> f32 {
    let width = (a.len() / count.max(1)).max(1);
    let cosines = a.chunks_exact(width).zip(b.chunks_exact(width));
    let cosines = cosines.map(|(a, b)| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>());
    cosines.fold(1.0, |least, cosine| if cosine.is_nan() { -1.0 } else { cosine.min(least) })
}
