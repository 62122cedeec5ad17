//! What answers cost.

/// Bytes that are counted as one token where an endpoint does not say how many there were.
const BYTES_PER_TOKEN: usize = 4;

/// What answers have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that were answered.
    pub calls: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Tokens of what was asked, as the endpoint counts them; a token for four bytes where it does not.
    pub prompt_tokens: u64,
    /// Tokens of what was answered, counted in the same way.
    pub completion_tokens: u64,
}

impl Usage {
    /// Tokens in and out.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
    }

    pub(crate) fn record(&self) {
        metrics::counter!("membox_llm_calls_total", "outcome" => "done").increment(self.calls);
        metrics::counter!("membox_llm_calls_total", "outcome" => "failed").increment(self.failed);
        metrics::counter!("membox_llm_tokens_total", "direction" => "in").increment(self.prompt_tokens);
        metrics::counter!("membox_llm_tokens_total", "direction" => "out").increment(self.completion_tokens);
    }
}

/// About how many tokens so many bytes are.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}
