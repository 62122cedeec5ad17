//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits.

#![expect(clippy::disallowed_methods, reason = "tests have threads, and look into databases, on their own")]

mod audit;
mod checkpoints;
mod filter_values;
mod filters;
mod jobs;
mod messages;
mod number;
mod threads;
mod truth;
