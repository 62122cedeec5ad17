//! `membox import`: files of records, and the box's own exports, to a running box.
//!
//! ```text
//! file ─▶ text (../text.rs) ─▶ values (items.rs) ─▶ what each says (line.rs, archive.rs)
//!                                                      ├─▶ batches to their places (target.rs)
//!                                                      └─▶ what is refused (refused.rs)
//! ```

mod archive;
mod items;
mod line;
mod progress_file;
mod refused;
mod target;

use crate::client::{Client, ClientArgs, Refusal};
use crate::config::Config;
use crate::exit::{ExitError, SOME_REFUSED};
use crate::progress;
use crate::text::text_of;
use anyhow::{Context, Result, bail};
use archive::{ArchiveLine, CheckpointLine};
use clap::Args;
use indicatif::ProgressBar;
use items::{Item, Items};
use line::{LineIds, Members, RecordLine};
use membox_api::NewRecord;
use membox_memory::MAX_RECORDS;
use progress_file::{Progress, ProgressFile, ReadSoFar};
use refused::Refused;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use target::{Place, Target, Waiting, Written};

/// Write files of records, or exports of a box, to a running box.
///
/// A record is a JSON object as the API takes it, such as {"id": "1", "text": "…", "session": "s", "created_at":
/// "2024-05-20T00:44:00Z", "metadata": {…}}, with the collection in "collection" or given by --collection.
/// Collections that are not there are created. A file is JSON Lines, an array of objects, or objects one after the
/// other; it is UTF-8 or UTF-16, plain or packed by gzip. What it is, its content says and not its name. `-` is
/// stdin.
///
/// The lines of an export (GET /v1/users/{u}/export) are written to where they came from: sessions with their
/// messages, inputs that wait, checkpoints and records. What a box makes itself is made anew: versions, times of
/// sessions, summaries, usage.
///
/// A record without an id gets one from its line, so that importing the file again does not double it. A line that
/// cannot be read, or that the box refuses, is passed over: it is written with its number and the reason to
/// FILE.rejected.jsonl. An import that was interrupted goes on where it was (FILE.imported says where) when the same
/// file is imported again into the same collections of the same box.
///
/// Exit code 0: everything was imported. 1: some lines were refused (not with --allow-rejected), a file could not be
/// read, or the box did not answer.
#[derive(Args)]
pub struct ImportArgs {
    /// The files; - for stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The collection of lines that name none.
    #[arg(long)]
    collection: Option<String>,
    /// Records of a request.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=MAX_RECORDS as i64))]
    batch: u16,
    /// Stop at the first line that is refused, instead of passing over it. What comes before it is imported.
    #[arg(long)]
    strict: bool,
    /// Where lines that are refused are written [default: FILE.rejected.jsonl; of stdin import.rejected.jsonl].
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Lines that are refused are no error, as long as something is imported.
    #[arg(long, conflicts_with = "strict")]
    allow_rejected: bool,
    /// Begin at the first line, whatever an earlier import of the file has done.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// The records of a text with their collections. A bad one is given as an error that begins with its line.
pub fn records<'a>(
    file: impl Read + 'a,
    default_collection: &'a str,
) -> Result<impl Iterator<Item = std::result::Result<(String, NewRecord), String>> + 'a> {
    let mut ids = LineIds::default();
    let items = Items::new(text_of(file)?);
    Ok(items.map(move |item| {
        let item = item.map_err(|e| e.to_string())?;
        let mut read = || {
            let members = members_of(&item)?;
            let line = RecordLine::read(members, &item.bytes, Some(default_collection), &mut ids)?;
            let record = serde_json::from_str(&line.json).map_err(|e| e.to_string())?;
            Ok((line.collection, record))
        };
        read().map_err(|reason: String| format!("line {}: {reason}", item.line))
    }))
}

fn members_of(item: &Item) -> std::result::Result<Members, String> {
    item.problem.clone().map_or_else(|| Members::read(&item.bytes), Err)
}

/// What came of a file.
#[derive(Default)]
struct Outcome {
    items: u64,
    written: Written,
    refused: u64,
    rejected: Option<PathBuf>,
}

