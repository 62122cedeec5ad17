//! The one place that touches FAISS: its C API behind a type that owns lifetimes and checks lengths.
//!
//! `faiss-sys` is used directly. The `faiss` crate above it leaks the selector of each filtered search, does not keep
//! a bitmap selector's bits alive, and gives no search by `&self` for indexes from the factory.
//!
//! FAISS builds, saves and loads HNSW; [`crate::graph`] searches it, over the [`Graph`] that is shown here.
//!
//! Beside it two C++ files: `faiss.cpp`, what the C API lacks, and `large_pages.cpp`, where large arrays get their
//! memory.

use crate::{IndexError, products};
use faiss_sys as sys;
use membox_vectors::Metric;
use std::ffi::{CStr, CString, c_int, c_void};
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::slice::{from_raw_parts, from_raw_parts_mut};

unsafe extern "C" {
    /// Of libgomp, which FAISS is linked with: sets the OpenMP threads of the calling thread's parallel regions.
    fn omp_set_num_threads(threads: c_int);

    /// Of faiss.cpp: whether the index is a graph over 8-bit codes; if so, `graph` is filled in.
    fn membox_hnsw_graph(index: *const sys::FaissIndex, graph: *mut RawGraph) -> bool;

    /// Of faiss.cpp: has the graph of an index over 8-bit codes by inner product built by integer products from now on.
    fn membox_hnsw_use_integer_products(index: *mut sys::FaissIndex) -> bool;

    /// Of faiss.cpp: has inverted lists learnt from as few vectors as there are, without a word.
    fn membox_ivf_learn_quietly(index: *mut sys::FaissIndex);

    /// Of large_pages.cpp: wishes for large pages where memory that was not written to yet holds whole ones.
    fn membox_wish_for_large_pages(room: *mut c_void, bytes: usize);
}

/// [`products::weigh`] for faiss.cpp.
///
/// # Safety
///
/// `vector` and `widths` show `dimension` numbers each, and `weights` has room for as many.
#[unsafe(no_mangle)]
unsafe extern "C" fn membox_weigh(vector: *const f32, widths: *const f32, dimension: usize, weights: *mut i16) -> f32 {
    // SAFETY: as the caller promises.
    unsafe {
        let (vector, widths) = (from_raw_parts(vector, dimension), from_raw_parts(widths, dimension));
        products::weigh(vector, widths, from_raw_parts_mut(weights, dimension))
    }
}

/// [`products::product`] for faiss.cpp.
///
/// # Safety
///
/// `weights` and `code` show `dimension` numbers each.
#[unsafe(no_mangle)]
unsafe extern "C" fn membox_product(weights: *const i16, code: *const u8, dimension: usize) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { products::product(from_raw_parts(weights, dimension), from_raw_parts(code, dimension)) }
}

/// `MemboxGraph` of faiss.cpp.
#[repr(C)]
struct RawGraph {
    neighbours: *const i32,
    neighbours_len: usize,
    offsets: *const usize,
    offsets_len: usize,
    level_starts: *const c_int,
    level_starts_len: usize,
    codes: *const u8,
    codes_len: usize,
    trained: *const f32,
    trained_len: usize,
    entry: i32,
    max_level: i32,
}

/// The graph of an HNSW index and its 8-bit codes.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a> {
    /// Ids of neighbours, those of one node one after the other, level by level; a negative one ends a level's.
    pub neighbours: &'a [i32],
    /// Where the neighbours of each node begin; one more than nodes.
    pub offsets: &'a [usize],
    /// Where in a node's neighbours each level begins; one more than levels.
    pub level_starts: &'a [c_int],
    /// A byte a dimension, those of one node one after the other.
    pub codes: &'a [u8],
    /// The least value of each dimension, and the width of its values: a code c stands for
    /// `least + width · (c + ½) / 255`.
    pub least: &'a [f32],
    pub widths: &'a [f32],
    /// Half the squared distance of each node from `least`, where nodes are compared by their distance.
    pub halves: Option<&'a [f32]>,
    /// The node that a search begins at.
    pub entry: u32,
    /// The level that it begins on.
    pub max_level: usize,
}

/// Zeros, in large pages where there are such and they fill some.
pub(crate) fn zeros(count: usize) -> Vec<u128> {
    let mut words = vec![0; count];
    // SAFETY: a wish about pages, which changes nothing in them; they are the vector's.
    unsafe { membox_wish_for_large_pages(words.as_mut_ptr().cast(), size_of_val(&words[..])) };
    words
}

/// A FAISS index by inner product or distance, whose ids are the order of [`FaissIndex::add`].
pub(crate) struct FaissIndex {
    raw: NonNull<sys::FaissIndex>,
    dimension: usize,
    inverted_lists: bool,
}

// SAFETY: the index is owned by this value alone, and FAISS ties it to no thread.
unsafe impl Send for FaissIndex {}
// SAFETY: FAISS documents that CPU indexes may be searched from many threads while nothing changes them; everything
// that changes one here takes `&mut self`.
unsafe impl Sync for FaissIndex {}

