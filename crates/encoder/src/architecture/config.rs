//! `config.json`, field by field. What a model is said to have and is not computed is refused by the field's name.

use serde_json::{Map, Value};

/// The fields of a `config.json`.
pub(super) struct Config(Map<String, Value>);

impl Config {
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map(Self).map_err(|e| e.to_string())
    }

    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A size that must be there.
    pub fn size(&self, name: &str) -> Result<usize, String> {
        let value = self.get(name).ok_or_else(|| format!("missing field `{name}`"))?;
        value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| format!("{name} {value} is no size"))
    }

    pub fn size_or(&self, name: &str, default: usize) -> Result<usize, String> {
        if self.get(name).is_some() { self.size(name) } else { Ok(default) }
    }

    pub fn number_or(&self, name: &str, default: f64) -> Result<f64, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| format!("{name} {value} is no number"))
    }

    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| format!("{name} {value} is neither true nor false"))
    }

    pub fn text_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_str().ok_or_else(|| format!("{name} {value} is no text"))
    }

    /// Refuses a field that is there with another value than those which are computed.
    pub fn only(&self, name: &str, computed: &[Value]) -> Result<(), String> {
        match self.get(name) {
            Some(value) if !computed.contains(value) => Err(format!("{name} {value} is not computed")),
            _ => Ok(()),
        }
    }

    /// Refuses code beside the weights (`auto_map`), but for the families whose code is known: it may compute anything.
    pub fn refuse_own_code(&self) -> Result<(), String> {
        let Some(code) = self.get("auto_map").and_then(|map| map.get("AutoModel")) else { return Ok(()) };
        let is_alibi = self.get("position_embedding_type").is_some_and(|kind| kind == "alibi");
        match self.text_or("model_type", "bert")? {
            "nomic_bert" | "new" | "gte" => Ok(()),
            "bert" if is_alibi => Ok(()),
            "bert" | "roberta" | "camembert" | "xlm-roberta" | "distilbert" | "mpnet" | "modernbert" => {
                Err(format!("auto_map.AutoModel {code} is not computed: code of the repository's own"))
            }
            _ => Ok(()),
        }
    }
}
