//! Texts of sixty languages: no broken character, no half word and no half number, whatever is left of them.

use crate::common::{compressor, keep_head};
use membox_compressor::{CompressOptions, Compressor, Mode};
use membox_encoder::{Lane, Precision};
use proptest::prelude::*;
use std::ops::Range;
use std::sync::OnceLock;
use unicode_segmentation::UnicodeSegmentation;

/// Languages with a list of words (stopwords-iso), whose words have blanks between them.
const SPACED: [&str; 55] = [
    "af", "ar", "hy", "eu", "bn", "br", "bg", "ca", "hr", "cs", "da", "nl", "en", "eo", "et", "fi", "fr", "gl", "de",
    "el", "gu", "ha", "he", "hi", "hu", "id", "ga", "it", "ko", "ku", "la", "lt", "lv", "ms", "mr", "no", "fa", "pl",
    "pt", "ro", "ru", "sk", "sl", "so", "st", "es", "sw", "sv", "tl", "tr", "uk", "ur", "vi", "yo", "zu",
];

/// Languages without blanks, and some that have no list: words, which are no words of any other.
const OTHERS: [&[&str]; 8] = [
    &["青霉素", "过敏", "北京", "房租", "医生", "喜欢"],
    &["東京", "プログラム", "引っ越し", "電話"],
    &["ถั่วลิสง", "แพ้", "โรงพยาบาล", "น้ำแข็ง"],
    &["ກາເຟ", "ໂຮງໝໍ"],
    &["កាហ្វេ", "ភាសាខ្មែរ"],
    &["ကော်ဖီ", "မြန်မာ"],
    &["தேநீர்", "திங்கட்கிழமை", "மருத்துவர்"],
    &["తెలుగు", "సోమవారం", "వైద్యుడు"],
];

const NUMBERS: [&str; 12] = [
    "1.234,56 €",
    "€1,234,567.89",
    "-40 °C",
    "0.25 mg",
    "3.5e-4",
    "10:30",
    "50 %",
    "2026-11-28",
    "+49 30 1234-567",
    "١٢٫٥",
    "१२.५",
    "5 kg",
];

fn models() -> &'static [Compressor; 3] {
    static MODELS: OnceLock<[Compressor; 3]> = OnceLock::new();
    let tiny = |name| compressor(name, Precision::F32);
    MODELS.get_or_init(|| [keep_head(), tiny("bert-base-multilingual-cased-tiny"), tiny("xlm-roberta-large-tiny")])
}

/// Whether an entry of a list is one word, and no part of one.
fn is_one(word: &str) -> bool {
    !word.contains(|c: char| c.is_whitespace() || c.is_ascii_punctuation() || "’‘“”·।«»".contains(c))
}

/// A sentence of one language: its words and numbers.
fn sentence() -> impl Strategy<Value = Vec<String>> {
    let word = |language: usize| -> BoxedStrategy<String> {
        match SPACED.get(language).and_then(stop_words::lookup) {
            Some(words) => {
                let words: Vec<&str> = words.iter().copied().filter(|word| is_one(word)).collect();
                prop::sample::select(words).prop_map(str::to_owned).boxed()
            }
            None => prop::sample::select(OTHERS[language % OTHERS.len()]).prop_map(str::to_owned).boxed(),
        }
    };
    let number = prop::sample::select(NUMBERS.as_slice()).prop_map(str::to_owned);
    (0..SPACED.len() + OTHERS.len()).prop_flat_map(move |language| {
        prop::collection::vec(prop_oneof![6 => word(language), 1 => number.clone()], 1..30)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_left_by_halves(
        words in sentence(), model in 0usize..3, rate in 0.05f64..0.95, strict in any::<bool>(),
        negations in any::<bool>(),
    ) {
        let (mut text, mut places): (String, Vec<Range<usize>>) = Default::default();
        for word in &words {
            let start = text.len();
            text.push_str(word);
            places.push(start..text.len());
            text.push_str(", ");
        }
        let mode = if strict { Mode::Strict } else { Mode::Default };
        let options = CompressOptions { mode, rate, force_reserve_negation: negations, ..CompressOptions::default() };
        let model = &models()[model];
        let Ok(answer) = model.compress(std::slice::from_ref(&text), &options, Lane::Bulk) else {
            // A strict budget may be too small for what must stay.
            prop_assert!(strict && negations);
            return Ok(());
        };
        let mut borders: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
        borders.push(text.len());
        for &[start, end] in &answer.kept[0] {
            prop_assert!(borders.binary_search(&start).is_ok() && borders.binary_search(&end).is_ok(), "{text}");
            for (place, word) in places.iter().zip(&words) {
                let is_half = start < place.end && place.start < end && !(start <= place.start && place.end <= end);
                prop_assert!(!is_half, "{word} of {text} by {}: {}", model.name(), answer.compressed_prompt);
            }
        }
    }
}
