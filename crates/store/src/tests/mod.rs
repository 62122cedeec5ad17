mod background;
mod commands;
mod contract;
mod drops;
mod jobs;
mod panics;
pub(crate) mod sample;
mod tokens;
mod windows;
