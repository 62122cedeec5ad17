//! E-mail addresses: as RFC 5321 and, beyond ASCII, RFC 6531 have them, and as people write them for nobody else to
//! find.
//!
//! The domain decides. What stands before `@` is taken as far as it may be an address's.

use crate::fold::AT;
use icu_properties::CodePointMapData;
use icu_properties::props::Script;
use regex::Regex;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::LazyLock;

/// Characters before `@` that are looked at.
const MAX_LOCAL: usize = 256;
/// Characters of a label of a domain, and labels of one.
const MAX_LABEL: usize = 63;
const MAX_LABELS: usize = 127;
/// Blanks around a sign.
const MAX_BLANKS: usize = 3;
/// Bytes between the brackets of an address with an IP address for a domain.
const MAX_LITERAL: usize = 48;

const PATTERN: &str = "the pattern is tested";
/// What may stand between the two parts of an address, in a text with `dot` as a word.
static SIGN_OR_WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("[@{AT}]| (?i:at) ")).expect(PATTERN));
static DOT_AS_WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" (?i:dot) ").expect(PATTERN));

/// Domains of the first level that words with blanks between them must end with to be an address.
const COMMON_ENDINGS: [&str; 27] = [
    "com", "net", "org", "edu", "gov", "info", "biz", "io", "cn", "de", "uk", "fr", "jp", "kr", "ru", "eu", "es", "nl",
    "ch", "us", "ca", "au", "br", "pl", "se", "tw", "hk",
];
/// Endings of files that are no domains: `icon@2x.png`.
const FILE_ENDINGS: [&str; 18] = [
    "png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "jsx", "ts", "tsx", "json", "html", "htm", "txt", "pdf",
    "xml", "yaml",
];
/// What stands between `at` and `dot` where no address is: `look at the dot net`.
const ARTICLES: [&str; 8] = ["the", "a", "an", "this", "that", "every", "each", "one"];
/// Domains of the first level in scripts without blanks, of IANA's root zone and its tests: where words follow each
/// other without a blank,
/// they tell where an address ends.
const UNSPACED_ENDINGS: [&str; 78] = [
    "世界",
    "中信",
    "中国",
    "中國",
    "中文网",
    "企业",
    "佛山",
    "信息",
    "健康",
    "八卦",
    "公司",
    "公益",
    "台湾",
    "台灣",
    "商城",
    "商店",
    "商标",
    "嘉里",
    "嘉里大酒店",
    "在线",
    "大众汽车",
    "大拿",
    "娱乐",
    "家電",
    "工行",
    "广东",
    "微博",
    "慈善",
    "我爱你",
    "手机",
    "手表",
    "政务",
    "政府",
    "新加坡",
    "新闻",
    "时尚",
    "書籍",
    "机构",
    "淡马锡",
    "游戏",
    "澳門",
    "点看",
    "珠宝",
    "移动",
    "组织机构",
    "网址",
    "网店",
    "网站",
    "网络",
    "联通",
    "诺基亚",
    "谷歌",
    "购物",
    "集团",
    "電訊盈科",
    "飞利浦",
    "食品",
    "餐厅",
    "香格里拉",
    "香港",
    "广告",
    "測試",
    "测试",
    "みんな",
    "クラウド",
    "グーグル",
    "コム",
    "ストア",
    "セール",
    "テスト",
    "ファッション",
    "ポイント",
    "닷넷",
    "닷컴",
    "삼성",
    "테스트",
    "한국",
    "ไทย",
];

/// How the two parts of an address are held together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// `a@b`
    Tight,
    /// `a @ b`
    Spaced,
    /// `a [at] b`
    Bracketed,
    /// `a at b`
    Word,
}

/// Calls `add` with the addresses of a text.
pub fn emails(text: &str, add: &mut impl FnMut(Range<usize>)) {
    let mut last = 0..0;
    let mut look = |found: Range<usize>| {
        if found.start < last.end {
            return;
        }
        // A sign right behind an address makes a longer one of it: `a@b.com@c.org`.
        let is_next = !last.is_empty() && found.start == last.end;
        let place = sign(text, found).and_then(|(sign, local_end, domain_start)| {
            let end = domain(text, domain_start, sign)?;
            let start = if is_next { last.start } else { local(text, last.end, local_end, sign)? };
            Some(start..end)
        });
        if let Some(place) = place {
            last = place.clone();
            add(place);
        }
    };
    if DOT_AS_WORD.is_match(text) {
        return SIGN_OR_WORD.find_iter(text).for_each(|found| look(found.range()));
    }
    let lead = AT.encode_utf8(&mut [0; 4]).as_bytes()[0];
    for at in memchr::memchr2_iter(b'@', lead, text.as_bytes()) {
        if let Some(c @ ('@' | AT)) = text[at..].chars().next() {
            look(at..at + c.len_utf8());
        }
    }
}

