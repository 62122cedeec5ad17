//! Text is found wherever it is, and filters mean what a plain reading of the records means.

use membox_records::keys::{Keyring, MasterKey};
use membox_records::text::{DiskText, DiskWriter, Tail, TextOf, score};
use membox_records::{FieldIndex, Filter, Record, analysis::query_terms};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use uuid::Uuid;

const TEXTS: [&str; 6] = [
    "Melanie runs every morning before work",
    "The dogs were running in the park",
    "我在北京工作，喜欢跑步",
    "北京的冬天很冷",
    "Nothing of note happened at the office",
    "GPT-4 writes code in 上海",
];

/// What whoever has the files of an index reads from them.
fn words_on_disk(folder: &Path) -> HashSet<String> {
    let index = tantivy::Index::open_in_dir(folder).expect("an index");
    let field = index.schema().get_field("text").expect("the field");
    let mut words = HashSet::new();
    for segment in index.reader().expect("a reader").searcher().segment_readers() {
        let inverted = segment.inverted_index(field).expect("its words");
        let mut stream = inverted.terms().stream().expect("a stream");
        while stream.advance() {
            words.insert(String::from_utf8_lossy(stream.key()).into_owned());
        }
    }
    words
}

fn text_of(vector_file: Uuid, rows: u32) -> TextOf {
    TextOf { vector_file, rows, key: None }
}

fn found(query: &str, disk: Option<&DiskText>, tail: &Tail) -> Vec<u32> {
    let scores = score(&query_terms(query), disk, tail).expect("a search");
    let mut rows: Vec<(u32, f32)> = scores.iter().collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    rows.into_iter().map(|r| r.0).collect()
}

#[test]
fn english_and_chinese_find_texts_in_either_script() {
    let mut tail = Tail::default();
    TEXTS.iter().enumerate().for_each(|(row, text)| tail.insert(row as u32, text));
    assert_eq!(found("running dogs", None, &tail), [1, 0]);
    assert_eq!(found("北京", None, &tail).len(), 2);
    assert_eq!(found("上海 code", None, &tail), [5]);
    assert_eq!(found("what happened at the office?", None, &tail), [4]);
    assert!(found("zebra", None, &tail).is_empty());
}

#[test]
fn scores_do_not_depend_on_what_is_on_disk_and_what_in_memory() {
    let file = Uuid::new_v4();
    let mut whole = Tail::default();
    TEXTS.iter().enumerate().for_each(|(row, text)| whole.insert(row as u32, text));
    for split in 1..=TEXTS.len() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = DiskWriter::open(folder.path(), text_of(file, 0)).expect("a writer");
        let mut tail = Tail::default();
        for (row, text) in TEXTS.iter().enumerate() {
            if row < split { writer.insert(row as u32, text).expect("room") } else { tail.insert(row as u32, text) }
        }
        let disk = writer.commit(split as u32).expect("a commit");
        for query in ["running dogs", "北京", "work code", "office morning 冬天"] {
            let terms = query_terms(query);
            let (a, b) =
                (score(&terms, None, &whole).expect("scores"), score(&terms, Some(&disk), &tail).expect("scores"));
            let apart = a.iter().map(|(row, s)| (s - b.get(row).unwrap_or(f32::NAN)).abs()).fold(0f32, f32::max);
            assert!(a.iter().count() == b.iter().count() && apart < 1e-5, "{query}: {a:?} {b:?}");
        }
    }
}

#[test]
fn an_index_under_a_key_finds_the_same_and_holds_no_word() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    let master = MasterKey::generate().expect("a key");
    let keyring = Keyring::open(&folder.path().join("keys.json"), master, &[]).expect("keys");
    let under = |tenant: &str| TextOf { key: Some(keyring.term_key(tenant).expect("a key")), ..text_of(file, 6) };
    let text = folder.path().join("text");
    let mut writer = DiskWriter::open(&text, under("t")).expect("a writer");
    let mut tail = Tail::default();
    TEXTS.iter().enumerate().for_each(|(row, text)| {
        writer.insert(row as u32, text).expect("room");
        tail.insert(row as u32, text);
    });
    let disk = writer.commit(6).expect("a commit");
    for query in ["running dogs", "北京", "work code", "office morning 冬天", "zebra"] {
        assert_eq!(found(query, Some(&disk), &Tail::default()), found(query, None, &tail), "{query}");
    }
    let clear = folder.path().join("clear");
    let mut writer = DiskWriter::open(&clear, text_of(file, 6)).expect("a writer");
    TEXTS.iter().enumerate().for_each(|(row, text)| writer.insert(row as u32, text).expect("room"));
    writer.commit(6).expect("a commit");
    let (words, codes) = (words_on_disk(&clear), words_on_disk(&text));
    assert!(["melani", "dog", "北京", "gpt"].iter().all(|word| words.contains(*word)), "{words:?}");
    assert_eq!((words.len(), words.intersection(&codes).count()), (codes.len(), 0));
    assert!(codes.iter().all(|code| code.len() == 16), "{codes:?}");
    assert!(DiskText::open(&text, &under("other")).expect("a look").is_none(), "another key's is not used");
    assert!(DiskText::open(&text, &text_of(file, 6)).expect("a look").is_none());
    assert!(DiskText::is_under_another_key(&text, &under("other")));
    assert!(!DiskText::is_under_another_key(&text, &under("t")));
}

