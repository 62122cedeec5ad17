//! Encryption at rest: whose texts are sealed, with which keys, and what becomes of them when keys change or go.
//!
//! ```text
//! master key (kept elsewhere) ─wraps─▶ tenant keys (keys.json) ─seal─▶ texts, metadata, states (membox.db)
//!                                                                    and the words of text indexes
//! ```
//!
//! What is written before a tenant has a key, or under an older one, is sealed anew in the background; then the
//! older key is gone for good. Vectors and what rows are found by (ids, users, sessions, kinds, times) stay
//! readable.

use super::{Tenants, llm_usage};
use crate::jobs::Job;
use crate::{MemoryError, now, time_text};
use membox_api::{TenantReceipt, TenantView};
use membox_store::{JobGuard, RecordReads, RecordsError, Resealed, StoreError};

/// Rows that are sealed anew in one commit: others write between them.
const RESEALED_ROWS: usize = 256;
/// After how many collections that are gone an erasure writes down how many there were.
const NOTED_COLLECTIONS: usize = 32;

impl Tenants<'_> {
    /// How a tenant is kept.
    pub fn tenant(&self, tenant: &str) -> Result<TenantView, MemoryError> {
        let keyring = self.store.sealing().keyring_of(tenant);
        Ok(TenantView {
            tenant: tenant.to_owned(),
            collections: self.store.collection_names(Some(tenant)).len(),
            encrypted: keyring.is_some(),
            key: keyring.map(|keyring| keyring.number(tenant)).transpose().map_err(RecordsError::from)?,
            settled: keyring.map(|keyring| keyring.is_settled(tenant)),
        })
    }

    /// Seals all of a tenant with its newest key, and lets the older ones go.
    pub(crate) fn seal_all(&self, tenant: &str, job: &Job) -> Result<(), MemoryError> {
        let Some(keyring) = self.store.sealing().keyring_of(tenant) else { return Ok(()) };
        let number = keyring.number(tenant).map_err(RecordsError::from)?;
        let (mut sealed, mut from) = (0, Some(Resealed::default()));
        while let Some(place) = from {
            if job.should_stop() {
                return Ok(());
            }
            let (done, next) = self.store.reseal(tenant, place, RESEALED_ROWS)?;
            job.add_done(done as u64);
            (sealed, from) = (sealed + done, next);
        }
        for (_, name) in self.store.collection_names(Some(tenant)) {
            // One that is opened now has its words by the newest key, or builds them anew.
            let Some(collection) = self.store.existing(tenant, &name)? else { continue };
            let is_older = self.store.is_sealed_otherwise(&collection, number);
            if is_older {
                self.rewrite(&collection, job)?;
            }
            sealed += self.store.reseal_media(&collection, number)?;
        }
        if job.should_stop() {
            return Ok(());
        }
        self.empty_log(job)?;
        keyring.settle(tenant, number).map_err(RecordsError::from)?;
        tracing::info!(tenant, key = number, rows = sealed, "everything of a tenant is sealed with its newest key");
        Ok(())
    }

    /// Erases a tenant. It can be done again from the beginning, whatever a stop has left: nothing is written to the
    /// tenant meanwhile, and its keys go last.
    pub(crate) fn run_tenant_erase(&self, actor: &str, job: &Job) -> Result<TenantReceipt, MemoryError> {
        let tenant = &job.tenant;
        let keyring = self.store.sealing().keyring();
        if let Some(keyring) = keyring {
            self.store.with_reserve(|| keyring.begin_erasing(tenant).map_err(RecordsError::from))?;
        }
        let begun = || TenantReceipt { tenant: tenant.clone(), begun_at: time_text(now()), ..TenantReceipt::default() };
        let mut receipt: TenantReceipt = job.noted().unwrap_or_else(begun);
        if !self.drop_collections(job, &mut receipt)? {
            // The keys stay as long as anything of the tenant does.
            if let Some(keyring) = keyring.filter(|_| job.is_cancelled()) {
                self.store.with_reserve(|| keyring.stop_erasing(tenant).map_err(RecordsError::from))?;
            }
            return Ok(receipt);
        }
        self.forget_questions(tenant);
        llm_usage::forget(self.store, tenant)?;
        self.store.drop_tenant(tenant, &job.id)?;
        if receipt.audit_number == 0 {
            receipt.audit_number = self.audit.audit(tenant, actor, "tenant erased", tenant, receipt.records)?.number;
            job.note(self.store, &receipt)?;
        }
        self.empty_log(job)?;
        if let Some(keyring) = keyring {
            receipt.keys += self.store.with_reserve(|| keyring.erase(tenant).map_err(RecordsError::from))?;
        }
        receipt.ended_at = time_text(now());
        Ok(receipt)
    }

    /// Drops all of a tenant's collections; `false` where the job was told to stop before.
    fn drop_collections(&self, job: &Job, receipt: &mut TenantReceipt) -> Result<bool, MemoryError> {
        loop {
            let names = self.store.collection_names(Some(&job.tenant));
            if names.is_empty() {
                return Ok(true);
            }
            for (_, name) in names {
                if job.should_stop() {
                    job.note(self.store, receipt)?;
                    return Ok(false);
                }
                let Some(collection) = self.store.existing(&job.tenant, &name)? else { continue };
                // A job on it would write into the folder that goes.
                let _guard = match JobGuard::take(&collection) {
                    Err(StoreError::Busy(_)) => {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        continue;
                    }
                    taken => taken?,
                };
                let records = self.store.read()?.count(collection.id)?;
                match self.store.drop_collection(&collection, false, None) {
                    // Somebody else was faster.
                    Err(StoreError::NoCollection(_)) => continue,
                    dropped => dropped?,
                };
                receipt.records += records;
                receipt.collections += 1;
                job.add_done(1);
                if receipt.collections.is_multiple_of(NOTED_COLLECTIONS) {
                    job.note(self.store, receipt)?;
                }
            }
        }
    }
}
