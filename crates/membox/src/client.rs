//! The client of a running box.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Tries of a request that is answered by 429 or 503.
const TRIES: u32 = 30;

/// Where the box is, and by which key.
#[derive(Args)]
pub struct ClientArgs {
    /// The running box.
    #[arg(long, env = "MEMBOX_URL", default_value = "http://127.0.0.1:8420", value_name = "URL")]
    url: String,
    /// The API key, if the box has keys.
    #[arg(long, env = "MEMBOX_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// What a client trusts, and by what it is trusted, where the box speaks TLS.
#[derive(Args, Clone, Default)]
pub struct TlsArgs {
    /// Certificates of authorities in PEM, one of which the box's certificate must be of [default: those of the web].
    #[arg(long, env = "MEMBOX_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The client's own certificate in PEM, where the box wants one (tls_client_ca_file).
    #[arg(long, env = "MEMBOX_CLIENT_CERTIFICATE_FILE", value_name = "FILE", requires = "client_key_file")]
    client_certificate_file: Option<PathBuf>,
    /// That certificate's private key in PEM.
    #[arg(long, env = "MEMBOX_CLIENT_KEY_FILE", value_name = "FILE", requires = "client_certificate_file")]
    client_key_file: Option<PathBuf>,
}

impl TlsArgs {
    /// How a client speaks TLS by these.
    pub fn config(&self) -> Result<TlsConfig> {
        let mut config = TlsConfig::builder();
        if let Some(path) = &self.ca_file {
            config = config.root_certs(RootCerts::new_with_certs(&certificates(path)?));
        }
        if let (Some(certificate), Some(key)) = (&self.client_certificate_file, &self.client_key_file) {
            let pem = std::fs::read(key).with_context(|| format!("cannot read {}", key.display()))?;
            let own = PrivateKey::from_pem(&pem).with_context(|| format!("{} holds no private key", key.display()))?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&certificates(certificate)?, own)));
        }
        Ok(config.build())
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.with_context(|| path.display().to_string())? {
            found.push(certificate);
        }
    }
    ensure!(!found.is_empty(), "{} holds no certificate", path.display());
    Ok(found)
}

/// What a box answers instead of doing what it was asked.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    /// JSON pointer to the field that is wrong, where the box names one.
    pub pointer: String,
    pub detail: String,
    request: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {} {} {}", self.request, self.status, self.pointer, self.detail)
    }
}

impl std::error::Error for Refusal {}

/// A name as a part of a path.
pub fn in_path(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => part.push(char::from(byte)),
            other => part.push_str(&format!("%{other:02X}")),
        }
    }
    part
}

/// A client of one box.
pub struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
}

impl Client {
    /// For the box that the flags name.
    pub fn new(args: &ClientArgs) -> Result<Self> {
        let config = Agent::config_builder().http_status_as_error(false).tls_config(args.tls.config()?);
        let agent = config.timeout_global(Some(Duration::from_secs(300))).build().into();
        Ok(Self { agent, url: args.url.trim_end_matches('/').to_owned(), key: args.key.clone() })
    }

    /// Sends a body as it is and gives the JSON of the answer, whatever its status; null where it has no body.
    pub fn send(&self, path: &str, headers: &[(&str, String)], body: &str) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let mut request =
            ureq::http::Request::builder().method("POST").uri(&url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let asked = self.agent.run(request.body(body.to_owned())?);
        let mut response =
            asked.with_context(|| format!("{url} does not answer; is the box running (`membox serve`)?"))?;
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
        match serde_json::from_str::<Value>(&text) {
            _ if text.is_empty() => Ok(Value::Null),
            Ok(problem) if problem["detail"].is_string() => bail!("{}", problem["detail"].as_str().unwrap_or_default()),
            Ok(answer) => Ok(answer),
            Err(_) => bail!("{url} answered {}: {text}", response.status()),
        }
    }

    /// Where the box is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends JSON and gives the JSON of the answer; waits and tries again where the box says that it is busy. An
    /// answer that is none is a [`Refusal`].
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.call_with(method, path, &serde_json::to_vec(body)?)
    }

    /// As [`Client::call`], with a body that is JSON already.
    pub fn call_with(&self, method: &str, path: &str, body: &[u8]) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        for attempt in 0..TRIES {
            let mut request =
                ureq::http::Request::builder().method(method).uri(&url).header("content-type", "application/json");
            if let Some(key) = &self.key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            let sent = match method {
                "GET" => self.agent.run(request.body(())?),
                _ => self.agent.run(request.body(body.to_vec())?),
            };
            let mut response =
                sent.with_context(|| format!("{url} does not answer; is the box running (`membox serve`)?"))?;
            let status = response.status().as_u16();
            let retry = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
            let text = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
            match status {
                200..300 if text.is_empty() => return Ok(Value::Null),
                200..300 => {
                    return serde_json::from_str(&text).with_context(|| format!("{url} answered what is not JSON"));
                }
                429 | 503 if attempt + 1 < TRIES && (status == 429 || retry.is_some()) => {
                    std::thread::sleep(Duration::from_secs(retry.unwrap_or(1).clamp(1, 60)));
                }
                _ => {
                    let problem: Value = serde_json::from_str(&text).unwrap_or_default();
                    let detail = problem["detail"].as_str().unwrap_or(&text).to_owned();
                    let pointer = problem["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
                    return Err(Refusal { status, pointer, detail, request: format!("{method} {path}") }.into());
                }
            }
        }
        bail!("{method} {path}: the box stayed busy")
    }
}
