//! What a model wants before a text, by what the text is embedded for: a model that was trained with `query: ` before
//! questions finds less without it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Names of the prompt for texts that are kept, the first that there is: those of sentence-transformers'
/// `encode_document`.
const DOCUMENT_NAMES: [&str; 3] = ["document", "passage", "corpus"];
/// That for questions, as `encode_query` has it.
const QUERY_NAME: &str = "query";

/// What a text is embedded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To find others.
    Query,
    /// To be found.
    Document,
    /// Neither: to be compared with its like, or the caller does not say.
    #[default]
    Plain,
}

/// The prompts of a model, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Prompts {
    /// The prompts.
    #[serde(default, rename = "prompts")]
    pub by_name: BTreeMap<String, String>,
    /// The name of that for texts of no purpose; none where it is not said.
    #[serde(default, rename = "default_prompt_name")]
    pub default: Option<String>,
}

impl Prompts {
    /// The prompt of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// What comes before a text of a purpose; empty where nothing does.
    pub fn of(&self, purpose: Purpose) -> &str {
        let own = match purpose {
            Purpose::Query => self.get(QUERY_NAME),
            Purpose::Document => DOCUMENT_NAMES.iter().find_map(|name| self.get(name)),
            Purpose::Plain => None,
        };
        own.or_else(|| self.get(self.default.as_deref()?)).unwrap_or_default()
    }

    /// Texts with what comes before them.
    pub fn put_before(&self, purpose: Purpose, texts: Vec<String>) -> Vec<String> {
        match self.of(purpose) {
            "" => texts,
            prompt => texts.into_iter().map(|text| prompted(prompt, &text).into_owned()).collect(),
        }
    }
}

/// A text with a prompt before it.
pub(crate) fn prompted<'a>(prompt: &str, text: &'a str) -> Cow<'a, str> {
    if prompt.is_empty() { Cow::Borrowed(text) } else { Cow::Owned([prompt, text].concat()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_its_prompt_or_the_default_one() {
        let of = |json: serde_json::Value| serde_json::from_value::<Prompts>(json).expect("prompts");
        let e5 = of(serde_json::json!({"prompts": {"query": "query: ", "passage": "passage: "}}));
        assert_eq!(e5.of(Purpose::Query), "query: ");
        assert_eq!(e5.of(Purpose::Document), "passage: ");
        assert_eq!(e5.of(Purpose::Plain), "");
        let with_default =
            of(serde_json::json!({"prompts": {"a": "a: ", "document": "d: "}, "default_prompt_name": "a"}));
        assert_eq!(Purpose::default(), Purpose::Plain);
        assert_eq!(
            [Purpose::Query, Purpose::Document, Purpose::Plain].map(|purpose| with_default.of(purpose)),
            ["a: ", "d: ", "a: "]
        );
        assert_eq!(e5.put_before(Purpose::Query, vec!["why?".into()]), ["query: why?"]);
        assert_eq!(Prompts::default().put_before(Purpose::Query, vec!["why?".into()]), ["why?"]);
    }
}
