//! Rows that no index covers yet: a few are scanned, many are told apart by some bits of each first.
//!
//! While an index is built, and while a compaction runs, what is written meanwhile may be hundreds of thousands of
//! rows. A scan of them reads 768 bytes each, their first bits 16 (`sketch.rs`). Searches themselves add the bits
//! of new rows, some thousands at a time, so that no write waits for them and no search does long.

use crate::device::{OnDevice, RowDevice};
use crate::plan::{self, MAX_BITS_PER_SEARCH, MAX_ROWS_WITHOUT_BITS, OUTGROWN};
use crate::rows::AllowedRows;
use crate::sketch::{Rows, Scale, Sketches};
use membox_vectors::{ScanQueue, ScoredRow, TopK, VectorView};
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::{Arc, RwLock};
use uuid::Uuid;

/// What the searches of one collection share beside its index: scans that go together, rows on a device, and the
/// bits of rows that no index covers.
#[derive(Default)]
pub struct Scanner {
    pub(crate) together: ScanQueue,
    pub(crate) on_device: Option<OnDevice>,
    bits: RwLock<Option<Bits>>,
}

/// The bits of the rows of a vector file from `first` on.
struct Bits {
    of: Uuid,
    /// A multiple of 8.
    first: u32,
    scale: Scale,
    sketches: Sketches,
    /// Rows that the axes were learnt from a sample of.
    learnt_from: u32,
}

impl Bits {
    fn learnt_from(view: &VectorView, rows: Range<u32>) -> Self {
        let first = rows.start / 8 * 8;
        let scale = Scale::of(view, rows.clone());
        let sketches = Sketches::learnt_from(&Rows { view, rows: rows.clone(), scale: &scale });
        Self { of: view.header().uuid, first, scale, sketches, learnt_from: rows.len() as u32 }
    }

    /// The first row whose bits are not known.
    fn end(&self) -> u32 {
        self.first + self.sketches.nodes() as u32
    }

    /// Whether its rows are of the file, most of them from `covered` on, and none of those before its first.
    fn fits(&self, view: &VectorView, covered: u32) -> bool {
        self.of == view.header().uuid
            && self.first <= covered
            && covered - self.first <= self.sketches.nodes() as u32 / 2
    }
}

impl Scanner {
    /// One whose rows may be taken to a device.
    pub fn on(device: Option<Arc<dyn RowDevice>>) -> Self {
        Self { on_device: device.map(OnDevice::new), ..Self::default() }
    }

    /// The `k` allowed rows from `covered` on that are nearest to the query, with exact scores: where they are
    /// many, as far as their bits tell.
    pub(crate) fn fresh(
        &self,
        view: &VectorView,
        query: &[f32],
        covered: u32,
        allowed: &AllowedRows,
        k: usize,
    ) -> Vec<ScoredRow> {
        let scan = |rows: Range<u32>, among: &RoaringBitmap| view.scan(query, rows, Some(among), k);
        let rows = covered..view.rows();
        let among = allowed.rows().range_cardinality(rows.clone());
        let candidates = plan::fresh_candidates(among, k).filter(|_| plan::has_bits(view.metric()));
        let Some(candidates) = candidates else { return scan(rows, allowed.rows()) };
        self.keep_up(view, covered);
        let bits = self.bits.try_read();
        let Some(bits) = bits.as_ref().ok().and_then(|bits| bits.as_ref()).filter(|bits| bits.fits(view, covered))
        else {
            return scan(rows, allowed.rows());
        };
        let end = bits.end().min(view.rows());
        let allowed_bits = allowed.bits().get(bits.first as usize / 8..).unwrap_or_default();
        let nearest = bits.sketches.nearest(query, candidates, allowed_bits).into_iter().map(|node| bits.first + node);
        let nearest: RoaringBitmap = nearest.filter(|row| (covered..end).contains(row)).collect();
        let mut top = TopK::new(k);
        for found in scan(covered..end, &nearest).into_iter().chain(scan(end..view.rows(), allowed.rows())) {
            top.push(found.row, found.score);
        }
        top.into_sorted()
    }

    /// Adds the bits of some of the rows that have none, unless another search does.
    fn keep_up(&self, view: &VectorView, covered: u32) {
        let is_behind = |bits: &Option<Bits>| {
            bits.as_ref()
                .is_none_or(|bits| !bits.fits(view, covered) || bits.end() + MAX_ROWS_WITHOUT_BITS <= view.rows())
        };
        if !self.bits.try_read().is_ok_and(|bits| is_behind(&bits)) {
            return;
        }
        let Ok(mut kept) = self.bits.try_write() else { return };
        let (fresh, dimension) = (view.rows() - covered, view.header().dimension);
        let bits = match &mut *kept {
            Some(bits) if fresh / OUTGROWN < bits.learnt_from && bits.scale.dimension() == dimension => bits,
            kept => kept.insert(Bits::learnt_from(view, covered..view.rows())),
        };
        if !bits.fits(view, covered) {
            (bits.of, bits.first) = (view.header().uuid, covered / 8 * 8);
            bits.sketches.clear();
        }
        let rows = bits.first..view.rows().min(bits.end().saturating_add(MAX_BITS_PER_SEARCH));
        bits.sketches.extend(&Rows { view, rows, scale: &bits.scale });
    }
}
