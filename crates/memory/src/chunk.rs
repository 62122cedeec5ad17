//! Cutting a long text into pieces that can be embedded: at paragraphs where that fits, else at sentences, else at words, with some of each piece again
//! at the beginning of the next.

use crate::{MemoryError, token_counter};
use membox_api::{Chunk, ChunkRequest, ChunkUnit};
use membox_compressor::TokenCounter;
use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};

/// Length of a piece, and how much of it is in the next one too.
const SIZE: usize = 1000;
const OVERLAP: usize = 200;
/// Bytes of a text.
const MOST_CHUNKED_BYTES: usize = 16 << 20;

/// Counts what chunks are measured in.
enum Sizer {
    Characters,
    Tokens(TokenCounter),
}

impl ChunkSizer for Sizer {
    fn size(&self, chunk: &str) -> usize {
        match self {
            Self::Characters => chunk.chars().count(),
            Self::Tokens(counter) => counter.count(chunk),
        }
    }
}

/// Cuts a text.
pub fn chunk(request: &ChunkRequest) -> Result<Vec<Chunk>, MemoryError> {
    let size = request.size.unwrap_or(SIZE);
    let overlap = request.overlap.unwrap_or(OVERLAP.min(size / 5));
    if size == 0 || overlap >= size {
        let reason = format!("an overlap of {overlap} does not fit pieces of {size}");
        return Err(MemoryError::impossible("/overlap", reason));
    }
    if request.text.len() > MOST_CHUNKED_BYTES {
        return Err(MemoryError::impossible("/text", format!("a text has at most {MOST_CHUNKED_BYTES} bytes")));
    }
    let sizer = match request.unit {
        ChunkUnit::Characters => Sizer::Characters,
        ChunkUnit::Tokens => Sizer::Tokens(token_counter(request.encoding.as_deref(), "/encoding")?),
    };
    let config = ChunkConfig::new(size).with_sizer(sizer).with_overlap(overlap);
    let config = config.map_err(|e| MemoryError::impossible("/overlap", e.to_string()))?;
    let splitter = TextSplitter::new(config);
    let piece = |(start, text): (usize, &str)| Chunk { text: text.to_owned(), start, end: start + text.len() };
    Ok(splitter.chunk_indices(&request.text).map(piece).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str, size: usize, overlap: usize, unit: ChunkUnit) -> ChunkRequest {
        ChunkRequest { text: text.to_owned(), size: Some(size), overlap: Some(overlap), unit, encoding: None }
    }

    #[test]
    fn paragraphs_and_sentences_stay_whole_where_they_fit() {
        let text = "First sentence. Second sentence.\n\nA new paragraph.";
        let texts = |size| -> Vec<String> {
            let chunks = chunk(&request(text, size, 0, ChunkUnit::Characters)).expect("chunks");
            chunks.into_iter().map(|c| c.text).collect()
        };
        assert_eq!(texts(40), ["First sentence. Second sentence.", "A new paragraph."]);
        assert_eq!(texts(18), ["First sentence.", "Second sentence.", "A new paragraph."]);
        let chinese = chunk(&request("我喜欢绿茶。他喜欢咖啡。她喝水。", 7, 0, ChunkUnit::Characters)).expect("chunks");
        assert_eq!(chinese[0].text, "我喜欢绿茶。");
    }

    proptest! {
        #[test]
        fn pieces_fit_lie_where_they_say_and_lose_nothing(
            text in "(\\PC{0,30}[ \n.。]{0,2}){0,20}",
            size in 1usize..60,
            share in 0usize..100,
            tokens: bool,
        ) {
            let unit = if tokens { ChunkUnit::Tokens } else { ChunkUnit::Characters };
            let sizer = if tokens { Sizer::Tokens(token_counter(None, "").expect("an encoding")) } else { Sizer::Characters };
            let chunks = chunk(&request(&text, size, size * share / 100, unit)).expect("chunks");
            let mut covered = vec![false; text.len()];
            for piece in &chunks {
                prop_assert_eq!(&text[piece.start..piece.end], &piece.text);
                // A character of several tokens is not cut.
                prop_assert!(sizer.size(&piece.text) <= size || piece.text.chars().count() == 1, "{:?}", piece);
                covered[piece.start..piece.end].fill(true);
            }
            for (i, c) in text.char_indices() {
                prop_assert!(covered[i] || c.is_whitespace(), "{:?} at {} of {:?}", c, i, text);
            }
        }
    }
}
