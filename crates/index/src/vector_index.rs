//! An immutable index over the first rows of one vector file: built, saved with a checksum, loaded only when intact.

use crate::IndexError;
use crate::faiss::{FaissIndex, Graph, use_threads};
use crate::graph::{Scratch, rank_codes, scan_codes, walk};
use crate::plan;
use crate::policy::IndexSpec;
use crate::rows::AllowedRows;
use crate::sketch::{Rows, Scale, Sketches};
use membox_vectors::{Metric, VectorView};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use uuid::Uuid;

/// The version of the manifest.
const VERSION: u32 = 1;
const MANIFEST: &str = "index.json";
/// Rows handed to FAISS at a time, at least: the steps of progress, and of stopping. Each step sets up a lock for
/// every row.
const CHUNK: u32 = 4096;
/// Steps of a build, at most.
const CHUNKS: u32 = 64;
/// Vectors that codes and lists are learnt from, at most.
const TRAINING_ROWS: u32 = 100_000;

/// What a saved index covers; kept beside it with a checksum of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub version: u32,
    /// UUID of the vector file.
    pub vector_file: Uuid,
    /// The watermark: the index covers rows below it.
    pub rows: u32,
    /// Kind and parameters.
    pub spec: IndexSpec,
    /// Name of the FAISS file in the same folder.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// CRC32C of its bytes.
    pub crc: u32,
}

/// An index in memory, ready to search from many threads.
pub struct VectorIndex {
    faiss: FaissIndex,
    vector_file: Uuid,
    rows: u32,
    spec: IndexSpec,
    metric: Metric,
    /// Of searches that ended: as many as ever ran at once.
    scratches: Mutex<Vec<Scratch>>,
    /// Made for the first filter that is negatively correlated with its query.
    sketches: OnceLock<Sketches>,
    /// Made for the first search by distance: [`Graph::halves`].
    halves: OnceLock<Vec<f32>>,
}

/// Progress of a build: called with rows done; a `false` stops it.
pub type Progress<'a> = &'a mut dyn FnMut(u32) -> bool;

impl VectorIndex {
    /// Builds an index over every row in view, with `threads` OpenMP threads.
    pub fn build(view: &VectorView, spec: IndexSpec, threads: usize, progress: Progress) -> Result<Self, IndexError> {
        use_threads(threads);
        let header = view.header();
        let mut faiss = FaissIndex::from_factory(header.dimension, &spec.factory(), view.metric())?;
        if let IndexSpec::Hnsw { ef_construction, .. } = spec {
            faiss.set_parameter("efConstruction", f64::from(ef_construction))?;
        }
        let step = view.rows().div_ceil(TRAINING_ROWS).max(1) as usize;
        let mut sample = Vec::new();
        for row in (0..view.rows()).step_by(step) {
            sample.extend(view.vector(row));
        }
        faiss.train(&sample)?;
        drop(sample);
        let mut index = Self {
            faiss,
            vector_file: header.uuid,
            rows: 0,
            spec,
            metric: view.metric(),
            scratches: Mutex::default(),
            sketches: OnceLock::new(),
            halves: OnceLock::new(),
        };
        index.extend(view, threads, progress)?;
        Ok(index)
    }

    /// Adds the rows in view that the index does not cover yet.
    pub fn extend(&mut self, view: &VectorView, threads: usize, progress: Progress) -> Result<(), IndexError> {
        use_threads(threads);
        (self.sketches, self.halves) = (OnceLock::new(), OnceLock::new());
        let mut vectors = Vec::new();
        let chunk = CHUNK.max(view.rows() / CHUNKS);
        while self.rows < view.rows() {
            let end = view.rows().min(self.rows + chunk);
            vectors.clear();
            (self.rows..end).for_each(|row| vectors.extend(view.vector(row)));
            self.faiss.add(&vectors)?;
            self.rows = end;
            if !progress(end) {
                return Err(IndexError::Stopped);
            }
        }
        Ok(())
    }

    /// The watermark: the index covers rows below it.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Kind and parameters.
    pub fn spec(&self) -> IndexSpec {
        self.spec
    }

