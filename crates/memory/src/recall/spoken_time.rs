//! Times that a question speaks of: "last week", "in May 2023", "two days ago", 上周三, 2023年5月.
//!
//! Rules for English and Chinese, as duckling and SUTime have them for many more: each finds one form. A time is a span
//! of whole days in UTC. Of several times in a question the one counts that says most.

use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan};
use membox_store::{civil, civil_millis};
use regex::{Captures, Regex};
use std::ops::Range;
use std::sync::LazyLock;

/// A time that a question speaks of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SpokenTime {
    /// How the question says it.
    pub text: String,
    /// Milliseconds since 1970; the end is not part of it.
    pub span: Range<i64>,
}

/// From the first day to the day after the last.
type Days = (Date, Date);
type Rule = (LazyLock<Regex>, fn(&Captures<'_>, Date) -> Option<Days>);

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const NUMBERS: [&str; 11] = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const DIGITS: &str = "零一二三四五六七八九";

/// In the place of MONTH in a pattern.
const MONTH: &str = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)";

macro_rules! rule {
    ($pattern:expr, $days:expr) => {
        (LazyLock::new(|| Regex::new(&$pattern.replace("MONTH", MONTH)).expect("a pattern")), $days)
    };
}

/// The more a form says, the sooner it is looked for.
static RULES: [Rule; 15] = [
    rule!(r"\b(\d{4})-(\d{2})-(\d{2})\b", |c, _| day(number(c, 1)?, number(c, 2)?, number(c, 3)?)),
    rule!(r"(?i)\bMONTH[a-z]*\.? (\d{1,2})(?:st|nd|rd|th)?(?:,? (\d{4}))?\b", |c, now| day_of_month(
        number(c, 3),
        month_of(c, 1)?,
        number(c, 2)?,
        now
    )),
    rule!(r"(?i)\b(\d{1,2})(?:st|nd|rd|th)?(?: of)? MONTH[a-z]*\.?(?:,? (\d{4}))?\b", |c, now| day_of_month(
        number(c, 3),
        month_of(c, 2)?,
        number(c, 1)?,
        now
    )),
    rule!(r"(?i)\bMONTH[a-z]*\.?,? (?:of )?(\d{4})\b", |c, _| month(number(c, 2)?, month_of(c, 1)?)),
    rule!(r"(?i)\b(?:in|during|since|last|this) MONTH(?:r?uary|ch|il|e|y|ust|tember|ober|ember)?\b", |c, now| {
        latest_month(month_of(c, 1)?, now)
    }),
    rule!(r"(?i)\b(?:in|during|of|since) ((?:19|20)\d{2})\b", |c, _| year(number(c, 1)?)),
    rule!(
        r"(?i)\b(?:in|over|during|within) the (?:last|past) (?:(\d{1,3}|[a-z]+) )?(day|week|month|year)s?\b",
        |c, now| Some((
            now.checked_sub(units(&c[2], c.get(1).map_or(Some(1), |m| count(m.as_str()))?)?).ok()?,
            after(now)?
        ))
    ),
    rule!(r"(?i)\b(\d{1,3}|an?|[a-z]+|a couple of|a few) (day|week|month|year)s? ago\b", |c, now| whole(
        &c[2],
        now.checked_sub(units(&c[2], count(&c[1])?)?).ok()?
    )),
    rule!(
        concat!(
            r"(?i)\b(the day before yesterday|yesterday|last night",
            r"|today|tonight|this morning|this afternoon|this evening|tomorrow)\b"
        ),
        |c, now| days_from(
            now,
            match c[1].to_ascii_lowercase().as_str() {
                "the day before yesterday" => -2,
                "yesterday" | "last night" => -1,
                "tomorrow" => 1,
                _ => 0,
            }
        )
    ),
    rule!(r"(?i)\b(last|this|next) (week|month|year)\b", |c, now| whole(&c[2], moved(&c[2], now, steps(&c[1]))?)),
    rule!(r"(?i)\b(last|this|next|on) (mon|tues|wednes|thurs|fri|satur|sun)day\b", |c, now| weekday(
        &c[1],
        c[2].to_ascii_lowercase().get(..2)?,
        now
    )),
    rule!(r"(\d{4})年(?:(\d{1,2})月(?:(\d{1,2})[日号])?)?", |c, _| match (number(c, 2), number(c, 3)) {
        (Some(month), Some(of_month)) => day(number(c, 1)?, month, of_month),
        (Some(of_year), None) => month(number(c, 1)?, of_year),
        _ => year(number(c, 1)?),
    }),
    rule!(r"(大前天|前天|昨天|昨日|昨晚|今天|今日|今早|今晚|明天|后天)", |c, now| days_from(
        now,
        match &c[1] {
            "大前天" => -3,
            "前天" => -2,
            "昨天" | "昨日" | "昨晚" => -1,
            "明天" => 1,
            "后天" => 2,
            _ => 0,
        }
    )),
    rule!(r"(上|这|本|下)个?(?:周|星期|礼拜)([一二三四五六日天])?|(上|这|本|下)个?月|(前|去|今|明)年", chinese_span),
    rule!(r"(\d{1,3}|[一二两三四五六七八九十])个?(天|周|星期|月|年)(?:之|以)?前", |c, now| {
        let unit = match &c[2] {
            "天" => "day",
            "周" | "星期" => "week",
            "月" => "month",
            _ => "year",
        };
        whole(unit, now.checked_sub(units(unit, count(&c[1])?)?).ok()?)
    }),
];

/// The time that a question speaks of, asked at `now` in milliseconds since 1970.
pub(super) fn spoken_time(question: &str, now: i64) -> Option<SpokenTime> {
    let today = civil(now).date();
    let found = |(pattern, days): &Rule| {
        let captures = pattern.captures(question)?;
        let (from, until) = days(&captures, today)?;
        let text = captures.get(0)?.as_str().to_owned();
        let millis = |date: Date| civil_millis(date.at(0, 0, 0, 0));
        Some(SpokenTime { text, span: millis(from)?..millis(until)? })
    };
    RULES.iter().find_map(found)
}

fn number(captures: &Captures<'_>, group: usize) -> Option<i16> {
    captures.get(group)?.as_str().parse().ok()
}

fn month_of(captures: &Captures<'_>, group: usize) -> Option<i16> {
    let name = captures.get(group)?.as_str().to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == name).map(|at| at as i16 + 1)
}

