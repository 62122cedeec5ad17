//! Where a conversation passes from one topic to the next.
//!
//! Turns are compared by their vectors. The default rule, `depth`, is TextTiling's (Hearst, 1997) over embeddings: how alike the turns before a place are
//! to those after it, how deep the valley is there, and besides how much the turns beside it sound like an ending and a beginning. `lightmem` is the rule
//! of LightMem (arXiv 2510.18866): coarse cuts from the attention that a model pays, fine ones from the cosine of neighbouring turns.

use membox_api::Cut;
use std::ops::Range;

/// Turns on either side that are compared.
const WINDOW: usize = 8;
/// A depth over which a place is a cut, and turns between two of them.
const DEPTH: f32 = 0.8;
const LEAST_TURNS: usize = 8;
/// Turns after a place that is a cut.
const LEAST_AFTER: usize = 3;
/// Characters from which on a turn counts fully: what says little says little of the topic.
const FULL_TURN: usize = 200;

/// How conversations begin and end, and how they are moved on.
pub(crate) const BEGINNINGS: [&str; 5] = [
    "Hey! Good to see you again. How have you been?",
    "Hi there, long time no talk!",
    "Okay, let's move on to the next topic.",
    "Next item on the agenda.",
    "Thank you. The next question is on another subject.",
];
pub(crate) const ENDINGS: [&str; 3] =
    ["Bye! Take care, talk to you soon.", "Thanks, see you later!", "So that's it for this point."];

/// LightMem's first threshold of the cosine, its step and its last.
const COSINES: (f32, f32, f32) = (0.2, 0.05, 0.5);
/// How far a fine cut may be from a coarse one.
const NEAR: usize = 3;

/// Vectors of [`BEGINNINGS`] and [`ENDINGS`].
pub(crate) struct Cues {
    pub beginnings: Vec<Vec<f32>>,
    pub endings: Vec<Vec<f32>>,
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-9)
}

/// Cuts by depth. `turns` are unit vectors with their lengths in characters.
pub(crate) fn by_depth(turns: &[(Vec<f32>, usize)], cues: Option<&Cues>) -> Vec<Cut> {
    let depths = depths(&likeness(turns));
    let most = |cues: &[Vec<f32>], turn: usize| cues.iter().map(|cue| cosine(cue, &turns[turn].0)).fold(0.0, f32::max);
    let score =
        |at: usize| depths[at] + cues.map_or(0.0, |cues| most(&cues.beginnings, at) + most(&cues.endings, at - 1));
    // What comes first is a beginning anyhow, and of what comes last too little is known.
    let places = LEAST_TURNS..(turns.len() + 1).saturating_sub(LEAST_AFTER);
    let mut places: Vec<Cut> = places.map(|at| Cut { at, score: score(at) }).collect();
    places.retain(|cut| cut.score > DEPTH);
    places.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.at.cmp(&b.at)));
    let mut cuts: Vec<Cut> = Vec::new();
    for place in places {
        if cuts.iter().all(|cut| cut.at.abs_diff(place.at) >= LEAST_TURNS) {
            cuts.push(place);
        }
    }
    cuts.sort_by_key(|cut| cut.at);
    cuts
}

/// Of each turn, how alike those before it are to it and those after it.
fn likeness(turns: &[(Vec<f32>, usize)]) -> Vec<f32> {
    let dimension = turns.first().map_or(0, |turn| turn.0.len());
    let sum = |range: Range<usize>| {
        let mut sum = vec![0.0; dimension];
        for (vector, length) in &turns[range] {
            let weight = (*length).min(FULL_TURN) as f32 / FULL_TURN as f32;
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * x);
        }
        sum
    };
    let of = |at: usize| match at {
        0 => 1.0,
        at => cosine(&sum(at.saturating_sub(WINDOW)..at), &sum(at..(at + WINDOW).min(turns.len()))),
    };
    (0..turns.len()).map(of).collect()
}

