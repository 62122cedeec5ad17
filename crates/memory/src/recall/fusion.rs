//! From the scores of the two legs to one ranking.
//!
//! The legs are joined by their scores, each divided by its best, because ranks forget how far apart two hits are. The
//! vector leg counts as far as the model knows the language of the question. A record gets some more that was said by
//! somebody whom the question names. What each step gives is in docs/decisions/043. A cosine counts from that of
//! unrelated texts on: docs/decisions/047.

use membox_api::{Fusion, PartName, ScorePart};
use membox_encoder::CosineScale;
use membox_store::{Metric, RecordRef};
use membox_threads::budget::{self, Cancelled};

/// What a record gets that was said by, or is about, somebody whom the question names. Who asks in the first person
/// names users: they have spoken of "my sister", and an assistant only of what it was told.
const NAMED: f32 = 0.2;

/// What a record gets that is of the time that the question speaks of.
const OF_TIME: f32 = 0.2;

/// What a record loses that only asks: it has the words of the question, and what follows it the answer.
const ASKING: f32 = 0.1;

/// What a cosine loses each time that it is the best of e times as many, where nothing but the vector speaks: among
/// many windows one is near by chance.
const WINDOW_PENALTY: f32 = 0.02;

/// How far the words of a long text raise what its vector counts, where they say more: the vector of a window says
/// little of one sentence among many.
const WORDS_OF_LONG: f32 = 0.5;

/// How what a model says of a question is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// How well the model knows the language of the question, 0 to 1.
    pub fluency: f32,
    /// Where its cosines begin and end.
    pub scale: CosineScale,
    /// What the scores of vectors are.
    pub scores: ScoreKind,
}

/// What the score of a vector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScoreKind {
    /// A cosine, or an inner product, which that of vectors of length 1 is.
    Product,
    /// The distance of vectors as a model makes them, of length 1.
    UnitDistance,
    /// Any distance.
    Distance,
}

impl ScoreKind {
    /// Of a collection that compares so, whose vectors a model makes or callers give.
    pub fn of(metric: Metric, has_model: bool) -> Self {
        match (metric, has_model) {
            (Metric::Cosine | Metric::InnerProduct, _) => Self::Product,
            (Metric::Euclidean, true) => Self::UnitDistance,
            (Metric::Euclidean, false) => Self::Distance,
        }
    }

    /// What counts as the cosine of a score. Vectors of length 1 whose distance is d have the cosine 1 − d² / 2; any
    /// others only get less the further they are apart.
    fn cosine(self, score: f32) -> f32 {
        match self {
            Self::Product => score,
            Self::UnitDistance => (1.0 - score * score / 2.0).max(-1.0),
            Self::Distance => 1.0 / (1.0 - score),
        }
    }
}

impl Reading {
    /// Of a model that knows the question, and whose cosines are about 0 where texts are unrelated.
    pub const PLAIN: Self = Self { fluency: 1.0, scale: CosineScale::PLAIN, scores: ScoreKind::Product };

    /// A score on a scale where unrelated texts have 0 and equal ones 1.
    pub fn nearness(self, score: f32) -> f32 {
        self.scale.nearness(self.scores.cosine(score))
    }

    /// A score on a scale where unrelated texts have 0 and answers usually 1.
    pub fn closeness(self, score: f32) -> f32 {
        self.scale.closeness(self.scores.cosine(score))
    }
}

/// A record that was found, with what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate<R = RecordRef> {
    pub record: R,
    /// What the metric says.
    pub vector: Option<f32>,
    /// BM25.
    pub text: Option<f32>,
    /// Whether the question names who said it, or whom it is about.
    pub is_named: bool,
    /// Whether the question is in the first person, and a user said it.
    pub is_askers: bool,
    /// Whether it is of the time that the question speaks of.
    pub is_of_time: bool,
    /// How far it only asks, 0 to 1.
    pub asking: f32,
    /// How many vectors it has, one of which is the nearest.
    pub windows: usize,
}