/// Which sign it is, where the part before it ends, and where the one behind it begins.
fn sign(text: &str, found: Range<usize>) -> Option<(Sign, usize, usize)> {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let before = text[..found.start].trim_end_matches([' ', '\t']).len();
    let rest = &text[found.end..];
    let after = found.end + rest.len() - rest.trim_start_matches(is_blank).len();
    let breaks = text[found.end..after].matches('\n').count();
    if found.start - before > MAX_BLANKS || after - found.end > MAX_BLANKS || breaks > 1 {
        return None;
    }
    let sign = match (text.as_bytes()[found.start], before < found.start, found.end < after) {
        (b'@', false, false) => Sign::Tight,
        (b'@', false, true) => Sign::Spaced,
        (b'@', true, true) if breaks == 0 => Sign::Spaced,
        // `thanks @alice.example`
        (b'@', true, _) => return None,
        (b' ', ..) => Sign::Word,
        _ => Sign::Bracketed,
    };
    Some((sign, before, after))
}

/// Whether a character is of a script that is written without blanks between words, or may stand beside a word of
/// another one.
fn is_unspaced(c: char) -> bool {
    !c.is_ascii()
        && matches!(
            CodePointMapData::<Script>::new().get(c),
            Script::Han
                | Script::Hiragana
                | Script::Katakana
                | Script::Hangul
                | Script::Bopomofo
                | Script::Thai
                | Script::Lao
                | Script::Khmer
                | Script::Myanmar
                | Script::Tibetan
        )
}

/// Where the part before the sign begins, which ends at `end` and lies behind `from`.
fn local(text: &str, from: usize, end: usize, sign: Sign) -> Option<usize> {
    let before = &text[from..end];
    if before.ends_with('"') {
        return quoted(before).map(|start| from + start);
    }
    // Letters beside `@` say whether a word without blanks is the name, or ends where the name begins.
    let is_name_unspaced = before.ends_with(is_unspaced);
    let (mut start, mut places) = (None, before.char_indices().rev().take(MAX_LOCAL).peekable());
    let mut inner = None;
    while let Some((at, c)) = places.next() {
        let is_part = match c {
            '.' | '_' | '%' | '+' | '-' => true,
            '\'' => inner.is_some_and(char::is_alphanumeric) && places.peek().is_some_and(|(_, c)| c.is_alphanumeric()),
            _ => c.is_alphanumeric() && (is_name_unspaced || !is_unspaced(c)),
        };
        if !is_part {
            break;
        }
        if c.is_alphanumeric() {
            start = Some(at);
        }
        inner = Some(c);
    }
    let start = from + start?;
    if matches!(sign, Sign::Bracketed | Sign::Word) {
        // `alice dot smith at`
        let mark = dot_before(&text[from..start]).map(|length| start - length);
        if let Some(earlier) = mark.and_then(|mark| local(text, from, mark, Sign::Tight)) {
            return Some(earlier);
        }
    }
    Some(start)
}

/// Where a quoted name begins: `"john doe"@`.
fn quoted(before: &str) -> Option<usize> {
    let inner = before.strip_suffix('"')?;
    let is_opening = |&(at, c): &(usize, char)| c == '"' && !inner[..at].ends_with('\\');
    let (open, _) = inner.char_indices().rev().take(MAX_LOCAL).find(is_opening)?;
    let name = &inner[open + 1..];
    let is_name = name.contains(char::is_alphanumeric) && name.trim() == name && !name.contains(['\n', '\r']);
    let is_opened = !inner[..open].ends_with(|c: char| c.is_alphanumeric() && !is_unspaced(c));
    (is_name && is_opened).then_some(open)
}

/// Bytes of a spelled dot, with blanks, that a text ends with.
fn dot_before(text: &str) -> Option<usize> {
    let trimmed = text.trim_end_matches(' ');
    let close = trimmed.chars().next_back()?;
    let word = if matches!(close, ']' | ')' | '}' | '>') {
        let open = trimmed.char_indices().rev().take(8).find(|(_, c)| matches!(c, '[' | '(' | '{' | '<'))?.0;
        is_dot(&trimmed[open + 1..trimmed.len() - 1]).then_some(open)?
    } else {
        let word = trimmed.rfind(' ')?;
        (trimmed.len() < text.len() && trimmed[word + 1..].eq_ignore_ascii_case("dot")).then_some(word)?
    };
    Some(text.len() - trimmed[..word].trim_end_matches(' ').len())
}

fn is_dot(inner: &str) -> bool {
    let inner = inner.trim_matches(' ');
    inner == "." || inner.eq_ignore_ascii_case("dot")
}

