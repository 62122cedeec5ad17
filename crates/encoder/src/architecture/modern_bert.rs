//! ModernBERT (Warner et al. 2024): norms before each part, rotary positions, GeGLU, and attention that is local in
//! two of three layers.

use super::config::Config;
use super::{
    Activation, Architecture, Biases, FeedForwardNames, Halves, LayerParts, ModelType, Names, Positions, QkvNames,
    inverse_frequencies,
};
use serde_json::{Value, json};

const MODERN_BERT: Names = Names {
    prefixes: &["model."],
    words: "embeddings.tok_embeddings",
    positions: "",
    types: "",
    embedding_norm: "embeddings.norm",
    layer: "layers",
    qkv: QkvNames::Together("attn.Wqkv"),
    attention_output: "attn.Wo",
    attention_norm: "attn_norm",
    feed_forward: FeedForwardNames::Together("mlp.Wi", Halves::First),
    output: "mlp.Wo",
    output_norm: "mlp_norm",
    final_norm: "final_norm",
};

pub(super) fn read(config: &Config) -> Result<Architecture, String> {
    let (layers, hidden_size) = (config.size("num_hidden_layers")?, config.size("hidden_size")?);
    let num_attention_heads = config.size("num_attention_heads")?;
    let head_width = hidden_size.checked_div(num_attention_heads).unwrap_or(0);
    let [global, local] = bases(config)?.map(|base| inverse_frequencies(head_width, base));
    let is_local = local_layers(config, layers)?;
    let window = config.size_or("local_attention", 128)? / 2;
    let parts = is_local.into_iter().enumerate().map(|(index, is_local)| LayerParts {
        window: is_local.then_some(window),
        rotary: Some(usize::from(is_local)),
        // What enters the first layer has just been normed.
        attention_norm: index > 0,
    });
    let (attention, mlp) = (config.flag_or("attention_bias", false)?, config.flag_or("mlp_bias", false)?);
    Ok(Architecture {
        model_type: ModelType::ModernBert,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads,
        intermediate_size: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: 0,
        layer_norm_eps: config.number_or("norm_eps", 1e-5)?,
        positions: Positions::Rotary,
        max_sequence: config.size_or("max_position_embeddings", 8192)?,
        activation: Activation::parse("hidden_activation", config.text_or("hidden_activation", "gelu")?)?,
        gated: true,
        pre_norm: true,
        biases: Biases {
            qkv: attention,
            attention_output: attention,
            intermediate: mlp,
            output: mlp,
            norms: config.flag_or("norm_bias", false)?,
        },
        layers: parts.collect(),
        rotary: vec![global, local],
        relative: None,
        names: MODERN_BERT,
    })
}

/// The bases of the frequencies of global and of local layers: fields of their own, or those of `rope_parameters`.
fn bases(config: &Config) -> Result<[f64; 2], String> {
    let kinds = [("global_rope_theta", "full_attention", 160_000.0), ("local_rope_theta", "sliding_attention", 1e4)];
    let mut bases = [0.0; 2];
    for (base, (field, kind, default)) in bases.iter_mut().zip(kinds) {
        let parameters = config.get("rope_parameters").and_then(|all| all.get(kind)).filter(|own| !own.is_null());
        *base = match parameters {
            Some(own) => {
                let rope_type = own.get("rope_type").and_then(Value::as_str).unwrap_or("default");
                if rope_type != "default" {
                    return Err(format!("rope_parameters.{kind}.rope_type {rope_type:?} is not computed"));
                }
                let theta = own.get("rope_theta").and_then(Value::as_f64);
                theta.ok_or_else(|| format!("missing field `rope_parameters.{kind}.rope_theta`"))?
            }
            None => config.number_or(field, default)?,
        };
    }
    Ok(bases)
}

/// Which layers are local: by `layer_types`, or all but each n-th.
fn local_layers(config: &Config, layers: usize) -> Result<Vec<bool>, String> {
    match config.get("layer_types").and_then(Value::as_array) {
        Some(types) if types.len() >= layers => types[..layers]
            .iter()
            .map(|kind| match kind.as_str() {
                Some("full_attention") => Ok(false),
                Some("sliding_attention") => Ok(true),
                _ => Err(format!("layer_types {kind} is not computed")),
            })
            .collect(),
        Some(types) => Err(format!("layer_types {} is not computed: there are {layers} layers", json!(types))),
        None => {
            let every = config.size_or("global_attn_every_n_layers", 3)?.max(1);
            Ok((0..layers).map(|index| index % every != 0).collect())
        }
    }
}
