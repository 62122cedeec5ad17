//! MPNet: a table of positions, and a bias by distance that all layers share.

use super::bert::plain_layers;
use super::config::Config;
use super::{
    Activation, Architecture, Biases, FeedForwardNames, ModelType, Names, Positions, QkvNames, RelativeBuckets,
};

const MPNET: Names = Names {
    prefixes: &["mpnet."],
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    types: "",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer",
    qkv: QkvNames::Apart(["attention.attn.q", "attention.attn.k", "attention.attn.v"]),
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    feed_forward: FeedForwardNames::One("intermediate.dense"),
    output: "output.dense",
    output_norm: "output.LayerNorm",
    final_norm: "",
};

pub(super) fn read(config: &Config) -> Result<Architecture, String> {
    let (layers, rows) = (config.size("num_hidden_layers")?, config.size("max_position_embeddings")?);
    // The padding token's id is 1, whatever the configuration says: transformers has it as a constant.
    let first = 2;
    Ok(Architecture {
        model_type: ModelType::MpNet,
        hidden_size: config.size("hidden_size")?,
        num_hidden_layers: layers,
        num_attention_heads: config.size("num_attention_heads")?,
        intermediate_size: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: 0,
        layer_norm_eps: config.number_or("layer_norm_eps", 1e-12)?,
        positions: Positions::Table { rows, first },
        max_sequence: rows.saturating_sub(first),
        activation: Activation::parse("hidden_act", config.text_or("hidden_act", "gelu")?)?,
        gated: false,
        pre_norm: false,
        biases: Biases::ALL,
        layers: plain_layers(layers),
        rotary: Vec::new(),
        relative: Some(RelativeBuckets {
            count: config.size_or("relative_attention_num_buckets", 32)?,
            max_distance: 128,
        }),
        names: MPNET,
    })
}
