//! Vectors of tokens follow their records, and are missing where anything has happened to them: never another's.

use crate::folder::{EncryptionConfig, SealingConfig};
use crate::{
    Collection, DeleteRecords, JobGuard, NewVector, NewVersion, QuestionTokens, RecordReads, RecordRef, Selection,
    Snapshot, Store, StoreConfig, StoredRecord, TextWindows, TokenSpace, TokenVectors, VersionId, WriteRecords, backup,
    mend_files, now, restore, verify,
};
use membox_api::{CollectionSettings, LateInteraction, TokenVectorsView};
use membox_records::keys::MasterKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const SPACE: TokenSpace = TokenSpace { dimension: 32, axes: [1; 16] };
const TOKENS: usize = 3;

fn settings(late_interaction: LateInteraction) -> CollectionSettings {
    CollectionSettings {
        model: Some("a model".into()),
        dimension: Some(2),
        late_interaction: Some(late_interaction),
        ..CollectionSettings::default()
    }
}

fn on() -> LateInteraction {
    LateInteraction::On { dimension: SPACE.dimension }
}

/// Unit vectors of a text's tokens, which no other seed has.
fn vectors(seed: usize) -> Vec<f32> {
    let number = |i: usize| ((seed * 7919 + i * 104_729 + seed * i * 31) % 2003) as f32 / 1001.0 - 1.0;
    let mut all: Vec<f32> = (0..TOKENS * SPACE.dimension).map(number).collect();
    for vector in all.chunks_exact_mut(SPACE.dimension) {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
    }
    all
}

fn packed(seed: usize) -> TokenVectors {
    TokenVectors::pack(SPACE, &vectors(seed))
}

fn new(id: usize, seed: Option<usize>) -> NewVersion {
    let (id, text) = (id.to_string(), format!("memory number{id} said {seed:?}"));
    let record = crate::Record { id, text, created_at: now(), ..crate::Record::default() };
    let angle = seed.unwrap_or(0) as f32;
    NewVersion {
        record,
        vector: vec![angle.cos(), angle.sin()],
        windows: TextWindows::default(),
        tokens: seed.map(packed),
        expected: None,
        keeps_created_at: false,
    }
}

struct Sample {
    config: StoreConfig,
    store: Option<Store>,
    folder: TempDir,
}

impl Sample {
    fn new(sealing: SealingConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StoreConfig { sealing, ..StoreConfig::new(folder.path().join("data")) };
        let store = Some(Store::open(&config).expect("a store"));
        let sample = Self { config, store, folder };
        sample.store().create_collection("t", "c", settings(on())).expect("a collection");
        sample
    }

