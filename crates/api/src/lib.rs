//! What callers say to the box and hear from it.
//!
//! Every request and every answer is here as plain data, with its JSON form (serde) and its schema (utoipa). The JSON
//! of [`CollectionSettings`] is also what the database keeps of a collection.
//!
//! This crate has no behaviour: it does not know how anything is stored, embedded or compressed, nor HTTP. It depends
//! on no other crate of membox. Where an engine has a type of the same form, `membox-memory` converts.
//!
//! # Example
//!
//! ```
//! use membox_api::{RecallMode, RecallRequest};
//!
//! let request: RecallRequest = serde_json::from_str(r#"{"query": "where is the key?", "mode": "text"}"#)?;
//! assert_eq!((request.mode(), request.k), (RecallMode::Text, 10));
//! assert!(serde_json::from_str::<RecallRequest>(r#"{"qurey": "a misspelt field is refused"}"#).is_err());
//! # Ok::<(), serde_json::Error>(())
//! ```

// What is written here is given out with the schema; where a field has no words of its own, its name says all.
#![allow(missing_docs)]

mod agent_memory;
pub mod characters;
mod checkpoints;
mod chunks;
mod collections;
mod compression;
mod context;
mod conversations;
mod embeddings;
mod explain;
mod fusion;
mod ids;
mod index;
mod keys;
mod late_interaction;
mod lists;
mod mem0;
mod memories;
mod messages;
mod models;
mod operations;
mod problem;
mod recall;
mod records;
mod redaction;
mod sessions;
mod tei;
mod tenants;
mod tokens;
mod tools;
mod topics;
mod usage;
mod users;
mod vectors;
mod windows;

pub use agent_memory::*;
pub use checkpoints::*;
pub use chunks::*;
pub use collections::*;
pub use compression::*;
pub use context::*;
pub use conversations::*;
pub use embeddings::*;
pub use explain::*;
pub use fusion::*;
pub use index::*;
pub use keys::*;
pub use late_interaction::*;
pub use lists::*;
pub use mem0::*;
pub use memories::*;
pub use messages::*;
pub use models::*;
pub use operations::*;
pub use problem::*;
pub use recall::*;
pub use records::*;
pub use redaction::*;
pub use sessions::*;
pub use tei::*;
pub use tenants::*;
pub use tokens::*;
pub use tools::*;
pub use topics::*;
pub use usage::*;
pub use users::*;
pub use windows::*;

/// Reads a query of a URL in which a name may stand several times.
fn pairs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;

    impl<'de> serde::de::Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("names with values")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(pair) = map.next_entry()? {
                found.push(pair);
            }
            Ok(found)
        }
    }
    deserializer.deserialize_map(Pairs)
}

/// What a flag is that is left out.
fn yes() -> bool {
    true
}
