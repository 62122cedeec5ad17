//! The vector file: appended to by one writer, read through read-only maps.

use crate::VectorsError;
use crate::format::{HEADER_BYTES, Header, HeaderError, Metric, RowType, VERSION};
use crate::sigbus::Watched;
use crate::simd;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Address space mapped at least, so that a growing file is not mapped anew with each commit.
const MAP_AT_LEAST: u64 = 1 << 20;

/// Rows copied at a time.
const COPIED_ROWS: usize = 4096;

/// A row on disk and the checksum of its bytes, which the record that names the row keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowReceipt {
    /// Row number; rows are numbered from 0 and never reused.
    pub row: u32,
    /// CRC32C of the row's bytes, padding included.
    pub crc: u32,
}

/// The map of a file. A page of it that cannot be read is zeros, and makes it damaged.
pub(crate) struct FileMap {
    /// Ends before the map does.
    watched: Watched,
    bytes: Mmap,
}

impl FileMap {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// 16 bytes at an offset that is a multiple of 8. They may be written to meanwhile: then some are of before.
    ///
    /// # Panics
    /// When they are not in the map.
    pub fn copy_16(&self, at: usize) -> [u8; 16] {
        let bytes = &self.bytes[at..at + 16];
        assert!(at.is_multiple_of(8));
        let first = bytes.as_ptr().cast::<u64>();
        // SAFETY: both numbers are in the map, at addresses that are multiples of 8 since the map begins at a page's.
        // Another thread may be writing to the file: each number is read once, and any bytes are a number.
        let [low, high] = unsafe { [first.read_volatile(), first.add(1).read_volatile()] };
        (u128::from(low.to_le()) | u128::from(high.to_le()) << 64).to_le_bytes()
    }
}

/// The one writer of a vector file.
///
/// Rows are appended by `pwrite` and become durable with [`VectorFile::sync`]; they are never written through a map,
/// so a full disk is an error and not a signal. After a failed write or sync the state on disk is unknown and the
/// file refuses further writes.
pub struct VectorFile {
    path: PathBuf,
    /// Not there where rows have no vectors.
    file: Option<File>,
    header: Header,
    metric: Metric,
    rows: u32,
    map: Option<Arc<FileMap>>,
    poisoned: bool,
}

impl VectorFile {
    /// Rows that have no vectors, of which there are `rows`: they are numbered as others are, and take no file.
    pub fn without_vectors(uuid: Uuid, rows: u32) -> Self {
        let header = Header { uuid, dimension: 0, row_type: RowType::F16 };
        let (path, metric) = (PathBuf::from(format!("{uuid}.mbv")), Metric::default());
        Self { path, file: None, header, metric, rows, map: None, poisoned: false }
    }

    /// Creates the file, durably, its folder entry included; none for vectors of no numbers.
    pub fn create(path: &Path, dimension: usize, row_type: RowType) -> Result<Self, VectorsError> {
        if dimension == 0 {
            return Ok(Self::without_vectors(Uuid::new_v4(), 0));
        }
        let io = |action| move |source| VectorsError::Io { action, path: path.to_owned(), source };
        let header = Header { uuid: Uuid::new_v4(), dimension, row_type };
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(io("create"))?;
        let written =
            file.write_all_at(&header.encode(), 0).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
        if let Err(source) = written {
            let _ = std::fs::remove_file(path);
            return Err(io("create")(source));
        }
        let (map, file) = (Some(map_file(path, &file, HEADER_BYTES)?), Some(file));
        Ok(Self { path: path.to_owned(), file, header, metric: Metric::default(), rows: 0, map, poisoned: false })
    }

    /// Gives a file that cannot be opened its header again, and `rows` rows: those that it holds stay, those that it
    /// lacks are zeros. Makes the file where it is lost.
    pub fn mend(path: &Path, header: Header, rows: u32) -> Result<(), VectorsError> {
        let io = |source| VectorsError::Io { action: "mend", path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(io)?;
        let written = file
            .write_all_at(&header.encode(), 0)
            .and_then(|()| file.set_len(header.row_offset(u64::from(rows))))
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_parent(path));
        written.map_err(io)
    }

