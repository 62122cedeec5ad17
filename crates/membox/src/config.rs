//! Settings: a TOML file, then the environment, then flags, each over the one before.

use crate::gpu::GpuMemory;
use crate::{api_keys, private};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use membox_api::Access;
use membox_memory::encoder::cuda::Gpu;
use membox_memory::encoder::{Device, Precision, SchedulerConfig};
use membox_memory::keys::MasterKey;
use membox_memory::llm::LlmConfig;
use membox_memory::{EncryptionConfig, MemoryConfig, Policies, Policy, RowDevice};
use membox_server::{DEFAULT_TENANT, KeyFile, TlsFiles};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The compression model that every box has.
pub const KEEP_HEAD: &str = "keep-head";

/// Memory of the models beside the box's own.
const DEFAULT_MODEL_MEMORY_MIB: u64 = 2048;

/// What is read, and never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What stands for a secret where settings are shown.
const NOT_SHOWN: &str = "(not shown)";

impl Secret {
    /// What it is.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(NOT_SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(NOT_SHOWN)
    }
}

/// A key and whose it is. It is checked by `api_keys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// What clients send as `Authorization: Bearer KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Instead of it, its SHA-256 in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Everything written and asked with it belongs to this tenant.
    pub tenant: String,
    /// What it may do: read, append, write or admin; everything of its tenant (admin) when left out.
    #[serde(default)]
    pub access: Access,
    /// The only collections that it reaches; all of them when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collections: Option<Vec<String>>,
    /// The only sessions that it reaches; all of them when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<String>>,
    /// The only users that it reaches; all of them when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// When it ends, such as "2027-01-31T00:00:00Z"; never when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Requests that it may send a second; any number when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// The policy of its tenant, by its name in `policies`; the box's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Every setting, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The embedding model.
    pub model: String,
    /// Models beside it, which collections and requests may name, cross-encoders and those that give sparse vectors
    /// among them: each is loaded when it is first wanted.
    pub models: Vec<String>,
    /// MiB of memory that those have together: the least used ones leave when another one is wanted.
    pub model_memory_mib: u64,
    /// Further names that clients may call the model by at /v1/embeddings, such as text-embedding-3-small for one that
    /// cannot be told another. With * it takes any name.
    pub model_aliases: Vec<String>,
    /// The model that compresses text: keep-head (a small head over the embedding model), or an LLMLingua-2 model.
    pub compression_model: String,
    /// A head trained by `membox distil`, instead of the one that is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_head: Option<PathBuf>,
    /// What models run on: auto (every GPU that can be used, else the CPU), cpu, or cuda:N.
    pub device: String,
    /// MiB of a GPU's memory for the vectors of large collections, 0 for none; without it, half of the GPU's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall_gpu_mib: Option<usize>,
    /// Arithmetic on the CPU: int8 or f32.
    pub precision: String,
    /// Encoder threads; 0 means one a core.
    pub threads: usize,
    /// Tokens of an encoder batch.
    pub batch_tokens: usize,
    /// Vectors of questions that are remembered for each tenant.
    pub query_cache: usize,
    /// Answers that are remembered for each tenant until a write could change them; 0 for none.
    pub answer_cache: usize,
    /// Collections that are kept open while nobody uses them.
    pub open_collections: usize,
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// MiB of memory that requests have together: their bodies, what is made of these, and their answers; without it, a
    /// quarter of the memory that there is. One tenant has at most half of it. What is over it is refused with 429 or
    /// 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_memory_mib: Option<usize>,
    /// Seconds that a request may take.
    pub request_timeout_s: u64,
    /// Connections open at the same time.
    pub max_connections: usize,
    /// Listen beyond this machine without API keys.
    pub insecure: bool,
    /// text or json.
    pub log_format: String,
    /// A filter such as info or membox=debug.
    pub log: String,
    /// The key that shows the names of all tenants' collections at /metrics; on a box with keys other keys show the
    /// rest, and without a key nothing is shown.
    pub metrics_key: Option<Secret>,
    /// Names by which a box without keys may be called, beside addresses and localhost.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may use the box from a browser, such as `https://app.example`.
    pub allowed_origins: Vec<String>,
    /// A file that holds the master key, as `membox keys new` writes it: with one, texts and metadata are sealed.
    /// Keep it apart from the data and its backups; without it nothing of them can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_file: Option<PathBuf>,
    /// Files of the master keys before that, for one start after a change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub old_master_key_files: Vec<PathBuf>,
    /// The policy of tenants whose keys name none, by its name in `policies`.
    pub policy: Option<String>,
    /// The box's certificate in PEM, with those that lead to a root: then it speaks TLS, and nothing else. It is read
    /// again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate_file: Option<PathBuf>,
    /// The certificate's private key in PEM, which nobody else may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Certificates of authorities in PEM: then each client must have a certificate of one of them (mutual TLS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// The file of the keys that `membox keys create` and the API make; without it, api-keys.json in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// API keys; none, and no file of keys, means that everybody may ask.
    pub keys: Vec<KeyConfig>,
    /// Language models that extract facts and decide on memories: any OpenAI-compatible endpoints, tried in their
    /// order. None: what was said is compressed.
    pub llm: LlmConfig,
    /// What holds for tenants where their requests say nothing, by name.
    pub policies: BTreeMap<String, Policy>,
    /// Whether kernels that are compiled for a GPU are kept in the data folder.
    #[serde(skip, default = "yes")]
    pub keeps_kernels: bool,
}

