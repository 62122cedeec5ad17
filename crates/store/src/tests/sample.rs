//! A store with one collection of numbered records.

use crate::maintenance::Maintenance;
use crate::{Collection, NewVersion, Question, Record, RecordReads, Store, StoreConfig, Wanted, WriteRecords, now};
use crossbeam_channel::bounded;
use membox_api::{CollectionSettings, IndexPolicy};
use membox_index::Effort;
use std::ops::Range;
use std::sync::Arc;
use tempfile::TempDir;

pub struct Sample {
    pub store: Store,
    pub collection: Arc<Collection>,
    _folder: TempDir,
}

impl Sample {
    pub fn new(index: IndexPolicy) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&StoreConfig::new(folder.path())).expect("a store");
        let (collection, _) = store.create_collection("t", "c", settings(index)).expect("a collection");
        Self { store, collection, _folder: folder }
    }

    /// Every hundredth is the same, so that words have to tell these records apart.
    pub fn vector(number: usize) -> Vec<f32> {
        let angle = (number % 100) as f32 * 0.0628;
        vec![angle.cos(), angle.sin()]
    }

    /// Writes the records of these numbers, whose texts name them.
    pub fn write(&self, numbers: Range<usize>) {
        let numbers: Vec<usize> = numbers.collect();
        for some in numbers.chunks(2048) {
            let records = some.iter().copied().map(numbered).collect();
            self.store.write_records(WriteRecords::new(self.collection.clone(), records)).expect("a write");
        }
    }

    /// Ids of the records that the words of a question find.
    pub fn found_by_words(&self, question: &str) -> Vec<String> {
        let reads = self.store.read().expect("reads");
        let question = Question { terms: self.collection.query_terms(question), ..Question::default() };
        let wanted = Wanted { nearest: 3, effort: Effort::default(), marked: None };
        let (_, found) = reads.search(&self.collection, None, &[&question], wanted).expect("an answer");
        let snapshot = reads.snapshot(&self.collection, None).expect("a snapshot");
        let fetch = |(record, _)| match reads.fetch(&snapshot, record).expect("a record") {
            crate::Fetched::Found(stored) => stored.record.id,
            other => panic!("{other:?}"),
        };
        found[0].words.best(3).into_iter().map(fetch).collect()
    }

    /// As the background thread does every few seconds.
    pub fn sweep(&self) {
        let (_keep_on, stop) = bounded(0);
        let (registry, writer) = (self.store.registry_arc(), self.store.writer().clone());
        Maintenance { registry, writer, stop, threads: 1 }.sweep().expect("a sweep");
    }

    pub fn count(&self) -> u64 {
        self.store.read().expect("reads").count(self.collection.id).expect("a count")
    }
}

pub fn settings(index: IndexPolicy) -> CollectionSettings {
    CollectionSettings { dimension: Some(2), index, ..CollectionSettings::default() }
}

/// A record whose text names its number.
pub fn numbered(number: usize) -> NewVersion {
    let record = Record {
        id: number.to_string(),
        text: format!("memory number{number}"),
        created_at: now(),
        given_vector: true,
        ..Record::default()
    };
    NewVersion {
        record,
        vector: Sample::vector(number),
        windows: crate::TextWindows::default(),
        tokens: None,
        expected: None,
        keeps_created_at: false,
    }
}
