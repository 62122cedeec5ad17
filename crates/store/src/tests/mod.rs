mod background;
mod commands;
mod contract;
mod jobs;
mod panics;
mod sample;
