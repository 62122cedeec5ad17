//! The GPU as a place for vectors: a share of its memory, and what recall takes there.

use membox_cuda::{CudaError, Gpu, ResidentRows};
use membox_memory::{DeviceRows, IndexError, RowDevice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A GPU's memory for vectors.
#[derive(Debug)]
pub struct GpuMemory {
    gpu: Gpu,
    /// Where its compiled kernels are kept.
    kernels: PathBuf,
    budget: Arc<Budget>,
}

impl GpuMemory {
    /// So many bytes of a GPU.
    pub fn new(gpu: Gpu, kernels: PathBuf, bytes: usize) -> Self {
        Self { gpu, kernels, budget: Arc::new(Budget { bytes, used: AtomicUsize::new(0) }) }
    }
}

impl RowDevice for GpuMemory {
    fn allocate(&self, dimension: usize, capacity: usize) -> Result<Box<dyn DeviceRows>, IndexError> {
        let share = Share::of(&self.budget, ResidentRows::bytes(dimension, capacity))?;
        let mut rows = ResidentRows::new(&self.gpu, dimension, capacity, Some(&self.kernels)).map_err(said)?;
        // Codes are for speed: without room for them recall goes by the rows alone.
        let of_codes = Share::of(&self.budget, ResidentRows::bytes_of_codes(dimension, capacity)).ok();
        let has_codes = of_codes.is_some() && rows.add_codes().map_err(said)?;
        Ok(Box::new(GpuRows { rows, _shares: (share, of_codes.filter(|_| has_codes)) }))
    }
}

fn said(error: CudaError) -> IndexError {
    IndexError::Device(error.to_string())
}

/// Rows of one collection, whose memory is freed when they are dropped: before their share of the budget is.
struct GpuRows {
    rows: ResidentRows,
    _shares: (Share, Option<Share>),
}

impl DeviceRows for GpuRows {
    fn append(&mut self, rows: &[u16]) -> Result<(), IndexError> {
        self.rows.append(rows).map_err(said)
    }

    fn search(&mut self, queries: &[f32], k: usize, allowed: Option<&[u32]>) -> Result<Vec<Vec<u32>>, IndexError> {
        let found = self.rows.search(queries, k, allowed).map_err(said)?;
        Ok(found.into_iter().map(|best| best.into_iter().map(|scored| scored.row).collect()).collect())
    }
}

#[derive(Debug)]
struct Budget {
    bytes: usize,
    used: AtomicUsize,
}

/// A part of the budget that is in use.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    fn of(budget: &Arc<Budget>, bytes: usize) -> Result<Self, IndexError> {
        let take = |used: usize| used.checked_add(bytes).filter(|used| *used <= budget.bytes);
        match budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(Self { budget: budget.clone(), bytes }),
            Err(used) => {
                let mib = |bytes: usize| bytes >> 20;
                let (wanted, left) = (mib(bytes), mib(budget.bytes.saturating_sub(used)));
                let why =
                    format!("{wanted} MiB of vectors do not fit into the {left} MiB that are left of recall_gpu_mib");
                Err(IndexError::Device(why))
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_budget_goes_back_when_it_is_dropped() {
        let budget = Arc::new(Budget { bytes: 100 << 20, used: AtomicUsize::new(0) });
        let first = Share::of(&budget, 60 << 20).expect("a share");
        let error = Share::of(&budget, 50 << 20).expect_err("it is too much");
        assert!(
            error.to_string().ends_with("50 MiB of vectors do not fit into the 40 MiB that are left of recall_gpu_mib")
        );
        let second = Share::of(&budget, 40 << 20).expect("a share");
        drop(first);
        assert!(Share::of(&budget, 60 << 20).is_ok() && Share::of(&budget, usize::MAX).is_err());
        drop(second);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
