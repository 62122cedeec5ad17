//! With which keys a data folder is opened.

use crate::StoreError;
use membox_records::keys::{Keyring, MasterKey, SealingError, keys};
use membox_records::{RecordsError, Sealing};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// With what tenants' keys are wrapped.
#[derive(Clone, Debug)]
pub struct EncryptionConfig {
    /// The master key.
    pub master: MasterKey,
    /// Those before it, for as long as anything may be wrapped by them.
    pub older: Vec<MasterKey>,
}

/// Whether texts and metadata are sealed, with what, and whose.
#[derive(Clone)]
pub struct SealingConfig {
    /// `None` where nothing is sealed.
    pub encryption: Option<EncryptionConfig>,
    /// Whether what a tenant writes is sealed.
    pub is_sealed: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Default for SealingConfig {
    fn default() -> Self {
        Self { encryption: None, is_sealed: Arc::new(|_| true) }
    }
}

impl fmt::Debug for SealingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingConfig").field("encryption", &self.encryption).finish_non_exhaustive()
    }
}

/// Where the wrapped keys of a data folder are.
pub fn keys_file(root: &Path) -> PathBuf {
    root.join("keys.json")
}

impl SealingConfig {
    /// Opens the keys of a data folder. One that has keys is not opened without its master key.
    pub(crate) fn open(&self, root: &Path) -> Result<Sealing, StoreError> {
        self.open_by(root, Keyring::open)
    }

    /// As [`SealingConfig::open`], and their file stays as it is.
    pub(super) fn open_unchanged(&self, root: &Path) -> Result<Sealing, StoreError> {
        self.open_by(root, Keyring::open_unchanged)
    }

    fn open_by(
        &self,
        root: &Path,
        open: fn(&Path, MasterKey, &[MasterKey]) -> Result<Keyring, SealingError>,
    ) -> Result<Sealing, StoreError> {
        let path = keys_file(root);
        let Some(EncryptionConfig { master, older }) = &self.encryption else {
            return match keys(&path).map_err(RecordsError::from)?.is_empty() {
                true => Ok(Sealing::default()),
                false => Err(RecordsError::Sealed.into()),
            };
        };
        let keyring = open(&path, master.clone(), older).map_err(RecordsError::from)?;
        let is_sealed = self.is_sealed.clone();
        Ok(Sealing::new(keyring, move |tenant| is_sealed(tenant)))
    }
}