    /// Opens the file with `rows` committed rows; what lies past them was never acknowledged and is cut off.
    pub fn open(path: &Path, rows: u32) -> Result<Self, VectorsError> {
        let io = |action| move |source| VectorsError::Io { action, path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io("open"))?;
        let (header, length) = read_layout(path, &file, rows)?;
        let wanted = header.row_offset(u64::from(rows));
        if length > wanted {
            file.set_len(wanted).and_then(|()| file.sync_all()).map_err(io("truncate"))?;
        }
        let (map, file) = (Some(map_file(path, &file, wanted)?), Some(file));
        Ok(Self { path: path.to_owned(), file, header, metric: Metric::default(), rows, map, poisoned: false })
    }

    /// The file, whose rows are compared by `metric` from now on, instead of by the cosine.
    pub fn compared_by(self, metric: Metric) -> Self {
        Self { metric, ..self }
    }

    /// How many rows a file holds, committed or not.
    pub fn whole_rows(path: &Path) -> Result<u32, VectorsError> {
        let io = |source| VectorsError::Io { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let header = Header::read(path, &file)?;
        let rows = file.metadata().map_err(io)?.len().saturating_sub(HEADER_BYTES) / header.stride() as u64;
        Ok(u32::try_from(rows).unwrap_or(u32::MAX))
    }

    /// Reads the header of a file without opening it for writing.
    pub fn header_of(path: &Path) -> Result<Header, VectorsError> {
        let file =
            File::open(path).map_err(|source| VectorsError::Io { action: "open", path: path.to_owned(), source })?;
        Header::read(path, &file)
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Rows written so far, durable or not.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Appends vectors; they are durable after the next [`VectorFile::sync`]. Either all are appended or none.
    pub fn append<'a>(
        &mut self,
        vectors: impl IntoIterator<Item = &'a [f32]>,
    ) -> Result<Vec<RowReceipt>, VectorsError> {
        let stride = self.header.stride();
        let (mut bytes, mut receipts) = (Vec::new(), Vec::new());
        for vector in vectors {
            self.header.check(vector)?;
            let start = bytes.len();
            bytes.resize(start + stride, 0);
            self.header.row_type.encode(vector, &mut bytes[start..]);
            let row = self.rows.checked_add(receipts.len() as u32).ok_or_else(|| self.full())?;
            receipts.push(RowReceipt { row, crc: crc32c::crc32c(&bytes[start..]) });
        }
        self.append_bytes(&bytes, receipts.len() as u32)?;
        Ok(receipts)
    }

    /// Appends rows of another file of the same dimension and row type as they are; they are durable after the next
    /// [`VectorFile::sync`].
    pub fn append_rows(&mut self, of: &VectorView, rows: impl IntoIterator<Item = u32>) -> Result<(), VectorsError> {
        assert_eq!((of.header.dimension, of.header.row_type), (self.header.dimension, self.header.row_type));
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let (mut bytes, mut count) = (Vec::new(), 0u32);
            for row in rows.by_ref().take(COPIED_ROWS) {
                bytes.extend_from_slice(of.bytes(row));
                count += 1;
            }
            of.check_readable()?;
            self.append_bytes(&bytes, count)?;
        }
        Ok(())
    }

    /// An error where somebody has cut the file: a write past its end would hide that.
    fn check_length(&self) -> Result<(), VectorsError> {
        let Some(file) = &self.file else { return Ok(()) };
        let io = |source| VectorsError::Io { action: "read", path: self.path.clone(), source };
        let (length, wanted) = (file.metadata().map_err(io)?.len(), self.header.row_offset(u64::from(self.rows)));
        if length < wanted {
            let reason = format!("it has {length} bytes, and had {wanted} when it was written: somebody has cut it");
            return Err(VectorsError::Damaged { path: self.path.clone(), reason });
        }
        Ok(())
    }

    fn append_bytes(&mut self, bytes: &[u8], count: u32) -> Result<(), VectorsError> {
        if self.poisoned {
            return Err(VectorsError::Poisoned(self.path.clone()));
        }
        if count == 0 {
            return Ok(());
        }
        self.check_length()?;
        let rows = self.rows.checked_add(count).ok_or_else(|| self.full())?;
        let Some(file) = &self.file else {
            self.rows = rows;
            return Ok(());
        };
        if let Err(source) = file.write_all_at(bytes, self.header.row_offset(u64::from(self.rows))) {
            // What part of it was written does not matter: no record names these rows, and the next append overwrites
            // them.
            return Err(VectorsError::Io { action: "write to", path: self.path.clone(), source });
        }
        self.rows = rows;
        let end = self.header.row_offset(u64::from(rows));
        if self.map.as_ref().is_none_or(|map| end > map.bytes.len() as u64) {
            self.map = Some(map_file(&self.path, file, end)?);
        }
        Ok(())
    }

