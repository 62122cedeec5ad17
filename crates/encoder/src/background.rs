//! What a model's cosines mean: those of texts that have nothing to do with a question, and those of its answers.
//!
//! Cosines of a model such as MiniLM are about 0 where texts are unrelated. Those of models that were trained at a low
//! temperature are not: E5's are 0.73 in English and 0.83 in Chinese, and 0.85 is near there. Ethayarajh (2019) calls
//! it anisotropy. Who compares cosines with other scores must know from where on they count. It is measured with a few
//! texts of each language, for each question anew: so a question counts by what is usual in its own language. A
//! question to each of the texts says how near an answer usually is.

use crate::EncoderError;
use crate::encoder::Encoder;
use crate::lanes::Lane;
use crate::prompts::Purpose;

/// Texts that have nothing to do with each other, by language, each with a question that it answers.
const TEXTS: [[(&str, &str); 8]; 2] = [
    [
        ("I fixed the kitchen tap on Saturday.", "What did I repair in the kitchen?"),
        ("The committee postponed its vote on the new bridge.", "What happened to the vote on the bridge?"),
        ("My daughter plays the cello in the school orchestra.", "Which instrument does my daughter play?"),
        ("Photosynthesis turns light into chemical energy.", "What does photosynthesis do?"),
        ("Could you send me the invoice for last month?", "Which invoice did I ask for?"),
        ("We hiked along the coast until it began to rain.", "Where did we hike when it began to rain?"),
        ("The compiler warns about unused variables.", "What does the compiler warn about?"),
        ("He is allergic to peanuts.", "What is he allergic to?"),
    ],
    [
        ("我周六修好了厨房的水龙头。", "我在厨房修了什么？"),
        ("委员会推迟了对新桥的表决。", "关于新桥的表决怎么样了？"),
        ("我女儿在学校乐团拉大提琴。", "我女儿演奏什么乐器？"),
        ("光合作用把光转化为化学能。", "光合作用是做什么的？"),
        ("请把上个月的发票发给我。", "我要的是哪个月的发票？"),
        ("我们沿着海岸徒步，直到下起雨来。", "下雨的时候我们在哪里徒步？"),
        ("编译器会对未使用的变量发出警告。", "编译器会警告什么？"),
        ("他对花生过敏。", "他对什么过敏？"),
    ],
];

/// Mean cosines of a language's texts below this count as none: they change no order.
const LEAST_MEAN: f32 = 0.3;

/// A model to which all texts are the same has no scale: nothing is divided by zero.
const MAX_BASE: f32 = 0.95;

/// The share of a language's tokens that a model must know: those that it does not know look alike to it.
const LEAST_KNOWN: f32 = 0.75;

/// Answers that are hardly nearer than anything else tell no scale: nothing is divided by less.
const MIN_NEAR: f32 = 0.1;

/// Where the cosines of a model begin and end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineScale {
    /// The cosine of texts that are unrelated, under 1. It is 0 where the model's cosines are about 0 there.
    pub base: f32,
    /// The [nearness](Self::nearness) of an answer to its question.
    pub near: f32,
}

impl CosineScale {
    /// Of vectors whose model is not known: that of all-MiniLM-L6-v2 in English.
    pub const PLAIN: Self = Self { base: 0.0, near: 0.711 };

    /// A cosine on a scale where unrelated texts have 0 and equal ones 1.
    pub fn nearness(self, cosine: f32) -> f32 {
        if self.base > 0.0 { (cosine - self.base) / (1.0 - self.base) } else { cosine }
    }

    /// The cosine of a [nearness](Self::nearness).
    pub fn cosine(self, nearness: f32) -> f32 {
        self.base + nearness * (1.0 - self.base)
    }

    /// A cosine on a scale where unrelated texts have 0 and answers usually 1.
    pub fn closeness(self, cosine: f32) -> f32 {
        self.nearness(cosine) / self.near
    }
}

/// What was measured of one language that a model knows.
#[derive(Clone, Debug, PartialEq)]
struct Language {
    /// The mean vector of its texts.
    mean: Vec<f32>,
    /// Whether unrelated texts are near enough to have a base.
    has_base: bool,
    near: f32,
}

impl Language {
    /// Of questions, and of the texts that answer them, in the same order.
    fn of(questions: &[&[f32]], texts: &[&[f32]]) -> Self {
        let count = texts.len().max(1) as f32;
        let answers = questions.iter().zip(texts).map(|(question, text)| dot(question, text)).sum::<f32>();
        let all = questions.iter().flat_map(|question| texts.iter().map(|text| dot(question, text))).sum::<f32>();
        let unrelated = (all - answers) / (count * (count - 1.0).max(1.0));
        let has_base = unrelated >= LEAST_MEAN;
        let scale = CosineScale { base: if has_base { unrelated.min(MAX_BASE) } else { 0.0 }, ..CosineScale::PLAIN };
        let near = scale.nearness(answers / count).max(MIN_NEAR);
        Self { mean: mean_of(texts), has_base, near }
    }
}

/// The scale of a model's cosines, by language.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Background(Vec<Language>);

