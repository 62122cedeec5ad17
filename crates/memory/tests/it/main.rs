//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits.

#![expect(clippy::disallowed_methods, reason = "tests have threads, and look into databases, on their own")]

mod bit_flips;
mod column_flips;
mod control_characters;
mod cut_files;
mod foreign;
mod ids;
mod jobs;
mod limits;
mod numbers;
mod promises;
mod races;
