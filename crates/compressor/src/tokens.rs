//! Token counting by tiktoken's encodings.

use crate::CompressorError;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;
use std::io::{self, Write};
use tiktoken_rs::CoreBPE;

/// The encoding that is used where none is named: that of GPT-4o and its successors.
pub const DEFAULT_ENCODING: &str = "o200k_base";
/// Tokens that a chat message costs beside its content.
pub const TOKENS_PER_MESSAGE: usize = 4;
/// Tokens that a conversation costs beside its messages.
pub const TOKENS_PER_CONVERSATION: usize = 2;

/// Characters of white space side by side that are counted as one run.
const MAX_WHITE_SPACE: usize = 1 << 16;

type Load = fn() -> &'static CoreBPE;

pub(crate) const ENCODINGS: [(&str, Load); 6] = [
    ("o200k_base", tiktoken_rs::o200k_base_singleton),
    ("o200k_harmony", tiktoken_rs::o200k_harmony_singleton),
    ("cl100k_base", tiktoken_rs::cl100k_base_singleton),
    ("p50k_base", tiktoken_rs::p50k_base_singleton),
    ("p50k_edit", tiktoken_rs::p50k_edit_singleton),
    ("r50k_base", tiktoken_rs::r50k_base_singleton),
];

/// Counts tokens by one encoding. Loading it takes some 100 ms the first time in a process.
#[derive(Clone, Copy)]
pub struct TokenCounter {
    encoding: &'static str,
    bpe: &'static CoreBPE,
}

impl TokenCounter {
    /// By the name of an encoding (`cl100k_base`, and `gpt2` for r50k_base) or of a model (`gpt-4`).
    pub fn by_name(name: &str) -> Result<Self, CompressorError> {
        use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};
        let of_model = |model| {
            get_tokenizer(model).map(|tokenizer| match tokenizer {
                Tokenizer::O200kBase => "o200k_base",
                Tokenizer::O200kHarmony => "o200k_harmony",
                Tokenizer::Cl100kBase => "cl100k_base",
                Tokenizer::P50kBase => "p50k_base",
                Tokenizer::P50kEdit => "p50k_edit",
                Tokenizer::R50kBase | Tokenizer::Gpt2 => "r50k_base",
            })
        };
        let find = |name: &str| ENCODINGS.into_iter().find(|(encoding, _)| *encoding == name);
        match find(name).or_else(|| of_model(name).and_then(find)) {
            Some((encoding, load)) => Ok(Self { encoding, bpe: load() }),
            None => Err(CompressorError::UnknownEncoding { name: name.to_owned() }),
        }
    }

    /// The encoding's name.
    pub fn encoding(&self) -> &'static str {
        self.encoding
    }

    /// Tokens of a text; special tokens written in it count as the plain text that they are.
    pub fn count(&self, text: &str) -> usize {
        countable(text).map(|part| self.bpe.encode_ordinary(part).len()).sum()
    }

    /// Tokens of JSON, such as the calls of a message, written as most chat templates write it: with a blank after
    /// each `:` and `,`. Without them there are fewer.
    pub fn count_json(&self, value: &Value) -> usize {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, Spaced);
        // Only a writer that fails could make this fail, and a vector does not.
        let _ = value.serialize(&mut serializer);
        self.count(&String::from_utf8_lossy(&json))
    }

    /// Tokens of a message beside its content: of its texts, such as its name, and of its calls, as JSON.
    pub fn count_beside<'a>(
        &self,
        texts: impl IntoIterator<Item = Option<&'a str>>,
        calls: impl IntoIterator<Item = Option<&'a Value>>,
    ) -> usize {
        let texts: usize = texts.into_iter().flatten().map(|text| self.count(text)).sum();
        let calls = calls.into_iter().flatten().filter(|calls| !calls.is_null());
        texts + calls.map(|calls| self.count_json(calls)).sum::<usize>()
    }

    /// The text of token ids. Where a longer sequence was cut in pieces, one may begin and end within a character:
    /// what is there of it is left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, CompressorError> {
        let bytes = self.bytes(ids)?;
        let begin = bytes.iter().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
        match str::from_utf8(&bytes[begin..]) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) if error.error_len().is_none() => {
                Ok(String::from_utf8_lossy(&bytes[begin..begin + error.valid_up_to()]).into_owned())
            }
            Err(_) => Err(self.no_text("they are no text")),
        }
    }

    /// Whether token ids are those of a whole text, from its first character on.
    pub fn is_text(&self, ids: &[u32]) -> bool {
        self.bytes(ids).is_ok_and(|bytes| str::from_utf8(&bytes).is_ok())
    }

    fn bytes(&self, ids: &[u32]) -> Result<Vec<u8>, CompressorError> {
        self.bpe.decode_bytes(ids).map_err(|error| self.no_text(&format!("it has no token {}", error.token)))
    }

    fn no_text(&self, reason: &str) -> CompressorError {
        CompressorError::NoText { encoding: self.encoding, reason: reason.to_owned() }
    }

    /// Tokens of a conversation of these contents, with the overhead of the messages and of the whole.
    pub fn count_conversation<'a>(&self, contents: impl IntoIterator<Item = &'a str>) -> usize {
        let counts: Vec<usize> = contents.into_iter().map(|c| self.count(c)).collect();
        counts.iter().sum::<usize>() + conversation_overhead(counts.len())
    }
}

