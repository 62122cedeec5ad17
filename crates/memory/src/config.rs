//! How a box is set up.

use crate::MemoryError;
use crate::tenants::Policies;
use membox_store::{EncryptionConfig, RowDevice, SealingConfig, StoreConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// Answers that are remembered for each tenant where nothing else is said.
pub const DEFAULT_ANSWER_CACHE: usize = 1000;

/// How a box is set up.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// The data folder; created if it is not there.
    pub data_dir: PathBuf,
    /// Connections that read records at the same time; one tenant has at most half of them.
    pub readers: usize,
    /// Threads of an index build.
    pub build_threads: usize,
    /// Collections that are kept open while nobody uses them; an open one holds a file, a map, and what recall
    /// needs in memory.
    pub open_collections: usize,
    /// Answers to questions that are remembered for each tenant; 0 for none.
    pub answer_cache: usize,
    /// What holds for tenants where their requests say nothing.
    pub policies: Policies,
    /// With what texts and metadata are sealed; `None` where they are not.
    pub encryption: Option<EncryptionConfig>,
    /// Where vectors of large collections may be searched, such as a GPU.
    pub row_device: Option<Arc<dyn RowDevice>>,
}

impl MemoryConfig {
    /// The defaults for a data folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let StoreConfig { data_dir, readers, build_threads, open_collections, .. } = StoreConfig::new(data_dir);
        Self {
            data_dir,
            readers,
            build_threads,
            open_collections,
            policies: Policies::default(),
            answer_cache: DEFAULT_ANSWER_CACHE,
            encryption: None,
            row_device: None,
        }
    }

    /// How its store is set up.
    pub(crate) fn store(&self) -> Result<StoreConfig, MemoryError> {
        Ok(StoreConfig {
            data_dir: self.data_dir.clone(),
            readers: self.readers,
            build_threads: self.build_threads,
            open_collections: self.open_collections,
            sealing: sealing_config(self)?,
            row_device: self.row_device.clone(),
        })
    }
}

/// With what a box's data folder is opened, and whose texts are sealed.
fn sealing_config(config: &MemoryConfig) -> Result<SealingConfig, MemoryError> {
    let policies = config.policies.clone();
    if config.encryption.is_none() {
        let mut all = policies.tenants.values().chain([&policies.default]);
        if all.any(|policy| policy.encryption == Some(true)) {
            let reason = "a policy wants encryption: set master_key_file (`membox keys new` writes one)";
            return Err(MemoryError::impossible("/policies", reason));
        }
    }
    let is_sealed = Arc::new(move |tenant: &str| policies.of(tenant).encryption != Some(false));
    Ok(SealingConfig { encryption: config.encryption.clone(), is_sealed })
}
