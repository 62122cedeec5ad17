//! Tenants' keys under a master key, bytes sealed with them, and words made unreadable.
//!
//! Envelope encryption: each tenant has a key of its own, and all of these lie in one file, each wrapped with
//! AES-256-GCM by a [`MasterKey`] that is kept elsewhere. So a master key is changed without touching what is sealed,
//! and a tenant is gone for good when its key is.
//!
//! What is sealed with a tenant's key is bound to its place (AES-256-GCM, a random nonce of 96 bits, the place as
//! associated data): bytes that are moved to another place do not open there. Nonces are random, so that one key
//! should seal no more than 2³² times (NIST SP 800-38D, 8.3); rotate it before. An index of words cannot be sealed
//! and searched; [`TermKey`] gives each word a code by HMAC-SHA-256, which is the same for the same word. So an index
//! still shows how often a word comes, not which word it is.
//!
//! This crate does not know what is sealed, nor where it is kept.
//!
//! # Example
//!
//! ```
//! use membox_sealing::{Keyring, MasterKey};
//!
//! let folder = tempfile::tempdir()?;
//! let master = MasterKey::generate()?;
//! let keyring = Keyring::open(&folder.path().join("keys.json"), master, &[])?;
//! let (key, sealed) = keyring.seal("acme", &["record", "7"], b"the spare key is under the pot")?;
//! assert_eq!(keyring.open_sealed(key, &["record", "7"], &sealed)?, b"the spare key is under the pot");
//! assert!(keyring.open_sealed(key, &["record", "8"], &sealed).is_err(), "of another place");
//! keyring.erase("acme")?;
//! assert!(keyring.open_sealed(key, &["record", "7"], &sealed).is_err(), "gone for good");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cipher;
mod error;
mod file;
mod keyring;

pub use cipher::{MasterKey, TermKey, hex};
pub use error::SealingError;
pub use file::{KeyView, keys};
pub use keyring::{Keyring, Opener};

/// Results of this crate.
pub type Result<T> = std::result::Result<T, SealingError>;