/// A record with its score and what that is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fused<R = RecordRef> {
    pub record: R,
    pub score: f32,
    pub vector: Option<f32>,
    pub text: Option<f32>,
    pub is_named: bool,
    /// MaxSim, where it was compared.
    pub tokens: Option<f32>,
    /// They add up to the score.
    pub parts: Vec<ScorePart>,
    /// Which of the questions found it best.
    pub question: usize,
}

impl<R> Fused<R> {
    /// A record that was found by its vector alone.
    pub fn by_vector(candidate: Candidate<R>, reading: Reading) -> Self {
        let cosine = candidate.vector.unwrap_or_default();
        let penalty = WINDOW_PENALTY * (1.0 - reading.scale.base) * (candidate.windows.max(1) as f32).ln();
        let mut fused = Self::of_one(candidate, PartName::Vector, cosine - penalty);
        fused.parts[0].value = cosine;
        fused
    }

    /// A record with a score of one part.
    pub fn of_one(candidate: Candidate<R>, part: PartName, score: f32) -> Self {
        let Candidate { record, vector, text, is_named, .. } = candidate;
        let parts = vec![ScorePart { part, value: score, score }];
        Self { record, score, vector, text, is_named, tokens: None, parts, question: 0 }
    }

    /// Adds a part to the score.
    pub fn add(&mut self, part: PartName, value: f32, score: f32) {
        self.parts.push(ScorePart { part, value, score });
        self.score += score;
    }

    /// Takes what a cross-encoder says in the place of all else.
    pub fn set_cross_encoder(&mut self, value: f32, score: f32) {
        self.parts = vec![ScorePart { part: PartName::CrossEncoder, value, score }];
        self.score = score;
    }

    /// Adds what late interaction says.
    pub fn add_tokens(&mut self, score: f32) {
        self.add(PartName::Tokens, self.tokens.unwrap_or_default(), score);
    }
}

/// Sorts by score, the best first; of two that are equal the older one.
pub(crate) fn sort<R: Ord>(fused: &mut [Fused<R>]) {
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.record.cmp(&b.record)));
}

/// Joins candidates, best first.
pub(crate) fn fuse<R: Copy + Ord>(
    fusion: Fusion,
    reading: Reading,
    candidates: impl IntoIterator<Item = Candidate<R>>,
) -> Vec<Fused<R>> {
    let candidates: Vec<Candidate<R>> = candidates.into_iter().collect();
    let mut fused = match fusion {
        Fusion::Scores { vector_weight } => by_scores(vector_weight, reading, &candidates),
        Fusion::Rrf { constant } => by_ranks(constant, &candidates),
    };
    sort(&mut fused);
    fused
}

