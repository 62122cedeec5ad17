//! Names that are made of callers' names: no two of them meet, whatever they are made of.

use crate::MemoryError;
use crate::fields::MAX_ID_BYTES;
use membox_store::keys::hex;
use sha2::{Digest, Sha256};

/// Bytes of a user's name that is part of a collection's.
const MAX_PLAIN_BYTES: usize = 48;

/// Refuses a new name by its characters ([`membox_api::characters`]). What is there already by such a name, of an older
/// membox, is read and deleted by it: names are looked at where they come in with what is written, and nowhere else.
pub(crate) fn check_new(name: &str, pointer: impl Into<String>) -> Result<(), MemoryError> {
    membox_api::characters::check_characters(name).map_err(|reason| MemoryError::invalid(pointer, reason))
}

/// As [`check_new`], of a name that may be left out.
pub(crate) fn check_some(name: Option<&String>, pointer: impl Into<String>) -> Result<(), MemoryError> {
    name.map_or(Ok(()), |name| check_new(name, pointer))
}

/// Refuses the id of a session that is to be made.
pub(crate) fn check_new_session_id(id: &str) -> Result<(), MemoryError> {
    check_session_id(id)?;
    check_new(id, "/session")
}

pub(crate) fn check_session_id(id: &str) -> Result<(), MemoryError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains('/') || id.chars().any(char::is_control) {
        let reason = format!("a session's id has 1 to {MAX_ID_BYTES} bytes, no / and no control characters");
        return Err(MemoryError::invalid("/session", reason));
    }
    Ok(())
}

/// What stands for a user's name where that cannot be part of another name.
pub(crate) fn hash(user: &str) -> String {
    hex(&Sha256::digest(user)[..16])
}

/// The collection of a user's own sessions. Names that no collection can have are replaced by their hash.
pub fn user_collection(user: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    if user.len() <= MAX_PLAIN_BYTES && user.bytes().all(is_plain) {
        return format!("user-{user}");
    }
    format!("user.{}", hash(user))
}

/// The collection that is named, or else the user's own; `None` where neither is said.
pub fn named_or_users(collection: Option<&str>, user: Option<&str>) -> Option<String> {
    collection.map(str::to_owned).or_else(|| user.map(user_collection))
}

/// Whose own collection a name is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// This user's.
    User(&'a str),
    /// A user's of whose name only a hash is known.
    Hashed,
    /// Nobody's.
    None,
}

pub(crate) fn owner_of(collection: &str) -> Owner<'_> {
    match collection.strip_prefix("user-") {
        Some(user) => Owner::User(user),
        None if collection.starts_with("user.") => Owner::Hashed,
        None => Owner::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::check_name;
    use proptest::prelude::*;

    /// Names of what separates names and what is told apart by little.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[abAB/_.@ \\-]{1,4}",
            1 => "[a-z0-9_-]{47,50}",
            1 => "\\PC{1,6}",
            1 => prop::sample::select(vec!["é", "e\u{301}", "É", "ﬁ", "fi", "K", "\u{212A}", "a\0",
                "a\n"]).prop_map(str::to_owned),
            1 => "[ab/_]{1,2}".prop_map(|user| hash(&user)),
            1 => "[ab/_]{1,2}".prop_map(|user| user_collection(&user)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn two_users_never_have_the_same_collection(a in name(), b in name()) {
            let (of_a, of_b) = (user_collection(&a), user_collection(&b));
            prop_assert_eq!(a == b, of_a == of_b, "{:?} {:?}", of_a, of_b);
            prop_assert!(check_name(&of_a).is_ok());
            prop_assert!(matches!(owner_of(&of_a), Owner::Hashed) || owner_of(&of_a) == Owner::User(&a));
        }

        #[test]
        fn two_messages_never_have_the_same_id_among_records(a in name(), b in name(), m in name(), n in name()) {
            prop_assume!(check_session_id(&a).is_ok() && check_session_id(&b).is_ok());
            let meet = membox_store::record_id(&a, &m) == membox_store::record_id(&b, &n);
            prop_assert_eq!(meet, (a, m) == (b, n));
        }
    }
}
