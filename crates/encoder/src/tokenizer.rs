//! WordPiece as the model's `tokenizer.json` has it, truncated as sentence-transformers does.

use crate::EncoderError;
use crate::config::read_file;
use std::path::Path;

/// Texts longer than this many bytes a wanted token are cut before they are tokenized: no text has tokens this long on
/// average, and a megabyte must not be normalised to keep 256 tokens of it.
const BYTES_PER_TOKEN: usize = 256;

/// One token of a text, as `/tokenize` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// The word piece.
    pub text: String,
    /// Whether it is `[CLS]`, `[SEP]` or the like.
    pub special: bool,
    /// Where it starts in the text, in characters, unless it is special.
    pub start: Option<usize>,
    /// Where it ends, likewise.
    pub stop: Option<usize>,
}

/// Token ids of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIds {
    /// `[CLS] … [SEP]`.
    pub ids: Vec<u32>,
    /// Whether some of the text did not fit.
    pub truncated: bool,
}

/// The tokenizer of a model.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a model folder.
    pub fn load(folder: &Path) -> Result<Self, EncoderError> {
        let path = folder.join("tokenizer.json");
        let bad = |e: tokenizers::Error| EncoderError::BadModel { path: path.clone(), reason: e.to_string() };
        let mut inner = tokenizers::Tokenizer::from_bytes(read_file(&path)?).map_err(bad)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(bad)?;
        Ok(Self { inner })
    }

    /// Token ids of `text` with its special tokens, at most `max_tokens` of them.
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<TokenIds, EncoderError> {
        let (text, cut) = cut_at_boundary(text, max_tokens.saturating_mul(BYTES_PER_TOKEN));
        let encoding = self.inner.encode_fast(text, true).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        let all = encoding.get_ids();
        if all.len() <= max_tokens {
            return Ok(TokenIds { ids: all.to_vec(), truncated: cut });
        }
        // The last special token ([SEP]) closes the sequence wherever it is cut.
        let mut ids = all[..max_tokens].to_vec();
        if let (Some(end), Some(last)) = (ids.last_mut(), all.last()) {
            *end = *last;
        }
        Ok(TokenIds { ids, truncated: true })
    }

    /// Every token of `text`, untruncated.
    pub fn tokens(&self, text: &str, add_special_tokens: bool) -> Result<Vec<Token>, EncoderError> {
        let encoding = self
            .inner
            .encode_char_offsets(text, add_special_tokens)
            .map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        let special = encoding.get_special_tokens_mask();
        Ok((0..encoding.len())
            .map(|i| {
                let special = special[i] == 1;
                let (start, stop) = encoding.get_offsets()[i];
                Token {
                    id: encoding.get_ids()[i],
                    text: encoding.get_tokens()[i].clone(),
                    special,
                    start: (!special).then_some(start),
                    stop: (!special).then_some(stop),
                }
            })
            .collect())
    }
}

/// The first `bytes` of `text`, less what would split a character, and whether anything was cut.
fn cut_at_boundary(text: &str, bytes: usize) -> (&str, bool) {
    let end = text.floor_char_boundary(bytes);
    (&text[..end], end < text.len())
}
