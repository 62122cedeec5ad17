//! What tests of the store have in common.

use membox_records::{Group, Slots, StoredCollection};

/// Makes a tenant's collection `c`.
pub fn create(group: &mut Group, tenant: &str) -> Slots {
    let collection = StoredCollection {
        id: 0,
        tenant: tenant.into(),
        name: "c".into(),
        settings: "{}".into(),
        vector_file: uuid::Uuid::new_v4(),
        rows: 0,
        created_at: 1,
    };
    Slots::new(group.create_collection(&collection).expect("a collection"), collection.vector_file)
}