fn yes() -> bool {
    true
}

impl Default for Config {
    fn default() -> Self {
        let (scheduler, limits) = (SchedulerConfig::default(), membox_server::Limits::default());
        Self {
            data_dir: "data".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8420)),
            model: "all-MiniLM-L6-v2".into(),
            models: Vec::new(),
            model_memory_mib: DEFAULT_MODEL_MEMORY_MIB,
            model_aliases: Vec::new(),
            compression_model: KEEP_HEAD.into(),
            keep_head: None,
            device: Device::Auto.to_string(),
            recall_gpu_mib: None,
            precision: "int8".into(),
            threads: 0,
            batch_tokens: scheduler.batch_tokens,
            query_cache: 1000,
            answer_cache: membox_memory::DEFAULT_ANSWER_CACHE,
            open_collections: membox_memory::DEFAULT_OPEN_COLLECTIONS,
            max_body_bytes: limits.max_body_bytes,
            request_memory_mib: None,
            request_timeout_s: limits.request_timeout.as_secs(),
            max_connections: limits.max_connections,
            insecure: false,
            log_format: "text".into(),
            log: "info".into(),
            metrics_key: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            master_key_file: None,
            old_master_key_files: Vec::new(),
            policy: None,
            tls_certificate_file: None,
            tls_key_file: None,
            tls_client_ca_file: None,
            keys_file: None,
            keys: Vec::new(),
            llm: LlmConfig::default(),
            policies: BTreeMap::new(),
            keeps_kernels: true,
        }
    }
}

/// Flags that every command takes.
#[derive(Args, Clone, Serialize)]
pub struct GlobalArgs {
    /// Settings file [default: membox.toml, where there is one].
    #[arg(long, global = true, env = "MEMBOX_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where everything is kept [default: ./data].
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The embedding model [default: all-MiniLM-L6-v2].
    #[arg(long, global = true, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that compresses text: keep-head, llmlingua-2 or llmlingua-2-large [default: keep-head].
    #[arg(long, global = true, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_model: Option<String>,
    /// What models run on: auto, cpu or cuda:N [default: auto, every GPU that can be used, else the CPU].
    #[arg(long, global = true, value_name = "DEVICE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Arithmetic on the CPU: int8 or f32 [default: int8].
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Encoder threads [default: one a core].
    #[arg(long, global = true, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

/// Reads every source.
pub fn load(args: &GlobalArgs) -> Result<Config> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    match &args.config {
        Some(path) if !path.exists() => bail!("the settings file {} is not there", path.display()),
        Some(path) => figment = figment.merge(Toml::file_exact(path)),
        None => figment = figment.merge(Toml::file("membox.toml")),
    }
    // Other MEMBOX_* variables are the client's (MEMBOX_KEY, MEMBOX_URL) or the build's.
    let others = ["config", "key", "url", "ca_file", "client_certificate_file", "client_key_file", "cpu", "model_dir"];
    let environment = Env::prefixed("MEMBOX_").ignore(&others);
    let config: Config = figment
        .merge(environment)
        .merge(Serialized::defaults(args))
        .extract()
        .map_err(without_secrets)
        .context("a setting is wrong (membox.toml, then MEMBOX_* variables, then flags)")?;
    config.precision.parse::<Precision>().map_err(anyhow::Error::msg).context("precision")?;
    config.device.parse::<Device>().map_err(anyhow::Error::msg).context("device")?;
    if !["text", "json"].contains(&config.log_format.as_str()) {
        bail!("log_format is text or json, not {:?}", config.log_format);
    }
    Ok(config)
}

