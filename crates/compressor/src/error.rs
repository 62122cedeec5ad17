use crate::tokens::ENCODINGS;
use membox_encoder::EncoderError;

/// What can go wrong here.
#[derive(Debug, thiserror::Error)]
pub enum CompressorError {
    /// Neither an encoding nor a model that tiktoken knows.
    #[error("{name:?} is neither an encoding ({known}) nor a model that tiktoken knows",
        known = ENCODINGS.map(|e| e.0).join(", "))]
    UnknownEncoding {
        /// What was asked for.
        name: String,
    },
    /// Token ids that no text has.
    #[error("these are no token ids of {encoding}: {reason}")]
    NoText {
        /// The encoding that they were read by.
        encoding: &'static str,
        /// Why they are none.
        reason: String,
    },
    /// An option that cannot be met.
    #[error("{option}: {reason}")]
    Impossible {
        /// Its name.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// In mode `parity`: the package raises an exception here.
    #[error("llmlingua 0.2.2 fails here ({0}); mode \"default\" answers")]
    ReferenceFails(String),
    /// The model's files do not make a compressor.
    #[error("the model {name} cannot compress: {reason}")]
    NotACompressor {
        /// The model's name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A keep head could not be trained.
    #[error("training failed: {0}")]
    Training(String),
    /// From the encoder.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

impl CompressorError {
    pub(crate) fn impossible(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Impossible { option, reason: reason.into() }
    }
}
