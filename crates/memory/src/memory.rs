//! The box: one data folder, one encoder, and the threads that write and look after it.

use crate::answers::Answers;
use crate::box_key::BoxKey;
use crate::collection::Collection;
use crate::convert::{compress_options, compression};
use crate::encryption::{Changing, EncryptionConfig, open_sealing};
use crate::input::{add_keywords, apply_patch, count_tokens, forget_keywords};
use crate::jobs::Jobs;
use crate::maintenance::Maintenance;
use crate::pipeline::{Pipeline, is_made};
use crate::policy::{Policies, Policy};
use crate::recall::QueryVector;
use crate::redaction::{Known, redact_record, redacted, redacted_changes};
use crate::settings::check_name;
use crate::shared::{PooledReader, Shared};
use crate::users::event;
use crate::views::record_view;
use crate::work::{Along, Doomed, Upsert, Work, Write, ask, transact};
use crate::writer::Writer;
use crate::{MemoryError, now};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use membox_api::{CompressOptions, NewRecord, RecordPatch, RecordView, Timing, WrittenRecord};
use membox_compressor::{CompressedText, Compressor};
use membox_encoder::{DEFAULT_MAX_TOKENS, Embeddings, Encoder, EncoderError, Inputs, Lane, Request, Wanted};
use membox_index::RowDevice;
use membox_llm::Llm;
use membox_records::{
    Filter, Group, Order, Position, Record, RecordsError, Sealing, Store, StoredCollection, StoredRecord,
};
use membox_redaction::Counts;
use membox_threads::spawn;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Records of one upsert.
pub const MOST_RECORDS: usize = 2048;
/// Requests that may wait for the writer.
const WRITER_QUEUE: usize = 1024;
/// An upsert of at most this many texts is embedded in the interactive lane: somebody is waiting in a conversation.
const INTERACTIVE_RECORDS: usize = 4;
/// Times that a patch is tried again when another write came between its reading and its writing.
const PATCH_TRIES: usize = 16;

/// Collections that are kept open by default.
pub const OPEN_COLLECTIONS: usize = 512;

/// Answers that are remembered for each tenant by default.
pub const ANSWER_CACHE: usize = 1000;

/// How a box is set up.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// The data folder; created if it is not there.
    pub data_dir: PathBuf,
    /// Connections that read records at the same time.
    pub readers: usize,
    /// Threads of an index build.
    pub build_threads: usize,
    /// Collections that are kept open while nobody uses them; an open one holds a file, a map, and what recall needs in memory.
    pub open_collections: usize,
    /// Answers to questions that are remembered for each tenant; 0 for none.
    pub answer_cache: usize,
    /// What holds for tenants where their requests say nothing.
    pub policies: Policies,
    /// With what texts and metadata are sealed; `None` where they are not.
    pub encryption: Option<EncryptionConfig>,
    /// Where vectors of large collections may be searched, such as a card.
    pub row_device: Option<Arc<dyn RowDevice>>,
}

impl MemoryConfig {
    /// The defaults for a data folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = (cores * 4).clamp(8, 64);
        let (open_collections, policies) = (OPEN_COLLECTIONS, Policies::default());
        let data_dir = data_dir.into();
        Self {
            data_dir,
            readers,
            build_threads: cores,
            open_collections,
            policies,
            answer_cache: ANSWER_CACHE,
            encryption: None,
            row_device: None,
        }
    }
}

/// The models of a box.
#[derive(Clone, Default)]
pub struct Models {
    /// The embedding model; without one, only given vectors can be written and asked for.
    pub encoder: Option<Arc<Encoder>>,
    /// The models that compress; the first does it where none is named.
    pub compressors: Vec<Arc<Compressor>>,
    /// What extracts facts and decides on memories; without one, what was said is compressed and doubles are merged.
    pub llm: Option<Arc<Llm>>,
}

/// A memory box. Shared by reference between threads; dropping it drains what was accepted and stops its threads.
pub struct MemoryBox {
    shared: Arc<Shared>,
    models: Models,
    jobs: Jobs,
    answers: Answers,
    box_key: BoxKey,
    pipeline: Pipeline,
    policies: Policies,
    sealing: Sealing,
    changing: Arc<Changing>,
    build_threads: usize,
    writer: Sender<Work>,
    /// Dropped to stop the background work.
    stop: Option<Sender<()>>,
    writer_thread: Option<JoinHandle<()>>,
    maintenance_thread: Option<JoinHandle<()>>,
    /// Holds the data folder's lock for as long as the box lives.
    _lock: File,
}

