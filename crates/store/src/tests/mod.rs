mod background;
mod commands;
mod panics;
mod sample;
