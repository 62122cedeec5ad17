//! Images and recordings: a message's own file, kept as it was given beside its caption or transcript, by which it is found.
//!
//! ```text
//! data folder/collections/N/media/NAME          the bytes, once however many messages have them
//!                                 NAME.small    of an image, what fits 200 × 200
//! ```
//!
//! A file is named in the database before it is written, durable before its message is acknowledged, and removed once no message has it. What is small of an
//! image can be made of it again, and is where it is damaged.

mod file;
mod picture;

pub(crate) use file::check;

use crate::collection::{Collection, Folder};
use crate::messages::MessageType;
use crate::shared::Shared;
use crate::{MemoryBox, MemoryError, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_records::keys::hex;
use membox_records::{Group, Media, Record, RecordsError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use utoipa::ToSchema;

/// Bytes of one file.
pub const MOST_MEDIA_BYTES: usize = 16 << 20;
/// How long a file may be there before the message that is to have it, in milliseconds.
const EXPECTED_MS: i64 = 600_000;
/// Hours of the longest recording: a day.
const MOST_SECONDS: f64 = 86_400.0;

/// An image or a recording, as a message brings it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMedia {
    /// The file in base64, or as a data URL; up to 16 MiB.
    pub data: String,
    /// Of a recording: how long it is.
    pub seconds: Option<f64>,
    /// Of a recording: its language, as `en` or `zh-CN`, up to 35 bytes.
    pub language: Option<String>,
}

/// An image or a recording of a message.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MediaView {
    /// As `image/png`.
    pub content_type: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
    /// Of an image, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Of an image, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl From<Media> for MediaView {
    fn from(media: Media) -> Self {
        Self {
            content_type: media.content_type,
            bytes: media.bytes,
            sha256: media.sha256,
            width: media.width,
            height: media.height,
            seconds: media.milliseconds.map(|ms| ms as f64 / 1000.0),
            language: media.language,
        }
    }
}

