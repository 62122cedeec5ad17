//! The files of messages, given out.

use super::Sessions;
use crate::MemoryError;
use crate::media::content_type;

/// A file as it is given out.
#[derive(Clone, Debug)]
pub struct MediaFile {
    /// As `image/png`.
    pub content_type: String,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Sessions<'_> {
    /// The file of a message, or of an image what fits 200 × 200 of it.
    pub fn media(&self, tenant: &str, session: &str, id: &str, thumbnail: bool) -> Result<MediaFile, MemoryError> {
        let found = self.read_media(tenant, session, id, thumbnail);
        if found.as_ref().is_err_and(MemoryError::is_missing_file) {
            // It goes with its message, which may have been deleted since it was looked at.
            self.message(tenant, session, id)?;
        }
        found
    }

    fn read_media(&self, tenant: &str, session: &str, id: &str, thumbnail: bool) -> Result<MediaFile, MemoryError> {
        let missing = || MemoryError::Missing { what: "file of message", id: id.to_owned() };
        let stored = self.stored_session(tenant, session)?;
        let collection = self.collection_of(&stored)?;
        let message = self.stored_message(&stored, id)?.record.message;
        let media = message.and_then(|message| message.media).ok_or_else(missing)?;
        if !thumbnail {
            let bytes = self.store.read_media(&collection, &media.file, false)?;
            return Ok(MediaFile { content_type: media.content_type, bytes });
        }
        if media.width.is_none() {
            return Err(MemoryError::impossible("/thumbnail", "a recording has no thumbnail"));
        }
        let bytes = match self.store.read_media(&collection, &media.file, true) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "a thumbnail is made anew");
                self.media.thumbnail_again(&collection, &media.file)?
            }
        };
        Ok(MediaFile { content_type: content_type(&bytes).to_owned(), bytes })
    }
}