/// JSON on one line, with blanks after colons and commas.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The text, cut within runs of white space that are so long that tiktoken's pattern would give up on them, and
/// tiktoken with it.
fn countable(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut run = 0;
        let end = rest.char_indices().find_map(|(i, c)| {
            run = if c.is_whitespace() { run + 1 } else { 0 };
            (run > MAX_WHITE_SPACE).then_some(i)
        });
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// Tokens that a conversation of so many messages costs beside their contents.
pub fn conversation_overhead(messages: usize) -> usize {
    messages * TOKENS_PER_MESSAGE + TOKENS_PER_CONVERSATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_tiktoken() {
        // OpenAI's cookbook, "How to count tokens with tiktoken", section 5.
        let published = [
            ("antidisestablishmentarianism", [5, 5, 6, 6]),
            ("2 + 2 = 4", [5, 5, 7, 7]),
            ("お誕生日おめでとう", [14, 14, 9, 8]),
        ];
        for (text, counts) in published {
            for (name, count) in ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"].into_iter().zip(counts) {
                assert_eq!(TokenCounter::by_name(name).expect("an encoding").count(text), count, "{text} by {name}");
            }
        }
    }

    #[test]
    fn special_tokens_in_a_text_are_plain_text() {
        let counter = TokenCounter::by_name("cl100k_base").expect("an encoding");
        assert!(counter.count("<|endoftext|>") > 1);
    }

    #[test]
    fn json_counts_as_it_is_written_with_blanks() {
        let counter = TokenCounter::by_name("o200k_base").expect("an encoding");
        let calls = serde_json::json!([{"id": "c1", "function": {"arguments": "{}", "name": "look"}}, 7]);
        let written = r#"[{"function": {"arguments": "{}", "name": "look"}, "id": "c1"}, 7]"#;
        assert_eq!(counter.count_json(&calls), counter.count(written));
        assert!(counter.count_json(&calls) >= counter.count(&calls.to_string()));
    }

    #[test]
    fn models_name_their_encoding_and_strangers_are_refused() {
        let name = |n| TokenCounter::by_name(n).ok().map(|c| c.encoding());
        assert_eq!(name("gpt-4"), Some("cl100k_base"));
        assert_eq!(name("gpt-4o-mini"), Some("o200k_base"));
        assert_eq!(name("no-such-model"), None);
    }

    #[test]
    fn token_ids_are_text_again_and_garbage_is_refused() {
        let counter = TokenCounter::by_name("cl100k_base").expect("an encoding");
        // OpenAI's cookbook, "How to count tokens with tiktoken", section 4.
        assert_eq!(counter.decode(&[83, 1609, 5963, 374, 2294, 0]).expect("a text"), "tiktoken is great!");
        let smile = tiktoken_rs::cl100k_base_singleton().encode_ordinary("a 🫠 b");
        assert_eq!(counter.decode(&smile).expect("a text"), "a 🫠 b");
        let texts =
            (1..smile.len()).map(|cut| smile.split_at(cut)).map(|(a, b)| [counter.decode(a), counter.decode(b)]);
        for [left, right] in texts {
            let (left, right) = (left.expect("a text"), right.expect("a text"));
            assert!("a 🫠 b".starts_with(&left) && "a 🫠 b".ends_with(&right), "{left:?} {right:?}");
        }
        for ids in [&[200_000][..], &[64, 101, 64]] {
            assert!(matches!(counter.decode(ids), Err(CompressorError::NoText { .. })), "{ids:?}");
        }
        // [CLS] of BERT is a byte that no text begins with.
        assert!(!counter.is_text(&[101, 7592, 102]) && counter.is_text(&smile));
    }

    #[test]
    fn a_conversation_costs_four_a_message_and_two_more() {
        let counter = TokenCounter::by_name("gpt-4").expect("an encoding");
        let parts = ["hello", "hello world"];
        assert_eq!(counter.count_conversation(parts), 1 + 2 + 2 * 4 + 2);
    }
}
