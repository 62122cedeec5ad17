//! Collections as such: created, described, listed, dropped.

mod settings;
mod synonyms;

pub(crate) use settings::{check_memories, check_name};

use crate::MemoryError;
use crate::audit::Audit;
use crate::audit::event;
use crate::models::{Models, quoted};
use crate::names::check_new;
use crate::retry::retry;
use crate::tenants::{Limits, Policies};
use crate::views::collection_view;
use membox_api::{
    CollectionSettings, CollectionView, IndexPolicy, LateInteraction, MAX_WINDOWS, Metric, TOKEN_DIMENSIONS,
    VectorType, Windows,
};
use membox_store::Store;
use membox_store::{Collection, JobGuard};
use settings::MAX_DIMENSIONS;
use std::sync::Arc;
use synonyms::check_redacted;

/// Collections of a box.
#[derive(Clone, Copy)]
pub struct Collections<'a> {
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Models,
    pub(crate) policies: &'a Policies,
    pub(crate) limits: Limits<'a>,
    pub(crate) audit: Audit<'a>,
}

impl Collections<'_> {
    /// Creates a collection, or finds it with the same settings. Says whether it was created.
    pub fn create_collection(
        &self,
        tenant: &str,
        name: &str,
        wanted: &CollectionSettings,
    ) -> Result<(CollectionView, bool), MemoryError> {
        check_name(name)?;
        let synonyms = wanted.synonyms.as_deref().unwrap_or_default();
        retry(|| {
            let Some(existing) = self.store.existing(tenant, name)? else {
                // Of two that create it, one has others' settings.
                let (created, is_new) = self.create(tenant, name, wanted)?;
                return Ok(is_new.then(|| (self.describe(&created), true)));
            };
            let redaction = wanted.redaction.clone().or(existing.settings().redaction);
            check_redacted(synonyms, redaction.as_ref())?;
            let has_vectors = existing.settings().vectors;
            let asked = CollectionSettings { vectors: wanted.vectors.or(has_vectors), ..wanted.clone() };
            match self.reconcile(&existing, wanted, &self.settle(&asked)?) {
                // Somebody else has set other settings, or dropped it.
                Ok(false) | Err(MemoryError::Dropped(_)) => Ok(None),
                Ok(true) if existing.is_dropped() => Ok(None),
                reconciled => reconciled.map(|_| Some((self.describe(&existing), false))),
            }
        })
    }

    /// Creates a collection, unless somebody else does at the same time; says whether it was created here.
    fn create(
        &self,
        tenant: &str,
        name: &str,
        wanted: &CollectionSettings,
    ) -> Result<(Arc<Collection>, bool), MemoryError> {
        self.limits.check_new_collection(tenant)?;
        let settings = self.settle(&self.policies.of(tenant).collection(wanted))?;
        check_redacted(wanted.synonyms.as_deref().unwrap_or_default(), settings.redaction.as_ref())?;
        Ok(self.store.create_collection(tenant, name, settings)?)
    }

    fn settle(&self, wanted: &CollectionSettings) -> Result<CollectionSettings, MemoryError> {
        for (kind, defaults) in wanted.kinds.iter().flatten() {
            check_new(kind, "/kinds")?;
            if defaults.importance.is_some_and(|importance| !(0.0..=1.0).contains(&importance)) {
                let reason = "importance is a number from 0 to 1";
                return Err(MemoryError::impossible(format!("/kinds/{kind}/importance"), reason));
            }
        }
        synonyms::check(wanted.synonyms.as_deref().unwrap_or_default())?;
        wanted.memories.as_ref().map_or(Ok(()), |memories| check_memories(memories, "/memories"))?;
        if let Some(LateInteraction::On { dimension }) = wanted.late_interaction
            && !TOKEN_DIMENSIONS.contains(&dimension)
        {
            let reason = format!("a token's vector has {TOKEN_DIMENSIONS:?} numbers, not {dimension}");
            return Err(MemoryError::impossible("/late_interaction/dimension", reason));
        }
        if let Some(Windows::On { max }) = wanted.windows
            && !(1..=MAX_WINDOWS).contains(&max)
        {
            let reason = format!("a text has vectors of 1 to {MAX_WINDOWS} windows, not {max}");
            return Err(MemoryError::impossible("/windows/max", reason));
        }
        let mut settings = wanted.clone();
        // What is said by leaving it out is not said twice.
        settings.text_index = settings.text_index.filter(|is_kept| !is_kept);
        settings.vectors = settings.vectors.filter(|are_kept| !are_kept);
        if !settings.has_vectors() {
            settings::check_without_vectors(&settings)?;
            return Ok(CollectionSettings { index: IndexPolicy::Flat, ..settings });
        }
        let named = settings.model.as_deref().map(|model| self.models.encoder_named(model)).transpose()?.flatten();
        if let (Some(_), None, Ok(_)) = (&settings.model, &named, self.models.encoder()) {
            let reason = format!("this box embeds with {}", quoted(&self.models.names()));
            return Err(MemoryError::impossible("/model", reason));
        }
        let loaded = named.as_ref().or(self.models.encoder().ok());
        let own = loaded.map(|e| e.dimension());
        let dimension = settings.dimension.or(own).ok_or(MemoryError::NoModel)?;
        if let Some(named) = named.as_ref().filter(|named| named.dimension() != dimension) {
            let reason = format!("{:?} gives {} dimensions, not {dimension}", named.name(), named.dimension());
            return Err(MemoryError::impossible("/dimension", reason));
        }
        if dimension == 0 || dimension > MAX_DIMENSIONS {
            return Err(MemoryError::impossible(
                "/dimension",
                format!("1 to {MAX_DIMENSIONS} dimensions are possible"),
            ));
        }
        settings.dimension = Some(dimension);
        settings.vector_type = settings.vector_type.or(Some(VectorType::default()));
        settings.metric = settings.metric.or(Some(Metric::default()));
        let by = loaded.filter(|e| e.dimension() == dimension).map(|e| e.name().to_owned());
        settings.model = by.or(settings.model);
        Ok(settings)
    }

    /// Holds an existing collection against what a caller wants: only the policies of index, kinds, redaction,
    /// synonyms, keywords, memories, late interaction and windows can change. `false` where somebody else has changed
    /// them meanwhile.
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
        let kept = |kept: bool| if kept { "kept" } else { "not kept" }.to_owned();
        for (name, have, wanted) in
            [("vectors", have.has_vectors(), wanted.vectors), ("text_index", have.has_text_index(), wanted.text_index)]
        {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != have) {
                return Err(differs(name, kept(have), kept(wanted)));
            }
        }
        if wanted.dimension.is_some_and(|d| have.dimension != Some(d)) {
            return Err(differs("dimension", format!("{:?}", have.dimension), format!("{:?}", wanted.dimension)));
        }
        if wanted.model.is_some() && have.model != settled.model {
            return Err(differs("model", format!("{:?}", have.model), format!("{:?}", settled.model)));
        }
        if let Some(wanted) = wanted.vector_type
            && have.vector_type.unwrap_or_default() != wanted
        {
            return Err(differs("vector_type", format!("{:?}", have.vector_type), format!("{wanted:?}")));
        }
        if let Some(wanted) = wanted.metric
            && have.metric.unwrap_or_default() != wanted
        {
            return Err(differs("metric", format!("{:?}", have.metric), format!("{wanted:?}")));
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
        if wanted.late_interaction.is_some() {
            settings.late_interaction = settled.late_interaction;
        }
        if wanted.windows.is_some() {
            settings.windows = settled.windows;
        }
        if settings == have {
            return Ok(true);
        }
        Ok(self.store.set_settings(existing, have, settings)?)
    }

    /// An open collection.
    pub fn collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, MemoryError> {
        check_name(name)?;
        Ok(self.store.collection(tenant, name)?)
    }

    /// Describes a collection.
    pub fn describe(&self, collection: &Arc<Collection>) -> CollectionView {
        collection_view(self.store.describe(collection))
    }

    /// Describes every collection of a tenant, by name; those that are not open from what is stored, without
    /// opening them.
    pub fn describe_all(&self, tenant: &str) -> Result<Vec<CollectionView>, MemoryError> {
        Ok(self.store.describe_all(tenant)?.into_iter().map(collection_view).collect())
    }

    /// Names of a tenant's collections.
    pub fn collection_names(&self, tenant: &str) -> Vec<String> {
        self.store.collection_names(Some(tenant)).into_iter().map(|key| key.1).collect()
    }

    /// Drops a collection with everything in it.
    pub fn drop_collection(&self, tenant: &str, actor: &str, name: &str) -> Result<(), MemoryError> {
        let collection = self.collection(tenant, name)?;
        let _job = JobGuard::take(&collection)?;
        let audit = Some(event(tenant, actor, "drop collection", &self.audit.collection_subject(name)?));
        Ok(self.store.drop_collection(&collection, false, audit).map(drop)?)
    }

    /// A collection, made with the defaults if it is not there.
    pub fn ensure_collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, MemoryError> {
        if let Some(collection) = self.store.existing(tenant, name)? {
            return Ok(collection);
        }
        self.create_collection(tenant, name, &CollectionSettings::default())?;
        self.collection(tenant, name)
    }
}
