//! The values of an import file: a line each, or the elements of an array, or objects over several lines. None is
//! held longer than it takes to read it, and a broken one does not hide those after it.

use serde::de::IgnoredAny;
use std::collections::VecDeque;
use std::io::{self, BufRead, Cursor, Read};

/// Bytes of one value.
pub const MAX_ITEM_BYTES: usize = 96 << 20;

/// A value, or what stands in the place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What is written there.
    pub bytes: Vec<u8>,
    /// Why it is no value, where that is known.
    pub problem: Option<String>,
}

/// How values are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Not known yet.
    Unknown,
    /// One a line.
    Lines,
    /// One a line, of an array that is broken: commas and brackets around them are passed over.
    Salvaged,
    /// One after the other, within so many arrays. One array in another is passed through: where it was opened by
    /// mistake, it would hide all that follows.
    Values { depth: usize },
}

/// The values of a text, in their order.
pub struct Items<'a> {
    reader: Box<dyn BufRead + 'a>,
    mode: Mode,
    /// The line that is read next.
    line: u64,
    ready: VecDeque<Item>,
    max_bytes: usize,
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

impl<'a> Items<'a> {
    /// Of a text that begins without a byte order mark.
    pub fn new(reader: Box<dyn BufRead + 'a>) -> Self {
        Self { reader, mode: Mode::Unknown, line: 1, ready: VecDeque::new(), max_bytes: MAX_ITEM_BYTES }
    }

    /// The next value; `None` after the last.
    fn read(&mut self) -> io::Result<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            match self.mode {
                Mode::Unknown => self.find_mode()?,
                Mode::Lines | Mode::Salvaged => match self.read_line()? {
                    None => return Ok(None),
                    Some(item) if is_blank(&item.bytes) && item.problem.is_none() => {}
                    Some(item) => return Ok(Some(item)),
                },
                Mode::Values { depth } => {
                    if !self.read_value(depth)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes over white space, and commas where they part values.
    fn skip_blank(&mut self, commas: bool) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !(byte.is_ascii_whitespace() || commas && byte == b',') {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            self.reader.consume(1);
        }
        Ok(None)
    }

    /// Puts bytes that were read, from `line` on, before what comes next.
    fn put_back(&mut self, bytes: Vec<u8>, line: u64) {
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(bytes).chain(rest));
        self.line = line;
    }

    /// An array begins with its bracket. An object that ends on another line than it begins is one of several lines;
    /// all else is one value a line.
    fn find_mode(&mut self) -> io::Result<()> {
        self.mode = match self.skip_blank(false)? {
            Some(b'[') => Mode::Values { depth: 0 },
            Some(b'{') => {
                let line = self.line;
                let Scanned { bytes, end } = self.scan_value(false)?;
                let is_long = end == End::Closed && bytes.contains(&b'\n') && is_json(&bytes);
                self.put_back(bytes, line);
                if is_long { Mode::Values { depth: 0 } } else { Mode::Lines }
            }
            _ => Mode::Lines,
        };
        Ok(())
    }

