//! How an endpoint is told to answer in JSON. Not every one knows every way.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU8, Ordering};

/// A way, strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Structured outputs: the endpoint lets the model write nothing but what the schema allows.
    Schema,
    /// The same for llama-cpp-python and others that take the schema of a `json_object`.
    ObjectWithSchema,
    /// Any JSON object; the prompt has the schema.
    Object,
    /// The prompt has the schema, and nothing holds the model to it.
    Text,
}

const ALL: [Format; 4] = [Format::Schema, Format::ObjectWithSchema, Format::Object, Format::Text];

impl Format {
    /// The next one to try where an endpoint refuses this.
    pub fn next(self) -> Option<Self> {
        ALL.get(self as usize + 1).copied()
    }

    /// `response_format` of a request.
    pub fn response_format(self, name: &str, schema: &Value) -> Option<Value> {
        match self {
            Self::Schema => {
                let schema = json!({"name": name, "strict": true, "schema": schema});
                Some(json!({"type": "json_schema", "json_schema": schema}))
            }
            Self::ObjectWithSchema => Some(json!({"type": "json_object", "schema": schema})),
            Self::Object => Some(json!({"type": "json_object"})),
            Self::Text => None,
        }
    }

    /// The system prompt, with the schema where the model hears of it in no other way.
    pub fn system(self, system: &str, schema: &Value) -> String {
        match self {
            Self::Schema => system.to_owned(),
            _ => format!("{system}\nAnswer with nothing but a JSON object of this JSON schema: {schema}"),
        }
    }
}

/// The strictest way that an endpoint has not refused.
#[derive(Debug, Default)]
pub(crate) struct KnownFormat(AtomicU8);

impl KnownFormat {
    pub fn get(&self) -> Format {
        ALL.get(usize::from(self.0.load(Ordering::Relaxed))).copied().unwrap_or(Format::Text)
    }

    /// Remembers that this one has been answered.
    pub fn set(&self, format: Format) {
        self.0.store(format as u8, Ordering::Relaxed);
    }
}

/// The JSON in what a model wrote: some put fences or prose around it.
pub(crate) fn json_in(text: &str) -> Option<Value> {
    let whole = serde_json::from_str(text.trim()).ok();
    whole.or_else(|| serde_json::from_str(text.get(text.find('{')?..=text.rfind('}')?)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_fences_and_in_prose() {
        for text in ["{}", " {} \n", "```json\n{}\n```", "```\n{}```", "Certainly! {} is the answer."] {
            assert_eq!(json_in(text), Some(json!({})), "{text:?}");
        }
        for text in ["", "no JSON", "} {", "{\"a\": ", "```json"] {
            assert_eq!(json_in(text), None, "{text:?}");
        }
    }

    #[test]
    fn each_way_leads_to_a_less_strict_one_and_plain_text_is_the_last() {
        let mut format = KnownFormat::default().get();
        let mut seen = vec![format];
        while let Some(next) = format.next() {
            format = next;
            seen.push(next);
        }
        assert_eq!(seen, ALL);
        let schema = json!({"type": "object"});
        assert_eq!(Format::Schema.system("S", &schema), "S");
        assert!(Format::Text.system("S", &schema).ends_with("{\"type\":\"object\"}"));
        assert!(Format::Text.response_format("n", &schema).is_none());
    }
}
