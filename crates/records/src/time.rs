//! Times, as RFC 3339 writes them: the one place where they are read and written.
//!
//! They are kept as milliseconds since 1970. RFC 3339 can write the years 0000 to 9999, so what lies before or after is
//! given out as the first or the last of them.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;
use std::borrow::Cow;

/// 0000-01-01T00:00:00Z.
pub const FIRST_TIME: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
pub const LAST_TIME: i64 = 253_402_300_799_999;

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
/// Digits of a fraction of a second that are looked at.
const FRACTION_DIGITS: usize = 9;

/// A time in milliseconds since 1970 as RFC 3339, in UTC.
pub fn time_text(milliseconds: i64) -> String {
    format!("{}Z", civil(milliseconds))
}

/// A time in milliseconds since 1970 as day and time of day, in UTC.
pub fn civil(milliseconds: i64) -> DateTime {
    let since = SignedDuration::from_millis(milliseconds.clamp(FIRST_TIME, LAST_TIME));
    EPOCH.checked_add(since).unwrap_or(EPOCH)
}

/// Day and time of day, in UTC, as milliseconds since 1970; `None` before the year 0.
pub fn civil_millis(time: DateTime) -> Option<i64> {
    let nanoseconds = time.duration_since(EPOCH).as_nanos();
    let milliseconds = i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()?;
    (time.year() >= 0).then_some(milliseconds)
}

/// RFC 3339 as milliseconds since 1970, and the forms of ISO 8601 that name a day, a time and an offset. What is less
/// than a millisecond is cut off; a leap second is the last millisecond before the next day. What an offset moves out
/// of the years 0000 to 9999 becomes the first or the last time there is.
pub fn time_millis(text: &str) -> Option<i64> {
    let text = cut_fraction(text);
    let pieces = Pieces::parse::<str>(&text).ok()?;
    let local = civil_millis(pieces.date().to_datetime(pieces.time()?))?;
    let time = local - i64::from(pieces.to_numeric_offset()?.seconds()) * 1000;
    if !names_second_60(&text) {
        return Some(time.clamp(FIRST_TIME, LAST_TIME));
    }
    // It was read as second 59. There are leap seconds only at the end of a month, in UTC.
    let utc = civil(time);
    let ends_month = (utc.day(), utc.hour(), utc.minute()) == (utc.date().days_in_month(), 23, 59);
    ends_month.then_some((time - time.rem_euclid(1000) + 999).clamp(FIRST_TIME, LAST_TIME))
}

/// Without the digits of a fraction that are too many for the reader.
fn cut_fraction(text: &str) -> Cow<'_, str> {
    let Some(point) = text.find(['.', ',']) else { return text.into() };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let (kept, end) = (point + 1 + digits.min(FRACTION_DIGITS), point + 1 + digits);
    if kept == end { text.into() } else { format!("{}{}", &text[..kept], &text[end..]).into() }
}