    fn read_line(&mut self) -> io::Result<Option<Item>> {
        let (line, max) = (self.line, self.max_bytes as u64);
        let mut bytes = Vec::new();
        let mut length = self.reader.by_ref().take(max + 1).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            return Ok(None);
        }
        self.line += 1;
        let mut problem = None;
        if bytes.last() != Some(&b'\n') && bytes.len() > max as usize {
            problem = Some(too_long(max as usize));
            bytes.truncate(1 << 10);
            while length > 0 && !self.skip_to_line_end()? {
                length = usize::from(self.peek()?.is_some());
            }
        }
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if self.mode == Mode::Salvaged {
            bytes = without_array(&bytes).to_vec();
        }
        Ok(Some(Item { line, bytes, problem }))
    }

    /// Passes over what is at hand of a line; whether its end was there.
    fn skip_to_line_end(&mut self) -> io::Result<bool> {
        self.peek()?;
        let buffer = self.reader.fill_buf()?;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let count = end.map_or(buffer.len(), |end| end + 1);
        self.reader.consume(count);
        Ok(end.is_some())
    }

    /// Reads a value, or a bracket around values; `false` at the end.
    fn read_value(&mut self, depth: usize) -> io::Result<bool> {
        let in_array = depth > 0;
        let Some(byte) = self.skip_blank(true)? else {
            if in_array {
                let problem = Some("the array breaks off: its end, a ], is missing".to_owned());
                self.ready.push_back(Item { line: self.line, bytes: Vec::new(), problem });
                self.mode = Mode::Values { depth: 0 };
            }
            return Ok(in_array);
        };
        if byte == b'[' || byte == b']' && in_array {
            self.reader.consume(1);
            self.mode = Mode::Values { depth: if byte == b'[' { depth + 1 } else { depth - 1 } };
            return Ok(true);
        }
        let line = self.line;
        let Scanned { bytes, end } = self.scan_value(in_array)?;
        match end {
            End::Closed if is_json(&bytes) || !bytes.contains(&b'\n') => {
                self.ready.push_back(Item { line, bytes, problem: None });
            }
            // Each of its lines may be a value. It may have swallowed all that follows.
            End::Closed | End::Cut | End::TooLong if bytes.contains(&b'\n') => {
                if end == End::Closed {
                    self.salvage(&bytes, line);
                } else {
                    self.put_back(bytes, line);
                    self.mode = Mode::Salvaged;
                }
            }
            End::TooLong => {
                let problem = Some(too_long(self.max_bytes));
                let bytes = bytes[..bytes.len().min(1 << 10)].to_vec();
                self.ready.push_back(Item { line, bytes, problem });
                while !self.skip_to_line_end()? && self.peek()?.is_some() {}
                self.line += 1;
            }
            _ => self.ready.push_back(Item { line, bytes, problem: None }),
        }
        Ok(true)
    }

    fn salvage(&mut self, bytes: &[u8], first: u64) {
        for (line, bytes) in (first..).zip(bytes.split(|&byte| byte == b'\n')) {
            let bytes = without_array(bytes);
            if !is_blank(bytes) {
                self.ready.push_back(Item { line, bytes: bytes.to_vec(), problem: None });
            }
        }
    }

    /// Reads up to where a value ends by its brackets.
    fn scan_value(&mut self, in_array: bool) -> io::Result<Scanned> {
        let (mut bytes, mut depth, mut in_string, mut escaped) = (Vec::new(), 0usize, false, false);
        loop {
            if self.peek()?.is_none() {
                let end = if depth == 0 && !in_string { End::Closed } else { End::Cut };
                return Ok(Scanned { bytes, end });
            }
            let buffer = self.reader.fill_buf()?;
            let (mut used, mut end) = (0, None);
            for &byte in buffer {
                // A line break within a string: the value is broken, and those after it begin anew.
                if byte == b'\n' && in_string {
                    end = Some(End::Closed);
                    break;
                }
                let is_outside = depth == 0 && !in_string && bytes.len() + used > 0;
                if is_outside && (byte == b'\n' || in_array && matches!(byte, b',' | b']')) {
                    end = Some(End::Closed);
                    break;
                }
                used += 1;
                self.line += u64::from(byte == b'\n');
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_string => escaped = true,
                    b'"' => in_string = !in_string,
                    b'{' | b'[' if !in_string => depth += 1,
                    b'}' | b']' if !in_string => {
                        depth = depth.saturating_sub(1);
                        if depth == 0 {
                            end = Some(End::Closed);
                            break;
                        }
                    }
                    _ => {}
                }
                if bytes.len() + used > self.max_bytes {
                    end = Some(End::TooLong);
                    break;
                }
            }
            bytes.extend_from_slice(&buffer[..used]);
            self.reader.consume(used);
            if let Some(end) = end {
                return Ok(Scanned { bytes, end });
            }
        }
    }
}

/// What was read of a value, and how it ended.
struct Scanned {
    bytes: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself.
    Closed,
    /// With the text, in the middle of it.
    Cut,
    /// It is longer than any may be.
    TooLong,
}

fn too_long(max: usize) -> String {
    format!("it is longer than {} MiB", max >> 20)
}

/// A line of an array that is broken, without what makes it one.
fn without_array(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let line = line.strip_suffix(b",").unwrap_or(line).trim_ascii_end();
    if matches!(line, b"[" | b"]" | b"") { b"" } else { line }
}

