//! The file of token vectors: written by one writer, read through read-only maps.

use crate::VectorsError;
use crate::file::{FileMap, map_file, rename_durably};
use crate::format::HEADER_BYTES;
use crate::simd::prefetch;
use crate::token_format::{ENTRY_BYTES, Entry, TokenHeader, checksum, stored_bytes};
use crate::tokens::TokenSpace;
use roaring::RoaringBitmap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Entries that are read in one go.
const ENTRIES_AT_ONCE: u32 = 1 << 16;

/// Codes of one text as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCodes<'a> {
    /// Tokens; where there is none, nothing is stored.
    pub tokens: u16,
    /// Number of the key that has sealed them; 0 where they are as they were packed.
    pub key: u32,
    /// The codes, or what they are sealed to.
    pub bytes: &'a [u8],
}

/// Codes for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCodes<'a> {
    /// The row of the vector file.
    pub row: u32,
    /// The checksum of that row: they are read with the same one alone.
    pub vector_crc: u32,
    /// What is stored.
    pub codes: StoredCodes<'a>,
}

/// The one writer of the token vectors of a vector file: of `UUID.mbe` and of `UUID.mbt` beside it.
///
/// They are derived, so a file that is damaged, cut, or of others is an error here and begun anew by the caller; and
/// after a failed [`sync`](TokenSync::sync) it is too. As in a [`VectorFile`](crate::VectorFile), nothing is written
/// through a map.
pub struct TokenFile {
    path: PathBuf,
    header: TokenHeader,
    entries: Arc<File>,
    codes: Arc<File>,
    /// Entries that there are, those of zeros too.
    rows: u32,
    /// Where the codes end.
    end: u64,
    /// Rows that have codes.
    filled: RoaringBitmap,
    entry_map: Arc<FileMap>,
    code_map: Arc<FileMap>,
    is_unsynced: bool,
}

/// Where the codes are, by the path of their entries.
fn codes_of(path: &Path) -> PathBuf {
    path.with_extension("mbt")
}

fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> VectorsError {
    move |source| VectorsError::Io { action, path: path.to_owned(), source }
}

fn entry_offset(row: u32) -> u64 {
    HEADER_BYTES + u64::from(row) * ENTRY_BYTES as u64
}

impl TokenFile {
    /// Creates both files, in the place of any that are there; `path` is that of the entries and ends in `.mbe`.
    pub fn create(path: &Path, space: TokenSpace, vector_file: Uuid) -> Result<Self, VectorsError> {
        assert!(TokenSpace::is_possible(space.dimension), "{} numbers in a token's vector", space.dimension);
        // What is there may be looked at through maps: it is not cut, and goes when they do.
        remove_token_files(path)?;
        let create = |path: &Path| {
            OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(io("create", path))
        };
        let (entries, codes) = (create(path)?, create(&codes_of(path))?);
        let header = TokenHeader { space, vector_file };
        entries.write_all_at(&header.encode(), 0).map_err(io("create", path))?;
        Self::new(path, header, (entries, codes), (0, 0), RoaringBitmap::new())
    }

    fn new(
        path: &Path,
        header: TokenHeader,
        (entries, codes): (File, File),
        (rows, end): (u32, u64),
        filled: RoaringBitmap,
    ) -> Result<Self, VectorsError> {
        let entry_map = map_file(path, &entries, entry_offset(rows))?;
        let code_map = map_file(&codes_of(path), &codes, end)?;
        let (path, entries, codes) = (path.to_owned(), Arc::new(entries), Arc::new(codes));
        Ok(Self { path, header, entries, codes, rows, end, filled, entry_map, code_map, is_unsynced: false })
    }

