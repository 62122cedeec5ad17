//! A box with one collection of numbered records, for unit tests that look inside.

use crate::collection::Collection;
use crate::memory::MOST_RECORDS;
use crate::{MemoryBox, MemoryConfig, Models};
use membox_api::{CollectionSettings, IndexPolicy, NewRecord};
use std::ops::Range;
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
        memory.create_collection("t", "c", &settings).expect("a collection");
        let collection = memory.collection("t", "c").expect("a collection");
        Self { memory, collection, _folder: folder }
    }

    /// Every hundredth is the same, so that words have to tell these records apart.
    pub fn vector(number: usize) -> Vec<f32> {
        let angle = (number % 100) as f32 * 0.0628;
        vec![angle.cos(), angle.sin()]
    }

    /// Writes the records of these numbers, whose texts name them.
    pub fn write(&self, numbers: Range<usize>) {
        let record = |number: usize| NewRecord {
            id: Some(number.to_string()),
            text: format!("memory number{number}"),
            vector: Some(Self::vector(number)),
            ..NewRecord::default()
        };
        let numbers: Vec<usize> = numbers.collect();
        for some in numbers.chunks(MOST_RECORDS) {
            self.memory.upsert("t", "c", some.iter().copied().map(record).collect()).expect("a write");
        }
    }
}
