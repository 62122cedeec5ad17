use super::*;
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

#[test]
fn english_is_stemmed_and_freed_of_stop_words() {
    assert_eq!(query_terms("Where did Melanie's dogs go running?"), ["dog", "go", "melani", "run"]);
    assert_eq!(query_terms("who are you"), ["are", "who", "you"], "a query of stop words keeps them");
    assert_eq!(query_terms("I don't think she'll come"), ["come", "think"]);
    assert_eq!(query_terms("The Who"), ["the", "who"]);
    assert_eq!(query_terms("May"), ["may"]);
    assert_eq!(query_terms("vitamin D"), ["d", "vitamin"]);
}

#[test]
fn signs_accents_and_emoji_make_terms() {
    assert_eq!(query_terms("C++ or C#?"), ["c#", "c++"]);
    assert_eq!(query_terms("cafés"), query_terms("CAFE"));
    assert_eq!(query_terms("party 🎉"), ["parti", "🎉"]);
    assert_eq!(query_terms("#tag"), ["#tag", "tag"]);
    assert!(query_terms("??? …").is_empty());
}

#[test]
fn a_question_without_blanks_asks_for_its_words_and_their_characters() {
    let asked = |question: &str| query_terms(question).join(" ");
    assert_eq!(asked("他们用GPT-4写代码"), "4 gpt 代 代码 写 写代 码", "not for stop words (他们, 用)");
    assert_eq!(asked("那个对青霉素过敏的人是谁？"), "敏 素 素过 过 过敏 霉 霉素 青 青霉 青霉素");
    assert_eq!(asked("那个"), "个 那 那个", "stop words are asked for where there is nothing else");
    assert_eq!(asked("京"), "京", "a single character is a term");
    assert_eq!(asked("한국"), "한국");
    assert_eq!(asked("ＡＢＣ１２３"), "abc123", "full-width forms are folded");
    let has = |text: &str, term: &str| terms(text).iter().any(|t| t.text == term);
    assert!(has("北京", "京") && has("我对青霉素过敏", "青霉素") && has("ฉันรักกรุงเทพ", "กรุง"));
}

#[test]
fn a_part_of_a_word_has_the_term_of_the_whole() {
    let text = "Caroline's pottery, 青霉素!";
    let at = |part: &str| text.find(part).map(|from| from..from + part.len()).expect("a part");
    let found = terms_at(text, &[at("Caro"), at("line"), at("tery"), at(","), at("霉"), at("!")]);
    let found: Vec<Option<&str>> = found.iter().map(|term| term.as_ref().map(|term| term.text.as_str())).collect();
    assert_eq!(found, [Some("carolin"), Some("carolin"), Some("potteri"), None, Some("霉"), None]);
}

/// As SentencePiece cuts them.
#[test]
fn a_token_that_begins_with_a_blank_or_has_several_words_has_a_term() {
    let text = "When did Caroline leave 我对青霉素过敏";
    let at = |part: &str| text.find(part).map(|start| start..start + part.len()).expect("a part");
    let found = terms_at(text, &[at("When"), at(" Caro"), at("line"), at(" leave"), at(" "), at("青霉素"), at("过敏")]);
    let found: Vec<Option<&str>> = found.iter().map(|term| term.as_ref().map(|term| term.text.as_str())).collect();
    let wanted = [Some("when"), Some("carolin"), Some("carolin"), Some("leav"), None, Some("青霉素"), Some("过敏")];
    assert_eq!(found, wanted);
}

