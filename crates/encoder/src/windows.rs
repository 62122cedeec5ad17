//! Long texts in windows, so that each part and each token of them gets a vector: where they are cut, and which window
//! a token's vector is taken from.

use std::ops::Range;

/// Windows of a text. What comes after them is in no vector.
pub const MAX_WINDOWS: usize = 16;
/// Tokens of a window behind the first, unless [`MAX_WINDOWS`] of so many are too few for the text: a sentence counts
/// the less in a window's vector the more stands beside it, and all-MiniLM-L6-v2 has learned from texts of 128 tokens.
const FURTHER_TOKENS: usize = 126;
/// Tokens that two windows share where no sentence ends between them, so that each token sees what is around it.
const OVERLAP: usize = 32;

/// A part of a text that is encoded at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWindow {
    /// Its tokens.
    pub tokens: Range<usize>,
    /// Those whose vectors are taken from here: no other window owns them.
    pub owned: Range<usize>,
}

/// Cuts a text of so many tokens into windows of at most `limit` tokens, at most [`MAX_WINDOWS`] of them. The first one
/// has as many tokens as it may: its pass gives the text's vector too. The others are shorter, unless the text is very
/// long. A window ends at the last end of a sentence (`ends_sentence` of its last token) in its last third, and the
/// next one begins there. Where there is none, the two overlap, and each token belongs to the one in which it is
/// farther from an edge.
pub fn token_windows(tokens: usize, limit: usize, ends_sentence: impl Fn(usize) -> bool) -> Vec<TokenWindow> {
    let limit = limit.max(1);
    let further = further_tokens(tokens.saturating_sub(limit), limit);
    let (mut windows, mut start, mut owned) = (Vec::new(), 0, 0);
    loop {
        let is_last = windows.len() + 1 == MAX_WINDOWS;
        let limit = if windows.is_empty() || is_last { limit } else { next_tokens(tokens - start, further) };
        let end = tokens.min(start + limit);
        if end == tokens || is_last {
            windows.push(TokenWindow { tokens: start..end, owned: owned..end });
            return windows;
        }
        if let Some(last) = (end - limit / 3..end).rev().find(|&token| ends_sentence(token)) {
            let cut = last + 1;
            let own_end = if windows.is_empty() { end } else { cut };
            windows.push(TokenWindow { tokens: start..own_end, owned: owned..cut });
            (start, owned) = (cut, cut);
        } else {
            let overlap = OVERLAP.min(limit / 4);
            let middle = end - overlap / 2;
            windows.push(TokenWindow { tokens: start..end, owned: owned..middle });
            (start, owned) = (end - overlap, middle);
        }
    }
}

/// Tokens that windows behind the first have at most, where so many are left for them: a third of each may go to the
/// next one.
fn further_tokens(left: usize, limit: usize) -> usize {
    (left * 3 / 2).div_ceil(MAX_WINDOWS - 1).clamp(FURTHER_TOKENS.min(limit), limit)
}

/// Tokens of the next window: two that are left are about as long, since the vector of a few words says little.
fn next_tokens(left: usize, further: usize) -> usize {
    let half = left.div_ceil(2) + further / 6;
    if left > further && left < 2 * further { half.min(further) } else { further }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_cover_all_tokens_and_each_token_belongs_to_one(
            tokens in 0usize..5000,
            limit in 1usize..300,
            sentences in prop::collection::btree_set(0usize..5000, 0..200),
        ) {
            let windows = token_windows(tokens, limit, |token| sentences.contains(&token));
            prop_assert!(windows.len() <= MAX_WINDOWS);
            let mut next = 0;
            for window in &windows {
                prop_assert!(window.tokens.len() <= limit);
                prop_assert_eq!(window.owned.start, next, "no token is left out or owned twice");
                prop_assert!(window.tokens.start <= window.owned.start && window.owned.end <= window.tokens.end);
                prop_assert!(tokens == 0 || !window.owned.is_empty());
                next = window.owned.end;
            }
            prop_assert_eq!(windows[0].tokens.clone(), 0..tokens.min(limit));
            prop_assert!(next == tokens || windows.len() == MAX_WINDOWS);
            for pair in windows.windows(2) {
                let cut = pair[0].owned.end;
                let is_sentence_end = sentences.contains(&(cut - 1)) && pair[1].tokens.start == cut;
                // From the edge of the window that is left, and from that of the window that is entered.
                let (before, after) = (pair[0].tokens.end - cut, cut - pair[1].tokens.start);
                prop_assert!(is_sentence_end || before.abs_diff(after) <= 1, "{before} and {after} to the edges");
            }
        }
    }

    #[test]
    fn a_window_ends_with_a_sentence_or_overlaps_the_next() {
        let window = |tokens, owned| TokenWindow { tokens, owned };
        assert_eq!(token_windows(254, 254, |_| true), [window(0..254, 0..254)], "what fits is not cut");
        let at = |end| move |token| token + 1 == end || token == 20;
        assert_eq!(
            token_windows(300, 254, at(200)),
            [window(0..254, 0..200), window(200..300, 200..300)],
            "the first window is as long as it may be"
        );
        assert_eq!(token_windows(340, 254, at(100)), [window(0..254, 0..238), window(222..340, 238..340)]);
        assert_eq!(
            token_windows(400, 254, |token| token == 199 || token == 309),
            [window(0..254, 0..200), window(200..310, 200..310), window(310..400, 310..400)],
            "those behind it are shorter"
        );
    }

    #[test]
    fn windows_grow_before_the_end_of_a_text_is_left_out() {
        let longest = |tokens| token_windows(tokens, 254, |_| false).iter().skip(1).map(|w| w.tokens.len()).max();
        assert_eq!((longest(1000), longest(5000)), (Some(126), Some(254)));
        for tokens in (300..3000).step_by(7) {
            for every in [1, 10, 60, usize::MAX] {
                let windows = token_windows(tokens, 254, |token| (token + 1).is_multiple_of(every));
                let last = windows.last().expect("one at least");
                assert_eq!(last.owned.end, tokens, "with sentences of {every} tokens");
                assert!(last.tokens.len() >= 42, "{windows:?}");
            }
        }
    }
}
