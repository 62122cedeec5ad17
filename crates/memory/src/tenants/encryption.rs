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

use super::Tenants;
use crate::jobs::Job;
use crate::{MemoryError, now, time_text};
use membox_api::{TenantReceipt, TenantView};
use membox_store::{JobGuard, RecordReads, RecordsError, Resealed, StoreError};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are sealed anew in one commit: others write between them.
const RESEALED_ROWS: usize = 256;

/// Tenants whose keys or data are being changed: one at a time each.
#[derive(Default)]
pub(crate) struct Changing(Mutex<HashSet<String>>);

pub(crate) struct ChangeGuard {
    changing: Arc<Changing>,
    pub tenant: String,
}

impl ChangeGuard {
    pub fn take(changing: &Arc<Changing>, tenant: &str) -> Result<Self, MemoryError> {
        if !changing.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.to_owned()) {
            return Err(MemoryError::TenantBusy(tenant.to_owned()));
        }
        Ok(Self { changing: changing.clone(), tenant: tenant.to_owned() })
    }
}

impl Drop for ChangeGuard {
    fn drop(&mut self) {
        self.changing.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.tenant);
    }
}

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
            if job.is_cancelled() {
                return Ok(());
            }
            let (done, next) = self.store.reseal(tenant, place, RESEALED_ROWS)?;
            job.add_done(done as u64);
            (sealed, from) = (sealed + done, next);
        }
        for (_, name) in self.store.collection_names(Some(tenant)) {
            // One that is opened now has its words by the newest key, or builds them anew.
            let Some(collection) = self.store.existing(tenant, &name)? else { continue };
            let is_older = self.store.is_text_sealed_otherwise(&collection, number);
            if is_older {
                self.rewrite(&collection, job)?;
            }
            sealed += self.store.reseal_media(&collection, number)?;
        }
        if job.is_cancelled() {
            return Ok(());
        }
        self.empty_log()?;
        keyring.settle(tenant, number).map_err(RecordsError::from)?;
        tracing::info!(tenant, key = number, rows = sealed, "everything of a tenant is sealed with its newest key");
        Ok(())
    }

    pub(crate) fn run_tenant_erase(&self, tenant: &str, actor: &str, job: &Job) -> Result<TenantReceipt, MemoryError> {
        let mut receipt =
            TenantReceipt { tenant: tenant.to_owned(), begun_at: time_text(now()), ..TenantReceipt::default() };
        loop {
            let names = self.store.collection_names(Some(tenant));
            if names.is_empty() {
                break;
            }
            if job.is_cancelled() {
                // The keys stay as long as anything of the tenant does: the next start goes on.
                return Ok(receipt);
            }
            for (_, name) in names {
                let Some(collection) = self.store.existing(tenant, &name)? else { continue };
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
            }
        }
        self.forget_questions(tenant);
        self.store.drop_tenant(tenant)?;
        let entry = self.audit.audit(tenant, actor, "tenant erased", tenant, receipt.records)?;
        self.empty_log()?;
        if let Some(keyring) = self.store.sealing().keyring() {
            receipt.keys = keyring.erase(tenant).map_err(RecordsError::from)?;
        }
        (receipt.audit_number, receipt.ended_at) = (entry.number, time_text(now()));
        Ok(receipt)
    }
}