#[test]
fn a_text_index_is_used_only_for_its_vector_file_and_committed_rows() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    assert!(DiskText::open(folder.path(), &text_of(file, 9)).expect("a look").is_none());
    let mut writer = DiskWriter::open(folder.path(), text_of(file, 0)).expect("a writer");
    writer.insert(0, "hello").expect("room");
    writer.commit(5).expect("a commit");
    assert_eq!(DiskText::open(folder.path(), &text_of(file, 5)).expect("a look").map(|d| d.rows()), Some(5));
    assert!(
        DiskText::open(folder.path(), &text_of(file, 4)).expect("a look").is_none(),
        "it covers rows that are not committed"
    );
    assert!(
        DiskText::open(folder.path(), &text_of(Uuid::new_v4(), 5)).expect("a look").is_none(),
        "it is of another file"
    );
    assert_eq!(
        DiskWriter::open(folder.path(), text_of(Uuid::new_v4(), 5)).expect("a writer").rows().expect("rows"),
        0,
        "and is begun anew"
    );
}

#[test]
fn an_index_of_an_older_analysis_is_built_anew() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    let mut writer = DiskWriter::open(folder.path(), text_of(file, 0)).expect("a writer");
    writer.insert(0, "hello").expect("room");
    writer.commit(1).expect("a commit");
    let open = || DiskText::open(folder.path(), &text_of(file, 1)).expect("a look").map(|disk| disk.rows());
    assert_eq!((open(), DiskText::covered(folder.path(), file)), (Some(1), Some(1)));

    // As the version before has left it.
    let meta = folder.path().join("meta.json");
    let mut said: Value = serde_json::from_slice(&std::fs::read(&meta).expect("a list")).expect("JSON");
    let mut mark: Value = serde_json::from_str(said["payload"].as_str().expect("a watermark")).expect("JSON");
    mark["version"] = json!(1);
    said["payload"] = json!(mark.to_string());
    std::fs::write(&meta, said.to_string()).expect("a list");
    let checksum = crc32c::crc32c(said.to_string().as_bytes());
    std::fs::write(folder.path().join("meta.crc"), format!("{checksum:08x}")).expect("a checksum");
    assert_eq!((open(), DiskText::covered(folder.path(), file)), (None, None));

    let mut writer = DiskWriter::open(folder.path(), text_of(file, 1)).expect("a writer");
    assert_eq!(writer.rows().expect("rows"), 0);
    writer.insert(0, "hello").expect("room");
    writer.commit(1).expect("a commit");
    assert_eq!(open(), Some(1));
}

#[test]
fn many_commits_merge_and_keep_their_watermark() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    let mut disk = None;
    for row in 0..30u32 {
        let mut writer = DiskWriter::open(folder.path(), text_of(file, row)).expect("a writer");
        assert_eq!(writer.rows().expect("rows"), row);
        writer.insert(row, &format!("common word{row}")).expect("room");
        if row == 20 {
            writer.remove(3);
        }
        disk = Some(writer.commit(row + 1).expect("a commit"));
    }
    let disk = disk.expect("a state");
    assert_eq!(found("common", Some(&disk), &Tail::default()).len(), 29);
    assert!(found("word3", Some(&disk), &Tail::default()).is_empty());
    assert_eq!(DiskText::damaged_files(folder.path()).expect("a check"), Vec::<String>::new());
}

fn record(id: u32, metadata: Value) -> Record {
    Record {
        id: id.to_string(),
        text: String::new(),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        created_at: 1_700_000_000_000 + i64::from(id) * 86_400_000,
        expires_at: None,
        importance: None,
        user: Some(format!("u{}", id % 2)),
        session: None,
        kind: None,
        given_vector: false,
        message: None,
    }
}

