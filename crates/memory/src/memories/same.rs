//! Whether two texts say the same, as far as that can be told without a language model.
//!
//! They do if nothing but the way of writing tells them apart: case, blanks, forms of the same characters, quotes
//! and brackets, punctuation at the ends of words, contractions, the article, a "please". Every other word counts,
//! and so does the order of words. A cosine cannot tell a weekday, a negation or who owes whom, so texts in other
//! words are left apart: a merge that is missed costs a double, a contradiction that is joined costs a fact.

use unicode_normalization::UnicodeNormalization;

/// Words that change nothing wherever they stand.
const FILLERS: &[&str] = &["the", "uh", "uhm", "erm", "hmm", "actually", "basically"];
/// Words that change nothing at the beginning or end of a sentence.
const COURTESIES: &[&str] = &["please", "kindly"];
/// Words after which punctuation says what they belong to: "no, it is" is not "no it is".
const ANSWERS: &[&str] = &["no", "not", "yes", "never", "nope", "stop"];
/// Words whose `'s` is "is".
const WITH_IS: &[&str] = &["he", "she", "it", "that", "there", "here", "this", "what", "who", "where", "how", "when"];

/// Letters of a unit, at most: `MiB`.
const MAX_UNIT: usize = 3;

/// The end of a sentence, and of a question.
const END: &str = ".";
const QUESTION: &str = "?";

/// Whether two texts say the same.
pub(crate) fn say_the_same(a: &str, b: &str) -> bool {
    let (one, other) = (words(a), words(b));
    if one.is_empty() && other.is_empty() { a.trim() == b.trim() } else { one == other }
}

/// What a text says, without the way in which it is written.
fn words(text: &str) -> Vec<String> {
    let plain: String = text.chars().filter(|c| !is_unseen(*c)).map(plain).nfc().collect();
    let parts: Vec<&str> = plain.split_whitespace().collect();
    let mut words = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        if matches!(*part, "-" | "–" | "—") && !is_between_digits(&parts, i) {
            continue;
        }
        let word = part.trim_start_matches(is_opening);
        let word = if word.starts_with("..") { word.trim_start_matches('.') } else { word };
        let bare = word.trim_end_matches(|c| is_closing(c) || is_stop(c) || is_question(c));
        let after = &word[bare.len()..];
        push_word(bare, &mut words);
        let is_answer = words.last().is_some_and(|word| ANSWERS.contains(&word.as_str()));
        if after.contains(is_question) {
            words.push(QUESTION.to_owned());
        } else if after.contains(is_sentence_end) || (is_answer && after.contains(is_stop)) {
            words.push(END.to_owned());
        }
    }
    while words.last().is_some_and(|word| word == END) {
        words.pop();
    }
    words.dedup_by(|b, a| a == b && [END, QUESTION].contains(&a.as_str()));
    without_courtesies(words)
}

/// A word as it is compared, and those that a contraction stands for.
fn push_word(bare: &str, words: &mut Vec<String>) {
    if bare.is_empty() {
        return;
    }
    let is_unit = words.last().is_some_and(|before| before.ends_with(char::is_numeric)) && is_short(bare);
    let word = if is_of_one_case(bare) && !is_unit { bare.to_lowercase() } else { bare.to_owned() };
    if FILLERS.contains(&word.as_str()) {
        return;
    }
    let (stem, more): (&str, &str) = match word.as_str() {
        "can't" | "cannot" => ("can", "not"),
        "won't" => ("will", "not"),
        "shan't" => ("shall", "not"),
        "ain't" => ("ain't", ""),
        "let's" => ("let", "us"),
        word => match word.rsplit_once('\'') {
            Some((verb, "t")) if verb.len() > 1 && verb.ends_with('n') => (&verb[..verb.len() - 1], "not"),
            Some((stem, "m")) => (stem, "am"),
            Some((stem, "re")) => (stem, "are"),
            Some((stem, "ve")) => (stem, "have"),
            Some((stem, "ll")) => (stem, "will"),
            Some((stem, "s")) if WITH_IS.contains(&stem) => (stem, "is"),
            _ => (word, ""),
        },
    };
    words.extend([stem, more].into_iter().filter(|word| !word.is_empty()).map(str::to_owned));
}

fn without_courtesies(words: Vec<String>) -> Vec<String> {
    let ends = |word: Option<&String>| word.is_none_or(|word| word == END || word == QUESTION);
    let is_courtesy = |i: usize| {
        let before = i.checked_sub(1).and_then(|before| words.get(before));
        let is_last = ends(words.get(i + 1)) && before.is_some_and(|before| before != "to");
        COURTESIES.contains(&words[i].as_str()) && (ends(before) || is_last)
    };
    let kept: Vec<bool> = (0..words.len()).map(|i| !is_courtesy(i)).collect();
    words.into_iter().zip(kept).filter_map(|(word, is_kept)| is_kept.then_some(word)).collect()
}

/// Whether a word is of small letters, of capitals, or of small ones after a capital. What is written otherwise, or
/// has a digit in it, may be a name or a password, of which the case counts.
fn is_of_one_case(word: &str) -> bool {
    let rest = || word.chars().skip(1);
    let is_plain = |c: char| c.is_alphabetic() || c == '\'' || c == '-';
    word.chars().all(is_plain)
        && word.starts_with(char::is_alphabetic)
        && (rest().all(|c| !c.is_uppercase()) || word.chars().all(|c| !c.is_lowercase()))
}

