//! BERT, and what differs from it in names and positions alone: RoBERTa, XLM-RoBERTa, DistilBERT.

use super::config::Config;
use super::{Activation, Architecture, Biases, FeedForwardNames, LayerParts, ModelType, Names, Positions, QkvNames};
use serde_json::json;

const BERT: Names = Names {
    prefixes: &["bert."],
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    types: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer",
    qkv: QkvNames::Apart(["attention.self.query", "attention.self.key", "attention.self.value"]),
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    feed_forward: FeedForwardNames::One("intermediate.dense"),
    output: "output.dense",
    output_norm: "output.LayerNorm",
    final_norm: "",
};

const ROBERTA: Names = Names { prefixes: &["roberta."], ..BERT };

const DISTILBERT: Names = Names {
    prefixes: &["distilbert."],
    layer: "transformer.layer",
    qkv: QkvNames::Apart(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    feed_forward: FeedForwardNames::One("ffn.lin1"),
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
    ..BERT
};

/// Every layer with a norm after its attention, which is over the whole sequence.
pub(super) fn plain_layers(count: usize) -> Vec<LayerParts> {
    vec![LayerParts { window: None, rotary: None, attention_norm: true }; count]
}

pub(super) fn bert(config: &Config) -> Result<Architecture, String> {
    with_table(config, ModelType::Bert, BERT, 0)
}

pub(super) fn roberta(config: &Config, model_type: ModelType) -> Result<Architecture, String> {
    config.only("lora_adaptations", &[])?;
    // Positions are counted from the padding token's id plus one.
    with_table(config, model_type, ROBERTA, config.size_or("pad_token_id", 1)? + 1)
}

fn with_table(config: &Config, model_type: ModelType, names: Names, first: usize) -> Result<Architecture, String> {
    config.only("position_embedding_type", &[json!("absolute")])?;
    config.only("is_decoder", &[json!(false)])?;
    let (layers, rows) = (config.size("num_hidden_layers")?, config.size("max_position_embeddings")?);
    Ok(Architecture {
        model_type,
        hidden_size: config.size("hidden_size")?,
        num_hidden_layers: layers,
        num_attention_heads: config.size("num_attention_heads")?,
        intermediate_size: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: config.size_or("type_vocab_size", 2)?,
        layer_norm_eps: config.number_or("layer_norm_eps", 1e-12)?,
        positions: Positions::Table { rows, first },
        max_sequence: rows.saturating_sub(first),
        activation: Activation::parse("hidden_act", config.text_or("hidden_act", "gelu")?)?,
        gated: false,
        pre_norm: false,
        biases: Biases::ALL,
        layers: plain_layers(layers),
        rotary: Vec::new(),
        relative: None,
        names,
    })
}

pub(super) fn distilbert(config: &Config) -> Result<Architecture, String> {
    let (layers, rows) = (config.size("n_layers")?, config.size("max_position_embeddings")?);
    Ok(Architecture {
        model_type: ModelType::DistilBert,
        hidden_size: config.size("dim")?,
        num_hidden_layers: layers,
        num_attention_heads: config.size("n_heads")?,
        intermediate_size: config.size("hidden_dim")?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: 0,
        layer_norm_eps: 1e-12,
        // Those by sines are in the file as a table, too.
        positions: Positions::Table { rows, first: 0 },
        max_sequence: rows,
        activation: Activation::parse("activation", config.text_or("activation", "gelu")?)?,
        gated: false,
        pre_norm: false,
        biases: Biases::ALL,
        layers: plain_layers(layers),
        rotary: Vec::new(),
        relative: None,
        names: DISTILBERT,
    })
}
