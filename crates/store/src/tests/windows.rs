//! A record with several vectors is one record: found once by its best, and gone with all of them.

use crate::derived::build_index;
use crate::snapshot::{Fetched, Snapshot};
use crate::{
    Collection, DeleteRecords, JobGuard, NewVector, NewVersion, Question, Record, RecordReads, RecordRef, Selection,
    Store, StoreConfig, StoredRecord, TextWindows, Wanted, WriteRecords, mend_files, now, verify,
};
use membox_api::{CollectionSettings, IndexPolicy, Metric, VectorType};
use membox_index::Effort;
use membox_records::Filter;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Numbers of a vector.
const DIMENSION: usize = 8;

/// A unit vector that no other seed has.
fn vector(seed: u32) -> Vec<f32> {
    let number =
        |i: u32| (seed.wrapping_mul(2_654_435_761).wrapping_add(i * 40_503).wrapping_mul(2_246_822_519) >> 9) % 2001;
    let numbers: Vec<f32> = (0..DIMENSION as u32).map(|i| number(i * i + 7 * i) as f32 / 1000.0 - 1.0).collect();
    let length = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    numbers.iter().map(|x| x / length).collect()
}

/// A record whose windows have the vectors of some seeds.
fn new(id: usize, seeds: &[u32]) -> NewVersion {
    let record = Record {
        id: id.to_string(),
        text: format!("memory number{id} {}", "and so on ".repeat(seeds.len())),
        metadata: json!({"even": id.is_multiple_of(2)}).as_object().cloned().unwrap_or_default(),
        created_at: now(),
        ..Record::default()
    };
    NewVersion {
        record,
        vector: vector(seeds[0]),
        windows: windows(seeds),
        tokens: None,
        expected: None,
        keeps_created_at: false,
    }
}

fn windows(seeds: &[u32]) -> TextWindows {
    let places = (0..seeds.len() as u32).map(|i| 10 * i..10 * i + 12).filter(|_| seeds.len() > 1).collect();
    TextWindows { places, vectors: seeds[1..].iter().copied().map(vector).collect() }
}

struct Sample {
    config: StoreConfig,
    store: Option<Store>,
    _folder: TempDir,
}

impl Sample {
    fn new() -> Self {
        Self::with_index(IndexPolicy::Flat)
    }

    fn with_index(index: IndexPolicy) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StoreConfig::new(folder.path());
        let store = Store::open(&config).expect("a store");
        let settings = CollectionSettings {
            dimension: Some(DIMENSION),
            vector_type: Some(VectorType::F32),
            metric: Some(Metric::InnerProduct),
            index,
            ..CollectionSettings::default()
        };
        store.create_collection("t", "c", settings).expect("a collection");
        Self { config, store: Some(store), _folder: folder }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn collection(&self) -> Arc<Collection> {
        self.store().collection("t", "c").expect("a collection")
    }

    fn write(&self, records: Vec<NewVersion>) {
        self.store().write_records(WriteRecords::new(self.collection(), records)).expect("a write");
    }

    fn delete(&self, id: usize) -> usize {
        let which = Selection::Ids(vec![(id.to_string(), None)]);
        let delete = DeleteRecords { collection: self.collection(), which, bump_sessions: false, audit: None };
        self.store().delete_records(delete).expect("a deletion")
    }

    fn stored(&self, id: usize) -> StoredRecord {
        let found = self.store().read().and_then(|reads| reads.record(self.collection().id, &id.to_string()));
        found.expect("a read").expect("the record")
    }

    fn snapshot(&self) -> Snapshot {
        self.store().read().and_then(|reads| reads.snapshot(&self.collection(), None)).expect("a snapshot")
    }

    fn locate(&self, id: usize) -> RecordRef {
        self.snapshot().locate(&self.stored(id)).expect("its vectors")
    }