impl FaissIndex {
    /// An empty index from a factory string such as `HNSW32,SQ8` or `IVF1024,SQ8`.
    pub fn from_factory(dimension: usize, description: &str, metric: Metric) -> Result<Self, IndexError> {
        let metric = match metric {
            Metric::Cosine | Metric::InnerProduct => sys::FaissMetricType_METRIC_INNER_PRODUCT,
            Metric::Euclidean => sys::FaissMetricType_METRIC_L2,
        };
        let text = CString::new(description).map_err(|e| failed("read its description", e.to_string()))?;
        let mut raw = null_mut();
        // SAFETY: `raw` and `text` outlive the call; FAISS writes an owned pointer on success.
        let code = unsafe { sys::faiss_index_factory(&mut raw, dimension as c_int, text.as_ptr(), metric) };
        check("create an index", code)?;
        Self::own(raw, description.starts_with("IVF"))
    }

    /// Reads an index whose bytes were already found intact: FAISS's loader trusts them.
    pub fn read(path: &Path, inverted_lists: bool) -> Result<Self, IndexError> {
        let text = path_text(path)?;
        let mut raw = null_mut();
        // SAFETY: `raw` and `text` outlive the call; FAISS writes an owned pointer on success.
        check("read an index", unsafe { sys::faiss_read_index_fname(text.as_ptr(), 0, &mut raw) })?;
        Self::own(raw, inverted_lists)
    }

    fn own(raw: *mut sys::FaissIndex, inverted_lists: bool) -> Result<Self, IndexError> {
        let raw = NonNull::new(raw).ok_or_else(|| failed("create an index", "no index came back".into()))?;
        // SAFETY: `raw` is a live index.
        let dimension = unsafe { sys::faiss_Index_d(raw.as_ptr()) } as usize;
        // SAFETY: `raw` is a live index that nothing else has seen yet. Where it is no such index it stays as it is.
        unsafe {
            membox_hnsw_use_integer_products(raw.as_ptr());
            membox_ivf_learn_quietly(raw.as_ptr());
        }
        Ok(Self { raw, dimension, inverted_lists })
    }

    /// Writes the index to a file.
    pub fn write(&self, path: &Path) -> Result<(), IndexError> {
        let text = path_text(path)?;
        // SAFETY: the index and `text` outlive the call.
        check("write the index", unsafe { sys::faiss_write_index_fname(self.raw.as_ptr(), text.as_ptr()) })
    }

    /// Sets a parameter by the name that FAISS's `ParameterSpace` gives it, such as `efConstruction`.
    pub fn set_parameter(&mut self, name: &str, value: f64) -> Result<(), IndexError> {
        let text = CString::new(name).map_err(|e| failed("set a parameter", e.to_string()))?;
        let mut space = null_mut();
        // SAFETY: `space` is owned here and freed below; index and name outlive the calls.
        unsafe {
            check("set a parameter", sys::faiss_ParameterSpace_new(&mut space))?;
            let code = sys::faiss_ParameterSpace_set_index_parameter(space, self.raw.as_ptr(), text.as_ptr(), value);
            let result = check("set a parameter", code);
            sys::faiss_ParameterSpace_free(space);
            result
        }
    }

    /// Learns the codes (and the lists of an IVF index) from sample vectors, one after the other.
    pub fn train(&mut self, vectors: &[f32]) -> Result<(), IndexError> {
        let count = self.count(vectors);
        // SAFETY: `vectors` holds `count` vectors of the index's dimension.
        check("train the index", unsafe { sys::faiss_Index_train(self.raw.as_ptr(), count, vectors.as_ptr()) })
    }

    /// Adds vectors; their ids continue from the last.
    pub fn add(&mut self, vectors: &[f32]) -> Result<(), IndexError> {
        let count = self.count(vectors);
        // SAFETY: `vectors` holds `count` vectors of the index's dimension.
        check("add to the index", unsafe { sys::faiss_Index_add(self.raw.as_ptr(), count, vectors.as_ptr()) })
    }

    /// Vectors in the index.
    pub fn len(&self) -> u64 {
        // SAFETY: the index is live.
        unsafe { sys::faiss_Index_ntotal(self.raw.as_ptr()) as u64 }
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The graph of an HNSW index that is not empty.
    pub fn graph(&self) -> Option<Graph<'_>> {
        let mut raw = std::mem::MaybeUninit::<RawGraph>::uninit();
        // SAFETY: the index is live; `raw` has room for what is written when the answer is true.
        let raw = unsafe {
            if !membox_hnsw_graph(self.raw.as_ptr(), raw.as_mut_ptr()) {
                return None;
            }
            raw.assume_init()
        };
        let (entry, max_level) = (u32::try_from(raw.entry).ok()?, usize::try_from(raw.max_level).ok()?);
        if raw.trained_len != 2 * self.dimension {
            return None;
        }
        // SAFETY: these are the vectors of a live index that is not empty: their pointers are aligned and not null,
        // and they stay as they are while `self` is borrowed, since only `&mut self` adds.
        unsafe {
            let (least, widths) = from_raw_parts(raw.trained, raw.trained_len).split_at(self.dimension);
            Some(Graph {
                neighbours: from_raw_parts(raw.neighbours, raw.neighbours_len),
                offsets: from_raw_parts(raw.offsets, raw.offsets_len),
                level_starts: from_raw_parts(raw.level_starts, raw.level_starts_len),
                codes: from_raw_parts(raw.codes, raw.codes_len),
                least,
                widths,
                halves: None,
                entry,
                max_level,
            })
        }
    }

