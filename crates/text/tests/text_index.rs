//! Text is found wherever it is, on disk or in the tail, and an index is used only for the rows it was made of.

use membox_sealing::{Keyring, MasterKey};
use membox_text::analysis::query_terms;
use membox_text::{Tail, TextIndex, TextIndexWriter, TextScores, TextSource, Texts};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
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

fn text_of(vector_file: Uuid, rows: u32) -> TextSource {
    TextSource { vector_file, rows, key: None }
}

fn scores(query: &str, disk: Option<&TextIndex>, tail: &Tail) -> TextScores {
    Texts::new(disk.cloned(), tail.clone(), |_| true).score(&query_terms(query)).expect("a search")
}

fn found(query: &str, disk: Option<&TextIndex>, tail: &Tail) -> Vec<u32> {
    let scores = scores(query, disk, tail);
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
        let mut writer = TextIndexWriter::open(folder.path(), text_of(file, 0)).expect("a writer");
        let mut tail = Tail::default();
        for (row, text) in TEXTS.iter().enumerate() {
            if row < split { writer.insert(row as u32, text).expect("room") } else { tail.insert(row as u32, text) }
        }
        let disk = writer.commit(split as u32).expect("a commit");
        for query in ["running dogs", "北京", "work code", "office morning 冬天"] {
            let (a, b) = (scores(query, None, &whole), scores(query, Some(&disk), &tail));
            let apart = a.iter().map(|(row, s)| (s - b.get(row).unwrap_or(f32::NAN)).abs()).fold(0f32, f32::max);
            assert!(a.iter().count() == b.iter().count() && apart < 1e-5, "{query}: {a:?} {b:?}");
        }
    }
}

#[test]
fn questions_are_known_on_disk_and_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = text_of(Uuid::new_v4(), 4);
    let texts = ["Where do you run?", "By the river.", "你住在哪里？", "Nowhere near here"];
    let mut writer = TextIndexWriter::open(folder.path(), of).expect("a writer");
    (0..2).for_each(|row| writer.insert(row, texts[row as usize]).expect("a text"));
    let disk = writer.commit(2).expect("a commit");
    let mut tail = Tail::default();
    (2..4).for_each(|row| tail.insert(row, texts[row as usize]));
    let renumbered = tail.renumbered(|row| row.checked_sub(2));
    assert_eq!([0, 1].map(|row| renumbered.is_question(row)), [true, false]);
    let all = Texts::new(Some(disk), tail, |_| true);
    assert_eq!([0, 1, 2, 3, 4].map(|row| all.is_question(row)), [true, false, true, false, false]);
}

#[test]
fn an_index_under_a_key_finds_the_same_and_holds_no_word() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    let master = MasterKey::generate().expect("a key");
    let keyring = Keyring::open(&folder.path().join("keys.json"), master, &[]).expect("keys");
    let under = |tenant: &str| TextSource { key: Some(keyring.term_key(tenant).expect("a key")), ..text_of(file, 6) };
    let text = folder.path().join("text");
    let mut writer = TextIndexWriter::open(&text, under("t")).expect("a writer");
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
    let mut writer = TextIndexWriter::open(&clear, text_of(file, 6)).expect("a writer");
    TEXTS.iter().enumerate().for_each(|(row, text)| writer.insert(row as u32, text).expect("room"));
    writer.commit(6).expect("a commit");
    let (words, codes) = (words_on_disk(&clear), words_on_disk(&text));
    assert!(["melani", "dog", "北京", "gpt"].iter().all(|word| words.contains(*word)), "{words:?}");
    assert_eq!((words.len(), words.intersection(&codes).count()), (codes.len(), 0));
    assert!(codes.iter().all(|code| code.len() == 16), "{codes:?}");
    assert!(TextIndex::open(&text, &under("other")).expect("a look").is_none(), "another key's is not used");
    assert!(TextIndex::open(&text, &text_of(file, 6)).expect("a look").is_none());
    assert!(TextIndex::is_under_another_key(&text, &under("other")));
    assert!(!TextIndex::is_under_another_key(&text, &under("t")));
}

