//! Loading what models the settings name.

use crate::config::{Config, KEEP_HEAD};
use crate::models;
use anyhow::{Context, Result, bail};
use membox_memory::compressor::{Compressor, keep_head};
use membox_memory::encoder::cuda::Gpu;
use membox_memory::encoder::{
    Device, Encoder, EncoderConfig, KeepHead, ModelDescription, ModelKind, Precision, Scheduler, SchedulerConfig,
};
use membox_memory::{FurtherModel, FurtherModels};
use membox_threads::guard;
use std::sync::Arc;

/// Threads that hand batches to a GPU, each with a stream of its own.
const GPU_STREAMS: usize = 2;

impl Config {
    /// Starts the threads that run models.
    pub fn start_scheduler(&self) -> Result<Arc<Scheduler>> {
        let mut scheduler = SchedulerConfig { batch_tokens: self.batch_tokens, ..SchedulerConfig::default() };
        let gpus = self.usable_gpus();
        if gpus > 0 {
            // The cores turn texts into tokens as fast as GPUs take them; a few streams keep each busy, and one more
            // has its queries.
            scheduler.tokenizers = scheduler.workers;
            scheduler.workers = GPU_STREAMS * gpus;
            scheduler.interactive_workers = gpus;
        }
        if self.threads > 0 {
            scheduler.workers = self.threads;
        }
        Ok(Arc::new(Scheduler::start(scheduler).context("the threads of the engine")?))
    }

    /// How many GPUs may compute: of those that lack a library or are too old the CPU does the work, on all its cores.
    fn usable_gpus(&self) -> usize {
        let all = match self.device.parse().unwrap_or_default() {
            Device::Cpu => 0..0,
            Device::Cuda(ordinal) => ordinal..ordinal + 1,
            Device::Auto => 0..Gpu::count().unwrap_or(0),
        };
        // cudarc panics where a library lacks a function.
        all.filter(|ordinal| guard(|| Gpu::find(*ordinal)).is_ok_and(|found| found.is_ok())).count()
    }

    /// What models run on, and how.
    fn engine(&self) -> EncoderConfig {
        // Both were checked when the settings were read.
        let device = self.device.parse().unwrap_or_default();
        let precision = self.precision.parse().unwrap_or(Precision::Int8);
        let kernels = self.keeps_kernels.then(|| self.data_dir.join("kernels"));
        EncoderConfig { device, precision, kernels, ..EncoderConfig::default() }
    }

    /// Names of the embedding model beside its own: where the hub has it, and those that are set.
    pub fn model_names(&self) -> Vec<String> {
        let of_hub = models::find(&self.model).ok().map(|model| model.hub);
        of_hub.into_iter().chain(self.model_aliases.iter().cloned()).collect()
    }

    /// Loads the embedding model, with the keep head that goes with it.
    pub fn load_encoder(&self, scheduler: &Arc<Scheduler>) -> Result<Arc<Encoder>> {
        let encoder = self.load_model(&self.model, self.keep_head()?, scheduler)?;
        let what = match encoder.kind() {
            ModelKind::Embedding => return Ok(Arc::new(encoder)),
            ModelKind::CrossEncoder => "is a cross-encoder and embeds nothing",
            ModelKind::Sparse => "gives sparse vectors alone",
        };
        bail!("{} {what}: name it in `models`, beside an embedding model", self.model)
    }

    fn load_model(&self, name: &str, keep_head: Option<KeepHead>, scheduler: &Arc<Scheduler>) -> Result<Encoder> {
        let (folder, query_cache) = (self.models_dir().join(name), self.query_cache);
        let checksums = models::checksums(name, &folder);
        let encoder = EncoderConfig { keep_head, query_cache, checksums, ..self.engine() };
        Encoder::load(name, &folder, encoder, scheduler).with_context(|| format!("the model {name} cannot be loaded"))
    }

    /// The embedding models beside the default one, none of which is loaded yet.
    pub fn further_models(&self, scheduler: &Arc<Scheduler>) -> FurtherModels {
        let mut found: Vec<FurtherModel> = Vec::new();
        for name in &self.models {
            let known = models::find(name).ok();
            let name = known.as_ref().map_or_else(|| name.clone(), |known| known.name.clone());
            if name == self.model || found.iter().any(|model| model.name == name) {
                continue;
            }
            let folder = self.models_dir().join(&name);
            let bytes = models::weight_bytes(&folder);
            if bytes == 0 {
                tracing::error!(model = name, "a model of the settings is not installed: run `membox models pull`");
            }
            let aliases = known.map(|known| known.hub).into_iter().filter(|hub| *hub != name).collect();
            let kind = ModelDescription::read(&folder).map_or(ModelKind::Embedding, |model| model.kind());
            // The words' table is there once more, as what sparse vectors are multiplied by.
            let bytes = if kind == ModelKind::Sparse { 2 * bytes } else { bytes };
            found.push(FurtherModel { name, aliases, kind, bytes });
        }
        let (config, scheduler) = (self.clone(), scheduler.clone());
        let load = move |name: &str| config.load_model(name, None, &scheduler).map_err(|error| format!("{error:#}"));
        FurtherModels::new(found, self.model_memory_mib.saturating_mul(1 << 20), Box::new(load))
    }

    fn keep_head(&self) -> Result<Option<KeepHead>> {
        match &self.keep_head {
            Some(path) => {
                let read = || Ok::<_, anyhow::Error>(KeepHead::from_safetensors(&std::fs::read(path)?)?);
                Ok(Some(read().with_context(|| format!("the keep head {}", path.display()))?))
            }
            None => Ok(keep_head::built_in(&self.model)?),
        }
    }

    /// Loads the compression model that is set, if it is not the keep head.
    pub fn load_compression_model(&self, scheduler: &Arc<Scheduler>) -> Result<Option<Arc<Compressor>>> {
        if self.compression_model == KEEP_HEAD {
            return Ok(None);
        }
        self.load_compressor(&self.compression_model, scheduler).map(Some)
    }

    /// Loads an LLMLingua-2 model.
    pub fn load_compressor(&self, name: &str, scheduler: &Arc<Scheduler>) -> Result<Arc<Compressor>> {
        let name = models::find(name)?.name;
        let folder = self.models_dir().join(&name);
        let config = EncoderConfig { checksums: models::checksums(&name, &folder), ..self.engine() };
        let compressor = Compressor::load(&name, &folder, config, scheduler);
        let context =
            || format!("the compression model {name} cannot be loaded (`membox models pull {name}` installs it)");
        Ok(Arc::new(compressor.with_context(context)?))
    }
}
