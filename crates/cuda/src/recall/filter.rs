//! Which rows may be found: a bit for each of them on the GPU, of which only what changed is sent.

use crate::CudaError;
use crate::pinned::Pinned;
use cudarc::driver::{CudaSlice, CudaStream};
use std::sync::Arc;

/// Numbers that are compared and sent together.
const PIECE: usize = 1024;

/// Which rows may be found, as the GPU last heard of it.
pub struct Filter {
    bits: CudaSlice<u32>,
    sent: Pinned<u32>,
    /// Numbers of `sent` that are on the GPU.
    known: usize,
}

impl Filter {
    /// Room for so many numbers.
    pub fn new(stream: &Arc<CudaStream>, words: usize) -> Result<Self, CudaError> {
        Ok(Self { bits: stream.alloc_zeros(words)?, sent: Pinned::new(stream, words)?, known: 0 })
    }

    /// On the GPU, a bit for each row.
    pub fn bits(&self) -> &CudaSlice<u32> {
        &self.bits
    }

    /// Has all of it sent again.
    pub fn forget(&mut self) {
        self.known = 0;
    }

    /// Sends what is not on the GPU yet.
    pub fn send(&mut self, stream: &Arc<CudaStream>, bits: &[u32]) -> Result<(), CudaError> {
        let sent = self.sent.numbers()?;
        let mut changed: Option<std::ops::Range<usize>> = None;
        for (piece, words) in bits.chunks(PIECE).enumerate() {
            let place = piece * PIECE..piece * PIECE + words.len();
            if place.end <= self.known && sent[place.clone()] == *words {
                continue;
            }
            sent[place.clone()].copy_from_slice(words);
            match &mut changed {
                Some(range) if range.end == place.start => range.end = place.end,
                Some(range) => {
                    stream.memcpy_htod(&sent[range.clone()], &mut self.bits.slice_mut(range.clone()))?;
                    *range = place;
                }
                None => changed = Some(place),
            }
        }
        if let Some(range) = changed {
            stream.memcpy_htod(&sent[range.clone()], &mut self.bits.slice_mut(range))?;
        }
        self.known = self.known.max(bits.len());
        Ok(())
    }
}