/// A number in digits or as a word.
fn count(text: &str) -> Option<i64> {
    let word = text.to_ascii_lowercase();
    match word.as_str() {
        "a" | "an" => Some(1),
        "couple" | "a couple of" => Some(2),
        "few" | "a few" => Some(3),
        "两" => Some(2),
        "十" => Some(10),
        _ => text.parse().ok().or_else(|| {
            let at = NUMBERS.iter().position(|number| *number == word).filter(|&at| at > 0);
            at.or_else(|| DIGITS.chars().position(|digit| text.starts_with(digit))).map(|at| at as i64)
        }),
    }
}

fn units(unit: &str, count: i64) -> Option<Span> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "day" => count.days(),
        "week" => count.weeks(),
        "month" => count.months(),
        "year" => count.years(),
        _ => return None,
    })
}

fn after(date: Date) -> Option<Date> {
    date.tomorrow().ok()
}

fn day(year: i16, month: i16, day: i16) -> Option<Days> {
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    Some((date, after(date)?))
}

fn days_from(now: Date, days: i64) -> Option<Days> {
    let date = now.checked_add(days.days()).ok()?;
    Some((date, after(date)?))
}

fn month(year: i16, month: i16) -> Option<Days> {
    let first = Date::new(year, month.try_into().ok()?, 1).ok()?;
    Some((first, first.checked_add(1.months()).ok()?))
}

fn year(year: i16) -> Option<Days> {
    let first = Date::new(year, 1, 1).ok()?;
    Some((first, first.checked_add(1.years()).ok()?))
}

/// A month without a year: the latest that has begun.
fn latest_month(of_year: i16, now: Date) -> Option<Days> {
    let this = month(now.year(), of_year)?;
    if this.0 <= now { Some(this) } else { month(now.year() - 1, of_year) }
}

fn day_of_month(given: Option<i16>, of_year: i16, of_month: i16, now: Date) -> Option<Days> {
    if let Some(year) = given {
        return day(year, of_year, of_month);
    }
    let this = day(now.year(), of_year, of_month)?;
    if this.0 <= now { Some(this) } else { day(now.year() - 1, of_year, of_month) }
}

/// The day, week from Monday, month or year that a day is in.
fn whole(unit: &str, date: Date) -> Option<Days> {
    match unit.to_ascii_lowercase().as_str() {
        "day" => days_from(date, 0),
        "week" => {
            let monday = date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok()?;
            Some((monday, monday.checked_add(1.weeks()).ok()?))
        }
        "month" => month(date.year(), date.month().into()),
        _ => year(date.year()),
    }
}

fn steps(word: &str) -> i64 {
    match word.to_ascii_lowercase().as_str() {
        "last" | "上" | "去" => -1,
        "前" => -2,
        "next" | "下" | "明" => 1,
        _ => 0,
    }
}

fn moved(unit: &str, now: Date, steps: i64) -> Option<Date> {
    now.checked_add(units(unit, steps)?).ok()
}

