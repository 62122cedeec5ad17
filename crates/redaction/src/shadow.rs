//! A text as it reads, beside the text as it is written.
//!
//! Personal data is looked for in the shadow of a text, which [`fold`] and [`decode`] make layer by layer. Each layer
//! notes what it changed, so a place
//! in the shadow leads back to whole graphemes of the text.

use crate::decode::decode;
use crate::fold::fold;
use std::ops::Range;
use unicode_segmentation::GraphemeCursor;

/// Escapes within escapes that are read: `%40`, `%2540`, `%252540`.
const MAX_ESCAPES: usize = 6;

/// What stands for a part of the text before.
#[derive(Debug)]
struct Edit {
    before: Range<usize>,
    after: Range<usize>,
}

/// A text that was made from another one, and all that differs.
#[derive(Debug)]
pub struct Layer {
    text: String,
    /// In order, and apart.
    edits: Vec<Edit>,
}

impl Layer {
    /// The part of the text before that these bytes stand for.
    fn before(&self, range: Range<usize>) -> Range<usize> {
        self.place(range.start, |edit| edit.start)..self.place(range.end - 1, |edit| edit.end - 1) + 1
    }

    /// Where a byte was; of an edit, what `within` says.
    fn place(&self, at: usize, within: impl Fn(&Range<usize>) -> usize) -> usize {
        match self.edits[..self.edits.partition_point(|edit| edit.after.start <= at)].last() {
            None => at,
            Some(edit) if at < edit.after.end => within(&edit.before),
            Some(edit) => edit.before.end + (at - edit.after.end),
        }
    }
}

/// Writes a layer.
pub struct Rewrite<'a> {
    before: &'a str,
    copied: usize,
    layer: Layer,
}

impl<'a> Rewrite<'a> {
    /// Of this text.
    pub fn of(before: &'a str) -> Self {
        Self { before, copied: 0, layer: Layer { text: String::new(), edits: Vec::new() } }
    }

    /// Puts something in the place of a part, which is not empty and lies behind all before.
    pub fn replace(&mut self, range: Range<usize>, with: &str) {
        let Layer { text, edits } = &mut self.layer;
        if edits.is_empty() {
            text.reserve(self.before.len());
        }
        text.push_str(&self.before[self.copied..range.start]);
        self.copied = range.end;
        let start = text.len();
        text.push_str(with);
        match edits.last_mut() {
            // A run of characters that are left out is one edit.
            Some(last) if with.is_empty() && last.after.is_empty() && last.before.end == range.start => {
                last.before.end = range.end;
            }
            _ => edits.push(Edit { before: range, after: start..text.len() }),
        }
    }

    /// The layer; none where nothing was replaced.
    pub fn finish(mut self) -> Option<Layer> {
        self.layer.text.push_str(&self.before[self.copied..]);
        (!self.layer.edits.is_empty()).then_some(self.layer)
    }
}

/// A text and its layers.
pub struct Shadow<'a> {
    original: &'a str,
    layers: Vec<Layer>,
    /// How many layers there are before any escape is read.
    unescaped: usize,
}

impl<'a> Shadow<'a> {
    /// Of this text. One of ASCII without escapes has no layer: nothing is copied.
    pub fn of(original: &'a str) -> Self {
        let mut layers: Vec<Layer> = fold(original).into_iter().collect();
        let unescaped = layers.len();
        for _ in 0..MAX_ESCAPES {
            let Some(decoded) = decode(text_of(original, &layers)) else { break };
            let folded = fold(&decoded.text);
            layers.push(decoded);
            layers.extend(folded);
        }
        Self { original, layers, unescaped }
    }

    /// The text with escapes read.
    pub fn decoded(&self) -> Reading<'_> {
        Reading { original: self.original, layers: &self.layers }
    }

    /// The text with escapes left as they are written, where that is another one: `%13` may also be a percent sign
    /// and a number.
    pub fn undecoded(&self) -> Option<Reading<'_>> {
        let layers = &self.layers[..self.unescaped];
        (layers.len() < self.layers.len()).then_some(Reading { original: self.original, layers })
    }
}

fn text_of<'a>(original: &'a str, layers: &'a [Layer]) -> &'a str {
    layers.last().map_or(original, |layer| &layer.text)
}

/// One way to read a text.
pub struct Reading<'a> {
    original: &'a str,
    layers: &'a [Layer],
}

impl<'a> Reading<'a> {
    /// What is read.
    pub fn text(&self) -> &'a str {
        text_of(self.original, self.layers)
    }

    /// The whole graphemes of the original that a part of the reading, which is not empty, stands for.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let Range { mut start, mut end } = self.layers.iter().rev().fold(range, |range, layer| layer.before(range));
        if !self.is_border(start) {
            let mut cursor = GraphemeCursor::new(start, self.original.len(), true);
            start = cursor.prev_boundary(self.original, 0).ok().flatten().unwrap_or(0);
        }
        if !self.is_border(end) {
            let mut cursor = GraphemeCursor::new(end, self.original.len(), true);
            end = cursor.next_boundary(self.original, 0).ok().flatten().unwrap_or(self.original.len());
        }
        start..end
    }

    /// Whether a grapheme may begin here.
    fn is_border(&self, at: usize) -> bool {
        // Nothing but a line feed joins a character of ASCII to the one before, unless that one is not ASCII.
        let bytes = self.original.as_bytes();
        match (at.checked_sub(1).and_then(|before| bytes.get(before)), bytes.get(at)) {
            (None, _) | (_, None) => true,
            (Some(before), Some(after)) if before.is_ascii() && after.is_ascii() => true,
            _ => GraphemeCursor::new(at, bytes.len(), true).is_boundary(self.original, 0).unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_back_through_all_layers_to_whole_graphemes() {
        for (original, read, part, expected) in [
            ("plain text", "plain text", "text", "text"),
            ("ａ\u{200b}ｂ c", "ab c", "ab", "ａ\u{200b}ｂ"),
            ("x\u{200b}\u{200b}ab\u{200b}y", "xaby", "ab", "ab"),
            ("a%2540b", "a@b", "@", "%2540"),
            ("a&amp;#64;b", "a@b", "a@", "a&amp;#64;"),
            ("1️⃣2️⃣", "12", "1", "1️⃣"),
            ("e\u{301}\u{301}x", "ex", "e", "e\u{301}\u{301}"),
            ("%EF%BC%A1!", "A!", "A", "%EF%BC%A1"),
            ("㏂.", "a.m..", "m.", "㏂"),
            (r"\u0026#64;", "@", "@", r"\u0026#64;"),
        ] {
            let shadow = Shadow::of(original);
            let reading = shadow.decoded();
            assert_eq!(reading.text(), read, "{original}");
            let at = read.find(part).expect("a part");
            assert_eq!(&original[reading.original(at..at + part.len())], expected, "{original}");
        }
        assert!(Shadow::of("100% of a & b, \\d [x] (.)").layers.len() <= 1);
        assert!(Shadow::of("nothing special (here), at all.\n").layers.is_empty());
    }
}
