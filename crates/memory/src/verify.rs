//! A data folder that no box has open: checked, and said what is in it. Nothing in it is changed.

use crate::{MemoryConfig, MemoryError};
use membox_store::{Overview, Report};

/// Checks a data folder: the database's structure, every header, every record against the checksum of its row, and
/// what is derived against its watermark and checksums.
pub fn verify(config: &MemoryConfig) -> Result<Report, MemoryError> {
    Ok(membox_store::verify(&config.store()?)?)
}

/// Says what is in a data folder.
pub fn overview(config: &MemoryConfig) -> Result<Overview, MemoryError> {
    Ok(membox_store::overview(&config.store()?)?)
}
