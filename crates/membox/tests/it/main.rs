//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits.

#![expect(clippy::disallowed_methods, reason = "tests have threads, and look into databases, on their own")]

mod answer_cache;
mod bodies;
mod browser;
mod common;
mod compress;
mod dependencies;
mod deploy;
mod devices;
mod documents;
mod embeddings;
mod encodings;
mod encryption;
mod faults;
mod fields;
mod files;
mod full_disk;
mod fuzz;
mod ids;
mod import;
mod isolation;
mod jobs;
mod keys;
mod kill;
mod language_models;
mod links;
mod lists;
mod long_texts;
mod mcp;
mod media;
mod mem0;
mod memories;
mod mending;
mod models;
mod neighbours;
mod numbers;
mod older_folder;
mod openapi;
mod payloads;
mod pipeline;
mod policies;
mod private;
mod real_browser;
mod recall;
mod redaction;
mod server;
mod sessions;
mod small_model;
mod software_card;
mod tei;
mod threads;
mod tls;
mod token_vectors;
mod users;
