//! NomicBERT (Nussbaum et al. 2024): rotary positions, SwiGLU, and linear layers without biases.

use super::config::Config;
use super::{
    Activation, Architecture, Biases, FeedForwardNames, LayerParts, ModelType, Names, Positions, QkvNames,
    inverse_frequencies,
};
use serde_json::{Value, json};

const NOMIC_BERT: Names = Names {
    prefixes: &["bert."],
    words: "embeddings.word_embeddings",
    positions: "",
    types: "embeddings.token_type_embeddings",
    embedding_norm: "emb_ln",
    layer: "encoder.layers",
    qkv: QkvNames::Together("attn.Wqkv"),
    attention_output: "attn.out_proj",
    attention_norm: "norm1",
    feed_forward: FeedForwardNames::Apart("mlp.fc12", "mlp.fc11"),
    output: "mlp.fc2",
    output_norm: "norm2",
    final_norm: "",
};

/// Without a gate.
const PLAIN: Names = Names { feed_forward: FeedForwardNames::One("mlp.fc1"), ..NOMIC_BERT };

/// Parts of the modelling code that none of the embedding models has.
fn refuse_others(config: &Config) -> Result<(), String> {
    let no = [json!(false)];
    for flag in ["prenorm", "parallel_block", "use_rms_norm", "rotary_emb_interleaved", "causal"] {
        config.only(flag, &no)?;
    }
    // The class has 0 where nothing is said: no rotary positions.
    let fraction = config.number_or("rotary_emb_fraction", 0.0)?;
    if fraction != 1.0 {
        return Err(format!("rotary_emb_fraction {fraction} is not computed"));
    }
    config.only("rotary_emb_scale_base", &[])?;
    config.only("num_experts", &[json!(0), json!(1)])
}

/// The base of the frequencies: a field of its own, or that of `rope_parameters`, as newer versions write it.
fn base(config: &Config) -> Result<f64, String> {
    let parameters = config.get("rope_parameters");
    let kind = parameters.and_then(|all| all.get("rope_type")).and_then(Value::as_str).unwrap_or("default");
    if kind != "default" {
        return Err(format!("rope_parameters.rope_type {kind:?} is not computed"));
    }
    let theta = parameters.and_then(|all| all.get("rope_theta")).and_then(Value::as_f64);
    match (config.get("rotary_emb_base"), theta) {
        (Some(_), _) => config.number_or("rotary_emb_base", 0.0),
        (None, Some(theta)) => Ok(theta),
        (None, None) => Err("missing field `rotary_emb_base`".to_owned()),
    }
}

pub(super) fn read(config: &Config) -> Result<Architecture, String> {
    refuse_others(config)?;
    let (layers, hidden_size) = (config.size("n_layer")?, config.size("n_embd")?);
    let num_attention_heads = config.size("n_head")?;
    let (activation, gated) = match config.text_or("activation_function", "swiglu")? {
        "swiglu" => (Activation::Silu, true),
        "geglu" => (Activation::Gelu, true),
        other => (Activation::parse("activation_function", other)?, false),
    };
    let positions = config.size_or("n_positions", 2048)?;
    // Past the trained positions, frequencies depend on the length of a batch where a factor is given.
    let max_sequence = match config.get("rotary_scaling_factor") {
        Some(_) => positions.min(config.size_or("max_trained_positions", 2048)?),
        None => positions,
    };
    // Biases are there unless a configuration says that they are not.
    let qkv = config.flag_or("qkv_proj_bias", true)?;
    let head_width = hidden_size.checked_div(num_attention_heads).unwrap_or(0);
    Ok(Architecture {
        model_type: ModelType::NomicBert,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads,
        intermediate_size: config.size_or("n_inner", 4 * hidden_size)?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: config.size_or("type_vocab_size", 2)?,
        layer_norm_eps: config.number_or("layer_norm_epsilon", 1e-12)?,
        positions: Positions::Rotary,
        max_sequence,
        activation,
        gated,
        pre_norm: false,
        biases: Biases {
            qkv,
            attention_output: qkv,
            intermediate: config.flag_or("mlp_fc1_bias", true)?,
            output: config.flag_or("mlp_fc2_bias", true)?,
            norms: true,
        },
        layers: vec![LayerParts { window: None, rotary: Some(0), attention_norm: true }; layers],
        rotary: vec![inverse_frequencies(head_width, base(config)?)],
        relative: None,
        names: if gated { NOMIC_BERT } else { PLAIN },
    })
}
