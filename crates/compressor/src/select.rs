//! Which units are kept: by rate, by probability, or by budget; and how what is kept becomes text again.

use crate::options::CompressOptions;
use crate::percentile::{Number, percentile, token_percentile};
use crate::units::{Segment, Unit, is_latin, is_letter};
use crate::wholes::wholes;
use crate::{CompressorError, TokenCounter};
use std::cmp::Reverse;
use unicode_segmentation::UnicodeSegmentation;

/// A text under selection.
pub(crate) struct Part {
    pub text: String,
    pub units: Vec<Unit>,
    pub segments: Vec<Segment>,
    /// Whether each unit is kept.
    pub kept: Vec<bool>,
    /// Nothing of it is dropped.
    pub is_whole: bool,
    /// The context filter took it out.
    pub is_dropped: bool,
    /// Its only kept word ends before its end, or it has no words and is left out.
    is_cut: bool,
}

/// Share of the budget that is left unused at most, where the text allows.
const SLACK: f64 = 0.05;
/// Words tried one by one after the threshold is set, to use the budget up.
const MAX_TRIES: usize = 64;
/// Bytes of a whole that is never cut. What is longer is data, such as an image in base64.
const MAX_WHOLE_BYTES: usize = 8192;

impl Part {
    pub fn new(text: String, units: Vec<Unit>, segments: Vec<Segment>) -> Self {
        let kept = vec![true; units.len()];
        Self { text, units, segments, kept, is_whole: false, is_dropped: false, is_cut: false }
    }

    /// Spans of the source that are kept, units side by side joined.
    pub fn spans(&self) -> Vec<[usize; 2]> {
        if self.is_dropped {
            return Vec::new();
        }
        if self.is_whole || !self.is_cut && self.kept.iter().all(|&k| k) {
            return if self.text.is_empty() { Vec::new() } else { vec![[0, self.text.len()]] };
        }
        let mut spans: Vec<[usize; 2]> = Vec::new();
        let mut previous_kept = false;
        for (unit, &kept) in self.units.iter().zip(&self.kept) {
            match spans.last_mut() {
                Some(last) if kept && previous_kept => last[1] = unit.place.end,
                _ if kept => spans.push([unit.place.start, unit.place.end]),
                _ => {}
            }
            previous_kept = kept;
        }
        spans
    }

    /// The text that is kept. Where something was dropped in between, the white space before what follows stands;
    /// words that it would join are kept apart.
    pub fn compressed(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut end = 0;
        for (i, [start, stop]) in self.spans().into_iter().enumerate() {
            if i > 0 {
                let gap = &self.text[end..start];
                let space = &gap[gap.trim_end().len()..];
                // A letter may have marks after it.
                let last = out.graphemes(true).next_back();
                let joins = last.is_some_and(|last| last.starts_with(is_letter))
                    && self.text[start..].chars().next().is_some_and(is_letter);
                match space {
                    "" if joins || gap.contains(char::is_whitespace) => out.push(' '),
                    space => out.push_str(space),
                }
            }
            out.push_str(&self.text[start..stop]);
            end = stop;
        }
        out
    }

    fn must_stay(&self, unit: &Unit) -> bool {
        self.is_whole || self.segments.get(unit.segment).is_some_and(|s| !s.compress)
    }

    /// Keeps the likeliest unit of a text that would be left empty.
    fn never_empty(&mut self) {
        if !self.kept.contains(&true) {
            let likeliest = (0..self.units.len())
                .max_by(|&a, &b| self.units[a].probability.total_cmp(&self.units[b].probability).then(b.cmp(&a)));
            if let Some(likeliest) = likeliest {
                self.kept[likeliest] = true;
            }
        }
    }

    /// Of a force token that stands twice in a row, keeps the first.
    fn drop_consecutive(&mut self) {
        let mut previous: Option<&Unit> = None;
        for (unit, kept) in self.units.iter().zip(&mut self.kept) {
            if *kept {
                let text = |u: &Unit| &self.text[u.place.clone()];
                if unit.is_force_token && previous.is_some_and(|p| p.is_force_token && text(p) == text(unit)) {
                    *kept = false;
                } else {
                    previous = Some(unit);
                }
            }
        }
    }
}