#[test]
fn a_text_index_is_used_only_for_its_vector_file_and_committed_rows() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    assert!(TextIndex::open(folder.path(), &text_of(file, 9)).expect("a look").is_none());
    let mut writer = TextIndexWriter::open(folder.path(), text_of(file, 0)).expect("a writer");
    writer.insert(0, "hello").expect("room");
    writer.commit(5).expect("a commit");
    assert_eq!(TextIndex::open(folder.path(), &text_of(file, 5)).expect("a look").map(|d| d.rows()), Some(5));
    assert!(
        TextIndex::open(folder.path(), &text_of(file, 4)).expect("a look").is_none(),
        "it covers rows that are not committed"
    );
    assert!(
        TextIndex::open(folder.path(), &text_of(Uuid::new_v4(), 5)).expect("a look").is_none(),
        "it is of another file"
    );
    assert_eq!(
        TextIndexWriter::open(folder.path(), text_of(Uuid::new_v4(), 5)).expect("a writer").rows().expect("rows"),
        0,
        "and is begun anew"
    );
}

#[test]
fn an_index_of_an_older_analysis_is_built_anew() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
    let mut writer = TextIndexWriter::open(folder.path(), text_of(file, 0)).expect("a writer");
    writer.insert(0, "hello").expect("room");
    writer.commit(1).expect("a commit");
    let open = || TextIndex::open(folder.path(), &text_of(file, 1)).expect("a look").map(|disk| disk.rows());
    assert_eq!((open(), TextIndex::covered(folder.path(), file)), (Some(1), Some(1)));

    // As the version before has left it.
    let meta = folder.path().join("meta.json");
    let mut said: Value = serde_json::from_slice(&std::fs::read(&meta).expect("a list")).expect("JSON");
    let mut mark: Value = serde_json::from_str(said["payload"].as_str().expect("a watermark")).expect("JSON");
    mark["version"] = json!(1);
    said["payload"] = json!(mark.to_string());
    std::fs::write(&meta, said.to_string()).expect("a list");
    let checksum = crc32c::crc32c(said.to_string().as_bytes());
    std::fs::write(folder.path().join("meta.crc"), format!("{checksum:08x}")).expect("a checksum");
    assert_eq!((open(), TextIndex::covered(folder.path(), file)), (None, None));

    let mut writer = TextIndexWriter::open(folder.path(), text_of(file, 1)).expect("a writer");
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
        let mut writer = TextIndexWriter::open(folder.path(), text_of(file, row)).expect("a writer");
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
    assert_eq!(TextIndex::damaged_files(folder.path()).expect("a check"), Vec::<String>::new());
}

/// One step in the life of a collection's texts.
#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    Remove(prop::sample::Index),
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..TEXTS.len()).prop_map(Step::Insert),
        3 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => Just(Step::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Two replicas of the same records answer the same, whatever either has gone through.
    #[test]
    fn the_same_current_texts_have_the_same_scores_whatever_was_removed(steps in prop::collection::vec(step(), 1..60)) {
        let (folder, file) = (tempfile::tempdir().expect("a folder"), Uuid::new_v4());
        let (mut texts, mut current, mut rows) = (Texts::default(), BTreeMap::new(), 0u32);
        for step in steps {
            match step {
                Step::Insert(text) => {
                    texts.insert(rows, TEXTS[text]);
                    current.insert(rows, TEXTS[text]);
                    rows += 1;
                }
                Step::Remove(which) if !current.is_empty() => {
                    let row = *current.keys().nth(which.index(current.len())).expect("a row");
                    current.remove(&row);
                    texts.remove(row);
                }
                Step::Remove(_) => {}
                Step::Commit => {
                    let mut writer = TextIndexWriter::open(folder.path(), text_of(file, rows)).expect("a writer");
                    let from = writer.rows().expect("rows");
                    current.range(from..).for_each(|(&row, text)| writer.insert(row, text).expect("room"));
                    texts.removed_on_disk().into_iter().for_each(|row| writer.remove(row));
                    texts.committed(writer.commit(rows).expect("a commit"));
                }
            }
        }
        let mut fresh = Tail::default();
        current.iter().for_each(|(&row, text)| fresh.insert(row, text));
        let fresh = Texts::new(None, fresh, |row| current.contains_key(&row));
        let reopened = TextIndex::open(folder.path(), &text_of(file, rows)).expect("an index");
        let mut tail = Tail::default();
        let covered = reopened.as_ref().map_or(0, TextIndex::rows);
        current.range(covered..).for_each(|(&row, text)| tail.insert(row, text));
        let reopened = Texts::new(reopened, tail, |row| current.contains_key(&row));
        prop_assert_eq!(texts.totals(), fresh.totals());
        for query in ["running dogs", "北京", "work code", "office morning 冬天"] {
            let scores = |of: &Texts| of.score(&query_terms(query)).expect("scores").iter().collect::<Vec<_>>();
            prop_assert_eq!(scores(&texts), scores(&fresh));
            prop_assert_eq!(scores(&reopened), scores(&fresh));
        }
    }
}
