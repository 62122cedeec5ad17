//! Names and settings of collections.

use crate::MemoryError;
use membox_api::{CollectionSettings, IndexPolicy, LateInteraction, MemoriesPolicy, Windows};

/// Numbers that a vector may have at most.
pub const MAX_DIMENSIONS: usize = 8192;

/// A collection's name: `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`. `Notes` and `notes` are two.
pub fn check_name(name: &str) -> Result<(), MemoryError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(MemoryError::invalid(
        "/collection",
        "a collection's name is 1 to 64 of A-Z, a-z, 0-9, _, . and -, and begins with a letter or digit",
    ))
}

/// Refuses what only a collection with vectors can have.
pub(super) fn check_without_vectors(settings: &CollectionSettings) -> Result<(), MemoryError> {
    let is_on = [
        ("/model", settings.model.is_some()),
        ("/dimension", settings.dimension.is_some()),
        ("/vector_type", settings.vector_type.is_some()),
        ("/metric", settings.metric.is_some()),
        ("/index", !matches!(settings.index, IndexPolicy::Auto | IndexPolicy::Flat)),
        ("/late_interaction", matches!(settings.late_interaction, Some(LateInteraction::On { .. }))),
        ("/windows", matches!(settings.windows, Some(Windows::On { .. }))),
    ];
    let found = is_on.into_iter().find(|(_, is_on)| *is_on);
    found.map_or(Ok(()), |(pointer, _)| Err(MemoryError::invalid(pointer, "the collection keeps no vectors")))
}

/// Whether a policy of memories can hold; `at` says where it stands.
pub(crate) fn check_memories(policy: &MemoriesPolicy, at: &str) -> Result<(), MemoryError> {
    if !(policy.rate > 0.0 && policy.rate <= 1.0) {
        return Err(MemoryError::impossible(format!("{at}/rate"), "a rate is over 0 and up to 1"));
    }
    if policy.buffer_tokens == 0 {
        return Err(MemoryError::impossible(format!("{at}/buffer_tokens"), "buffer_tokens is over 0"));
    }
    if policy.topic_tokens < policy.buffer_tokens {
        let reason = "topic_tokens is no less than buffer_tokens";
        return Err(MemoryError::impossible(format!("{at}/topic_tokens"), reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", "../x", "ä", ".x", "a/b", "a\0", "é", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "locomo-26", "0.x_y", &"a".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