impl Iterator for Items<'_> {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{Pieces, encodings};
    use crate::text::text_of;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn items(bytes: &[u8], sizes: &[usize]) -> Vec<Item> {
        let text = text_of(Pieces { bytes, sizes, next: 0 }).expect("a text");
        Items::new(text).collect::<io::Result<_>>().expect("values")
    }

    fn texts(of: &str) -> Vec<String> {
        let text = |item: Item| String::from_utf8(item.bytes).expect("UTF-8");
        items(of.as_bytes(), &[5]).into_iter().map(text).collect()
    }

    fn any_record() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["\\PC{0,30}", Just("a \"quote\", a \\ and [brackets}\n, 三 🦉\u{2028}".to_owned())];
        (text, any::<i32>()).prop_map(|(text, n)| json!({"text": text, "metadata": {"n": n, "list": [[], {}, "]"]}}))
    }

    proptest! {
        #[test]
        fn every_form_and_encoding_gives_the_same_values_however_it_arrives(
            records in prop::collection::vec(any_record(), 1..8),
            sizes in prop::collection::vec(1usize..90, 1..5),
        ) {
            let lines: Vec<String> = records.iter().map(Value::to_string).collect();
            let long: Vec<String> = records.iter().map(|r| format!("{r:#}")).collect();
            let forms = [
                lines.join("\n"),
                lines.join("\r\n") + "\r\n",
                format!("\n \n{}\n\n", lines.join("\n\n  \n")),
                format!("[{}]", lines.join(",")),
                format!("[\n{}\n]\n", lines.join(",\n")),
                format!("{:#}", Value::Array(records.clone())),
                long.join("\n"),
                format!("[{}]\n[{}]", lines[0], lines[1..].join(", ")),
            ];
            for form in forms {
                for bytes in encodings(&form) {
                    let found: Vec<Value> = items(&bytes, &sizes)
                        .iter()
                        .map(|item| serde_json::from_slice(&item.bytes).expect("a value"))
                        .collect();
                    prop_assert_eq!(&found, &records, "{}", form);
                }
            }
        }

        #[test]
        fn a_broken_line_hides_none_of_the_others(
            broken in prop::collection::vec("[\\[\\]{}\":,a-z0-9 \\\\]{1,40}", 1..5),
            at in prop::collection::vec(any::<prop::sample::Index>(), 5),
            in_array in any::<bool>(),
        ) {
            let good: Vec<String> = (0..20).map(|i| json!({"id": i.to_string(), "text": "x"}).to_string()).collect();
            let mut lines = good.clone();
            for (line, at) in broken.iter().zip(&at) {
                // The first line says what the file is.
                lines.insert(1 + at.index(lines.len() - 1), line.clone());
            }
            let text = if in_array { format!("[\n{}\n]", lines.join(",\n")) } else { lines.join("\n") };
            let found = items(text.as_bytes(), &[64]);
            for line in &good {
                let is_it = |item: &&Item| item.bytes == line.as_bytes();
                prop_assert_eq!(found.iter().filter(is_it).count(), 1, "{} of {}", line, text);
            }
        }
    }

    #[test]
    fn an_array_that_a_broken_line_opens_hides_nothing() {
        for broken in ["[", "[0", "}[0", "[{\"a\":1},[2"] {
            let text = format!("[\n{{\"id\":1}},\n{broken},\n{{\"id\":2}},\n{{\"id\":3}}\n]");
            let found = texts(&text);
            for good in ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"] {
                assert!(found.iter().any(|item| item == good), "{good} of {text}: {found:?}");
            }
        }
    }

    #[test]
    fn a_first_line_that_is_broken_hides_nothing() {
        for first in ["{\"id\": \"1\", \"text\": \"x", "{\"id\": 1", "{", "}", "not json", "{\"a\": \"\\"] {
            let text = format!("{first}\n{{\"id\":\"2\"}}\n{{\"id\":\"3\"}}\n");
            let found = texts(&text);
            assert_eq!(&found[found.len() - 2..], ["{\"id\":\"2\"}", "{\"id\":\"3\"}"], "{text}");
        }
    }

    #[test]
    fn lines_are_numbered_as_an_editor_does() {
        let numbers = |text: &str| items(text.as_bytes(), &[3]).iter().map(|item| item.line).collect::<Vec<_>>();
        assert_eq!(numbers("{\"a\":1}\n\n{\"a\":2}\nx\n"), [1, 3, 4]);
        assert_eq!(numbers("[\n{\"a\":1},\n\n{\"a\":\n2}\n,3]"), [2, 4, 6]);
        assert_eq!(numbers("{\n\"a\":1\n}\n{\n\"a\":2\n}"), [1, 4]);
    }

    #[test]
    fn an_array_that_breaks_off_is_told_from_a_whole_one() {
        let found = items(b"[{\"a\":1},{\"a\":2}", &[4]);
        assert_eq!(found.len(), 3);
        assert!(found[2].problem.as_ref().is_some_and(|problem| problem.contains("breaks off")));
    }

    #[test]
    fn a_value_that_is_too_long_is_passed_over() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(500));
        for text in [format!("{{\"a\":1}}\n{long}\n{{\"a\":2}}\n"), format!("[{{\"a\":1}},\n{long},\n{{\"a\":2}}]")] {
            let mut items = Items::new(text_of(text.as_bytes()).expect("a text"));
            items.max_bytes = 100;
            let found: Vec<Item> = items.map(|item| item.expect("a value")).collect();
            let good = found.iter().filter(|item| item.problem.is_none()).map(|item| item.bytes.as_slice());
            assert!(good.eq([b"{\"a\":1}".as_slice(), b"{\"a\":2}"]), "{found:?}");
            assert_eq!(found.iter().filter(|item| item.problem.is_some()).count(), 1, "{found:?}");
        }
    }
}
