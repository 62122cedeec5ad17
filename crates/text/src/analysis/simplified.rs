//! Traditional Chinese characters as simplified ones, so that each finds what was written in the other.
//!
//! The table is OpenCC's `TSCharacters.txt` (Apache-2.0), with the first form where it names several. Japanese texts
//! and questions are folded by it alike, so they find each other as before.

use std::sync::LazyLock;

/// A traditional character and its simplified form a line, sorted.
const TABLE: &str = include_str!("simplified.txt");

static PAIRS: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let pair = |line: &str| {
        let mut characters = line.chars();
        characters.next().zip(characters.next())
    };
    TABLE.lines().filter_map(pair).collect()
});

/// The simplified form of a character; itself, where it has none.
pub fn simplified(c: char) -> char {
    PAIRS.binary_search_by_key(&c, |pair| pair.0).map_or(c, |found| PAIRS[found].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traditional_characters_have_a_simplified_form_and_others_stay() {
        let all = |text: &str| text.chars().map(simplified).collect::<String>();
        assert_eq!(all("電腦壞了，我喜歡臺灣"), "电脑坏了，我喜欢台湾");
        assert_eq!(all("电脑坏了 かな abc"), "电脑坏了 かな abc");
    }

    #[test]
    fn the_table_is_sorted_and_whole() {
        assert!(PAIRS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(PAIRS.len(), TABLE.lines().count());
    }
}
