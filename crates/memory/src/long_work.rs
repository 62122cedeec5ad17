//! What runs as a job: begun here and done by the room that knows how. A job is stored before it is promised, so a
//! stop of the box does not end it.

use crate::audit::event;
use crate::jobs::{Job, NewJob, Work};
use crate::memories::THRESHOLD;
use crate::models::EmbeddedText;
use crate::tenants::llm_usage;
use crate::{MemoryBox, MemoryError, now, user_collection};
use membox_api::{ConsolidateRequest, JobView, Metric, UpdateRequest};
use membox_encoder::{EncoderError, Lane};
use membox_store::{
    AuditEvent, Collection, JobGuard, JobState, NewVector, RecordReads, RecordsError, Snapshot, StoredJob,
    StoredRecord, VersionId,
};
use membox_threads::budget::RequestBudget;
use membox_threads::{guard, spawn};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Records embedded at a time.
const EMBEDDED_RECORDS: usize = 256;
/// Who does what nobody has asked for.
const BOX: &str = "box";

/// A job on a collection.
fn on(tenant: &str, collection: &str, work: Work) -> NewJob {
    NewJob { tenant: tenant.to_owned(), user: None, collection: Some(collection.to_owned()), work }
}

/// A job on all of a tenant.
fn of_tenant(tenant: &str, work: Work) -> NewJob {
    NewJob { tenant: tenant.to_owned(), user: None, collection: None, work }
}

/// Refuses what compares vectors, where a collection keeps none.
fn check_vectors(collection: &Collection) -> Result<(), MemoryError> {
    match collection.settings().has_vectors() {
        true => Ok(()),
        false => Err(MemoryError::invalid("/collection", "the collection keeps no vectors")),
    }
}

/// Asking for jobs. When one of these returns, the job is stored, and is done whatever becomes of the box.
impl MemoryBox {
    /// Embeds every text of a collection anew, while it is read and written: by its model, or by another one to which
    /// it moves. Until that is done it answers by the one that it has.
    pub fn reembed(self: &Arc<Self>, tenant: &str, name: &str, model: Option<&str>) -> Result<JobView, MemoryError> {
        let collection = self.collections().collection(tenant, name)?;
        let Some(model) = model else {
            self.models().encoder_of(&collection)?;
            return self.begin_on(&collection, on(tenant, name, Work::Reembed { model: None }));
        };
        check_vectors(&collection)?;
        let encoder = self.models().encoder_named(model)?.ok_or_else(|| {
            let names = crate::models::quoted(&self.models().names());
            MemoryError::impossible("/model", format!("there is no model {model:?} here; there is {names}"))
        })?;
        let model = Some(encoder.name().to_owned());
        self.begin_on(&collection, on(tenant, name, Work::Reembed { model }))
    }

    /// Makes the vectors of tokens that records of a collection lack, while it is read and written. The job's result
    /// says how many records got them.
    pub fn make_token_vectors(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        let collection = self.collections().collection(tenant, name)?;
        let encoder = self.models().encoder_of(&collection)?;
        if collection.token_dimension().is_none() {
            let reason = "the collection keeps no vectors of tokens: late_interaction is off";
            return Err(MemoryError::impossible("/collection", reason));
        }
        if encoder.token_axes().is_none() {
            return Err(MemoryError::impossible("/collection", EncoderError::NoTokenAxes.to_string()));
        }
        self.begin_on(&collection, on(tenant, name, Work::TokenVectors))
    }

    /// Rewrites a collection's vector file without dead rows and builds its indexes anew, while it is read.
    pub fn rebuild(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        let collection = self.collections().collection(tenant, name)?;
        self.begin_on(&collection, on(tenant, name, Work::Rebuild))
    }

