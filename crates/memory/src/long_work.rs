//! What runs as a job: begun here, each on a thread of its own, and done by the room that knows how.

use crate::jobs::Job;
use crate::memories::THRESHOLD;
use crate::tenants::ChangeGuard;
use crate::{MemoryBox, MemoryError};
use membox_api::{ConsolidateRequest, JobView, Metric, UpdateRequest};
use membox_encoder::Lane;
use membox_store::{Collection, JobGuard, RecordReads, RecordsError};
use membox_threads::{guard, spawn};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Records re-embedded at a time.
const REEMBED_RECORDS: usize = 256;

impl MemoryBox {
    /// Embeds every text of a collection anew with the model that is loaded, while it is read and written.
    pub fn reembed(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        let collection = self.collections().collection(tenant, name)?;
        self.models().encoder_of(&collection)?;
        self.start_job("reembed", collection, Self::run_reembed)
    }

    /// Rewrites a collection's vector file without dead rows and builds its indexes anew, while it is read.
    pub fn rebuild(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        let collection = self.collections().collection(tenant, name)?;
        self.start_job("rebuild", collection, Self::run_rebuild)
    }

    fn start_job(
        self: &Arc<Self>,
        kind: &'static str,
        collection: Arc<Collection>,
        run: fn(&Self, &Arc<Collection>, &JobGuard, &Job) -> Result<(), MemoryError>,
    ) -> Result<JobView, MemoryError> {
        let guard = JobGuard::take(&collection)?;
        let job = self.jobs().begin(kind, &collection.tenant, Some(&collection.name));
        self.run_job(job, move |memory, job| run(memory, &collection, &guard, job).map(|()| None))
    }

    /// Has a thread of its own do a job, which gives its result.
    pub(crate) fn run_job(
        self: &Arc<Self>,
        job: Arc<Job>,
        run: impl FnOnce(&Self, &Job) -> Result<Option<Value>, MemoryError> + Send + 'static,
    ) -> Result<JobView, MemoryError> {
        let (running, memory) = (job.clone(), Arc::downgrade(self));
        let spawned = spawn(format!("job-{}", job.kind), move || {
            // A job that breaks off gives back what it holds, and has failed.
            let outcome = guard(|| match memory.upgrade() {
                Some(memory) => run(&memory, &running).map_err(|e| e.to_string()),
                None => Err(MemoryError::Stopped.to_string()),
            });
            let outcome = outcome.unwrap_or_else(|panicked| Err(format!("{panicked}; the log of the box says more")));
            if let Err(error) = &outcome {
                tracing::error!(job = running.id, kind = running.kind, error, "a job failed");
            }
            running.finish(outcome);
        });
        match spawned {
            Ok(_) => Ok(job.view()),
            Err(error) => {
                let error = MemoryError::io("start a thread for", self.data_dir())(error);
                job.finish(Err(error.to_string()));
                Err(error)
            }
        }
    }

    fn run_reembed(&self, collection: &Arc<Collection>, _guard: &JobGuard, job: &Job) -> Result<(), MemoryError> {
        // Records that are written from now on have the new model's vectors.
        let snapshot = self.store().read()?.snapshot(collection, None)?;
        job.set_total(snapshot.len());
        let mut from = None;
        while !job.is_cancelled() {
            let (mut batch, mut next) = (Vec::new(), None);
            snapshot.each_record_from(&self.store().read()?, from, |record, stored| {
                if batch.len() == REEMBED_RECORDS {
                    next = Some(record);
                    return false;
                }
                batch.push(stored);
                true
            })?;
            if batch.is_empty() {
                break;
            }
            let count = batch.len() as u64;
            batch.retain(|stored| !stored.record.given_vector);
            let texts = batch.iter().map(|s| s.record.text.clone()).collect();
            let embedded = self.models().encoder_of(collection)?.embed(texts, Lane::Bulk)?;
            let vectors = batch.into_iter().zip(embedded.rows().map(<[f32]>::to_vec)).collect();
            self.store().replace_vectors(collection, vectors)?;
            job.add_done(count);
            if next.is_none() {
                break;
            }
            from = next;
        }
        Ok(())
    }

    fn run_rebuild(&self, collection: &Arc<Collection>, guard: &JobGuard, job: &Job) -> Result<(), MemoryError> {
        let records = collection.records();
        job.set_total(if collection.wants_index() { records * 2 } else { records });
        let compacted = self.store().compact(guard, collection, &mut |done| {
            job.done.store(u64::from(done), Ordering::Relaxed);
            !job.is_cancelled()
        });
        self.store().maintain(collection);
        Ok(compacted?)
    }

    /// Begins to erase all that is remembered of a user. When the job is done, nothing of it is in any file of the data folder, and its result is the receipt.
    pub fn erase_user(self: &Arc<Self>, tenant: &str, actor: &str, user: &str) -> Result<JobView, MemoryError> {
        if user.is_empty() {
            return Err(MemoryError::invalid("/user", "a user's id is wanted"));
        }
        self.audit().audit(tenant, actor, "erase begun", &self.audit().user_subject(user)?, 0)?;
        let (tenant, actor, user) = (tenant.to_owned(), actor.to_owned(), user.to_owned());
        let job = self.jobs().begin("erase", &tenant, None);
        self.run_job(job, move |memory, job| {
            let receipt = memory.tenants().run_erase(&tenant, &actor, &user, job)?;
            Ok(serde_json::to_value(receipt).ok())
        })
    }