    /// Opens the files beside a vector file of `rows` committed rows. The codes of rows past them, which were never
    /// acknowledged, are overwritten and cut off.
    ///
    /// # Errors
    /// [`VectorsError::Damaged`] where they are of another vector file, or cannot be read: they are to be begun anew.
    pub fn open(path: &Path, vector_file: Uuid, rows: u32) -> Result<Self, VectorsError> {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).map_err(io("open", path));
        let (entries, codes) = (open(path)?, open(&codes_of(path))?);
        let header = read_header(path, &entries, vector_file)?;
        let (there, end) = lengths(path, &entries, &codes)?;
        let mut file = Self::new(path, header, (entries, codes), (there, end), RoaringBitmap::new())?;
        let mut filled = RoaringBitmap::new();
        each_entry(path, &file.entries, there, |row, entry| {
            if entry.end(header.space) <= end {
                filled.insert(row);
            }
            Ok(())
        })?;
        file.filled = filled;
        if there > rows {
            file.forget_rows_from(rows)?;
            // Before another record is in one of these rows.
            file.sync()?;
        }
        Ok(file)
    }

    /// The space of its vectors.
    pub fn space(&self) -> TokenSpace {
        self.header.space
    }

    /// Rows that have codes; whether these are damaged is told by [`TokenView::get`] alone.
    pub fn filled(&self) -> &RoaringBitmap {
        &self.filled
    }

    /// Bytes of both files.
    pub fn bytes(&self) -> u64 {
        entry_offset(self.rows) + self.end
    }

    /// Writes codes of rows, in any order; what a row had before is overwritten. They are durable after the next
    /// sync. After an error the rows may have any of them, or none.
    ///
    /// # Panics
    /// Where codes are not as long as their tokens are.
    pub fn append(&mut self, new: &[RowCodes]) -> Result<(), VectorsError> {
        let space = self.space();
        let new: Vec<&RowCodes> = new.iter().filter(|new| new.codes.tokens > 0).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.check_length()?;
        let replaced: Vec<Entry> =
            new.iter().filter_map(|new| self.entry(new.row).transpose()).collect::<Result<_, _>>()?;
        let (mut bytes, mut entries) = (Vec::new(), Vec::with_capacity(new.len()));
        for RowCodes { row, vector_crc, codes: StoredCodes { tokens, key, bytes: stored } } in new {
            assert_eq!(stored.len(), stored_bytes(space, *tokens, *key), "codes of {tokens} tokens");
            let crc = checksum(*row, *vector_crc, *tokens, *key, stored);
            entries.push((*row, Entry { offset: self.end + bytes.len() as u64, tokens: *tokens, crc, key: *key }));
            bytes.extend_from_slice(stored);
        }
        self.is_unsynced = true;
        self.codes.write_all_at(&bytes, self.end).map_err(io("write to", &codes_of(&self.path)))?;
        self.end += bytes.len() as u64;
        // Rows that follow each other are written in one go.
        for run in entries.chunk_by(|(a, _), (b, _)| a.checked_add(1) == Some(*b)) {
            let Some((first, _)) = run.first() else { continue };
            let bytes: Vec<u8> = run.iter().flat_map(|(_, entry)| entry.encode()).collect();
            self.entries.write_all_at(&bytes, entry_offset(*first)).map_err(io("write to", &self.path))?;
            let after = first.saturating_add(run.len() as u32);
            self.filled.insert_range(*first..after);
            self.rows = self.rows.max(after);
        }
        replaced.into_iter().try_for_each(|entry| self.overwrite(entry))?;
        self.map_what_is_new()
    }

    fn map_what_is_new(&mut self) -> Result<(), VectorsError> {
        if entry_offset(self.rows) > self.entry_map.bytes().len() as u64 {
            self.entry_map = map_file(&self.path, &self.entries, entry_offset(self.rows))?;
        }
        if self.end > self.code_map.bytes().len() as u64 {
            self.code_map = map_file(&codes_of(&self.path), &self.codes, self.end)?;
        }
        Ok(())
    }

    /// An error where somebody has cut a file: a write past its end would hide that.
    fn check_length(&self) -> Result<(), VectorsError> {
        let codes = codes_of(&self.path);
        let wanted = [(&self.path, &self.entries, entry_offset(self.rows)), (&codes, &self.codes, self.end)];
        for (path, file, wanted) in wanted {
            let length = file.metadata().map_err(io("read", path))?.len();
            if length < wanted {
                let reason = format!("it has {length} bytes, and had {wanted} when it was written");
                return Err(VectorsError::Damaged { path: path.clone(), reason });
            }
        }
        Ok(())
    }

    /// The entry of a row, as it is in the file.
    fn entry(&self, row: u32) -> Result<Option<Entry>, VectorsError> {
        if !self.filled.contains(row) {
            return Ok(None);
        }
        let mut bytes = [0; ENTRY_BYTES];
        self.entries.read_exact_at(&mut bytes, entry_offset(row)).map_err(io("read", &self.path))?;
        Ok(Entry::decode(bytes))
    }

    /// Overwrites codes with zeros.
    fn overwrite(&self, entry: Entry) -> Result<(), VectorsError> {
        // A damaged entry may say anything.
        let end = entry.end(self.space()).min(self.end);
        let zeros = vec![0; end.saturating_sub(entry.offset) as usize];
        self.codes.write_all_at(&zeros, entry.offset).map_err(io("write to", &codes_of(&self.path)))
    }

    /// Overwrites the codes of rows and their entries with zeros, which become durable with the next sync.
    pub fn erase(&mut self, rows: impl IntoIterator<Item = u32>) -> Result<(), VectorsError> {
        let mut is_checked = false;
        for row in rows {
            if !self.filled.contains(row) {
                continue;
            }
            if !is_checked {
                self.check_length()?;
                is_checked = true;
            }
            self.is_unsynced = true;
            if let Some(entry) = self.entry(row)? {
                self.overwrite(entry)?;
            }
            self.entries.write_all_at(&[0; ENTRY_BYTES], entry_offset(row)).map_err(io("write to", &self.path))?;
            self.filled.remove(row);
        }
        Ok(())
    }

    /// Takes back the codes of rows that no record names, after a commit that failed.
    pub fn forget_rows_from(&mut self, rows: u32) -> Result<(), VectorsError> {
        if self.rows > rows {
            let forgotten: Vec<u32> = self.filled.range(rows..).collect();
            self.erase(forgotten)?;
            self.entries.set_len(entry_offset(rows)).map_err(io("truncate", &self.path))?;
            self.rows = rows;
            self.is_unsynced = true;
        }
        Ok(())
    }

    /// What makes durable all that was written until now, where that is not yet; the file can be written to meanwhile.
    pub fn take_unsynced(&mut self) -> Option<TokenSync> {
        let sync = || TokenSync { path: self.path.clone(), files: [self.codes.clone(), self.entries.clone()] };
        std::mem::take(&mut self.is_unsynced).then(sync)
    }

    /// Makes durable all that was written until now.
    pub fn sync(&mut self) -> Result<(), VectorsError> {
        self.take_unsynced().map_or(Ok(()), TokenSync::sync)
    }

    /// Gives both files other names.
    pub fn rename(&mut self, to: &Path) -> Result<(), VectorsError> {
        rename_durably(&codes_of(&self.path), &codes_of(to)).map_err(io("rename", &self.path))?;
        rename_durably(&self.path, to).map_err(io("rename", &self.path))?;
        self.path = to.to_owned();
        Ok(())
    }

    /// Removes both files; views of them stay.
    pub fn remove(self) -> Result<(), VectorsError> {
        remove_token_files(&self.path)
    }

    /// A view of what is there now, valid for as long as it is held.
    pub fn view(&self) -> TokenView {
        let (entries, codes) = (self.entry_map.clone(), self.code_map.clone());
        TokenView { space: self.space(), entries, codes, rows: self.rows, end: self.end }
    }

    /// Copies the codes of the first `rows` rows from files that may be written to meanwhile, without what no entry
    /// names, to `to`, durably; files that are there are replaced. Gives the bytes that were written.
    pub fn copy(
        (entries, codes): (&File, &File),
        vector_file: Uuid,
        rows: u32,
        to: &Path,
    ) -> Result<u64, VectorsError> {
        let header = read_header(to, entries, vector_file)?;
        // The entries that are there now, and after them the codes: those that they name are there then.
        let (there, end) = lengths(to, entries, codes)?;
        let failed = io("copy to", to);
        let create = |path: &Path| File::create(path).map_err(&failed);
        let (mut new_entries, mut new_codes) = (BufWriter::new(create(to)?), BufWriter::new(create(&codes_of(to))?));
        new_entries.write_all(&header.encode()).map_err(&failed)?;
        let (mut at, mut next, mut stored) = (0, 0, Vec::new());
        each_entry(to, entries, there.min(rows), |row, entry| {
            if entry.end(header.space) > end {
                return Ok(());
            }
            stored.resize(stored_bytes(header.space, entry.tokens, entry.key), 0);
            codes.read_exact_at(&mut stored, entry.offset).map_err(&failed)?;
            new_codes.write_all(&stored).map_err(&failed)?;
            let none = io::repeat(0).take(u64::from(row - next) * ENTRY_BYTES as u64);
            io::copy(&mut { none }, &mut new_entries).map_err(&failed)?;
            new_entries.write_all(&Entry { offset: at, ..entry }.encode()).map_err(&failed)?;
            (at, next) = (at + stored.len() as u64, row + 1);
            Ok(())
        })?;
        for file in [new_entries, new_codes] {
            let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().map_err(&failed)?;
        }
        Ok(at + entry_offset(next))
    }
}

