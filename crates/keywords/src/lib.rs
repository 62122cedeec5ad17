//! What a text is about, without a language model: its keywords, and the names in it.
//!
//! Keywords of English, and of other languages with spaces, are those of YAKE (Campos et al., 2020): how words stand
//! in this one text. Chinese is cut into words by jieba, whose words are ranked by TextRank, and whose parts of
//! speech say what is a person, a place or an organisation. In English a name is what is written with a capital
//! letter where no sentence begins.
//!
//! This crate knows neither records nor models, and what it says is a guess: good enough to filter by and to show,
//! not to decide by.
//!
//! # Example
//!
//! ```
//! let found = membox_keywords::extract("We took the night train to Vienna. My cousin Otto Berg met us there.");
//! assert_eq!(found.entities, ["Vienna", "Otto Berg"]);
//! assert!(found.keywords.contains(&"night train".to_owned()));
//! ```

use jieba_rs::{Jieba, KeywordExtract, TextRank};
use std::sync::LazyLock;
use yake_rust::{Config, StopWords};

/// Keywords and names of a text, at most.
pub const MAX_TERMS: usize = 8;
/// Bytes of a text that are looked at.
const MAX_BYTES: usize = 16 << 10;
/// YAKE's scores are better the smaller they are; what is above says nothing.
const WORST_SCORE: f64 = 0.25;
/// jieba's parts of speech of names: persons, places, organisations, others.
const NAME_TAGS: [&str; 6] = ["nr", "nrt", "nrfg", "ns", "nt", "nz"];
/// Those of words that say what a text is about.
const TOPIC_TAGS: [&str; 8] = ["n", "vn", "nr", "nrt", "ns", "nt", "nz", "eng"];

/// Some 150 ms and 60 MB, which only who writes Chinese pays.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);
/// spaCy's list, under MIT. Those within yake-rust are of a package under the LGPL: docs/decisions/034.
static STOP_WORDS: LazyLock<StopWords> =
    LazyLock::new(|| StopWords::custom(include_str!("stop_words.txt").lines().map(str::to_owned).collect()));

/// What a text is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    /// The most telling words and pairs of words, in small letters, the best first.
    pub keywords: Vec<String>,
    /// Names, as they are written, in the order in which they come.
    pub entities: Vec<String>,
}

/// Finds keywords and names.
pub fn extract(text: &str) -> Keywords {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let mut found = Keywords::default();
    let (spaced, chinese) = apart(text);
    if !chinese.is_empty() {
        let tags = TOPIC_TAGS.map(str::to_owned).to_vec();
        let ranked = TextRank::default().extract_keywords(&JIEBA, &chinese, MAX_TERMS, tags);
        found.keywords.extend(ranked.into_iter().map(|keyword| keyword.keyword));
        for tagged in JIEBA.tag(&chinese, true) {
            if NAME_TAGS.contains(&tagged.tag) && tagged.word.chars().count() > 1 {
                add(&mut found.entities, tagged.word);
            }
        }
    }
    if spaced.chars().any(char::is_alphabetic) {
        let config = Config { ngrams: 2, ..Config::default() };
        for item in yake_rust::get_n_best(MAX_TERMS * 2, &spaced, &STOP_WORDS, &config) {
            // What redaction has left of a word is none.
            if item.score <= WORST_SCORE && !item.keyword.contains('*') {
                add_keyword(&mut found.keywords, &item.keyword);
            }
        }
        names(&spaced).iter().for_each(|name| add(&mut found.entities, name));
    }
    found.keywords.truncate(MAX_TERMS);
    found.entities.truncate(MAX_TERMS);
    found
}