    /// Ids and scores of the nearest records.
    fn nearest(&self, query: &[f32], count: usize, filter: Option<&Filter>) -> Vec<(usize, f32)> {
        let reads = self.store().read().expect("reads");
        let question = Question { vector: Some(query.to_vec()), ..Question::default() };
        let wanted = Wanted { nearest: count, effort: Effort::default(), marked: None };
        let (snapshot, found) = reads.search(&self.collection(), filter, &[&question], wanted).expect("an answer");
        let id = |record| match reads.fetch(&snapshot, record).expect("a record") {
            Fetched::Found(stored) => stored.record.id.parse().expect("a number"),
            other => panic!("{other:?}"),
        };
        found[0].nearest.records.iter().map(|(record, score)| (id(*record), *score)).collect()
    }

    fn nearest_ids(&self, seed: u32, count: usize) -> Vec<usize> {
        self.nearest(&vector(seed), count, None).into_iter().map(|found| found.0).collect()
    }

    fn compact(&self) {
        let collection = self.collection();
        let job = JobGuard::take(&collection).expect("no other job");
        self.store().compact(&job, &collection, &mut |_| true).expect("a compaction");
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(&self.config).expect("a store"));
    }

    fn vector_file(&self) -> PathBuf {
        let files = fs::read_dir(self.config.data_dir.join("collections/1")).expect("a folder");
        let mut paths = files.flatten().map(|entry| entry.path());
        paths.find(|path| path.extension().is_some_and(|e| e == "mbv")).expect("a vector file")
    }

    /// Where the vector of a seed is in the file.
    fn place(&self, seed: u32) -> Option<usize> {
        let bytes: Vec<u8> = vector(seed).into_iter().flat_map(f32::to_le_bytes).collect();
        fs::read(self.vector_file()).expect("the file").windows(bytes.len()).position(|own| own == bytes)
    }

    /// Records, vectors and rows, as they are told.
    fn counts(&self) -> (u64, Option<u64>, u32) {
        let told = self.store().describe(&self.collection());
        (told.records, told.vectors, told.rows)
    }
}

#[test]
fn a_record_is_found_once_by_the_best_of_its_windows() {
    let sample = Sample::new();
    sample.write((0..20).map(|id| new(id, &[1000 + id as u32])).collect());
    sample.write(vec![new(20, &(0..16).collect::<Vec<u32>>()), new(21, &[50, 51])]);
    assert_eq!(sample.counts(), (22, Some(38), 38));
    for seed in [0, 7, 15] {
        let found = sample.nearest(&vector(seed), 22, None);
        assert_eq!((found[0].0, found.len()), (20, 22), "once, and no other record in its stead");
        let snapshot = sample.snapshot();
        let record = sample.locate(20);
        assert_eq!(found[0].1, snapshot.score(&vector(seed), record));
        let place = snapshot.window_of(&vector(seed), record, &sample.stored(20)).expect("it has windows");
        assert_eq!(place, 10 * seed as usize..10 * seed as usize + 12);
    }
    let snapshot = sample.snapshot();
    assert_eq!((snapshot.windows(sample.locate(20)), snapshot.windows(sample.locate(3))), (16, 1));
    assert_eq!(snapshot.window_of(&vector(3), sample.locate(3), &sample.stored(3)), None);
    assert_eq!(snapshot.further_vectors(sample.locate(21)), [vector(51)]);
    let odd = Filter::parse(&json!({"field": "metadata.even", "eq": false}), "").expect("a filter");
    let found = sample.nearest(&vector(7), 22, Some(&odd));
    assert!(found.len() == 11 && found.iter().all(|(id, _)| id % 2 == 1), "the windows of others are filtered too");
    assert_eq!(sample.nearest(&vector(51), 1, Some(&odd))[0].0, 21);
}

