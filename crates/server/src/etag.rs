//! Versions as entity tags (RFC 9110): they are given out as `"3"`, and asked for by `if-match`.

use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use membox_memory::{MemoryError, RecordsError};

/// Times that a request is tried again when what it changes gets another version meanwhile, which it may have too.
const TRIES: usize = 16;

/// The version of what is given out, as a strong entity tag.
pub fn version_header(version: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = format!("\"{version}\"").parse() {
        headers.insert(header::ETAG, value);
    }
    headers
}

/// Which version something must have for a request to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing is said of it.
    Unsaid,
    /// Any: it must be there.
    Any,
    /// One of these; 0 is that of what is not there. None of them, where the tags that were given are of no version.
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Does `work` with the version that must be there, if any must. `current` gives the one that is there now, 0 for
    /// none.
    pub fn run<R: Clone, T>(
        &self,
        request: R,
        current: impl Fn() -> Result<u64, MemoryError>,
        work: impl Fn(R, Option<u64>) -> Result<T, MemoryError>,
    ) -> Result<T, Problem> {
        match self {
            Self::Unsaid => return Ok(work(request, None)?),
            Self::OneOf(versions) if versions.len() == 1 => return Ok(work(request, versions.first().copied())?),
            _ => {}
        }
        for _ in 0..TRIES {
            let version = current()?;
            if !self.allows(version) {
                // The answer to one of them is the answer to all.
                return match self {
                    Self::OneOf(versions) if !versions.is_empty() => Ok(work(request, versions.iter().max().copied())?),
                    _ => Err(Problem::new(StatusCode::PRECONDITION_FAILED, self.refusal(version))),
                };
            }
            match work(request.clone(), Some(version)) {
                Err(MemoryError::Records(RecordsError::VersionConflict { current, .. })) if current != version => {}
                done => return Ok(done?),
            }
        }
        Err(MemoryError::Overloaded { retry_after_s: 1 }.into())
    }

    fn allows(&self, version: u64) -> bool {
        match self {
            Self::Unsaid => true,
            Self::Any => version > 0,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }

    fn refusal(&self, version: u64) -> String {
        match self {
            Self::Any => "if-match is *, and there is none yet".to_owned(),
            _ => format!("if-match names no version; the version is {version}"),
        }
    }
}

/// Reads `if-match`: `*`, or entity tags, in one header or several. A weak tag stands for the strong one that a proxy
/// has made it of, as those do that compress; a version may stand without its quotes.
pub fn if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let values: Vec<&[u8]> = headers.get_all(header::IF_MATCH).iter().map(|value| value.as_bytes()).collect();
    if values.is_empty() {
        return Ok(IfMatch::Unsaid);
    }
    let list = values.join(&b","[..]);
    if list.trim_ascii() == b"*" {
        return Ok(IfMatch::Any);
    }
    versions(&list).map(IfMatch::OneOf).ok_or_else(|| {
        let detail = "the header if-match is *, or entity tags such as \"3\", with commas between them";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// The versions in a list of entity tags; `None` where it is no such list.
fn versions(list: &[u8]) -> Option<Vec<u64>> {
    let (mut rest, mut versions) = (list.trim_ascii_start(), Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
            continue;
        }
        let (tag, after) = entity_tag(rest)?;
        versions.extend(version(tag));
        rest = after.trim_ascii_start();
        if !rest.is_empty() && rest.first() != Some(&b',') {
            return None;
        }
    }
    Some(versions)
}

/// What is between the quotes of the tag that a text begins with, or the digits that stand for one, and what follows.
fn entity_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 {
        return Some(text.split_at(digits));
    }
    let quoted = text.strip_prefix(b"W/").unwrap_or(text).strip_prefix(b"\"")?;
    let (tag, after) = quoted.split_at(quoted.iter().position(|&byte| byte == b'"')?);
    let is_allowed = |&byte: &u8| byte > b' ' && byte != 0x7f;
    tag.iter().all(is_allowed).then_some((tag, &after[1..]))
}

