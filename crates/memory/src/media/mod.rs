//! Images and recordings: a message's own file, kept as it was given beside its caption or transcript, by which it
//! is found.
//!
//! ```text
//! data folder/collections/N/media/NAME          the bytes, once however many messages have them
//!                                 NAME.small    of an image, what fits 200 × 200
//! ```
//!
//! The store keeps the files; here they are looked at, named, and made small.

mod picture;

pub(crate) use picture::content_type;

use crate::MemoryError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_api::{MessageType, NewMedia};
use membox_store::keys::hex;
use membox_store::{Collection, Media, Record, RecordsError, Store};
use picture::NoPicture;
use sha2::{Digest, Sha256};

/// Bytes of one file.
pub const MAX_MEDIA_BYTES: usize = 16 << 20;
/// Hours of the longest recording: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// A file that a message is to have, looked at and not kept yet.
pub(crate) struct Given {
    media: Media,
    bytes: Vec<u8>,
    small: Option<Vec<u8>>,
}

impl Given {
    /// What is known of the file.
    pub fn media(&self) -> &Media {
        &self.media
    }
}

/// Reads and checks what a message brings; `at` is where it stands in the request.
pub(crate) fn given(kind: MessageType, new: &NewMedia, at: &str) -> Result<Given, MemoryError> {
    // Of a data URL, what follows the comma.
    let data = new.data.split_once(',').filter(|(head, _)| head.starts_with("data:")).map_or(&*new.data, |url| url.1);
    let bytes = STANDARD.decode(data.trim());
    let bytes = bytes.map_err(|_| MemoryError::invalid(format!("{at}/data"), "base64 or a data URL is wanted"))?;
    if bytes.is_empty() || bytes.len() > MAX_MEDIA_BYTES {
        let reason = format!("it has {} bytes; 1 to {MAX_MEDIA_BYTES} are possible", bytes.len());
        return Err(MemoryError::impossible(format!("{at}/data"), reason));
    }
    if new.seconds.is_some_and(|seconds| !(0.0..=MAX_SECONDS).contains(&seconds)) {
        return Err(MemoryError::impossible(format!("{at}/seconds"), "0 to 86400 seconds are possible"));
    }
    let mut media = Media {
        sha256: hex(&Sha256::digest(&bytes)),
        bytes: bytes.len() as u64,
        milliseconds: new.seconds.map(|seconds| (seconds * 1000.0).round() as u64),
        language: new.language.clone(),
        ..Media::default()
    };
    let wrong = |reason: String| MemoryError::impossible(format!("{at}/data"), reason);
    let mut small = None;
    match kind {
        MessageType::Text => {
            return Err(MemoryError::impossible(at, "a message of type text has none: type is image or audio"));
        }
        MessageType::Image => {
            let picture = picture::look_at(&bytes).map_err(|no| match no {
                NoPicture::Unusable(reason) => wrong(reason),
                NoPicture::OverBudget(over) => over.into(),
            })?;
            media.content_type = picture.content_type.to_owned();
            (media.width, media.height, small) = (Some(picture.width), Some(picture.height), Some(picture.small));
        }
        MessageType::Audio => {
            let found = infer::get(&bytes).filter(|kind| kind.matcher_type() == infer::MatcherType::Audio);
            let found = found
                .ok_or_else(|| wrong("it is no recording that is known here: WAV, MP3, FLAC, Ogg, M4A, AAC".into()))?;
            media.content_type = found.mime_type().to_owned();
        }
    }
    Ok(Given { media, bytes, small })
}

/// Files of messages, looked at and kept.
#[derive(Clone, Copy)]
pub(crate) struct MediaFiles<'a> {
    pub store: &'a Store,
}

impl MediaFiles<'_> {
    /// Keeps a file for a message that is about to be written, and gives its name. When it returns that is durable.
    pub(crate) fn keep_media(&self, collection: &Collection, given: Given) -> Result<String, MemoryError> {
        let Given { media, bytes, small } = given;
        // The name says nothing about the content, and is the same for the same.
        let name = self.store.box_key().digest(&format!("media/{}/{}", collection.id, media.sha256))?[..40].to_owned();
        self.store.keep_media(collection, &name, &bytes, small.as_deref())?;
        Ok(name)
    }

    /// Makes a thumbnail of an image again, whose own cannot be read.
    pub fn thumbnail_again(&self, collection: &Collection, name: &str) -> Result<Vec<u8>, MemoryError> {
        let damaged = |reason| RecordsError::Damaged(format!("the file {name}: {reason}"));
        let image = self.store.read_media(collection, name, false)?;
        let picture = picture::look_at(&image).map_err(damaged)?;
        self.store.replace_thumbnail(collection, name, &picture.small)?;
        Ok(picture.small)
    }

    /// The file of a record that is given out whole, in base64.
    pub(crate) fn media_of(&self, collection: &Collection, record: &Record) -> Result<Option<String>, MemoryError> {
        let Some(media) = record.message.as_ref().and_then(|message| message.media.as_ref()) else { return Ok(None) };
        Ok(Some(STANDARD.encode(self.store.read_media(collection, &media.file, false)?)))
    }
}