    /// Ids of the `k` nearest by the codes, best first, of those whose bit is set in `allowed` (bit i of byte i / 8):
    /// IVF's, in `nprobe` lists.
    pub fn search_lists(
        &self,
        query: &[f32],
        k: usize,
        nprobe: usize,
        allowed: Option<&[u8]>,
    ) -> Result<Vec<u32>, IndexError> {
        assert!(self.inverted_lists);
        let selector = allowed.map(BitmapSelector::new).transpose()?;
        let selector_raw = selector.as_ref().map_or(null_mut(), |s| s.raw.cast());
        let parameters = SearchParameters::lists(nprobe, selector_raw)?;
        assert_eq!(query.len(), self.dimension);
        let (mut scores, mut ids) = (vec![0f32; k], vec![-1i64; k]);
        // SAFETY: the query is one vector of the index's dimension, `scores` and `ids` have room for k, and the
        // parameters with their selector and its bits live until after the call.
        let code = unsafe {
            sys::faiss_Index_search_with_params(
                self.raw.as_ptr(),
                1,
                query.as_ptr(),
                k as i64,
                parameters.0,
                scores.as_mut_ptr(),
                ids.as_mut_ptr(),
            )
        };
        check("search the index", code)?;
        Ok(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect())
    }

    fn count(&self, vectors: &[f32]) -> i64 {
        assert!(vectors.len().is_multiple_of(self.dimension), "vectors of the index's dimension");
        (vectors.len() / self.dimension) as i64
    }
}

impl Drop for FaissIndex {
    fn drop(&mut self) {
        // SAFETY: the index is owned and not used after.
        unsafe { sys::faiss_Index_free(self.raw.as_ptr()) }
    }
}

/// A selector over borrowed bits, freed when dropped.
struct BitmapSelector<'a> {
    raw: *mut sys::FaissIDSelectorBitmap,
    _bits: &'a [u8],
}

impl<'a> BitmapSelector<'a> {
    fn new(bits: &'a [u8]) -> Result<Self, IndexError> {
        let mut raw = null_mut();
        // SAFETY: FAISS keeps the pointer to the bits, which live as long as this value by its lifetime. `n` counts
        // bytes.
        check("make a selector", unsafe { sys::faiss_IDSelectorBitmap_new(&mut raw, bits.len(), bits.as_ptr()) })?;
        Ok(Self { raw, _bits: bits })
    }
}

impl Drop for BitmapSelector<'_> {
    fn drop(&mut self) {
        // SAFETY: the selector is owned here; search parameters do not own theirs.
        unsafe { sys::faiss_IDSelector_free(self.raw.cast()) }
    }
}

/// Search parameters, freed when dropped.
struct SearchParameters(*mut sys::FaissSearchParameters);

impl SearchParameters {
    fn lists(nprobe: usize, selector: *mut sys::FaissIDSelector) -> Result<Self, IndexError> {
        let mut raw = null_mut();
        // SAFETY: `raw` outlives the call; the caller keeps the selector alive for as long as the parameters.
        let code = unsafe { sys::faiss_SearchParametersIVF_new_with(&mut raw, selector, nprobe, 0) };
        check("make search parameters", code)?;
        Ok(Self(raw))
    }
}

impl Drop for SearchParameters {
    fn drop(&mut self) {
        // SAFETY: the parameters are owned here; the destructor is virtual, so this frees any kind.
        unsafe { sys::faiss_SearchParameters_free(self.0) }
    }
}

/// Sets how many threads FAISS uses for what the calling thread asks of it.
pub(crate) fn use_threads(threads: usize) {
    // SAFETY: sets a variable of the calling thread.
    unsafe { omp_set_num_threads(threads.clamp(1, 1024) as c_int) }
}

fn path_text(path: &Path) -> Result<CString, IndexError> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| failed("use a path", e.to_string()))
}

fn failed(action: &'static str, message: String) -> IndexError {
    IndexError::Faiss { action, message }
}

fn check(action: &'static str, code: c_int) -> Result<(), IndexError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: FAISS gives null or a C string that lives until the thread's next error.
    let message = unsafe {
        let text = sys::faiss_get_last_error();
        if text.is_null() { format!("code {code}") } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Err(failed(action, message))
}
