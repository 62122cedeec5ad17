//! JSON that belongs to another crate.

use crate::RecordsError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// JSON that its owner writes and reads. It is kept byte by byte, and not looked into here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpaqueJson(Box<RawValue>);

impl OpaqueJson {
    /// A value as it is to be kept.
    pub fn of(value: &impl Serialize) -> Result<Self, RecordsError> {
        to_raw_value(value).map(Self).map_err(|error| RecordsError::Damaged(error.to_string()))
    }

    /// The value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, RecordsError> {
        serde_json::from_str(self.as_str()).map_err(|error| RecordsError::Damaged(error.to_string()))
    }

    /// JSON as it was written.
    pub fn written(json: Box<RawValue>) -> Self {
        Self(json)
    }

    /// As it is to be given out.
    pub fn into_written(self) -> Box<RawValue> {
        self.0
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for OpaqueJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use crate::sessions::SessionState;

    #[test]
    fn a_state_is_written_as_it_was_read() {
        let before = concat!(
            r#"{"next_position":3,"max_messages":0,"deletes_evicted":false,"ttl_s":null,"metadata":{},"#,
            r#""summary":null,"pipeline":{"z":1,"a": [2.50]},"created_at":1,"updated_at":2}"#,
        );
        let state: SessionState = serde_json::from_str(before).expect("a state");
        assert_eq!(serde_json::to_string(&state).expect("JSON"), before);
        // One of before there was a pipeline.
        let older = before.replace(r#""pipeline":{"z":1,"a": [2.50]},"#, "");
        let state: SessionState = serde_json::from_str(&older).expect("a state");
        assert_eq!((&state.pipeline, serde_json::to_string(&state).expect("JSON")), (&None, older));
    }
}
