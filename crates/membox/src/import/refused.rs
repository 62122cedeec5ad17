//! Values that were not imported: counted, shown, and written to a file with their line and the reason.

use super::items::Item;
use anyhow::Result;
use indicatif::ProgressBar;
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Values that are shown; the file has all of them.
const SHOWN: u64 = 20;

/// Where what is refused is recorded.
pub struct Refused {
    path: PathBuf,
    /// Made with the first one; `None` once it cannot be written.
    file: Option<File>,
    /// Whether an import goes on, and with it the file.
    append: bool,
    bar: ProgressBar,
    /// How many there were.
    pub count: u64,
}

impl Refused {
    pub fn new(path: PathBuf, append: bool, bar: ProgressBar) -> Self {
        Self { path, file: None, append, bar, count: 0 }
    }

    /// Records a value and why it was refused.
    pub fn record(&mut self, item: &Item, reason: &str) {
        self.count += 1;
        let line = item.line;
        if self.count <= SHOWN {
            self.bar.suspend(|| eprintln!("line {line}: {reason}"));
        }
        let entry = json!({"line": line, "reason": reason, "input": String::from_utf8_lossy(&item.bytes)});
        if let Err(error) = self.write(&format!("{entry}\n"))
            && self.count == 1
        {
            let path = self.path.display();
            self.bar.suspend(|| eprintln!("what is refused cannot be written to {path}: {error}"));
        }
    }

    fn write(&mut self, entry: &str) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = File::options();
                options.create(true).write(true).append(self.append).truncate(!self.append);
                self.file.insert(options.open(&self.path)?)
            }
        };
        Ok(file.write_all(entry.as_bytes())?)
    }

    /// Where they are to be read; `None` where none was written.
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|_| &self.path)
    }
}
