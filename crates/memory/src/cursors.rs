//! Numbers that are given out and say nothing: the place where a page ends counts what all tenants have written,
//! which is nobody's business.

use crate::MemoryError;
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use membox_store::BoxKey;
use membox_store::Store;

fn cipher(key: &BoxKey) -> Result<Aes256GcmSiv, MemoryError> {
    Ok(Aes256GcmSiv::new(&key.mac("what is sealed")?.into()))
}

/// Cursors and ids that are given out sealed.
#[derive(Clone, Copy)]
pub struct Cursors<'a> {
    pub(crate) store: &'a Store,
}

impl Cursors<'_> {
    /// Seals numbers for a tenant and a purpose. The same numbers give the same text: that of AES-GCM-SIV, which
    /// stands a nonce that stays.
    pub fn seal(&self, tenant: &str, purpose: &str, numbers: &[i64]) -> Result<String, MemoryError> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.seal_bytes(tenant, purpose, &bytes)
    }

    /// As [`Self::seal`], of a name.
    pub fn seal_name(&self, tenant: &str, purpose: &str, name: &str) -> Result<String, MemoryError> {
        self.seal_bytes(tenant, purpose, name.as_bytes())
    }

    fn seal_bytes(&self, tenant: &str, purpose: &str, bytes: &[u8]) -> Result<String, MemoryError> {
        let bound = format!("{purpose}/{tenant}");
        let sealed =
            cipher(self.store.box_key())?.encrypt(&Nonce::default(), Payload { msg: bytes, aad: bound.as_bytes() });
        Ok(URL_SAFE_NO_PAD.encode(sealed.map_err(|_| MemoryError::invalid("/cursor", "it cannot be sealed"))?))
    }

    /// The numbers that were sealed for a tenant and a purpose; an error that names `pointer` for anything else.
    pub fn unseal<const N: usize>(
        &self,
        tenant: &str,
        purpose: &str,
        sealed: &str,
        pointer: &str,
    ) -> Result<[i64; N], MemoryError> {
        let opened = self.unseal_bytes(tenant, purpose, sealed, pointer)?;
        let numbers: Vec<i64> = opened.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        numbers.try_into().map_err(|_| not_given_out(sealed, pointer))
    }

    /// The name that was sealed for a tenant and a purpose.
    pub fn unseal_name(&self, tenant: &str, purpose: &str, sealed: &str, pointer: &str) -> Result<String, MemoryError> {
        let opened = self.unseal_bytes(tenant, purpose, sealed, pointer)?;
        String::from_utf8(opened).map_err(|_| not_given_out(sealed, pointer))
    }

    fn unseal_bytes(&self, tenant: &str, purpose: &str, sealed: &str, pointer: &str) -> Result<Vec<u8>, MemoryError> {
        let wrong = || not_given_out(sealed, pointer);
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| wrong())?;
        let bound = format!("{purpose}/{tenant}");
        let opened =
            cipher(self.store.box_key())?.decrypt(&Nonce::default(), Payload { msg: &bytes, aad: bound.as_bytes() });
        opened.map_err(|_| wrong())
    }
}

fn not_given_out(sealed: &str, pointer: &str) -> MemoryError {
    MemoryError::invalid(pointer, format!("{sealed:?} was not given out for this"))
}