fn filter(value: Value) -> Filter {
    Filter::parse(&value, "/filter").expect("a filter")
}

#[test]
fn filters_allow_what_they_say() {
    let mut index = FieldIndex::default();
    let metadata = [
        json!({"topic": "travel", "stars": 5, "tags": ["a", "b"], "done": true}),
        json!({"topic": "food", "stars": 2.5, "tags": ["b"], "deep": {"er": "x"}}),
        json!({"stars": -0.0}),
    ];
    for (row, m) in metadata.iter().enumerate() {
        index.insert(row as u32, &record(row as u32, m.clone()));
    }
    let all: RoaringBitmap = (0..3).collect();
    let rows = |value| index.allowed(&filter(value), &all).into_iter().collect::<Vec<u32>>();
    assert_eq!(rows(json!({"field": "metadata.topic", "eq": "travel"})), [0]);
    assert_eq!(rows(json!({"field": "metadata.tags", "in": ["a", "z"]})), [0]);
    assert_eq!(rows(json!({"field": "metadata.stars", "gt": 2, "lte": 5})), [0, 1]);
    assert_eq!(rows(json!({"field": "metadata.stars", "eq": 0})), [2]);
    assert_eq!(rows(json!({"field": "metadata.done", "eq": true})), [0]);
    assert_eq!(rows(json!({"field": "metadata.deep.er", "exists": true})), [1]);
    assert_eq!(rows(json!({"field": "metadata.topic", "exists": false})), [2]);
    assert_eq!(rows(json!({"not": {"field": "user", "eq": "u0"}})), [1]);
    assert_eq!(rows(json!({"and": []})), [0, 1, 2]);
    assert_eq!(rows(json!({"or": []})), Vec::<u32>::new());
    assert_eq!(rows(json!({"field": "created_at", "gte": "2023-11-15T00:00:00Z"})), [1, 2]);
    assert_eq!(rows(json!({"field": "metadata.stars", "gt": 5, "lt": 1})), Vec::<u32>::new());
    assert_eq!(rows(json!({"field": "metadata.none", "exists": false})), [0, 1, 2]);
}

#[test]
fn a_bad_filter_names_the_place() {
    let place = |value: Value| match Filter::parse(&value, "/filter") {
        Err(membox_records::RecordsError::Filter { pointer, .. }) => pointer,
        other => panic!("{value} gave {other:?}"),
    };
    assert_eq!(place(json!([])), "/filter");
    assert_eq!(place(json!({"and": [{"or": [1]}]})), "/filter/and/0/or/0");
    assert_eq!(place(json!({"field": "metadata.x", "like": 1})), "/filter/like");
    assert_eq!(place(json!({"field": "colour", "eq": 1})), "/filter/field");
    assert_eq!(place(json!({"field": "created_at", "gt": "yesterday"})), "/filter/gt");
    assert_eq!(place(json!({"field": "user"})), "/filter");
    let deep = (0..100).fold(json!({"field": "user", "eq": "a"}), |inner, _| json!({"not": inner}));
    assert!(place(deep).starts_with("/filter/not"));
}

proptest! {
    #[test]
    fn a_filter_is_its_plain_reading(topics in prop::collection::vec(0u8..4, 1..40), a in 0u8..4, b in 0u8..4, low in 0u8..4) {
        let mut index = FieldIndex::default();
        let all: RoaringBitmap = (0..topics.len() as u32).collect();
        let mut values = HashMap::new();
        for (row, &topic) in topics.iter().enumerate() {
            index.insert(row as u32, &record(row as u32, json!({"t": topic.to_string(), "n": topic})));
            values.insert(row as u32, topic);
        }
        let f = filter(json!({"or": [{"and": [{"field": "metadata.t", "in": [a.to_string(), b.to_string()]}, {"field": "metadata.n", "gte": low}]},
                                     {"not": {"field": "metadata.n", "lt": 3}}]}));
        let want: RoaringBitmap = all.iter().filter(|r| { let t = values[r]; ((t == a || t == b) && t >= low) || t >= 3 }).collect();
        prop_assert_eq!(&index.allowed(&f, &all), &want);
        // As a compaction does: rows that died are gone, and the others follow each other.
        let live: Vec<u32> = all.iter().filter(|row| row % 3 != 1).collect();
        let number = |row: u32| live.iter().position(|&old| old == row).map(|new| new as u32);
        let renumbered = index.renumbered(number).allowed(&f, &(0..live.len() as u32).collect());
        prop_assert_eq!(renumbered, want.iter().filter_map(number).collect::<RoaringBitmap>());
    }
}
