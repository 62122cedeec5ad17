//! A data folder as a whole: locked, looked at, checked, mended, copied.

mod backup;
mod inspect;
mod lock;
mod making;
mod mend;
mod restore;
mod sealing;
mod verify;

pub(crate) use backup::lock_file as backup_lock;
pub use backup::{BackupSummary, backup};
pub use inspect::{Overview, list_audit, overview, verify_audit};
pub(crate) use lock::lock;
pub use mend::mend_files;
pub use restore::restore;
pub use sealing::{EncryptionConfig, SealingConfig, keys_file};
pub use verify::{Problem, Report, verify};
