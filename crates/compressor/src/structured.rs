//! Texts of which parts have rates of their own: the package's tags, and JSON. The package accepts both and honours
//! neither in version 2.

use crate::answer::{CompressedText, Counts};
use crate::compressor::{Source, select};
use crate::options::CompressOptions;
use crate::select::Part;
use crate::units::Segment;
use crate::{Compressor, CompressorError};
use membox_encoder::Lane;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const OPEN: &str = "<llmlingua";
const CLOSE: &str = "</llmlingua>";

fn bad(reason: impl Into<String>) -> CompressorError {
    CompressorError::impossible("context", reason)
}

/// Reads `<llmlingua, rate=0.5, compress=False>…</llmlingua>`; what stands outside of tags has the request's rate.
pub(crate) fn parse(text: &str) -> Result<Source, CompressorError> {
    let mut source = Source { text: String::new(), segments: Vec::new() };
    let mut push = |content: &str, rate, compress| {
        if !content.is_empty() {
            let start = source.text.len();
            source.text.push_str(content);
            source.segments.push(Segment { place: start..source.text.len(), rate, compress });
        }
    };
    let mut rest = text;
    while let Some(open) = rest.find(OPEN) {
        push(&rest[..open], None, true);
        let tag = &rest[open + OPEN.len()..];
        let end = tag.find('>').ok_or_else(|| bad("a <llmlingua tag does not end"))?;
        let (rate, compress) = attributes(&tag[..end])?;
        let content = &tag[end + 1..];
        let close = content.find(CLOSE).ok_or_else(|| bad("a <llmlingua> tag is not closed by </llmlingua>"))?;
        if content[..close].contains(OPEN) {
            return Err(bad("a <llmlingua> tag stands within another"));
        }
        push(&content[..close], rate, compress);
        rest = &content[close + CLOSE.len()..];
    }
    push(rest, None, true);
    Ok(source)
}

/// `, rate=0.5, compress=False`, in either order.
fn attributes(text: &str) -> Result<(Option<f64>, bool), CompressorError> {
    let (mut rate, mut compress) = (None, true);
    for attribute in text.split(',').map(str::trim).filter(|a| !a.is_empty()) {
        match attribute.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("rate", value)) => match value.parse::<f64>() {
                Ok(value) if value > 0.0 && value <= 1.0 => rate = Some(value),
                _ => return Err(bad(format!("the rate {value:?} of a tag is not over 0 and up to 1"))),
            },
            Some(("compress", "True" | "true")) => compress = true,
            Some(("compress", "False" | "false")) => compress = false,
            _ => return Err(bad(format!("{attribute:?} is no attribute of a tag: rate=NUMBER, compress=True|False"))),
        }
    }
    Ok((rate, compress))
}

/// The type that a value of a JSON object has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Text, which is compressed.
    #[default]
    #[serde(alias = "string")]
    Str,
    /// A number, which stays.
    #[serde(alias = "int", alias = "integer", alias = "float")]
    Number,
    /// True or false, which stays.
    #[serde(alias = "boolean")]
    Bool,
    /// A list, whose items are compressed each on its own.
    #[serde(alias = "tuple", alias = "List")]
    List,
    /// An object, whose values are compressed each on its own.
    #[serde(alias = "dictionary")]
    Dict,
}

/// How a key of a JSON object is treated; the package's `json_config`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonRule {
    /// Share of its tokens to be kept; the request's rate when left out.
    pub rate: Option<f64>,
    /// Whether it is compressed at all.
    pub compress: bool,
    /// What its value is.
    pub value_type: ValueType,
    /// Whether the context filter may remove the pair.
    pub pair_remove: bool,
}

impl Default for JsonRule {
    fn default() -> Self {
        Self { rate: None, compress: true, value_type: ValueType::Str, pair_remove: false }
    }
}