/// A file as it is given out.
#[derive(Clone, Debug)]
pub struct MediaFile {
    /// As `image/png`.
    pub content_type: String,
    /// The file.
    pub bytes: Vec<u8>,
}

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
    if bytes.is_empty() || bytes.len() > MOST_MEDIA_BYTES {
        let reason = format!("it has {} bytes; 1 to {MOST_MEDIA_BYTES} are possible", bytes.len());
        return Err(MemoryError::impossible(format!("{at}/data"), reason));
    }
    if new.seconds.is_some_and(|seconds| !(0.0..=MOST_SECONDS).contains(&seconds)) {
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
            let picture = picture::look_at(&bytes).map_err(wrong)?;
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

/// Where the files of a collection are.
pub(crate) fn folder(folder: &Folder) -> PathBuf {
    folder.0.join("media")
}

fn small(path: &Path) -> PathBuf {
    path.with_extension("small")
}

/// Removes a file, and what was made of it.
fn remove(path: &Path) -> std::io::Result<()> {
    for path in [small(path), file::temporary(path), path.to_owned()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl MemoryBox {
    /// Keeps a file for a message that is about to be written, and gives its name. When it returns that is durable.
    pub(crate) fn keep_media(&self, collection: &Collection, given: Given) -> Result<String, MemoryError> {
        let Given { media, bytes, small: small_bytes } = given;
        // The name says nothing about the content, and is the same for the same.
        let name = self.box_key().digest(&format!("media/{}/{}", collection.id, media.sha256))?[..40].to_owned();
        let folder = folder(&collection.folder());
        let path = folder.join(&name);
        let (id, file) = (collection.id, name.clone());
        self.transact(move |group| Ok(group.expect_media(id, &file, now() + EXPECTED_MS)?))?;
        let _changing = self.shared().change_media();
        // Its folder goes under the same lock: nothing is written into it after that.
        collection.check_writable()?;
        if path.exists() {
            return Ok(name);
        }
        if !folder.exists() {
            fs::create_dir_all(&folder).map_err(MemoryError::io("create", &folder))?;
            membox_vectors::sync_parent(&folder).map_err(MemoryError::io("fsync the folder of", &folder))?;
        }
        if let Some(bytes) = small_bytes {
            self.shared().with_files(|| file::write(self.sealing(), &collection.tenant, &small(&path), &bytes))?;
        }
        self.shared().with_files(|| file::write(self.sealing(), &collection.tenant, &path, &bytes))?;
        Ok(name)
    }

    /// The file of a message, or of an image what fits 200 × 200 of it.
    pub fn media(&self, tenant: &str, session: &str, id: &str, thumbnail: bool) -> Result<MediaFile, MemoryError> {
        let found = self.shared().with_files(|| self.read_media(tenant, session, id, thumbnail));
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
        let path = folder(&collection.folder()).join(&media.file);
        if !thumbnail {
            let bytes = file::read(self.sealing(), tenant, &path)?;
            return Ok(MediaFile { content_type: media.content_type, bytes });
        }
        if media.width.is_none() {
            return Err(MemoryError::impossible("/thumbnail", "a recording has no thumbnail"));
        }
        let bytes = match file::read(self.sealing(), tenant, &small(&path)) {
            Err(error) => self.thumbnail_again(tenant, &path, &error)?,
            bytes => bytes?,
        };
        Ok(MediaFile { content_type: picture::content_type(&bytes).to_owned(), bytes })
    }

    /// Makes a thumbnail of an image again, whose own cannot be read.
    fn thumbnail_again(&self, tenant: &str, path: &Path, error: &MemoryError) -> Result<Vec<u8>, MemoryError> {
        let damaged = |reason| RecordsError::Damaged(format!("the file {}: {reason}", path.display()));
        let picture = picture::look_at(&file::read(self.sealing(), tenant, path)?).map_err(damaged)?;
        tracing::warn!(%error, "a thumbnail is made anew");
        let _changing = self.shared().change_media();
        if path.exists() {
            file::write(self.sealing(), tenant, &small(path), &picture.small)?;
        }
        Ok(picture.small)
    }

    /// The file of a record that is given out whole, in base64.
    pub(crate) fn media_of(&self, collection: &Collection, record: &Record) -> Result<Option<String>, MemoryError> {
        let Some(media) = record.message.as_ref().and_then(|message| message.media.as_ref()) else { return Ok(None) };
        let path = folder(&collection.folder()).join(&media.file);
        Ok(Some(STANDARD.encode(file::read(self.sealing(), &collection.tenant, &path)?)))
    }

    /// Removes files that no message has any more.
    pub(crate) fn remove_unused_media(&self) -> Result<usize, MemoryError> {
        let shared = self.shared().clone();
        self.transact(move |group| remove_unused(group, &shared))
    }

    /// Seals the files of a collection with its tenant's newest key, where they are not.
    pub(crate) fn reseal_media(&self, collection: &Arc<Collection>, number: u32) -> Result<usize, MemoryError> {
        let folder = folder(&collection.folder());
        let mut sealed = 0;
        for name in self.reader()?.media_files(collection.id)? {
            for path in [folder.join(&name), small(&folder.join(&name))] {
                let _changing = self.shared().change_media();
                // A recording has no thumbnail, and what nobody has any more may be gone.
                if !path.exists() || file::check(&path)? == number {
                    continue;
                }
                let bytes = file::read(self.sealing(), &collection.tenant, &path)?;
                file::write(self.sealing(), &collection.tenant, &path, &bytes)?;
                sealed += 1;
            }
        }
        Ok(sealed)
    }
}

/// Removes files that no message has, on the writer's thread: none can come to have one meanwhile.
pub(crate) fn remove_unused(group: &mut Group, shared: &Shared) -> Result<usize, MemoryError> {
    let _changing = shared.change_media();
    let remove = |collection, file: &str| remove(&folder(&Folder::of(&shared.root, collection)).join(file));
    Ok(group.remove_unused_media(now(), remove)?)
}

/// Copies a file, and what was made of it, to another data folder, and gives how many bytes these have.
pub(crate) fn copy(from: &Folder, to: &Folder, name: &str) -> Result<u64, MemoryError> {
    let (from, to) = (folder(from).join(name), folder(to));
    fs::create_dir_all(&to).map_err(MemoryError::io("create", &to))?;
    let to = to.join(name);
    let copy =
        |from: &Path, to: &Path| fs::copy(from, to).and_then(|bytes| fs::File::open(to)?.sync_all().map(|()| bytes));
    let mut bytes = copy(&from, &to).map_err(MemoryError::io("copy to", &to))?;
    if small(&from).exists() {
        bytes += copy(&small(&from), &small(&to)).map_err(MemoryError::io("copy to", &to))?;
    }
    Ok(bytes)
}

/// What is wrong with the files that messages of a collection have.
pub(crate) fn damaged(folder_of: &Folder, files: &[String]) -> Vec<String> {
    let folder = folder(folder_of);
    files.iter().filter_map(|name| check(&folder.join(name)).err().map(|error| error.to_string())).collect()
}

/// The thumbnails of a collection's images that are damaged, and what is wrong with each.
pub(crate) fn damaged_thumbnails(folder_of: &Folder, files: &[String]) -> Vec<(PathBuf, MemoryError)> {
    let folder = folder(folder_of);
    let thumbnails = files.iter().map(|name| small(&folder.join(name))).filter(|path| path.exists());
    thumbnails.filter_map(|path| check(&path).err().map(|error| (path, error))).collect()
}