/// Runs `membox import`.
pub fn run(_: &Config, args: &ImportArgs) -> Result<()> {
    let client = Client::new(&args.client)?;
    let mut ids = LineIds::default();
    let (mut all, mut failed) = (Outcome::default(), Vec::new());
    let begun = std::time::Instant::now();
    for (number, path) in args.files.iter().enumerate() {
        let mut import = Import { args, client: &client, ids: &mut ids, path, number };
        match import.file(&mut all) {
            Ok(()) => {}
            // The box is not there, or can do no more: the other files fare no better.
            Err(error) if is_of_the_box(&error) => return Err(error.context(path.display().to_string())),
            Err(error) if args.files.len() == 1 => return Err(error.context(path.display().to_string())),
            Err(error) => {
                eprintln!("{}: {error:#}", path.display());
                failed.push(path.display().to_string());
            }
        }
    }
    let (seconds, Written { new, again, others }) = (begun.elapsed().as_secs_f64(), all.written);
    let records = new + again;
    let beside = if others > 0 { format!(", {others} sessions, checkpoints and inputs") } else { String::new() };
    println!(
        "{records} records in {seconds:.1} s ({:.0} a second) from {} lines: {new} new, {again} there \
         already{beside}, {} refused",
        records as f64 / seconds.max(1e-3),
        all.items,
        all.refused
    );
    if !failed.is_empty() {
        bail!("not imported, or not whole: {}", failed.join(", "));
    }
    if all.refused == 0 || args.allow_rejected && records + others > 0 {
        return Ok(());
    }
    let place = all
        .rejected
        .map_or_else(String::new, |path| format!("; {} has each of them with its line and the reason", path.display()));
    let message = format!("{} of {} lines were refused{place}", all.refused, all.items);
    Err(ExitError::new(SOME_REFUSED, message).into())
}

fn is_of_the_box(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<ureq::Error>() || cause.is::<Refusal>())
}

/// The import of one file.
struct Import<'a> {
    args: &'a ImportArgs,
    client: &'a Client,
    ids: &'a mut LineIds,
    path: &'a Path,
    /// Its place among the files.
    number: usize,
}

/// What is known while a file is read.
struct Reading<'a> {
    target: Target<'a>,
    /// What was read.
    read: ReadSoFar,
    /// Lines of an export since it began; `None` outside of one.
    archive: Option<u64>,
    /// Its sessions whose archived messages are given out as records, as older boxes did.
    older: HashSet<String>,
    /// Checkpoints of one thread, which are written together.
    checkpoints: Vec<(Item, ReadSoFar, CheckpointLine)>,
}