/// Whether a word after a number may be a unit, of which the case counts: `Mb` and `MB`.
fn is_short(word: &str) -> bool {
    word.chars().count() <= MAX_UNIT && !["am", "pm"].contains(&word.to_lowercase().as_str())
}

fn is_between_digits(parts: &[&str], i: usize) -> bool {
    let digit = |c: char| c.is_numeric();
    let before = i.checked_sub(1).and_then(|before| parts.get(before));
    before.is_some_and(|part| part.ends_with(digit)) && parts.get(i + 1).is_some_and(|part| part.starts_with(digit))
}

/// Characters of full width as those of ASCII, and one form of each apostrophe, quote and hyphen.
fn plain(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => '\'',
        '\u{2010}' | '\u{2011}' | '\u{2212}' => '-',
        _ => c,
    }
}

/// Characters that are not seen. Joiners are: they make letters and emoji.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe0e}' | '\u{fe0f}')
}

fn is_opening(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '(' | '[' | '{' | '“' | '„' | '‚' | '«' | '‹' | '「' | '『' | '《' | '【' | '¿' | '¡' | '…'
    )
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '}' | '”' | '“' | '»' | '›' | '」' | '』' | '》' | '】')
}

fn is_stop(c: char) -> bool {
    is_sentence_end(c) || matches!(c, ',' | ':' | '、' | '،')
}

fn is_sentence_end(c: char) -> bool {
    matches!(c, '.' | '!' | ';' | '…' | '。' | '।' | '۔')
}

fn is_question(c: char) -> bool {
    matches!(c, '?' | '؟')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A labelled set: what is joined that is not the same costs a fact, and none may be.
    #[test]
    fn of_pairs_that_people_labelled_none_is_joined_that_differs() {
        let (mut right, mut wrong, mut missed, mut lost) = (0, Vec::new(), 0, Vec::new());
        let pairs = include_str!("same_pairs.txt").lines().filter(|line| !line.starts_with('#'));
        for line in pairs {
            let line = line.replace('␤', "\n");
            let fields: Vec<String> = line.split('\t').map(|field| field.replace('␉', "\t")).collect();
            let [kind, a, b] = fields.as_slice() else { panic!("three fields: {line:?}") };
            assert_eq!(say_the_same(a, b), say_the_same(b, a), "{a:?} {b:?}");
            match (kind.as_str(), say_the_same(a, b)) {
                ("same", true) => right += 1,
                ("same", false) => lost.push((a.clone(), b.clone(), words(a), words(b))),
                ("different", true) => wrong.push((a.clone(), b.clone(), words(a))),
                ("different", false) => right += 1,
                ("missed", false) => missed += 1,
                _ => panic!("what kind is it? {line:?}"),
            }
        }
        println!("{right} right, {} wrong, {missed} missed", wrong.len());
        assert!(wrong.is_empty(), "joined, though they differ: {wrong:#?}");
        assert!(lost.is_empty(), "not joined, though nothing differs: {lost:#?}");
        assert!(right + missed >= 200);
    }

    const NAMES: [&str; 6] = ["Alice", "Bob", "Lena", "Otto", "Paris", "London"];
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

    fn sentence() -> impl Strategy<Value = Vec<String>> {
        let word = prop_oneof![
            prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
            prop::sample::select(DAYS.to_vec()).prop_map(str::to_owned),
            "[0-9]{1,4}",
            "[b-df-hj-np-tv-z]{2,7}".prop_filter("changes nothing", |word| !FILLERS.contains(&word.as_str())),
        ];
        prop::collection::vec(word, 1..10)
    }

    proptest! {
        #[test]
        fn a_change_of_a_word_or_of_their_order_is_one(said in sentence(), at in any::<prop::sample::Index>(),
            with in any::<prop::sample::Index>(), day in 0usize..7, number in 0u32..10_000) {
            let (i, j) = (at.index(said.len()), with.index(said.len()));
            let before = said.join(" ");
            let differs = |other: Vec<String>| other == said || !say_the_same(&before, &other.join(" "));
            for new in [DAYS[day].to_owned(), number.to_string(), NAMES[day % NAMES.len()].to_owned()] {
                let mut other = said.clone();
                other[i] = new;
                prop_assert!(differs(other));
            }
            let mut swapped = said.clone();
            swapped.swap(i, j);
            prop_assert!(differs(swapped));
            for no in ["not", "no", "never", "without", "nobody", "nicht", "不"] {
                let mut other = said.clone();
                other.insert(i, no.to_owned());
                prop_assert!(differs(other));
            }
            let mut shorter = said.clone();
            shorter.remove(i);
            prop_assert!(differs(shorter));
        }

        #[test]
        fn the_way_of_writing_is_none(said in sentence(), end in "[.!…]{0,3}", blank in "[ \
            \t\n]{1,3}", quoted in any::<bool>()) {
            let before = said.join(" ");
            let mut other = said.join(&blank) + &end;
            if quoted {
                other = format!("“{other}”");
            }
            prop_assert!(say_the_same(&before, &other) && say_the_same(&other, &before), "{other:?}");
        }

        #[test]
        fn whatever_is_written_says_the_same_as_itself(text in "\\PC{0,60}", other in "\\PC{0,60}") {
            prop_assert!(say_the_same(&text, &text));
            prop_assert_eq!(say_the_same(&text, &other), say_the_same(&other, &text));
        }
    }
}
