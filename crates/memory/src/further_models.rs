//! Embedding models beside the box's own: each is loaded when somebody first wants it, and the least used ones leave
//! when there is no room for another.

use crate::MemoryError;
use membox_encoder::{Encoder, ModelKind};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Loads a model by its name, or says why that cannot be.
pub type LoadModel = dyn Fn(&str) -> Result<Encoder, String> + Send + Sync;

/// A model that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherModel {
    /// Its name, and that of its folder.
    pub name: String,
    /// What else it is called.
    pub aliases: Vec<String>,
    /// What it gives.
    pub kind: ModelKind,
    /// Memory that it takes, counted by its weights' files.
    pub bytes: u64,
}

/// The models beside the box's own.
pub struct FurtherModels {
    models: Vec<FurtherModel>,
    /// Bytes that those which are loaded have together; one alone may have more.
    max_bytes: u64,
    load: Box<LoadModel>,
    /// Held while one is loaded.
    loading: Mutex<()>,
    /// The one that was used last comes last.
    loaded: Mutex<Vec<Arc<Encoder>>>,
}

impl Default for FurtherModels {
    /// None.
    fn default() -> Self {
        Self::new(Vec::new(), 0, Box::new(|name| Err(format!("there is no model {name:?}"))))
    }
}

impl fmt::Debug for FurtherModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FurtherModels").field("models", &self.models).finish_non_exhaustive()
    }
}

impl FurtherModels {
    /// These models, of which none is loaded yet.
    pub fn new(models: Vec<FurtherModel>, max_bytes: u64, load: Box<LoadModel>) -> Self {
        Self { models, max_bytes, load, loading: Mutex::new(()), loaded: Mutex::default() }
    }

    /// All that there are, in the order of the settings.
    pub fn all(&self) -> &[FurtherModel] {
        &self.models
    }

    /// A model by one of its names.
    pub fn find(&self, name: &str) -> Option<&FurtherModel> {
        self.models.iter().find(|model| model.name == name || model.aliases.iter().any(|alias| alias == name))
    }

    /// Those that are loaded.
    pub fn loaded(&self) -> Vec<Arc<Encoder>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A model by one of its names, if it is loaded.
    pub fn if_loaded(&self, name: &str) -> Option<Arc<Encoder>> {
        let name = &self.find(name)?.name;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let at = loaded.iter().position(|encoder| encoder.name() == name)?;
        let encoder = loaded.remove(at);
        loaded.push(encoder.clone());
        Some(encoder)
    }

    /// A model by one of its names, which is loaded first where it is not; `None` where there is none of that name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Arc<Encoder>>, MemoryError> {
        let Some(model) = self.find(name) else { return Ok(None) };
        if let Some(encoder) = self.if_loaded(name) {
            return Ok(Some(encoder));
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = self.if_loaded(name) {
            return Ok(Some(encoder));
        }
        self.make_room_for(model.bytes);
        let loaded = (self.load)(&model.name);
        let reason = |reason| MemoryError::ModelNotLoaded { name: model.name.clone(), reason };
        let encoder = Arc::new(loaded.map_err(reason)?);
        metrics::counter!("membox_model_loads_total", "model" => model.name.clone()).increment(1);
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).push(encoder.clone());
        Ok(Some(encoder))
    }

    /// Lets those go that were not used for the longest time, until another one fits. Whoever computes with one of
    /// them finishes first.
    fn make_room_for(&self, bytes: u64) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |encoder: &Arc<Encoder>| self.find(encoder.name()).map_or(0, |model| model.bytes);
        while !loaded.is_empty() && loaded.iter().map(size).sum::<u64>().saturating_add(bytes) > self.max_bytes {
            let gone = loaded.remove(0);
            tracing::info!(model = gone.name(), "a model leaves to make room for another");
            gone.release();
        }
    }
}
