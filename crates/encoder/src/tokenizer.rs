//! The model's own tokenizer (`tokenizer.json`): texts to ids, truncated as sentence-transformers does, and texts to
//! pieces with their places, for those who must know which words a token stands for.

use crate::EncoderError;
use crate::checksums::{Checksums, ModelFiles};
use crate::cross_encoder::TokenPair;
use crate::word_cache::{WordCache, is_by_word};
use std::ops::Range;
use std::path::Path;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::utils::truncation::TruncationParams;

/// Texts longer than this many bytes a wanted token are cut before they are tokenized: no text has tokens this long on
/// average, and a megabyte must not be normalised to keep 256 tokens of it.
const BYTES_PER_TOKEN: usize = 256;

/// How vocabularies write what they do not know.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];

/// How a tokenizer marks where words begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// WordPiece, as BERT's: `##` before what goes on with a word.
    Bert,
    /// SentencePiece, as XLM-RoBERTa's: `▁` before what begins one.
    XlmRoberta,
}

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

/// A token with its place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its first byte in the text. White space around it may belong to it.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// Words that one thread remembers for one tokenizer: see [`Tokenizer::word_cache`].
pub struct Words(Option<(u32, u32, WordCache)>);

/// The tokenizer of a model.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a model folder.
    pub fn load(folder: &Path) -> Result<Self, EncoderError> {
        Self::read(&ModelFiles::new(folder, &Checksums::default()))
    }

    pub(crate) fn read(files: &ModelFiles) -> Result<Self, EncoderError> {
        let path = files.path("tokenizer.json");
        let bad = |e: tokenizers::Error| EncoderError::BadModel { path: path.clone(), reason: e.to_string() };
        let mut inner = tokenizers::Tokenizer::from_bytes(files.read("tokenizer.json")?).map_err(bad)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(bad)?;
        Ok(Self { inner })
    }

    /// The same tokenizer, which makes letters small first.
    pub(crate) fn in_lower_case(mut self) -> Self {
        let all = [Some(Lowercase.into()), self.inner.get_normalizer().cloned()];
        self.inner.with_normalizer(Some(Sequence::new(all.into_iter().flatten().collect())));
        self
    }

    /// Remembers words for [`Self::encode_with`], where the tokenizer treats each by itself.
    pub fn word_cache(&self) -> Words {
        let special = self.special_tokens().ok().filter(|_| is_by_word(&self.inner));
        Words(special.map(|(open, close)| (open, close, WordCache::new(&self.inner))))
    }

    /// As [`Self::encode`], by the words of a cache of this tokenizer: the same, many times as fast.
    pub fn encode_with(&self, words: &mut Words, text: &str, max_tokens: usize) -> Result<TokenIds, EncoderError> {
        #[cfg(test)]
        assert_ne!(text, crate::panics::BREAKS_TOKENIZER, "as it should");
        let Words(Some((open, close, words))) = words else { return self.encode(text, max_tokens) };
        let inner = max_tokens.saturating_sub(1);
        let (text, cut) = cut_at_boundary(text, max_tokens.saturating_mul(BYTES_PER_TOKEN));
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        ids.push(*open);
        words.encode(&self.inner, text, inner, &mut ids)?;
        let is_over = ids.len() > inner;
        ids.truncate(inner);
        ids.extend((max_tokens > 0).then_some(*close));
        Ok(TokenIds { ids, truncated: cut || is_over })
    }

    /// Token ids of `text` with its special tokens, at most `max_tokens` of them.
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<TokenIds, EncoderError> {
        #[cfg(test)]
        assert_ne!(text, crate::panics::BREAKS_TOKENIZER, "as it should");
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

    /// As [`Self::encode`], with the places in `text`, in bytes, of the tokens that are not special.
    pub fn encode_with_places(
        &self,
        text: &str,
        max_tokens: usize,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>), EncoderError> {
        let (text, _) = cut_at_boundary(text, max_tokens.saturating_mul(BYTES_PER_TOKEN));
        let (open, close) = self.special_tokens()?;
        let mut pieces = self.pieces(text)?;
        pieces.truncate(max_tokens.saturating_sub(2));
        let ids = [open].into_iter().chain(pieces.iter().map(|piece| piece.id)).chain([close]).collect();
        Ok((ids, pieces.into_iter().map(|piece| piece.start..piece.end).collect()))
    }

    /// The same tokenizer for [pairs](Self::encode_pair) of at most so many tokens.
    pub(crate) fn of_pairs(&self, max_tokens: usize) -> Result<Self, EncoderError> {
        let mut inner = self.inner.clone();
        let longest_first = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        inner.with_truncation(Some(longest_first)).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        Ok(Self { inner })
    }

    /// Two texts in one sequence, with the special tokens of such. The longer one is cut off first.
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<TokenPair, EncoderError> {
        let most = self.inner.get_truncation().map_or(usize::MAX, |params| params.max_length);
        let cut = |text| cut_at_boundary(text, most.saturating_mul(BYTES_PER_TOKEN)).0;
        let pair = (cut(first), cut(second));
        let encoding = self.inner.encode_fast(pair, true).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        let ids = encoding.get_ids().to_vec();
        let second = encoding.get_type_ids().iter().position(|of| *of == 1).unwrap_or(ids.len());
        Ok(TokenPair { ids, second })
    }

    /// How it marks where words begin; `None` where it is neither WordPiece nor SentencePiece.
    pub fn family(&self) -> Option<Family> {
        match self.inner.get_model() {
            ModelWrapper::WordPiece(_) => Some(Family::Bert),
            ModelWrapper::Unigram(_) => Some(Family::XlmRoberta),
            _ => None,
        }
    }

    /// The token of whatever the model does not know; `None` where it knows everything.
    pub fn unknown(&self) -> Option<u32> {
        UNKNOWN.iter().find_map(|token| self.inner.token_to_id(token))
    }

    /// The share of a sequence's tokens that stand for what the model does not know, without the first and the last.
    pub fn unknown_share(&self, ids: &[u32]) -> f32 {
        let inner = ids.get(1..ids.len().saturating_sub(1)).unwrap_or_default();
        let Some(unknown) = self.unknown().filter(|_| !inner.is_empty()) else { return 0.0 };
        inner.iter().filter(|&&id| id == unknown).count() as f32 / inner.len() as f32
    }

    /// The same tokenizer, which reads `[SEP]` and the like in a text as the plain text that they are.
    pub fn without_special_literals(&self) -> Self {
        let mut inner = self.inner.clone();
        inner.set_encode_special_tokens(true);
        Self { inner }
    }

    /// The same tokenizer, which knows these special tokens as well; those that are new get the next numbers.
    pub fn with_special_tokens(&self, tokens: impl IntoIterator<Item = String>) -> Self {
        let mut inner = self.inner.clone();
        let added: Vec<_> = tokens.into_iter().map(|token| tokenizers::AddedToken::from(token, true)).collect();
        inner.add_special_tokens(&added);
        Self { inner }
    }

    /// The tokens of `text` with their places in bytes, without special tokens around them.
    pub fn pieces(&self, text: &str) -> Result<Vec<Piece>, EncoderError> {
        let encoding = self.inner.encode(text, false).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        let places = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(places.map(|(&id, &(start, end))| Piece { id, start, end }).collect())
    }

    /// The word pieces of `text`, without special tokens around them.
    pub fn word_pieces(&self, text: &str) -> Result<Vec<String>, EncoderError> {
        // Not encode_fast: it leaves the tokens empty.
        let encoding = self.inner.encode(text, false).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        Ok(encoding.get_tokens().to_vec())
    }

    /// A word piece by its number.
    pub fn word_piece(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The number of a word piece or special token.
    pub fn id(&self, word_piece: &str) -> Option<u32> {
        self.inner.token_to_id(word_piece)
    }

    /// Word pieces as text again, as far as the model's decoder can tell.
    pub fn join(&self, word_pieces: Vec<String>) -> Result<String, EncoderError> {
        use tokenizers::Decoder;
        match self.inner.get_decoder() {
            Some(decoder) => decoder.decode(word_pieces).map_err(|e| EncoderError::Tokenize(e.to_string())),
            None => Ok(word_pieces.join(" ")),
        }
    }

    /// The text of tokens, as far as the model's decoder can tell, with or without those that are special.
    ///
    /// # Errors
    /// [`EncoderError::Tokenize`] where an id is no token: the decoder would pass over it.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, EncoderError> {
        if let Some(id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            return Err(EncoderError::Tokenize(format!("there is no token {id}")));
        }
        self.inner.decode(ids, skip_special_tokens).map_err(|e| EncoderError::Tokenize(e.to_string()))
    }

    /// The ids that open and close a sequence: `[CLS]` and `[SEP]`, or `<s>` and `</s>`.
    pub fn special_tokens(&self) -> Result<(u32, u32), EncoderError> {
        let whole = self.inner.encode_fast("", true).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
        match whole.get_ids() {
            [open, close] => Ok((*open, *close)),
            other => {
                Err(EncoderError::Tokenize(format!("{} special tokens around a text; two are wanted", other.len())))
            }
        }
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
