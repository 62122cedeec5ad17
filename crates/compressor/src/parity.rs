//! The package's own flow, step by step, faults included.
//!
//! What is done here and nowhere else: texts are cut by tokens, decoded to strings, and tokenized again; unknown
//! tokens and special literals vanish; XLM-R's sequences are bracketed by `<unk>`; each chunk has a threshold of its
//! own; numbers are numpy's and Python's. Where the package raises an exception, so does this
//! ([`CompressorError::ReferenceFails`]).

use crate::answer::{CompressedText, Counts};
use crate::percentile::{Number, drop_percentile, percentile, token_percentile};
use crate::{CompressOptions, CompressorError, TokenCounter, TokenToWord};
use membox_encoder::{EncoderError, Family, Tokenizer};
use regex::Regex;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Force tokens that a model has room for.
pub const MAX_FORCE_TOKENS: usize = 100;
/// Tokens of a sequence.
const MAX_SEQUENCE: usize = 512;
/// Its counter: `tiktoken.encoding_for_model("gpt-3.5-turbo")`.
const ENCODING: &str = "cl100k_base";
/// Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

static DIGIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d").expect("a pattern"));
/// Python's `\b\w+\b|[…]`: runs of letters, numbers and underscores, and these signs one by one.
static LABELLED_WORDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"[\p{L}\p{N}_]+|[<>=/!@#$%^&*()?":{}|\\`~;+-]"#).expect("a pattern"));
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = concat!(
        r"<llmlingua\s*(?:,\s*rate\s*=\s*([\d\.]+))?\s*(?:,\s*compress\s*=\s*(True|False))?",
        r"\s*(?:,\s*rate\s*=\s*([\d\.]+))?\s*(?:,\s*compress\s*=\s*(True|False))?\s*>([^<]+)</llmlingua>",
    );
    Regex::new(pattern).expect("a pattern")
});

/// A structured text that is tagged from its first character to its last.
fn tagged(text: &str) -> String {
    let open = if text.starts_with("<llmlingua") { "" } else { "<llmlingua>" };
    let close = if text.ends_with("</llmlingua>") { "" } else { "</llmlingua>" };
    format!("{open}{text}{close}")
}

fn fails(what: &str) -> CompressorError {
    CompressorError::ReferenceFails(what.to_owned())
}

const INDEX: &str = "IndexError: index -1 is out of bounds for axis 0 with size 0";
const RANGE: &str = "ValueError: Percentiles must be in the range [0, 100]";
const ZERO: &str = "ZeroDivisionError: division by zero";

/// The added token that stands for force token `i`.
pub(crate) fn reserved(i: usize) -> String {
    format!("[NEW{i}]")
}

/// The keep probabilities of sequences of ids, special tokens included.
pub(crate) type Probabilities<'a> = dyn FnMut(Vec<Vec<u32>>) -> Result<Vec<Vec<f32>>, EncoderError> + 'a;

/// A model as the package sees it.
pub(crate) struct Package<'a> {
    /// Knows the reserved tokens, and takes special literals for special tokens.
    pub tokenizer: &'a Tokenizer,
    pub family: Family,
}

/// A force token and the reserved token that stands for it.
type TokenMap = Vec<(String, String)>;

/// Tokens of a chunk, special ones included, and their probabilities.
type TokensOfChunk = (Vec<String>, Vec<f32>);

/// Words of a chunk with the probabilities of their tokens.
#[derive(Debug, Default)]
struct Words {
    texts: Vec<String>,
    probabilities: Vec<Vec<Number>>,
    /// What context scores are computed from: the first token's for each further one (the package's quirk).
    unforced: Vec<Vec<f32>>,
}

/// Options of the word-level selection.
struct Selection<'a> {
    reduce_rate: f64,
    token_to_word: TokenToWord,
    force_tokens: &'a [String],
    token_map: &'a TokenMap,
    force_reserve_digit: bool,
    drop_consecutive: bool,
}

/// What became of one chunk.
#[derive(Debug, Default, PartialEq)]
struct Selected {
    words: Vec<String>,
    labels: Vec<u8>,
    kept: Vec<String>,
}

/// `cut[i]` tokens for the i-th chunk: up to 511, cut after the last end token where there is one (`__chunk_context`).
fn chunk_lengths(tokens: usize, is_end: impl Fn(usize) -> bool) -> Vec<usize> {
    let most = MAX_SEQUENCE - 2;
    let (mut lengths, mut start) = (Vec::new(), 0);
    while start < tokens {
        if start + most > tokens - 1 {
            lengths.push(tokens - start);
            break;
        }
        let end = (start + 1..=start + most).rev().find(|&i| is_end(i)).unwrap_or(start + most);
        lengths.push(end + 1 - start);
        start = end + 1;
    }
    lengths
}

fn pure(token: &str, family: Family) -> &str {
    token.trim_start_matches(match family {
        Family::Bert => '#',
        Family::XlmRoberta => '▁',
    })
}

fn is_special(token: &str, family: Family) -> bool {
    match family {
        Family::Bert => ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"].contains(&token),
        Family::XlmRoberta => ["<s>", "</s>", "<unk>", "<pad>", "<mask>"].contains(&token),
    }
}

/// `__merge_token_to_word`.
fn merge(
    tokens: &[String],
    probabilities: &[f32],
    family: Family,
    force_tokens: &[String],
    token_map: &TokenMap,
    force_reserve_digit: bool,
) -> Result<Words, CompressorError> {
    let is_forced = |token: &str| force_tokens.iter().any(|f| f == token) || token_map.iter().any(|(_, n)| n == token);
    let mut words = Words::default();
    let mut unforced = 0.0;
    for (token, &probability) in tokens.iter().zip(probabilities) {
        if is_special(token, family) {
            continue;
        }
        let pure = pure(token, family);
        let begins = match family {
            Family::Bert => is_forced(pure) || !token.starts_with("##"),
            Family::XlmRoberta => PUNCTUATION.contains(token.as_str()) || is_forced(token) || token.starts_with('▁'),
        };
        let number = |token: &str, number: Number| {
            if force_reserve_digit && DIGIT.is_match(token) { Number::Double(1.0) } else { number }
        };
        if begins {
            unforced = probability;
            let own = if is_forced(pure) { Number::Double(1.0) } else { Number::Single(probability) };
            let mut text = token.clone();
            for (original, new) in token_map {
                text = text.replace(new.as_str(), original);
            }
            words.probabilities.push(vec![number(&text, own)]);
            words.texts.push(text);
            words.unforced.push(vec![unforced]);
        } else {
            let (Some(text), Some(of_word), Some(unforced_of_word)) =
                (words.texts.last_mut(), words.probabilities.last_mut(), words.unforced.last_mut())
            else {
                return Err(fails("IndexError: list index out of range"));
            };
            text.push_str(pure);
            of_word.push(number(token, Number::Single(probability)));
            unforced_of_word.push(unforced);
        }
    }
    Ok(words)
}

/// `__token_prob_to_word_prob`: a sum in single precision as soon as one number is of it.
fn of_word(numbers: &[Number], how: TokenToWord) -> Number {
    match how {
        TokenToWord::First => numbers[0],
        TokenToWord::Mean if numbers.iter().all(|n| matches!(n, Number::Double(_))) => {
            Number::Double(numbers.iter().map(|n| n.value()).sum::<f64>() / numbers.len() as f64)
        }
        TokenToWord::Mean => {
            let sum = numbers.iter().fold(0f32, |sum, n| sum + n.value() as f32);
            Number::Single(sum / numbers.len() as f32)
        }
    }
}

/// The selection within `__compress`, for one chunk.
fn select(words: Words, selection: &Selection<'_>, counter: TokenCounter) -> Result<Selected, CompressorError> {
    let mut probabilities: Vec<Number> =
        words.probabilities.iter().map(|p| of_word(p, selection.token_to_word)).collect();
    let is_forced = |word: &String| selection.force_tokens.contains(word);
    let threshold_at = |numbers: &[Number], q: i64| match percentile(numbers, q) {
        Some(threshold) => Ok(threshold),
        None if !(0..=100).contains(&q) => Err(fails(RANGE)),
        None => Err(fails(INDEX)),
    };
    if selection.drop_consecutive {
        let threshold = threshold_at(&probabilities, drop_percentile(selection.reduce_rate))?;
        let (mut between, mut previous) = (false, None);
        for (word, probability) in words.texts.iter().zip(&mut probabilities) {
            if is_forced(word) {
                if between {
                    between = false;
                } else if previous == Some(word) {
                    *probability = Number::Double(0.0);
                }
                previous = Some(word);
            } else {
                between |= probability.value() > threshold;
            }
        }
    }
    let mut weighted = Vec::new();
    for (word, &probability) in words.texts.iter().zip(&probabilities) {
        weighted.extend(std::iter::repeat_n(probability, count(counter, word)?));
    }
    let threshold = threshold_at(&weighted, token_percentile(selection.reduce_rate))?;
    let mut selected = Selected::default();
    for (word, probability) in words.texts.iter().zip(&probabilities) {
        let p = probability.value();
        let likely = p > threshold || threshold == 1.0 && p == threshold;
        let doubled = selection.drop_consecutive && is_forced(word) && selected.kept.last() == Some(word);
        selected.labels.push(u8::from(likely && !doubled));
        if likely && !doubled {
            selected.kept.push(word.clone());
        }
    }
    selected.words = words.texts;
    Ok(selected)
}

/// `len(oai_tokenizer.encode(text))`, which raises on literals of its special tokens.
fn count(counter: TokenCounter, text: &str) -> Result<usize, CompressorError> {
    const SPECIAL: [&str; 5] =
        ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|endofprompt|>"];
    match SPECIAL.iter().find(|s| text.contains(**s)) {
        Some(literal) => Err(fails(&format!("ValueError: disallowed special token {literal:?}"))),
        None => Ok(counter.count(text)),
    }
}

impl Package<'_> {
    /// `compress_prompt` with `use_llmlingua2`.
    pub fn compress_prompt(
        &self,
        contexts: &[String],
        options: &CompressOptions,
        probabilities: &mut Probabilities<'_>,
    ) -> Result<CompressedText, CompressorError> {
        let counter = TokenCounter::by_name(ENCODING)?;
        if options.force_tokens.len() > MAX_FORCE_TOKENS {
            return Err(fails("AssertionError"));
        }
        let token_map = self.token_map(&options.force_tokens)?;
        let mut ends: HashSet<&str> = options.chunk_end_tokens.iter().map(String::as_str).collect();
        for (original, new) in &token_map {
            if options.chunk_end_tokens.contains(original) {
                ends.insert(new);
            }
        }
        let mut original = 0;
        let mut chunked = Vec::with_capacity(contexts.len());
        for context in contexts {
            original += count(counter, context)?;
            let mut text = context.clone();
            for (token, new) in &token_map {
                text = text.replace(token.as_str(), new);
            }
            chunked.push(self.chunk(&text, &ends)?);
        }
        let selection = |rate: f64| Selection {
            reduce_rate: if options.use_token_level_filter { (1.0 - rate).max(0.0) } else { 0.0 },
            token_to_word: options.token_to_word,
            force_tokens: &options.force_tokens,
            token_map: &token_map,
            force_reserve_digit: options.force_reserve_digit,
            drop_consecutive: options.drop_consecutive,
        };
        if contexts.len() == 1 || !options.use_context_level_filter.unwrap_or(true) {
            let mut rate = options.rate;
            if options.target_token > 0.0 {
                if original == 0 {
                    return Err(fails(ZERO));
                }
                rate = (options.target_token / original as f64).min(1.0);
            }
            let selected = self.select_all(&chunked, &selection(rate), counter, probabilities)?;
            return answer(selected.iter().map(Some).collect(), &[], original, counter, options);
        }

        let level_rate = context_rate(options, contexts.len(), original)?;
        let (scores, all_words) = self.context_scores(&chunked, &selection(1.0), probabilities)?;
        let threshold = match percentile(&scores, (100.0 * (1.0 - level_rate)) as i64) {
            Some(threshold) => threshold,
            None if scores.is_empty() => return Err(fails(INDEX)),
            None => return Err(fails(RANGE)),
        };
        let is_kept = |i: usize| scores[i].value() >= threshold || options.force_context_ids.contains(&i);
        let kept: Vec<Vec<String>> =
            chunked.iter().enumerate().filter(|(i, _)| is_kept(*i)).map(|(_, c)| c.clone()).collect();
        let mut rate = options.rate;
        if options.target_token >= 0.0 {
            let mut reserved = 0;
            for chunk in kept.iter().flatten() {
                reserved += count(counter, chunk)?;
            }
            if reserved == 0 {
                return Err(fails(ZERO));
            }
            rate = (options.target_token / reserved as f64).min(1.0);
        }
        let selected = self.select_all(&kept, &selection(rate), counter, probabilities)?;
        let mut of_kept = selected.iter();
        let in_order = (0..contexts.len()).map(|i| if is_kept(i) { of_kept.next() } else { None }).collect();
        answer(in_order, &all_words, original, counter, options)
    }

    /// `structured_compress_prompt`: tags are read, and then what they say is lost. Contexts go through the model's
    /// tokenizer first.
    pub fn structured_compress_prompt(
        &self,
        contexts: &[String],
        options: &CompressOptions,
        probabilities: &mut Probabilities<'_>,
    ) -> Result<CompressedText, CompressorError> {
        // With the special tokens around a text.
        let length = |text: &str| Ok::<usize, EncoderError>(self.tokenizer.word_pieces(text)?.len() + 2);
        let blank = [" ".to_owned()];
        let contexts = if contexts.is_empty() { &blank[..] } else { contexts };
        let mut decoded = Vec::new();
        for context in contexts {
            decoded.push(self.tokenizer.join(self.tokenizer.word_pieces(context)?)?);
        }
        let mut total = 0;
        for text in &decoded {
            total += length(text)?;
        }
        let (instruction, question) = (length("")?, length("")?);
        let mut options = options.clone();
        if options.target_token == -1.0 {
            options.target_token =
                (instruction + question + total) as f64 * options.rate - instruction as f64 - question as f64;
        } else {
            options.rate = options.target_token / total as f64;
        }
        let mut plain = Vec::new();
        for text in &decoded {
            plain.push(TAG.captures_iter(&tagged(text)).map(|c| c[5].to_owned()).collect::<String>());
        }
        self.compress_prompt(&plain, &options, probabilities)
    }

    /// Force tokens that are not one token each, and the reserved tokens that stand for them.
    fn token_map(&self, force_tokens: &[String]) -> Result<TokenMap, CompressorError> {
        let mut map = TokenMap::new();
        for (i, token) in force_tokens.iter().enumerate() {
            if self.tokenizer.word_pieces(token)?.len() != 1 {
                match map.iter_mut().find(|(original, _)| original == token) {
                    Some((_, new)) => *new = reserved(i),
                    None => map.push((token.clone(), reserved(i))),
                }
            }
        }
        Ok(map)
    }

    fn chunk(&self, text: &str, ends: &HashSet<&str>) -> Result<Vec<String>, CompressorError> {
        let tokens = self.tokenizer.word_pieces(text)?;
        let mut rest = tokens.as_slice();
        let mut chunks = Vec::new();
        for length in chunk_lengths(tokens.len(), |i| ends.contains(tokens[i].as_str())) {
            let (chunk, after) = rest.split_at(length);
            chunks.push(self.tokenizer.join(chunk.to_vec())?);
            rest = after;
        }
        Ok(chunks)
    }

    /// The tokens of each chunk, special tokens included, and their probabilities.
    fn probabilities(
        &self,
        chunked: &[Vec<String>],
        run: &mut Probabilities<'_>,
    ) -> Result<Vec<TokensOfChunk>, CompressorError> {
        // The package brackets every sequence by BERT's tokens; in XLM-R's vocabulary they are unknown.
        let unknown = self.tokenizer.id("<unk>");
        let id = |token: &str| self.tokenizer.id(token).or(unknown).unwrap_or_default();
        let mut sequences = Vec::new();
        for chunk in chunked.iter().flatten() {
            let pieces = self.tokenizer.word_pieces(chunk)?;
            let ids = std::iter::once("[CLS]").chain(pieces.iter().map(String::as_str)).chain(["[SEP]"]).map(id);
            sequences.push(ids.take(MAX_SEQUENCE).collect::<Vec<u32>>());
        }
        let tokens = sequences.iter().map(|ids| {
            ids.iter().map(|&id| self.tokenizer.word_piece(id).unwrap_or_default()).collect::<Vec<String>>()
        });
        let tokens: Vec<Vec<String>> = tokens.collect();
        Ok(tokens.into_iter().zip(run(sequences)?).collect())
    }

    fn select_all(
        &self,
        chunked: &[Vec<String>],
        selection: &Selection<'_>,
        counter: TokenCounter,
        run: &mut Probabilities<'_>,
    ) -> Result<Vec<ContextAnswer>, CompressorError> {
        if selection.reduce_rate <= 0.0 {
            return Ok(chunked.iter().map(|chunks| unreduced(chunks, selection.token_map)).collect());
        }
        let mut chunks = self.probabilities(chunked, run)?.into_iter();
        let mut answers = Vec::with_capacity(chunked.len());
        for context in chunked {
            let mut answer = ContextAnswer::default();
            for (tokens, probabilities) in chunks.by_ref().take(context.len()) {
                let words = self.words(&tokens, &probabilities, selection)?;
                let selected = select(words, selection, counter)?;
                answer.text.push_str(&self.tokenizer.join(selected.kept)?);
                answer.words.extend(selected.words.into_iter().map(|word| self.shown(word)));
                answer.labels.extend(selected.labels);
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// A chunk's tokens merged into words.
    fn words(
        &self,
        tokens: &[String],
        probabilities: &[f32],
        selection: &Selection<'_>,
    ) -> Result<Words, CompressorError> {
        let Selection { force_tokens, token_map, force_reserve_digit, .. } = *selection;
        merge(tokens, probabilities, self.family, force_tokens, token_map, force_reserve_digit)
    }

    /// A word as it is listed.
    fn shown(&self, word: String) -> String {
        match self.family {
            Family::Bert => word,
            Family::XlmRoberta => word.trim_start_matches('▁').to_owned(),
        }
    }

    /// `__get_context_prob`.
    fn context_scores(
        &self,
        chunked: &[Vec<String>],
        selection: &Selection<'_>,
        run: &mut Probabilities<'_>,
    ) -> Result<(Vec<Number>, Vec<Vec<String>>), CompressorError> {
        let mut chunks = self.probabilities(chunked, run)?.into_iter();
        let (mut scores, mut all_words) = (Vec::new(), Vec::new());
        for context in chunked {
            let (mut of_words, mut texts) = (Vec::new(), Vec::new());
            for (tokens, probabilities) in chunks.by_ref().take(context.len()) {
                let words = self.words(&tokens, &probabilities, selection)?;
                of_words.extend(words.unforced.iter().map(|p| {
                    let p: Vec<Number> = p.iter().map(|&p| Number::Single(p)).collect();
                    of_word(&p, selection.token_to_word).value() as f32
                }));
                texts.extend(words.texts.into_iter().map(|word| self.shown(word)));
            }
            if of_words.is_empty() {
                return Err(fails(ZERO));
            }
            scores.push(Number::Single(of_words.iter().sum::<f32>() / of_words.len() as f32));
            all_words.push(texts);
        }
        Ok((scores, all_words))
    }
}

/// What became of one context.
#[derive(Debug, Default)]
struct ContextAnswer {
    text: String,
    words: Vec<String>,
    labels: Vec<u8>,
}

/// A context of which nothing is dropped.
fn unreduced(chunks: &[String], token_map: &TokenMap) -> ContextAnswer {
    let mut answer = ContextAnswer::default();
    for chunk in chunks {
        let mut text = chunk.clone();
        for (original, new) in token_map {
            text = text.replace(new.as_str(), original);
        }
        answer.words.extend(LABELLED_WORDS.find_iter(&text).map(|m| m.as_str().to_owned()));
        answer.text.push_str(&text);
    }
    answer.labels = vec![1; answer.words.len()];
    answer
}

/// The answer over contexts in order; `None` for one that was dropped, whose words are then all dropped.
fn answer(
    contexts: Vec<Option<&ContextAnswer>>,
    all_words: &[Vec<String>],
    original: usize,
    counter: TokenCounter,
    options: &CompressOptions,
) -> Result<CompressedText, CompressorError> {
    let list: Vec<String> = contexts.iter().flatten().map(|c| c.text.clone()).collect();
    let mut compressed = 0;
    for text in &list {
        compressed += count(counter, text)?;
    }
    if original == 0 && compressed > 0 {
        return Err(fails("ZeroDivisionError: float division by zero"));
    }
    let labelled = options.return_word_label.then(|| {
        let line = |word: &String, label: u8| format!("{word}{}{label}", options.label_sep);
        let mut lines = Vec::new();
        for (i, context) in contexts.iter().enumerate() {
            match context {
                Some(c) => lines.extend(c.words.iter().zip(&c.labels).map(|(w, &l)| line(w, l))),
                None => lines.extend(all_words[i].iter().map(|w| line(w, 0))),
            }
        }
        lines.join(&options.word_sep)
    });
    Ok(CompressedText::new(list, labelled, Counts { original, compressed }))
}

/// The share of the contexts that the context filter keeps.
fn context_rate(options: &CompressOptions, contexts: usize, original: usize) -> Result<f64, CompressorError> {
    let (mut level_rate, mut level_target) = (options.context_level_rate, options.context_level_target_token);
    if options.target_context <= 0.0 && level_rate >= 1.0 && level_target <= 0.0 {
        if options.target_token < 0.0 && options.rate < 1.0 {
            level_rate = if options.use_token_level_filter { (options.rate + 1.0) / 2.0 } else { options.rate };
        }
        if options.target_token >= 0.0 {
            level_target = options.target_token * if options.use_token_level_filter { 2.0 } else { 1.0 };
        }
    }
    if options.target_context >= 0.0 {
        if contexts == 0 {
            return Err(fails(ZERO));
        }
        level_rate = (options.target_context / contexts as f64).min(1.0);
    }
    if level_target >= 0.0 {
        if original == 0 {
            return Err(fails(ZERO));
        }
        level_rate = (level_target / original as f64).min(1.0);
    }
    Ok(level_rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn strings(value: &Value) -> Vec<String> {
        value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap_or_default().to_owned()).collect()
    }

    fn family(case: &Value) -> Family {
        if case["model"].as_str().is_some_and(|m| m.contains("xlm-roberta")) {
            Family::XlmRoberta
        } else {
            Family::Bert
        }
    }

    fn words_of(chunk: &Value, case: &Value, token_map: &TokenMap) -> Result<Words, CompressorError> {
        let probabilities: Vec<f32> =
            chunk["probs"].as_array().into_iter().flatten().map(|p| p.as_f64().unwrap_or_default() as f32).collect();
        let args = &case["args"];
        let digits = args["force_reserve_digit"] == true;
        merge(
            &strings(&chunk["tokens"]),
            &probabilities,
            family(case),
            &strings(&args["force_tokens"]),
            token_map,
            digits,
        )
    }

    /// Holds one model-free case against what the package's own functions gave.
    fn holds(case: &Value) -> bool {
        let (args, expected) = (&case["args"], &case["expected"]);
        let token_map: TokenMap = args["token_map"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
            .collect();
        let force_tokens = strings(&args["force_tokens"]);
        let token_to_word = if args["token_to_word"] == "first" { TokenToWord::First } else { TokenToWord::Mean };
        match case["kind"].as_str().unwrap_or_default() {
            "select" => {
                let selection = Selection {
                    reduce_rate: args["reduce_rate"].as_f64().unwrap_or_default(),
                    token_to_word,
                    force_tokens: &force_tokens,
                    token_map: &token_map,
                    force_reserve_digit: args["force_reserve_digit"] == true,
                    drop_consecutive: args["drop_consecutive"] == true,
                };
                let counter = TokenCounter::by_name(ENCODING).expect("an encoding");
                let chunks = case["chunks"].as_array().cloned().unwrap_or_default();
                let selected: Result<Vec<Selected>, CompressorError> = chunks
                    .iter()
                    .map(|chunk| select(words_of(chunk, case, &token_map)?, &selection, counter))
                    .collect();
                let Ok(selected) = selected else { return expected["error"].is_string() };
                let shown = |word: &String| match family(case) {
                    Family::Bert => word.clone(),
                    Family::XlmRoberta => word.trim_start_matches('▁').to_owned(),
                };
                let words: Vec<String> = selected.iter().flat_map(|s| s.words.iter().map(shown)).collect();
                let labels: Vec<u8> = selected.iter().flat_map(|s| s.labels.clone()).collect();
                let kept: Vec<&Vec<String>> = selected.iter().map(|s| &s.kept).collect();
                serde_json::json!({"words": words, "labels": labels, "kept_words_per_chunk": kept}) == *expected
            }
            "context_score" => {
                let score = |context: &Value| {
                    let mut all = Vec::new();
                    for chunk in context.as_array().into_iter().flatten() {
                        let words = words_of(chunk, case, &token_map).expect("words");
                        all.extend(words.unforced.iter().map(|p| {
                            let p: Vec<Number> = p.iter().map(|&p| Number::Single(p)).collect();
                            of_word(&p, token_to_word).value() as f32
                        }));
                    }
                    f64::from(all.iter().sum::<f32>() / all.len() as f32)
                };
                let scores: Vec<f64> = case["contexts"].as_array().into_iter().flatten().map(score).collect();
                let want: Vec<f64> =
                    expected["scores"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
                scores.len() == want.len() && scores.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-7)
            }
            "chunk" => {
                let ends: Vec<u64> =
                    case["end_positions"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
                let lengths = chunk_lengths(case["n_tokens"].as_u64().unwrap_or_default() as usize, |i| {
                    ends.contains(&(i as u64))
                });
                expected["chunk_token_lengths"] == serde_json::json!(lengths)
            }
            "arith" => expected.as_object().into_iter().flatten().all(|(_, e)| {
                let reduce = e["reduce_rate"].as_f64().unwrap_or_default();
                e["token_percentile"] == token_percentile(reduce) && e["drop_percentile"] == drop_percentile(reduce)
            }),
            other => panic!("no such kind of case: {other}"),
        }
    }

    #[test]
    #[ignore = "wants MEMBOX_COMPONENT_VECTORS, a file of cases computed by the package's own functions"]
    fn component_vectors() {
        let path = std::env::var("MEMBOX_COMPONENT_VECTORS").expect("the file's path in MEMBOX_COMPONENT_VECTORS");
        let file: Value = serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON");
        let cases = file["cases"].as_array().expect("cases");
        let wrong: Vec<&Value> = cases.iter().filter(|case| !holds(case)).map(|case| &case["name"]).collect();
        println!("{} cases, {} mismatches", cases.len(), wrong.len());
        assert!(!cases.is_empty() && wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn chunks_have_up_to_511_tokens_and_end_at_an_end_token() {
        let cut = |tokens, ends: &[usize]| chunk_lengths(tokens, |i| ends.contains(&i));
        assert_eq!(cut(0, &[]), [0; 0]);
        assert_eq!(cut(511, &[]), [511]);
        assert_eq!(cut(513, &[]), [511, 2]);
        assert_eq!(cut(700, &[300, 650]), [301, 399]);
        assert_eq!(cut(600, &[0]), [511, 89], "the first token of a chunk never ends it");
    }
}