fn by_scores<R: Copy>(vector_weight: f32, reading: Reading, candidates: &[Candidate<R>]) -> Vec<Fused<R>> {
    let nearness = |c: &Candidate<R>| c.vector.map(|cosine| reading.nearness(cosine));
    let best_vector = candidates.iter().filter_map(nearness).fold(0f32, f32::max);
    let best_text = candidates.iter().filter_map(|c| c.text).fold(0f32, f32::max);
    // A leg that found nothing leaves the other its whole weight.
    let (vector_weight, text_weight) = match (best_vector > 0.0, best_text > 0.0) {
        (true, true) => (vector_weight * reading.fluency, 1.0 - vector_weight),
        (true, false) => (1.0, 0.0),
        _ => (0.0, 1.0),
    };
    let share = |score: Option<f32>, best: f32| if best > 0.0 { score.unwrap_or(0.0) / best } else { 0.0 };
    let weighed = |c: &Candidate<R>| {
        let (mut near, words) = (share(nearness(c), best_vector), share(c.text, best_text));
        if c.windows > 1 {
            near += WORDS_OF_LONG * (words - near).max(0.0);
        }
        let (vector, words) = (vector_weight * near, text_weight * words);
        let named = if c.is_named || c.is_askers { NAMED } else { 0.0 };
        [vector, words, named, if c.is_of_time { OF_TIME } else { 0.0 }, -ASKING * c.asking]
    };
    let best = candidates.iter().map(|c| weighed(c).iter().sum()).fold(0f32, f32::max);
    let scale = if best > 0.0 { 1.0 / best } else { 1.0 };
    let fused = |c: &Candidate<R>| {
        let [vector, words, named, of_time, asked] = weighed(c);
        let Candidate { record, vector: cosine, text, is_named, is_askers, is_of_time, asking, .. } = *c;
        let mut fused = Fused {
            record,
            score: 0.0,
            vector: cosine,
            text,
            is_named,
            tokens: None,
            parts: Vec::with_capacity(4),
            question: 0,
        };
        if let Some(cosine) = cosine {
            fused.add(PartName::Vector, cosine, scale * vector);
        }
        if let Some(text) = text {
            fused.add(PartName::Words, text, scale * words);
        }
        if is_named || is_askers {
            fused.add(PartName::Name, 1.0, scale * named);
        }
        if is_of_time {
            fused.add(PartName::Time, 1.0, scale * of_time);
        }
        if asking > 0.0 {
            fused.add(PartName::Question, asking, scale * asked);
        }
        fused
    };
    candidates.iter().map(fused).collect()
}

fn by_ranks<R: Copy + Ord>(constant: f32, candidates: &[Candidate<R>]) -> Vec<Fused<R>> {
    let mut scores = vec![0.0; candidates.len()];
    for leg in [(|c: &Candidate<R>| c.vector) as fn(&Candidate<R>) -> Option<f32>, |c| c.text] {
        let mut ranked: Vec<usize> = (0..candidates.len()).filter(|&i| leg(&candidates[i]).is_some()).collect();
        ranked.sort_by(|&a, &b| {
            leg(&candidates[b])
                .unwrap_or_default()
                .total_cmp(&leg(&candidates[a]).unwrap_or_default())
                .then(candidates[a].record.cmp(&candidates[b].record))
        });
        for (rank, i) in ranked.into_iter().enumerate() {
            scores[i] += 1.0 / (constant + rank as f32 + 1.0);
        }
    }
    candidates.iter().zip(scores).map(|(&c, score)| Fused::of_one(c, PartName::Ranks, score)).collect()
}

