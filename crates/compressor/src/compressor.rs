//! The compressor as its callers see it: texts in, compressed texts out.

use crate::answer::{CompressedText, Counts};
use crate::options::{CompressOptions, Mode};
use crate::parity::{MAX_FORCE_TOKENS, Package, reserved};
use crate::percentile::{Number, percentile};
use crate::select::{Part, by_budget, by_rate, by_threshold};
use crate::structured;
use crate::units::{Reader, Segment, Unit};
use crate::{CompressorError, TokenCounter};
use membox_encoder::{
    Embeddings, Encoder, EncoderConfig, Family, Inputs, Lane, Purpose, Request, Scheduler, Tokenizer, Wanted,
};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// What the package puts between contexts.
const SEPARATOR: &str = "\n\n";
/// Longest sequence of a pass; longer position tables exist, and were not trained for it.
const MAX_SEQUENCE: usize = 512;

/// A model that says which words to keep.
pub struct Compressor {
    name: String,
    encoder: Arc<Encoder>,
    reader: Reader,
    special_tokens: (u32, u32),
    /// The tokenizer as the package has it; only of LLMLingua-2's own models, and only once it is asked for.
    package: Option<OnceLock<Tokenizer>>,
}

/// A text that was embedded and compressed in one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The vector of the whole text, of unit length: what the encoder gives for it.
    pub vector: Vec<f32>,
    /// What is left of the text.
    pub compressed: CompressedText,
}

/// Token ids, and the places of those that stand for text.
pub(crate) type Sequence = (Vec<u32>, Vec<Range<usize>>);

/// A text with its segments.
pub(crate) struct Source {
    pub text: String,
    pub segments: Vec<Segment>,
}

impl Source {
    pub fn plain(text: String) -> Self {
        let segments = vec![Segment { place: 0..text.len(), rate: None, compress: true }];
        Self { text, segments }
    }
}

impl Compressor {
    /// Loads a model of LLMLingua-2's kind from its folder, to be run by the scheduler's threads.
    pub fn load(
        name: &str,
        folder: &Path,
        config: EncoderConfig,
        scheduler: &Arc<Scheduler>,
    ) -> Result<Self, CompressorError> {
        let encoder = Arc::new(Encoder::load(name, folder, config, scheduler)?);
        Self::new(name, encoder, MAX_SEQUENCE, true)?.with_classifier()
    }

    /// The keep head over an embedding model: one pass gives a text's vector and what to keep of it.
    pub fn over(encoder: Arc<Encoder>) -> Result<Self, CompressorError> {
        Self::untrained(encoder)?.with_classifier()
    }

    /// An embedding model that is to get a keep head ([`distil`](crate::distil)): it cuts texts into units, and until
    /// then compresses none.
    pub fn untrained(encoder: Arc<Encoder>) -> Result<Self, CompressorError> {
        let name = format!("keep-head-{}", encoder.name());
        let max_tokens = encoder.max_tokens();
        Self::new(&name, encoder, max_tokens, false)
    }

    fn with_classifier(self) -> Result<Self, CompressorError> {
        if self.encoder.engine().has_keep_head() {
            return Ok(self);
        }
        let reason = "it has no token classifier".to_owned();
        Err(CompressorError::NotACompressor { name: self.name, reason })
    }

    fn new(name: &str, encoder: Arc<Encoder>, max_sequence: usize, is_package: bool) -> Result<Self, CompressorError> {
        let engine = encoder.engine();
        let Some(family) = encoder.tokenizer().family() else {
            let reason = "its tokens are neither WordPiece's nor SentencePiece's".to_owned();
            return Err(CompressorError::NotACompressor { name: name.to_owned(), reason });
        };
        let special_tokens = encoder.tokenizer().special_tokens()?;
        let most_pieces = engine.max_sequence().min(max_sequence) - 2;
        let tokenizer = encoder.tokenizer().without_special_literals();
        let reader = Reader::new(tokenizer, family, engine.vocabulary(), most_pieces, !is_package);
        let package = is_package.then(OnceLock::new);
        Ok(Self { name: name.to_owned(), encoder, reader, special_tokens, package })
    }