/// Takes the lock of a data folder, or says who has it.
pub(crate) fn lock(root: &Path) -> Result<File, MemoryError> {
    let path = root.join("membox.lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(MemoryError::io("open", &path))?;
    take_lock(file, root)
}

/// As [`lock`], for who leaves the folder as it is: `None` where no box has ever had it open.
pub(crate) fn lock_unchanged(root: &Path) -> Result<Option<File>, MemoryError> {
    let path = root.join("membox.lock");
    match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => take_lock(opened.map_err(MemoryError::io("open", &path))?, root).map(Some),
    }
}

fn take_lock(file: File, root: &Path) -> Result<File, MemoryError> {
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(MemoryError::Locked(root.to_owned())),
        Err(error) => Err(MemoryError::io("lock", root)(error.into())),
    }
}

impl MemoryBox {
    /// Opens a data folder, alone: another process that tries finds it locked.
    pub fn open(config: &MemoryConfig, models: Models) -> Result<Self, MemoryError> {
        let root = config.data_dir.clone();
        let collections = root.join("collections");
        std::fs::create_dir_all(&collections).map_err(MemoryError::io("create", &collections))?;
        let lock = lock(&root)?;
        let sealing = open_sealing(config)?;
        let store = Store::open(&root.join("membox.db"), sealing.clone())?;
        let stored = store.reader()?.collections()?;
        remove_unknown_folders(&collections, &stored);
        let readers = (0..config.readers.max(2)).map(|_| store.reader()).collect::<Result<_, _>>()?;

        let (maintenance, due) = unbounded();
        let shared = Arc::new(Shared::new(
            root.clone(),
            stored,
            readers,
            maintenance,
            config.open_collections.max(1),
            config.row_device.clone(),
            crate::backup::lock_file(&root)?,
        ));
        let (writer, work): (Sender<Work>, Receiver<Work>) = bounded(WRITER_QUEUE);
        let (stop, stopped) = bounded(0);
        let running = Writer { store, shared: shared.clone() };
        let writer_thread =
            spawn("writer", move || running.run(&work)).map_err(MemoryError::io("start a thread for", &root))?;
        let tending = Maintenance {
            shared: shared.clone(),
            writer: writer.clone(),
            stop: stopped,
            threads: config.build_threads,
        };
        let maintenance_thread =
            spawn("maintenance", move || tending.run(&due)).map_err(MemoryError::io("start a thread for", &root))?;
        let memory = Self {
            shared,
            models,
            jobs: Jobs::default(),
            answers: Answers::new(config.answer_cache),
            box_key: BoxKey::new(&root),
            pipeline: Pipeline::default(),
            policies: config.policies.clone(),
            sealing,
            changing: Arc::default(),
            build_threads: config.build_threads,
            writer,
            stop: Some(stop),
            writer_thread: Some(writer_thread),
            maintenance_thread: Some(maintenance_thread),
            _lock: lock,
        };
        memory.resume_budget()?;
        Ok(memory)
    }

    /// The encoder, if a model is installed.
    pub fn encoder(&self) -> Result<&Arc<Encoder>, MemoryError> {
        self.models.encoder.as_ref().ok_or(MemoryError::NoModel)
    }

    /// A model that compresses, by its name or how that begins (`keep-head`, `llmlingua-2`); the box's first where none is named.
    pub fn compressor(&self, name: Option<&str>) -> Result<&Arc<Compressor>, MemoryError> {
        let known = &self.models.compressors;
        let found = match name {
            None => known.first(),
            Some(name) => known.iter().find(|c| c.name() == name).or(known.iter().find(|c| c.name().starts_with(name))),
        };
        found.ok_or_else(|| MemoryError::NoCompressor {
            name: name.unwrap_or("compression model").to_owned(),
            loaded: self.compressors().iter().map(|c| c.name().to_owned()).collect(),
        })
    }

    /// The models that compress.
    pub fn compressors(&self) -> &[Arc<Compressor>] {
        &self.models.compressors
    }

    /// The language models, if any are set up.
    pub fn llm(&self) -> Option<&Llm> {
        self.models.llm.as_deref()
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.shared.root
    }