#[test]
fn records_are_alike_where_each_part_is_like_a_part_of_the_other() {
    let sample = Sample::new();
    let unit = |at: usize| (0..DIMENSION).map(|i| f32::from(i == at)).collect::<Vec<f32>>();
    let of = |id: usize, parts: &[usize]| {
        let vectors = parts[1..].iter().map(|at| unit(*at)).collect();
        let windows = TextWindows { places: vec![0..0; parts.len()], vectors };
        NewVersion { vector: unit(parts[0]), windows, ..new(id, &[1]) }
    };
    sample.write(vec![of(0, &[0]), of(1, &[0]), of(2, &[0, 1]), of(3, &[1, 0]), of(4, &[0, 2])]);
    let like = |a, b| sample.snapshot().likeness(sample.locate(a), sample.locate(b));
    assert_eq!((like(0, 1), like(2, 3)), (1.0, 1.0));
    assert_eq!((like(0, 2), like(2, 0)), (0.0, 0.0), "a short text is not all that a long one says");
    assert_eq!((like(2, 4), like(4, 2)), (0.0, 0.0), "neither are two that begin alike");
}

#[test]
fn what_is_replaced_or_deleted_leaves_no_vector() {
    let mut sample = Sample::new();
    sample.write(vec![new(1, &[1, 2, 3]), new(2, &[4, 5, 6]), new(3, &[7, 8]), new(4, &[9, 10])]);
    sample.write(vec![new(1, &[11])]);
    assert_eq!(sample.delete(2), 1);
    let moved = NewVector { stored: sample.stored(3), vector: vector(12), windows: windows(&[12, 13]), tokens: None };
    assert_eq!(sample.store().replace_vectors(&sample.collection(), vec![moved.clone()]).expect("a write"), 1);
    assert_eq!(sample.store().replace_vectors(&sample.collection(), vec![moved]).expect("a write"), 0, "it has moved");
    for seed in 1..9 {
        assert_eq!(sample.place(seed), None, "the bytes of vector {seed} are gone");
    }
    for reopened in [false, true] {
        if reopened {
            sample.reopen();
        }
        assert_eq!(sample.counts().1, Some(5), "one, two and two");
        for (seed, id) in [(9, 4), (10, 4), (11, 1), (12, 3), (13, 3)] {
            assert!(sample.place(seed).is_some());
            assert_eq!(sample.nearest_ids(seed, 1), [id]);
        }
    }
    sample.write(vec![new(1, &[14, 15, 16])]);
    assert_eq!((sample.nearest_ids(16, 1), sample.counts().1), (vec![1], Some(7)));
    assert_eq!(sample.place(11), None);
}

#[test]
fn a_write_that_is_refused_leaves_no_vector() {
    let sample = Sample::new();
    let write = |new| sample.store().write_records(WriteRecords::new(sample.collection(), vec![new]));
    write(NewVersion { expected: Some(7), ..new(1, &[1, 2]) }).expect_err("it has another version");
    let mut other = new(2, &[3, 4, 5]);
    other.windows.vectors[1].pop();
    write(other).expect_err("a window of another dimension");
    sample.write(vec![new(3, &[6, 7])]);
    assert!((1..6).all(|seed| sample.place(seed).is_none()));
    assert_eq!(sample.counts().0, 1);
    assert_eq!(sample.nearest_ids(7, 5), [3]);
}

#[test]
fn a_compaction_keeps_windows_with_their_records() {
    let mut sample = Sample::new();
    sample.write((0..30).map(|id| new(id, &[100, 200, 300].map(|more| more + id as u32)[..1 + id % 3])).collect());
    (0..30).step_by(2).for_each(|id| assert_eq!(sample.delete(id), 1));
    sample.write(vec![new(1, &[500, 501, 502, 503])]);
    let before: Vec<_> = [101, 205, 305, 503].map(|seed| sample.nearest(&vector(seed), 20, None)).into();
    let kept = sample.snapshot();
    sample.compact();
    assert_eq!(sample.counts(), (15, Some(32), 32), "dead rows are gone");
    for reopened in [false, true] {
        if reopened {
            sample.reopen();
        }
        let after: Vec<_> = [101, 205, 305, 503].map(|seed| sample.nearest(&vector(seed), 20, None)).into();
        assert_eq!(after, before);
        sample.write(vec![new(40, &[600, 601])]);
        assert_eq!(sample.nearest_ids(601, 1), [40]);
        assert_eq!(sample.delete(40), 1);
    }
    assert_eq!(kept.nearest(&[&vector(503)], 20, Effort::default()).expect("an answer")[0].records.len(), 15);
}