/// Keeps in each pass of each segment the words over the percentile that leaves `rate` of its tokens: the package's
/// rule. The likeliest of what goes stays, too, if it is of several words and what is left is then nearer to the
/// rate.
pub(crate) fn by_rate(part: &mut Part, rate: f64, options: &CompressOptions, counter: TokenCounter) {
    let mut first = 0;
    while first < part.units.len() {
        let group = |u: &Unit| (u.chunk, u.segment);
        let last = (first..part.units.len())
            .find(|&i| group(&part.units[i]) != group(&part.units[first]))
            .unwrap_or(part.units.len());
        let units = &part.units[first..last];
        let rate = part.segments.get(units[0].segment).and_then(|s| s.rate).unwrap_or(rate);
        if rate < 1.0 && !part.must_stay(&units[0]) {
            let counts: Vec<usize> = units.iter().map(|u| counter.count(&part.text[u.place.clone()])).collect();
            let mut weighted = Vec::new();
            for (unit, &count) in units.iter().zip(&counts) {
                weighted.extend(std::iter::repeat_n(Number::Double(unit.probability), count));
            }
            let threshold = percentile(&weighted, token_percentile(1.0 - rate).min(100)).unwrap_or(0.0);
            for (unit, kept) in units.iter().zip(&mut part.kept[first..last]) {
                *kept = unit.probability > threshold || threshold == 1.0 && unit.probability == threshold;
            }
            // Of a whole of several words, such as a URL, all tokens go with the one at the threshold. So they do of
            // a word in another script, which has several.
            let gone = (0..units.len()).filter(|&i| !part.kept[first + i]);
            let next = gone.max_by(|&a, &b| units[a].probability.total_cmp(&units[b].probability).then(b.cmp(&a)));
            if let Some(next) = next.filter(|&i| {
                let text = &part.text[units[i].place.clone()];
                has_sign(text) || !is_latin(text)
            }) {
                let left: usize = (0..units.len()).filter(|&i| part.kept[first + i]).map(|i| counts[i]).sum();
                let wanted = rate * counts.iter().sum::<usize>() as f64;
                part.kept[first + next] = (left + counts[next]) as f64 - wanted < wanted - left as f64;
            }
        }
        first = last;
    }
    finish(part, options);
}

/// Keeps the words that are likelier than a threshold.
pub(crate) fn by_threshold(part: &mut Part, threshold: f64, options: &CompressOptions) {
    for i in 0..part.units.len() {
        part.kept[i] = part.must_stay(&part.units[i]) || part.units[i].probability > threshold;
    }
    finish(part, options);
}

fn finish(part: &mut Part, options: &CompressOptions) {
    part.never_empty();
    if options.drop_consecutive {
        part.drop_consecutive();
    }
}

/// One threshold over all parts, the lowest at which `count` of them stays within the budget; then words under it,
/// the likeliest first, as far as they fit. The budget holds whatever is forced.
pub(crate) fn by_budget(
    parts: &mut [Part],
    budget: usize,
    options: &CompressOptions,
    counter: TokenCounter,
    count: &dyn Fn(&[Part]) -> usize,
) -> Result<(), CompressorError> {
    let mut ranking: Vec<(usize, usize)> = Vec::new();
    for (p, part) in parts.iter_mut().enumerate().filter(|(_, part)| !part.is_dropped) {
        for u in 0..part.units.len() {
            let stays = part.must_stay(&part.units[u]);
            part.kept[u] = stays;
            if !stays {
                ranking.push((p, u));
            }
        }
    }
    let mut fixed = count(parts);
    if fixed > budget {
        // White space alone stays only where there is room for it.
        parts.iter_mut().filter(|p| p.units.is_empty() && !p.is_whole).for_each(|p| p.is_cut = true);
        fixed = count(parts);
    }
    if fixed > budget {
        let reason = format!("what must stay has {fixed} tokens; the budget is {budget}");
        return Err(CompressorError::impossible("target_token", reason));
    }
    // Ties in the order of the text, so that the answer is the same every time.
    ranking.sort_by_key(|&(p, u)| (Reverse(ordered(parts[p].units[u].probability)), p, u));
    let weights: Vec<usize> =
        ranking.iter().map(|&(p, u)| counter.count(&parts[p].text[parts[p].units[u].place.clone()]).max(1)).collect();
    let keep_first = |parts: &mut [Part], most: usize| {
        for (i, &(p, u)) in ranking.iter().enumerate() {
            parts[p].kept[u] = i < most;
        }
    };
    // The words' own counts tell about where the threshold is; the whole text's count decides.
    let (mut low, mut high) = (0, ranking.len());
    let mut guess = within(&weights, budget - fixed, 1.0);
    while low < high {
        let most = guess.clamp(low + 1, high);
        keep_first(parts, most);
        let found = count(parts);
        if found <= budget {
            low = most;
        } else {
            high = most - 1;
        }
        let scale = (found.saturating_sub(fixed)) as f64 / weights[..most].iter().sum::<usize>().max(1) as f64;
        let next = within(&weights, budget - fixed, scale.max(0.1));
        guess = if (low + 1..=high).contains(&next) && next != most { next } else { low + (high - low).div_ceil(2) };
    }
    keep_first(parts, low);
    if options.drop_consecutive {
        parts.iter_mut().for_each(Part::drop_consecutive);
    }
    let mut used = count(parts);
    let mut tries = 0;
    for (&(p, u), &weight) in ranking[low..].iter().zip(&weights[low..]) {
        if used as f64 >= (1.0 - SLACK) * budget as f64 && used > 0 || tries == MAX_TRIES {
            break;
        }
        if used + weight > budget + 1 {
            continue;
        }
        tries += 1;
        parts[p].kept[u] = true;
        let longer = count(parts);
        if longer <= budget {
            used = longer;
        } else {
            parts[p].kept[u] = false;
        }
    }
    if used == fixed && fixed == 0 {
        cut_a_unit(parts, &ranking, budget, count);
    }
    Ok(())
}

