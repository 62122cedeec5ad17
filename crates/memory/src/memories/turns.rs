//! Vectors of turns that wait in buffers: a buffer is looked at with every call that adds to it, and only what is new in it is embedded.

use crate::MemoryError;
use lru::LruCache;
use membox_encoder::Embeddings;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Turns that are remembered of a tenant: those of some twenty full buffers, 3 MB.
const MOST_TURNS: NonZeroUsize = NonZeroUsize::new(2000).expect("more than none");

/// Vectors by the SHA-256 of their texts.
type Vectors = LruCache<[u8; 32], Arc<[f32]>>;

/// The vectors of each tenant's latest turns: none pushes out another's.
#[derive(Default)]
pub(crate) struct TurnVectors(Mutex<HashMap<String, Vectors>>);

impl TurnVectors {
    /// The vectors of a tenant's turns, in their order; `embed` makes those that are not remembered.
    pub fn of(
        &self,
        tenant: &str,
        texts: &[&str],
        embed: impl FnOnce(Vec<String>) -> Result<Embeddings, MemoryError>,
    ) -> Result<Vec<Arc<[f32]>>, MemoryError> {
        let digests: Vec<[u8; 32]> = texts.iter().map(|text| Sha256::digest(text).into()).collect();
        let mut vectors: Vec<Option<Arc<[f32]>>> =
            self.with(tenant, |known| digests.iter().map(|digest| known.get(digest).cloned()).collect());
        let new: Vec<usize> = (0..texts.len()).filter(|&i| vectors[i].is_none()).collect();
        if !new.is_empty() {
            let embedded = embed(new.iter().map(|&i| texts[i].to_owned()).collect())?;
            self.with(tenant, |known| {
                for (&i, vector) in new.iter().zip(embedded.rows()) {
                    let vector: Arc<[f32]> = vector.into();
                    known.put(digests[i], vector.clone());
                    vectors[i] = Some(vector);
                }
            });
        }
        Ok(vectors.into_iter().flatten().collect())
    }

    /// Forgets a tenant's.
    pub fn forget(&self, tenant: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn with<T>(&self, tenant: &str, work: impl FnOnce(&mut Vectors) -> T) -> T {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(tenants.entry(tenant.to_owned()).or_insert_with(|| Vectors::new(MOST_TURNS)))
    }
}