/// What is wrong with the settings, without what they say of keys: neither a value that is of a wrong kind, nor the
/// line of a file that cannot be read.
fn without_secrets(error: figment::Error) -> anyhow::Error {
    let plain = |mut error: figment::Error| {
        let is_of_a_key = error.path.iter().any(|part| part.contains("key"));
        error.kind = match error.kind {
            Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if is_of_a_key => {
                Kind::Message(format!("{expected} is expected"))
            }
            Kind::Message(text) => Kind::Message(without_source(&text)),
            other => other,
        };
        error.to_string()
    };
    anyhow::Error::msg(error.into_iter().map(plain).collect::<Vec<_>>().join("; "))
}

/// A parser's message without the lines that it shows, which begin with `|` or with their number and that.
fn without_source(text: &str) -> String {
    let is_source = |line: &&str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    text.lines().filter(|line| !is_source(line)).collect::<Vec<_>>().join(": ")
}

impl Config {
    /// Which policy holds for whom.
    pub fn tenants_policies(&self) -> Result<Policies> {
        for (i, key) in self.keys.iter().enumerate() {
            let checked = membox_api::characters::check_characters(&key.tenant).map_err(anyhow::Error::msg);
            checked.with_context(|| format!("the tenant of entry {} of [[keys]]", i + 1))?;
        }
        let named = |name: &String| {
            let policy =
                self.policies.get(name).with_context(|| format!("there is no [policies.{name}] in the settings"))?;
            policy.check(&format!("policies/{name}"))?;
            anyhow::Ok(policy.clone())
        };
        let default = self.policy.as_ref().map(named).transpose()?.unwrap_or_default();
        let mut tenants = HashMap::new();
        for (tenant, name) in self.keys.iter().filter_map(|key| Some((&key.tenant, key.policy.as_ref()?))) {
            let policy = named(name)?;
            if tenants.insert(tenant.clone(), policy.clone()).is_some_and(|other| other != policy) {
                bail!("two keys of tenant {tenant:?} name different policies");
            }
        }
        Ok(Policies { default, tenants })
    }

