//! How far a session has come: what the pipeline keeps with it. The records store it, and do not look into it.

use crate::MemoryError;
use membox_store::{OpaqueJson, StoredSession};
use serde::{Deserialize, Serialize};

/// How far the messages of a session are on their way to memories. The messages themselves are where they always were,
/// so that nothing is lost with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PipelineState {
    /// Place of the first message that is in no topic yet.
    pub buffered_from: i64,
    /// Topics of which no memory has been made yet, oldest first.
    pub waiting: Vec<TopicSpan>,
    /// Topics so far.
    pub topics: u64,
}

/// The messages of one topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TopicSpan {
    /// Its number within the session, from 1 on.
    pub number: u64,
    /// Place of its first message.
    pub from: i64,
    /// Place after its last one.
    pub until: i64,
    /// Tokens of its messages.
    pub tokens: u64,
}

impl PipelineState {
    /// What is stored with a session; of one that has none, that of the beginning.
    pub fn of(session: &StoredSession) -> Result<Self, MemoryError> {
        Ok(session.state.pipeline.as_ref().map(OpaqueJson::read).transpose()?.unwrap_or_default())
    }

    /// As it is stored.
    pub fn stored(&self) -> Result<OpaqueJson, MemoryError> {
        Ok(OpaqueJson::of(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_stored_as_it_always_was() {
        let stored = |state: &PipelineState| state.stored().expect("JSON").as_str().to_owned();
        assert_eq!(stored(&PipelineState::default()), r#"{"buffered_from":0,"waiting":[],"topics":0}"#);
        let waiting = vec![TopicSpan { number: 1, from: 0, until: 4, tokens: 9 }];
        let state = PipelineState { buffered_from: 4, waiting, topics: 1 };
        let text = r#"{"buffered_from":4,"waiting":[{"number":1,"from":0,"until":4,"tokens":9}],"topics":1}"#;
        assert_eq!(stored(&state), text);
        assert_eq!(state.stored().and_then(|kept| Ok(kept.read()?)).ok(), Some(state));
    }
}
