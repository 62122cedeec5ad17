//! The managed keys of a running box: taken up when their file changes, whoever changes it.

use crate::ServerError;
use crate::key_file::{KeyFile, ManagedKey, Stamp};
use crate::keys::{ApiKey, KeySet, Keys};
use membox_api::NewApiKey;
use membox_memory::MemoryBox;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the file is looked at.
pub(crate) const LOOKS: Duration = Duration::from_secs(1);

/// What the audit log calls who changes the file without asking the box: `membox keys`.
const COMMAND: &str = "command";

/// The file of a running box, and what was seen of it.
pub(crate) struct Managed {
    file: KeyFile,
    keys: Arc<Keys>,
    /// The file that was taken up last, also where it could not be read; held while it is changed.
    seen: Mutex<Option<Stamp>>,
}

/// The keys of a file as they are compared.
fn api_keys(managed: Vec<ManagedKey>) -> Vec<ApiKey> {
    // They were checked when they were read.
    managed.iter().filter_map(|key| key.api_key().ok()).collect()
}

impl Managed {
    /// Takes the keys of the file up before the box begins to listen. A file that cannot be read is an error.
    pub fn begin(file: KeyFile, keys: Arc<Keys>) -> Result<Self, ServerError> {
        let stamp = Stamp::of(file.path()).ok();
        if let Some(found) = file.read()? {
            keys.replace_managed(api_keys(found))?;
        }
        Ok(Self { file, keys, seen: Mutex::new(stamp) })
    }

    fn seen(&self) -> MutexGuard<'_, Option<Stamp>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the file up if it has changed, and notes in the audit log what somebody else has made or revoked.
    pub fn look(&self, memory: &MemoryBox) {
        let mut seen = self.seen();
        let stamp = Stamp::of(self.file.path()).ok();
        if stamp == *seen {
            return;
        }
        *seen = stamp;
        let path = self.file.path().display();
        match self.file.read() {
            Ok(Some(found)) => self.take_up(found, memory),
            Ok(None) => tracing::error!("the file of keys {path} is gone: its keys hold until the box stops"),
            Err(error) => tracing::error!("the managed keys stay as they are: {error}"),
        }
    }

    fn take_up(&self, found: Vec<ManagedKey>, memory: &MemoryBox) {
        let before = self.keys.current();
        if let Err(error) = self.keys.replace_managed(api_keys(found)) {
            tracing::error!("the managed keys stay as they are: {error}");
            return;
        }
        let after = self.keys.current();
        let missing = |from: &KeySet, other: &KeySet| -> Vec<ApiKey> {
            let is_new = |key: &&ApiKey| !other.managed().any(|own| own.is_same_key(key));
            from.managed().filter(is_new).cloned().collect()
        };
        let (made, revoked) = (missing(&after, &before), missing(&before, &after));
        tracing::info!(made = made.len(), revoked = revoked.len(), "the file of keys was read again");
        for (action, keys) in [("key created", made), ("key revoked", revoked)] {
            for key in keys {
                if let Err(error) = memory.audit().audit(key.tenant(), COMMAND, action, &key.actor(), 1) {
                    tracing::error!(%error, key = key.actor(), action, "the audit log could not note it");
                }
            }
        }
    }

    /// Makes a key. It holds when this returns, and is noted in the audit log; otherwise there is none.
    pub fn create(
        &self,
        memory: &MemoryBox,
        (tenant, actor): (&str, &str),
        new: &NewApiKey,
    ) -> Result<(String, ManagedKey), crate::Problem> {
        let mut seen = self.seen();
        let own = self.keys.current().managed().filter(|key| key.tenant() == tenant).count() as u64;
        memory.policy(tenant).limits.check_keys(own + 1)?;
        let (text, made) = self.file.create(tenant, new)?;
        let noted = memory.audit().audit(tenant, actor, "key created", &format!("key:{}", made.id), 1);
        if let Err(error) = noted {
            self.file.revoke(&made.id, None, |_| Ok(()))?;
            self.again(&mut seen)?;
            return Err(error.into());
        }
        self.again(&mut seen)?;
        Ok((text, made))
    }

    /// Revokes a key of a tenant. It is refused from then on.
    pub fn revoke(
        &self,
        memory: &MemoryBox,
        (tenant, actor): (&str, &str),
        id: &str,
    ) -> Result<ManagedKey, crate::Problem> {
        let mut seen = self.seen();
        let has_others = self.keys.current().of_settings().next().is_some();
        let revoked = self.file.revoke(id, Some(tenant), |left| {
            if left.is_empty() && !has_others { Err(ServerError::LastKey) } else { Ok(()) }
        })?;
        self.again(&mut seen)?;
        memory.audit().audit(tenant, actor, "key revoked", &format!("key:{id}"), 1)?;
        Ok(revoked)
    }

    /// Takes up what this process has written.
    fn again(&self, seen: &mut Option<Stamp>) -> Result<(), ServerError> {
        *seen = Stamp::of(self.file.path()).ok();
        match self.file.read()? {
            Some(found) => self.keys.replace_managed(api_keys(found)).map(drop),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
