//! JinaBERT v2 (Günther et al. 2023): BERT that knows distances alone (ALiBi), with a gated feed-forward layer.

use super::bert::plain_layers;
use super::config::Config;
use super::{Activation, Architecture, Biases, FeedForwardNames, Halves, ModelType, Names, Positions, QkvNames};
use serde_json::json;

const JINA_BERT: Names = Names {
    prefixes: &["bert."],
    words: "embeddings.word_embeddings",
    positions: "",
    types: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer",
    qkv: QkvNames::Apart(["attention.self.query", "attention.self.key", "attention.self.value"]),
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    feed_forward: FeedForwardNames::Together("mlp.gated_layers", Halves::First),
    output: "mlp.wo",
    output_norm: "mlp.layernorm",
    final_norm: "",
};

/// The code of jina-embeddings-v2-base-code, whose configuration differs from the others' in nothing else.
const WITH_NORMS_OF_QUERIES: &str = "qk-post-norm";

/// Norms of queries and keys are no field of a configuration.
fn refuse_other_code(config: &Config) -> Result<(), String> {
    let of_map = config.get("auto_map").and_then(|map| map.get("AutoModel"));
    for (field, code) in [("auto_map.AutoModel", of_map), ("_name_or_path", config.get("_name_or_path"))] {
        if let Some(code) = code.and_then(|code| code.as_str()).filter(|code| code.contains(WITH_NORMS_OF_QUERIES)) {
            return Err(format!("{field} {code:?} is not computed: it has norms of queries and keys"));
        }
    }
    Ok(())
}

pub(super) fn read(config: &Config) -> Result<Architecture, String> {
    refuse_other_code(config)?;
    config.only("is_decoder", &[json!(false)])?;
    let activation = match config.text_or("feed_forward_type", "original")? {
        "geglu" => Activation::Gelu,
        "reglu" => Activation::Relu,
        other => return Err(format!("feed_forward_type {other:?} beside \"alibi\" is not computed")),
    };
    let (layers, max_sequence) = (config.size("num_hidden_layers")?, config.size("max_position_embeddings")?);
    Ok(Architecture {
        model_type: ModelType::JinaBert,
        hidden_size: config.size("hidden_size")?,
        num_hidden_layers: layers,
        num_attention_heads: config.size("num_attention_heads")?,
        intermediate_size: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        type_vocab_size: config.size_or("type_vocab_size", 2)?,
        layer_norm_eps: config.number_or("layer_norm_eps", 1e-12)?,
        positions: Positions::Alibi,
        max_sequence,
        activation,
        gated: true,
        pre_norm: false,
        biases: Biases { intermediate: false, ..Biases::ALL },
        layers: plain_layers(layers),
        rotary: Vec::new(),
        relative: None,
        names: JINA_BERT,
    })
}

/// How much each head takes off a score for a step of distance (Press et al. 2022). Of heads that are no power of two,
/// those after the power below have every second slope of the power above.
pub(crate) fn slopes(heads: usize) -> Vec<f32> {
    let of_power = |count: usize| (1..=count).map(move |i| (-8.0 * i as f64 / count as f64).exp2() as f32);
    let below = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    of_power(below).chain(of_power(2 * below).step_by(2)).take(heads).collect()
}

#[cfg(test)]
mod tests {
    use super::slopes;

    #[test]
    fn slopes_are_halved_from_head_to_head() {
        assert_eq!(slopes(8), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
        assert_eq!(slopes(2), [0.0625, 0.00390625]);
        assert_eq!(slopes(3), [0.0625, 0.00390625, 0.25]);
        assert!(slopes(12).len() == 12 && slopes(12)[8] == (-0.5f32).exp2());
    }
}