#[test]
fn an_expired_record_is_found_by_none_of_its_windows() {
    let sample = Sample::new();
    let mut expired = new(1, &[1, 2, 3]);
    expired.record.expires_at = Some(now() - 1);
    sample.write(vec![expired, new(2, &[4, 5]), new(3, &[6])]);
    for seed in 1..4 {
        let mut found = sample.nearest_ids(seed, 5);
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }
    assert_eq!(sample.counts().1, Some(3));
}

#[test]
fn a_record_with_a_damaged_window_is_no_answer_until_it_has_other_vectors() {
    let mut sample = Sample::new();
    sample.write(vec![new(1, &[1, 2, 3]), new(2, &[4, 5])]);
    let (path, place) = (sample.vector_file(), sample.place(3).expect("it is there"));
    let uuid = path.clone();
    sample.store = None;
    let mut bytes = fs::read(&path).expect("the file");
    bytes[place] ^= 1;
    fs::write(&path, bytes).expect("a write");
    let report = verify(&sample.config).expect("a check");
    assert!(report.problems.iter().any(|problem| problem.found.contains("\"1\"")), "{report:?}");
    mend_files(&sample.config, true, &mut Vec::new()).expect("it is mended");
    sample.reopen();
    assert_eq!(sample.vector_file(), uuid);
    let snapshot = sample.snapshot();
    let damaged = sample.stored(1);
    assert_eq!(snapshot.locate(&damaged), None);
    let reads = sample.store().read().expect("reads");
    for (record, _) in &snapshot.nearest(&[&vector(1)], 5, Effort::default()).expect("an answer")[0].records {
        match reads.fetch(&snapshot, *record).expect("a read") {
            Fetched::Found(stored) => assert_eq!(stored.record.id, "2"),
            other => assert!(matches!(other, Fetched::Damaged), "{other:?}"),
        }
    }
    drop(reads);
    let found = sample.store().damaged_vectors(&sample.collection()).expect("a check");
    assert_eq!(found, std::slice::from_ref(&damaged));
    let mended = NewVector { stored: damaged, vector: vector(1), windows: windows(&[1, 2, 3]), tokens: None };
    assert_eq!(sample.store().replace_vectors(&sample.collection(), vec![mended]).expect("a write"), 1);
    assert_eq!(sample.nearest_ids(3, 1), [1]);
    sample.store = None;
    assert_eq!(verify(&sample.config).expect("a check").problems, []);
}