fn add(list: &mut Vec<String>, text: &str) {
    if !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

/// Adds a keyword, unless a better one says it already.
fn add_keyword(list: &mut Vec<String>, keyword: &str) {
    let is_part = |known: &String| known.split(' ').any(|word| word == keyword);
    if !list.iter().any(|known| known == keyword || is_part(known)) {
        list.push(keyword.to_owned());
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// What has spaces between its words, and what has none.
fn apart(text: &str) -> (String, String) {
    if !text.chars().any(is_han) {
        return (text.to_owned(), String::new());
    }
    let is_chinese = |c: char| is_han(c) || matches!(c, '，' | '。' | '、' | '；' | '：' | '？' | '！');
    let (mut spaced, mut chinese) = (String::new(), String::new());
    for c in text.chars() {
        // What is cut out ends a sentence in what is left.
        if is_chinese(c) {
            chinese.push(c);
            if !spaced.ends_with(['\n', ' ']) && !spaced.is_empty() {
                spaced.push('\n');
            }
        } else {
            spaced.push(c);
            if c == '\n' {
                chinese.push('。');
            }
        }
    }
    (spaced, chinese)
}

/// Runs of words that begin with a capital letter, but for the first word of a sentence, unless it has one elsewhere
/// too.
fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    // A run that began a sentence, to be looked at again once all others are known.
    let mut at_beginnings: Vec<(usize, String)> = Vec::new();
    let mut run: Vec<&str> = Vec::new();
    let (mut begins, mut run_begins) = (true, true);
    let mut end = |run: &mut Vec<&str>, begins: bool, names: &mut Vec<String>| {
        while run.last().is_some_and(|word| word.chars().all(char::is_lowercase)) {
            run.pop();
        }
        if !run.is_empty() {
            let name = std::mem::take(run).join(" ");
            if begins { at_beginnings.push((names.len(), name)) } else { names.push(name) }
        }
    };
    for word in text.split_whitespace() {
        let plain = word.trim_matches(|c: char| !c.is_alphanumeric());
        let plain = plain.strip_suffix("'s").or(plain.strip_suffix("’s")).unwrap_or(plain);
        let is_closed = word.ends_with(|c: char| !c.is_alphanumeric());
        let opens = word.starts_with(['"', '“', '(']);
        let is_capital = plain.starts_with(char::is_uppercase) && is_name_word(plain);
        if opens && !run.is_empty() {
            end(&mut run, run_begins, &mut names);
        }
        if is_capital {
            if run.is_empty() {
                run_begins = begins;
            }
            run.push(plain);
        } else if !run.is_empty() && matches!(plain, "of" | "the" | "de" | "van" | "von" | "la") {
            run.push(plain);
        } else {
            end(&mut run, run_begins, &mut names);
        }
        if is_closed {
            end(&mut run, run_begins, &mut names);
        }
        begins = opens || word.ends_with(['.', '!', '?', ':', ';', '"', '”']) || plain.is_empty();
    }
    end(&mut run, run_begins, &mut names);
    let known = |name: &String| names.iter().any(|n| n == name || n.split(' ').any(|word| word == name));
    // Two words with capital letters are a name wherever they stand.
    let kept: Vec<(usize, String)> =
        at_beginnings.iter().filter(|(_, name)| name.contains(' ') || known(name)).cloned().collect();
    for (added, (at, name)) in kept.into_iter().enumerate() {
        names.insert(at + added, name);
    }
    names
}

/// Not the words that always have a capital letter in English and name nobody.
fn is_name_word(word: &str) -> bool {
    let others =
        ["I", "I'm", "I'll", "I've", "I'd", "I’m", "I’ll", "I’ve", "I’d", "OK", "Ok", "Oh", "Yes", "No", "Hi", "Hey"];
    word.chars().count() > 1 && !word.contains('*') && !others.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_found_wherever_they_stand_and_beginnings_of_sentences_are_none() {
        let entities = |text: &str| extract(text).entities;
        assert_eq!(entities("Planted roses today. Then I called Ida."), ["Ida"]);
        assert_eq!(entities("Ida came. I like Ida."), ["Ida"]);
        assert_eq!(
            entities("Otto Berg works for the Bank of Norway, in Oslo."),
            ["Otto Berg", "Bank of Norway", "Oslo"]
        );
        assert_eq!(entities("We saw \"Gone with the Wind\". Lena's dog, Miso, slept."), ["Gone", "Wind", "Miso"]);
        assert_eq!(entities("nothing at all"), [""; 0]);
        assert_eq!(entities("Yes! I think I'm OK."), [""; 0]);
        assert_eq!(entities("Write to Id***om or to Ida, please."), ["Ida"]);
    }

    #[test]
    fn chinese_is_cut_into_words_and_its_names_are_known() {
        let found = extract("我上周和李明一起搬到了北京，他在华为公司工作。去上海的高铁从三号站台出发。");
        assert_eq!(found.entities, ["李明", "北京", "华为公司", "上海"]);
        assert!(found.keywords.contains(&"高铁".to_owned()), "{found:?}");
        let mixed = extract("我们在上海见了 Otto Berg，然后坐高铁。");
        assert!(
            mixed.entities.contains(&"上海".to_owned()) && mixed.entities.contains(&"Otto Berg".to_owned()),
            "{mixed:?}"
        );
    }

    #[test]
    fn the_best_keywords_come_first_and_none_twice() {
        let text = "The solar panels on the roof broke. A new solar panel costs 400 euros, and solar panels last \
                    twenty years.";
        let found = extract(text).keywords;
        assert!(found[..3].iter().any(|keyword| keyword.starts_with("solar panel")), "{found:?}");
        assert!(found.len() <= MAX_TERMS);
        assert!(extract("").keywords.is_empty() && extract(" \n").keywords.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(text in "(\\PC|[A-Za-z中文 .!\n]){0,200}") {
            let found = extract(&text);
            prop_assert!(found.keywords.len() <= MAX_TERMS && found.entities.len() <= MAX_TERMS);
            prop_assert!(found.entities.iter().all(|name| !name.is_empty()));
        }
    }
}
