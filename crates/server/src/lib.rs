//! The HTTP surface of the box: routes, keys, what browsers may do, limits, OpenAPI, metrics.
//!
//! A [`Server`] translates between HTTP and [`membox_memory`]; it does not know how anything is stored. Errors are
//! RFC 9457 problem documents ([`Problem`]). Handlers never compute or block: what does runs on two pools of
//! threads, one for reads and one for writes, so that imports do not keep recalls waiting, or on the encoder's own
//! threads.
//!
//! # Example
//!
//! ```no_run
//! use membox_memory::{MemoryBox, MemoryConfig, Models};
//! use membox_server::{Server, ServerConfig};
//! use std::sync::Arc;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = Arc::new(MemoryBox::open(&MemoryConfig::new("data"), Models::default())?);
//! let server = Server::new(memory, ServerConfig::default())?;
//! let listener = membox_server::listen("127.0.0.1:8420".parse()?)?;
//! server.run(listener, async { drop(tokio::signal::ctrl_c().await) }).await;
//! # Ok(())
//! # }
//! ```

mod access;
mod app;
mod auth;
mod connections;
mod contract;
mod cursor;
mod dialect;
mod encodings;
mod etag;
mod extract;
mod guard;
mod http;
mod json;
mod key_file;
mod keys;
mod managed;
mod mcp;
mod openapi;
mod paths;
mod pool;
mod problem;
mod rate;
mod recorder;
mod rendered;
mod request;
mod routes;
mod state;
mod tls;
mod trace;

pub use access::Reach;
pub use app::{Server, listen, openapi};
pub use auth::DEFAULT_TENANT;
pub use key_file::{KeyFile, MAX_KEYS, ManagedKey, sha256_of_digits};
pub use keys::{ApiKey, KeyChanges, Keys};
pub use problem::Problem;
pub use state::{Limits, ServerConfig};
pub use tls::{Tls, TlsFiles};
pub use trace::{JoinTrace, Spans};

use std::path::PathBuf;

/// What can go wrong before a server runs, or when its keys are replaced.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The operating system gives no more threads.
    #[error("cannot start the server's threads: {0}")]
    Threads(std::io::Error),
    /// The API's document cannot be written as JSON.
    #[error("cannot describe the API: {0}")]
    Document(serde_json::Error),
    /// A name of `allowed_hosts` is none.
    #[error("allowed_hosts: {0:?} is no host: write box.example, without scheme, port, path and *")]
    AllowedHost(String),
    /// An origin of `allowed_origins` is none.
    #[error(
        "allowed_origins: {0:?} is no origin: write https://app.example or http://localhost:3000, without path and *"
    )]
    AllowedOrigin(String),
    /// Without keys everybody could ask.
    #[error("the last key cannot be taken away while the box runs: everybody could ask then")]
    NoKeys,
    /// A key stands in the settings and in the file of keys.
    #[error("a key of the settings is in the file of keys too, as {0}: take it out of one of them")]
    SameKey(String),
    /// The file of keys cannot be read or written.
    #[error("cannot {action} the file of keys {path}: {source}")]
    KeyFile {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file of keys holds what this version does not understand.
    #[error("the file of keys {path}: {reason}")]
    BrokenKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be made as it is asked for.
    #[error("{field}: {reason}")]
    NewKey {
        /// The field that is wrong.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A certificate, its key or an authority cannot be used.
    #[error("TLS: {path}: {reason}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No key has this id.
    #[error("there is no key {0:?} in the file of keys; `membox keys list` and GET /v1/keys show all")]
    NoKey(String),
    /// Without any key nobody could ask.
    #[error("this is the last key of the box: make another one first, or revoke it by `membox keys revoke`")]
    LastKey,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}
