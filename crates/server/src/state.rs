//! What every handler has at hand, and the limits it works within.

use crate::guard::Guard;
use crate::key_file::KeyFile;
use crate::keys::{ApiKey, Keys, Refusals};
use crate::managed::Managed;
use crate::pool::Pool;
use crate::tls::TlsFiles;
use crate::trace::Spans;
use membox_memory::{BOX_LOG, MemoryBox};
use membox_threads::room::Room;
use metrics_exporter_prometheus::PrometheusHandle;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

/// Limits of the server. Each has a flag of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Bytes of memory that requests have together: their bodies, what is made of these, and their answers. One tenant
    /// has at most half of it.
    pub request_memory_bytes: usize,
    /// Texts of one embedding request.
    pub max_inputs: usize,
    /// Time that a request may take, its body's arrival included.
    pub request_timeout: Duration,
    /// Time that the handshake of TLS may take.
    pub handshake_timeout: Duration,
    /// Time that the head of a request may take to arrive, and that a connection may idle between two.
    pub header_timeout: Duration,
    /// Time that an answer may lie in a connection whose client takes nothing of it.
    pub write_timeout: Duration,
    /// Connections open at the same time.
    pub max_connections: usize,
    /// Time that requests under way have to end when the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            request_memory_bytes: 1 << 30,
            max_inputs: 2048,
            request_timeout: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_connections: 16_384,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Keys that may ask; none means that everybody may, as tenant `default`.
    pub keys: Vec<ApiKey>,
    /// The key that shows the metrics of a box with keys, with the names of all tenants' collections.
    pub metrics_key: Option<ApiKey>,
    /// The file of managed keys, if the box has any. It need not be there; once it is, nobody asks without a key.
    pub key_file: Option<KeyFile>,
    /// Its certificate: then it speaks TLS, and nothing else.
    pub tls: Option<TlsFiles>,
    /// Names that a box without keys answers to, beside addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may ask, such as `https://app.example`.
    pub allowed_origins: Vec<String>,
    /// Its limits.
    pub limits: Limits,
    /// Further names of the embedding model, for clients that name one.
    pub model_aliases: Vec<String>,
    /// Whether requests have spans.
    pub spans: Spans,
}

/// Locks of threads, by the hash of their names.
#[derive(Debug)]
pub(crate) struct CheckpointLocks([RwLock<()>; 64]);

impl Default for CheckpointLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl CheckpointLocks {
    /// The lock of a thread.
    pub fn of(&self, tenant: &str, thread: &str) -> &RwLock<()> {
        let mut hasher = DefaultHasher::new();
        (tenant, thread).hash(&mut hasher);
        &self.0[hasher.finish() as usize % self.0.len()]
    }
}

/// Shared by all handlers.
#[derive(Clone)]
pub struct AppState {
    pub(crate) memory: Arc<MemoryBox>,
    pub(crate) keys: Arc<Keys>,
    /// The keys of the file of keys, where the box has one.
    pub(crate) managed: Option<Arc<Managed>>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) limits: Arc<Limits>,
    /// Memory that requests share.
    pub(crate) room: Arc<Room>,
    pub(crate) model_aliases: Arc<Vec<String>>,
    pub(crate) started_at: SystemTime,
    /// For what reads: recalls and look-ups.
    pub(crate) reads: Arc<Pool>,
    /// For what waits for the disk or for a bulk encoding.
    pub(crate) writes: Arc<Pool>,
    /// For what makes memories, which may wait a minute for a language model: nobody else waits behind it.
    pub(crate) pipeline: Arc<Pool>,
    pub(crate) metrics: PrometheusHandle,
    /// Who may only add looks whether a checkpoint is there before it writes: nobody else writes it in between.
    pub(crate) checkpoint_locks: Arc<CheckpointLocks>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) spans: Spans,
}

impl AppState {
    /// Takes managed keys up that have changed, and has the audit log say which keys were refused. It waits for files.
    pub(crate) fn look_after_keys(&self) {
        if let Some(managed) = &self.managed {
            managed.look(&self.memory);
        }
        for Refusals { peer, times } in self.keys.take_refusals() {
            let noted = self.memory.audit().audit(BOX_LOG, "unknown", "refuse keys", &peer, times);
            if let Err(error) = noted {
                tracing::warn!(%error, peer, times, "the audit log does not say that keys were refused");
            }
        }
    }
}
