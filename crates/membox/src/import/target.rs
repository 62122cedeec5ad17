//! The box that is written to: what goes to one place goes there in batches, in its order, and one that is refused
//! does not take the others with it.

use super::archive::{BlobLine, CheckpointLine, SessionLine};
use super::items::Item;
use super::progress_file::ReadSoFar;
use super::refused::Refused;
use crate::client::{Client, Refusal, in_path};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Bytes of a request, unless one value alone has more.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Bytes of all batches that are not full yet.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Batches that are not full yet: as many collections or sessions are written to in turn without smaller requests.
const MAX_WAITING_BATCHES: usize = 256;

/// Where values go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The records of a collection.
    Collection(String),
    /// The messages of a session.
    Session(String),
}

/// A value on its way.
pub struct Waiting {
    pub item: Item,
    /// What was read before it.
    pub before: ReadSoFar,
    /// It as the API takes it.
    pub json: String,
    /// What its collection is made with, if it is not there yet, as JSON.
    pub settings: String,
}

#[derive(Default)]
struct Batch {
    waiting: Vec<Waiting>,
    bytes: usize,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Records and messages that were not there before.
    pub new: u64,
    /// Those that were there, and are written again or left as they are.
    pub again: u64,
    /// Sessions, checkpoints and inputs of queues.
    pub others: u64,
}

/// A box and what is to be sent to it.
pub struct Target<'a> {
    client: &'a Client,
    batch: usize,
    batches: BTreeMap<Place, Batch>,
    bytes: usize,
    /// When each collection was made, or why it cannot be written to.
    collections: HashMap<String, Result<String, String>>,
    /// The user and the collection of sessions.
    sessions: HashMap<String, (Option<String>, String)>,
    /// Inputs that wait in the queues of sessions already.
    queues: HashMap<String, Vec<Value>>,
    is_strict: bool,
    /// Where a refusal has ended a strict import: what waits for it stays.
    stopped: Option<Place>,
    pub written: Written,
    pub refused: Refused,
}

impl<'a> Target<'a> {
    pub fn new(client: &'a Client, batch: usize, is_strict: bool, refused: Refused) -> Self {
        Self {
            client,
            batch,
            batches: BTreeMap::new(),
            bytes: 0,
            collections: HashMap::new(),
            sessions: HashMap::new(),
            queues: HashMap::new(),
            is_strict,
            stopped: None,
            written: Written::default(),
            refused,
        }
    }

    /// Notes that a value is refused.
    pub fn refuse(&mut self, item: &Item, reason: &str) -> Result<()> {
        self.refused.record(item, reason);
        if self.is_strict {
            bail!("line {}: {reason} (--strict: the import ends here)", item.line);
        }
        Ok(())
    }

    /// Takes a value to be sent with others to the same place. Whether something was sent.
    pub fn add(&mut self, place: Place, waiting: Waiting) -> Result<bool> {
        let bytes = waiting.json.len() + waiting.item.bytes.len();
        let is_too_much = |batch: &Batch| batch.bytes > 0 && batch.bytes + waiting.json.len() > MAX_BATCH_BYTES;
        let mut sent = false;
        if self.batches.get(&place).is_some_and(is_too_much) {
            self.send(&place)?;
            sent = true;
        }
        self.bytes += bytes;
        let batch = self.batches.entry(place.clone()).or_default();
        batch.bytes += waiting.json.len();
        batch.waiting.push(waiting);
        if batch.waiting.len() >= self.batch {
            self.send(&place)?;
            sent = true;
        }
        while self.bytes > MAX_WAITING_BYTES || self.batches.len() > MAX_WAITING_BATCHES {
            // That which has waited longest: the import goes on from it if it is interrupted.
            let Some(place) = self.oldest().map(|(place, _)| place.clone()) else { break };
            self.send(&place)?;
            sent = true;
        }
        Ok(sent)
    }

    fn oldest(&self) -> Option<(&Place, &ReadSoFar)> {
        let firsts = self.batches.iter().filter_map(|(place, batch)| Some((place, &batch.waiting.first()?.before)));
        firsts.min_by_key(|(_, before)| before.items)
    }

    /// Up to where all that was read is done, if something still waits.
    pub fn done(&self) -> Option<ReadSoFar> {
        self.oldest().map(|(_, before)| *before)
    }

    /// Sends all that waits.
    pub fn flush(&mut self) -> Result<()> {
        let places: Vec<Place> =
            self.batches.keys().filter(|&place| Some(place) != self.stopped.as_ref()).cloned().collect();
        places.iter().try_for_each(|place| self.send(place))
    }

    /// Sends what waits for a session: what is said of it next comes after.
    pub fn flush_session(&mut self, session: &str) -> Result<()> {
        self.send(&Place::Session(session.to_owned()))
    }

    /// Whether a collection is the one that was made at a time.
    pub fn was_made(&mut self, collection: &str, at: &str) -> Result<bool> {
        Ok(self.look(collection)?.is_some_and(|made| made == at))
    }

    /// When the collections were made that were written to.
    pub fn made(&self) -> BTreeMap<String, String> {
        let made = self.collections.iter().filter_map(|(name, made)| Some((name.clone(), made.clone().ok()?)));
        made.collect()
    }