#[test]
fn an_index_proposes_records_by_any_of_their_windows() {
    for index in [IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 64, nprobe: 32 }] {
        let sample = Sample::with_index(index);
        let (mut list, mut next): (BTreeMap<usize, Vec<u32>>, u32) = (BTreeMap::new(), 0);
        for id in 0..6000 {
            let count = if id % 10 == 0 { 2 + id as u32 % 15 } else { 1 };
            list.insert(id, (next..next + count).collect());
            next += count;
        }
        let records: Vec<NewVersion> = list.iter().map(|(id, seeds)| new(*id, seeds)).collect();
        records.chunks(2000).for_each(|some| sample.write(some.to_vec()));
        (0..6000).step_by(40).for_each(|id| {
            assert_eq!(sample.delete(id), 1);
            list.remove(&id);
        });
        let collection = sample.collection();
        let (view, rows) = collection.state().current();
        let policy = crate::convert::index_policy(index);
        let spec = policy.wanted(view.rows()).expect("an index is wanted");
        let built = build_index(&view, spec, policy, &rows, 1, &mut |_| true).expect("an index");
        collection.state_mut().set_index(built.map(Arc::new));
        let even = Filter::parse(&json!({"field": "metadata.even", "eq": true}), "").expect("a filter");
        let (mut found, mut wanted) = (0, 0);
        for seed in (0..40).map(|i| i * 231) {
            let query = vector(seed);
            for (filter, count) in [(None, 10), (None, 300), (Some(&even), 10)] {
                let best = of_list(&list, &query, count, filter.is_some());
                let own = sample.nearest(&query, count, filter);
                assert_eq!(own.len(), count, "as many records as are wanted");
                let least = best.last().expect("some") - 1e-4;
                found += own.iter().filter(|(_, score)| *score >= least).count();
                wanted += count;
            }
        }
        assert!(found * 100 >= wanted * 97, "{index:?}: {found} of {wanted}");
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Writes a record with so many windows.
    Write(usize, usize),
    Delete(usize),
    /// Gives a record other vectors.
    Replace(usize, usize),
    Compact,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let windows = || prop_oneof![2 => Just(1usize), 2 => 2usize..5, 1 => Just(16)];
    let step = prop_oneof![
        8 => (0usize..25, windows()).prop_map(|(id, count)| Step::Write(id, count)),
        3 => (0usize..25).prop_map(Step::Delete),
        3 => (0usize..25, windows()).prop_map(|(id, count)| Step::Replace(id, count)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// The nearest records of a plain list: each by its best vector.
fn of_list(list: &BTreeMap<usize, Vec<u32>>, query: &[f32], count: usize, even: bool) -> Vec<f32> {
    let dot = |seed: &u32| vector(*seed).iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let best = |seeds: &Vec<u32>| seeds.iter().map(dot).fold(f32::NEG_INFINITY, f32::max);
    let mut scores: Vec<f32> = list.iter().filter(|(id, _)| !even || *id % 2 == 0).map(|(_, s)| best(s)).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.truncate(count);
    scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_collection_answers_as_a_plain_list_of_records_and_vectors(steps in steps()) {
        let mut sample = Sample::new();
        let (mut list, mut next): (BTreeMap<usize, Vec<u32>>, u32) = (BTreeMap::new(), 0);
        let mut seeds = |count: usize| {
            next += count as u32;
            (next - count as u32..next).collect::<Vec<u32>>()
        };
        for step in steps {
            match step {
                Step::Write(id, count) => {
                    let seeds = seeds(count);
                    sample.write(vec![new(id, &seeds)]);
                    list.insert(id, seeds);
                }
                Step::Delete(id) => prop_assert_eq!(sample.delete(id), usize::from(list.remove(&id).is_some())),
                Step::Replace(id, count) if list.contains_key(&id) => {
                    let (seeds, stored) = (seeds(count), sample.stored(id));
                    let new = NewVector { stored, vector: vector(seeds[0]), windows: windows(&seeds), tokens: None };
                    let replaced = sample.store().replace_vectors(&sample.collection(), vec![new]);
                    prop_assert_eq!(replaced.expect("a write"), 1);
                    list.insert(id, seeds);
                }
                Step::Replace(..) => {}
                Step::Compact => sample.compact(),
                Step::Reopen => sample.reopen(),
            }
        }
        let even = Filter::parse(&json!({"field": "metadata.even", "eq": true}), "").expect("a filter");
        let vectors = list.values().map(Vec::len).sum::<usize>() as u64;
        prop_assert_eq!((sample.counts().0, sample.counts().1), (list.len() as u64, Some(vectors)));
        for (query, count) in [(0, 1), (3, 4), (9_999, 10), (77, 30)].map(|(seed, count)| (vector(seed), count)) {
            for filter in [None, Some(&even)] {
                let found = sample.nearest(&query, count, filter);
                let mut ids: Vec<usize> = found.iter().map(|found| found.0).collect();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), found.len(), "each once");
                let wanted = of_list(&list, &query, count, filter.is_some());
                prop_assert_eq!(found.len(), wanted.len());
                for ((id, score), wanted) in found.iter().zip(&wanted) {
                    prop_assert!((score - wanted).abs() < 1e-4, "record {id}: {score}, not {wanted}");
                }
            }
        }
    }
}
