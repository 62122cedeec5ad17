//! The steps of a pass, recorded on a stream.
//!
//! Per layer: a product for queries, keys and values; `rotate`, where positions are rotary; attention, which adds the
//! queries' bias; a product and `residual_norm`, which adds the bias; a product and `bias_gelu` or `bias_gated`; a
//! product and `residual_norm`. Where norms stand before each half of a layer, `add_norm` is in the place of all of
//! these but the last. Products are cuBLASLt's, 16-bit with f32 sums.

use crate::CudaError;
use crate::blas::{Blas, Shape};
use crate::launch::{self, Norm, Reach};
use crate::launch_heads::{self, Columns};
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

/// [`Model::upload`] refuses a model without it.
fn no_norm() -> CudaError {
    CudaError::Shape("a layer lacks a norm".into())
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
        let [ids, positions, ..] = sizes.views(&w.inputs);
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
        for (index, layer) in model.layers.iter().enumerate() {
            // Where norms stand before, what is normed is where attention will write.
            let x = if model.final_norm.is_some() && index > 0 { &w.mixed } else { &w.states };
            self.product(&layer.qkv, tokens, x, &mut w.qkv)?;
            self.attend(layer, w, sizes)?;
            self.product(&layer.attention_output, tokens, &w.mixed, &mut w.update)?;
            let after_attention = &layer.attention_output.bias;
            let Some(final_norm) = &model.final_norm else {
                let norm = layer.attention_norm.as_ref().ok_or_else(no_norm)?;
                self.residual_norm(w, after_attention, norm, tokens)?;
                self.product(&layer.intermediate, tokens, &w.states, &mut w.wide)?;
                self.activate(layer, w, tokens)?;
                self.residual_norm(w, &layer.output.bias, &layer.output_norm, tokens)?;
                continue;
            };
            self.add_norm(w, after_attention, &layer.output_norm, tokens)?;
            self.product(&layer.intermediate, tokens, &w.mixed, &mut w.wide)?;
            self.activate(layer, w, tokens)?;
            match model.layers.get(index + 1) {
                Some(next) => {
                    let norm = next.attention_norm.as_ref().ok_or_else(no_norm)?;
                    self.add_norm(w, &layer.output.bias, norm, tokens)?;
                }
                // Nothing reads what it would add to.
                None => self.residual_norm(w, &layer.output.bias, final_norm, tokens)?,
            }
        }
        Ok(())
    }

    /// From queries, keys and values without bias to what attention mixes of them.
    fn attend(&self, layer: &Layer<T>, w: &mut Work<T>, sizes: Sizes) -> Result<(), CudaError> {
        let (model, f, stream) = (self.model, &self.model.functions, self.stream);
        let [_, positions, offsets, tiles] = sizes.views(&w.inputs);
        if let (Some(rotary), Some(function)) = (&layer.rotary, &f.rotate) {
            let angles = (&positions, &model.angles[rotary.angles]);
            launch::rotate(stream, function, &mut w.qkv, &rotary.bias, angles, sizes.tokens)?;
        }
        let relative = model.relative.as_ref().map(|(by_distance, reach)| (by_distance, *reach));
        let reach = Reach { window: layer.window, relative };
        let function = f.local_attention.as_ref().filter(|_| layer.window.is_some()).unwrap_or(&f.attention);
        let (packed, tiles) = ((&w.qkv, &layer.query_bias), (&tiles, sizes.tiles));
        launch::attention(stream, (function, reach), packed, &offsets, tiles, model.heads, &mut w.mixed)
    }

    /// The activation of a feed-forward layer, and the product after it.
    fn activate(&self, layer: &Layer<T>, w: &mut Work<T>, tokens: usize) -> Result<(), CudaError> {
        let (function, bias) = (&self.model.functions.activation, &layer.intermediate.bias);
        launch::activate(self.stream, function, &mut w.wide, bias, tokens, self.model.gated)?;
        self.product_of_rows(&layer.output, layer.intermediate.outputs, tokens, &w.wide, &mut w.update)
    }

    /// The states with the last product and its bias, normed.
    fn residual_norm(
        &self,
        w: &mut Work<T>,
        bias: &CudaSlice<f32>,
        norm: &Norm,
        tokens: usize,
    ) -> Result<(), CudaError> {
        let function = &self.model.functions.residual_norm;
        launch::residual_norm(self.stream, function, &mut w.states, (&w.update, bias), norm, None, tokens)
    }

    /// The states with the last product and its bias, and beside them their norm, where attention's output was.
    fn add_norm(&self, w: &mut Work<T>, bias: &CudaSlice<f32>, norm: &Norm, tokens: usize) -> Result<(), CudaError> {
        let function = self.model.functions.add_norm.as_ref().ok_or_else(no_norm)?;
        let normed = Some(&mut w.mixed);
        launch::residual_norm(self.stream, function, &mut w.states, (&w.update, bias), norm, normed, tokens)
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
        launch_heads::mean_pool(self.stream, function, &w.states, &offsets, &mut w.vectors, shape, normalize)
    }

    /// From states to the largest logit of each word piece among a sequence's tokens, by tiles of the vocabulary.
    pub fn max_logits(&self, w: &mut Work<T>, sizes: Sizes) -> Result<(), CudaError> {
        let (Some(head), Some(maxima)) = (&self.model.masked_lm, &mut w.maxima) else {
            return Err(CudaError::Shape("the model has no masked-LM head".into()));
        };
        let [_, _, offsets, _] = sizes.views(&w.inputs);
        let (stream, tokens) = (self.stream, sizes.tokens);
        self.product(&head.dense, tokens, &w.states, &mut w.update)?;
        launch::activate(stream, &head.activation, &mut w.update, &head.dense.bias, tokens, false)?;
        launch_heads::row_norm(stream, &head.row_norm, &mut w.update, &head.norm, tokens)?;
        let mut columns = Columns { first: 0, width: head.width };
        for tile in &head.decoder {
            self.product(tile, tokens, &w.update, &mut w.qkv)?;
            let (logits, sequences) = ((&w.qkv, &tile.bias), (&offsets, sizes.sequences));
            launch_heads::max_logits(stream, &head.max_logits, logits, sequences, &mut maxima.on_gpu, columns)?;
            columns.first += tile.outputs;
        }
        Ok(())
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
        launch_heads::keep(self.stream, &self.model.functions.keep, states, output, &mut w.kept, tokens)
    }
}