/// How far a place lies under the peaks to its left and right.
fn depths(likeness: &[f32]) -> Vec<f32> {
    let peak = |mut at: usize, next: &dyn Fn(usize) -> Option<usize>| {
        while let Some(beside) = next(at)
            && likeness[beside] >= likeness[at]
        {
            at = beside;
        }
        likeness[at]
    };
    let last = likeness.len().saturating_sub(1);
    let left = |at: usize| (at > 1).then(|| at - 1);
    let right = |at: usize| (at < last).then_some(at + 1);
    (0..likeness.len()).map(|at| peak(at, &left) + peak(at, &right) - 2.0 * likeness[at]).collect()
}

/// LightMem's fine cuts: where neighbouring turns are less alike than a threshold, which rises until there is one.
pub(crate) fn by_cosine(turns: &[(Vec<f32>, usize)]) -> Vec<Cut> {
    let neighbours: Vec<f32> = turns.windows(2).map(|pair| cosine(&pair[0].0, &pair[1].0)).collect();
    let (mut threshold, step, last) = COSINES;
    while threshold <= last + 1e-6 {
        let under = neighbours.iter().enumerate().filter(|(_, likeness)| **likeness < threshold);
        let cuts: Vec<Cut> = under.map(|(i, likeness)| Cut { at: i + 1, score: 1.0 - likeness }).collect();
        if !cuts.is_empty() {
            return cuts;
        }
        threshold += step;
    }
    Vec::new()
}

/// LightMem's coarse cuts: the sentences that pay the one before them more attention than their neighbours pay to theirs. `attention` is `[tokens,
/// tokens]` of all sentences in one sequence, and `sentences` their places in it.
pub(crate) fn by_attention(attention: &[f32], tokens: usize, sentences: &[Range<usize>]) -> Vec<usize> {
    // What the first and last tokens are paid says nothing of what stands there.
    let margin = if tokens >= 6 { 3 } else { tokens / 10 };
    let valid = |range: &Range<usize>| {
        let start = range.start.max(margin);
        start..range.end.min(tokens.saturating_sub(margin)).max(start)
    };
    let paid = |from: usize, to: usize| {
        let (from, to) = (valid(&sentences[from]), valid(&sentences[to]));
        let count = from.len().max(1) as f32;
        from.map(|token| attention[token * tokens..][..tokens][to.clone()].iter().sum::<f32>()).sum::<f32>() / count
    };
    let to_the_one_before = |k: usize| {
        let all: f32 = (0..=k).map(|to| paid(k + 1, to)).sum();
        if all > 0.0 { paid(k + 1, k) / all } else { 0.0 }
    };
    let signal: Vec<f32> = (0..sentences.len().saturating_sub(1)).map(to_the_one_before).collect();
    (1..signal.len().saturating_sub(1)).filter(|&k| signal[k] > signal[k - 1] && signal[k] > signal[k + 1]).collect()
}