impl Compressor {
    /// Compresses the texts within a JSON object, by a rule for each of its keys. Numbers, booleans, keys, and what
    /// is not to be compressed stay as they are; pairs that may be removed go, the least telling first, where
    /// `use_context_level_filter` is set. The answer holds the object written as JSON, and counts that.
    pub fn compress_json(
        &self,
        data: &Map<String, Value>,
        rules: &BTreeMap<String, JsonRule>,
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<(Map<String, Value>, CompressedText), CompressorError> {
        options.check()?;
        check(data, rules)?;
        let counter = options.counter()?;
        let mut sources = Vec::new();
        for (key, value) in data {
            let rule = rules[key];
            visit(&mut value.clone(), &mut |text| {
                let segment = Segment { place: 0..text.len(), rate: rule.rate, compress: rule.compress };
                sources.push(Source { text: text.clone(), segments: vec![segment] });
            });
        }
        let mut parts = self.parts(sources, options, lane)?;
        let removed = removed_keys(data, rules, &parts, options);
        let left: usize = parts.iter().map(|p| counter.count(&p.text)).sum();
        let written = |map: &Map<String, Value>| serde_json::to_string(map).unwrap_or_default();
        select(&mut parts, left, options, counter, &|parts| counter.count(&written(&rebuilt(data, &removed, parts))))?;
        let object = rebuilt(data, &removed, &parts);
        let text = written(&object);
        let counts = Counts { original: counter.count(&written(data)), compressed: counter.count(&text) };
        Ok((object, self.signed(CompressedText::new(vec![text], None, counts), options.mode)))
    }
}

fn check(data: &Map<String, Value>, rules: &BTreeMap<String, JsonRule>) -> Result<(), CompressorError> {
    let wrong = |reason: String| Err(CompressorError::impossible("json_config", reason));
    let lonely = data.keys().find(|k| !rules.contains_key(*k)).or(rules.keys().find(|k| !data.contains_key(*k)));
    if let Some(key) = lonely {
        return wrong(format!("the keys of data and rules differ: only one of them has {key:?}"));
    }
    for (key, value) in data {
        let rule = rules[key];
        if rule.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1.0)) {
            return wrong(format!("the rate of {key:?} is not over 0 and up to 1"));
        }
        let fits = match rule.value_type {
            ValueType::Str => value.is_string(),
            ValueType::Number => value.is_number(),
            ValueType::Bool => value.is_boolean(),
            ValueType::List => value.is_array(),
            ValueType::Dict => value.is_object(),
        };
        if !fits {
            return wrong(format!("the value of {key:?} is not of the type that its rule says"));
        }
    }
    Ok(())
}

/// Every string within a value, in order.
fn visit(value: &mut Value, see: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, see)),
        Value::Object(map) => map.values_mut().for_each(|item| visit(item, see)),
        _ => {}
    }
}

/// The object with its strings replaced by what is left of them.
fn rebuilt(data: &Map<String, Value>, removed: &[&String], parts: &[Part]) -> Map<String, Value> {
    let mut parts = parts.iter();
    let mut object = Map::new();
    for (key, value) in data {
        let mut value = value.clone();
        visit(&mut value, &mut |text| {
            if let Some(part) = parts.next() {
                *text = part.compressed();
            }
        });
        if !removed.contains(&key) {
            object.insert(key.clone(), value);
        }
    }
    object
}

/// The pairs that the context filter takes out: of those that may go, a share of (1 − rate) / 2, as the package has
/// it for contexts.
fn removed_keys<'a>(
    data: &'a Map<String, Value>,
    rules: &BTreeMap<String, JsonRule>,
    parts: &[Part],
    options: &CompressOptions,
) -> Vec<&'a String> {
    if options.use_context_level_filter != Some(true) {
        return Vec::new();
    }
    let mut parts = parts.iter();
    let mut scores: Vec<(&String, f64)> = Vec::new();
    for (key, value) in data {
        let (mut sum, mut words) = (0.0, 0);
        visit(&mut value.clone(), &mut |_| {
            for unit in parts.next().into_iter().flat_map(|p| &p.units) {
                (sum, words) = (sum + unit.unforced, words + 1);
            }
        });
        if rules[key].pair_remove {
            scores.push((key, sum / words.max(1) as f64));
        }
    }
    scores.sort_by(|a, b| a.1.total_cmp(&b.1));
    let gone = (scores.len() as f64 * (1.0 - options.rate) / 2.0).floor() as usize;
    scores.into_iter().take(gone).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_give_segments_their_rates_and_leave_the_text() {
        let source = parse(
            "a <llmlingua, compress=False>b</llmlingua><llmlingua, rate=0.4> c</llmlingua>\
             <llmlingua,compress=True , rate = 1>d</llmlingua>e",
        )
        .expect("tags");
        assert_eq!(source.text, "a b cde");
        let all: Vec<(&str, Option<f64>, bool)> =
            source.segments.iter().map(|s| (&source.text[s.place.clone()], s.rate, s.compress)).collect();
        let want = [
            ("a ", None, true),
            ("b", None, false),
            (" c", Some(0.4), true),
            ("d", Some(1.0), true),
            ("e", None, true),
        ];
        assert_eq!(all, want);
    }

    #[test]
    fn wrong_tags_are_refused() {
        for text in [
            "<llmlingua>open",
            "<llmlingua, rate=0.5",
            "<llmlingua, rate=2>x</llmlingua>",
            "<llmlingua, rate=x>x</llmlingua>",
            "<llmlingua, fate=1>x</llmlingua>",
            "<llmlingua>a<llmlingua>b</llmlingua></llmlingua>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