/// Reorders hits by maximal marginal relevance (Carbonell and Goldstein, 1998): each next hit is the one with the best
/// `lambda · score − (1 − lambda) · likeness to what is chosen already`. That is the cosine of two hits on the scale of
/// the chosen one. Gives positions in `scores`, at most `k`.
pub(crate) fn marginal_relevance(
    scores: &[f32],
    cosine: impl Fn(usize, usize) -> f32,
    scales: &[CosineScale],
    lambda: f32,
    k: usize,
) -> Result<Vec<usize>, Cancelled> {
    let mut left: Vec<usize> = (0..scores.len()).collect();
    let mut nearest = vec![0f32; scores.len()];
    let mut chosen = Vec::new();
    while chosen.len() < k && !left.is_empty() {
        budget::check()?;
        let value = |i: usize| lambda * scores[i] - (1.0 - lambda) * nearest[i];
        let (at, next) = left
            .iter()
            .copied()
            .enumerate()
            .fold((0, left[0]), |best, (at, i)| if value(i) > value(best.1) { (at, i) } else { best });
        left.remove(at);
        for &i in &left {
            nearest[i] = nearest[i].max(scales[next].nearness(cosine(i, next)));
        }
        chosen.push(next);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a model that does not know the language.
    const FOREIGN: Reading = Reading { fluency: 0.0, ..Reading::PLAIN };

    fn candidate((record, vector, text): (u32, Option<f32>, Option<f32>)) -> Candidate<u32> {
        Candidate {
            record,
            vector,
            text,
            is_named: false,
            is_askers: false,
            is_of_time: false,
            asking: 0.0,
            windows: 1,
        }
    }

    fn records(fused: &[Fused<u32>]) -> Vec<u32> {
        fused.iter().map(|f| f.record).collect()
    }

    #[test]
    fn a_leg_without_hits_leaves_the_other_its_order() {
        let rows = |fusion, c: &[(u32, Option<f32>, Option<f32>)]| {
            records(&fuse(fusion, Reading::PLAIN, c.iter().copied().map(candidate)))
        };
        for fusion in [Fusion::default(), Fusion::Rrf { constant: 60.0 }] {
            assert_eq!(rows(fusion, &[(1, Some(0.2), None), (2, Some(0.9), None)]), [2, 1]);
            assert_eq!(rows(fusion, &[(1, None, Some(3.0)), (2, None, Some(2.0))]), [1, 2]);
        }
        assert_eq!(
            rows(Fusion::default(), &[(1, Some(0.5), Some(1.0)), (2, Some(1.0), Some(0.9)), (3, Some(0.1), None)]),
            [2, 1, 3]
        );
    }

    #[test]
    fn a_model_counts_as_far_as_it_knows_the_language() {
        let both = [(1, Some(0.9), Some(1.0)), (2, Some(0.1), Some(1.2))].map(candidate);
        assert_eq!(records(&fuse(Fusion::default(), Reading::PLAIN, both)), [1, 2]);
        assert_eq!(records(&fuse(Fusion::default(), FOREIGN, both)), [2, 1]);
        let near = [(1, Some(0.1), None), (2, Some(0.9), None)].map(candidate);
        assert_eq!(records(&fuse(Fusion::default(), FOREIGN, near)), [2, 1], "where nothing else speaks, it does");
    }

    #[test]
    fn a_cosine_counts_from_that_of_unrelated_texts_on() {
        // The first is near as unrelated texts are, and has somewhat more of the words.
        let both = [(1, Some(0.75), Some(1.0)), (2, Some(0.90), Some(0.7))].map(candidate);
        assert_eq!(records(&fuse(Fusion::default(), Reading::PLAIN, both)), [1, 2]);
        let reading = Reading { scale: CosineScale { base: 0.75, ..CosineScale::PLAIN }, ..Reading::PLAIN };
        let fused = fuse(Fusion::default(), reading, both);
        assert_eq!(records(&fused), [2, 1]);
        assert_eq!(fused[0].vector, Some(0.90), "what is shown is the cosine");
        for f in &fused {
            assert!((f.parts.iter().map(|part| part.score).sum::<f32>() - f.score).abs() < 1e-6, "{f:?}");
        }
    }

    #[test]
    fn a_distance_counts_as_the_cosine_of_vectors_of_length_1() {
        let near = |scores, score| Reading { scores, ..Reading::PLAIN }.nearness(score);
        for (score, wanted) in [(0.0, 1.0), (-(2f32.sqrt()), 0.0), (-2.0, -1.0), (-9.0, -1.0)] {
            assert!((near(ScoreKind::UnitDistance, score) - wanted).abs() < 1e-6, "{score}");
        }
        assert_eq!([0.0, -1.0, -3.0].map(|score| near(ScoreKind::Distance, score)), [1.0, 0.5, 0.25]);
        let both = [(1, Some(-0.2), Some(1.0)), (2, Some(-1.4), Some(0.3)), (3, Some(-0.1), None)].map(candidate);
        let reading = Reading { scores: ScoreKind::of(Metric::Euclidean, true), ..Reading::PLAIN };
        assert_eq!(records(&fuse(Fusion::default(), reading, both)), [1, 3, 2]);
    }

    #[test]
    fn by_the_vector_alone_the_best_of_many_windows_is_near_by_chance() {
        let mut both = [(1, Some(0.60), None), (2, Some(0.58), None)].map(candidate);
        both[0].windows = 4;
        let [many, one] = both.map(|c| Fused::by_vector(c, Reading::PLAIN));
        assert!(many.score < one.score && many.vector == Some(0.60), "{many:?} {one:?}");
        assert_eq!(records(&fuse(Fusion::default(), Reading::PLAIN, both)), [1, 2], "elsewhere others speak too");
    }

    #[test]
    fn who_asks_in_the_first_person_finds_what_users_said() {
        let mut both = [(1, Some(0.60), None), (2, Some(0.58), None)].map(candidate);
        both[1].is_askers = true;
        let fused = fuse(Fusion::default(), Reading::PLAIN, both);
        assert_eq!(records(&fused), [2, 1]);
        assert!(!fused[0].is_named, "it says nothing of how relevant it is");
    }

    #[test]
    fn what_only_asks_comes_after_what_tells_as_much() {
        let mut both = [(1, Some(0.60), Some(1.0)), (2, Some(0.58), Some(0.95))].map(candidate);
        both[0].asking = 1.0;
        let fused = fuse(Fusion::default(), Reading::PLAIN, both);
        assert_eq!(records(&fused), [2, 1]);
        for f in &fused {
            assert!((f.parts.iter().map(|part| part.score).sum::<f32>() - f.score).abs() < 1e-6, "{f:?}");
        }
        both[1].vector = Some(0.3);
        assert_eq!(records(&fuse(Fusion::default(), Reading::PLAIN, both)), [1, 2], "and before what tells less");
    }

    #[test]
    fn words_speak_for_a_long_text_where_its_vector_says_less() {
        let mut both = [(1, Some(0.4), Some(1.0)), (2, Some(1.0), Some(0.45))].map(candidate);
        assert_eq!(records(&fuse(Fusion::default(), Reading::PLAIN, both)), [2, 1]);
        both[0].windows = 4;
        assert_eq!(records(&fuse(Fusion::default(), Reading::PLAIN, both)), [1, 2]);
    }

    #[test]
    fn who_is_named_in_the_question_comes_first_and_parts_add_up_to_the_score() {
        let mut said = [(1, Some(0.8), Some(1.0)), (2, Some(0.8), Some(0.9))].map(candidate);
        said[1].is_named = true;
        let fused = fuse(Fusion::default(), Reading::PLAIN, said);
        assert_eq!((records(&fused), fused[0].score), (vec![2, 1], 1.0));
        for f in &fused {
            assert!((f.parts.iter().map(|part| part.score).sum::<f32>() - f.score).abs() < 1e-6, "{f:?}");
        }
    }

    #[test]
    fn marginal_relevance_passes_over_near_doubles() {
        let cosine = |a: usize, b: usize| if a + b == 1 { 0.99 } else { 0.1 };
        let order = |lambda| marginal_relevance(&[1.0, 0.98, 0.8], cosine, &[CosineScale::PLAIN; 3], lambda, 2);
        assert_eq!((order(0.5), order(1.0)), (Ok(vec![0, 2]), Ok(vec![0, 1])));
    }

    #[test]
    fn marginal_relevance_counts_from_the_cosine_of_unrelated_texts() {
        let cosine = |a: usize, b: usize| if a + b == 1 { 0.99 } else { 0.77 };
        let order = |base| {
            let scale = CosineScale { base, ..CosineScale::PLAIN };
            marginal_relevance(&[1.0, 0.98, 0.8], cosine, &[scale; 3], 0.8, 2)
        };
        // 0.77 is somewhat alike by a model whose unrelated texts have 0, and says nothing by one where they have 0.75.
        assert_eq!((order(0.0), order(0.75)), (Ok(vec![0, 1]), Ok(vec![0, 2])));
    }
}