#[test]
fn a_question_finds_the_texts_that_have_its_words_and_no_others() {
    const CASES: &[(&str, &str, bool)] = &[
        // Stop words, names and letters.
        ("We fly to Lisbon in May", "May Lisbon", true),
        ("We fly to Lisbon in June", "May Lisbon", false),
        ("Will is coming to Lisbon", "Will Lisbon", true),
        ("We are coming to Lisbon", "Will Lisbon", false),
        ("vitamin D and milk", "vitamin D", true),
        ("vitamin B and milk", "vitamin D", false),
        ("I'd take a vitamin", "vitamin D", false),
        ("Don is here", "Don", true),
        ("I don't know", "Don", false),
        ("I don’t know", "don't", true),
        ("We do know", "don't", false),
        ("The Who played", "The Who", true),
        ("They played", "The Who", false),
        ("Yes, no, maybe", "no", true),
        ("Yes, maybe", "no", false),
        ("Room 5", "5", true),
        ("Room 55", "5", false),
        // Forms of words.
        ("She keeps it under the pots", "pot", true),
        ("Melanie ran", "Melanie's", true),
        ("Melanie's dog", "Melanie", true),
        ("John'll come", "John", true),
        ("We'll come", "we", true),
        ("O'Brien came", "O'Brien", true),
        ("l'homme", "homme", true),
        // Signs.
        ("I write C++ code", "C++", true),
        ("I write C# code", "C++", false),
        ("I write C code", "C++", false),
        ("I write C# code", "C#", true),
        ("I write C++ code", "C#", false),
        ("I write C++ code", "C", false),
        ("I write C code.", "C", true),
        ("C++17 is out", "C++", true),
        ("F# (functional)", "f#", true),
        ("made with .NET", ".NET", true),
        ("the net is down", ".NET", false),
        ("made with .NET", "net", true),
        ("runs on Node.js", "node.js", true),
        ("a node and some js", "node.js", false),
        ("ask @lena", "@lena", true),
        ("ask lena", "@lena", false),
        ("ask @lena", "lena", true),
        ("lena@example.org", "@example", false),
        ("lena@example.org", "lena@example.org", true),
        ("a #tag", "#tag", true),
        ("a tag", "#tag", false),
        ("serotonin is 5-HT", "5-HT", true),
        ("5 people at HT", "5-HT", false),
        ("R&D costs", "R&D", true),
        ("at 3:45", "3:45", true),
        ("at 3 or 45", "3:45", false),
        ("it grew 1,000 times", "1,000", true),
        ("costs 5 €", "€", true),
        ("costs 5", "€", false),
        ("costs $100", "$100", true),
        ("costs 100 €", "100€", true),
        ("100 apples for $5", "$100", false),
        ("100% of it", "100%", true),
        ("100 of 5%", "100%", false),
        ("at -5 degrees", "-5", true),
        ("at 5 degrees", "-5", false),
        ("at -5 degrees", "5", true),
        ("on 2026-05-01", "2026-05-01", true),
        ("on 2026-01-05", "2026-05-01", false),
        ("H₂O", "h2o", true),
        ("Lisbon,May", "May", true),
        // Emoji.
        ("party 🎉", "🎉", true),
        ("party", "🎉", false),
        ("party🎉🎂", "🎂", true),
        ("good 👍🏽", "👍", true),
        ("good 👍", "👍🏽", false),
        ("👩‍💻 at work", "👩‍💻", true),
        ("👩 at work", "👩‍💻", false),
        ("I ❤ it", "❤️", true),
        ("🇵🇹 trip", "🇵🇹", true),
        ("🇪🇸 trip", "🇵🇹", false),
        ("press 1️⃣", "1️⃣", true),
        ("press 1", "1️⃣", false),
        // Accents and case.
        ("Le café est fermé", "cafe", true),
        ("the cafe", "café", true),
        ("Le cafe\u{301}", "CAFÉ", true),
        ("İstanbul güzel", "istanbul", true),
        ("ıspanak", "ISPANAK", true),
        ("Straße", "strasse", true),
        ("STRASSE", "straße", true),
        ("Søren", "soren", true),
        ("Łódź", "lodz", true),
        ("Œuvre", "oeuvre", true),
        ("Αθήνα", "αθηνα", true),
        ("ΟΔΟΣ", "οδος", true),
        ("ещё", "еще", true),
        ("мой", "мои", false),
        ("co\u{ad}operate", "cooperate", true),
        ("Việt Nam", "viet", true),
        ("piñata", "pinata", true),
        // Hebrew, Arabic and Indic: points are dropped, vowels are not.
        ("שָׁלוֹם", "שלום", true),
        ("مُحَمَّد", "محمد", true),
        ("محـــمد", "محمد", true),
        ("कि", "की", false),
        ("हिन्दी में", "हिन्दी", true),
        ("বাংলা ভাষা", "বাংলা", true),
        // Signs alone.
        ("What???", "???", true),
        ("What?", "???", false),
        ("fine :-)", ":-)", true),
        ("a → b", "→", true),
        ("a - b", "— -", false),
        ("Quoi", "Quoi ?", true),
        // Scripts without blanks.
        ("我在北京工作", "北京", true),
        ("我在南京工作", "北京", false),
        ("北方和南京", "北京", false),
        ("用 GPT-4 写代码", "GPT-4写代码", true),
        ("東京タワー", "タワー", true),
        ("か", "が", false),
        ("ｶﾞｽ", "ガス", true),
        ("한국어를 배워요", "한국어", true),
        ("ฉันรักกรุงเทพมหานคร", "กรุงเทพ", true),
        ("ฉันรักเชียงใหม่", "กรุงเทพ", false),
        ("ข้าวผัดน้ำปลา", "น้ำปลา", true),
        ("ភាសាខ្មែរពិរោះ", "ខ្មែរ", true),
        ("ភាសាថៃ", "ខ្មែរ", false),
        ("ພາສາລາວງາມ", "ລາວ", true),
        ("ພາສາໄທ", "ລາວ", false),
        ("မြန်မာစာ", "မြန်မာ", true),
        ("ထိုင်းစာ", "မြန်မာ", false),
    ];
    for (text, question, found) in CASES {
        let words = Words::of(question).unwrap_or_else(|| panic!("{question} has no words"));
        assert_eq!(words.are_in(text), *found, "{question:?} in {text:?}");
        // What is found by all of its words is found by recall too.
        let (own, all) = (terms(text), query_terms(question));
        if *found && !all.is_empty() {
            let own: Vec<String> = own.into_iter().map(|t| t.text).collect();
            assert!(all.iter().any(|term| own.contains(term)), "{question:?} in {text:?}: {all:?} {own:?}");
        }
    }
    for question in ["", "  \n", "\u{3000}"] {
        assert!(Words::of(question).is_none(), "{question:?}");
    }
}