/// A day of the week: the last one before today, that of this week, or the next one after today.
fn weekday(which: &str, name: &str, now: Date) -> Option<Days> {
    let weekday = match name {
        "mo" => Weekday::Monday,
        "tu" => Weekday::Tuesday,
        "we" => Weekday::Wednesday,
        "th" => Weekday::Thursday,
        "fr" => Weekday::Friday,
        "sa" => Weekday::Saturday,
        _ => Weekday::Sunday,
    };
    let date = match which.to_ascii_lowercase().as_str() {
        "this" => whole("week", now)?.0.checked_add(i64::from(weekday.to_monday_zero_offset()).days()).ok()?,
        "next" => now.nth_weekday(1, weekday).ok()?,
        _ => now.nth_weekday(-1, weekday).ok()?,
    };
    days_from(date, 0)
}

fn chinese_span(captures: &Captures<'_>, now: Date) -> Option<Days> {
    let group = |at: usize| captures.get(at).map(|found| found.as_str());
    if let Some(which) = group(1) {
        let week = whole("week", moved("week", now, steps(which))?)?;
        let Some(name) = group(2) else { return Some(week) };
        let at = "一二三四五六日".chars().position(|day| name.starts_with(day)).unwrap_or(6);
        return days_from(week.0, at as i64);
    }
    match (group(3), group(4)) {
        (Some(which), _) => whole("month", moved("month", now, steps(which))?),
        (_, Some(which)) => whole("year", moved("year", now, steps(which))?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use membox_store::{time_millis, time_text};
    use proptest::prelude::*;

    /// A Wednesday.
    const NOW: &str = "2026-05-20T15:00:00Z";

    fn days(question: &str) -> Option<String> {
        let time = spoken_time(question, time_millis(NOW).expect("a time"))?;
        let day = |millis: i64| time_text(millis)[..10].to_owned();
        Some(format!("{} {} {}", time.text, day(time.span.start), day(time.span.end)))
    }

    #[test]
    fn times_are_found_as_people_say_them() {
        for (question, wanted) in [
            ("What did I do yesterday?", "yesterday 2026-05-19 2026-05-20"),
            ("Whom did I meet last week?", "last week 2026-05-11 2026-05-18"),
            ("What happened in May 2023?", "May 2023 2023-05-01 2023-06-01"),
            ("Where were we in August?", "in August 2025-08-01 2025-09-01"),
            ("What was said on 7 May, 2023?", "7 May, 2023 2023-05-07 2023-05-08"),
            ("What was said on May 7th?", "May 7th 2026-05-07 2026-05-08"),
            ("And on June 7?", "June 7 2025-06-07 2025-06-08"),
            ("Who called two days ago?", "two days ago 2026-05-18 2026-05-19"),
            ("What was 3 weeks ago?", "3 weeks ago 2026-04-27 2026-05-04"),
            ("Where was I a year ago?", "a year ago 2025-01-01 2026-01-01"),
            ("What did we decide on Monday?", "on Monday 2026-05-18 2026-05-19"),
            ("And last Wednesday?", "last Wednesday 2026-05-13 2026-05-14"),
            ("Trips in 2022", "in 2022 2022-01-01 2023-01-01"),
            ("What came in the past 3 days?", "in the past 3 days 2026-05-17 2026-05-21"),
            ("On 2024-02-29?", "2024-02-29 2024-02-29 2024-03-01"),
            ("上周三我们去了哪儿？", "上周三 2026-05-13 2026-05-14"),
            ("上个月花了多少钱？", "上个月 2026-04-01 2026-05-01"),
            ("去年的旅行", "去年 2025-01-01 2026-01-01"),
            ("三天前谁来过？", "三天前 2026-05-17 2026-05-18"),
            ("2023年5月3日发生了什么？", "2023年5月3日 2023-05-03 2023-05-04"),
            ("昨天说了什么", "昨天 2026-05-19 2026-05-20"),
        ] {
            assert_eq!(days(question).as_deref(), Some(wanted), "{question}");
        }
    }

    #[test]
    fn words_that_are_no_times_are_none() {
        for question in [
            "May I come in?",
            "When did Caroline march?",
            "The last thing that I said",
            "How many days ago?",
            "She is 31 days old",
            "room 2023",
            "Feb 30, 2024",
            "I ran a few years",
            "我的年前",
            "",
        ] {
            assert_eq!(days(question), None, "{question}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_a_span_is_in_order(
            question in "(last|in|on|the|ago|two|May|[0-9]{1,4}|week|days|上|周|年|月|前| ){1,8}"
        ) {
            if let Some(time) = spoken_time(&question, 1_779_000_000_000) {
                prop_assert!(time.span.start < time.span.end && question.contains(&time.text));
            }
        }
    }
}
