//! Trying again what others' writes came between.

use crate::MemoryError;

/// Times that it is tried.
const MAX_TRIES: usize = 16;

/// Reads, decides and writes, and does it again where somebody else has written meanwhile (`None`, or a
/// [conflict](MemoryError::is_conflict)).
///
/// # Errors
/// [`MemoryError::Overloaded`] where others always were faster.
pub(crate) fn retry<T>(mut once: impl FnMut() -> Result<Option<T>, MemoryError>) -> Result<T, MemoryError> {
    for _ in 0..MAX_TRIES {
        match once() {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Err(MemoryError::Overloaded { retry_after_s: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use membox_store::RecordsError;

    #[test]
    fn what_others_came_between_is_done_again_and_what_fails_is_not() {
        let conflict = || RecordsError::VersionConflict { id: "a".into(), current: 2, expected: 1 };
        let mut times = 0;
        let done = retry(|| {
            times += 1;
            match times {
                1 => Ok(None),
                2 => Err(conflict().into()),
                _ => Ok(Some(times)),
            }
        });
        assert_eq!(done.ok(), Some(3));
        let mut times = 0;
        let failed = retry(|| {
            times += 1;
            Err::<Option<()>, _>(MemoryError::DiskFull)
        });
        assert!(matches!(failed, Err(MemoryError::DiskFull)) && times == 1);
        assert!(matches!(retry(|| Ok(None::<()>)), Err(MemoryError::Overloaded { .. })));
    }
}