    fn sealed() -> Self {
        let encryption = Some(EncryptionConfig { master: MasterKey::generate().expect("a key"), older: Vec::new() });
        Self::new(SealingConfig { encryption, ..SealingConfig::default() })
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

    fn delete(&self, id: usize) {
        let which = Selection::Ids(vec![(id.to_string(), None)]);
        let delete = DeleteRecords { collection: self.collection(), which, bump_sessions: false, audit: None };
        assert_eq!(self.store().delete_records(delete).expect("a deletion"), 1);
    }

    fn put(&self, tokens: &[(&StoredRecord, usize)]) -> usize {
        let tokens = tokens.iter().map(|(stored, seed)| (VersionId::from(*stored), packed(*seed))).collect();
        self.store().put_token_vectors(&self.collection(), tokens).expect("a write")
    }

    fn stored(&self, id: usize) -> StoredRecord {
        let found = self.store().read().and_then(|reads| reads.record(self.collection().id, &id.to_string()));
        found.expect("a read").expect("the record")
    }

    fn snapshot(&self) -> Snapshot {
        self.store().read().and_then(|reads| reads.snapshot(&self.collection(), None)).expect("a snapshot")
    }

    fn set(&self, late_interaction: LateInteraction) {
        let (collection, to) = (self.collection(), settings(late_interaction));
        assert!(self.store().set_settings(&collection, collection.settings(), to).expect("a write"));
    }

    /// Whether a record has vectors of its tokens: that they are those of the seed is held against it.
    fn has(&self, id: usize, seed: usize) -> bool {
        let snapshot = self.snapshot();
        let record = snapshot.locate(&self.stored(id)).expect("its vector");
        let found = snapshot.token_vectors(record);
        found.inspect(|found| assert_eq!(*found, packed(seed), "those of record {id}")).is_some()
    }

    fn counts(&self) -> (u64, u64) {
        let TokenVectorsView { records, missing, bytes } =
            self.store().describe(&self.collection()).token_vectors.expect("they are wanted");
        assert_eq!(bytes, self.files().iter().map(|path| fs::metadata(path).expect("a file").len()).sum::<u64>());
        (records, missing)
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

    fn files(&self) -> Vec<PathBuf> {
        token_files(&self.config.data_dir)
    }
}

fn token_files(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root.join("collections/1"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "mbe" || e == "mbt"))
        .collect();
    found.sort();
    found
}

/// Whether the codes of a seed are in any file of a folder, or below it.
fn is_in_files(folder: &Path, seed: usize) -> bool {
    let codes = packed(seed);
    fs::read_dir(folder).expect("a folder").flatten().any(|entry| match entry.path() {
        path if path.is_dir() => is_in_files(&path, seed),
        path => fs::read(path).expect("a file").windows(codes.bytes().len()).any(|bytes| bytes == codes.bytes()),
    })
}

#[test]
fn a_question_is_compared_with_the_tokens_of_each_record_that_has_them() {
    let sample = Sample::new(SealingConfig::default());
    sample.write(vec![new(1, Some(11)), new(2, None), new(3, Some(13))]);
    let snapshot = sample.snapshot();
    let record = |id| snapshot.locate(&sample.stored(id)).expect("its vector");
    let question = QuestionTokens::new(SPACE, &vectors(13));
    let whole = |id| snapshot.token_similarities(&question, record(id), TOKENS);
    let nearest = whole(3).expect("its tokens");
    assert!(nearest.parts.concat().iter().all(|&near| near > 0.97) && nearest.tokens == TOKENS, "{nearest:?}");
    let other = whole(1).expect("its tokens");
    assert!(other.parts.concat().len() == TOKENS && other.parts[0].iter().all(|&near| near < 0.9), "{other:?}");
    assert_eq!(whole(2), None);
    let one_by_one = snapshot.token_similarities(&question, record(3), 1).expect("its tokens").parts;
    assert_eq!(one_by_one.len(), TOKENS, "a part a token");
    for (token, nearest) in nearest.parts[0].iter().enumerate() {
        let best = one_by_one.iter().map(|part| part[token]).fold(-1.0, f32::max);
        assert_eq!(best, *nearest, "the whole is as near as its nearest part");
    }
    let elsewhere = QuestionTokens::new(TokenSpace { axes: [2; 16], ..SPACE }, &vectors(13));
    assert_eq!(snapshot.token_similarities(&elsewhere, record(3), TOKENS), None, "of another model");
    assert_eq!(sample.counts(), (2, 1));
}

#[test]
fn what_is_replaced_or_deleted_is_not_in_the_files() {
    let sample = Sample::new(SealingConfig::default());
    sample.write((0..5).map(|id| new(id, Some(100 + id))).collect());
    sample.write(vec![new(1, Some(201)), new(2, None)]);
    sample.delete(3);
    let vector = vec![0.6, 0.8];
    let moved =
        NewVector { stored: sample.stored(4), vector, windows: TextWindows::default(), tokens: Some(packed(204)) };
    assert_eq!(sample.store().replace_vectors(&sample.collection(), vec![moved]).expect("a write"), 1);
    assert!(sample.has(0, 100) && sample.has(1, 201) && !sample.has(2, 102) && sample.has(4, 204));
    for seed in [100, 201, 204] {
        assert!(is_in_files(&sample.config.data_dir, seed), "{seed}");
    }
    for seed in 101..105 {
        assert!(!is_in_files(&sample.config.data_dir, seed), "{seed}");
    }
    assert_eq!(sample.counts(), (3, 1));
}

#[test]
fn a_write_that_is_refused_leaves_none() {
    let sample = Sample::new(SealingConfig::default());
    sample.write(vec![new(1, Some(11))]);
    let write = |new| sample.store().write_records(WriteRecords::new(sample.collection(), vec![new]));
    write(NewVersion { expected: Some(7), ..new(1, Some(12)) }).expect_err("it has another version");
    assert!(sample.has(1, 11) && !is_in_files(&sample.config.data_dir, 12));
    // Its vector does not fit, and with it none of it is kept.
    write(NewVersion { vector: vec![1.0], ..new(2, Some(13)) }).expect_err("it has another dimension");
    assert!(!is_in_files(&sample.config.data_dir, 13));
    sample.write(vec![new(3, None)]);
    assert!(!sample.has(3, 13) && sample.counts() == (1, 1));
}

#[test]
fn codes_that_somebody_looks_at_are_overwritten_when_nobody_does() {
    let sample = Sample::new(SealingConfig::default());
    sample.write(vec![new(1, Some(11))]);
    let snapshot = sample.snapshot();
    sample.delete(1);
    assert_eq!(snapshot.token_vectors(RecordRef(0)), Some(packed(11)));
    drop(snapshot);
    sample.write(vec![new(2, Some(12))]);
    assert!(!is_in_files(&sample.config.data_dir, 11) && sample.has(2, 12));
}

#[test]
fn records_get_vectors_of_tokens_later_and_keep_what_they_have() {
    let sample = Sample::new(SealingConfig::default());
    sample.write((0..4).map(|id| new(id, (id == 3).then_some(33))).collect());
    let stored: Vec<StoredRecord> = (0..4).map(|id| sample.stored(id)).collect();
    sample.delete(2);
    let before = sample.snapshot().version().number;
    let put = [(&stored[0], 50), (&stored[2], 52), (&stored[3], 53), (&stored[1], 51), (&stored[1], 54)];
    assert_eq!(sample.put(&put), 2, "one is gone, one has them, and one is given twice");
    assert!(sample.has(0, 50) && sample.has(1, 51) && sample.has(3, 33));
    assert_ne!(sample.snapshot().version().number, before, "answers of before are not given out any more");
    assert!(!is_in_files(&sample.config.data_dir, 52));
    assert_eq!(sample.counts(), (3, 0));
    // They change no record.
    assert_eq!(sample.stored(0).version, stored[0].version);
}

#[test]
fn they_survive_a_compaction_and_a_start_without_what_is_gone() {
    let mut sample = Sample::new(SealingConfig::default());
    sample.write((0..40).map(|id| new(id, (id != 7).then_some(id + 100))).collect());
    for id in 0..10 {
        sample.write(vec![new(id, (id % 2 == 0).then_some(id + 300))]);
    }
    (20..30).for_each(|id| sample.delete(id));
    let check = |sample: &Sample| {
        for id in (0..20).chain(30..40) {
            let seed = if id < 10 { id + 300 } else { id + 100 };
            assert_eq!(sample.has(id, seed), id >= 10 || id % 2 == 0, "record {id}");
        }
        assert_eq!(sample.counts(), (25, 5));
    };
    check(&sample);
    let before = sample.files();
    sample.compact();
    check(&sample);
    let after = sample.files();
    assert!(after.len() == 2 && after.iter().all(|path| !before.contains(path)), "{after:?}");
    let codes = fs::metadata(&after[1]).expect("the codes").len() as usize;
    assert_eq!(codes, 25 * packed(1).bytes().len(), "nothing else is copied");
    sample.reopen();
    check(&sample);
    sample.write(vec![new(50, Some(500))]);
    assert!(sample.has(50, 500));
}

#[test]
fn those_that_come_during_a_compaction_are_in_its_files() {
    let sample = Sample::new(SealingConfig::default());
    sample.write((0..20).map(|id| new(id, (id < 10).then_some(id + 100))).collect());
    let collection = sample.collection();
    let job = JobGuard::take(&collection).expect("no other job");
    let mut is_done = false;
    let mut progress = |_| {
        if !std::mem::replace(&mut is_done, true) {
            let (old, dead) = (sample.stored(15), sample.stored(16));
            assert_eq!(sample.put(&[(&old, 115), (&dead, 116)]), 2);
            sample.write(vec![new(16, Some(216)), new(30, Some(130)), new(3, Some(203))]);
            sample.delete(4);
        }
        true
    };
    sample.store().compact(&job, &collection, &mut progress).expect("a compaction");
    assert!(is_done && sample.has(15, 115) && sample.has(16, 216) && sample.has(30, 130) && sample.has(3, 203));
    assert!(sample.has(5, 105) && !sample.has(14, 114));
    for seed in [116, 103, 104] {
        assert!(!is_in_files(&sample.config.data_dir, seed), "{seed}");
    }
}

#[test]
fn a_backup_has_them_and_a_restored_box_too() {
    let sample = Sample::new(SealingConfig::default());
    sample.write((0..10).map(|id| new(id, (id != 4).then_some(id + 100))).collect());
    sample.delete(9);
    sample.write(vec![new(1, Some(201))]);
    let (copy, root) = (sample.folder.path().join("backup"), sample.folder.path().join("root"));
    backup(&sample.config.data_dir, &copy, true).expect("a backup");
    restore(&copy, &root).expect("a restore");
    assert!(!is_in_files(&copy, 109) && !is_in_files(&copy, 101) && token_files(&root).len() == 2);
    let config = StoreConfig { data_dir: root, ..sample.config.clone() };
    assert!(verify(&config).expect("a check").problems.is_empty());
    let restored = Sample { store: Some(Store::open(&config).expect("a store")), config, folder: sample.folder };
    for id in 0..9 {
        let seed = if id == 1 { 201 } else { id + 100 };
        assert_eq!(restored.has(id, seed), id != 4, "record {id}");
    }
}

#[test]
fn a_file_that_is_lost_or_cut_makes_them_missing_and_nothing_else() {
    for (extension, within) in [("mbe", 4096 + 16 * 5 + 3), ("mbt", 250)] {
        for length in [None, Some(0), Some(100), Some(within)] {
            let mut sample = Sample::new(SealingConfig::default());
            sample.write((0..10).map(|id| new(id, Some(id + 100))).collect());
            let path = sample.files().into_iter().find(|path| path.extension() == Some(extension.as_ref()));
            let path = path.expect("a file");
            sample.store = None;
            match length {
                None => fs::remove_file(&path).expect("a removal"),
                Some(length) => {
                    fs::File::options().write(true).open(&path).and_then(|f| f.set_len(length)).expect("a cut");
                }
            }
            let report = verify(&sample.config).expect("a check");
            assert!(report.problems.iter().all(|problem| !problem.serious), "{:?}", report.problems);
            assert_eq!(report.records, 10);
            sample.reopen();
            let missing: Vec<usize> = (0..10).filter(|id| !sample.has(*id, id + 100)).collect();
            assert!(missing.len() >= 4, "{extension} {length:?}: {missing:?}");
            for id in missing {
                assert_eq!(sample.put(&[(&sample.stored(id), id + 100)]), 1);
            }
            assert!((0..10).all(|id| sample.has(id, id + 100)), "{extension} {length:?}");
        }
    }
}

#[test]
fn damaged_ones_are_reported_taken_away_and_made_again() {
    let mut sample = Sample::new(SealingConfig::default());
    sample.write((0..3).map(|id| new(id, (id != 1).then_some(id + 100))).collect());
    let codes = sample.files().remove(1);
    sample.store = None;
    let mut bytes = fs::read(&codes).expect("the codes");
    bytes[5] ^= 16;
    fs::write(&codes, &bytes).expect("a write");
    let report = verify(&sample.config).expect("a check");
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert!(report.problems[0].found.contains("of 1 records") && !report.problems[0].serious);
    assert!(report.notes.iter().any(|note| note.contains("1 records with a text")), "{:?}", report.notes);
    mend_files(&sample.config, true, &mut Vec::new()).expect("mended");
    let report = verify(&sample.config).expect("a check");
    assert!(report.problems.is_empty() && report.notes.iter().any(|note| note.contains("2 records")), "{report:?}");
    sample.reopen();
    assert!(!sample.has(0, 100) && sample.has(2, 102));
    assert_eq!(sample.put(&[(&sample.stored(0), 100)]), 1);
    assert!(sample.has(0, 100));
}

#[test]
fn those_of_a_sealed_tenant_are_sealed_and_go_with_its_key() {
    let mut sample = Sample::sealed();
    sample.write((0..10).map(|id| new(id, Some(id + 100))).collect());
    sample.write(vec![new(20, None)]);
    assert_eq!(sample.put(&[(&sample.stored(20), 120)]), 1);
    let all = |sample: &Sample| {
        (0..10).chain([20]).for_each(|id| assert!(sample.has(id, id + 100), "record {id}"));
        (0..10).chain([20]).for_each(|id| assert!(!is_in_files(&sample.config.data_dir, id + 100), "record {id}"));
    };
    all(&sample);
    sample.delete(5);
    sample.write(vec![new(5, Some(105))]);
    sample.reopen();
    all(&sample);
    // A compaction seals them with the newest key.
    let tenant = "t";
    let keyring = sample.store().sealing().keyring().expect("keys");
    let key = keyring.rotate(tenant).expect("a key");
    assert!(sample.store().is_sealed_otherwise(&sample.collection(), key));
    sample.compact();
    assert!(!sample.store().is_sealed_otherwise(&sample.collection(), key));
    all(&sample);
    let snapshot = sample.snapshot();
    let question = QuestionTokens::new(SPACE, &vectors(101));
    let record = snapshot.locate(&sample.stored(1)).expect("its vector");
    let nearest = snapshot.token_similarities(&question, record, TOKENS).expect("its tokens");
    assert!(nearest.parts.concat().iter().all(|&near| near > 0.97));
    drop(snapshot);
    let (gone, record) = (sample.snapshot(), record);
    sample.store().sealing().keyring().expect("keys").erase(tenant).expect("erased");
    assert_eq!(gone.token_similarities(&question, record, TOKENS), None, "they are missing without their key");
}

#[test]
fn those_of_a_tenant_who_is_sealed_later_are_sealed_by_a_compaction() {
    let mut sample = Sample::new(SealingConfig::default());
    sample.write((0..5).map(|id| new(id, Some(id + 100))).collect());
    assert!(is_in_files(&sample.config.data_dir, 103));
    let encryption = Some(EncryptionConfig { master: MasterKey::generate().expect("a key"), older: Vec::new() });
    sample.config.sealing = SealingConfig { encryption, ..SealingConfig::default() };
    sample.reopen();
    let key = sample.store().sealing().keyring().expect("keys").number("t").expect("a key");
    assert!(sample.has(3, 103) && sample.store().is_sealed_otherwise(&sample.collection(), key));
    sample.compact();
    for id in 0..5 {
        assert!(sample.has(id, id + 100) && !is_in_files(&sample.config.data_dir, id + 100));
    }
}

#[test]
fn off_removes_them_and_another_dimension_begins_anew() {
    let mut sample = Sample::new(SealingConfig::default());
    sample.write((0..5).map(|id| new(id, Some(id + 100))).collect());
    let before = sample.snapshot().version().number;
    sample.set(LateInteraction::Off);
    assert!(sample.files().is_empty() && !sample.has(1, 101));
    assert!(sample.store().describe(&sample.collection()).token_vectors.is_none());
    assert_ne!(sample.snapshot().version().number, before);
    sample.write(vec![new(6, Some(106))]);
    assert_eq!(sample.put(&[(&sample.stored(1), 101)]), 0);
    assert!(sample.files().is_empty() && !sample.has(6, 106));
    sample.set(on());
    assert_eq!(sample.put(&[(&sample.stored(1), 101)]), 1);
    assert!(sample.has(1, 101) && sample.counts() == (1, 5));
    sample.set(LateInteraction::On { dimension: 48 });
    sample.write(vec![new(7, Some(107))]);
    assert!(sample.files().is_empty() && !sample.has(7, 107), "these have 32 numbers");
    // Of another model.
    sample.set(on());
    sample.write(vec![new(8, Some(108))]);
    let mut other = new(9, None);
    let space = TokenSpace { axes: [9; 16], ..SPACE };
    other.tokens = Some(TokenVectors::pack(space, &vectors(109)));
    sample.write(vec![other]);
    assert!(!sample.has(8, 108) && sample.counts() == (1, 8), "vectors of two models cannot be compared");
    // Files that are left of settings of before.
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("a file"));
    let kept: Vec<(PathBuf, Vec<u8>)> = sample.files().into_iter().map(read).collect();
    sample.set(LateInteraction::Off);
    sample.store = None;
    kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("a write"));
    sample.reopen();
    assert_eq!((sample.collection().records(), sample.files().len()), (9, 0));
}

