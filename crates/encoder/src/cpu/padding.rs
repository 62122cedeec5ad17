//! Shapes that the kernels do not have (heads 32 or 64 wide, everything else a multiple of 32) are made wider with
//! zeros: TinyBERT's heads are 26 wide. Zeros stay zeros through a pass, since LayerNorm counts the model's own width
//! only and its scale and shift of them are zero.

use crate::weights::{EncoderWeights, LinearWeights, NormWeights};

/// The widths that a pass computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    /// Of a token's state in the model.
    pub model: usize,
    /// Of a token's state in memory: all heads side by side.
    pub hidden: usize,
    /// Of one head in memory: 32 or 64.
    pub head: usize,
    /// Of the feed-forward layer in memory; a gated one has it twice before its activation.
    pub intermediate: usize,
}

/// Pads the weights, if they need it.
pub(super) fn pad(mut weights: EncoderWeights) -> (EncoderWeights, Widths) {
    let config = &weights.architecture;
    let (model, heads, own) = (config.hidden_size, config.num_attention_heads, config.head_width());
    let head = if own <= 32 { 32 } else { 64 };
    let widths =
        Widths { model, hidden: heads * head, head, intermediate: config.intermediate_size.next_multiple_of(32) };
    if widths.hidden == model && widths.intermediate == config.intermediate_size {
        return (weights, widths);
    }
    let in_place = |i: usize| i;
    let of_heads = |i: usize| i / own * head + i % own;
    let of_sections = |i: usize| i / model * widths.hidden + of_heads(i % model);
    let (wide, hidden) = (widths.intermediate, widths.hidden);
    let (own_wide, halves) = (config.intermediate_size, if config.gated { 2 } else { 1 });
    let of_halves = |i: usize| i / own_wide * wide + i % own_wide;
    for layer in &mut weights.layers {
        spread(&mut layer.qkv, 3 * hidden, of_sections, hidden, in_place);
        spread(&mut layer.attention_output, hidden, in_place, hidden, of_heads);
        spread(&mut layer.intermediate, halves * wide, of_halves, hidden, in_place);
        spread(&mut layer.output, hidden, in_place, wide, in_place);
        layer.attention_norm.iter_mut().for_each(|norm| lengthen(norm, hidden));
        lengthen(&mut layer.output_norm, hidden);
    }
    lengthen(&mut weights.embedding_norm, hidden);
    weights.final_norm.iter_mut().for_each(|norm| lengthen(norm, hidden));
    for table in [&mut weights.word_embeddings, &mut weights.positions] {
        *table = table.chunks_exact(model).flat_map(|row| widened(row, hidden, in_place)).collect();
    }
    if let Some(keep) = &mut weights.keep {
        let first = keep.inner.as_mut().unwrap_or(&mut keep.output);
        let outputs = first.outputs;
        spread(first, outputs, in_place, hidden, in_place);
    }
    (weights, widths)
}

fn lengthen(norm: &mut NormWeights, width: usize) {
    norm.weight.resize(width, 0.0);
    norm.bias.resize(width, 0.0);
}

fn widened(row: &[f32], width: usize, place: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut out = vec![0.0; width];
    for (i, x) in row.iter().enumerate() {
        out[place(i)] = *x;
    }
    out
}

/// Moves rows and columns to their places in a larger matrix of zeros.
fn spread(
    linear: &mut LinearWeights,
    outputs: usize,
    row: impl Fn(usize) -> usize,
    inputs: usize,
    column: impl Fn(usize) -> usize,
) {
    let mut weight = vec![0.0; outputs * inputs];
    for (i, values) in linear.weight.chunks_exact(linear.inputs).enumerate() {
        let at = row(i) * inputs;
        weight[at..at + inputs].copy_from_slice(&widened(values, inputs, &column));
    }
    let bias = widened(&linear.bias, outputs, row);
    *linear = LinearWeights { weight, bias, outputs, inputs };
}
