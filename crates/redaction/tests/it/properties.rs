//! For any personal data in any disguise: nothing of it is left, and nothing else is touched. And for any text:
//! places are right, and time is in proportion.

use membox_redaction::{Counts, Kind, Mode, Redaction, find};
use proptest::prelude::*;
use std::fmt::Write;
use std::time::{Duration, Instant};

fn redacted(mode: Mode, text: &str) -> String {
    Redaction { mode, kinds: None }.apply(text, &mut Counts::new()).into_owned()
}

/// With the check digit of Luhn behind.
fn with_luhn(digits: &str) -> String {
    let is_right = |check: &u32| membox_redaction::checks::luhn(&format!("{digits}{check}"));
    format!("{digits}{}", (0..10).find(is_right).expect("a check digit"))
}

fn with_iban_check(country: &str, rest: &str) -> String {
    let number = |check: &u32| format!("{country}{check:02}{rest}");
    let check = (2..99).find(|check| membox_redaction::checks::iban(&number(check))).expect("check digits");
    number(&check)
}

fn with_resident_check(first: &str) -> String {
    let number = |check: char| format!("{first}{check}");
    "0123456789X".chars().map(number).find(|n| membox_redaction::checks::resident_id(n)).expect("a check character")
}

/// A value, what it is, and whether a blank, a hyphen and a dot may stand where it has a blank.
fn value() -> impl Strategy<Value = (String, Kind)> {
    let is = |kind: Kind| move |value: String| (value, kind);
    prop_oneof![
        "[a-z][a-z0-9]{1,8}([._+-][a-z0-9]{1,6}){0,2}@[a-z][a-z0-9]{1,8}\\.(com|org|photography|co\\.uk|cn)"
            .prop_map(is(Kind::Email)),
        "1[3-9][0-9] [0-9]{4} [0-9]{4}".prop_map(is(Kind::Phone)),
        "\\+86 1[3-9][0-9] [0-9]{4} [0-9]{4}".prop_map(is(Kind::Phone)),
        "\\+1 [2-9][0-9]{2} [2-9][0-9]{2} [0-9]{4}".prop_map(is(Kind::Phone)),
        "\\+49 [1-9][0-9] [1-9][0-9]{6}".prop_map(is(Kind::Phone)),
        "4[0-9]{14}".prop_map(|digits| (with_luhn(&digits), Kind::PaymentCard)),
        "5[1-5][0-9]{2} [0-9]{4} [0-9]{4} [0-9]{3}".prop_map(|groups| {
            let digits = with_luhn(&groups.replace(' ', ""));
            (format!("{groups}{}", &digits[15..]), Kind::PaymentCard)
        }),
        "(11|31|44)010[1-6]19[5-9][0-9]0[1-9][12][0-8][0-9]{3}"
            .prop_map(|first| (with_resident_check(&first), Kind::ResidentId)),
        "[0-9]{18}".prop_map(|rest| (with_iban_check("DE", &rest), Kind::Iban)),
        "(19[0-9]|20[0-9])(\\.([1-9]|[1-9][0-9]|1[0-9][0-9])){3}".prop_map(is(Kind::IpAddress)),
        "2001:db8:[1-9a-f][0-9a-f]{2}::[1-9][0-9a-f]{2}".prop_map(is(Kind::IpAddress)),
    ]
}

const UNSEEN: [char; 9] =
    ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{202e}', '\u{2068}', '\u{fe0f}'];
const BLANKS: [&str; 8] = ["\u{a0}", "\u{2009}", "\u{3000}", "\u{202f}", "  ", "&nbsp;", "%20", "\\u00a0"];
const DASHES: [&str; 5] = ["-", "\u{2011}", "\u{2013}", "\u{2212}", " - "];

/// What stands right beside a value.
const BORDERS: [(&str, &str); 9] = [
    ("«", "»"),
    ("是", "吧"),
    ("x：", "。吧"),
    ("x: ", " ok "),
    ("\"", "\""),
    ("x <", ">"),
    ("\n\n", "\n\n"),
    ("?q=", "&x="),
    ("、", "，"),
];

/// One character of a value, written another way.
fn disguised(c: char, how: u8, which: usize, kind: Kind) -> String {
    let is_spaced = !matches!(kind, Kind::Email | Kind::IpAddress);
    let mut written = String::new();
    let _ = match how {
        1 => write!(written, "{c}{}", UNSEEN[which % UNSEEN.len()]),
        2 if c.is_ascii_graphic() => {
            write!(written, "{}", char::from_u32(c as u32 + 0xfee0).expect("a full-width character"))
        }
        3 => write!(written, "&#{};", c as u32),
        4 => write!(written, "&#x{:x};", c as u32),
        5 => write!(written, "%{:02x}", c as u32),
        6 => write!(written, "%25{:02X}", c as u32),
        7 => write!(written, "\\u{:04x}", c as u32),
        8 if c.is_ascii_digit() => {
            let zero = ['𝟎', '𝟘', '٠', '०', '๐'][which % 5];
            write!(written, "{}", char::from_u32(zero as u32 + c as u32 - '0' as u32).expect("a digit"))
        }
        9 if c == ' ' && is_spaced => write!(written, "{}", BLANKS[which % BLANKS.len()]),
        10 if c == ' ' && is_spaced => write!(written, "{}", DASHES[which % DASHES.len()]),
        11 if c == ' ' && kind != Kind::Iban => write!(written, "."),
        _ => write!(written, "{c}"),
    };
    written
}