    /// Why the box takes no writes any more, if so.
    pub fn read_only(&self) -> Option<String> {
        self.shared.read_only()
    }

    /// Why the box cannot do its work for now, if so.
    pub fn check_ready(&self) -> Result<(), MemoryError> {
        if let Some(reason) = self.read_only() {
            return Err(MemoryError::ReadOnly(reason));
        }
        if let Some(reason) = self.shared.broken() {
            return Err(MemoryError::Broken(reason));
        }
        self.shared.check_files()?;
        self.encoder().map(drop)
    }

    /// What fails again and again in the background, and is tried further; requests are answered all the same.
    pub fn troubles(&self) -> Vec<String> {
        self.shared.troubles()
    }

    /// Long work, by id.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn build_threads(&self) -> usize {
        self.build_threads
    }

    /// Has the writer do what concerns the record store alone. When it returns that is durable.
    pub(crate) fn transact<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Group) -> Result<T, MemoryError> + Send + 'static,
    ) -> Result<T, MemoryError> {
        transact(&self.writer, write)
    }

    /// What holds for a tenant where its requests say nothing.
    pub fn policy(&self, tenant: &str) -> &Policy {
        self.policies.of(tenant)
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// How often an answer was remembered, and how often it was not.
    pub fn answer_counts(&self) -> (u64, u64) {
        self.answers.counts()
    }

    /// Forgets what a tenant has asked, what it was answered, and what it has said of late.
    pub(crate) fn forget_questions(&self, tenant: &str) {
        self.answers.forget(tenant);
        if let Ok(encoder) = self.encoder() {
            encoder.forget_queries(tenant);
        }
        self.pipeline.forget(tenant);
    }

    pub(crate) fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    pub(crate) fn changing(&self) -> &Arc<Changing> {
        &self.changing
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) fn box_key(&self) -> &BoxKey {
        &self.box_key
    }

    pub(crate) fn writer(&self) -> &Sender<Work> {
        &self.writer
    }

    /// An open collection.
    pub fn collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, MemoryError> {
        check_name(name)?;
        self.shared.collection(tenant, name)
    }

    /// The collections that are open, for metrics.
    pub fn open_collections(&self) -> Vec<Arc<Collection>> {
        self.shared.opened()
    }

    /// Writes records. When it returns they are durable and can be recalled; on an error none of them was kept.
    pub fn upsert(&self, tenant: &str, name: &str, records: Vec<NewRecord>) -> Result<Vec<WrittenRecord>, MemoryError> {
        self.remember(tenant, name, records, None)
    }

    /// Writes records of which, if `compress` says so, the texts are compressed first: their vectors are still those of the whole texts,
    /// and with the keep head one pass of the model gives both.
    pub fn remember(
        &self,
        tenant: &str,
        name: &str,
        records: Vec<NewRecord>,
        compress: Option<&CompressOptions>,
    ) -> Result<Vec<WrittenRecord>, MemoryError> {
        if records.is_empty() || records.len() > MOST_RECORDS {
            let reason = format!("{} records; 1 to {MOST_RECORDS} can be written at once", records.len());
            return Err(MemoryError::impossible("/records", reason));
        }
        let collection = self.collection(tenant, name)?;
        let settings = collection.settings();
        let mut upserts = Vec::with_capacity(records.len());
        for (i, record) in records.into_iter().enumerate() {
            upserts.push(self.to_upsert(&collection, &settings, record, None, &format!("/records/{i}"))?);
        }
        let mut compressed = Vec::new();
        if let Some(options) = compress {
            compressed = self.compress_texts(&collection, &mut upserts, options)?;
        }
        self.embed_missing(&collection, &mut upserts)?;
        let redaction = settings.redaction.unwrap_or_default();
        for (upsert, compressed) in upserts.iter_mut().zip(&compressed) {
            // Digits that stood apart may stand together now.
            upsert.record.text = redacted(&redaction, compressed.compressed_prompt.clone());
        }
        let ids: Vec<String> = upserts.iter().map(|u| u.record.id.clone()).collect();
        let write = |reply| Work::Write(Write::Upsert { collection, records: upserts, along: Along::default(), reply });
        let versions = ask(&self.writer, write)?;
        let mut compressed = compressed.iter().map(compression);
        let written = |(id, version)| WrittenRecord { id, version, compression: compressed.next() };
        Ok(ids.into_iter().zip(versions).map(written).collect())
    }

    /// Compresses the texts of records, and sets the vectors of those that have none where the same pass gives them.
    fn compress_texts(
        &self,
        collection: &Collection,
        upserts: &mut [Upsert],
        options: &CompressOptions,
    ) -> Result<Vec<CompressedText>, MemoryError> {
        let compressor = self.compressor(None)?;
        let options = &compress_options(options);
        let lane = lane(upserts.len());
        let texts: Vec<String> = upserts.iter().map(|u| u.record.text.clone()).collect();
        let is_own = compressor.embeds() && collection.settings().model.as_deref() == Some(compressor.encoder().name());
        if !is_own {
            let documents: Vec<Vec<String>> = texts.into_iter().map(|text| vec![text]).collect();
            return Ok(compressor.compress_many(&documents, options, lane)?);
        }
        let mut answers = Vec::with_capacity(texts.len());
        for (upsert, remembered) in upserts.iter_mut().zip(compressor.remember(&texts, options, lane)?) {
            if upsert.vector.is_empty() {
                upsert.vector = remembered.vector;
            }
            answers.push(remembered.compressed);
        }
        Ok(answers)
    }

    /// Embeds the texts of the records that have no vector yet.
    pub(crate) fn embed_missing(&self, collection: &Collection, upserts: &mut [Upsert]) -> Result<(), MemoryError> {
        let missing: Vec<usize> = (0..upserts.len()).filter(|&i| upserts[i].vector.is_empty()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let encoder = self.encoder_of(collection)?;
        let lane = lane(missing.len());
        let texts = missing.iter().map(|&i| upserts[i].record.text.clone()).collect();
        let vectors = encoder.embed(texts, lane)?;
        for (&i, vector) in missing.iter().zip(vectors.rows()) {
            upserts[i].vector = vector.to_vec();
        }
        Ok(())
    }

    /// The encoder, if it is the one that a collection's texts are embedded by.
    pub(crate) fn encoder_of(&self, collection: &Collection) -> Result<&Arc<Encoder>, MemoryError> {
        let encoder = self.encoder()?;
        let settings = collection.settings();
        match settings.model.as_deref() {
            Some(model) if model == encoder.name() => Ok(encoder),
            Some(model) => {
                let reason = format!("the collection was embedded by {model:?} and this box runs {:?}", encoder.name());
                Err(MemoryError::impossible("/text", reason))
            }
            None => {
                let reason = "the collection takes given vectors only: its dimension is not the model's";
                Err(MemoryError::impossible("/text", reason))
            }
        }
    }

    /// Vectors of questions, from the cache of the tenant where they are there.
    pub(crate) fn embed_queries(
        &self,
        tenant: &str,
        collection: &Collection,
        texts: &[&String],
        timing: &mut Timing,
    ) -> Result<Vec<QueryVector>, MemoryError> {
        let encoder = self.encoder_of(collection)?;
        let mut vectors: Vec<Option<QueryVector>> = texts.iter().map(|t| encoder.cached_query(tenant, t)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| vectors[i].is_none()).collect();
        if !missing.is_empty() {
            let texts_missing = missing.iter().map(|&i| texts[i].clone()).collect();
            let answer: Embeddings = encoder.embed(texts_missing, Lane::Interactive)?;
            (timing.tokenize, timing.queue, timing.encode) = (answer.tokenize, answer.queue, answer.encode);
            for (&i, vector) in missing.iter().zip(answer.rows()) {
                let vector: QueryVector = vector.into();
                encoder.cache_query(tenant, texts[i], vector.clone());
                vectors[i] = Some(vector);
            }
        }
        Ok(vectors.into_iter().flatten().collect())
    }

    /// Encodes texts or tokens for a caller who wants the vectors themselves.
    pub fn embed(
        &self,
        inputs: Inputs,
        max_tokens: Option<usize>,
        normalize: bool,
        lane: Lane,
    ) -> Result<Embeddings, MemoryError> {
        let max_tokens = max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        Ok(self.encoder()?.encode(Request { inputs, max_tokens, wanted: Wanted::vectors(normalize), lane })?)
    }

    /// A record by its id.
    pub fn record(&self, tenant: &str, name: &str, id: &str) -> Result<RecordView, MemoryError> {
        let collection = self.collection(tenant, name)?;
        Ok(record_view(self.stored(&collection, id)?))
    }

    fn stored(&self, collection: &Collection, id: &str) -> Result<StoredRecord, MemoryError> {
        let stored = self.shared.reader()?.record(collection.id, id)?;
        let stored = stored.filter(|s| s.record.is_alive(now()));
        stored.map_or_else(|| collection.check_there().and(Err(MemoryError::NoRecord(id.to_owned()))), Ok)
    }

    /// A page of records, and where the next one begins; `None` after the last.
    pub fn page(
        &self,
        tenant: &str,
        name: &str,
        order: Order,
        after: Option<Position>,
        limit: usize,
        filter: Option<&Value>,
    ) -> Result<(Vec<RecordView>, Option<Position>), MemoryError> {
        let collection = self.collection(tenant, name)?;
        let filter = filter.map(|f| Filter::parse(f, "/filter")).transpose()?;
        let reader = self.shared.reader()?;
        let now = now();
        let is_alive = |record: &Record| record.is_alive(now);
        let mut page = match &filter {
            None => reader.page(collection.id, order, after, limit + 1, |_| None, is_alive)?,
            Some(filter) => {
                collection.prepare_fields(&reader)?;
                let (sight, current) = {
                    let live = collection.live();
                    (live.sight(now, Some(filter)), live.rows.clone())
                };
                // What is committed and not yet published has a row that is not in sight.
                let in_sight = |slot| sight.slots.row(slot).filter(|&row| current.contains(row));
                let known = |slot| in_sight(slot).map(|row| sight.allowed.contains(row));
                let wanted = |record: &Record| is_alive(record) && filter.allows(record);
                reader.page(collection.id, order, after, limit + 1, known, wanted)?
            }
        };
        collection.check_there()?;
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|last| (last.record.created_at, last.seq));
        Ok((page.into_iter().map(record_view).collect(), next))
    }

    /// Changes a record. With `expected`, its version must be that one.
    pub fn patch(
        &self,
        tenant: &str,
        name: &str,
        id: &str,
        patch: &RecordPatch,
        expected: Option<u64>,
    ) -> Result<RecordView, MemoryError> {
        let collection = self.collection(tenant, name)?;
        self.patch_record(&collection, id, patch, expected, Along::default())
    }

    /// Changes a record, and what changes along with it.
    pub(crate) fn patch_record(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        patch: &RecordPatch,
        expected: Option<u64>,
        along: Along,
    ) -> Result<RecordView, MemoryError> {
        Ok(record_view(self.patch_found(collection, || self.stored(collection, id), patch, expected, along)?))
    }

    /// As [`MemoryBox::patch_record`], of the record that `find` finds, and gives it as it is then. With a message its session has another version.
    pub(crate) fn patch_found(
        &self,
        collection: &Arc<Collection>,
        find: impl Fn() -> Result<StoredRecord, MemoryError>,
        patch: &RecordPatch,
        expected: Option<u64>,
        mut along: Along,
    ) -> Result<StoredRecord, MemoryError> {
        for _ in 0..PATCH_TRIES {
            let stored = find()?;
            if let Some(expected) = expected.filter(|e| *e != stored.version) {
                let (id, current) = (stored.record.id, stored.version);
                return Err(RecordsError::VersionConflict { id, current, expected }.into());
            }
            let settings = collection.settings();
            let redaction = settings.redaction.clone().unwrap_or_default();
            let mut known = if patch.text.is_none() { Known::of(&stored.record) } else { Known::default() };
            let mut found = Counts::new();
            let changes = patch.metadata.as_ref().map(|changes| redacted_changes(&redaction, changes, &mut found));
            known.add(&found);
            let mut record = apply_patch(&stored.record, patch, changes.as_ref())?;
            along.touch = record.session.clone().filter(|_| record.message.is_some());
            if patch.text.is_some() && (is_made(&record) || settings.keywords == Some(true)) {
                forget_keywords(&mut record, patch);
            }
            redact_record(&self.box_key, &redaction, &mut record, known)?;
            if patch.text.is_some() && (is_made(&record) || settings.keywords == Some(true)) {
                add_keywords(&mut record);
            }
            if record.text != stored.record.text || record.message != stored.record.message {
                count_tokens(&mut record)?;
            }
            record.message.iter_mut().for_each(|message| message.updated_at = Some(now()));
            let keeps_vector = record.text == stored.record.text || record.given_vector;
            let mut upserts = vec![Upsert { record, vector: Vec::new(), expected: Some(stored.version) }];
            if keeps_vector {
                let live = collection.live();
                let row = live.slots.row(stored.slot);
                let Some(row) = row.filter(|&row| row < live.view.rows() && live.view.crc(row) == stored.row_crc)
                else {
                    // It is committed and not yet published.
                    drop(live);
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                upserts[0].vector = live.view.vector(row);
            } else {
                self.embed_missing(collection, &mut upserts)?;
            }
            let (collection_too, along) = (collection.clone(), along.clone());
            let write =
                |reply| Work::Write(Write::Upsert { collection: collection_too, records: upserts, along, reply });
            match ask(&self.writer, write) {
                Ok(_) => return find(),
                Err(MemoryError::Records(RecordsError::VersionConflict { .. })) if expected.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Err(MemoryError::Overloaded { retry_after_s: 1 })
    }

    /// Deletes records by id; one with a version must have it. Gives how many there were.
    pub fn delete(
        &self,
        tenant: &str,
        actor: &str,
        name: &str,
        ids: Vec<(String, Option<u64>)>,
    ) -> Result<usize, MemoryError> {
        self.delete_doomed(tenant, actor, self.collection(tenant, name)?, Doomed::Ids(ids))
    }

    /// Deletes the records that a filter allows. Gives how many there were.
    pub fn delete_by_filter(
        &self,
        tenant: &str,
        actor: &str,
        name: &str,
        filter: &Value,
    ) -> Result<usize, MemoryError> {
        let collection = self.collection(tenant, name)?;
        let filter = Filter::parse(filter, "/filter")?;
        collection.prepare_fields(&*self.shared.reader()?)?;
        let sight = collection.live().sight(now(), Some(&filter));
        let doomed = Doomed::Slots(sight.allowed.rows().iter().map(|row| sight.slots.slot(row)).collect());
        self.delete_doomed(tenant, actor, collection, doomed)
    }

    fn delete_doomed(
        &self,
        tenant: &str,
        actor: &str,
        collection: Arc<Collection>,
        doomed: Doomed,
    ) -> Result<usize, MemoryError> {
        let audit = Some(event(tenant, actor, "delete records", &self.collection_subject(&collection.name)?));
        ask(&self.writer, |reply| Work::Write(Write::Delete { collection, doomed, touches: true, audit, reply }))
    }

    /// A reader of the record store.
    pub(crate) fn reader(&self) -> Result<PooledReader<'_>, MemoryError> {
        self.shared.reader()
    }
}

impl Drop for MemoryBox {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A box that takes no writes any more has said so already.
        let _ = self.shared.uses.write(&self.writer);
        self.jobs.cancel_all();
        // Who asks ends before who answers: what the writer finds in its queue after its last work is never answered.
        if let Some(thread) = self.maintenance_thread.take() {
            let _ = thread.join();
        }
        let _ = self.writer.send(Work::Stop);
        if let Some(thread) = self.writer_thread.take() {
            let _ = thread.join();
        }
    }
}

/// Somebody waits for a few records; many are bulk work.
fn lane(records: usize) -> Lane {
    if records <= INTERACTIVE_RECORDS { Lane::Interactive } else { Lane::Bulk }
}

/// Removes folders that no collection has: what a crash within a creation or a drop left.
fn remove_unknown_folders(collections: &Path, stored: &[StoredCollection]) {
    for entry in std::fs::read_dir(collections).into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().parse::<i64>();
        if let Ok(id) = id
            && !stored.iter().any(|c| c.id == id)
        {
            tracing::info!(folder = %entry.path().display(), "removing what an interrupted create or drop left");
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether an error of the encoder means that the caller should come again later.
pub fn retry_after(error: &MemoryError) -> Option<u64> {
    match error {
        MemoryError::Overloaded { retry_after_s } | MemoryError::QuotaExceeded { retry_after_s, .. } => {
            Some(*retry_after_s)
        }
        MemoryError::Encoder(EncoderError::Overloaded { retry_after_s }) => Some(*retry_after_s),
        MemoryError::NoFiles(_) => Some(1),
        _ => None,
    }
}
