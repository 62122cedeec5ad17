//! The BERT of Alibaba's GTE (`Alibaba-NLP/new-impl`): rotary positions and a gated feed-forward layer.

use super::config::Config;
use super::{
    Activation, Architecture, Biases, FeedForwardNames, Halves, LayerParts, ModelType, Names, Positions, QkvNames,
    inverse_frequencies,
};
use serde_json::{Value, json};

const GTE: Names = Names {
    prefixes: &["new."],
    words: "embeddings.word_embeddings",
    positions: "",
    types: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer",
    qkv: QkvNames::Together("attention.qkv_proj"),
    attention_output: "attention.o_proj",
    attention_norm: "attn_ln",
    feed_forward: FeedForwardNames::Together("mlp.up_gate_proj", Halves::Second),
    output: "mlp.down_proj",
    output_norm: "mlp_ln",
    final_norm: "",
};

const APART: Names =
    Names { qkv: QkvNames::Apart(["attention.q_proj", "attention.k_proj", "attention.v_proj"]), ..GTE };

pub(super) fn read(config: &Config) -> Result<Architecture, String> {
    config.only("position_embedding_type", &[json!("rope")])?;
    config.only("layer_norm_type", &[json!("layer_norm")])?;
    config.only("logn_attention_scale", &[json!(false)])?;
    let (layers, hidden_size) = (config.size("num_hidden_layers")?, config.size("hidden_size")?);
    let num_attention_heads = config.size("num_attention_heads")?;
    let head_width = hidden_size.checked_div(num_attention_heads).unwrap_or(0);
    Ok(Architecture {
        model_type: ModelType::Gte,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads,
        intermediate_size: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: config.size_or("type_vocab_size", 2)?,
        layer_norm_eps: config.number_or("layer_norm_eps", 1e-12)?,
        positions: Positions::Rotary,
        max_sequence: config.size("max_position_embeddings")?,
        activation: Activation::parse("hidden_act", config.text_or("hidden_act", "gelu")?)?,
        gated: true,
        pre_norm: false,
        // The gate's product alone has none.
        biases: Biases { intermediate: false, ..Biases::ALL },
        layers: vec![LayerParts { window: None, rotary: Some(0), attention_norm: true }; layers],
        rotary: vec![frequencies(config, head_width)?],
        relative: None,
        names: if config.flag_or("pack_qkv", true)? { GTE } else { APART },
    })
}

/// Frequencies by the base, stretched where the model is for longer texts than it was trained on: "NTK" raises the base
/// by the factor, and divides each by factor^(2/D) (<https://kexue.fm/archives/9706>).
fn frequencies(config: &Config, head_width: usize) -> Result<Vec<f32>, String> {
    // transformers' own configuration has its parameters together.
    let parameters = config.get("rope_parameters");
    let of_parameters = parameters.and_then(|all| all.get("rope_theta")).and_then(Value::as_f64);
    let kind = parameters.and_then(|all| all.get("rope_type")).and_then(Value::as_str).unwrap_or("default");
    if kind != "default" {
        return Err(format!("rope_parameters.rope_type {kind:?} is not computed"));
    }
    let base = config.number_or("rope_theta", of_parameters.unwrap_or(10_000.0))?;
    let Some(scaling) = config.get("rope_scaling") else { return Ok(inverse_frequencies(head_width, base)) };
    let kind = scaling.get("type").or_else(|| scaling.get("rope_type")).and_then(Value::as_str).unwrap_or("");
    let factor = scaling.get("factor").and_then(Value::as_f64);
    match (kind, factor) {
        ("ntk", Some(factor)) if scaling.get("mixed_b").is_none_or(Value::is_null) => {
            let divisor = factor.powf(2.0 / head_width as f64) as f32;
            Ok(inverse_frequencies(head_width, base * factor).into_iter().map(|x| x / divisor).collect())
        }
        _ => Err(format!("rope_scaling {scaling} is not computed")),
    }
}