impl Import<'_> {
    fn open(&self) -> Result<(Box<dyn Read>, Option<u64>)> {
        if self.path == Path::new("-") {
            return Ok((Box::new(io::stdin().lock()), None));
        }
        let file = File::open(self.path).context("it cannot be opened")?;
        let found = file.metadata()?;
        if found.is_dir() {
            bail!("it is a folder; name the files in it");
        }
        Ok((Box::new(file), found.is_file().then_some(found.len())))
    }

    fn file(&mut self, all: &mut Outcome) -> Result<()> {
        let (file, length) = self.open()?;
        let bar = progress::bytes(length.unwrap_or(0), &self.path.display().to_string());
        if length.is_none() {
            bar.unset_length();
        }
        let resumable = length.map(|_| ProgressFile::of(self.path));
        let mut target =
            Target::new(self.client, usize::from(self.args.batch), self.args.strict, self.refused(false, &bar));
        let mut progress = Progress {
            url: self.client.url().to_owned(),
            collection: self.args.collection.clone(),
            made: Default::default(),
            items: 0,
            hash: String::new(),
        };
        if let Some(found) = resumable.as_ref().and_then(ProgressFile::read)
            && self.goes_on(&found, &mut target)?
        {
            let lines = found.items;
            let told = format!("going on after {lines} lines, where an earlier import ended (--restart begins anew)");
            bar.suspend(|| println!("{told}"));
            target.refused = self.refused(true, &bar);
            progress = found;
        }
        let read = ReadSoFar::default();
        let mut reading = Reading { target, read, archive: None, older: HashSet::new(), checkpoints: Vec::new() };
        let done = |reading: &Reading, progress: &mut Progress| {
            // Of what was never read there is nothing to go on with.
            if let Some(file) = resumable.as_ref().filter(|_| reading.read.items > 0) {
                progress.set(&reading.done());
                progress.made.extend(reading.target.made());
                if let Err(error) = file.write(progress) {
                    tracing::debug!(%error, "an interrupted import cannot go on where it was");
                }
            }
        };
        let skipped = progress.items;
        let mut result = self.items(file, &bar, skipped, &mut reading, &mut |reading| done(reading, &mut progress));
        if result.as_ref().err().is_none_or(|error| !is_of_the_box(error)) {
            // What was read before the end, whatever ended it.
            let flushed = reading.flush();
            result = result.and(flushed);
            done(&reading, &mut progress);
        }
        let whole = bar.position();
        bar.finish_and_clear();
        all.items += reading.read.items - skipped.min(reading.read.items);
        all.written.new += reading.target.written.new;
        all.written.again += reading.target.written.again;
        all.written.others += reading.target.written.others;
        all.refused += reading.target.refused.count;
        all.rejected = all.rejected.take().or(reading.target.refused.file().cloned());
        result?;
        if let Some(file) = &resumable {
            file.remove();
        }
        match (whole, reading.read.items) {
            (0, _) => eprintln!("{}: it is empty", self.path.display()),
            (_, 0) => bail!("there is no record in it"),
            _ => {}
        }
        Ok(())
    }

    fn refused(&self, goes_on: bool, bar: &ProgressBar) -> Refused {
        let path = self.args.rejected.clone().unwrap_or_else(|| match self.path.is_file() {
            true => {
                let mut name = self.path.as_os_str().to_owned();
                name.push(".rejected.jsonl");
                name.into()
            }
            false => "import.rejected.jsonl".into(),
        });
        let is_shared = self.args.rejected.is_some() && self.number > 0;
        Refused::new(path, goes_on || is_shared, bar.clone())
    }

    /// Whether what an earlier import has done holds for this one.
    fn goes_on(&self, found: &Progress, target: &mut Target) -> Result<bool> {
        let (url, collection) = (self.client.url(), &self.args.collection);
        if self.args.restart || found.items == 0 || found.url != url || found.collection != *collection {
            return Ok(false);
        }
        for (name, made) in &found.made {
            if !target.was_made(name, made)? {
                return Ok(false);
            }
        }
        let mut read = ReadSoFar::default();
        for item in Items::new(text_of(self.open()?.0)?).take(found.items as usize) {
            read = read.and(&item?.bytes);
        }
        let is_same = found.is_of(&read);
        if !is_same {
            println!("the file is not as it was when an earlier import ended: it is imported from its first line on");
        }
        Ok(is_same)
    }

    /// Reads values and hands them on; those up to `skipped` are done. `sent` is called when something was sent.
    fn items(
        &mut self,
        file: Box<dyn Read>,
        bar: &ProgressBar,
        skipped: u64,
        reading: &mut Reading,
        sent: &mut dyn FnMut(&Reading),
    ) -> Result<()> {
        for item in Items::new(text_of(bar.wrap_read(file))?) {
            let item = item.context("it cannot be read to its end")?;
            let before = reading.read;
            reading.read = before.and(&item.bytes);
            let is_done = before.items < skipped;
            match self.item(item, before, is_done, reading) {
                Ok(true) => sent(reading),
                Ok(false) => {}
                Err(error) => {
                    reading.read = before;
                    return Err(error);
                }
            }
        }
        match reading.archive {
            Some(lines) => bail!(
                "the export breaks off after {lines} lines: its last line, which says how many there are, is missing"
            ),
            None => Ok(()),
        }
    }

    /// Hands a value on, unless that `is_done`. Whether something was sent.
    fn item(&mut self, item: Item, before: ReadSoFar, is_done: bool, reading: &mut Reading) -> Result<bool> {
        let members = members_of(&item);
        let line = members.as_ref().ok().and_then(|members| archive::read(members, membox_memory::now()));
        // What is refused is a line of the export, too.
        if line.is_some() || members.is_err() && reading.archive.is_some() {
            *reading.archive.get_or_insert(0) += 1;
        }
        let members = match members {
            Ok(members) => members,
            Err(_) if is_done => return Ok(false),
            Err(reason) => return reading.target.refuse(&item, &reason).map(|()| false),
        };
        if let Some(line) = line {
            return match line {
                Ok(line) => reading.archive_line(item, before, is_done, line),
                Err(_) if is_done => Ok(false),
                Err(reason) => reading.target.refuse(&item, &reason).map(|()| false),
            };
        }
        let line = RecordLine::read(members, &item.bytes, self.args.collection.as_deref(), self.ids);
        match line {
            _ if is_done => Ok(false),
            Ok(line) => reading.record(item, before, line),
            Err(reason) => reading.target.refuse(&item, &reason).map(|()| false),
        }
    }
}

