//! A box with one empty collection, for unit tests that look inside.

use crate::{CollectionSettings, MemoryBox, MemoryConfig, Models};
use membox_api::IndexPolicy;
use membox_store::Collection;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) struct Sample {
    pub memory: MemoryBox,
    pub collection: Arc<Collection>,
    _folder: TempDir,
}

impl Sample {
    pub fn new(index: IndexPolicy) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box");
        let settings = CollectionSettings { dimension: Some(2), index, ..CollectionSettings::default() };
        memory.collections().create_collection("t", "c", &settings).expect("a collection");
        let collection = memory.collections().collection("t", "c").expect("a collection");
        Self { memory, collection, _folder: folder }
    }
}