    /// Where the box's certificate is, if it has one.
    pub fn tls_files(&self) -> Result<Option<TlsFiles>> {
        let (certificate, key) = match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (None, None) if self.tls_client_ca_file.is_none() => return Ok(None),
            _ => bail!("tls_certificate_file and tls_key_file go together, and tls_client_ca_file goes with both"),
        };
        private::check_secret(&key, "the private key of the certificate")?;
        Ok(Some(TlsFiles { certificate, key, client_ca: self.tls_client_ca_file.clone() }))
    }

    /// The file of managed keys.
    pub fn key_file(&self) -> KeyFile {
        KeyFile::new(self.keys_file.clone().unwrap_or_else(|| self.data_dir.join("api-keys.json")))
    }

    /// How the box over the data folder is set up.
    pub fn memory_config(&self) -> Result<MemoryConfig> {
        let read = |path: &PathBuf| {
            private::check_secret(path, "the master key")?;
            MasterKey::read(path).with_context(|| format!("the master key {}", path.display()))
        };
        let older = self.old_master_key_files.iter().map(read).collect::<Result<_>>()?;
        let encryption = match &self.master_key_file {
            Some(path) => Some(EncryptionConfig { master: read(path)?, older }),
            None => None,
        };
        Ok(MemoryConfig {
            open_collections: self.open_collections,
            answer_cache: self.answer_cache,
            policies: self.tenants_policies()?,
            encryption,
            ..MemoryConfig::new(&self.data_dir)
        })
    }

    /// The GPU that the vectors of large collections are taken to, the first that can be used, if there is one.
    pub fn row_device(&self) -> Option<Arc<dyn RowDevice>> {
        let mut ordinals = match self.device.parse().unwrap_or_default() {
            Device::Cpu => return None,
            Device::Cuda(ordinal) => ordinal..ordinal + 1,
            Device::Auto => 0..Gpu::count().ok()?,
        };
        // Why there is none, the engine says.
        let gpu = ordinals.find_map(|ordinal| Gpu::find(ordinal).ok())?;
        let bytes = self.recall_gpu_mib.map_or(gpu.memory() / 2, |mib| mib.saturating_mul(1 << 20));
        if bytes == 0 {
            return None;
        }
        tracing::info!(
            card = gpu.name(),
            mib = bytes >> 20,
            "vectors of large collections may be searched on the card"
        );
        Some(Arc::new(GpuMemory::new(gpu, self.data_dir.join("kernels"), bytes)))
    }

    /// Where models lie.
    pub fn models_dir(&self) -> PathBuf {
        self.data_dir.join("models")
    }

    /// The tenants that keys are of.
    pub fn tenants(&self) -> Vec<&str> {
        let mut tenants: Vec<&str> = self.keys.iter().map(|key| key.tenant.as_str()).collect();
        tenants.sort_unstable();
        tenants.dedup();
        tenants
    }
}

/// `membox config`.
#[derive(Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print every setting in force, as a settings file, and what holds for each tenant in words; keys are not shown.
    Show,
}

/// Runs `membox config`.
pub fn run(config: &Config, args: &ConfigArgs) -> Result<()> {
    let ConfigCommand::Show = args.command;
    let mut shown = config.clone();
    shown.llm = shown.llm.for_tenants(config.tenants().len());
    shown.llm.endpoints.iter_mut().for_each(|e| e.key = e.key.take().map(|_| NOT_SHOWN.into()));
    print!("{}", toml::to_string(&shown)?);
    // What `serve` would refuse, and what it would only say in its log.
    api_keys::read(config)?.warnings.iter().for_each(|warning| println!("\n# {warning}"));
    let policies = config.tenants_policies()?;
    let mut tenants = config.tenants();
    if tenants.is_empty() {
        tenants.push(DEFAULT_TENANT);
    }
    for tenant in tenants {
        println!("\n# What holds for tenant {tenant}, where its requests say nothing else:");
        policies.of(tenant).explain(config.master_key_file.is_some()).iter().for_each(|line| println!("#   {line}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of settings that cannot be read.
    fn said_of(settings: &str) -> String {
        let read = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(settings));
        format!("{:#}", without_secrets(read.extract::<Config>().expect_err(settings)))
    }

    #[test]
    fn settings_that_cannot_be_read_are_named_without_their_keys() {
        let said = said_of("threads = 1\n[[keys]]\nkey = \"4711 secret\ntenant = \"a\"\n");
        assert!(said.contains("line 3") && !said.contains("4711"), "{said}");
        for settings in ["[[keys]]\nkey = 4711\ntenant = \"a\"\n", "keys = \"4711\"\n", "metrics_key = 4711\n"] {
            let said = said_of(settings);
            assert!(said.contains("key") && said.contains("expected") && !said.contains("4711"), "{said}");
        }
        assert!(said_of("threads = \"many\"\n").contains("many"), "others are shown");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let settings = "metrics_key = \"4711\"\n[[keys]]\nkey = \"4712\"\ntenant = \"a\"\n";
        let read = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(settings));
        let config: Config = read.extract().expect("settings");
        let shown = format!("{config:?} {}", toml::to_string(&config).expect("settings"));
        assert!(shown.contains(NOT_SHOWN) && !shown.contains("471"), "{shown}");
        assert_eq!(config.keys[0].key.as_ref().map(Secret::reveal), Some("4712"));
    }
}
