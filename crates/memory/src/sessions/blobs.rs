//! Values of a thread's channels, as octets. They are kept as they are: nothing of them is redacted.

use super::Sessions;
use super::names::check_names;
use crate::MemoryError;
use crate::fields::MAX_ID_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_api::{BlobView, NewBlob};
use membox_store::{Blob, CheckpointPlace, Footprint, Reads, RecordReads};
use membox_threads::budget;
use std::collections::BTreeMap;

/// Octets of a value.
pub const MAX_BLOB_BYTES: usize = 64 << 20;

/// Blobs as a request brings them.
pub(super) fn given(blobs: Vec<NewBlob>) -> Result<Vec<Blob>, MemoryError> {
    let read = |(i, NewBlob { channel, version, kind, data }): (usize, NewBlob)| {
        let at = format!("/blobs/{i}");
        budget::take(data.len() / 4 * 3)?;
        let wrong = |error| MemoryError::invalid(format!("{at}/data"), format!("it is not base64: {error}"));
        let data = STANDARD.decode(&data).map_err(wrong)?;
        let blob = Blob { channel, version, kind, data };
        check(&blob).map_err(|error| error.within(&at))?;
        Ok(blob)
    };
    blobs.into_iter().enumerate().map(read).collect()
}

fn check(blob: &Blob) -> Result<(), MemoryError> {
    check_names(&[("channel", &blob.channel), ("version", &blob.version)])?;
    if blob.kind.len() > MAX_ID_BYTES {
        return Err(MemoryError::invalid("/type", format!("at most {MAX_ID_BYTES} bytes are possible")));
    }
    if blob.data.len() > MAX_BLOB_BYTES {
        let reason = format!("{} octets; at most {MAX_BLOB_BYTES} are possible", blob.data.len());
        return Err(MemoryError::impossible("/data", reason));
    }
    Ok(())
}

/// Refuses versions of channels that no blob can have.
pub(super) fn check_channels(channels: &BTreeMap<String, String>) -> Result<(), MemoryError> {
    for (channel, version) in channels {
        let names = [("channel", channel.as_str()), ("version", version.as_str())];
        check_names(&names).map_err(|error| error.within("/channels"))?;
    }
    Ok(())
}

/// The values of channels at their versions.
pub(super) fn read(
    reads: &Reads,
    place: CheckpointPlace,
    channels: &BTreeMap<String, String>,
) -> Result<Vec<BlobView>, MemoryError> {
    let mut views = Vec::with_capacity(channels.len());
    for (channel, version) in channels {
        let Some(Blob { channel, version, kind, data }) = reads.blob(place, channel, version)? else { continue };
        // The octets, and twice in base64: here and in the answer.
        budget::take(data.len() * 4)?;
        views.push(BlobView { channel, version, kind, data: STANDARD.encode(data) });
    }
    Ok(views)
}

impl Sessions<'_> {
    /// Keeps the value of a channel of a thread, in the place of the one that it has at this version.
    pub fn put_blob(
        &self,
        tenant: &str,
        thread: &str,
        namespace: &str,
        blob: (&str, &str, &str, Vec<u8>),
    ) -> Result<(), MemoryError> {
        let (channel, version, kind, data) = blob;
        let [channel, version, kind] = [channel, version, kind].map(str::to_owned);
        let blob = Blob { channel, version, kind, data };
        check_names(&[("thread", thread), ("namespace", namespace)])?;
        check(&blob)?;
        self.admit_blob(tenant, &blob)?;
        Ok(self.store.put_blob(CheckpointPlace { tenant, thread, namespace }, blob)?)
    }

    /// The value of a channel of a thread at a version: what its octets are, and they.
    pub fn blob(
        &self,
        tenant: &str,
        thread: &str,
        namespace: &str,
        (channel, version): (&str, &str),
    ) -> Result<(String, Vec<u8>), MemoryError> {
        let found = self.store.read()?.blob(CheckpointPlace { tenant, thread, namespace }, channel, version)?;
        let missing = || MemoryError::Missing { what: "blob", id: format!("{channel} {version}") };
        let Blob { kind, data, .. } = found.ok_or_else(missing)?;
        budget::take(data.len())?;
        Ok((kind, data))
    }

    pub(super) fn admit_blob(&self, tenant: &str, blob: &Blob) -> Result<(), MemoryError> {
        let bytes = blob.data.len() as u64;
        self.collections.limits.admit(tenant, || Footprint { bytes, ..Footprint::default() })
    }
}
