//! An engine of which each layer is there in both precisions, to try which of them int8 spoils.

use super::{CpuEngine, Layer};
use crate::engine::{Engine, Outputs, PackedBatch, Precision};
use crate::weights::EncoderWeights;
use std::sync::Arc;

/// An engine, and each of its layers in the other precision.
pub(crate) struct MixedEngine {
    engine: Arc<CpuEngine>,
    others: Vec<Layer>,
    /// Which layers of the engine are in f32.
    in_f32: Vec<bool>,
}

impl MixedEngine {
    pub fn new(weights: EncoderWeights) -> Self {
        let others = CpuEngine::new(weights.clone(), Precision::F32).layers;
        let in_f32 = vec![false; others.len()];
        Self { engine: Arc::new(CpuEngine::new(weights, Precision::Int8)), others, in_f32 }
    }

    /// The vectors of a batch at unit length, with these layers in f32 and all others in int8.
    pub fn vectors(&mut self, in_f32: &[usize], batch: &PackedBatch) -> Vec<f32> {
        // Nobody else has it: sessions end below.
        if let Some(engine) = Arc::get_mut(&mut self.engine) {
            let layers = engine.layers.iter_mut().zip(&mut self.others).zip(&mut self.in_f32);
            for (index, ((own, other), is_f32)) in layers.enumerate() {
                if in_f32.contains(&index) != *is_f32 {
                    std::mem::swap(own, other);
                    *is_f32 = !*is_f32;
                }
            }
        }
        let mut vectors = vec![0.0; batch.sequences() * self.engine.dimension()];
        let outputs = Outputs { vectors: Some(&mut vectors), normalize: true, ..Outputs::default() };
        self.engine.clone().session().run(batch, outputs, 0, &mut || ());
        vectors
    }
}