/// What an fsync makes durable.
pub struct TokenSync {
    path: PathBuf,
    files: [Arc<File>; 2],
}

impl TokenSync {
    /// Makes it durable. After a failure it is unknown what is on the disk: the file is to be begun anew.
    pub fn sync(self) -> Result<(), VectorsError> {
        // Codes first: an entry without them is one that does not have its checksum.
        self.files.iter().try_for_each(|file| file.sync_all()).map_err(io("fsync", &self.path))
    }
}

/// Removes both files of token vectors, by the path of the entries, where they are there.
pub fn remove_token_files(path: &Path) -> Result<(), VectorsError> {
    for path in [path, &codes_of(path)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(io("remove", path))?,
        }
    }
    Ok(())
}

fn read_header(path: &Path, entries: &File, vector_file: Uuid) -> Result<TokenHeader, VectorsError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
    let mut at = 0;
    while at < HEADER_BYTES {
        let mut some = vec![0; (HEADER_BYTES - at) as usize];
        match entries.read_at(&mut some, at).map_err(io("read", path))? {
            0 => break,
            read => (at, _) = (at + read as u64, bytes.extend_from_slice(&some[..read])),
        }
    }
    let damaged = |reason: &str| VectorsError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let header = TokenHeader::decode(&bytes).map_err(damaged)?;
    match header.vector_file == vector_file {
        true => Ok(header),
        false => Err(damaged("it belongs to another vector file")),
    }
}

