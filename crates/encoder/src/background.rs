//! How near a question is to texts that have nothing to do with it.
//!
//! Cosines of a model such as MiniLM are about 0 where texts are unrelated. Those of models that were trained at a low
//! temperature are not: E5's are 0.73 in English and 0.83 in Chinese, and 0.85 is near there. Ethayarajh (2019) calls
//! it anisotropy. Who compares cosines with other scores must know from where on they count. It is measured with a few
//! texts of each language, for each question anew: so a question counts by what is usual in its own language.

use crate::EncoderError;
use crate::encoder::Encoder;
use crate::lanes::Lane;
use crate::prompts::Purpose;

/// Texts that have nothing to do with each other, by language.
const UNRELATED: [[&str; 8]; 2] = [
    [
        "I fixed the kitchen tap on Saturday.",
        "The committee postponed its vote on the new bridge.",
        "My daughter plays the cello in the school orchestra.",
        "Photosynthesis turns light into chemical energy.",
        "Could you send me the invoice for last month?",
        "We hiked along the coast until it began to rain.",
        "The compiler warns about unused variables.",
        "He is allergic to peanuts.",
    ],
    [
        "我周六修好了厨房的水龙头。",
        "委员会推迟了对新桥的表决。",
        "我女儿在学校乐团拉大提琴。",
        "光合作用把光转化为化学能。",
        "请把上个月的发票发给我。",
        "我们沿着海岸徒步，直到下起雨来。",
        "编译器会对未使用的变量发出警告。",
        "他对花生过敏。",
    ],
];

/// Mean cosines of a language's texts below this count as none: they change no order.
const LEAST_MEAN: f32 = 0.3;

/// A model to which all texts are the same has no scale: nothing is divided by zero.
const MAX_BASE: f32 = 0.95;

/// The share of a language's tokens that a model must know: those that it does not know look alike to it.
const LEAST_KNOWN: f32 = 0.75;

/// The mean vectors of a few unrelated texts, one of each language that a model knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Background(Vec<Vec<f32>>);

impl Background {
    /// The mean cosine of a question to unrelated texts of the language that is nearest to it; 0 where the model's
    /// cosines are about 0 there.
    pub fn base_cosine(&self, question: &[f32]) -> f32 {
        let cosine = |mean: &Vec<f32>| mean.iter().zip(question).map(|(a, b)| a * b).sum::<f32>();
        self.0.iter().map(cosine).fold(0.0, f32::max).min(MAX_BASE)
    }
}

impl Encoder {
    /// What questions are compared with that have nothing to do with a text. It is measured when it is first wanted.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn background(&self) -> Result<&Background, EncoderError> {
        if let Some(measured) = self.measured_background().get() {
            return Ok(measured);
        }
        let mut means = Vec::new();
        for texts in UNRELATED {
            let texts: Vec<String> = texts.map(str::to_owned).into();
            let queries = self.embed_queries(texts.clone(), None)?.queries;
            let known = queries.iter().map(|query| query.known_share).sum::<f32>() / queries.len() as f32;
            if known < LEAST_KNOWN {
                continue;
            }
            let documents = self.embed_for(Purpose::Document, texts, Lane::Interactive)?;
            let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let unrelated = queries.iter().enumerate().flat_map(|(i, query)| {
                let others = documents.rows().enumerate().filter(move |&(j, _)| i != j);
                others.map(move |(_, document)| cosine(&query.vector, document))
            });
            let mean = unrelated.sum::<f32>() / (queries.len() * (queries.len() - 1)) as f32;
            tracing::debug!(model = self.name(), mean, "cosine of unrelated texts");
            if mean >= LEAST_MEAN {
                means.push(mean_of(documents.rows()));
            }
        }
        Ok(self.measured_background().get_or_init(|| Background(means)))
    }
}

fn mean_of<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Vec<f32> {
    let count = rows.len().max(1) as f32;
    let mut mean: Vec<f32> = Vec::new();
    for row in rows {
        mean.resize(row.len(), 0.0);
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / count);
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_counts_from_what_is_usual_in_its_language() {
        let background = Background(vec![vec![0.7, 0.0], vec![0.0, 0.8]]);
        assert_eq!(background.base_cosine(&[1.0, 0.0]), 0.7);
        assert_eq!(background.base_cosine(&[0.0, 1.0]), 0.8);
        assert_eq!(background.base_cosine(&[-1.0, 0.0]), 0.0);
        assert_eq!(Background::default().base_cosine(&[1.0, 0.0]), 0.0);
        assert_eq!(Background(vec![vec![1.0]]).base_cosine(&[1.0]), MAX_BASE);
    }

    #[test]
    fn a_mean_is_that_of_all_rows() {
        assert_eq!(mean_of([[1.0, 0.0].as_slice(), &[0.0, 1.0]].into_iter()), [0.5, 0.5]);
    }
}