/// A value in a disguise. Separators are the same all through, as people write them.
fn disguise() -> impl Strategy<Value = (String, String, Kind)> {
    let ways = proptest::collection::vec((0..9_u8, any::<usize>()), 40);
    (value(), ways, 8..12_u8, any::<usize>()).prop_map(|((value, kind), ways, separator, which)| {
        // What is not seen stands within it, not behind.
        let last = value.chars().count() - 1;
        let ways = ways
            .iter()
            .cycle()
            .enumerate()
            .map(|(at, &(how, which))| (if at == last && how == 1 { 0 } else { how }, which));
        let written = value.chars().zip(ways);
        let written = written.map(|(c, (how, which_here))| match c {
            ' ' => disguised(c, separator, which, kind),
            _ => disguised(c, how, which_here, kind),
        });
        (written.collect(), value, kind)
    })
}

/// What stands around it: words in which nothing is found.
fn words() -> impl Strategy<Value = String> {
    "([a-z]{1,8}|[你好请联系我的号码]{1,6}|[0-9]{1,3}|[«»“”，、；！]| |é|😀|👩\u{200d}👧){0,12}"
        .prop_filter("nothing is found in it", |words| find(words, &Kind::ALL).is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_of_a_disguised_value_is_left_and_nothing_else_is_touched(
        (written, value, kind) in disguise(),
        (before, after) in (words(), words()),
        (left, right) in proptest::sample::select(BORDERS.to_vec()),
    ) {
        let (before, after) = (format!("{before}{left}"), format!("{right}{after}"));
        let text = format!("{before}{written}{after}");
        let kept = redacted(Mode::Full, &text);
        prop_assert_eq!(&kept, &format!("{before}[{}_REDACTED]{after}", kind.label()), "{} of {}", text, value);
        prop_assert_eq!(redacted(Mode::Full, &kept), kept);

        let partial = redacted(Mode::Partial, &text);
        let inner = partial.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after)).expect("around it");
        let shown: Vec<&str> = inner.split("***").collect();
        prop_assert_eq!(shown.iter().map(|part| part.chars().count()).collect::<Vec<_>>(), [2, 2], "{}", inner);
    }

    #[test]
    fn any_text_has_its_places_in_order_and_is_redacted_at_once(text in any_text()) {
        let mut end = 0;
        for found in find(&text, &Kind::ALL) {
            prop_assert!(found.range.start >= end && !found.range.is_empty());
            prop_assert!(text.get(found.range.clone()).is_some(), "{:?} of {:?}", found, text);
            end = found.range.end;
        }
        let kept = redacted(Mode::Full, &text);
        prop_assert_eq!(redacted(Mode::Full, &kept), kept, "{}", text);
        redacted(Mode::Partial, &text);
    }
}

/// Any characters, and those that matter more often.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[0-9 ().+/\\-\n]{0,30}",
        "[a-f0-9:.%]{0,30}",
        "[a-zé你@.\"'\\[\\]()% ]{0,30}",
        "[%&#;x\\\\u2540amp]{0,30}",
        "[①³１٣\u{200b}\u{301}\u{fe0f}\u{20e3}👩\u{200d}。．＠]{0,12}",
        proptest::sample::select(vec![
            "13812345678",
            "alice@example.com",
            "4111 1111 1111 1111",
            "203.0.113.77",
            "2001:db8::1",
            "%40",
            "&#64;",
            "\\u0040",
            "[at]",
            " at ",
            " dot ",
            "+49 30 ",
            "00",
            "@",
            "DE89370400440532013000",
            "11010519491231002X",
        ])
        .prop_map(str::to_owned),
        disguise().prop_map(|(written, ..)| written),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Texts of one thing over and over, each of which something looks at again and again.
const HOSTILE: [&str; 36] = [
    "1",
    "4",
    "1 ",
    "1.",
    "1\n",
    "4111 ",
    "4111\n",
    "00 ",
    "+1",
    "13812345678 ",
    "@",
    "a@",
    "a@b.com@",
    "\"@",
    "\"a",
    "[at]",
    " at a dot ",
    "a. ",
    "%",
    "%25",
    "%2525 ",
    "&",
    "&amp;",
    "&#",
    "\\",
    "\\u005c",
    ":",
    "a:",
    "a",
    "1.2.3.4 ",
    "DE89 ",
    "\u{200b}",
    "1\u{301}",
    "\u{301}",
    "①",
    "\u{1f1e6}",
];

/// Sixteen times the text takes not much more than sixteen times as long; were the time in proportion to the square,
/// it would be 256 times.
#[test]
fn time_is_in_proportion_to_the_text() {
    let time = |piece: &str, size: usize| {
        let text = piece.repeat(size / piece.len());
        let once = || {
            let start = Instant::now();
            redacted(Mode::Full, &text);
            start.elapsed()
        };
        (0..3).map(|_| once()).min().expect("a time")
    };
    for piece in HOSTILE {
        let (short, long) = (time(piece, 1 << 14), time(piece, 1 << 18));
        let bound = 16 * 5 * short.max(Duration::from_millis(1));
        assert!(long < bound, "{piece:?}: {short:?}, and {long:?} for sixteen times as much");
    }
}
