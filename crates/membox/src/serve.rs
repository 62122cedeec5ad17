//! `membox serve`.

use crate::api_keys::{self, Reload};
use crate::config::{Config, GlobalArgs};
use crate::files::OpenFiles;
use crate::import;
use crate::machine;
use crate::private;
use crate::traces::{self, Traces};
use anyhow::{Context, Result, bail};
use clap::Args;
use membox_api::{CollectionSettings, NewRecord};
use membox_memory::compressor::Compressor;
use membox_memory::encoder::EncoderError;
use membox_memory::llm::Llm;
use membox_memory::{MemoryBox, MemoryConfig, Models};
use membox_server::{DEFAULT_TENANT, JoinTrace, Limits, Server, ServerConfig, Spans, listen};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How long a stop waits for jobs to come to a place where they can be gone on with.
const JOBS_PATIENCE: Duration = Duration::from_secs(30);

/// Run the server.
///
/// SIGTERM and SIGINT (Ctrl-C) stop it: requests under way are finished first, and what was accepted is written.
/// SIGHUP reads the API keys of the settings again, and the TLS certificate.
#[derive(Args)]
pub struct ServeArgs {
    /// Where it listens [default: 127.0.0.1:8420].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Listen beyond this machine without API keys: everybody who reaches it reads and writes everything.
    #[arg(long)]
    insecure: bool,
    /// Load a file of records first, as `membox import` reads them, where its collections are not there yet.
    #[arg(long, value_name = "FILE.jsonl")]
    load: Option<PathBuf>,
    /// Bytes of a request body.
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<usize>,
    /// text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Runs `membox serve`.
pub fn run(mut config: Config, global: GlobalArgs, args: ServeArgs) -> Result<()> {
    config.listen = args.listen.unwrap_or(config.listen);
    config.insecure |= args.insecure;
    config.max_body_bytes = args.max_body_bytes.unwrap_or(config.max_body_bytes);
    config.log_format = args.log_format.unwrap_or(config.log_format);
    let traces = start_log(&config)?;
    membox_threads::hear_panics();
    let keys = api_keys::read(&config)?;
    keys.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    check_keys(&config)?;
    let mut memory_config = MemoryConfig { row_device: config.row_device(), ..config.memory_config()? };
    let files = OpenFiles::allowed();
    let shares = files.shared(memory_config.readers, memory_config.open_collections, config.max_connections);
    memory_config.open_collections = shares.collections;
    shares.log(&files, &config);
    let memory = Arc::new(MemoryBox::open(&memory_config, load_models(&config)?)?);
    private::look_at_data_folder(&config.data_dir);
    memory.resume()?;
    let example = args.load.as_deref().map(|file| load(&memory, file)).transpose()?.flatten();
    let server_config = ServerConfig {
        keys: keys.keys,
        metrics_key: keys.metrics_key,
        key_file: Some(config.key_file()),
        tls: config.tls_files()?,
        allowed_hosts: config.allowed_hosts.clone(),
        allowed_origins: config.allowed_origins.clone(),
        limits: Limits {
            max_body_bytes: config.max_body_bytes,
            request_memory_bytes: machine::request_memory_bytes(&config),
            request_timeout: Duration::from_secs(config.request_timeout_s),
            max_connections: shares.connections,
            ..Limits::default()
        },
        model_aliases: config.model_names(),
        spans: Spans { join: traces.as_ref().map(|_| traces::join as JoinTrace) },
    };
    // The first budget must not wait for the encoding to be loaded.
    membox_threads::spawn("encoding", || {
        membox_memory::compressor::TokenCounter::by_name(membox_memory::compressor::DEFAULT_ENCODING).is_ok()
    })?;
    let server = Server::new(memory.clone(), server_config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let reload = Reload { args: global, policies: memory_config.policies, keys: server.keys(), tls: server.tls() };
        let (signal, stopping) = (stop_signal(reload)?, memory.clone());
        let stop = async move {
            signal.await;
            stopping.stop_jobs();
            // What waits for a language model is to end with its answer, or without it.
            stopping.models().llm().inspect(|llm| llm.stop());
        };
        let tls = server.tls().is_some();
        let data_dir = config.data_dir.display();
        tracing::info!(%address, tls, %data_dir, "listening; the API is described at /docs");
        if let Some(collection) = &example {
            let scheme = if tls { "https" } else { "http" };
            println!("\nAsk it:\n\n  curl -s {scheme}://{address}/v1/collections/{collection}/recall \\");
            println!(
                "    -H 'content-type: application/json' -d '{{\"query\": \"where is the spare key?\", \"k\": 3}}'\n"
            );
        }
        server.run(listener, stop).await;
        anyhow::Ok(())
    })?;
    drop(runtime);
    tracing::info!("finishing what was accepted");
    if !memory.wait_for_jobs(JOBS_PATIENCE) {
        tracing::warn!("a job did not come to a safe place in time and is cut off; the next start does it again");
    }
    drop(memory);
    drop(traces);
    tracing::info!("stopped");
    Ok(())
}

