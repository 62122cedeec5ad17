//! Whether two texts say the same, as far as that can be told without a language model.
//!
//! They do if nothing but the way of writing tells them apart: case, blanks, forms of the same characters, quotes and brackets, punctuation at the ends
//! of words, contractions, the article, a "please". Every other word counts, and so does the order of words. A cosine cannot tell a weekday, a negation or
//! who owes whom, so texts in other words are left apart: a merge that is missed costs a double, a contradiction that is joined costs a fact.

use unicode_normalization::UnicodeNormalization;

/// Words that change nothing wherever they stand.
const FILLERS: &[&str] = &["the", "uh", "uhm", "erm", "hmm", "actually", "basically"];
/// Words that change nothing at the beginning or end of a sentence.
const COURTESIES: &[&str] = &["please", "kindly"];
/// Words after which punctuation says what they belong to: "no, it is" is not "no it is".
const ANSWERS: &[&str] = &["no", "not", "yes", "never", "nope", "stop"];
/// Words whose `'s` is "is".
const WITH_IS: &[&str] = &["he", "she", "it", "that", "there", "here", "this", "what", "who", "where", "how", "when"];

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
    let word = if is_of_one_case(bare) { bare.to_lowercase() } else { bare.to_owned() };
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

/// Whether a word is of small letters, of capitals, or of small ones after a capital. What is written otherwise, or has a digit in it, may be a name or a
/// password, of which the case counts.
fn is_of_one_case(word: &str) -> bool {
    let rest = || word.chars().skip(1);
    let is_plain = |c: char| c.is_alphabetic() || c == '\'' || c == '-';
    word.chars().all(is_plain)
        && word.starts_with(char::is_alphabetic)
        && (rest().all(|c| !c.is_uppercase()) || word.chars().all(|c| !c.is_lowercase()))
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

    #[test]
    fn what_contradicts_does_not_say_the_same() {
        const PAIRS: &[(&str, &str)] = &[
            // Numbers, quantities, dates, times.
            ("The dentist expects Lena at 3 o'clock", "The dentist expects Lena at 4 o'clock"),
            ("The meeting is at 3:45", "The meeting is at 3.45"),
            ("It is -5 degrees", "It is 5 degrees"),
            ("It costs 1.5 million", "It costs 15 million"),
            ("It costs $5", "It costs €5"),
            ("It grew by 5%", "It grew by 5"),
            ("The room is 10²", "The room is 102"),
            ("Take two pills", "Take three pills"),
            ("The flight is on 2026-05-01", "The flight is on 2026-05-10"),
            ("Call at 8 am", "Call at 8 pm"),
            ("Call at 8am", "Call at 8pm"),
            ("The box weighs 5 kg", "The box weighs 5 g"),
            ("Pages 10-12", "Pages 10 12"),
            ("Add 5 - 3", "Add 5 3"),
            ("The key", "The keys"),
            ("Take half of it", "Take all of it"),
            ("Lena has few friends", "Lena has a few friends"),
            ("第7次", "第8次"),
            // Weekdays and months.
            ("The appointment is on Tuesday at the clinic", "The appointment is on Thursday at the clinic"),
            ("My appointment with Dr. Miller is next Monday", "My appointment with Dr. Miller is next Tuesday"),
            ("Rent is due in May", "Rent is due in June"),
            ("会议在星期一", "会议在星期二"),
            // Negation.
            ("Lena is allergic to peanuts", "Lena is not allergic to peanuts"),
            ("Lena is allergic to peanuts", "Lena isn't allergic to peanuts"),
            ("Do restart the database", "Do not restart the database"),
            ("Restart the database", "Don't restart the database"),
            ("Everybody came", "Nobody came"),
            ("Lena has a dog", "Lena has no dog"),
            ("Lena was happy", "Lena was unhappy"),
            ("Lena is a smoker", "Lena is a non-smoker"),
            ("No, it is open", "No it is open"),
            ("Lena can swim", "Lena can't swim"),
            ("She will come", "She won't come"),
            ("Either of them came", "Neither of them came"),
            ("我喜欢茶", "我不喜欢茶"),
            ("他有钱", "他没有钱"),
            ("Lena mag Tee", "Lena mag keinen Tee"),
            ("Elle est là", "Elle n'est pas là"),
            // Opposites.
            ("Turn left at the station", "Turn right at the station"),
            ("The backup key is in the left drawer", "The backup key is in the right drawer"),
            ("The valve must be open before the pump starts", "The valve must be closed before the pump starts"),
            ("Come before lunch", "Come after lunch"),
            ("Switch it on", "Switch it off"),
            ("Start the pump", "Stop the pump"),
            ("Allow the port", "Deny the port"),
            ("Buy the shares", "Sell the shares"),
            ("Coffee with sugar", "Coffee without sugar"),
            ("The answer is true", "The answer is false"),
            ("Lena likes tea", "Lena dislikes tea"),
            ("She always calls", "She never calls"),
            ("Use more salt", "Use less salt"),
            ("Enable the alarm", "Disable the alarm"),
            ("The first train", "The last train"),
            ("In the morning", "In the evening"),
            ("Drive north", "Drive south"),
            ("Lena accepted the offer", "Lena rejected the offer"),
            // Who, and who does what to whom.
            ("Alice owes Bob the deposit", "Bob owes Alice the deposit"),
            ("Sarah moved to Paris from London", "Sarah moved to London from Paris"),
            ("Lena lives in Oslo", "Otto lives in Oslo"),
            ("Lena called her brother", "Lena called his brother"),
            ("Ana llama a Luis", "A Ana llama Luis"),
            ("Lena left. Bob stayed", "Lena left Bob. Stayed"),
            ("I write C++", "I write C#"),
            ("The plan is A", "The plan is"),
            // When, and whether at all.
            ("Lena works at Acme", "Lena worked at Acme"),
            ("Lena lives in Oslo.", "Lena lives in Oslo?"),
            ("Lena may come", "Lena must come"),
            ("Lena wants to move", "Lena has to move"),
            ("They like to please", "They like to"),
            // What only case or an accent tells apart.
            ("The password is Hunter2", "The password is hunter2"),
            ("The password is aBc", "The password is abc"),
            ("Use -v", "Use -V"),
            ("mi papá", "mi papa"),
            ("👍", "👎"),
            ("...", "???"),
        ];
        assert!(PAIRS.len() >= 60);
        for (a, b) in PAIRS {
            assert!(!say_the_same(a, b), "{a:?} and {b:?}: {:?}", words(a));
        }
    }

    #[test]
    fn what_is_only_written_otherwise_says_the_same() {
        const PAIRS: &[(&str, &str)] = &[
            ("Lena keeps the spare key under the blue pot", "Lena keeps the spare key under the blue pot."),
            ("Lena likes green tea in the morning.", "Lena likes green tea in the morning!"),
            ("Under the blue pot behind the shed.", "Under the blue pot, behind the shed!"),
            ("Lena keeps the key", "  Lena\tkeeps\n the  key "),
            ("Lena keeps the key", "lena keeps the key"),
            ("Lena keeps the key", "LENA KEEPS THE KEY"),
            ("Lena's key", "Lena’s key"),
            ("Lena isn't here", "Lena is not here"),
            ("I can't swim", "I cannot swim"),
            ("We won't come", "We will not come"),
            ("I'm in Oslo", "I am in Oslo"),
            ("We've moved", "We have moved"),
            ("It's late", "It is late"),
            ("The dentist is on Tuesday", "Dentist is on Tuesday"),
            ("Please restart the server", "Restart the server, please."),
            ("It broke. Restart it.", "It broke. Please restart it!"),
            ("\"The key is here\"", "“The key is here”"),
            ("The key (blue) is here", "The key blue is here"),
            ("The cafe\u{301} is closed", "The caf\u{e9} is closed"),
            ("Room １２", "Room 12"),
            ("The key is under the pot…", "The key is under the pot..."),
            ("- The key is here", "The key is here"),
            ("The key \u{2014} the blue one", "The key, the blue one"),
            ("co\u{ad}operate", "cooperate"),
            ("我喜欢茶。", "我喜欢茶"),
            ("Is it open??", "Is it open?"),
            ("I love it ❤\u{fe0f}", "I love it ❤"),
            ("Actually, Lena lives in Oslo", "Lena lives in Oslo"),
        ];
        assert!(PAIRS.len() >= 20);
        for (a, b) in PAIRS {
            assert!(say_the_same(a, b), "{a:?} and {b:?}: {:?} {:?}", words(a), words(b));
        }
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
        fn a_change_of_a_word_or_of_their_order_is_one(said in sentence(), at in any::<prop::sample::Index>(), with in any::<prop::sample::Index>(), day in 0usize..7, number in 0u32..10_000) {
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
        fn the_way_of_writing_is_none(said in sentence(), end in "[.!…]{0,3}", blank in "[ \t\n]{1,3}", quoted in any::<bool>()) {
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