impl Reading<'_> {
    /// Up to where everything is done.
    fn done(&self) -> ReadSoFar {
        let first = self.checkpoints.first().map(|(_, before, _)| *before);
        first.into_iter().chain(self.target.done()).min_by_key(|read| read.items).unwrap_or(self.read)
    }

    fn record(&mut self, item: Item, before: ReadSoFar, line: RecordLine) -> Result<bool> {
        let RecordLine { collection, json, settings } = line;
        self.target.add(Place::Collection(collection), Waiting { item, before, json, settings })
    }

    /// Does what a line of an export says. Whether something was sent.
    fn archive_line(&mut self, item: Item, before: ReadSoFar, is_done: bool, line: ArchiveLine) -> Result<bool> {
        if let ArchiveLine::End(lines) = line {
            // Its last line does not count itself.
            let read = self.archive.take().unwrap_or(1) - 1;
            if read != lines && !is_done {
                let reason = format!("the export has {lines} lines, and {read} of them are here");
                self.target.refuse(&item, &reason)?;
            }
            return Ok(false);
        }
        if let ArchiveLine::Session(session) = &line
            && !session.has_archived
        {
            self.older.insert(session.id.clone());
        }
        if is_done {
            if let ArchiveLine::Session(session) = &line {
                self.target.know_session(session);
            }
            return Ok(false);
        }
        let is_of_another_thread = |line: &ArchiveLine| match (self.checkpoints.first(), line) {
            (Some((_, _, first)), ArchiveLine::Checkpoint(next)) => {
                (&first.thread, &first.namespace) != (&next.thread, &next.namespace)
            }
            _ => true,
        };
        if is_of_another_thread(&line) {
            self.write_checkpoints()?;
        }
        match line {
            ArchiveLine::Session(session) => {
                self.target.flush_session(&session.id)?;
                self.target.put_session(&item, session)?;
                Ok(true)
            }
            ArchiveLine::Message(message) => {
                let waiting = Waiting { item, before, json: message.json, settings: String::new() };
                self.target.add(Place::Session(message.session), waiting)
            }
            ArchiveLine::PerhapsMessage { session, .. } if self.older.contains(&session) => {
                self.target.refuse(&item, &archive::without_role(&session))?;
                Ok(false)
            }
            ArchiveLine::Record(line) | ArchiveLine::PerhapsMessage { record: line, .. } => {
                self.record(item, before, line)
            }
            ArchiveLine::Queued { session, payload } => {
                self.target.push(&item, &session, &payload)?;
                Ok(true)
            }
            ArchiveLine::Blob(blob) => {
                self.target.put_blob(&item, &blob)?;
                Ok(true)
            }
            ArchiveLine::Checkpoint(checkpoint) => {
                self.checkpoints.push((item, before, checkpoint));
                Ok(false)
            }
            // The box counts it itself.
            ArchiveLine::Usage | ArchiveLine::End(_) => Ok(false),
        }
    }

    /// Writes the checkpoints of a thread, the latest last: that which is written last is the latest.
    fn write_checkpoints(&mut self) -> Result<()> {
        let mut checkpoints = std::mem::take(&mut self.checkpoints);
        // Older boxes gave out the latest first.
        let is_latest_first = |all: &[(Item, ReadSoFar, CheckpointLine)]| {
            all.first().zip(all.last()).is_some_and(|(first, last)| first.2.created_at > last.2.created_at)
        };
        if is_latest_first(&checkpoints) {
            checkpoints.reverse();
        }
        checkpoints.iter().try_for_each(|(item, _, checkpoint)| self.target.put_checkpoint(item, checkpoint))
    }

    /// Sends all that was read.
    fn flush(&mut self) -> Result<()> {
        self.write_checkpoints()?;
        self.target.flush()
    }
}