/// Refuses to be open to other machines, unless that is wanted.
fn check_keys(config: &Config) -> Result<()> {
    let managed = config.key_file().read()?;
    if managed.as_ref().is_some_and(Vec::is_empty) && config.keys.is_empty() {
        let file = config.key_file().path().display().to_string();
        tracing::warn!(file, "there is no key that may ask: make one by `membox keys create`");
    }
    if !config.listen.ip().is_loopback() && config.keys.is_empty() && managed.is_none() && !config.insecure {
        bail!(
            "{} can be reached from other machines, and there are no API keys: run `membox keys create`, set [[keys]] \
             in membox.toml, or say --insecure",
            config.listen
        );
    }
    Ok(())
}

/// Loads what is installed: without a model the box still answers what needs none, and says what is missing where one
/// is needed.
fn load_models(config: &Config) -> Result<Models> {
    let scheduler = config.start_scheduler()?;
    let encoder = or_missing(config.load_encoder(&scheduler))?;
    let mut compressors: Vec<Arc<Compressor>> = Vec::new();
    compressors.extend(or_missing(config.load_compression_model(&scheduler))?.flatten());
    if let Some(encoder) = encoder.as_ref().filter(|e| e.engine().has_keep_head()) {
        compressors.push(Arc::new(Compressor::over(encoder.clone())?));
    }
    let llm = (!config.llm.endpoints.is_empty())
        .then(|| Arc::new(Llm::new(config.llm.clone().for_tenants(config.tenants().len()))));
    let further = Arc::new(config.further_models(&scheduler));
    Ok(Models { encoder, further, compressors, llm })
}

/// A model that cannot be loaded is missing; that the GPU which was asked for cannot be used is an error.
fn or_missing<T>(loaded: Result<T>) -> Result<Option<T>> {
    let is_no_gpu = |error: &anyhow::Error| {
        error.chain().any(|cause| matches!(cause.downcast_ref(), Some(EncoderError::NoGpu { .. })))
    };
    match loaded {
        Ok(model) => Ok(Some(model)),
        Err(error) if is_no_gpu(&error) => Err(error),
        Err(error) => {
            tracing::error!("{error:#}; what needs it answers 503 until then");
            Ok(None)
        }
    }
}

/// Resolves when the process is asked to stop, by SIGTERM or SIGINT; SIGHUP reads keys and certificate again. From the
/// call on: a signal that comes before anybody waits is not lost.
fn stop_signal(reload: Reload) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let reload = Arc::new(reload);
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => {
                    let reload = reload.clone();
                    // One after the other, and on no thread of the sockets: a file is read.
                    let _ = tokio::task::spawn_blocking(move || reload.run()).await;
                }
            }
        }
        tracing::info!("stopping: requests under way are finished");
    })
}

/// Begins to log, and to send spans of requests to a collector where the environment names one.
fn start_log(config: &Config) -> Result<Option<Traces>> {
    let filter = EnvFilter::try_new(&config.log).with_context(|| format!("the log filter {:?}", config.log))?;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match config.log_format.as_str() {
        "json" => log.json().with_filter(filter).boxed(),
        _ => log.with_filter(filter).boxed(),
    };
    let traces = Traces::from_environment()?;
    match &traces {
        Some(traces) => tracing_subscriber::registry().with(log).with(traces.layer()).init(),
        None => tracing_subscriber::registry().with(log).init(),
    }
    Ok(traces)
}

/// Writes the records of a file into collections that are not there yet, and gives the first collection's name.
fn load(memory: &MemoryBox, file: &Path) -> Result<Option<String>> {
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut collections: BTreeMap<String, Vec<NewRecord>> = BTreeMap::new();
    for record in import::records(opened, "example").with_context(|| file.display().to_string())? {
        let (collection, record) = record.map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
        collections.entry(collection).or_default().push(record);
    }
    let first = collections.keys().next().cloned();
    for (name, records) in collections {
        let (_, created) =
            memory.collections().create_collection(DEFAULT_TENANT, &name, &CollectionSettings::default())?;
        if !created {
            continue;
        }
        for batch in records.chunks(membox_memory::MAX_RECORDS) {
            memory.records().upsert(DEFAULT_TENANT, &name, batch.to_vec())?;
        }
        tracing::info!(collection = name, records = records.len(), "loaded");
    }
    Ok(first)
}