    /// Sets how hard it is searched where nobody says.
    pub(crate) fn set_spec(&mut self, spec: IndexSpec) {
        self.spec = spec;
    }

    /// The `ef_search` allowed rows whose codes are nearest to the query, best first, to be scored again exactly by
    /// the caller: HNSW's.
    pub fn walk(&self, query: &[f32], ef_search: usize, allowed: Option<&AllowedRows>) -> Vec<u32> {
        let Some(graph) = self.graph() else { return Vec::new() };
        let mut scratch = self.scratches().pop().unwrap_or_default();
        let found = walk(graph, query, ef_search, allowed, &mut scratch);
        self.scratches().push(scratch);
        found
    }

    /// The graph of HNSW, as it is compared with a query.
    fn graph(&self) -> Option<Graph<'_>> {
        let graph = self.faiss.graph()?;
        let halves = || self.halves.get_or_init(|| graph.half_squares()).as_slice();
        Some(Graph { halves: (self.metric == Metric::Euclidean).then(halves), ..graph })
    }

    /// The allowed rows among which are the `k` that are nearest to the query, best first, to be scored exactly by
    /// the caller: all of them are looked at, and where they are many all but the best by some bits of each are
    /// passed over. `among` of the rows that it covers are allowed. `None` where an exact scan takes no longer.
    pub fn scan_allowed(
        &self,
        view: &VectorView,
        query: &[f32],
        k: usize,
        allowed: &AllowedRows,
        among: u64,
    ) -> Option<Vec<u32>> {
        let candidates = plan::by_bits(among, k).filter(|_| plan::has_bits(self.metric));
        let count = plan::rescored(k);
        match self.graph() {
            Some(graph) => Some(match candidates {
                None => scan_codes(graph, query, count, allowed.rows()),
                Some(candidates) => {
                    let sketches = self.sketches.get_or_init(|| Sketches::of(&graph));
                    rank_codes(graph, query, count, &sketches.nearest(query, candidates, allowed.bits()))
                }
            }),
            // The codes of lists are not by row.
            None if view.rows() < self.rows => None,
            None => {
                let candidates = candidates?;
                let sketches = self.sketches.get_or_init(|| {
                    let scale = &Scale::of(view, 0..self.rows);
                    Sketches::of(&Rows { view, rows: 0..self.rows, scale })
                });
                let nearest =
                    RoaringBitmap::from_sorted_iter(sketches.nearest(query, candidates, allowed.bits())).ok()?;
                Some(view.scan(query, 0..self.rows, Some(&nearest), k).into_iter().map(|scored| scored.row).collect())
            }
        }
    }

    /// The `candidates` rows of the `nprobe` nearest lists whose codes are nearest to the query, best first, of
    /// those whose bit is set in `allowed` (bit i of byte i / 8), to be scored again exactly by the caller: IVF's.
    /// Uses one thread.
    pub fn in_lists(
        &self,
        query: &[f32],
        candidates: usize,
        nprobe: usize,
        allowed: Option<&[u8]>,
    ) -> Result<Vec<u32>, IndexError> {
        use_threads(1);
        self.faiss.search_lists(query, candidates.clamp(1, self.rows.max(1) as usize), nprobe, allowed)
    }

    fn scratches(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.scratches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves the index into `folder`, atomically: until the manifest is renamed into place the older one stands.
    pub fn save(&self, folder: &Path) -> Result<Manifest, IndexError> {
        let file = format!("index-{}.faiss", Uuid::new_v4().simple());
        let path = folder.join(&file);
        self.faiss.write(&path)?;
        File::open(&path).and_then(|f| f.sync_all()).map_err(io("fsync", &path))?;
        let (bytes, crc) = checksum(&path)?;
        let (vector_file, rows, spec) = (self.vector_file, self.rows, self.spec);
        let manifest = Manifest { version: VERSION, vector_file, rows, spec, file, bytes, crc };
        let text = serde_json::to_string(&manifest).unwrap_or_default();
        let temporary = folder.join("index.json.tmp");
        let target = folder.join(MANIFEST);
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            writeln!(file, "{text}\n{:08x}", crc32c::crc32c(text.as_bytes()))?;
            file.sync_all()?;
            membox_vectors::rename_durably(&temporary, &target)
        };
        write().map_err(io("write", &target))?;
        remove_others(folder, &manifest.file);
        Ok(manifest)
    }

    /// Loads the index of `folder` if it is intact and covers rows of `view`'s file.
    pub fn load(folder: &Path, view: &VectorView) -> Result<Self, IndexError> {
        let manifest = Self::check(folder, view.header().uuid, view.rows())?;
        let faiss = FaissIndex::read(&folder.join(&manifest.file), matches!(manifest.spec, IndexSpec::Ivf { .. }))?;
        if faiss.len() != u64::from(manifest.rows) || faiss.dimension() != view.header().dimension {
            let reason = format!("it holds {} vectors of {} dimensions", faiss.len(), faiss.dimension());
            return Err(IndexError::Unusable { path: folder.to_owned(), reason });
        }
        let (vector_file, rows, spec) = (manifest.vector_file, manifest.rows, manifest.spec);
        let (metric, scratches) = (view.metric(), Mutex::default());
        let (sketches, halves) = (OnceLock::new(), OnceLock::new());
        Ok(Self { faiss, vector_file, rows, spec, metric, scratches, sketches, halves })
    }

    /// Reads the manifest of `folder`, and nothing else.
    pub fn manifest(folder: &Path) -> Result<Manifest, IndexError> {
        let unusable = |reason: String| IndexError::Unusable { path: folder.to_owned(), reason };
        let text = fs::read_to_string(folder.join(MANIFEST)).map_err(|e| unusable(format!("no manifest: {e}")))?;
        let (json, crc) = text.trim_end().rsplit_once('\n').unwrap_or((&text, ""));
        if u32::from_str_radix(crc, 16) != Ok(crc32c::crc32c(json.as_bytes())) {
            return Err(unusable("the checksum of its manifest does not match".into()));
        }
        let manifest: Manifest = serde_json::from_str(json).map_err(|e| unusable(e.to_string()))?;
        if manifest.version != VERSION {
            return Err(unusable(format!("its format version is {}", manifest.version)));
        }
        if Path::new(&manifest.file).file_name() != Some(manifest.file.as_ref()) {
            return Err(unusable("its file is not in its folder".into()));
        }
        Ok(manifest)
    }

    /// Reads the manifest of `folder` and holds the saved index against it, without loading it.
    pub fn check(folder: &Path, vector_file: Uuid, rows: u32) -> Result<Manifest, IndexError> {
        let unusable = |reason: String| IndexError::Unusable { path: folder.to_owned(), reason };
        let manifest = Self::manifest(folder)?;
        if manifest.vector_file != vector_file {
            return Err(unusable("it is of another vector file".into()));
        }
        if manifest.rows > rows {
            return Err(unusable(format!("it covers {} rows of {rows}", manifest.rows)));
        }
        let (bytes, crc) = checksum(&folder.join(&manifest.file)).map_err(|e| unusable(e.to_string()))?;
        if (bytes, crc) != (manifest.bytes, manifest.crc) {
            return Err(unusable("the checksum of its file does not match".into()));
        }
        Ok(manifest)
    }

    /// Removes whatever is saved in `folder`.
    pub fn remove(folder: &Path) {
        let _ = fs::remove_file(folder.join(MANIFEST));
        remove_others(folder, "");
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> IndexError {
    let path = path.to_owned();
    move |source| IndexError::Io { action, path, source }
}

/// Size and CRC32C of a file.
fn checksum(path: &Path) -> Result<(u64, u32), IndexError> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let (mut buffer, mut bytes, mut crc) = (vec![0; 1 << 20], 0, 0);
    loop {
        match file.read(&mut buffer).map_err(io("read", path))? {
            0 => return Ok((bytes, crc)),
            n => {
                bytes += n as u64;
                crc = crc32c::crc32c_append(crc, &buffer[..n]);
            }
        }
    }
}

/// Removes every FAISS file of the folder but one: what an older or an interrupted build left.
fn remove_others(folder: &Path, keep: &str) {
    let is_other = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("index-") && name.ends_with(".faiss") && name != keep
    };
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).filter(is_other) {
        let _ = fs::remove_file(path);
    }
}
