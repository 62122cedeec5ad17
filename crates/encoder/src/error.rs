use std::path::PathBuf;

/// What can go wrong on the way from text to vectors.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// A file of the model is not there.
    #[error("{path} is missing: run `membox models pull` to install the model", path = .0.display())]
    MissingFile(PathBuf),
    /// A file of the model could not be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the model is there but is not what it should be.
    #[error("{path} is not a usable model file: {reason}", path = .path.display())]
    BadModel {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the model is another one than it must be.
    #[error("{path} is refused: its SHA-256 is {found}, not {wanted} ({whose}). Somebody has changed it, or it broke: \
        `membox models pull --force` installs the model anew", path = .path.display(), whose = said_by(*.by))]
    WrongChecksum {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
        /// Who says so.
        by: crate::ChecksumSource,
    },
    /// The tokenizer refused a text.
    #[error("the text cannot be tokenized: {0}")]
    Tokenize(String),
    /// Token ids that the model does not know, or none at all.
    #[error("input {input}: {reason}")]
    BadTokens {
        /// Which input of the request, from 0.
        input: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The model cannot say which tokens to keep.
    #[error("the model has no keep head: it embeds, and does not compress")]
    NoKeepHead,
    /// The model compares no pairs.
    #[error("the model is no cross-encoder")]
    NoCrossEncoder,
    /// The model gives no sparse vectors.
    #[error("the model gives no sparse vectors")]
    NoSparseVectors,
    /// Token vectors cannot be had of the model.
    #[error("the model has no token axes, so there are no vectors of its tokens: `membox models axes` makes them")]
    NoTokenAxes,
    /// Token vectors do not have as many dimensions.
    #[error("token vectors have 32, 48 or 64 dimensions, not {0}")]
    TokenDimension(usize),
    /// The GPU that was asked for cannot be used.
    #[error("device = {device} cannot be had: {reason}; with device = auto the CPU is used instead")]
    NoGpu {
        /// What was asked for.
        device: crate::Device,
        /// Why not.
        reason: String,
    },
    /// The queue of the lane is full.
    #[error("the encoder's queue is full; try again in {retry_after_s} s")]
    Overloaded {
        /// When there should be room again, in seconds.
        retry_after_s: u64,
    },
    /// A fault of membox itself, met by what was encoded together with it or on its way there.
    #[error("the encoder broke off; the log of the box says more")]
    Panicked(#[from] membox_threads::Panicked),
    /// The encoder is shutting down, or the caller went away.
    #[error("the encoder is stopping")]
    Stopped,
}

fn said_by(source: crate::ChecksumSource) -> &'static str {
    match source {
        crate::ChecksumSource::Recorded => "as SHA256SUMS beside it says",
        _ => "as membox knows it",
    }
}
