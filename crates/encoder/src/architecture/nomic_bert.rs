//! NomicBERT (Nussbaum et al. 2024): rotary positions, SwiGLU, and linear layers without biases.

use super::config::Config;
use super::{
    Activation, Architecture, Biases, FeedForwardNames, LayerParts, ModelType, Names, Positions, QkvNames,
    inverse_frequencies,
};
use serde_json::json;

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
    config.only("rotary_emb_fraction", &[json!(1.0), json!(1)])?;
    config.only("rotary_emb_scale_base", &[])?;
    config.only("num_experts", &[json!(0), json!(1)])
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
    let qkv = config.flag_or("qkv_proj_bias", false)?;
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
            intermediate: config.flag_or("mlp_fc1_bias", false)?,
            output: config.flag_or("mlp_fc2_bias", false)?,
            norms: true,
        },
        layers: vec![LayerParts { window: None, rotary: Some(0), attention_norm: true }; layers],
        rotary: vec![inverse_frequencies(head_width, config.number_or("rotary_emb_base", 10_000.0)?)],
        relative: None,
        names: if gated { NOMIC_BERT } else { PLAIN },
    })
}