/// The version of a tag; `None` for a tag that the box has not given out.
fn version(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};

    fn read(values: &[&[u8]]) -> Result<IfMatch, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_bytes(value).expect("a header"));
        }
        if_match(&headers)
    }

    #[test]
    fn every_form_of_the_header_is_read() {
        for (text, versions) in [
            ("3", vec![3]),
            ("\"3\"", vec![3]),
            ("W/\"3\"", vec![3]),
            (" \"3\"\t", vec![3]),
            ("\"2\", \"3\"", vec![2, 3]),
            ("\"2\",W/\"3\" ,4", vec![2, 3, 4]),
            (", \"2\",, \"3\" ,", vec![2, 3]),
            ("0", vec![0]),
            ("\"a,b\", \"3\"", vec![3]),
            ("\"\"", vec![]),
            ("\"*\"", vec![]),
            ("\"99999999999999999999\"", vec![]),
            ("\"+3\"", vec![]),
        ] {
            assert_eq!(read(&[text.as_bytes()]).expect(text), IfMatch::OneOf(versions), "{text}");
        }
        assert_eq!(read(&[b"\"2\"", b"W/\"3\", 4"]).expect("two headers"), IfMatch::OneOf(vec![2, 3, 4]));
        assert_eq!(read(&[b"*"]).expect("a star"), IfMatch::Any);
        assert_eq!(read(&[b" * "]).expect("a star"), IfMatch::Any);
        assert_eq!(read(&[]).expect("none"), IfMatch::Unsaid);
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused_by_the_name_of_the_header() {
        for text in [
            "three",
            "\"3",
            "3\"",
            "\"2\" \"3\"",
            "W/3",
            "w/\"3\"",
            "*, \"3\"",
            "\"3\", *",
            "-1",
            "\"a b\"",
            "3.0",
            "\"2\"3",
        ] {
            let problem = read(&[text.as_bytes()]).expect_err(text);
            assert_eq!(problem.status, 400, "{text}");
            assert!(problem.detail.contains("if-match"), "{}", problem.detail);
        }
    }

    /// What changes a thing of some version, and says with which versions it was asked.
    struct Thing {
        version: Cell<u64>,
        asked: RefCell<Vec<Option<u64>>>,
        /// So often somebody else changes it between the look and the change.
        others: Cell<u64>,
    }

    impl Thing {
        fn at(version: u64) -> Self {
            Self { version: Cell::new(version), asked: RefCell::default(), others: Cell::new(0) }
        }

        fn change(&self, condition: &IfMatch) -> Result<u64, u16> {
            let work = |(), expected: Option<u64>| {
                self.asked.borrow_mut().push(expected);
                if self.others.get() > 0 {
                    self.others.set(self.others.get() - 1);
                    self.version.set(self.version.get() + 1);
                }
                let current = self.version.get();
                match expected.filter(|expected| *expected != current) {
                    Some(expected) => Err(RecordsError::VersionConflict { id: "x".into(), current, expected }.into()),
                    None => Ok(self.version.replace(current + 1) + 1),
                }
            };
            condition.run((), || Ok(self.version.get()), work).map_err(|problem| problem.status)
        }
    }

    #[test]
    fn a_request_is_done_at_the_versions_that_it_names_and_at_no_other() {
        let one_of = |versions: &[u64]| IfMatch::OneOf(versions.to_vec());
        assert_eq!(Thing::at(3).change(&IfMatch::Unsaid), Ok(4));
        assert_eq!(Thing::at(3).change(&IfMatch::Any), Ok(4));
        assert_eq!(Thing::at(0).change(&IfMatch::Any), Err(412));
        assert_eq!(Thing::at(3).change(&one_of(&[3])), Ok(4));
        assert_eq!(Thing::at(3).change(&one_of(&[2])), Err(412));
        assert_eq!(Thing::at(3).change(&one_of(&[2, 3])), Ok(4));
        assert_eq!(Thing::at(4).change(&one_of(&[2, 3])), Err(412));
        assert_eq!(Thing::at(0).change(&one_of(&[0, 3])), Ok(1));
        assert_eq!(Thing::at(3).change(&one_of(&[])), Err(412));
        let one = Thing::at(3);
        assert_eq!((one.change(&one_of(&[2])), one.asked.take()), (Err(412), vec![Some(2)]), "one look, one answer");
    }

    #[test]
    fn what_others_change_meanwhile_is_tried_again_where_the_condition_still_holds() {
        let contested = |others, condition: &IfMatch| {
            let thing = Thing { others: Cell::new(others), ..Thing::at(3) };
            (thing.change(condition), thing.asked.take())
        };
        assert_eq!(contested(2, &IfMatch::Any), (Ok(6), vec![Some(3), Some(4), Some(5)]));
        assert_eq!(contested(1, &IfMatch::OneOf(vec![3, 4])), (Ok(5), vec![Some(3), Some(4)]));
        assert_eq!(contested(1, &IfMatch::OneOf(vec![2, 3])).0, Err(412));
        assert_eq!(contested(1000, &IfMatch::Any).0, Err(429));
    }

    fn opaque_tag() -> impl Strategy<Value = Vec<u8>> {
        let allowed = prop_oneof![Just(0x21u8), 0x23u8..=0x7e, 0x80u8..=0xff, b'0'..=b'9'];
        prop::collection::vec(allowed, 0..8)
    }

    proptest! {
        #[test]
        fn every_list_of_the_grammar_is_read(
            tags in prop::collection::vec((any::<bool>(), opaque_tag(), "[ \t]{0,2},[ \t]{0,2}"), 1..6),
            before in "[ \t]{0,2}(,[ \t]{0,2}){0,2}",
        ) {
            let mut text = before.into_bytes();
            let mut wanted = Vec::new();
            for (is_weak, tag, comma) in &tags {
                text.extend(if *is_weak { &b"W/\""[..] } else { b"\"" });
                text.extend(tag);
                text.push(b'"');
                text.extend(comma.bytes());
                let digits = std::str::from_utf8(tag).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
                wanted.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
            }
            prop_assert_eq!(read(&[&text]).expect("a list"), IfMatch::OneOf(wanted));
        }

        #[test]
        fn nothing_that_a_header_can_hold_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if HeaderValue::from_bytes(&bytes).is_ok() {
                let _ = read(&[&bytes]);
            }
        }

        #[test]
        fn what_is_given_out_is_read_as_the_same_version(version in any::<u64>()) {
            let tag = version_header(version)[header::ETAG].clone();
            prop_assert!(tag.to_str().is_ok_and(|tag| tag.starts_with('"')), "{:?} is strong", tag);
            prop_assert_eq!(read(&[tag.as_bytes()]).expect("a tag"), IfMatch::OneOf(vec![version]));
        }
    }
}