    /// Begins to merge the near-doubles of a collection, each within its user and kind, while it is read and
    /// written. Messages of sessions stay as they were said. The job's result is the report.
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
        check_vectors(&collection)?;
        if collection.settings().metric.unwrap_or_default() != Metric::Cosine {
            return Err(MemoryError::impossible(
                "/collection",
                "only collections that compare by cosine have near-doubles",
            ));
        }
        let user = request.user.clone();
        self.begin_on(&collection, NewJob { user, ..on(tenant, name, Work::Consolidate { threshold, request }) })
    }

    /// Begins to hold the memories of a user or collection against newer ones, as a job; its result is the report.
    pub fn update_memories(self: &Arc<Self>, tenant: &str, request: UpdateRequest) -> Result<JobView, MemoryError> {
        let name = crate::named_or_users(request.collection.as_deref(), request.user.as_deref());
        let name = name.ok_or_else(|| MemoryError::invalid("/user", "a user or a collection is wanted"))?;
        if request.score_threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err(MemoryError::impossible("/score_threshold", "a threshold is 0 to 1"));
        }
        let collection = self.collections().collection(tenant, &name)?;
        check_vectors(&collection)?;
        if collection.settings().metric == Some(Metric::Euclidean) {
            let reason = "memories are held against near ones by cosine: the collection's metric is euclidean";
            return Err(MemoryError::invalid("/collection", reason));
        }
        let user = request.user.clone();
        self.begin_on(&collection, NewJob { user, ..on(tenant, &name, Work::Update { request }) })
    }

    /// Begins to erase all that is remembered of a user. When the job is done, nothing of it is in any file of the
    /// data folder, and its result is the receipt. Until then nothing is written to the user.
    pub fn erase_user(self: &Arc<Self>, tenant: &str, actor: &str, user: &str) -> Result<JobView, MemoryError> {
        if user.is_empty() {
            return Err(MemoryError::invalid("/user", "a user's id is wanted"));
        }
        let work = Work::EraseUser { actor: actor.to_owned() };
        let new = NewJob { user: Some(user.to_owned()), ..on(tenant, &user_collection(user), work) };
        let audit = event(tenant, actor, "erase begun", &self.audit().user_subject(user)?);
        self.begin(new, Some(audit), || Ok(None))
    }

    /// Begins to erase a tenant: its data and its keys, as a job whose result is the receipt. Until it is done
    /// nothing is written to the tenant.
    pub fn erase_tenant(self: &Arc<Self>, tenant: &str, actor: &str) -> Result<JobView, MemoryError> {
        let audit = event(tenant, actor, "erase of the tenant begun", tenant);
        let new = of_tenant(tenant, Work::EraseTenant { actor: actor.to_owned() });
        self.begin(new, Some(audit), || Ok(None))
    }

    /// Gives a tenant a new key and begins to seal everything with it, as a job; then the older key is gone.
    pub fn rotate_key(self: &Arc<Self>, tenant: &str, actor: &str) -> Result<JobView, MemoryError> {
        let Some(keyring) = self.store().sealing().keyring_of(tenant) else {
            let reason = "this tenant is not encrypted: master_key_file is not set, or its policy says so";
            return Err(MemoryError::impossible("/tenant", reason));
        };
        let rotate = || {
            let number = keyring.rotate(tenant).map_err(RecordsError::from)?;
            Ok(Some(event(tenant, actor, "key rotated", &format!("key {number}"))))
        };
        self.begin(of_tenant(tenant, Work::Seal), None, rotate)
    }

    /// Goes on with what a stop has ended, and begins what new settings want: sealing what is not under its tenant's
    /// newest key.
    pub fn resume(self: &Arc<Self>) -> Result<(), MemoryError> {
        let under_way = self.store().read()?.jobs_under_way()?;
        let mut resumed = Vec::new();
        for stored in under_way {
            let job = match self.queue().resume(&stored) {
                Ok(job) => job,
                Err(reason) => {
                    self.give_up(stored, reason.to_string())?;
                    continue;
                }
            };
            if stored.state != JobState::Queued {
                job.put_back(self.store())?;
            }
            resumed.push(job);
        }
        if !resumed.is_empty() {
            tracing::info!(jobs = resumed.len(), "going on with jobs that a stop has ended");
        }
        for job in resumed {
            self.promise(job);
        }
        self.begin_what_keys_want()
    }

    /// Ends a job of which nobody knows here how to go on with it.
    fn give_up(&self, mut stored: StoredJob, reason: String) -> Result<(), MemoryError> {
        tracing::error!(job = stored.id, kind = stored.kind, reason, "nobody knows how to go on with a job");
        (stored.state, stored.ended_at, stored.erases) = (JobState::Failed, Some(now()), None);
        stored.body.error = Some(reason);
        self.store().put_job(&stored)?;
        Ok(())
    }

    /// Erases tenants whose keys say so, and seals what is not under its tenant's newest key.
    fn begin_what_keys_want(self: &Arc<Self>) -> Result<(), MemoryError> {
        let Some(keyring) = self.store().sealing().keyring() else { return Ok(()) };
        let erase = |tenant: String| of_tenant(&tenant, Work::EraseTenant { actor: BOX.to_owned() });
        let mut wanted: Vec<NewJob> = keyring.erasing().into_iter().map(erase).collect();
        for tenant in self.store().read()?.tenants()? {
            let sealed_by = self.store().sealing().keyring_of(&tenant);
            if sealed_by.is_some_and(|keyring| !keyring.is_settled(&tenant)) {
                wanted.push(of_tenant(&tenant, Work::Seal));
            }
        }
        // One that is there already is the one that is wanted.
        let jobs: Vec<Arc<Job>> = wanted.into_iter().filter_map(|new| self.queue().admit(new, None).ok()).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store().insert_jobs(jobs.iter().map(|job| job.stored()).collect(), None) {
            // Nobody was promised these; the next start tries again.
            tracing::error!(%error, "what keys want is not begun");
            jobs.iter().for_each(|job| self.queue().forget(job));
            return Ok(());
        }
        jobs.into_iter().for_each(|job| self.promise(job));
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn begin_to_panic(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        self.begin(on(tenant, name, Work::Panic), None, || Ok(None))
    }

    fn begin_on(self: &Arc<Self>, collection: &Arc<Collection>, new: NewJob) -> Result<JobView, MemoryError> {
        // The box may be compacting it of its own accord.
        drop(JobGuard::take(collection)?);
        self.begin(new, None, || Ok(None))
    }

    /// Admits a job, does what has to come before it, and stores it: from then on it is promised. `before` may have
    /// something to say in the audit log.
    fn begin(
        self: &Arc<Self>,
        new: NewJob,
        audit: Option<AuditEvent>,
        before: impl FnOnce() -> Result<Option<AuditEvent>, MemoryError>,
    ) -> Result<JobView, MemoryError> {
        let most = self.limits().max_jobs(&new.tenant);
        let job = self.queue().admit(new, most)?;
        let stored = before().and_then(|said| Ok(self.store().insert_jobs(vec![job.stored()], audit.or(said))?));
        if let Err(error) = stored {
            self.queue().forget(&job);
            return Err(error);
        }
        let view = crate::jobs::job_view(job.stored());
        self.promise(job);
        Ok(view)
    }

    /// Lets a stored job wait for its turn, in place of those that have nothing to do after it.
    fn promise(self: &Arc<Self>, job: Arc<Job>) {
        for other in self.queue().superseded_by(&job) {
            if let Err(error) = self.jobs().cancel_job(&other) {
                tracing::debug!(job = other.id, %error, "a job goes on beside an erasure");
            }
        }
        self.queue().ready(job);
        self.start_workers();
    }

    fn start_workers(self: &Arc<Self>) {
        while self.queue().wants_worker() {
            let (memory, queue) = (Arc::downgrade(self), self.queue().clone());
            let work = move || {
                while let Some(job) = queue.next() {
                    if let Some(memory) = memory.upgrade() {
                        // Those that waited for the last one may be many.
                        memory.start_workers();
                        memory.do_job(&job);
                    }
                    queue.ended(&job);
                }
            };
            if let Err(error) = spawn("job", work) {
                tracing::error!(%error, "no thread for jobs could be started; they wait");
                self.queue().worker_ended();
                return;
            }
        }
    }

    /// Has jobs stop where that is safe; none begins any more. The next start goes on with them.
    pub fn stop_jobs(&self) {
        self.queue().stop();
    }

    /// Waits until no job is under way, once they are told to stop; `false` where that takes longer than `patience`.
    pub fn wait_for_jobs(&self, patience: Duration) -> bool {
        self.queue().wait(patience)
    }
}

