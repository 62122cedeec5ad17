//! How the legs of a hybrid recall are joined.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const DEFAULT_VECTOR_WEIGHT: f32 = 0.5;

const DEFAULT_CONSTANT: f32 = 60.0;

/// How the vector leg and the text leg of a hybrid recall are joined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "method", rename_all = "lowercase", try_from = "FusionFields")]
pub enum Fusion {
    /// The sum of both scores, each divided by the best of its leg.
    Scores {
        /// Weight of the vector leg, 0 to 1 (0.5); the text leg has the rest.
        #[serde(default)]
        #[schema(minimum = 0, maximum = 1)]
        vector_weight: f32,
    },
    /// Reciprocal ranks: Σ 1 / (constant + rank).
    Rrf {
        /// 60 unless said otherwise.
        #[serde(default)]
        #[schema(minimum = 0)]
        constant: f32,
    },
}

/// A fusion as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FusionFields {
    method: Method,
    vector_weight: Option<f32>,
    constant: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Scores,
    Rrf,
}

impl TryFrom<FusionFields> for Fusion {
    type Error = &'static str;

    fn try_from(given: FusionFields) -> Result<Self, Self::Error> {
        match (given.method, given.vector_weight, given.constant) {
            (Method::Scores, weight, None) => {
                Ok(Self::Scores { vector_weight: weight.unwrap_or(DEFAULT_VECTOR_WEIGHT) })
            }
            (Method::Rrf, None, constant) => Ok(Self::Rrf { constant: constant.unwrap_or(DEFAULT_CONSTANT) }),
            (Method::Scores, ..) => Err("constant is for method rrf, not scores"),
            (Method::Rrf, ..) => Err("vector_weight is for method scores, not rrf"),
        }
    }
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Scores { vector_weight: DEFAULT_VECTOR_WEIGHT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_takes_its_own_number_and_no_other() {
        let read = |text| serde_json::from_str::<Fusion>(text).ok();
        assert_eq!(read(r#"{"method":"scores","constant":null}"#), Some(Fusion::default()));
        assert_eq!(read(r#"{"method":"rrf","constant":7}"#), Some(Fusion::Rrf { constant: 7.0 }));
        for wrong in [r#"{"method":"rrf","vector_weight":0.5}"#, r#"{"method":"scores","constant":1}"#, "{}"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
