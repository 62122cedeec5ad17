//! What threads, checkpoints, tasks and channels may be called.

use crate::MemoryError;
use crate::fields::MAX_ID_BYTES;
use crate::names::check_new;

/// Refuses a name that nothing new may have; each comes with what it names.
pub(super) fn check_names(names: &[(&'static str, &str)]) -> Result<(), MemoryError> {
    for (what, name) in names {
        let may_be_empty = *what == "namespace";
        if name.is_empty() && !may_be_empty || name.len() > MAX_ID_BYTES {
            return Err(MemoryError::invalid(format!("/{what}"), format!("1 to {MAX_ID_BYTES} bytes are wanted")));
        }
        check_new(name, format!("/{what}"))?;
    }
    Ok(())
}