/// Words of characters of many scripts, and emoji.
const WORD: &str = "[a-zA-Z0-9àéîõüßøłçñαβγάёйжבגדאםابتث\u{915}-\u{939}ก-ฮะาက-အក-អ一-二あ-んア-ン가-갛🎉🎂👍❤🇵🇹]{1,6}";

proptest! {
    #[test]
    fn a_text_is_found_by_any_term_of_it(text in "\\PC{0,40}") {
        let have: Vec<String> = terms(&text).into_iter().map(|t| t.text).collect();
        for term in query_terms(&text) {
            prop_assert!(have.contains(&term));
        }
        if let Some(words) = Words::of(&text) {
            prop_assert!(words.are_in(&text), "{text:?}");
        }
    }

    #[test]
    fn a_text_is_found_by_any_of_its_words_whatever_stands_around_them(
        before in "\\PC{0,20}",
        word in WORD,
        after in "\\PC{0,20}",
    ) {
        let text = format!("{before} {word} {after}");
        let words = Words::of(&word).expect("a word");
        prop_assert!(words.are_in(&text), "{word:?} in {text:?}");
    }

    /// In scripts without blanks, whole characters alone are found, and nothing else is.
    #[test]
    fn a_text_without_blanks_has_the_strings_of_its_characters_and_no_others(
        text in "[กขคาำิ้เแ]{1,12}",
        question in "[กขคาำิ้เแ]{1,3}",
        cut in any::<[prop::sample::Index; 2]>(),
    ) {
        let own: Vec<&str> = text.graphemes(true).collect();
        let (mut from, mut to) = (cut[0].index(own.len()), cut[1].index(own.len()));
        if from > to {
            std::mem::swap(&mut from, &mut to);
        }
        // A vowel sign without a letter is no word.
        let is_whole = |g: &&str| !g.starts_with('ำ') && !g.starts_with(unicode_normalization::char::is_combining_mark);
        if let Some(words) = Words::of(&own[from..=to].concat()) {
            prop_assert!(words.are_in(&text));
        }
        let asked: Vec<&str> = question.graphemes(true).collect();
        if asked.iter().chain(&own).all(is_whole) {
            let has = own.windows(asked.len()).any(|place| place == asked);
            prop_assert_eq!(Words::of(&question).expect("words").are_in(&text), has);
        }
    }

    #[test]
    fn a_text_without_a_word_is_not_found(
        words in prop::collection::vec("[b-df-hj-np-tv-z]{1,6}", 1..8),
        asked in "[b-df-hj-np-tv-z]{1,6}",
        sign in "[ .,;!?()\"]",
    ) {
        let text = words.join(&format!("{sign} "));
        let stems: Vec<String> = words.iter().flat_map(|word| terms(word)).map(|t| t.text).collect();
        let has = stems.contains(&terms(&asked)[0].text);
        prop_assert_eq!(Words::of(&asked).expect("a word").are_in(&text), has);
    }
}
