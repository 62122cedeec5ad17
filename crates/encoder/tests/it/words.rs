//! What a tokenizer gives by the words that it remembers is what it gives without them.

use crate::common::real_model;
use membox_encoder::Tokenizer;
use proptest::prelude::*;

/// What tokenizers stumble over: marks without a letter before them, controls, spaces of other kinds, special tokens.
const AWKWARD: [&str; 16] = [
    " ",
    "  ",
    "\n",
    "\u{301}",
    "\u{0}",
    "\u{a0}",
    "\u{3000}",
    "\u{200d}",
    "[SEP]",
    "[sep]",
    "[MASK]x",
    "##ing",
    "İ",
    "青霉素",
    "don't",
    "👩‍🚀",
];

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z]{1,9}",
        "[ -~]{1,12}",
        any::<String>(),
        proptest::sample::select(&AWKWARD[..]).prop_map(str::to_owned),
    ];
    proptest::collection::vec((piece, proptest::sample::select(&["", " ", "\t"][..])), 0..24)
        .prop_map(|pieces| pieces.into_iter().map(|(piece, space)| piece + space).collect())
}

#[test]
fn words_give_what_whole_texts_give() {
    let tokenizer = Tokenizer::load(&real_model()).expect("a tokenizer");
    let mut words = tokenizer.word_cache();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
    let words = std::cell::RefCell::new(&mut words);
    let same = runner.run(&(texts(), 0usize..80), |(text, most)| {
        let whole = tokenizer.encode(&text, most).expect("tokens");
        // Twice: the second time every word is known.
        for _ in 0..2 {
            prop_assert_eq!(&tokenizer.encode_with(&mut words.borrow_mut(), &text, most).expect("tokens"), &whole);
        }
        Ok(())
    });
    same.expect("the same tokens");
}