/// Where the domain ends that begins at `from`.
fn domain(text: &str, from: usize, sign: Sign) -> Option<usize> {
    if sign == Sign::Tight && text[from..].starts_with('[') {
        return literal(&text[from..]).map(|length| from + length);
    }
    let (mut labels, mut at, mut is_spelled) = (Vec::new(), from, false);
    while labels.len() < MAX_LABELS {
        let Some(label) = label(text, at) else { break };
        let end = label.end;
        labels.push(label);
        let Some((next, spelled)) = dot(text, end, sign) else { break };
        at = next;
        is_spelled |= spelled;
    }
    let text_of = |label: &Range<usize>| &text[label.clone()];
    if sign == Sign::Word && (!is_spelled || ARTICLES.contains(&labels.first().map(text_of)?.to_lowercase().as_str())) {
        return None;
    }
    // `package@1.2.3-beta.rc` is a version.
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    if let [first, second, _, ..] = labels.as_slice()
        && is_number(text_of(first).trim_start_matches(['v', 'V']))
        && is_number(text_of(second))
    {
        return None;
    }
    while labels.len() > 1 {
        let last = labels.pop()?;
        let before = text_of(labels.last()?);
        let Some(end) = ending(text, &last, before, labels.len() > 1) else { continue };
        let is_common = || COMMON_ENDINGS.contains(&text[last.start..end].to_lowercase().as_str());
        return (matches!(sign, Sign::Tight | Sign::Bracketed) || is_common()).then_some(end);
    }
    None
}

/// Where a label ends as a domain of the first level, if it is one.
fn ending(text: &str, label: &Range<usize>, before: &str, is_whole_without: bool) -> Option<usize> {
    let name = &text[label.clone()];
    if name.starts_with(is_unspaced) {
        let endings = UNSPACED_ENDINGS.iter().filter(|ending| name.starts_with(**ending));
        return endings.map(|ending| label.start + ending.len()).max();
    }
    if name.split_at_checked(4).is_some_and(|(tag, rest)| tag.eq_ignore_ascii_case("xn--") && !rest.is_empty()) {
        return Some(label.end);
    }
    let letters = name.chars().take_while(|c| c.is_alphabetic());
    let (count, length) = letters.fold((0, 0), |(count, length), c| (count + 1, length + c.len_utf8()));
    let name = &name[..length];
    // A sentence that follows without a blank begins with a capital.
    let is_sentence = is_whole_without
        && name.starts_with(char::is_uppercase)
        && name.contains(char::is_lowercase)
        && !before.contains(char::is_uppercase);
    let is_foreign_sentence =
        !name.is_ascii() && name.starts_with(char::is_uppercase) && !name.chars().all(char::is_uppercase);
    let is_file = FILE_ENDINGS.contains(&name.to_lowercase().as_str());
    (count >= 2 && !is_sentence && !is_foreign_sentence && !is_file).then_some(label.start + length)
}

/// The label of a domain that begins here: letters and digits, with hyphens between them.
fn label(text: &str, from: usize) -> Option<Range<usize>> {
    let first = text[from..].chars().next().filter(|c| c.is_alphanumeric())?;
    let is_same = is_unspaced(first);
    let is_part = |c: &char| *c == '-' || c.is_alphanumeric() && (c.is_ascii_digit() || is_unspaced(*c) == is_same);
    let length: usize = text[from..].chars().take(MAX_LABEL).take_while(is_part).map(char::len_utf8).sum();
    Some(from..from + text[from..from + length].trim_end_matches('-').len())
}

/// What is behind the dot that stands here, and whether the dot is spelled.
fn dot(text: &str, at: usize, sign: Sign) -> Option<(usize, bool)> {
    let rest = &text[at..];
    if rest.starts_with('.') && rest[1..].starts_with(char::is_alphanumeric) {
        return Some((at + 1, false));
    }
    let trimmed = rest.trim_start_matches(' ');
    let is_apart = trimmed.len() < rest.len();
    let (dot, is_spelled) = match trimmed.chars().next()? {
        '.' if sign != Sign::Tight && is_apart && trimmed[1..].starts_with(' ') => (&trimmed[..1], false),
        '[' | '(' | '{' | '<' => {
            let close = trimmed.char_indices().take(8).find(|(_, c)| matches!(c, ']' | ')' | '}' | '>'))?.0;
            is_dot(&trimmed[1..close]).then_some((&trimmed[..=close], true))?
        }
        'd' | 'D' if sign != Sign::Tight && is_apart => {
            let word = trimmed.get(..3).filter(|word| word.eq_ignore_ascii_case("dot"))?;
            trimmed[3..].starts_with(' ').then_some((word, true))?
        }
        _ => return None,
    };
    let behind = trimmed[dot.len()..].trim_start_matches(' ');
    (rest.len() - behind.len() < 24).then(|| (at + rest.len() - behind.len(), is_spelled))
}

/// Bytes of an address literal: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
fn literal(rest: &str) -> Option<usize> {
    let close = rest.bytes().take(MAX_LITERAL).position(|b| b == b']')?;
    let inner = &rest[1..close];
    let is_address = match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    };
    is_address.then_some(close + 1)
}
