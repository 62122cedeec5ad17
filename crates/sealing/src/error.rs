use std::path::PathBuf;

/// What can go wrong with keys and what is sealed with them.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// A file of keys could not be read or written.
    #[error("the keys in {path} cannot be read or written: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no keys that can be used: {reason}", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What should be a master key is none.
    #[error("a master key is 32 random bytes in base64, as `membox keys new` writes it")]
    NotAMasterKey,
    /// The keys are wrapped by another master key.
    #[error(
        "the keys of this data folder are wrapped by master key {wanted}, and {given} was given: set master_key_file \
         to that one, or name it in old_master_key_files"
    )]
    OtherMaster {
        /// Fingerprint of the key that is wanted.
        wanted: String,
        /// Fingerprint of the key that was given.
        given: String,
    },
    /// The key is not in the file.
    #[error("key number {0} is not there: what was sealed with it cannot be read")]
    NoKey(u32),
    /// The key has gone since the box was opened: its tenant was erased, or all of it is sealed with a newer key.
    #[error("what was sealed with key number {0} was erased, or sealed anew, while it was read: ask again")]
    Gone(u32),
    /// What was sealed has been changed, or is of another place.
    #[error("what is sealed was changed, or belongs elsewhere")]
    NotGenuine,
    /// The tenant is being erased.
    #[error("the tenant is being erased: try again when that is done")]
    Erasing,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}
