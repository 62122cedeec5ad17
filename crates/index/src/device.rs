//! Rows that are searched exactly on a device with fast memory, such as a GPU, where that is the faster way.
//!
//! This crate does not know the device: it is given one as a [`RowDevice`]. Searches themselves keep the rows there
//! in step with the vector file, some at a time; a thread does where many are missing. As long as rows are missing
//! there, while another search is there, and after whatever fails, searches go the way that they go without a device.
//! What comes back is scored again from the vector file, so that answers are the same to the last bit.

use crate::IndexError;
use crate::plan::{self, DEVICE_REST, DEVICE_SPARE, DEVICE_TRIALS, MAX_ROWS_TO_DEVICE};
use crate::rows::{AllowedRows, Found};
use membox_vectors::{RowType, TopK, VectorView};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A device with memory for rows.
pub trait RowDevice: Debug + Send + Sync {
    /// Allocates memory for `capacity` rows of `dimension` 16-bit numbers, or says why it cannot
    /// ([`IndexError::Device`]). What is dropped frees its memory.
    fn allocate(&self, dimension: usize, capacity: usize) -> Result<Box<dyn DeviceRows>, IndexError>;
}

/// Rows on a device, numbered in the order in which they came.
pub trait DeviceRows: Send {
    /// Appends rows of f16, one after the other. They fit the capacity.
    fn append(&mut self, rows: &[u16]) -> Result<(), IndexError>;

    /// The `k` rows nearest to each question: of all of them, or of those whose bit is set in `allowed` (bit i % 32 of
    /// word i / 32; there is one for each row).
    fn search(&mut self, queries: &[f32], k: usize, allowed: Option<&[u32]>) -> Result<Vec<Vec<u32>>, IndexError>;
}

/// One collection's rows on a device.
pub(crate) struct OnDevice {
    device: Arc<dyn RowDevice>,
    state: Arc<Mutex<State>>,
    /// Whether a thread takes rows there.
    is_filling: Arc<AtomicBool>,
}

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    Kept(Kept),
    Resting(Instant),
}

struct Kept {
    of: Uuid,
    rows: Box<dyn DeviceRows>,
    count: u32,
    capacity: u32,
    trial: Trial,
}

/// Which way is faster.
#[derive(Default)]
struct Trial {
    /// Rows that the index covered: with another index it begins anew.
    covered: u32,
    searches: u32,
    there: Duration,
    here: Duration,
}

impl Trial {
    /// Whether the device was the slower way.
    fn is_lost(&self, covered: u32) -> bool {
        self.covered == covered && self.searches >= DEVICE_TRIALS && self.here < self.there
    }
}

impl OnDevice {
    pub fn new(device: Arc<dyn RowDevice>) -> Self {
        Self { device, state: Arc::default(), is_filling: Arc::default() }
    }

    /// What the device finds, or else what `here` does; the faster of both where `here` has an index, which covers
    /// `covered` rows.
    pub fn search(
        &self,
        view: &VectorView,
        queries: &[&[f32]],
        k: usize,
        allowed: &AllowedRows,
        covered: Option<u32>,
        here: impl Fn() -> Result<Vec<Found>, IndexError>,
    ) -> Result<Vec<Found>, IndexError> {
        let is_fit = view.header().row_type == RowType::F16 && view.header().dimension.is_multiple_of(4);
        if !is_fit || !plan::is_worth_device(view.rows(), allowed.rows().len()) {
            return here();
        }
        // One search at a time is there; the others need not wait for it.
        let Ok(mut state) = self.state.try_lock() else { return here() };
        let found = self.there(&mut state, view, queries, k, allowed, covered);
        match (found, &mut *state) {
            (Ok(None), _) => {
                drop(state);
                here()
            }
            (Ok(Some((found, took))), State::Kept(kept))
                if covered.is_some() && kept.trial.searches < DEVICE_TRIALS =>
            {
                let begun = Instant::now();
                here()?;
                kept.trial.searches += 1;
                kept.trial.here += begun.elapsed();
                kept.trial.there += took;
                Ok(found)
            }
            (Ok(Some((found, _))), _) => Ok(found),
            (Err(error), state) => {
                *state = State::Resting(Instant::now());
                tracing::warn!(%error, "vectors are searched without the device for a while");
                here()
            }
        }
    }