    fn look(&self, name: &str) -> Result<Option<String>> {
        match self.client.call("GET", &format!("/v1/collections/{}", in_path(name)), &Value::Null) {
            Ok(view) => Ok(Some(view["created_at"].as_str().unwrap_or_default().to_owned())),
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if is_about_content(refusal.status) || refusal.status == 404 => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Finds a collection, or makes it with some settings. Gives why it cannot be had.
    fn collection(&mut self, name: &str, settings: &str) -> Result<Result<(), String>> {
        if !self.collections.contains_key(name) {
            let found = match self.look(name)? {
                Some(made) => Ok(made),
                None => {
                    let path = format!("/v1/collections/{}", in_path(name));
                    match self.client.call_with("PUT", &path, settings.as_bytes()) {
                        Ok(view) => Ok(view["created_at"].as_str().unwrap_or_default().to_owned()),
                        Err(error) => Err(refusal(error)?.detail),
                    }
                }
            };
            self.collections.insert(name.to_owned(), found);
        }
        Ok(self.collections[name].as_ref().map(drop).map_err(|reason| format!("collection {name:?}: {reason}")))
    }

    /// Sends what waits for a place.
    fn send(&mut self, place: &Place) -> Result<()> {
        let Some(Batch { waiting, .. }) = self.batches.remove(place) else { return Ok(()) };
        self.bytes -= waiting.iter().map(|w| w.json.len() + w.item.bytes.len()).sum::<usize>();
        let (path, field, before) = match place {
            Place::Collection(name) => {
                let settings = waiting.first().map_or("{}", |waiting| waiting.settings.as_str());
                if let Err(reason) = self.collection(name, settings)? {
                    return waiting.iter().try_for_each(|waiting| self.refuse(&waiting.item, &reason));
                }
                (format!("/v1/collections/{}/records", in_path(name)), "records", String::new())
            }
            Place::Session(id) => {
                // Of somebody else's session of the same name, the box refuses them.
                let known = self.sessions.get(id);
                let user = known.and_then(|known| known.0.as_ref()).map(|user| format!("\"user\":{},", json!(user)));
                let collection = known.map(|known| format!("\"collection\":{},", json!(known.1)));
                let before = user.into_iter().chain(collection).collect::<String>();
                (format!("/v1/sessions/{}/messages", in_path(id)), "messages", before)
            }
        };
        let mut groups = vec![waiting];
        let sent = self.send_groups(&mut groups, &path, field, &before);
        if sent.is_err() {
            // What was not sent is not done.
            let waiting: Vec<Waiting> = groups.into_iter().rev().flatten().collect();
            self.bytes += waiting.iter().map(|w| w.json.len() + w.item.bytes.len()).sum::<usize>();
            self.batches.insert(place.clone(), Batch { waiting, bytes: 0 });
            self.stopped = Some(place.clone());
        }
        sent
    }

    /// Sends groups of values, the last one first. One that is refused is taken out; what is left in them at an error
    /// was not sent.
    fn send_groups(&mut self, groups: &mut Vec<Vec<Waiting>>, path: &str, field: &str, before: &str) -> Result<()> {
        while let Some(group) = groups.last_mut() {
            if group.is_empty() {
                groups.pop();
                continue;
            }
            let values: Vec<&str> = group.iter().map(|waiting| waiting.json.as_str()).collect();
            let body = format!("{{{before}\"{field}\":[{}]}}", values.join(","));
            let refusal = match self.client.call_with("POST", path, body.as_bytes()) {
                Ok(answer) => {
                    groups.pop();
                    self.count(&answer[field]);
                    continue;
                }
                Err(error) => refusal(error)?,
            };
            let wrong = refusal.pointer.strip_prefix(&format!("/{field}/")).and_then(|rest| {
                let (index, pointer) = rest.split_once('/').unwrap_or((rest, ""));
                Some((index.parse::<usize>().ok().filter(|&index| index < group.len())?, pointer.to_owned()))
            });
            match wrong {
                // Those before it first.
                Some((index, _)) if self.is_strict && index > 0 => split(groups, index),
                Some((index, pointer)) => {
                    let name = if pointer.is_empty() { String::new() } else { format!("/{pointer}: ") };
                    self.refuse(&group[index].item, &format!("{name}{}", refusal.detail))?;
                    group.remove(index);
                }
                // It is about the place, and holds for each of them.
                None if group.len() == 1 || refusal.status == 409 => {
                    group.iter().try_for_each(|waiting| self.refuse(&waiting.item, &refusal.detail))?;
                    groups.pop();
                }
                None => {
                    let half = group.len() / 2;
                    split(groups, half);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, answers: &Value) {
        for answer in answers.as_array().into_iter().flatten() {
            let is_new = match answer["version"].as_u64() {
                Some(version) => version == 1,
                None => !answer["seq"].is_null(),
            };
            if is_new {
                self.written.new += 1;
            } else {
                self.written.again += 1;
            }
        }
    }

    /// Does what stands alone, and notes the value if the box refuses it.
    fn alone(&mut self, item: &Item, method: &str, path: &str, body: &str) -> Result<Option<Value>> {
        self.alone_with(item, method, path, body.as_bytes())
    }

    fn alone_with(&mut self, item: &Item, method: &str, path: &str, body: &[u8]) -> Result<Option<Value>> {
        match self.client.call_with(method, path, body) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                let refusal = refusal(error)?;
                let named = if refusal.pointer.is_empty() { String::new() } else { format!("{}: ", refusal.pointer) };
                self.refuse(item, &format!("{named}{}", refusal.detail))?;
                Ok(None)
            }
        }
    }

    /// Makes a session, or changes it to what a line says of it.
    pub fn put_session(&mut self, item: &Item, session: SessionLine) -> Result<()> {
        if let Err(reason) = self.collection(&session.collection, "{}")? {
            return self.refuse(item, &reason);
        }
        let path = format!("/v1/sessions/{}", in_path(&session.id));
        self.know_session(&session);
        if self.alone(item, "PUT", &path, &session.settings)?.is_some() {
            self.written.others += 1;
        }
        Ok(())
    }

    /// Remembers whose a session is, for its messages.
    pub fn know_session(&mut self, session: &SessionLine) {
        self.sessions.insert(session.id.clone(), (session.user.clone(), session.collection.clone()));
    }

    /// Puts an input into a session's queue, unless it waits there already.
    pub fn push(&mut self, item: &Item, session: &str, payload: &str) -> Result<()> {
        let path = format!("/v1/sessions/{}/queue", in_path(session));
        if !self.queues.contains_key(session) {
            let waiting = self.queue(&path)?;
            self.queues.insert(session.to_owned(), waiting);
        }
        let value: Value = serde_json::from_str(payload)?;
        let waiting = self.queues.entry(session.to_owned()).or_default();
        if let Some(place) = waiting.iter().position(|own| *own == value) {
            waiting.swap_remove(place);
            self.written.again += 1;
            return Ok(());
        }
        if self.alone(item, "POST", &path, &format!("{{\"items\":[{payload}]}}"))?.is_some() {
            self.written.others += 1;
        }
        Ok(())
    }

    /// What waits in a queue.
    fn queue(&self, path: &str) -> Result<Vec<Value>> {
        let (mut waiting, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map(|cursor| format!("&cursor={}", in_path(&cursor))).unwrap_or_default();
            let page = match self.client.call("GET", &format!("{path}?limit=1000{after}"), &Value::Null) {
                Err(error) => {
                    // Of a session that is not there nothing waits.
                    return refusal(error).map(|_| waiting);
                }
                Ok(page) => page,
            };
            let items = page["items"].as_array().cloned().unwrap_or_default();
            waiting.extend(items.into_iter().map(|mut item| item["payload"].take()));
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(waiting);
            }
        }
    }

    /// Writes the value of a channel of a thread.
    pub fn put_blob(&mut self, item: &Item, blob: &BlobLine) -> Result<()> {
        let [thread, channel, version] = [&blob.thread, &blob.channel, &blob.version].map(|name| in_path(name));
        let [namespace, kind] = [&blob.namespace, &blob.kind].map(|name| in_path(name));
        let path = format!("/v1/threads/{thread}/blobs/{channel}/{version}?namespace={namespace}&type={kind}");
        if self.alone_with(item, "PUT", &path, &blob.data)?.is_some() {
            self.written.others += 1;
        }
        Ok(())
    }

    /// Writes a checkpoint, with what tasks have written towards the next one.
    pub fn put_checkpoint(&mut self, item: &Item, checkpoint: &CheckpointLine) -> Result<()> {
        let (thread, id) = (in_path(&checkpoint.thread), in_path(&checkpoint.id));
        let (path, namespace) = (format!("/v1/threads/{thread}/checkpoints/{id}"), in_path(&checkpoint.namespace));
        if let Some(body) = &checkpoint.body
            && self.alone(item, "PUT", &format!("{path}?namespace={namespace}"), body)?.is_none()
        {
            return Ok(());
        }
        for (task, writes) in &checkpoint.writes {
            let path = format!("{path}/writes/{}?namespace={namespace}", in_path(task));
            self.alone(item, "PUT", &path, &format!("{{\"writes\":{writes}}}"))?;
        }
        self.written.others += 1;
        Ok(())
    }
}

/// Parts the last group, so that what is before a place in it comes first.
fn split(groups: &mut Vec<Vec<Waiting>>, at: usize) {
    let Some(mut first) = groups.pop() else { return };
    let second = first.split_off(at);
    groups.extend([second, first]);
}

/// Whether a status says that what was sent is wrong, and not that the box cannot do it now.
fn is_about_content(status: u16) -> bool {
    matches!(status, 400 | 409 | 412 | 413 | 422)
}

/// The refusal that an error is, if it is one of what was sent; other errors end the import.
fn refusal(error: anyhow::Error) -> Result<Refusal> {
    match error.downcast::<Refusal>() {
        Ok(refusal) if is_about_content(refusal.status) => Ok(refusal),
        Ok(other) => Err(other.into()),
        Err(error) => Err(error),
    }
}
