//! Cross-encoders: a question and a text in one sequence, and one number of how well they go together.
//!
//! Published as `…ForSequenceClassification` with one label. What stands over the first token's state is two linear
//! layers, so such a model is an encoder with CLS pooling and that [head](crate::VectorHead). Only its sequences
//! differ: they are pairs, and BERT marks the tokens of the second text.

use crate::EncoderError;
use crate::architecture::{Architecture, ModelType};
use crate::encoder::Encoder;
use crate::lanes::Lane;
use crate::request::{Inputs, Request, Wanted};
use crate::sentence_transformer::ModelKind;
use crate::vector_head::DenseActivation;
use serde_json::Value;

/// How the names of such classes end.
const CLASS: &str = "ForSequenceClassification";

/// Two texts as one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// Token ids, special ones included.
    pub ids: Vec<u32>,
    /// The first token that the model counts to the second text; their number where it tells them apart by their
    /// special tokens alone.
    pub second: usize,
}

/// The layers over the first token's state, by their names in the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassifierNames {
    pub inner: &'static str,
    pub activation: DenseActivation,
    pub output: &'static str,
}

impl ClassifierNames {
    /// Those of a `config.json`, if it is of a model that classifies sequences.
    pub fn find(config: &Value, architecture: &Architecture) -> Result<Option<Self>, String> {
        let classes = config.get("architectures").and_then(Value::as_array);
        let class = classes.into_iter().flatten().filter_map(Value::as_str).find(|name| name.ends_with(CLASS));
        let Some(class) = class else { return Ok(None) };
        let tanh = |inner, output| Ok(Some(Self { inner, activation: DenseActivation::Tanh, output }));
        match architecture.model_type {
            ModelType::Bert => tanh("bert.pooler.dense", "classifier"),
            ModelType::Roberta | ModelType::XlmRoberta => tanh("classifier.dense", "classifier.out_proj"),
            ModelType::DistilBert => {
                let (inner, output) = ("pre_classifier", "classifier");
                Ok(Some(Self { inner, activation: DenseActivation::Relu, output }))
            }
            _ => Err(format!("the head of {class} is not computed")),
        }
    }
}

/// From any number to 0 to 1.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl Encoder {
    /// How well texts go with a question: one number each, the higher the better, as the model gives it; [`sigmoid`]
    /// makes it 0 to 1. A pair that is too long loses tokens of the longer of the two. They are cut into tokens on the
    /// caller's thread.
    ///
    /// # Errors
    /// [`EncoderError::NoCrossEncoder`], and as [`Encoder::encode`].
    pub fn score_pairs(
        &self,
        question: &str,
        texts: &[String],
        max_tokens: Option<usize>,
        lane: Lane,
    ) -> Result<Vec<f32>, EncoderError> {
        if self.kind() != ModelKind::CrossEncoder {
            return Err(EncoderError::NoCrossEncoder);
        }
        let max_tokens = max_tokens.unwrap_or(self.max_tokens()).min(self.max_tokens());
        let tokenizer = self.tokenizer().of_pairs(max_tokens)?;
        let pairs = texts.iter().map(|text| tokenizer.encode_pair(question, text)).collect::<Result<Vec<_>, _>>()?;
        let request = Request { inputs: Inputs::Pairs(pairs), max_tokens, wanted: Wanted::vectors(false), lane };
        Ok(self.encode(request)?.vectors)
    }
}
