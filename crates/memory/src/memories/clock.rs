//! LightMem's first step: when each message was said.
//!
//! A session has one time stamp, such as `2023/05/20 (Sat) 00:44` or ISO 8601; its messages follow each other by half a second.

use crate::{MemoryError, now, time_millis};
use jiff::civil::DateTime;
use membox_store::{LAST_TIME, civil, civil_millis};

/// Milliseconds between two messages that share a stamp.
pub(crate) const STEP_MS: i64 = 500;

/// A session's time stamp in milliseconds since 1970; in UTC where it names no zone. `at` is the JSON pointer to it.
pub(crate) fn stamp(text: &str, at: &str) -> Result<i64, MemoryError> {
    if let Some(time) = time_millis(text) {
        return Ok(time);
    }
    // The weekday says nothing that the date does not.
    let plain: Vec<&str> =
        text.split_whitespace().filter(|part| !(part.starts_with('(') && part.ends_with(')'))).collect();
    let iso = plain.join("T").replace('/', "-");
    let time = iso.parse::<DateTime>().or_else(|_| format!("{iso}T00:00").parse());
    time.ok().and_then(civil_millis).ok_or_else(|| {
        MemoryError::invalid(
            at,
            format!("{text:?} is no time: 2023/05/20 (Sat) 00:44, 2023-05-20T00:44:00Z, or left out"),
        )
    })
}

/// Sat, Sun and so on, in UTC.
pub(crate) fn weekday(milliseconds: i64) -> String {
    civil(milliseconds).strftime("%a").to_string()
}

/// Gives messages their times, in the order in which they are said.
pub(crate) struct Clock {
    /// The stamp of the message before, and its time.
    last: Option<(String, i64)>,
}

impl Clock {
    /// Goes on after the last message of a session: its stamp and its time.
    pub fn after(last: Option<(String, i64)>) -> Self {
        Self { last }
    }

    /// The time of the next message. Without a stamp it is said now.
    pub fn next(&mut self, stamp_text: Option<&str>, at: &str) -> Result<i64, MemoryError> {
        let Some(text) = stamp_text else { return Ok(now()) };
        let time = match &self.last {
            Some((stamp, time)) if stamp == text => (time + STEP_MS).min(LAST_TIME),
            _ => stamp(text, at)?,
        };
        self.last = Some((text.to_owned(), time));
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_text;

    #[test]
    fn every_form_of_a_stamp_is_read() {
        for text in [
            "2023/05/20 (Sat) 00:44",
            "2023-05-20 (Sat) 00:44:00",
            "2023/05/20 00:44",
            "2023-05-20T00:44:00",
            "2023-05-20T00:44:00Z",
            "2023-05-20T02:44:00+02:00",
        ] {
            assert_eq!(time_text(stamp(text, "").expect(text)), "2023-05-20T00:44:00Z", "{text}");
        }
        assert_eq!(time_text(stamp("2023/05/20", "").expect("a day")), "2023-05-20T00:00:00Z");
        for text in ["", "yesterday", "2023/13/20 00:44", "00:44", "2023/05/20 (Sat"] {
            assert!(matches!(stamp(text, "/time_stamp"), Err(MemoryError::Invalid { .. })), "{text:?}");
        }
        assert_eq!(time_text(stamp("9999/12/31 (Fri) 23:59", "").expect("a time")), "9999-12-31T23:59:00Z");
        assert!(stamp("-000001/01/01 00:00", "/time_stamp").is_err(), "RFC 3339 cannot write it");
        assert_eq!(weekday(i64::MAX), "Fri");
        assert_eq!(weekday(stamp("2023/05/20 (Sat) 00:44", "").expect("a time")), "Sat");
    }

    #[test]
    fn messages_of_one_stamp_follow_each_other_and_calls_go_on_where_the_last_one_ended() {
        let mut clock = Clock::after(None);
        let mut next = |stamp: &str| time_text(clock.next(Some(stamp), "").expect("a time"));
        assert_eq!(next("2023/05/20 (Sat) 00:44"), "2023-05-20T00:44:00Z");
        assert_eq!(next("2023/05/20 (Sat) 00:44"), "2023-05-20T00:44:00.5Z");
        assert_eq!(next("2023/05/20 (Sat) 00:44"), "2023-05-20T00:44:01Z");
        assert_eq!(next("2023/05/21 (Sun) 10:00"), "2023-05-21T10:00:00Z");
        let last = ("2023/05/21 (Sun) 10:00".to_owned(), stamp("2023-05-21T10:00:07Z", "").expect("a time"));
        let mut clock = Clock::after(Some(last));
        let time = clock.next(Some("2023/05/21 (Sun) 10:00"), "").expect("a time");
        assert_eq!(time_text(time), "2023-05-21T10:00:07.5Z");
    }
}
