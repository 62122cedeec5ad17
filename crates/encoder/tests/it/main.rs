//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits.

mod architectures;
mod common;
mod cross_encoders;
mod embedding_models;
mod folders;
mod mixed_precision;
mod published;
mod reference;
mod scheduling;
mod splade;
mod token_vectors;
mod words;
