//! What the names of things may hold: of users, sessions, messages, records, kinds, threads, tenants.

/// The first character of a name that no name may hold, if there is one: a control character (C0, DEL, C1), one that
/// ends a line, one that turns the direction of what stands around it (the embeddings, overrides and isolates of UAX
/// \#9, as in "Trojan Source", CVE-2021-42574), U+FEFF, and what is no character at all. Two names that differ by these
/// alone look the same, and a log or a terminal that shows one shows something else.
///
/// Marks that join letters (U+200C, U+200D) stay: writing of several languages needs them.
pub fn forbidden(name: &str) -> Option<char> {
    let is_forbidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FDD0}'..='\u{FDEF}')
            || u32::from(c) & 0xFFFE == 0xFFFE
    };
    name.chars().find(|c| is_forbidden(*c))
}

/// As [`forbidden`], in words.
///
/// # Errors
/// Which character it is, by its number.
pub fn check_characters(name: &str) -> Result<(), String> {
    forbidden(name).map_or(Ok(()), |c| {
        Err(format!(
            "it holds U+{:04X}; a name has no control characters and none that turn a line around",
            u32::from(c)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_language_are_taken_and_what_nobody_sees_is_not() {
        for name in
            ["lena", "Пётр", "山田 太郎", "عمر", "می\u{200C}خواهم", "👩\u{200D}👩\u{200D}👧", "a/b@c.example", ""]
        {
            assert_eq!(forbidden(name), None, "{name:?}");
        }
        let wrong = "\0\t\n\r\u{1b}\u{7f}\u{80}\u{9f}\
            \u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\
            \u{2068}\u{2069}\u{feff}\u{fdd0}\u{ffff}\u{10fffe}";
        for c in wrong.chars() {
            assert_eq!(forbidden(&format!("le{c}na")), Some(c));
        }
        assert!(check_characters("le\u{202e}na").is_err_and(|reason| reason.contains("U+202E")));
    }
}
