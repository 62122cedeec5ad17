//! Compaction: a collection's files anew, without the rows of replaced and deleted records.
//!
//! ```text
//! copy the current rows ─▶ build the index and the text index over the copies
//!     ─▶ copy and index what was written meanwhile, again until it is little
//!     ─▶ on the writer's thread: copy the rest, commit the slots, switch
//! ```
//!
//! All but the last step happens while the collection is read and written, and that one writes no record: their
//! slots stay ([`membox_records::Slots`]). What a crash leaves of it is removed when the collection is opened next,
//! or put to use if the commit had happened.

use crate::StoreError;
use crate::collection::{Collection, CompactedFiles, document, text_of};
use crate::derived::{build_index, commit_texts};
use crate::registry::Registry;
use crate::writer::{Work, WriterQueue};
use membox_index::{AllowedRows, VectorIndex};
use membox_text::TextIndexWriter;
use membox_vectors::{TokenFile, VectorFile, VectorView};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// How often what was written meanwhile is copied before the switch, unless few rows are left sooner.
const CATCH_UP_ROUNDS: usize = 8;
/// Rows that the writer's thread may be left to copy.
const CATCH_UP_ROWS: u64 = 1000;

/// Compacts a collection whose job guard the caller holds. `progress` is called with the rows done, of which there
/// are about twice as many as are copied; a `false` stops it.
pub(crate) fn compact(
    registry: &Registry,
    writer: &WriterQueue,
    collection: &Arc<Collection>,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<(), StoreError> {
    let files = match build(registry, collection, threads, progress) {
        Ok(Some(files)) => files,
        stopped => {
            collection.folder().discard_next();
            return stopped.map(|_| ());
        }
    };
    let files = Box::new(files);
    writer.ask(|reply| Work::Switch { collection: collection.clone(), files, reply })
}

fn build(
    registry: &Registry,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<CompactedFiles>, StoreError> {
    // Texts that are written meanwhile do not wait in memory for the end of it.
    let mut texts = Ok(());
    let mut progress = |rows| {
        texts = commit_texts(registry, collection, || false);
        texts.is_ok() && progress(rows)
    };
    let built = build_derived(registry, collection, threads, &mut progress)?;
    texts?;
    let Some(mut files) = built else { return Ok(None) };
    for _ in 0..CATCH_UP_ROUNDS {
        let (view, rows) = collection.state().current();
        let since = (rows.rows() - &files.copied).len();
        if since == 0 {
            break;
        }
        files.catch_up(&view, rows.rows())?;
        files.copy_tokens(collection)?;
        index_texts(&mut files, registry, collection, &view, &mut |_| true)?;
        if since <= CATCH_UP_ROWS {
            break;
        }
    }
    Ok(Some(files))
}

/// The copies of the current rows, with the index and the text index over them.
fn build_derived(
    registry: &Registry,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<CompactedFiles>, StoreError> {
    let (view, rows) = collection.state().current();
    let copied = rows.rows().clone();
    let (folder, next) = (collection.folder(), collection.folder().next());
    folder.discard_next();
    std::fs::create_dir_all(next.index()).map_err(StoreError::io("create", &next.0))?;
    collection.note_tokens_from_now();
    let file = VectorFile::create(&folder.compacting(), view.header().dimension, view.header().row_type)?;
    let mut file = file.compared_by(view.metric());
    file.append_rows(&view, copied.iter())?;
    file.sync()?;

    let new_view = file.view(file.rows());
    let policy = collection.index_policy();
    let mut index = None;
    if let Some(spec) = policy.wanted(new_view.rows()) {
        let all = AllowedRows::from((0..new_view.rows()).collect::<RoaringBitmap>());
        let Some(built) = build_index(&new_view, spec, policy, &all, threads, progress)? else { return Ok(None) };
        built.save(&next.index())?;
        index = Some(built);
    }
    let done = index.as_ref().map_or(0, VectorIndex::rows);
    let of = view.header().uuid;
    let (erased, tokens_copied) = (RoaringBitmap::new(), RoaringBitmap::new());
    let mut files =
        CompactedFiles { file, tokens: None, tokens_copied, of, copied, erased, index, text: None, texts_until: 0 };
    files.copy_tokens(collection)?;
    files.tokens.as_mut().map_or(Ok(()), TokenFile::sync)?;
    let goes_on = index_texts(&mut files, registry, collection, &view, &mut |row| progress(done + row))?;
    Ok(goes_on.then_some(files))
}

/// Puts the texts of the copied rows that are in view, and not there yet, into the text index. `progress` is
/// called with the rows that are; whether it said that it goes on.
fn index_texts(
    files: &mut CompactedFiles,
    registry: &Registry,
    collection: &Collection,
    view: &VectorView,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<bool, StoreError> {
    if !collection.state().keeps_texts {
        files.texts_until = view.rows();
        return Ok(true);
    }
    let (reader, rows) = (registry.reader()?, files.file.rows());
    let of = text_of(&reader, &collection.tenant, files.file.header().uuid, rows)?;
    let mut text = TextIndexWriter::open(&collection.folder().next().text(), of)?;
    let (mut goes_on, mut result) = (true, Ok(()));
    if let Some(first) = files.copied.select(text.rows()?) {
        let slots = collection.state().slots.clone();
        reader.each_record(&slots, first..view.rows(), |old, stored| {
            if files.copied.contains(old) {
                let row = files.copied.rank(old) as u32 - 1;
                result = text.insert(row, document(&stored.record));
                goes_on = progress(row + 1);
            }
            result.is_ok() && goes_on
        })?;
    }
    result?;
    if goes_on {
        files.text = Some(text.commit(rows)?);
        files.texts_until = view.rows();
    }
    Ok(goes_on)
}
