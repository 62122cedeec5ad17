//! Files from the Hugging Face hub, for `membox models pull` alone: its client brings an HTTP stack of its own, so a
//! build without the feature `hub` has none of it.

use crate::progress;
use anyhow::{Context, Result};
use hf_hub::HFRepositorySync;
use hf_hub::progress::{DownloadEvent, Progress, ProgressEvent, ProgressHandler};
use hf_hub::repository::{RepoTreeEntry, RepoTypeModel};
use indicatif::ProgressBar;
use std::path::Path;

/// Moves a bar as the hub's client reports bytes.
struct HubProgress(ProgressBar);

impl ProgressHandler for HubProgress {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Download(DownloadEvent::Progress { files }) = event
            && let Some(file) = files.first()
        {
            self.0.set_position(file.bytes_completed);
        }
    }
}

fn repository(hub: &str) -> Result<HFRepositorySync<RepoTypeModel>> {
    let (owner, name) = hub.split_once('/').context("a hub id is OWNER/NAME")?;
    Ok(hf_hub::HFClientSync::new()?.model(owner, name))
}

/// The files of a model's repository, and their bytes.
pub fn files(hub: &str) -> Result<Vec<(String, u64)>> {
    let entries = repository(hub)?.list_tree().recursive(true).send()?;
    let file = |entry| match entry {
        RepoTreeEntry::File { path, size, .. } => Some((path, size)),
        RepoTreeEntry::Directory { .. } => None,
    };
    Ok(entries.into_iter().filter_map(file).collect())
}

/// Downloads files of a model, each with about how many bytes it has, into a folder.
pub fn download<'a>(hub: &str, files: impl Iterator<Item = (&'a str, u64)>, target: &Path) -> Result<()> {
    let repository = repository(hub)?;
    for (file, bytes) in files {
        let bar = progress::bytes(bytes, file);
        let progress = Progress::new(HubProgress(bar.clone()));
        repository.download_file().filename(file.to_owned()).local_dir(target).progress(progress).send()?;
        bar.finish();
    }
    Ok(())
}