/// LightMem's cuts: the fine ones that are near a coarse one, or all where none is; none where there is no coarse one.
pub(crate) fn by_both(coarse: &[usize], fine: Vec<Cut>) -> Vec<Cut> {
    if coarse.is_empty() {
        return Vec::new();
    }
    let near: Vec<Cut> = fine.iter().filter(|cut| coarse.iter().any(|k| k.abs_diff(cut.at) <= NEAR)).copied().collect();
    if near.is_empty() { fine } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turns(topics: &[usize]) -> Vec<(Vec<f32>, usize)> {
        let vector = |topic: &usize| (0..4).map(|i| if i == *topic { 1.0 } else { 0.05 }).collect();
        topics.iter().map(|topic| (vector(topic), 100)).collect()
    }

    #[test]
    fn depth_cuts_where_the_topic_changes_and_nowhere_else() {
        let topics = [vec![0; 12], vec![1; 10], vec![2; 12]].concat();
        let cuts: Vec<usize> = by_depth(&turns(&topics), None).iter().map(|cut| cut.at).collect();
        assert_eq!(cuts, [12, 22]);
        assert!(by_depth(&turns(&[0; 30]), None).is_empty(), "one topic");
        assert!(by_depth(&turns(&[0]), None).is_empty());
        assert!(by_depth(&[], None).is_empty());
    }

    #[test]
    fn the_threshold_of_the_cosine_rises_until_there_is_a_cut() {
        let turns = |angles: &[f32]| angles.iter().map(|a| (vec![a.cos(), a.sin()], 9)).collect::<Vec<_>>();
        let at = |cuts: Vec<Cut>| cuts.iter().map(|cut| cut.at).collect::<Vec<_>>();
        assert_eq!(at(by_cosine(&turns(&[0.0, 0.1, 1.5, 1.5]))), [2], "0.17 is under the first threshold");
        assert_eq!(at(by_cosine(&turns(&[0.0, 1.1, 1.2, 2.4]))), [3], "0.45 and 0.36: the lower one is met first");
        assert!(by_cosine(&turns(&[0.0, 1.0, 2.0])).is_empty(), "0.54 is over the last one");
    }

    #[test]
    fn attention_cuts_at_local_maxima_as_lightmem_computes_them() {
        // Five sentences of one token each between brackets of three, so that the margin hides the brackets alone.
        let tokens = 11;
        let sentences: Vec<Range<usize>> = (3..8).map(|i| i..i + 1).collect();
        let mut attention = vec![0.0f32; tokens * tokens];
        // What each pays to those before it; the share of the last is the signal: 1, 0.2, 0.6, 0.1.
        let paid: [(usize, &[f32]); 4] =
            [(4, &[0.3]), (5, &[0.4, 0.1]), (6, &[0.1, 0.1, 0.3]), (7, &[0.3, 0.3, 0.3, 0.1])];
        for (from, to) in paid {
            to.iter().enumerate().for_each(|(i, share)| attention[from * tokens + 3 + i] = *share);
        }
        assert_eq!(by_attention(&attention, tokens, &sentences), [2]);
        assert!(by_attention(&attention, tokens, &sentences[..2]).is_empty());
        assert!(by_attention(&[], 0, &[]).is_empty());
    }

    proptest! {
        /// Short sentences at the ends lie within the margin altogether.
        #[test]
        fn whatever_is_said_is_cut_within(lengths in prop::collection::vec(0usize..6, 0..12), seed in any::<u32>()) {
            let mut sentences = Vec::new();
            let mut tokens = 1;
            for length in &lengths {
                sentences.push(tokens..tokens + length);
                tokens += length;
            }
            tokens += 1;
            let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) as f32 / u32::MAX as f32;
            let attention: Vec<f32> = (0..tokens * tokens).map(noise).collect();
            let cuts = by_attention(&attention, tokens, &sentences);
            prop_assert!(cuts.iter().all(|&k| k >= 1 && k + 2 < lengths.len()));
            let turns: Vec<(Vec<f32>, usize)> = lengths.iter().enumerate().map(|(i, &n)| (vec![noise(i), noise(i + 99)], n * 40)).collect();
            for cuts in [by_depth(&turns, None), by_cosine(&turns)] {
                prop_assert!(cuts.iter().all(|cut| cut.at >= 1 && cut.at < turns.len()));
                prop_assert!(cuts.is_sorted_by_key(|cut| cut.at));
            }
        }
    }

    #[test]
    fn a_fine_cut_counts_near_a_coarse_one_and_all_do_where_none_is_near() {
        let fine = |places: &[usize]| places.iter().map(|&at| Cut { at, score: 1.0 }).collect::<Vec<_>>();
        assert_eq!(by_both(&[5], fine(&[2, 8, 12])), fine(&[2, 8]));
        assert_eq!(by_both(&[5], fine(&[12, 20])), fine(&[12, 20]));
        assert!(by_both(&[], fine(&[3])).is_empty());
        assert!(by_both(&[5], Vec::new()).is_empty());
    }
}