/// Not one unit fits: as much of the likeliest as does, of those that are no whole. These are the runs of scripts
/// without blanks, and data.
fn cut_a_unit(parts: &mut [Part], ranking: &[(usize, usize)], budget: usize, count: &dyn Fn(&[Part]) -> usize) {
    let ends_of = |&(p, u): &(usize, usize)| {
        let word = parts[p].units[u].place.clone();
        let text = &parts[p].text[word.clone()];
        let mut ends: Vec<usize> = wholes(text).into_iter().map(|whole| word.start + whole.end).collect();
        if text.len() > MAX_WHOLE_BYTES && ends.len() == 1 {
            ends = text.grapheme_indices(true).map(|(at, cluster)| word.start + at + cluster.len()).collect();
        }
        (ends.len() > 1).then_some((p, u, word, ends))
    };
    let Some((p, u, word, ends)) = ranking.iter().find_map(ends_of) else { return };
    (parts[p].kept[u], parts[p].is_cut) = (true, true);
    // Counts rise with the length but for a token here and there, and a word is short; a text without a space is not.
    let (mut low, mut high) = (0, ends.len());
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        parts[p].units[u].place.end = ends[middle - 1];
        if count(parts) <= budget {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    match low.checked_sub(1) {
        Some(last) => parts[p].units[u].place.end = ends[last],
        None => {
            parts[p].units[u].place.end = word.end;
            (parts[p].kept[u], parts[p].is_cut) = (false, false);
        }
    }
}

/// How many of the first weights, scaled, fit.
fn within(weights: &[usize], budget: usize, scale: f64) -> usize {
    let mut sum = 0.0;
    weights
        .iter()
        .position(|&w| {
            sum += w as f64 * scale;
            sum > budget as f64
        })
        .unwrap_or(weights.len())
}

/// Whether words are joined within a unit.
fn has_sign(unit: &str) -> bool {
    unit.contains(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric()) && unit.contains(char::is_alphanumeric)
}

/// A probability as a number that sorts.
fn ordered(probability: f64) -> u64 {
    probability.max(0.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_whole_at_the_threshold_stays_if_the_rate_is_then_nearer() {
        let text = "See https://a.example/some/long/path?with=many&other=tokens for it.";
        let counter = TokenCounter::by_name("cl100k_base").expect("an encoding");
        let probabilities = [0.6, 0.5, 0.4, 0.3, 0.2];
        let unit = |(place, probability): (std::ops::Range<usize>, f64)| Unit {
            place,
            probability,
            unforced: probability,
            is_force_token: false,
            chunk: 0,
            segment: 0,
        };
        let left = |rate: f64| {
            let units = wholes(text).into_iter().zip(probabilities).map(unit).collect();
            let segments = vec![Segment { place: 0..text.len(), rate: None, compress: true }];
            let mut part = Part::new(text.to_owned(), units, segments);
            by_rate(&mut part, rate, &CompressOptions::default(), counter);
            part.compressed()
        };
        assert_eq!(left(0.7), "See https://a.example/some/long/path?with=many&other=tokens");
        assert_eq!(left(0.2), "See");
    }
}
