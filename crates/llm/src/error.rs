//! What goes wrong, and whom it concerns.

use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// Every endpoint has failed.
    #[error("no language model answers: {reason}")]
    Failed {
        /// What each said last.
        reason: String,
    },
    /// There are answers, and none is what was asked for. Other questions may have better ones.
    #[error("no language model gives an answer that is of use: {reason}")]
    Useless {
        /// What was wrong with each.
        reason: String,
    },
    /// Every endpoint has failed just now, and is left alone for a while.
    #[error("no language model has answered {seconds} s ago ({reason}); it is asked again in a while")]
    Resting {
        /// How long ago.
        seconds: u64,
        /// What each said last.
        reason: String,
    },
    /// What this tenant has asked was answered with nothing useful, again and again.
    #[error("language models make nothing of what this tenant asks ({reason}); they are asked again in a while")]
    TenantResting {
        /// What each said last.
        reason: String,
    },
    /// The day's tokens are used.
    #[error("the {budget} tokens that language models may use today are used (llm.tokens_per_day)")]
    Budget {
        /// Tokens of a day.
        budget: u64,
    },
    /// The tenant's tokens of the day are used.
    #[error(
        "the {budget} tokens that language models may use today for this tenant are used \
         (llm.tokens_per_day_of_tenant)"
    )]
    TenantBudget {
        /// Tokens of a day.
        budget: u64,
    },
}

/// Whom a failed try concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerns {
    /// All who would ask this endpoint: it cannot be reached, is overloaded, or is set up wrongly.
    Everybody,
    /// The one who asked this question: it is not answered as it should be, and others may be.
    Question,
}

/// How one try failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub reason: String,
    pub concerns: Concerns,
    /// Whether it may be different the next time.
    pub is_passing: bool,
    /// When to try again, if the endpoint says so.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// The endpoint could not be asked, and may be the next time.
    pub fn of_transport(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), concerns: Concerns::Everybody, is_passing: true, retry_after: None }
    }

    /// It has answered, and not what was asked for.
    pub fn of_content(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), concerns: Concerns::Question, is_passing: true, retry_after: None }
    }

    /// It has answered with this HTTP status.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        let reason = match status {
            300..=399 => format!(
                "HTTP status {status}: redirects are not followed, since the key and the messages would go along; \
                 set the address that it names"
            ),
            _ => format!("HTTP status {status}"),
        };
        // A question that is too long is the asker's own; wrong keys and models are everybody's.
        let concerns = if matches!(status, 400 | 413 | 422) { Concerns::Question } else { Concerns::Everybody };
        // Wrong keys and models stay wrong; too many questions, and a server's own trouble, pass.
        let is_passing = matches!(status, 408 | 409 | 429 | 500..);
        Self { reason, concerns, is_passing, retry_after }
    }
}
