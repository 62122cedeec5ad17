//! Cursors: where a page ends, sealed.

use membox_memory::{MemoryBox, MemoryError};

/// The number in a cursor that was given out for a purpose.
pub fn read(memory: &MemoryBox, tenant: &str, purpose: &str, cursor: Option<&str>) -> Result<Option<i64>, MemoryError> {
    cursor.map(|cursor| memory.cursors().unseal(tenant, purpose, cursor, "/cursor").map(|[number]| number)).transpose()
}

/// The cursor of a number.
pub fn write(
    memory: &MemoryBox,
    tenant: &str,
    purpose: &str,
    next: Option<i64>,
) -> Result<Option<String>, MemoryError> {
    next.map(|number| memory.cursors().seal(tenant, purpose, &[number])).transpose()
}