impl Background {
    /// The scale of a vector's cosines: that of the language which is nearest to it. The vector may have any length.
    pub fn scale(&self, vector: &[f32]) -> CosineScale {
        let length = dot(vector, vector).sqrt().max(f32::MIN_POSITIVE);
        let cosine = |language: &Language| dot(&language.mean, vector) / length;
        let nearest = self.0.iter().max_by(|a, b| cosine(a).total_cmp(&cosine(b)));
        nearest.map_or(CosineScale::PLAIN, |language| {
            let base = if language.has_base { cosine(language).clamp(0.0, MAX_BASE) } else { 0.0 };
            CosineScale { base, near: language.near }
        })
    }
}

impl Encoder {
    /// The scale of this model's cosines. It is measured when it is first wanted.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn background(&self) -> Result<&Background, EncoderError> {
        if let Some(measured) = self.measured_background().get() {
            return Ok(measured);
        }
        let mut languages = Vec::new();
        for pairs in TEXTS {
            let (texts, questions): (Vec<String>, Vec<String>) =
                pairs.iter().map(|&(text, question)| (text.to_owned(), question.to_owned())).unzip();
            let questions = self.embed_queries(questions, None)?.queries;
            let known = questions.iter().map(|question| question.known_share).sum::<f32>() / questions.len() as f32;
            if known < LEAST_KNOWN {
                continue;
            }
            let texts = self.embed_for(Purpose::Document, texts, Lane::Interactive)?;
            let questions: Vec<&[f32]> = questions.iter().map(|question| &*question.vector).collect();
            let texts: Vec<&[f32]> = texts.rows().collect();
            let language = Language::of(&questions, &texts);
            tracing::debug!(model = self.name(), ?language, "the scale of cosines");
            languages.push(language);
        }
        Ok(self.measured_background().get_or_init(|| Background(languages)))
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn mean_of(rows: &[&[f32]]) -> Vec<f32> {
    let mut mean: Vec<f32> = Vec::new();
    for row in rows {
        mean.resize(row.len(), 0.0);
        mean.iter_mut().zip(*row).for_each(|(sum, x)| *sum += x / rows.len() as f32);
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_counts_from_what_is_usual_in_its_language() {
        let language = |mean: &[f32], has_base, near| Language { mean: mean.to_vec(), has_base, near };
        let background = Background(vec![language(&[0.7, 0.0], true, 0.5), language(&[0.0, 0.8], true, 0.6)]);
        assert_eq!(background.scale(&[1.0, 0.0]), CosineScale { base: 0.7, near: 0.5 });
        assert_eq!(background.scale(&[0.0, 1.0]), CosineScale { base: 0.8, near: 0.6 });
        assert_eq!(background.scale(&[0.0, 3.0]), background.scale(&[0.0, 1.0]), "whatever its length");
        assert_eq!(background.scale(&[-1.0, -2.0]).base, 0.0);
        assert_eq!(Background::default().scale(&[1.0, 0.0]), CosineScale::PLAIN);
        assert_eq!(Background(vec![language(&[1.0], true, 0.5)]).scale(&[1.0]).base, MAX_BASE);
        let without = Background(vec![language(&[0.1, 0.0], false, 0.7)]);
        assert_eq!(without.scale(&[1.0, 0.0]), CosineScale { base: 0.0, near: 0.7 });
    }

    #[test]
    fn unrelated_texts_are_at_the_begin_of_a_scale_and_answers_at_one() {
        // Questions and their answers have 0.9, and others 0.6.
        let texts: [&[f32]; 2] = [&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]];
        let questions: [&[f32]; 2] = [&[0.9, 0.6, 0.0], &[0.6, 0.9, 0.0]];
        let language = Language::of(&questions, &texts);
        assert!(language.has_base && (language.near - 0.75).abs() < 1e-6, "{language:?}");
        let scale = CosineScale { base: 0.6, near: language.near };
        assert!(scale.closeness(0.6).abs() < 1e-6 && (scale.closeness(0.9) - 1.0).abs() < 1e-6);
        assert_eq!((scale.nearness(0.6), scale.nearness(1.0)), (0.0, 1.0));
        let apart = Language::of(&[&[0.7, 0.1], &[0.1, 0.7]], &[&[1.0, 0.0], &[0.0, 1.0]]);
        assert!(!apart.has_base && (apart.near - 0.7).abs() < 1e-6, "{apart:?}");
    }

    #[test]
    fn a_likeness_counts_from_the_cosine_of_unrelated_texts() {
        // MiniLM's unrelated texts have none: what is asked for is a cosine.
        assert_eq!(CosineScale::PLAIN.cosine(0.97), 0.97);
        // Two facts that E5 gives 0.9, where unrelated texts have 0.75, are no doubles, and what it gives 0.99 is.
        let scale = CosineScale { base: 0.75, ..CosineScale::PLAIN };
        let least = scale.cosine(0.95);
        assert!((least - 0.9875).abs() < 1e-6 && 0.9 < least && 0.99 > least);
        assert_eq!((scale.cosine(1.0), scale.cosine(0.0)), (1.0, 0.75));
        assert!((scale.cosine(scale.nearness(0.9)) - 0.9).abs() < 1e-6);
    }

    #[test]
    fn a_mean_is_that_of_all_rows() {
        assert_eq!(mean_of(&[&[1.0, 0.0], &[0.0, 1.0]]), [0.5, 0.5]);
    }
}