#[test]
fn records_that_speak_for_another_are_up_to_two_steps_away_and_shown() {
    let sample = Sample::new(SealingConfig::default());
    let said = |id: usize, user: &str| {
        let mut new = new(id, None);
        new.record.session = Some("s".into());
        new.record.user = Some(user.into());
        new
    };
    sample.write((0..6).map(|id| said(id, if id == 2 { "otto" } else { "lena" })).collect());
    let steps = |snapshot: &Snapshot, id: usize| {
        let record = snapshot.locate(&sample.stored(id)).expect("its vector");
        let mut found: Vec<(u32, usize)> =
            snapshot.spoken_for_by(record).iter().map(|near| (near.by.0, near.steps)).collect();
        found.sort_unstable();
        found
    };
    let all = sample.snapshot();
    assert_eq!(steps(&all, 3), [(1, 2), (2, 1), (4, 1), (5, 2)]);
    assert_eq!(steps(&all, 0), [(1, 1), (2, 2)]);
    let filter = serde_json::json!({"field": "user", "eq": "lena"});
    let filter = crate::Filter::parse(&filter, "/filter").expect("a filter");
    let reads = sample.store().read().expect("reads");
    let hers = reads.snapshot(&sample.collection(), Some(&filter)).expect("a snapshot");
    assert_eq!(steps(&hers, 3), [(1, 2), (4, 1), (5, 2)], "otto's is not shown");
    sample.delete(4);
    assert_eq!(steps(&all, 3), [(1, 2), (2, 1), (4, 1), (5, 2)], "a snapshot stays as it is");
    assert_eq!(steps(&sample.snapshot(), 3), [(1, 2), (2, 1), (5, 1)]);
}
