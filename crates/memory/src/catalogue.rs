//! Collections as such: created, described, listed, dropped.

use crate::collection::{Collection, Folder, read_settings};
use crate::convert::index_policy;
use crate::settings::{MOST_DIMENSIONS, check_memories, check_name};
use crate::synonyms::check_redacted;
use crate::users::event;
use crate::work::{Work, ask};
use crate::{MemoryBox, MemoryError, now, time_text};
use membox_api::{CollectionSettings, CollectionView, IndexPolicy, IndexView};
use membox_index::{Effort, IndexSpec, VectorIndex};
use membox_records::text::DiskText;
use membox_records::{Reader, StoredCollection};
use membox_vectors::VectorFile;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Times that a collection is looked at while others create, change and drop it.
const CREATE_TRIES: usize = 16;

impl MemoryBox {
    /// Creates a collection, or finds it with the same settings. Says whether it was created.
    pub fn create_collection(
        &self,
        tenant: &str,
        name: &str,
        wanted: &CollectionSettings,
    ) -> Result<(CollectionView, bool), MemoryError> {
        check_name(name)?;
        let synonyms = wanted.synonyms.as_deref().unwrap_or_default();
        for _ in 0..CREATE_TRIES {
            let Some(existing) = self.shared().existing(tenant, name)? else {
                match self.create(tenant, name, wanted)? {
                    (created, true) => return Ok((self.describe(&created), true)),
                    // Somebody else was faster, perhaps with other settings.
                    (_, false) => continue,
                }
            };
            let redaction = wanted.redaction.clone().or(existing.settings().redaction);
            check_redacted(synonyms, redaction.as_ref())?;
            match self.reconcile(&existing, wanted, &self.settle(wanted)?) {
                // Somebody else has set other settings, or dropped it.
                Ok(false) | Err(MemoryError::Dropped(_)) => {}
                Ok(true) if existing.is_dropped() => {}
                reconciled => return reconciled.map(|_| (self.describe(&existing), false)),
            }
        }
        Err(MemoryError::Overloaded { retry_after_s: 1 })
    }

    /// Creates a collection, unless somebody else does at the same time; says whether it was created here.
    fn create(
        &self,
        tenant: &str,
        name: &str,
        wanted: &CollectionSettings,
    ) -> Result<(Arc<Collection>, bool), MemoryError> {
        let settings = self.settle(&self.policy(tenant).collection(wanted))?;
        check_redacted(wanted.synonyms.as_deref().unwrap_or_default(), settings.redaction.as_ref())?;
        let stored = StoredCollection {
            id: 0,
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            settings: String::new(),
            vector_file: uuid::Uuid::nil(),
            rows: 0,
            created_at: now(),
        };
        ask(self.writer(), |reply| Work::Create { stored, settings, reply })
    }

    fn settle(&self, wanted: &CollectionSettings) -> Result<CollectionSettings, MemoryError> {
        for (kind, defaults) in wanted.kinds.iter().flatten() {
            if defaults.importance.is_some_and(|importance| !(0.0..=1.0).contains(&importance)) {
                let reason = "importance is a number from 0 to 1";
                return Err(MemoryError::impossible(format!("/kinds/{kind}/importance"), reason));
            }
        }
        crate::synonyms::check(wanted.synonyms.as_deref().unwrap_or_default())?;
        wanted.memories.as_ref().map_or(Ok(()), |memories| check_memories(memories, "/memories"))?;
        let mut settings = wanted.clone();
        let loaded = self.encoder().ok();
        if let (Some(model), Some(encoder)) = (&settings.model, loaded)
            && model != encoder.name()
        {
            return Err(MemoryError::impossible("/model", format!("this box embeds with {:?}", encoder.name())));
        }
        let own = loaded.map(|e| e.dimension());
        let dimension = settings.dimension.or(own).ok_or(MemoryError::NoModel)?;
        if dimension == 0 || dimension > MOST_DIMENSIONS {
            return Err(MemoryError::impossible(
                "/dimension",
                format!("1 to {MOST_DIMENSIONS} dimensions are possible"),
            ));
        }
        settings.dimension = Some(dimension);
        settings.model = settings.model.or(loaded.filter(|e| e.dimension() == dimension).map(|e| e.name().to_owned()));
        Ok(settings)
    }

    /// Holds an existing collection against what a caller wants: only the policies of index, kinds, redaction, synonyms, keywords and memories can change.
    /// `false` where somebody else has changed them meanwhile.
    fn reconcile(
        &self,
        existing: &Arc<Collection>,
        wanted: &CollectionSettings,
        settled: &CollectionSettings,
    ) -> Result<bool, MemoryError> {
        let have = existing.settings();
        let differs = |name: &str, have: String, wanted: String| {
            let difference = format!("{name} is {have}, not {wanted}");
            MemoryError::Exists { name: existing.name.clone(), difference }
        };
        if wanted.dimension.is_some_and(|d| have.dimension != Some(d)) {
            return Err(differs("dimension", format!("{:?}", have.dimension), format!("{:?}", wanted.dimension)));
        }
        if wanted.model.is_some() && have.model != settled.model {
            return Err(differs("model", format!("{:?}", have.model), format!("{:?}", settled.model)));
        }
        if have.vector_type != settled.vector_type {
            return Err(differs(
                "vector_type",
                format!("{:?}", have.vector_type),
                format!("{:?}", settled.vector_type),
            ));
        }
        if have.metric != settled.metric {
            return Err(differs("metric", format!("{:?}", have.metric), format!("{:?}", settled.metric)));
        }
        let mut settings = have.clone();
        if wanted.index != Default::default() {
            settings.index = settled.index;
        }
        if wanted.kinds.is_some() {
            settings.kinds.clone_from(&settled.kinds);
        }
        if wanted.redaction.is_some() {
            settings.redaction.clone_from(&settled.redaction);
        }
        if wanted.synonyms.is_some() {
            settings.synonyms.clone_from(&settled.synonyms);
        }
        if wanted.keywords.is_some() {
            settings.keywords = settled.keywords;
        }
        if wanted.memories.is_some() {
            settings.memories.clone_from(&settled.memories);
        }
        if settings == have {
            return Ok(true);
        }
        let (collection, from, settings) = (existing.clone(), Box::new(have), Box::new(settings));
        ask(self.writer(), |reply| Work::SetSettings { collection, from, settings, reply })
    }

