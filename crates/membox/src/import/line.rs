//! What a value of an import file says.

use membox_api::NewRecord;
use membox_memory::keys::hex;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The members of a JSON object as they are written: numbers keep all their digits.
pub struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let (mut members, mut names) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{name:?} stands in it twice")));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Members {
    /// Reads an object. What is null counts as left out.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| format!("no text from byte {} on", e.valid_up_to()))?;
        let reason = |e: serde_json::Error| if e.is_data() { without_place(&e) } else { format!("no JSON: {e}") };
        let mut members: Self = serde_json::from_str(text).map_err(reason)?;
        members.0.retain(|(_, value)| value.get() != "null");
        Ok(members)
    }

    /// A member as it is written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.get())
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        let read = |json| serde_json::from_str(json).map_err(|_| format!("{name:?} is not a string"));
        self.get(name).map(read).transpose()
    }

    /// A member that is a text and has to be there.
    pub fn needed(&self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| format!("{name:?} is missing"))
    }

    /// A member that is an object and has to be there.
    pub fn object(&self, name: &str) -> Result<Self, String> {
        let json = self.get(name).ok_or_else(|| format!("{name:?} is missing"))?;
        Self::read(json.as_bytes()).map_err(|reason| format!("{name:?}: {reason}"))
    }

    /// Every member with its name, as JSON.
    pub fn entries(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect()
    }

    /// The same without some members.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|(own, _)| !names.contains(&own.as_str()));
        self
    }

    /// The same with another member, given as JSON.
    pub fn with(self, name: &str, json: &serde_json::Value) -> Self {
        let mut members = self.without(&[name]);
        if let Ok(value) = serde_json::value::to_raw_value(json) {
            members.0.push((name.to_owned(), value));
        }
        members
    }

    /// The object with a member of another one as it is written there, if that has it.
    pub fn with_written(self, name: &str, from: &Self) -> Self {
        let found = from.0.iter().find(|(own, _)| own == name).cloned();
        let mut members = if found.is_some() { self.without(&[name]) } else { self };
        members.0.extend(found);
        members
    }

    /// The object.
    pub fn json(&self) -> String {
        let members = self.0.iter().map(|(name, value)| format!("{}:{}", serde_json::json!(name), value.get()));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// What is wrong, without where: the place is that in what is sent, and not in the file.
fn without_place(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    reason.rsplit_once(" at line ").map_or(reason.clone(), |(reason, _)| reason.to_owned())
}

/// A record of an import file, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLine {
    /// Which collection it goes to.
    pub collection: String,
    /// The record as JSON.
    pub json: String,
    /// What its collection is made with, if it is not there yet, as JSON.
    pub settings: String,
}

/// Gives records without an id one: the same in each import of the same lines, so that none of them is there twice.
#[derive(Default)]
pub struct LineIds {
    seen: HashMap<[u8; 16], u32>,
}

impl LineIds {
    /// The id of a line: `line-` and the beginning of a SHA-256 of its collection, its bytes, and how many lines of
    /// the same were before it.
    fn of(&mut self, collection: &str, bytes: &[u8]) -> String {
        let content = Sha256::new().chain_update(collection).chain_update([0]).chain_update(bytes.trim_ascii());
        let mut key = [0; 16];
        key.copy_from_slice(&content.clone().finalize()[..16]);
        let before = self.seen.entry(key).or_default();
        let id = content.chain_update([0]).chain_update(before.to_le_bytes()).finalize();
        *before += 1;
        format!("line-{}", hex(&id[..16]))
    }
}

impl RecordLine {
    /// Reads a record as it is written to a file by hand or by a program: the fields of the API, and `collection`.
    pub fn read(
        members: Members,
        bytes: &[u8],
        default_collection: Option<&str>,
        ids: &mut LineIds,
    ) -> Result<Self, String> {
        let collection = match members.text("collection")? {
            Some(name) => name,
            None => default_collection.ok_or("it names no collection; give one by --collection")?.to_owned(),
        };
        let mut members = members.without(&["collection"]);
        if members.get("id").is_none() {
            let id = ids.of(&collection, bytes);
            members = members.with("id", &id.into());
        }
        Self::checked(collection, members.json())
    }

    /// Holds a record against what the API takes: a field that is not known is refused, and not ignored.
    pub fn checked(collection: String, json: String) -> Result<Self, String> {
        let record: NewRecord = serde_json::from_str(&json).map_err(|error| without_place(&error))?;
        let dimension = record.vector.map(|vector| format!("{{\"dimension\":{}}}", vector.len()));
        Ok(Self { collection, json, settings: dimension.unwrap_or_else(|| "{}".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(line: &str, ids: &mut LineIds) -> Result<RecordLine, String> {
        RecordLine::read(Members::read(line.as_bytes())?, line.as_bytes(), Some("c"), ids)
    }

    fn id(line: &RecordLine) -> String {
        let record: Value = serde_json::from_str(&line.json).expect("JSON");
        record["id"].as_str().expect("an id").to_owned()
    }

    #[test]
    fn lines_without_ids_get_the_same_ones_in_each_import() {
        let lines = ["{\"text\":\"a\"}", "{\"text\":\"b\"}", "{\"text\":\"a\"}", "{\"id\":\"x\",\"text\":\"a\"}"];
        let import = || {
            let mut ids = LineIds::default();
            lines.map(|line| id(&read(line, &mut ids).expect("a record")))
        };
        let first = import();
        assert_eq!(first, import());
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 4, "equal lines are records of their own: {first:?}");
        assert_eq!(first[3], "x");
        let elsewhere = RecordLine::read(
            Members::read(lines[0].as_bytes()).expect("members"),
            lines[0].as_bytes(),
            Some("d"),
            &mut LineIds::default(),
        );
        assert_ne!(id(&elsewhere.expect("a record")), first[0]);
    }

    #[test]
    fn what_is_sent_is_what_is_written() {
        let line = "{\"id\": \"1\", \"text\": \"x\", \"user\": null, \"metadata\": {\"n\": \
                    12345678901234567890123, \"m\": 1.0}, \"collection\": \"other\"}";
        let read = read(line, &mut LineIds::default()).expect("a record");
        assert_eq!(read.collection, "other");
        assert!(read.json.contains("12345678901234567890123") && !read.json.contains("user"), "{}", read.json);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, reason) in [
            ("{\"text\": 3}", "string"),
            ("{\"txt\": \"x\"}", "unknown field `txt`"),
            ("{\"text\": \"x\", \"text\": \"y\"}", "twice"),
            ("[1]", "a JSON object"),
            ("{\"text\": \"x\"", "EOF"),
            ("{\"text\": \"x\", \"collection\": 3}", "\"collection\" is not a string"),
        ] {
            let error = read(line, &mut LineIds::default()).expect_err("it is wrong");
            assert!(error.contains(reason), "{line}: {error}");
        }
        let nowhere =
            RecordLine::read(Members::read(b"{\"text\": \"x\"}").expect("members"), b"", None, &mut LineIds::default());
        assert!(nowhere.expect_err("it is wrong").contains("--collection"));
    }

    proptest! {
        #[test]
        fn members_are_given_back_as_they_were(
            text in "\\PC{0,20}",
            n in any::<f64>().prop_filter("a number", |n| n.is_finite()),
        ) {
            let object = json!({"text": text, "metadata": {"n": n, "name \" of it": [text]}});
            let members = Members::read(object.to_string().as_bytes()).expect("members");
            prop_assert_eq!(serde_json::from_str::<Value>(&members.json()).expect("JSON"), object);
        }
    }
}
