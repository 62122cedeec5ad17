//! Compression of what a caller sends, without keeping anything of it.

use crate::convert::{compress_options, compressed_conversation, compressed_text, json_rules, message};
use crate::{MemoryError, Models};
use membox_api::{CompressAnswer, CompressOptions, CompressSource, CompressedDocuments, CompressedJson, Texts};
use membox_compressor::DEFAULT_KEEP_LAST;
use membox_encoder::Lane;

/// Requests of at most so many bytes of text take the interactive lane: some eight passes of the model.
const INTERACTIVE_BYTES: usize = 16 << 10;

fn lane(bytes: usize) -> Lane {
    if bytes <= INTERACTIVE_BYTES { Lane::Interactive } else { Lane::Bulk }
}

fn length(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

impl Models {
    /// Leaves out the words that a reader can do without. The answer has the form of what was sent.
    pub fn compress(&self, source: CompressSource, options: &CompressOptions) -> Result<CompressAnswer, MemoryError> {
        let compressor = self.compressor(source.model.as_deref())?;
        let options = &compress_options(options);
        if let Some(documents) = source.documents {
            let lane = lane(length(&documents));
            let documents: Vec<Vec<String>> = documents.into_iter().map(|text| vec![text]).collect();
            let documents = compressor.compress_many(&documents, options, lane)?;
            return Ok(CompressAnswer::Documents(CompressedDocuments {
                origin_tokens: documents.iter().map(|d| d.origin_tokens).sum(),
                compressed_tokens: documents.iter().map(|d| d.compressed_tokens).sum(),
                documents: documents.into_iter().map(compressed_text).collect(),
            }));
        }
        if let Some(messages) = source.messages {
            let lane = lane(messages.iter().filter_map(|m| m.content.as_ref()).map(String::len).sum());
            let keep_last = source.keep_last.unwrap_or(DEFAULT_KEEP_LAST);
            let messages: Vec<_> = messages.into_iter().map(message).collect();
            let left = compressor.compress_conversation(&messages, keep_last, options, lane)?;
            return Ok(CompressAnswer::Messages(compressed_conversation(left)));
        }
        if let (Some(data), Some(rules)) = (source.json_data, source.json_config) {
            let (json_data, left) = compressor.compress_json(&data, &json_rules(rules), options, Lane::Interactive)?;
            let compressed = compressed_text(left);
            return Ok(CompressAnswer::Json(Box::new(CompressedJson { json_data, compressed })));
        }
        let contexts = source.context.map(Texts::into_vec).unwrap_or_default();
        let left = compressor.compress(&contexts, options, lane(length(&contexts)))?;
        Ok(CompressAnswer::Context(Box::new(compressed_text(left))))
    }
}
