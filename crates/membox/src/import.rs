//! `membox import`: a file of records, one JSON object a line, to a running box.

use crate::client::{Client, ClientArgs};
use crate::config::Config;
use crate::progress;
use anyhow::{Context, Result, bail};
use clap::Args;
use membox_memory::{Kept, MOST_RECORDS, NewRecord, check_numbers};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Write a file of records to a running box.
///
/// A line is a record as the API takes it, such as {"id": "1", "text": "…", "session": "s", "created_at": "2024-05-20T00:44:00Z",
/// "metadata": {…}}, with the collection in "collection" or given by --collection. Collections that are not there are created.
/// An import that was interrupted goes on where it was when the same file is imported again.
#[derive(Args)]
pub struct ImportArgs {
    /// The file; one JSON object a line.
    file: PathBuf,
    /// The collection of lines that name none.
    #[arg(long)]
    collection: Option<String>,
    /// Records of a request.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=MOST_RECORDS as i64))]
    batch: u16,
    /// Stop at the first bad line instead of reporting and skipping it.
    #[arg(long)]
    strict: bool,
    /// Begin at the first line, whatever an earlier import of the file has done.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// A line of an import file.
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Which collection it goes to.
    pub collection: String,
    /// The record.
    pub record: NewRecord,
}

/// Reads the lines of an import file. A bad one is given as an error that begins with its number.
pub fn lines<'a>(
    reader: impl BufRead + 'a,
    default_collection: Option<&'a str>,
) -> impl Iterator<Item = std::result::Result<Line, String>> + 'a {
    let mut reader = reader;
    let mut number = 0u64;
    let mut bytes = Vec::new();
    std::iter::from_fn(move || {
        loop {
            bytes.clear();
            number += 1;
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => {
                    return Some(parse(&bytes, number, default_collection).map_err(|e| format!("line {number}: {e}")));
                }
                Err(error) => return Some(Err(format!("line {number}: {error}"))),
            }
        }
    })
}

fn parse(bytes: &[u8], number: u64, default_collection: Option<&str>) -> std::result::Result<Line, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 from byte {}", e.valid_up_to()))?;
    check_numbers(text, Kept::Fields, "").map_err(|e| e.to_string())?;
    let mut object: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let named = object.remove("collection");
    let collection = match named.as_ref().map(|v| v.as_str()) {
        Some(Some(name)) => name.to_owned(),
        Some(None) => return Err("\"collection\" is not a string".into()),
        None => default_collection.ok_or("it names no collection; give one by --collection")?.to_owned(),
    };
    let record: NewRecord = serde_json::from_value(Value::Object(object)).map_err(|e| e.to_string())?;
    Ok(Line { number, collection, record })
}

/// Runs `membox import`.
pub fn run(_: &Config, args: &ImportArgs) -> Result<()> {
    let client = Client::new(&args.client);
    let total = count_lines(&args.file)?;
    let state = StateFile::of(&args.file);
    let done = if args.restart { 0 } else { state.read() };
    if done > 0 {
        println!("going on after line {done}, where an earlier import ended (--restart begins anew)");
    }
    let bar = progress::items(total, "lines");
    bar.set_position(done);
    let mut import = Import { client, known: HashSet::new(), batch: Vec::new(), records: 0 };
    let mut bad = 0u64;
    let file = File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let mut last = done;
    for line in lines(BufReader::new(file), args.collection.as_deref()) {
        let line = match line {
            Ok(line) => line,
            Err(error) if args.strict => bail!("{error}"),
            Err(error) => {
                bad += 1;
                bar.suspend(|| eprintln!("{error}: skipped"));
                continue;
            }
        };
        if line.number <= done {
            continue;
        }
        let full = import.batch.len() >= usize::from(args.batch);
        let elsewhere = import.batch.first().is_some_and(|first| first.collection != line.collection);
        if full || elsewhere {
            import.flush()?;
            state.write(last)?;
            bar.set_position(last);
        }
        last = line.number;
        import.batch.push(line);
    }
    import.flush()?;
    state.remove();
    bar.set_position(total);
    bar.finish();
    let seconds = bar.elapsed().as_secs_f64();
    println!(
        "{} records in {seconds:.1} s ({:.0} a second), {bad} bad lines",
        import.records,
        import.records as f64 / seconds
    );
    Ok(())
}

struct Import {
    client: Client,
    known: HashSet<String>,
    batch: Vec<Line>,
    records: u64,
}

impl Import {
    /// Writes the batch, whose lines are of one collection.
    fn flush(&mut self) -> Result<()> {
        let Some(first) = self.batch.first() else { return Ok(()) };
        let (collection, number) = (first.collection.clone(), first.number);
        if self.known.insert(collection.clone()) {
            self.client.call("PUT", &format!("/v1/collections/{collection}"), &json!({}))?;
        }
        let records: Vec<NewRecord> = self.batch.drain(..).map(|line| line.record).collect();
        self.records += records.len() as u64;
        self.client
            .call("POST", &format!("/v1/collections/{collection}/records"), &json!({ "records": records }))
            .with_context(|| format!("the records from line {number} on were refused (/records/0 is that line)"))?;
        Ok(())
    }
}

fn count_lines(path: &Path) -> Result<u64> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.iter().filter(|&&b| b == b'\n').count() as u64;
        let length = buffer.len();
        reader.consume(length);
    }
}

/// How far an import is, beside the file: the last line that is durable.
struct StateFile(PathBuf);

impl StateFile {
    fn of(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".imported");
        Self(name.into())
    }

    fn read(&self) -> u64 {
        fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn write(&self, line: u64) -> Result<()> {
        fs::write(&self.0, line.to_string()).with_context(|| format!("cannot write {}", self.0.display()))
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_with_a_number_that_cannot_be_kept_is_named() {
        let file = "{\"text\": \"a\", \"metadata\": {\"n\": 18446744073709551615}}\n{\"text\": \"b\", \"metadata\": {\"n\": 18446744073709551616}}";
        let read: Vec<_> = lines(file.as_bytes(), Some("c")).collect();
        assert_eq!(read[0].as_ref().map(|line| line.record.metadata["n"].clone()), Ok(json!(u64::MAX)));
        let error = read[1].as_ref().err().expect("an error");
        assert!(error.starts_with("line 2: /metadata/n: 18446744073709551616 "), "{error}");
    }

    proptest! {
        #[test]
        fn every_line_is_a_record_or_named_with_its_number(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(br#"{"collection": "c", "id": "a", "text": "x"}"#.to_vec()),
                    Just(b"   ".to_vec()),
                    prop::collection::vec(any::<u8>(), 0..40),
                    "[\\[\\]{}\":,a-z0-9 ]{0,60}".prop_map(String::into_bytes),
                ],
                0..20,
            ),
            default in prop::option::of(Just("d")),
        ) {
            let file = parts.join(&b'\n');
            let blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace);
            let split: Vec<&[u8]> = file.split(|&b| b == b'\n').collect();
            let written = split.iter().filter(|line| !blank(line)).count();
            let read: Vec<_> = lines(file.as_slice(), default).collect();
            prop_assert_eq!(read.len(), written);
            for line in &read {
                match line {
                    Ok(line) => prop_assert!(!blank(&split[line.number as usize - 1])),
                    Err(error) => prop_assert!(error.starts_with("line ")),
                }
            }
            let good = split.iter().filter(|line| line.starts_with(br#"{"collection": "c", "id""#)).count();
            prop_assert!(read.iter().filter(|line| line.is_ok()).count() >= good);
        }
    }
}
