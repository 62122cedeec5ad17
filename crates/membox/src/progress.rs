//! Progress bars on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar that counts things, with rate and time left.
pub fn items(total: u64, what: &str) -> ProgressBar {
    let template =
        format!("{{elapsed_precise}} {{wide_bar}} {{human_pos}}/{{human_len}} {what}  {{per_sec}}  {{eta}} left");
    bar(total, &template)
}

/// A bar that counts bytes.
pub fn bytes(total: u64, name: &str) -> ProgressBar {
    let bar = bar(total, "{msg:24} {wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left");
    bar.with_message(name.to_owned())
}

/// A spinner for work of unknown length.
pub fn spinner(text: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(text.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn bar(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}
