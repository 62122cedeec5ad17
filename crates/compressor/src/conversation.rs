//! A conversation: roles stay, the latest messages and the system's stay whole, the rest is compressed.

use crate::answer::{CompressedConversation, Message};
use crate::compressor::{Source, select};
use crate::options::CompressOptions;
use crate::select::Part;
use crate::tokens::{TokenCounter, conversation_overhead};
use crate::{Compressor, CompressorError};
use membox_encoder::Lane;
use serde_json::Value;

/// Messages at the end that stay as they are, unless the caller says otherwise.
pub const DEFAULT_KEEP_LAST: usize = 2;

impl Compressor {
    /// Compresses the messages of a conversation but the last `keep_last` and those of role `system` or `developer`.
    /// In mode `strict` the tokens of the whole, with 4 a message and 2 for the conversation, hold to the budget, and
    /// a message of which nothing fits is left out.
    pub fn compress_conversation(
        &self,
        messages: &[Message],
        keep_last: usize,
        options: &CompressOptions,
        lane: Lane,
    ) -> Result<CompressedConversation, CompressorError> {
        options.check()?;
        let counter = options.counter()?;
        let first_kept = messages.len().saturating_sub(keep_last);
        let is_whole = |i: usize| i >= first_kept || ["system", "developer"].contains(&&*messages[i].role);
        let sources = messages.iter().map(|m| Source::plain(m.content.clone().unwrap_or_default())).collect();
        let mut parts = self.parts(sources, options, lane)?;
        for (i, part) in parts.iter_mut().enumerate() {
            part.is_whole = is_whole(i);
        }
        let fits = |i: usize, part: &Part| is_whole(i) || part.text.is_empty() || !part.compressed().is_empty();
        let beside: Vec<usize> = messages.iter().map(|message| tokens_beside(message, counter)).collect();
        let count = |parts: &[Part]| {
            let left = parts.iter().enumerate().filter(|(i, part)| fits(*i, part));
            let (mut tokens, mut messages) = (0, 0);
            for (i, part) in left {
                (tokens, messages) = (tokens + counter.count(&part.compressed()) + beside[i], messages + 1);
            }
            tokens + conversation_overhead(messages)
        };
        let said: usize = parts.iter().map(|part| counter.count(&part.text)).sum();
        let origin_tokens = said + beside.iter().sum::<usize>() + conversation_overhead(messages.len());
        select(&mut parts, origin_tokens, options, counter, &count)?;
        let compressed_tokens = count(&parts);
        let mut answer = CompressedConversation {
            origin_tokens,
            compressed_tokens,
            model: self.name().to_owned(),
            mode: options.mode.name().to_owned(),
            ..CompressedConversation::default()
        };
        for (i, part) in parts.iter().enumerate() {
            if fits(i, part) {
                let content = messages[i].content.as_ref().map(|_| part.compressed());
                answer.messages.push(Message { content, ..messages[i].clone() });
            } else {
                answer.dropped.push(i);
            }
        }
        Ok(answer)
    }
}

/// Tokens of a message beside its content: of names and calls, as OpenAI's API has them.
fn tokens_beside(message: &Message, counter: TokenCounter) -> usize {
    let field = |name| message.other.get(name);
    let texts = ["name", "tool_call_id", "refusal"].map(|name| field(name).and_then(Value::as_str));
    counter.count_beside(texts, ["tool_calls", "function_call"].map(field))
}