    /// What the device finds, and the time that it took; `None` where it has not all rows yet, or is the slower way.
    fn there(
        &self,
        state: &mut State,
        view: &VectorView,
        queries: &[&[f32]],
        k: usize,
        allowed: &AllowedRows,
        covered: Option<u32>,
    ) -> Result<Option<(Vec<Found>, Duration)>, IndexError> {
        if let State::Resting(since) = state {
            if since.elapsed() < DEVICE_REST {
                return Ok(None);
            }
            *state = State::Nothing;
        }
        if let (State::Kept(kept), Some(covered)) = (&*state, covered)
            && kept.of == view.header().uuid
            && kept.trial.is_lost(covered)
        {
            return Ok(None);
        }
        let kept = in_step(&*self.device, state, view)?;
        if kept.count < view.rows() {
            if view.rows() - kept.count > MAX_ROWS_TO_DEVICE {
                self.fill(view.clone());
            }
            return Ok(None);
        }
        if let Some(covered) = covered.filter(|covered| kept.trial.covered != *covered) {
            kept.trial = Trial { covered, ..Trial::default() };
        }
        let begun = Instant::now();
        let is_filtered = allowed.rows().range_cardinality(..kept.count) < u64::from(kept.count);
        let words = is_filtered.then(|| words_of(allowed.bits(), kept.count));
        let found = kept.rows.search(&queries.concat(), k + DEVICE_SPARE, words.as_deref())?;
        let scored = queries.iter().zip(found).map(|(query, rows)| {
            let mut top = TopK::new(k);
            for row in rows.into_iter().filter(|&row| row < view.rows() && allowed.contains(row)) {
                top.push(row, view.score(query, row));
            }
            Found { rows: top.into_sorted(), exact: true }
        });
        Ok(Some((scored.collect(), begun.elapsed())))
    }

    /// Has a thread take the rest of the rows there, some at a time, so that searches come between. It ends with the
    /// collection, with another file of it, and with whatever fails.
    fn fill(&self, view: VectorView) {
        if self.is_filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (device, state) = (self.device.clone(), Arc::downgrade(&self.state));
        let done = Done(self.is_filling.clone());
        let work = move || {
            let _done = done;
            while let Some(state) = state.upgrade() {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if !is_for(&state, &view) {
                    return;
                }
                match in_step(&*device, &mut state, &view) {
                    Ok(kept) if kept.count < view.rows() => {}
                    Ok(_) => return,
                    Err(error) => {
                        *state = State::Resting(Instant::now());
                        tracing::warn!(%error, "vectors are searched without the device for a while");
                        return;
                    }
                }
            }
        };
        if let Err(error) = membox_threads::spawn("fill-device", work) {
            tracing::warn!(%error, "searches alone take vectors to the device");
        }
    }
}

/// Says that a thread does not fill any more, however it ends.
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Whether the device has room for these rows, and rows of no other file.
fn is_for(state: &State, view: &VectorView) -> bool {
    matches!(state, State::Kept(kept) if kept.of == view.header().uuid && view.rows() <= kept.capacity)
}

/// Takes some of the rows to the device that are not there yet.
fn in_step<'a>(device: &dyn RowDevice, state: &'a mut State, view: &VectorView) -> Result<&'a mut Kept, IndexError> {
    let (header, rows) = (view.header(), view.rows());
    if !is_for(state, view) {
        // Its memory is freed before more is asked for.
        *state = State::Nothing;
        let capacity = rows.saturating_add(rows / 4).max(MAX_ROWS_TO_DEVICE);
        let allocated = device.allocate(header.dimension, capacity as usize)?;
        *state = State::Kept(Kept { of: header.uuid, rows: allocated, count: 0, capacity, trial: Trial::default() });
    }
    let State::Kept(kept) = state else { return Err(IndexError::Device("it lost its rows".into())) };
    let end = rows.min(kept.count.saturating_add(MAX_ROWS_TO_DEVICE));
    if kept.count < end {
        let mut numbers = Vec::with_capacity((end - kept.count) as usize * header.dimension);
        for row in kept.count..end {
            let row = view.bytes(row).as_chunks::<2>().0.iter().take(header.dimension);
            numbers.extend(row.map(|bytes| u16::from_le_bytes(*bytes)));
        }
        kept.rows.append(&numbers)?;
        kept.count = end;
    }
    Ok(kept)
}

/// Bits of so many rows as words, of noughts where there are none.
fn words_of(bits: &[u8], rows: u32) -> Vec<u32> {
    let count = rows.div_ceil(32) as usize;
    let (fours, rest) = bits.as_chunks::<4>();
    let mut words: Vec<u32> = fours.iter().take(count).map(|four| u32::from_le_bytes(*four)).collect();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.push(u32::from_le_bytes(last));
    words.resize(count, 0);
    words
}
