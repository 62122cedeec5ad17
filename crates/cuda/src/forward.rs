//! The steps of a pass, recorded on a stream.
//!
//! Per layer: a product for queries, keys and values; `rotate`, where positions are rotary; attention, which adds the
//! queries' bias; a product and `residual_norm`, which adds the bias; a product and `bias_gelu` or `bias_gated`; a
//! product and `residual_norm`. Products are cuBLASLt's, 16-bit with f32 sums.

use crate::CudaError;
use crate::blas::{Blas, Shape};
use crate::launch;
use crate::model::{Layer, Linear, Model};
use crate::number::Number;
use crate::work::{Sizes, Work};
use cudarc::driver::{CudaSlice, CudaStream};
use std::sync::Arc;

/// Queries of a tile of attention: QUERIES of attention.cu.
pub(crate) const QUERIES: usize = 64;

/// What attention's blocks work on: a sequence, and the first of the queries.
pub(crate) fn tiles(offsets: &[u32]) -> Vec<u32> {
    let lengths = offsets.windows(2).map(|o| o[1] - o[0]).enumerate();
    lengths.flat_map(|(s, length)| (0..length).step_by(QUERIES).flat_map(move |first| [s as u32, first])).collect()
}

/// Records steps on a stream.
pub(crate) struct OnStream<'a, T> {
    pub model: &'a Model<T>,
    pub stream: &'a Arc<CudaStream>,
    pub blas: &'a Blas,
}

impl<T: Number> OnStream<'_, T> {
    /// From token ids to the states of the last layer.
    pub fn forward(&self, w: &mut Work<T>, sizes: Sizes) -> Result<(), CudaError> {
        let (model, f, stream, tokens) = (self.model, &self.model.functions, self.stream, sizes.tokens);
        let [ids, positions, offsets, tiles] = sizes.views(&w.inputs);
        let (word_embeddings, places) = ((&ids, &model.word_embeddings), (&positions, model.positions.as_ref()));
        launch::embed_norm(
            stream,
            &f.embed_norm,
            word_embeddings,
            places,
            &model.embedding_norm,
            &mut w.states,
            tokens,
        )?;
        for layer in &model.layers {
            let Layer { qkv, query_bias, attention_output, intermediate, output, .. } = layer;
            self.product(qkv, tokens, &w.states, &mut w.qkv)?;
            if let (Some(rotary), Some(function)) = (&layer.rotary, &f.rotate) {
                let angles = (&positions, &model.angles[rotary.angles]);
                launch::rotate(stream, function, &mut w.qkv, &rotary.bias, angles, tokens)?;
            }
            let tiles = (&tiles, sizes.tiles);
            let packed = (&w.qkv, query_bias);
            launch::attention(stream, &f.attention, packed, &offsets, tiles, model.heads, &mut w.mixed)?;
            self.product(attention_output, tokens, &w.mixed, &mut w.update)?;
            let update = (&w.update, &attention_output.bias);
            launch::residual_norm(stream, &f.residual_norm, &mut w.states, update, &layer.attention_norm, tokens)?;
            self.product(intermediate, tokens, &w.states, &mut w.wide)?;
            launch::activate(stream, &f.activation, &mut w.wide, &intermediate.bias, tokens, model.gated)?;
            self.product_of_rows(output, intermediate.outputs, tokens, &w.wide, &mut w.update)?;
            let update = (&w.update, &output.bias);
            launch::residual_norm(stream, &f.residual_norm, &mut w.states, update, &layer.output_norm, tokens)?;
        }
        Ok(())
    }

    /// `out = x · weightᵀ`, without the bias.
    fn product(
        &self,
        linear: &Linear<T>,
        tokens: usize,
        x: &CudaSlice<T>,
        out: &mut CudaSlice<T>,
    ) -> Result<(), CudaError> {
        self.product_of_rows(linear, linear.inputs, tokens, x, out)
    }

    /// As [`Self::product`], of the first numbers of rows that are longer.
    fn product_of_rows(
        &self,
        linear: &Linear<T>,
        stride: usize,
        tokens: usize,
        x: &CudaSlice<T>,
        out: &mut CudaSlice<T>,
    ) -> Result<(), CudaError> {
        let shape = Shape { rows: tokens, inputs: linear.inputs, outputs: linear.outputs, stride };
        self.blas.product(shape, &linear.weight, x, out)
    }

    /// From states to vectors.
    pub fn pool(&self, w: &mut Work<T>, sizes: Sizes, normalize: bool) -> Result<(), CudaError> {
        let (function, shape) = (&self.model.functions.mean_pool, (sizes.sequences, self.model.hidden));
        let [_, _, offsets, _] = sizes.views(&w.inputs);
        launch::mean_pool(self.stream, function, &w.states, &offsets, &mut w.vectors, shape, normalize)
    }

    /// From states to keep probabilities.
    pub fn keep(&self, w: &mut Work<T>, tokens: usize) -> Result<(), CudaError> {
        let Some(head) = &self.model.keep else { return Err(CudaError::Shape("the model has no keep head".into())) };
        if let Some(inner) = &head.inner {
            self.product(inner, tokens, &w.states, &mut w.wide)?;
            launch::activate(self.stream, &self.model.functions.bias_gelu, &mut w.wide, &inner.bias, tokens, false)?;
        }
        let states = if head.inner.is_some() { &w.wide } else { &w.states };
        let output = (&head.weight, head.bias);
        launch::keep(self.stream, &self.model.functions.keep, states, output, &mut w.kept, tokens)
    }
}