/// Doing jobs.
impl MemoryBox {
    fn do_job(&self, job: &Job) {
        let store = self.store();
        match job.start(store) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                job.finish(store, Err(error.to_string()));
                return;
            }
        }
        // A job that breaks off gives back what it holds, and has failed.
        let outcome = guard(|| {
            let _entered = Arc::new(RequestBudget::of(&job.tenant)).enter();
            self.run(job).map_err(|e| e.to_string())
        });
        let outcome = outcome.unwrap_or_else(|panicked| Err(format!("{panicked}; the log of the box says more")));
        if job.was_stopped(&outcome) {
            if let Err(error) = job.put_back(store) {
                tracing::warn!(job = job.id, %error, "a job that was stopped counts as under way until the next start");
            }
            return;
        }
        if let Err(error) = &outcome {
            tracing::error!(job = job.id, kind = job.work.kind(), error, "a job failed");
        }
        if job.finish(store, outcome) {
            self.queue().forget(job);
        }
    }

    fn run(&self, job: &Job) -> Result<Option<Value>, MemoryError> {
        match &job.work {
            Work::Reembed { model } => {
                let (collection, guard) = self.hold(job)?;
                match model.as_deref().filter(|model| collection.settings().model.as_deref() != Some(model)) {
                    Some(model) => self.run_move(&collection, guard, model, job).map(|()| None),
                    None => self.run_reembed(&collection, job).map(|()| None),
                }
            }
            Work::TokenVectors => {
                let (collection, _guard) = self.hold(job)?;
                self.run_token_vectors(&collection, job).map(|records| Some(json!({ "records": records })))
            }
            Work::Rebuild => {
                let (collection, guard) = self.hold(job)?;
                self.run_rebuild(&collection, &guard, job).map(|()| None)
            }
            Work::Consolidate { threshold, request } => {
                let (collection, _guard) = self.hold(job)?;
                let report = self.memories().run_consolidate(&collection, *threshold, request, job)?;
                Ok(serde_json::to_value(report).ok())
            }
            Work::Update { request } => {
                let (collection, _guard) = self.hold(job)?;
                self.run_update(&collection, request, job)
            }
            Work::EraseUser { actor } => {
                let receipt = self.tenants().run_erase(actor, job)?;
                Ok(serde_json::to_value(receipt).ok())
            }
            Work::EraseTenant { actor } => {
                let receipt = self.tenants().run_tenant_erase(actor, job)?;
                Ok(serde_json::to_value(receipt).ok())
            }
            Work::Seal => self.tenants().seal_all(&job.tenant, job).map(|()| None),
            #[cfg(test)]
            Work::Panic => {
                let _held = self.hold(job)?;
                panic!("as it should")
            }
        }
    }

    /// The collection of a job, which no other one works on meanwhile.
    fn hold(&self, job: &Job) -> Result<(Arc<Collection>, JobGuard), MemoryError> {
        let collection = self.collections().collection(&job.tenant, job.collection.as_deref().unwrap_or_default())?;
        let guard = JobGuard::wait(&collection, || !job.should_stop())?;
        Ok((collection, guard))
    }

    fn run_reembed(&self, collection: &Arc<Collection>, job: &Job) -> Result<(), MemoryError> {
        // Records that are written from now on have the new model's vectors.
        let snapshot = self.store().read()?.snapshot(collection, None)?;
        self.each_page(&snapshot, job, |mut page| {
            page.retain(|stored| !stored.record.given_vector);
            let texts = page.iter().map(|stored| stored.record.text.clone()).collect();
            let embedded = self.models().embed_texts(collection, texts, Lane::Bulk)?;
            let new =
                |(stored, EmbeddedText { vector, windows, tokens, .. })| NewVector { stored, vector, windows, tokens };
            self.store().replace_vectors(collection, page.into_iter().zip(embedded).map(new).collect())?;
            Ok(())
        })
    }

    /// Gives how many records got vectors of their tokens.
    pub(crate) fn run_token_vectors(&self, collection: &Arc<Collection>, job: &Job) -> Result<usize, MemoryError> {
        // Records that are written from now on have them.
        let snapshot = self.store().read()?.snapshot(collection, None)?;
        let Some(space) = self.models().token_space(collection) else { return Ok(0) };
        let mut written = 0;
        self.each_page(&snapshot, job, |mut page| {
            page.retain(|stored| {
                let lacks = |record| snapshot.token_vectors(record).is_none_or(|own| own.space() != space);
                !stored.record.text.trim().is_empty() && snapshot.locate(stored).is_some_and(lacks)
            });
            let texts = page.iter().map(|stored| stored.record.text.clone()).collect();
            let embedded = self.models().embed_texts(collection, texts, Lane::Bulk)?;
            let pairs = page.iter().zip(embedded);
            let tokens = pairs.filter_map(|(stored, new)| Some((VersionId::from(stored), new.tokens?))).collect();
            written += self.store().put_token_vectors(collection, tokens)?;
            Ok(())
        })?;
        Ok(written)
    }

    /// Hands the records of a snapshot on, page by page, and counts them, until the job is to stop.
    fn each_page(
        &self,
        snapshot: &Snapshot,
        job: &Job,
        mut work: impl FnMut(Vec<StoredRecord>) -> Result<(), MemoryError>,
    ) -> Result<(), MemoryError> {
        job.set_total(snapshot.len());
        let mut from = None;
        while !job.should_stop() {
            let (mut page, mut next) = (Vec::new(), None);
            self.store().read()?.each_record_from(snapshot, from, |record, stored| {
                if page.len() == EMBEDDED_RECORDS {
                    next = Some(record);
                    return false;
                }
                page.push(stored);
                true
            })?;
            let count = page.len() as u64;
            if count > 0 {
                work(page)?;
                job.add_done(count);
            }
            if next.is_none() {
                break;
            }
            from = next;
        }
        Ok(())
    }

    fn run_rebuild(&self, collection: &Arc<Collection>, guard: &JobGuard, job: &Job) -> Result<(), MemoryError> {
        let vectors = collection.vectors();
        job.set_total(if collection.wants_index() { vectors * 2 } else { vectors });
        let compacted = self.store().compact(guard, collection, &mut |done| {
            job.done.store(u64::from(done), Ordering::Relaxed);
            !job.should_stop()
        });
        self.store().maintain(collection);
        Ok(compacted?)
    }

    fn run_update(
        &self,
        collection: &Arc<Collection>,
        request: &UpdateRequest,
        job: &Job,
    ) -> Result<Option<Value>, MemoryError> {
        let use_llm = collection.settings().memories.unwrap_or_default().llm;
        let ids: Vec<String> = self.memories().made_memories(collection, request.user.as_deref())?;
        job.set_total(ids.len() as u64);
        let report = self.memories().update_with(collection, &ids, request, use_llm, &mut |done| {
            job.add_done(done);
            !job.should_stop()
        })?;
        llm_usage::count(self.store(), &collection.tenant, request.user.as_deref(), report.llm)?;
        Ok(serde_json::to_value(report).ok())
    }
}
