//! TLS by rustls: certificates that are read again while the box runs, and handshakes that hold up nobody.
//!
//! A new certificate is for new connections; those under way keep theirs. A file that cannot be used is logged, and the
//! certificate of before stays, as nginx does on a reload. The provider of cryptography is ring, which ureq has too.

use crate::ServerError;
use crate::key_file::Stamp;
use crate::rate::Throttle;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// With what a connection of TLS begins; no request of HTTP begins so.
const HANDSHAKE: u8 = 0x16;
/// HTTP/2, as both sides agree on it.
const HTTP_2: &[u8] = b"h2";
/// What a client hears that speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: \
                          45\r\n\r\nthis port speaks TLS: call it by https://...\n";

/// How much of such a request is read and thrown away, in bytes.
const MAX_PLAIN_REQUEST: u64 = 1 << 20;
/// How long it may take to come.
const MAX_LINGER: Duration = Duration::from_secs(1);

/// Where the certificate of a box is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, with those that lead to a root, in PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// Certificates of authorities, in PEM: then a client must have one of theirs.
    pub client_ca: Option<PathBuf>,
}

/// What a connection reads and writes.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connection on which an answer that nobody reads is not kept.
type Timed = Pin<Box<TimeoutStream<TcpStream>>>;

/// The certificate of a running box.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// The files that were looked at last, also where they could not be used.
    seen: Mutex<Vec<Option<Stamp>>>,
    log: Throttle,
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.paths().map(|path| Stamp::of(path).ok()).collect()
    }

    fn read(&self) -> Result<ServerConfig, ServerError> {
        let provider = Arc::new(ring::default_provider());
        let failed = |path: &Path, reason: String| ServerError::Tls { path: path.to_owned(), reason };
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| failed(&self.key, error.to_string()))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&self.certificate, error.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| failed(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let failed = |reason: String| ServerError::Tls { path: path.to_owned(), reason };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("there is no certificate in it".to_owned())) } else { Ok(found) }
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>, ServerError> {
    let failed = |reason: String| ServerError::Tls { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.build().map(|verifier| verifier as _).map_err(|error| failed(error.to_string()))
}

impl Tls {
    /// Reads the files. What cannot be used is an error.
    pub fn new(files: TlsFiles) -> Result<Self, ServerError> {
        // Before they are read: what changes meanwhile is read again.
        let seen = Mutex::new(files.stamps());
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Self { files, current, seen, log: Throttle::default() })
    }

    /// Reads the files again, whether they have changed or not. On an error the certificate of before stays.
    pub fn reload(&self) -> Result<(), ServerError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = self.files.stamps();
        let config = self.files.read()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        tracing::info!(certificate = %self.files.certificate.display(), "the TLS certificate was read again");
        Ok(())
    }

    /// Reads the files again if they have changed.
    pub(crate) fn look(&self) {
        let has_changed = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != self.files.stamps();
        if has_changed && let Err(error) = self.reload() {
            tracing::error!("the TLS certificate stays as it is: {error}");
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }

    /// Shakes hands with a client, within a time, and says whether they are to speak HTTP/2; `None` where that fails,
    /// which is logged once in a while.
    pub(crate) async fn accept(
        &self,
        stream: Timed,
        peer: SocketAddr,
        within: Duration,
    ) -> Option<(Box<dyn Socket>, bool)> {
        let shaken = tokio::time::timeout(within, self.shake_hands(stream)).await;
        let reason = match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the handshake took too long".to_owned(),
        };
        metrics::counter!("membox_tls_failures_total").increment(1);
        if let Some(times) = self.log.count(Instant::now()) {
            tracing::warn!(%peer, reason, times, "a connection could not be made by TLS");
        }
        None
    }

    async fn shake_hands(&self, mut stream: Timed) -> io::Result<(Box<dyn Socket>, bool)> {
        let mut first = [0];
        let length = stream.as_ref().get_ref().get_ref().peek(&mut first).await?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client said nothing"));
        }
        if first[0] != HANDSHAKE {
            let _ = stream.write_all(PLAIN_HTTP.as_bytes()).await;
            let _ = stream.shutdown().await;
            // A socket that is closed with unread bytes is reset, and a client that is still sending would see that
            // instead of the answer.
            let mut rest = stream.take(MAX_PLAIN_REQUEST);
            let _ = tokio::time::timeout(MAX_LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
            let reason = "the client spoke plain HTTP, and this port speaks TLS: its URL must begin with https://";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let stream = self.acceptor().accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok((Box::new(stream), is_http2))
    }
}
