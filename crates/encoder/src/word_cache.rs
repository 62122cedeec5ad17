//! A tokenizer's words and their tokens, remembered: texts are made of the same few thousand words.
//!
//! BERT's tokenizers treat what stands between white space and punctuation by itself: cleaning, lower case, accents
//! and WordPiece look at no neighbour. So the tokens of a text are those of its words and its marks, one after the
//! other, and a word that came before need not go through the `tokenizers` crate again. Its ids are what that crate
//! gave for it: a test holds both against each other. fastBPE and tiktoken remember words likewise.

use crate::EncoderError;
use std::collections::HashMap;
use tokenizers::models::ModelWrapper;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// Words that are remembered at most; then all are forgotten.
const MAX_WORDS: usize = 1 << 16;
/// Bytes of a word that is remembered, at most: longer ones do not come again.
const MAX_WORD_BYTES: usize = 32;

/// Whether a tokenizer treats each word by itself.
pub(crate) fn is_by_word(tokenizer: &Tokenizer) -> bool {
    let is_plain = |token: &tokenizers::AddedToken| {
        !token.lstrip && !token.rstrip && !token.single_word && !token.content.contains(char::is_whitespace)
    };
    matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_))
        && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
        && tokenizer.get_normalizer().is_none_or(is_local)
        && tokenizer.get_added_tokens_decoder().values().all(is_plain)
}

/// Whether a normalizer looks at no neighbour of a word.
fn is_local(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::BertNormalizer(_) | NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::Sequence(all) => all.as_ref().iter().all(is_local),
        _ => false,
    }
}

/// Where words end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Inside,
    /// White space, which is no token.
    Space,
    /// Punctuation, which is a word of its own.
    Mark,
}

/// What each byte is to a tokenizer. Marks within special tokens, such as those of `[SEP]`, end no word.
fn bytes(tokenizer: &Tokenizer) -> [Byte; 256] {
    let mut bytes = [Byte::Inside; 256];
    (0..=127u8).filter(u8::is_ascii_punctuation).for_each(|byte| bytes[usize::from(byte)] = Byte::Mark);
    let special = tokenizer.get_added_tokens_decoder();
    special.values().flat_map(|token| token.content.bytes()).for_each(|byte| bytes[usize::from(byte)] = Byte::Inside);
    b" \n\t\r".iter().for_each(|byte| bytes[usize::from(*byte)] = Byte::Space);
    bytes
}

/// The words that one thread has met. It belongs to one tokenizer.
pub(crate) struct WordCache {
    bytes: [Byte; 256],
    /// Where a word's ids are.
    words: HashMap<Box<str>, (u32, u32)>,
    ids: Vec<u32>,
}

impl WordCache {
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self { bytes: bytes(tokenizer), words: HashMap::new(), ids: Vec::new() }
    }

    /// Appends the tokens of a text to `out`, without special tokens around them, until there are more than `most`.
    pub fn encode(
        &mut self,
        tokenizer: &Tokenizer,
        text: &str,
        most: usize,
        out: &mut Vec<u32>,
    ) -> Result<(), EncoderError> {
        let mut rest = text;
        while out.len() <= most
            && let Some((word, after)) = self.next_word(rest)
        {
            rest = after;
            match self.words.get(word) {
                Some(&(start, end)) => out.extend_from_slice(&self.ids[start as usize..end as usize]),
                None => {
                    let met = tokenizer.encode_fast(word, false).map_err(|e| EncoderError::Tokenize(e.to_string()))?;
                    out.extend_from_slice(met.get_ids());
                    self.remember(word, met.get_ids());
                }
            }
        }
        Ok(())
    }

    /// The first word of a text, and what comes after it. Bytes that end words are characters of their own.
    fn next_word<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let of = |byte: &u8| self.bytes[usize::from(*byte)];
        let start = text.bytes().position(|byte| of(&byte) != Byte::Space)?;
        let text = &text[start..];
        let end = text.bytes().position(|byte| of(&byte) != Byte::Inside).unwrap_or(text.len());
        Some(text.split_at(end.max(1)))
    }

    fn remember(&mut self, word: &str, ids: &[u32]) {
        if word.len() > MAX_WORD_BYTES {
            return;
        }
        if self.words.len() == MAX_WORDS {
            self.words.clear();
            self.ids.clear();
        }
        let start = self.ids.len() as u32;
        self.ids.extend_from_slice(ids);
        self.words.insert(word.into(), (start, self.ids.len() as u32));
    }
}
