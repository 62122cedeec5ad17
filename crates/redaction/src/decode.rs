//! Characters that are written as escapes.
//!
//! - `%40`: percent-encoding (RFC 3986), of UTF-8.
//! - `&#64;`, `&#x40;`, `&commat;`: character references of HTML.
//! - `\u0040`, `\/`, `\"`, `\n`: strings of JSON (RFC 8259), and `\x40` and `\u{40}` of other languages.

use crate::shadow::{Layer, Rewrite};
use memchr::memchr3;

/// Bytes of the longest name of a character in HTML, with `&` and `;`.
const MAX_REFERENCE: usize = 33;

/// The text with one level of escapes read; none where there is no escape.
pub fn decode(text: &str) -> Option<Layer> {
    let (bytes, mut out, mut buffer) = (text.as_bytes(), Rewrite::of(text), [0; 4]);
    let mut at = 0;
    while let Some(step) = memchr3(b'%', b'&', b'\\', &bytes[at..]) {
        at += step;
        let rest = &text[at..];
        let read = match bytes[at] {
            b'%' => percent(rest.as_bytes()),
            b'\\' => backslash(rest),
            _ => None,
        };
        if let Some((c, length)) = read {
            out.replace(at..at + length, c.encode_utf8(&mut buffer));
            at += length;
        } else if let Some(reference) = reference(rest) {
            let plain = htmlize::unescape(reference);
            if plain != reference {
                out.replace(at..at + reference.len(), &plain);
                at += reference.len();
            } else {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    out.finish()
}

/// The number that so many hexadecimal digits are.
fn hex(digits: &[u8], count: usize) -> Option<u32> {
    let digits = digits.get(..count)?;
    digits.iter().try_fold(0, |number, &digit| Some(number * 16 + char::from(digit).to_digit(16)?))
}

/// A character in as many bytes as its first one says, and how long that is.
fn percent(bytes: &[u8]) -> Option<(char, usize)> {
    let byte = |at: usize| {
        let escape = bytes.get(at * 3..)?;
        (escape.first() == Some(&b'%')).then(|| hex(&escape[1..], 2)).flatten().map(|byte| byte as u8)
    };
    let first = byte(0)?;
    let count = match first {
        // Others are rather a percent sign and a number.
        0x20..0x7f | b'\t' | b'\n' | b'\r' => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return None,
    };
    let mut encoded = [0; 4];
    for (at, place) in encoded[..count].iter_mut().enumerate() {
        *place = byte(at)?;
    }
    let c = std::str::from_utf8(&encoded[..count]).ok()?.chars().next()?;
    Some((c, count * 3))
}

fn backslash(rest: &str) -> Option<(char, usize)> {
    let bytes = rest.as_bytes();
    let c = match bytes.get(1)? {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        c @ (b'/' | b'"' | b'\'' | b'\\') => char::from(*c),
        b'x' => return Some((char::from_u32(hex(&bytes[2..], 2)?)?, 4)),
        b'u' if bytes.get(2) == Some(&b'{') => {
            let digits = bytes[3..].iter().take(7).position(|&b| b == b'}').filter(|&count| count > 0)?;
            return Some((char::from_u32(hex(&bytes[3..], digits)?)?, digits + 4));
        }
        b'u' => {
            let unit = hex(&bytes[2..], 4)?;
            if !(0xd800..0xdc00).contains(&unit) {
                return Some((char::from_u32(unit)?, 6));
            }
            // The first half of a pair.
            let second = bytes.get(6..8).filter(|b| *b == b"\\u").and_then(|_| hex(&bytes[8..], 4))?;
            let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            return Some((char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low)?, 12));
        }
        _ => return None,
    };
    Some((c, 2))
}

/// The character reference that a text begins with. Browsers read numbers without the semicolon, too.
fn reference(rest: &str) -> Option<&str> {
    let bytes = rest.as_bytes();
    let name = bytes.strip_prefix(b"&")?;
    let is_part: fn(&u8) -> bool = match name {
        [b'#', b'x' | b'X', ..] => u8::is_ascii_hexdigit,
        [b'#', ..] => u8::is_ascii_digit,
        _ => u8::is_ascii_alphanumeric,
    };
    let lead = name.iter().take(2).take_while(|b| matches!(b, b'#' | b'x' | b'X') && name[0] == b'#').count();
    let end = 1 + lead + name[lead..].iter().take(MAX_REFERENCE).take_while(|b| is_part(b)).count();
    if end == 1 + lead {
        return None;
    }
    match bytes.get(end) {
        Some(b';') => Some(&rest[..=end]),
        _ => (lead > 0).then(|| &rest[..end]),
    }
}

#[cfg(test)]
mod tests {
    use crate::shadow::Shadow;

    #[test]
    fn escapes_are_read_within_escapes_too() {
        for (written, read) in [
            ("a%40b%2Ecom%2B", "a@b.com+"),
            ("a%2540b %252540", "a@b @"),
            ("%E4%BD%A0%F0%9F%98%80%EF%BC%A0", "你😀@"),
            ("100% %zz %1 % %C3 %C3%28 %ff %13", "100% %zz %1 % %C3 %C3( %ff %13"),
            ("a&#64;b&#x40;c&commat;d&period;e&#64f &#064; &amp;#64;", "a@b@c@d.e@f @ @"),
            ("&nope; &; &# &#; &#x; & &amp", "&nope; &; &# &#; &#x; & &amp"),
            ("&nbsp;&shy;&zwnj;&ZeroWidthSpace;x", " x"),
            (r"a\u0040b\/c\x40d\u{40}e \ud83d\ude00 \\u0040", "a@b/c@d@e 😀 @"),
            (r"\d \u12 \ud83d \u{} \u{110000} \x4 \", r"\d \u12 \ud83d \u{} \u{110000} \x4 \"),
            (r"%26%2364%3B \u002540", "@ @"),
        ] {
            assert_eq!(Shadow::of(written).decoded().text(), read, "{written}");
        }
    }
}
