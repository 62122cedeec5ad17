//! Whose messages instruct, and which messages are looked for.

use membox_api::{Modality, Role};

/// Whether a role says what the conversation is to be like, and is no turn of it.
pub(crate) fn is_instruction(role: &str) -> bool {
    [Role::System.name(), Role::Developer.name()].contains(&role)
}

/// A page of messages.
#[derive(Clone, Debug, Default)]
pub struct MessageQuery {
    /// Messages wanted at most.
    pub limit: usize,
    /// `seq` of the last message of the page before.
    pub after: Option<i64>,
    /// Newest first.
    pub newest_first: bool,
    /// Only messages that have all of these words; refused if it is blank.
    pub words: Option<String>,
    /// Only these.
    pub modality: Modality,
}