    /// Goes on with what a stop has ended, and begins what new settings want: erasing tenants, and sealing what is not under its tenant's newest key.
    pub fn resume_encryption(self: &Arc<Self>) -> Result<(), MemoryError> {
        let Some(keyring) = self.store().sealing().keyring() else { return Ok(()) };
        let erasing = keyring.erasing();
        for tenant in &erasing {
            self.begin_erasing(tenant, "box")?;
        }
        for tenant in self.store().read()?.tenants()? {
            let unsettled =
                self.store().sealing().keyring_of(&tenant).is_some_and(|keyring| !keyring.is_settled(&tenant));
            if unsettled && !erasing.contains(&tenant) {
                self.begin_sealing(ChangeGuard::take(self.changing(), &tenant)?)?;
            }
        }
        Ok(())
    }

    /// Gives a tenant a new key and begins to seal everything with it, as a job; then the older key is gone.
    pub fn rotate_key(self: &Arc<Self>, tenant: &str, actor: &str) -> Result<JobView, MemoryError> {
        let Some(keyring) = self.store().sealing().keyring_of(tenant) else {
            let reason = "this tenant is not encrypted: master_key_file is not set, or its policy says so";
            return Err(MemoryError::impossible("/tenant", reason));
        };
        let guard = ChangeGuard::take(self.changing(), tenant)?;
        let number = keyring.rotate(tenant).map_err(RecordsError::from)?;
        self.audit().audit(tenant, actor, "key rotated", &format!("key {number}"), 0)?;
        self.begin_sealing(guard)
    }

    fn begin_sealing(self: &Arc<Self>, guard: ChangeGuard) -> Result<JobView, MemoryError> {
        let job = self.jobs().begin("seal", &guard.tenant, None);
        self.run_job(job, move |memory, job| memory.tenants().seal_all(&guard.tenant, job).map(|()| None))
    }

    /// Begins to erase a tenant: its data and its keys, as a job whose result is the receipt. The tenant can be written to again after that.
    pub fn erase_tenant(self: &Arc<Self>, tenant: &str, actor: &str) -> Result<JobView, MemoryError> {
        if let Some(keyring) = self.store().sealing().keyring() {
            keyring.begin_erasing(tenant).map_err(RecordsError::from)?;
        }
        self.audit().audit(tenant, actor, "erase of the tenant begun", tenant, 0)?;
        self.begin_erasing(tenant, actor)
    }

    fn begin_erasing(self: &Arc<Self>, tenant: &str, actor: &str) -> Result<JobView, MemoryError> {
        let guard = ChangeGuard::take(self.changing(), tenant)?;
        let actor = actor.to_owned();
        let job = self.jobs().begin("erase", tenant, None);
        self.run_job(job, move |memory, job| {
            let receipt = memory.tenants().run_tenant_erase(&guard.tenant, &actor, job)?;
            Ok(serde_json::to_value(receipt).ok())
        })
    }

    /// Begins to merge the near-doubles of a collection, each within its user and kind, while it is read and written. Messages of sessions stay as they
    /// were said. The job's result is the report.
    pub fn consolidate(
        self: &Arc<Self>,
        tenant: &str,
        name: &str,
        request: ConsolidateRequest,
    ) -> Result<JobView, MemoryError> {
        let threshold = request.threshold.unwrap_or(THRESHOLD);
        if !(0.5..=1.0).contains(&threshold) {
            return Err(MemoryError::impossible("/threshold", "a threshold is 0.5 to 1"));
        }
        let collection = self.collections().collection(tenant, name)?;
        if collection.settings().metric != Metric::Cosine {
            return Err(MemoryError::impossible(
                "/collection",
                "only collections that compare by cosine have near-doubles",
            ));
        }
        let guard = JobGuard::take(&collection)?;
        let job = self.jobs().begin("consolidate", tenant, Some(name));
        self.run_job(job, move |memory, job| {
            let _guard = guard;
            let report = memory.memories().run_consolidate(&collection, threshold, &request, job)?;
            Ok(serde_json::to_value(report).ok())
        })
    }

    /// Begins to hold the memories of a user or collection against newer ones, as a job; its result is the report.
    pub fn update_memories(self: &Arc<Self>, tenant: &str, request: UpdateRequest) -> Result<JobView, MemoryError> {
        let name = crate::named_or_users(request.collection.as_deref(), request.user.as_deref());
        let name = name.ok_or_else(|| MemoryError::invalid("/user", "a user or a collection is wanted"))?;
        if request.score_threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err(MemoryError::impossible("/score_threshold", "a threshold is 0 to 1"));
        }
        let collection = self.collections().collection(tenant, &name)?;
        let guard = JobGuard::take(&collection)?;
        let job = self.jobs().begin("update", tenant, Some(&name));
        self.run_job(job, move |memory, job| {
            let _guard = guard;
            let use_llm = collection.settings().memories.unwrap_or_default().llm;
            let ids: Vec<String> = memory.memories().made_memories(&collection, request.user.as_deref())?;
            job.set_total(ids.len() as u64);
            let report = memory.memories().update_with(&collection, &ids, &request, use_llm, &mut |done| {
                job.add_done(done);
                !job.is_cancelled()
            })?;
            memory.memories().count_llm(&collection.tenant, request.user.as_deref(), report.llm)?;
            Ok(serde_json::to_value(report).ok())
        })
    }
}