fn names_second_60(text: &str) -> bool {
    text.get(16..19) == Some(":60")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> String {
        time_text(time_millis(text).unwrap_or_else(|| panic!("{text} is a time")))
    }

    #[test]
    fn the_ends_of_the_calendar_are_times() {
        assert_eq!(again("0000-01-01T00:00:00Z"), "0000-01-01T00:00:00Z");
        assert_eq!(again("9999-12-31T23:59:59Z"), "9999-12-31T23:59:59Z");
        assert_eq!(again("9999-12-31T23:59:59.9999999Z"), "9999-12-31T23:59:59.999Z");
        assert_eq!(again("9999-12-31T00:00:00+00:00"), "9999-12-31T00:00:00Z");
        assert_eq!(again("9999-12-31T23:59:59-23:59"), "9999-12-31T23:59:59.999Z");
        assert_eq!(again("0000-01-01T00:00:00+23:59"), "0000-01-01T00:00:00Z");
        assert_eq!(again("9999-12-31T23:59:60Z"), "9999-12-31T23:59:59.999Z");
        assert_eq!(time_millis("0000-01-01T00:00:00Z"), Some(FIRST_TIME));
        assert_eq!(time_millis("9999-12-31T23:59:59.999Z"), Some(LAST_TIME));
    }

    #[test]
    fn what_rfc_3339_allows_is_read() {
        for (text, same) in [
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.52Z"),
            ("1996-12-19t16:39:57-08:00", "1996-12-20T00:39:57Z"),
            ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.87Z"),
            ("2024-05-20 00:44:00z", "2024-05-20T00:44:00Z"),
            ("2024-05-20T00:44:00-00:00", "2024-05-20T00:44:00Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0000-02-29T00:00:00Z", "0000-02-29T00:00:00Z"),
            ("1990-12-31T23:59:60Z", "1990-12-31T23:59:59.999Z"),
            ("1990-12-31T15:59:60.25-08:00", "1990-12-31T23:59:59.999Z"),
            ("1969-12-31T23:59:59.99999999999999Z", "1969-12-31T23:59:59.999Z"),
            ("2024-05-20T00:44:00.12345678901234567890+02:00", "2024-05-19T22:44:00.123Z"),
            // Of ISO 8601, as strftime's %z writes it.
            ("2024-05-20T00:44:00+0200", "2024-05-19T22:44:00Z"),
        ] {
            assert_eq!(again(text), same, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2024-05-20",
            "2024-05-20T00:44:00",
            "2024-05-20T24:00:00Z",
            "2024-05-20T23:60:00Z",
            "2024-05-20T23:59:61Z",
            "2024-05-20T12:30:60Z",
            "2024-05-20T23:59:60Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "-000001-01-01T00:00:00Z",
            "-009999-01-02T00:00:00Z",
            "+010000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "2024-05-20T00:44:00.Z",
            " 2024-05-20T00:44:00Z",
            "2024-05-20T00:44:00Z ",
            "2024-05-20T00:44:00Zulu",
            "2024-05-20T00:44:00é",
            "2024-05-20T00:44:0é:60",
        ] {
            assert_eq!(time_millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_an_older_version_has_kept_is_given_out_within_the_calendar() {
        for (milliseconds, text) in [
            (i64::MIN, "0000-01-01T00:00:00Z"),
            (FIRST_TIME - 1, "0000-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (0, "1970-01-01T00:00:00Z"),
            (LAST_TIME + 1, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(time_text(milliseconds), text);
        }
    }

    proptest! {
        #[test]
        fn every_stored_time_is_given_out_as_one_that_is_read(milliseconds in any::<i64>()) {
            prop_assert_eq!(time_millis(&time_text(milliseconds)), Some(milliseconds.clamp(FIRST_TIME, LAST_TIME)));
        }

        #[test]
        fn times_come_back_as_they_were_given(milliseconds in FIRST_TIME..=LAST_TIME) {
            prop_assert_eq!(time_millis(&time_text(milliseconds)), Some(milliseconds));
        }

        #[test]
        fn every_time_of_rfc_3339_is_read_as_its_instant(
            milliseconds in FIRST_TIME..=LAST_TIME,
            offset in -1439i64..=1439,
            more in "[0-9]{0,40}",
            (separator, zulu) in (prop::sample::select(vec!['T', 't', ' ']), prop::sample::select(vec!['Z', 'z'])),
        ) {
            let local = milliseconds + offset * 60_000;
            prop_assume!((FIRST_TIME..=LAST_TIME).contains(&local));
            let time = civil(local);
            let (whole, fraction) = (time.strftime("%H:%M:%S"), local.rem_euclid(1000));
            let zone = match (offset, offset < 0) {
                (0, _) => zulu.to_string(),
                (_, less) => {
                    let minutes = offset.abs();
                    format!("{}{:02}:{:02}", if less { '-' } else { '+' }, minutes / 60, minutes % 60)
                }
            };
            let day = format!("{:04}-{}", time.year(), time.strftime("%m-%d"));
            let text = format!("{day}{separator}{whole}.{fraction:03}{more}{zone}");
            prop_assert_eq!(time_millis(&text), Some(milliseconds), "{}", text);
        }
    }
}