    /// The model's name, which every answer repeats.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it gives a text's vector as well, in the same pass: whether it is the keep head, over a model that wants
    /// nothing before a text that is kept.
    pub fn embeds(&self) -> bool {
        self.package.is_none() && self.encoder.prompts().of(Purpose::Document).is_empty()
    }

    /// The encoder that runs it.
    pub fn encoder(&self) -> &Arc<Encoder> {
        &self.encoder
    }

    /// Compresses a text, or several contexts as one prompt.
    pub fn compress(
        &self,
        contexts: &[String],
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<CompressedText, CompressorError> {
        let mut answers = self.compress_many(&[contexts.to_vec()], options, lane)?;
        answers.pop().ok_or_else(|| CompressorError::impossible("context", "there is none"))
    }

    /// Compresses independent documents, each of one or more contexts; their passes are packed together.
    pub fn compress_many(
        &self,
        documents: &[Vec<String>],
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<Vec<CompressedText>, CompressorError> {
        options.check()?;
        if options.mode == Mode::Parity {
            return documents.iter().map(|contexts| self.as_package(contexts, options, lane)).collect();
        }
        let counter = options.counter()?;
        let mut sources = Vec::new();
        for text in documents.iter().flatten() {
            sources.push(if options.structured { structured::parse(text)? } else { Source::plain(text.clone()) });
        }
        let mut parts = self.parts(sources, options, lane)?.into_iter();
        documents
            .iter()
            .map(|contexts| {
                let parts: Vec<Part> = parts.by_ref().take(contexts.len()).collect();
                let answer = choose(parts, options, counter, SEPARATOR)?;
                Ok(self.signed(answer, options.mode))
            })
            .collect()
    }

    /// Makes contexts fit a budget of tokens together, with `separator` between them: as they are where that fits,
    /// else in mode `strict`.
    pub fn fit(
        &self,
        contexts: &[String],
        separator: &str,
        budget: usize,
        counter: TokenCounter,
        lane: Lane,
    ) -> Result<CompressedText, CompressorError> {
        let options = CompressOptions {
            mode: Mode::Strict,
            target_token: budget as f64,
            encoding: counter.encoding().to_owned(),
            ..CompressOptions::default()
        };
        options.check()?;
        let parts = self.parts(contexts.iter().cloned().map(Source::plain).collect(), &options, lane)?;
        Ok(self.signed(choose(parts, &options, counter, separator)?, options.mode))
    }

    /// Embeds and compresses texts; a text of up to 254 word pieces costs one pass for both, a longer one no more
    /// passes than its compression alone. Only the [keep head](Self::over) can do it.
    pub fn remember(
        &self,
        texts: &[String],
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<Vec<Remembered>, CompressorError> {
        options.check()?;
        if options.mode == Mode::Parity || self.package.is_some() {
            return Err(CompressorError::impossible("mode", "only the keep head embeds and compresses in one pass"));
        }
        let counter = options.counter()?;
        let (open, close) = self.special_tokens;
        let mut sequences = Vec::new();
        let mut readings = Vec::new();
        for text in texts {
            let reading = self.reader.read(text, &options.chunk_end_tokens)?;
            let first = sequences.len();
            sequences.extend(reading.sequences(open, close));
            if first == sequences.len() {
                sequences.push(vec![open, close]);
            }
            readings.push((first..sequences.len(), reading));
        }
        let wanted = Wanted { vectors: true, normalize: true, keep: true, ..Wanted::default() };
        let answer = self.run(sequences, wanted, lane)?;
        readings
            .into_iter()
            .zip(texts)
            .map(|((range, reading), text)| {
                let source = Source::plain(text.clone());
                let keep = &answer.keep[range.clone()];
                let units = reading.units(text, keep, &source.segments, options);
                let compressed =
                    choose(vec![Part::new(source.text, units, source.segments)], options, counter, SEPARATOR)?;
                let vector = answer.rows().nth(range.start).map(<[f32]>::to_vec).unwrap_or_default();
                Ok(Remembered { vector, compressed: self.signed(compressed, options.mode) })
            })
            .collect()
    }

    /// Reads texts and their probabilities.
    pub(crate) fn parts(
        &self,
        sources: Vec<Source>,
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<Vec<Part>, CompressorError> {
        let (open, close) = self.special_tokens;
        let mut readings = Vec::with_capacity(sources.len());
        let mut sequences = Vec::new();
        for source in &sources {
            let reading = self.reader.read(&source.text, &options.chunk_end_tokens)?;
            sequences.extend(reading.sequences(open, close));
            readings.push(reading);
        }
        let wanted = Wanted { keep: true, ..Wanted::default() };
        let keep = self.run(sequences, wanted, lane)?.keep;
        let mut keep = keep.as_slice();
        let part = |(source, reading): (Source, crate::units::Reading)| {
            let (own, rest) = keep.split_at(reading.chunks.len());
            keep = rest;
            let units = reading.units(&source.text, own, &source.segments, options);
            Part::new(source.text, units, source.segments)
        };
        Ok(sources.into_iter().zip(readings).map(part).collect())
    }

    /// The units of a text, without probabilities.
    pub(crate) fn units_of(&self, text: &str, options: &CompressOptions) -> Result<Vec<Unit>, CompressorError> {
        let reading = self.reader.read(text, &options.chunk_end_tokens)?;
        let nothing: Vec<Vec<f32>> = reading.chunks.iter().map(|chunk| vec![0.0; chunk.len() + 2]).collect();
        Ok(reading.units(text, &nothing, &Source::plain(text.to_owned()).segments, options))
    }

    /// The units of a text with their probabilities.
    pub(crate) fn probabilities_of(&self, text: &str, options: &CompressOptions) -> Result<Vec<Unit>, CompressorError> {
        let parts = self.parts(vec![Source::plain(text.to_owned())], options, Lane::Bulk)?;
        Ok(parts.into_iter().flat_map(|part| part.units).collect())
    }

    /// The sequences that a text is run as, and where each of their tokens but the first and the last stands.
    pub(crate) fn sequences_of(&self, text: &str) -> Result<Vec<Sequence>, CompressorError> {
        let reading = self.reader.read(text, &CompressOptions::default().chunk_end_tokens)?;
        let (open, close) = self.special_tokens;
        Ok(reading.sequences(open, close).zip(reading.places()).collect())
    }

    fn run(&self, sequences: Vec<Vec<u32>>, wanted: Wanted, lane: Lane) -> Result<Embeddings, CompressorError> {
        let inputs = Inputs::Tokens(sequences);
        Ok(self.encoder.encode(Request { inputs, max_tokens: MAX_SEQUENCE, wanted, lane })?)
    }

    fn as_package(
        &self,
        contexts: &[String],
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<CompressedText, CompressorError> {
        let Some(package) = &self.package else {
            let reason = format!("{} is not one of the package's models: mode \"parity\" needs LLMLingua-2", self.name);
            return Err(CompressorError::impossible("mode", reason));
        };
        let tokenizer =
            package.get_or_init(|| self.encoder.tokenizer().with_special_tokens((0..MAX_FORCE_TOKENS).map(reserved)));
        let package = Package { tokenizer, family: self.reader.family };
        let wanted = Wanted { keep: true, ..Wanted::default() };
        let mut probabilities = |sequences: Vec<Vec<u32>>| {
            let inputs = Inputs::Tokens(sequences);
            Ok(self.encoder.encode(Request { inputs, max_tokens: MAX_SEQUENCE, wanted, lane })?.keep)
        };
        let answer = if options.structured {
            package.structured_compress_prompt(contexts, options, &mut probabilities)
        } else {
            package.compress_prompt(contexts, options, &mut probabilities)
        };
        Ok(self.signed(answer?, options.mode))
    }

    pub(crate) fn signed(&self, answer: CompressedText, mode: Mode) -> CompressedText {
        CompressedText { model: self.name.clone(), mode: mode.name().to_owned(), ..answer }
    }

    /// The family of the model's tokens.
    pub fn family(&self) -> Family {
        self.reader.family
    }
}

/// Selects what is kept of the contexts of one document.
fn choose(
    mut parts: Vec<Part>,
    options: &CompressOptions,
    counter: TokenCounter,
    separator: &str,
) -> Result<CompressedText, CompressorError> {
    let originals: Vec<usize> = parts.iter().map(|p| counter.count(&p.text)).collect();
    let original: usize = originals.iter().sum();
    if parts.len() > 1 && options.use_context_level_filter == Some(true) {
        drop_contexts(&mut parts, original, options);
    }
    let left: usize = parts.iter().zip(&originals).filter(|(p, _)| !p.is_dropped).map(|(_, n)| n).sum();
    select(&mut parts, left, options, counter, &|parts| counter.count(&joined(parts, separator)))?;
    let labelled = options.return_word_label.then(|| {
        let mut lines = Vec::new();
        for part in &parts {
            for (unit, &kept) in part.units.iter().zip(&part.kept) {
                let label = u8::from(!part.is_dropped && (kept || part.is_whole));
                lines.push(format!("{}{}{label}", &part.text[unit.place.clone()], options.label_sep));
            }
        }
        lines.join(&options.word_sep)
    });
    let prompt = joined(&parts, separator);
    let counts = Counts { original, compressed: counter.count(&prompt) };
    let list = parts.iter().filter(|p| !p.is_dropped).map(Part::compressed).collect();
    let kept = parts.iter().map(Part::spans).collect();
    Ok(CompressedText { compressed_prompt: prompt, kept, ..CompressedText::new(list, labelled, counts) })
}

/// Selects words of parts that have `original` tokens together, as the options say; `count` counts what is left of
/// them.
pub(crate) fn select(
    parts: &mut [Part],
    original: usize,
    options: &CompressOptions,
    counter: TokenCounter,
    count: &dyn Fn(&[Part]) -> usize,
) -> Result<(), CompressorError> {
    if !options.use_token_level_filter {
        parts.iter_mut().for_each(|p| p.is_whole = true);
    } else if let Some(threshold) = options.threshold {
        parts.iter_mut().for_each(|p| by_threshold(p, threshold, options));
    } else if options.mode == Mode::Strict {
        let budget = options.target().unwrap_or_else(|| (options.rate * original as f64).max(1.0)) as usize;
        by_budget(parts, budget, options, counter, count)?;
    } else {
        let rate = options.target().map_or(options.rate, |target| (target / original.max(1) as f64).min(1.0));
        parts.iter_mut().for_each(|p| by_rate(p, rate, options, counter));
    }
    Ok(())
}

/// The package's context filter: contexts are scored by the mean of their words' probabilities, and those under a
/// percentile go.
fn drop_contexts(parts: &mut [Part], original: usize, options: &CompressOptions) {
    let (mut rate, mut target) = (options.context_level_rate, options.context_level_target_token);
    if options.target_context < 1.0 && rate >= 1.0 && target <= 0.0 {
        match options.target() {
            Some(tokens) => target = tokens * if options.use_token_level_filter { 2.0 } else { 1.0 },
            None if options.use_token_level_filter => rate = (options.rate + 1.0) / 2.0,
            None => rate = options.rate,
        }
    }
    if options.target_context >= 1.0 {
        rate = (options.target_context / parts.len() as f64).min(1.0);
    }
    if target > 0.0 {
        rate = (target / original.max(1) as f64).min(1.0);
    }
    let score = |part: &Part| {
        let sum: f64 = part.units.iter().map(|u| u.unforced).sum();
        Number::Double(sum / part.units.len().max(1) as f64)
    };
    let scores: Vec<Number> = parts.iter().map(score).collect();
    let threshold = percentile(&scores, (100.0 * (1.0 - rate)) as i64).unwrap_or(0.0);
    for (i, (part, score)) in parts.iter_mut().zip(&scores).enumerate() {
        part.is_dropped = score.value() < threshold && !options.force_context_ids.contains(&i);
    }
}

/// What is left of several contexts, as one prompt.
fn joined(parts: &[Part], separator: &str) -> String {
    let texts: Vec<String> = parts.iter().map(Part::compressed).filter(|t| !t.is_empty()).collect();
    texts.join(separator)
}