    /// Makes every appended row durable. A failure poisons the file: after one, the kernel may have dropped the pages
    /// and call the next fsync a success.
    pub fn sync(&mut self) -> Result<(), VectorsError> {
        if self.poisoned {
            return Err(VectorsError::Poisoned(self.path.clone()));
        }
        self.file.as_ref().map_or(Ok(()), File::sync_data).map_err(|source| {
            self.poisoned = true;
            VectorsError::Io { action: "fsync", path: self.path.clone(), source }
        })
    }

    /// Renames the file, durably.
    pub fn rename(&mut self, to: &Path) -> Result<(), VectorsError> {
        if self.file.is_none() {
            return Ok(());
        }
        rename_durably(&self.path, to).map_err(|source| VectorsError::Io {
            action: "rename",
            path: self.path.clone(),
            source,
        })?;
        self.path = to.to_owned();
        Ok(())
    }

    /// Removes the file; views of it stay.
    pub fn remove(self) -> Result<(), VectorsError> {
        if self.file.is_none() {
            return Ok(());
        }
        let io = |source| VectorsError::Io { action: "remove", path: self.path.clone(), source };
        std::fs::remove_file(&self.path).map_err(io)
    }

    /// Takes back rows that no record names, after a commit that failed.
    pub fn forget_rows_from(&mut self, rows: u32) {
        self.rows = self.rows.min(rows);
    }

    /// Overwrites rows with zeros, durably: an erased vector must not stay in the file.
    pub fn erase(&mut self, rows: impl IntoIterator<Item = u32>) -> Result<(), VectorsError> {
        self.erase_lazily(rows)?;
        self.sync()
    }

