mod background;
mod commands;
mod contract;
mod jobs;
mod panics;
pub(crate) mod sample;