    /// Describes a collection.
    pub fn describe(&self, collection: &Collection) -> CollectionView {
        let live = collection.live();
        let header = *live.view.header();
        CollectionView {
            name: collection.name.clone(),
            created_at: time_text(collection.created_at),
            settings: collection.settings(),
            records: live.sight(now(), None).allowed.rows().len(),
            rows: live.view.rows(),
            vector_bytes: header.row_offset(u64::from(live.view.rows())),
            index: IndexView {
                covered_rows: live.index.as_ref().map_or(0, |i| i.rows()),
                building_rows: collection.building.load(Ordering::Relaxed),
                text_covered_rows: live.disk.as_ref().map_or(0, |d| d.rows()),
                ..index_view(live.index.as_ref().map(|index| index.spec()), collection.settings().index)
            },
        }
    }

    /// Describes every collection of a tenant, by name; those that are not open from what is stored, without opening them.
    pub fn describe_all(&self, tenant: &str) -> Result<Vec<CollectionView>, MemoryError> {
        let stored = self.shared().reader()?.collections()?;
        let mut views = Vec::new();
        for stored in stored.into_iter().filter(|c| c.tenant == tenant) {
            match self.shared().if_open(tenant, &stored.name) {
                Some(collection) => views.push(self.describe(&collection)),
                None => views.extend(self.describe_closed(&stored)?),
            }
        }
        Ok(views)
    }

    /// Describes a collection that was not open a moment ago; `None` for one that has been dropped since.
    fn describe_closed(&self, stored: &StoredCollection) -> Result<Option<CollectionView>, MemoryError> {
        let described = describe_stored(&self.shared().root, stored, &*self.shared().reader()?);
        match described {
            // Its files are gone with it, or others since it was compacted.
            Err(error) if error.is_missing_file() => {
                let found = self.shared().existing(&stored.tenant, &stored.name)?;
                Ok(found.filter(|found| found.id == stored.id).map(|found| self.describe(&found)))
            }
            described => described.map(Some),
        }
    }

    /// Names of a tenant's collections.
    pub fn collection_names(&self, tenant: &str) -> Vec<String> {
        self.shared().names(Some(tenant)).into_iter().map(|key| key.1).collect()
    }

    /// Drops a collection with everything in it.
    pub fn drop_collection(&self, tenant: &str, actor: &str, name: &str) -> Result<(), MemoryError> {
        let collection = self.collection(tenant, name)?;
        let _guard = crate::collection::JobGuard::take(&collection)?;
        let audit = Some(event(tenant, actor, "drop collection", &self.collection_subject(name)?));
        let (dropped, only_empty) = (collection.clone(), false);
        ask(self.writer(), |reply| Work::Drop { collection: dropped, only_empty, audit, reply }).map(drop)
    }
}

/// Describes a collection that is not open.
fn describe_stored(root: &Path, stored: &StoredCollection, reader: &Reader) -> Result<CollectionView, MemoryError> {
    let settings = read_settings(stored)?;
    let policy = settings.index;
    let folder = Folder::of(root, stored.id);
    let header = VectorFile::header_of(&folder.vectors(stored.vector_file))?;
    let index = VectorIndex::manifest(&folder.index()).ok().filter(|index| index.vector_file == stored.vector_file);
    Ok(CollectionView {
        name: stored.name.clone(),
        created_at: time_text(stored.created_at),
        settings,
        records: reader.count(stored.id)? - reader.count_expired(stored.id, now())?,
        rows: stored.rows,
        vector_bytes: header.row_offset(u64::from(stored.rows)),
        index: IndexView {
            covered_rows: index.as_ref().map_or(0, |index| index.rows),
            text_covered_rows: DiskText::covered(&folder.text(), stored.vector_file).unwrap_or(0),
            ..index_view(index.map(|index| index.spec), policy)
        },
    })
}

/// What an index is, and how it is searched by a recall that does not say.
fn index_view(spec: Option<IndexSpec>, policy: IndexPolicy) -> IndexView {
    let searched = spec.map(|spec| spec.searched(index_policy(policy), Effort::default()));
    let (ef_search, nprobe) = match searched {
        Some(IndexSpec::Hnsw { ef_search, .. }) => (Some(ef_search), None),
        Some(IndexSpec::Ivf { nprobe, .. }) => (None, Some(nprobe)),
        None => (None, None),
    };
    let kind = searched.map_or("none", IndexSpec::name).to_owned();
    IndexView { kind, ef_search, nprobe, covered_rows: 0, building_rows: 0, text_covered_rows: 0 }
}