    /// Overwrites rows with zeros, which become durable with the next [`VectorFile::sync`].
    pub fn erase_lazily(&mut self, rows: impl IntoIterator<Item = u32>) -> Result<(), VectorsError> {
        let Some(file) = &self.file else { return Ok(()) };
        self.check_length()?;
        let zeros = vec![0; self.header.stride()];
        for row in rows.into_iter().filter(|&row| row < self.rows) {
            file.write_all_at(&zeros, self.header.row_offset(u64::from(row))).map_err(|source| VectorsError::Io {
                action: "write to",
                path: self.path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// A view of the first `rows` rows, valid for as long as it is held, whatever is appended.
    pub fn view(&self, rows: u32) -> VectorView {
        VectorView { header: self.header, metric: self.metric, map: self.map.clone(), rows: rows.min(self.rows) }
    }

    fn full(&self) -> VectorsError {
        VectorsError::Damaged { path: self.path.clone(), reason: "it has 2^32 rows, the most a file takes".into() }
    }
}

impl Header {
    /// Reads the header of an open file, which is at `path`.
    pub fn read(path: &Path, file: &File) -> Result<Self, VectorsError> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        if let Err(source) = file.read_exact_at(&mut bytes, 0) {
            return Err(match source.kind() {
                io::ErrorKind::UnexpectedEof => {
                    VectorsError::Damaged { path: path.to_owned(), reason: "it is shorter than its header".into() }
                }
                _ => VectorsError::Io { action: "read", path: path.to_owned(), source },
            });
        }
        Self::decode(&bytes).map_err(|error| match error {
            HeaderError::Damaged(reason) => VectorsError::Damaged { path: path.to_owned(), reason },
            HeaderError::TooNew(found) => VectorsError::TooNew { path: path.to_owned(), found, known: VERSION },
        })
    }

    /// Whether a vector fits: its dimension, and every number finite in the row type.
    pub fn check(&self, vector: &[f32]) -> Result<(), VectorsError> {
        if vector.len() != self.dimension {
            return Err(VectorsError::Dimension { found: vector.len(), expected: self.dimension });
        }
        let most = match self.row_type {
            RowType::F16 => half::f16::MAX.to_f32(),
            RowType::F32 => f32::MAX,
        };
        match vector.iter().find(|x| !x.is_finite() || x.abs() > most) {
            Some(&bad) => Err(VectorsError::NotFinite(bad)),
            None => Ok(()),
        }
    }
}

/// Some first rows of a vector file, read through a map.
#[derive(Clone)]
pub struct VectorView {
    header: Header,
    metric: Metric,
    map: Option<Arc<FileMap>>,
    rows: u32,
}

impl VectorView {
    /// The first `rows` rows of a file that nobody writes meanwhile. The file stays as it is, with what lies past them.
    pub fn open(path: &Path, rows: u32) -> Result<Self, VectorsError> {
        let file =
            File::open(path).map_err(|source| VectorsError::Io { action: "open", path: path.to_owned(), source })?;
        let (header, _) = read_layout(path, &file, rows)?;
        let map = Some(map_file(path, &file, header.row_offset(u64::from(rows)))?);
        Ok(Self { header, metric: Metric::default(), map, rows })
    }

    /// What the file's header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// An error once a page of the file could not be read: some rows were zeros then, and what was found among them
    /// is no answer.
    pub fn check_readable(&self) -> Result<(), VectorsError> {
        if self.map.as_ref().is_none_or(|map| !map.watched.is_damaged()) {
            return Ok(());
        }
        let reason = "a page of it could not be read, because the disk has failed or somebody has cut the file; look \
                      after the disk, stop the box, and run `membox rebuild` or restore a backup";
        Err(VectorsError::Damaged { path: format!("{}.mbv", self.header.uuid).into(), reason: reason.into() })
    }

    /// Rows in view.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The bytes of a row.
    ///
    /// # Panics
    /// When `row` is not below [`VectorView::rows`].
    pub fn bytes(&self, row: u32) -> &[u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let at = self.header.row_offset(u64::from(row)) as usize;
        self.map.as_ref().map_or(&[], |map| &map.bytes[at..at + self.header.stride()])
    }

    /// CRC32C of a row's bytes, to be held against its record's.
    pub fn crc(&self, row: u32) -> u32 {
        crc32c::crc32c(self.bytes(row))
    }

    /// Asks the processor to fetch a row that will soon be read.
    pub fn prefetch(&self, row: u32) {
        simd::prefetch(self.bytes(row));
    }

    /// A row as f32.
    pub fn vector(&self, row: u32) -> Vec<f32> {
        let mut vector = vec![0.0; self.header.dimension];
        self.header.row_type.decode(self.bytes(row), &mut vector);
        vector
    }

    /// How its rows are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How well a query and a row match: higher is better.
    pub fn score(&self, query: &[f32], row: u32) -> f32 {
        simd::score(self.metric, self.header.row_type, query, self.bytes(row))
    }
}

/// The header of a file and its length, if it holds `rows` rows.
fn read_layout(path: &Path, file: &File, rows: u32) -> Result<(Header, u64), VectorsError> {
    let header = Header::read(path, file)?;
    let io = |source| VectorsError::Io { action: "read", path: path.to_owned(), source };
    let length = file.metadata().map_err(io)?.len();
    if length < header.row_offset(u64::from(rows)) {
        let have = length.saturating_sub(HEADER_BYTES) / header.stride() as u64;
        let reason = format!("it holds {have} rows; {rows} were committed");
        return Err(VectorsError::Damaged { path: path.to_owned(), reason });
    }
    Ok((header, length))
}

/// Maps twice the bytes in use: pages past the end of the file become readable as it grows.
pub(crate) fn map_file(path: &Path, file: &File, bytes: u64) -> Result<Arc<FileMap>, VectorsError> {
    let length = (bytes * 2).max(MAP_AT_LEAST) as usize;
    // SAFETY: the map is read-only, membox never truncates the file below its committed rows while it is open (one
    // process holds the data folder's lock), and views read committed rows only. Where somebody else truncates it, or
    // the disk fails, the pages become zeros (`sigbus.rs`). A row is overwritten only when it is erased, and then no
    // view's answer names it; the same holds for codes of tokens, and their entries are read by `FileMap::copy_16`.
    let map = unsafe { MmapOptions::new().len(length).map(file) };
    let bytes = map.map_err(|source| VectorsError::Io { action: "map", path: path.to_owned(), source })?;
    Ok(Arc::new(FileMap { watched: Watched::new(&bytes), bytes }))
}

/// Gives a file or folder another name, durably. What it holds is the caller's to fsync before.
#[expect(clippy::disallowed_methods, reason = "the one rename with an fsync of its folder, which others are to use")]
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)
}

/// As [`rename_durably`], and never takes the place of anything: not even of an empty folder.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => sync_parent(to),
        // A file system that does not know how, as some networks' do not: then somebody may be faster.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => rename_durably(from, to),
        },
        Err(error) => Err(error.into()),
    }
}

/// Makes a folder's entry for `path` durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