/// How many whole entries there are, and where the codes end.
fn lengths(path: &Path, entries: &File, codes: &File) -> Result<(u32, u64), VectorsError> {
    let length = |file: &File| Ok::<_, VectorsError>(file.metadata().map_err(io("read", path))?.len());
    let rows = length(entries)?.saturating_sub(HEADER_BYTES) / ENTRY_BYTES as u64;
    Ok((u32::try_from(rows).unwrap_or(u32::MAX), length(codes)?))
}

/// Reads the entries of the first `rows` rows, those that name codes.
fn each_entry(
    path: &Path,
    entries: &File,
    rows: u32,
    mut each: impl FnMut(u32, Entry) -> Result<(), VectorsError>,
) -> Result<(), VectorsError> {
    for first in (0..rows).step_by(ENTRIES_AT_ONCE as usize) {
        let count = ENTRIES_AT_ONCE.min(rows - first);
        let mut bytes = vec![0; count as usize * ENTRY_BYTES];
        entries.read_exact_at(&mut bytes, entry_offset(first)).map_err(io("read", path))?;
        for (row, bytes) in (first..).zip(bytes.as_chunks::<ENTRY_BYTES>().0) {
            Entry::decode(*bytes).map_or(Ok(()), |entry| each(row, entry))?;
        }
    }
    Ok(())
}

/// Codes of rows, read through maps.
#[derive(Clone)]
pub struct TokenView {
    space: TokenSpace,
    entries: Arc<FileMap>,
    codes: Arc<FileMap>,
    rows: u32,
    end: u64,
}

impl TokenView {
    /// Opens the files of a vector file that nobody writes meanwhile; they stay as they are.
    ///
    /// # Errors
    /// As those of [`TokenFile::open`].
    pub fn open(path: &Path, vector_file: Uuid) -> Result<Self, VectorsError> {
        let open = |path: &Path| File::open(path).map_err(io("open", path));
        let (entries, codes) = (open(path)?, open(&codes_of(path))?);
        let header = read_header(path, &entries, vector_file)?;
        let (rows, end) = lengths(path, &entries, &codes)?;
        let entries = map_file(path, &entries, entry_offset(rows))?;
        let codes = map_file(&codes_of(path), &codes, end)?;
        Ok(Self { space: header.space, entries, codes, rows, end })
    }

    /// The space of its vectors.
    pub fn space(&self) -> TokenSpace {
        self.space
    }

    /// The codes of a row whose vector has this checksum; `None` where it has none, or where they are damaged.
    pub fn get(&self, row: u32, vector_crc: u32) -> Option<StoredCodes<'_>> {
        let entry = self.entry(row)?;
        let bytes = self.codes.bytes().get(entry.offset as usize..entry.end(self.space) as usize)?;
        let is_whole = checksum(row, vector_crc, entry.tokens, entry.key, bytes) == entry.crc;
        is_whole.then_some(StoredCodes { tokens: entry.tokens, key: entry.key, bytes })
    }

    /// Asks the processor to fetch what [`TokenView::get`] reads of some rows, if it will soon be called for all.
    pub fn prefetch(&self, rows: impl Iterator<Item = u32> + Clone) {
        for row in rows.clone().filter(|row| *row < self.rows) {
            let at = entry_offset(row) as usize;
            prefetch(&self.entries.bytes()[at..at + ENTRY_BYTES]);
        }
        for entry in rows.filter_map(|row| self.entry(row)) {
            prefetch(&self.codes.bytes()[entry.offset as usize..entry.end(self.space) as usize]);
        }
    }

    /// The number of the key that has sealed the codes of a row, 0 for none; `None` where the row has no codes.
    /// Whether they are damaged is not looked at.
    pub fn key(&self, row: u32) -> Option<u32> {
        self.entry(row).map(|entry| entry.key)
    }

    fn entry(&self, row: u32) -> Option<Entry> {
        let is_there = row < self.rows;
        let entry = is_there.then(|| Entry::decode(self.entries.copy_16(entry_offset(row) as usize))).flatten()?;
        // What lies past the end was not there when this view was made: a page that was missing stays so in a map.
        (entry.end(self.space) <= self.end).then_some(entry)
    }
}
