//! Texts joined within a budget, counted as they are added: however many there are, each is counted once.

use membox_compressor::TokenCounter;

/// Tokens that a join saves at most against what both parts count alone and the line break: that, and blanks around
/// it, may become part of a neighbouring token.
const JOIN_SAVES: usize = 3;
/// How often the whole is counted again for a text that fits or not by a few tokens.
const MAX_RECOUNTS: usize = 64;

/// Texts with a line break between them.
pub(super) struct JoinedTexts {
    counter: TokenCounter,
    text: String,
    /// Lengths of `text` before each of its parts.
    before: Vec<usize>,
    /// Tokens of `text`, or a few more: what each part counts alone, and the line breaks.
    tokens: usize,
    /// Parts since `tokens` was counted as a whole.
    joins: usize,
    recounts: usize,
}

impl JoinedTexts {
    pub fn new(counter: TokenCounter) -> Self {
        Self { counter, text: String::new(), before: Vec::new(), tokens: 0, joins: 0, recounts: 0 }
    }

    /// Adds a text if all have at most `budget` tokens with it; whether it was added.
    pub fn push_within(&mut self, text: &str, budget: usize) -> bool {
        let length = self.text.len();
        let is_first = self.text.is_empty();
        let tokens = self.tokens + self.counter.count(text) + usize::from(!is_first);
        let joins = self.joins + usize::from(!is_first);
        let is_near = tokens > budget && tokens <= budget.saturating_add(JOIN_SAVES * joins);
        if tokens > budget && !(is_near && self.recounts < MAX_RECOUNTS) {
            return false;
        }
        if !is_first {
            self.text.push('\n');
        }
        self.text.push_str(text);
        if is_near {
            self.recounts += 1;
            let exact = self.counter.count(&self.text);
            if exact > budget {
                self.text.truncate(length);
                return false;
            }
            (self.tokens, self.joins) = (exact, 0);
        } else {
            (self.tokens, self.joins) = (tokens, joins);
        }
        self.before.push(length);
        true
    }

    /// The text, its tokens, and how many of the last parts it is without: a tokenizer may make more of a whole than
    /// of its parts.
    pub fn finish(mut self, budget: usize) -> (String, usize, usize) {
        let parts = self.before.len();
        loop {
            let tokens = self.counter.count(&self.text);
            match self.before.pop() {
                Some(length) if tokens > budget => self.text.truncate(length),
                _ if tokens > budget => return (String::new(), 0, parts),
                Some(_) => return (self.text, tokens, parts - self.before.len() - 1),
                None => return (self.text, tokens, parts),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What counting the whole for each text gives, which takes as long as the square of it.
        #[test]
        fn it_joins_what_counting_the_whole_each_time_joins(
            texts in prop::collection::vec("[ a-zé。!?.\\n]{0,12}", 0..20),
            budget in 0usize..60,
        ) {
            let counter = TokenCounter::by_name("cl100k_base").expect("an encoding");
            let (mut whole, mut tokens, mut taken) = (String::new(), 0, Vec::new());
            let mut joined = JoinedTexts::new(counter);
            for text in &texts {
                let longer = if whole.is_empty() { text.clone() } else { format!("{whole}\n{text}") };
                let count = counter.count(&longer);
                let fits = count <= budget;
                if fits {
                    (whole, tokens) = (longer, count);
                }
                taken.push(fits);
                prop_assert_eq!(joined.push_within(text, budget), fits);
            }
            prop_assert_eq!(joined.finish(budget), (whole, tokens, 0));
        }
    }
}
