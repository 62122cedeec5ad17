//! TLS on a real socket: certificates that change, clients that have none, and others that speak something else.

use axum::http::{Request, StatusCode};
use membox_memory::{MemoryBox, MemoryConfig, Models};
use membox_server::{Limits, Server, ServerConfig, Tls, TlsFiles, listen};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        Signed { certificate: params.signed_by(&key, &self.0).expect("a certificate"), key }
    }

    /// What a client trusts, and has of its own.
    fn client(&self, own: Option<Signed>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(Signed { certificate, key }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a certificate")
            }
        })
    }
}

impl Signed {
    fn write(&self, folder: &Path) -> TlsFiles {
        let (certificate, key) = (folder.join("box.crt"), folder.join("box.key"));
        fs::write(&certificate, self.certificate.pem()).expect("a file");
        fs::write(&key, self.key.serialize_pem()).expect("a file");
        TlsFiles { certificate, key, client_ca: None }
    }
}

struct Running {
    address: SocketAddr,
    tls: Arc<Tls>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "the test hears a panic when it joins the thread")]
fn start(files: TlsFiles, limits: Limits) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = Arc::new(MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box"));
    let server = Server::new(memory, ServerConfig { tls: Some(files), limits, ..ServerConfig::default() });
    let server = server.expect("a server");
    let tls = server.tls().expect("TLS");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(async { listen("127.0.0.1:0".parse().expect("an address")) }).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || runtime.block_on(server.run(listener, async { drop(stopped.await) })));
    Running { address, tls, stop: Some(stop), thread: Some(thread), _folder: folder }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        stream
    }

    /// What `/health` answers, and the box's certificate; or why there is no answer.
    fn ask(&self, client: &Arc<ClientConfig>) -> Result<(String, CertificateDer<'static>), String> {
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(client.clone(), name).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, self.connect());
        let request = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
        let shown = stream.conn.peer_certificates().and_then(|chain| chain.first()).expect("a certificate");
        Ok((String::from_utf8_lossy(&answer).into_owned(), shown.clone().into_owned()))
    }
}

#[test]
fn a_box_with_a_certificate_speaks_tls_and_nothing_else() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let running = start(authority.sign("localhost").write(folder.path()), Limits::default());
    let (answer, _) = running.ask(&authority.client(None)).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("alive"), "{answer}");
    let mut plain = running.connect();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 400") && said.ends_with("call it by https://...\n"), "{said}");
    // Also where the answer is there before the request is whole.
    let mut slow = running.connect();
    slow.write_all(b"POST /v1/compress HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n").expect("a head");
    slow.peek(&mut [0]).expect("an answer");
    for byte in b"{  }" {
        slow.write_all(&[*byte]).expect("the box reads on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut said = String::new();
    slow.shutdown(std::net::Shutdown::Write).expect("an open connection");
    slow.read_to_string(&mut said).expect("the answer is whole");
    assert!(said.starts_with("HTTP/1.1 400") && said.ends_with("call it by https://...\n"), "{said}");
    let stranger = Authority::new().client(None);
    let refused = running.ask(&stranger).expect_err("a client that does not trust it");
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[test]
fn who_offers_http_2_in_the_handshake_is_answered_by_it() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let running = start(authority.sign("localhost").write(folder.path()), Limits::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = |protocols: &[&str]| {
        let mut config = authority.client(None).as_ref().clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = running.connect();
        socket.set_nonblocking(true).expect("a socket of tokio's");
        runtime.block_on(async {
            let socket = tokio::net::TcpStream::from_std(socket).expect("a socket");
            let name = "localhost".try_into().expect("a name");
            let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake");
            let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            if agreed.as_deref() != Some(b"h2") {
                return (agreed, None);
            }
            let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            let request = Request::builder().uri("https://localhost/health").body(()).expect("a request");
            let (answer, _) = client.send_request(request, true).expect("a stream");
            (agreed, Some(answer.await.expect("an answer").status()))
        })
    };
    assert_eq!(ask(&["h2", "http/1.1"]), (Some(b"h2".to_vec()), Some(StatusCode::OK)));
    assert_eq!(ask(&["http/1.1"]), (Some(b"http/1.1".to_vec()), None));
    assert_eq!(ask(&[]), (None, None));
}

#[test]
fn a_new_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let first = authority.sign("localhost");
    let running = start(first.write(folder.path()), Limits::default());
    let client = authority.client(None);
    let shown = || running.ask(&client).expect("an answer").1;
    assert_eq!(&shown(), first.certificate.der());
    fs::write(folder.path().join("box.crt"), "no certificate").expect("a file");
    let refused = running.tls.reload().expect_err("a broken file").to_string();
    assert!(refused.contains("box.crt"), "{refused}");
    assert_eq!(&shown(), first.certificate.der());
    let second = authority.sign("localhost");
    fs::write(folder.path().join("box.crt"), second.certificate.pem()).expect("a file");
    assert!(running.tls.reload().is_err(), "the key is that of the first");
    assert_eq!(&shown(), first.certificate.der());
    // Without being asked to, once both are there.
    second.write(folder.path());
    let begun = Instant::now();
    while &shown() != second.certificate.der() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the new certificate is not taken up");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn with_an_authority_of_clients_each_client_has_a_certificate_of_it() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let of_clients = Authority::new();
    let client_ca = folder.path().join("clients.crt");
    fs::write(&client_ca, of_clients.0.pem()).expect("a file");
    let files = TlsFiles { client_ca: Some(client_ca), ..authority.sign("localhost").write(folder.path()) };
    let running = start(files, Limits::default());
    assert!(running.ask(&authority.client(None)).is_err());
    assert!(running.ask(&authority.client(Some(authority.sign("app")))).is_err(), "another authority's");
    let (answer, _) = running.ask(&authority.client(Some(of_clients.sign("app")))).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn who_does_not_shake_hands_holds_up_nobody_and_is_let_go() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let limits = Limits { max_connections: 3, handshake_timeout: Duration::from_secs(2), ..Limits::default() };
    let running = start(authority.sign("localhost").write(folder.path()), limits);
    let mut silent: Vec<TcpStream> = (0..2).map(|_| running.connect()).collect();
    silent[1].write_all(&[0x16, 3, 1]).expect("the beginning of a handshake");
    let client = authority.client(None);
    assert!(running.ask(&client).is_ok(), "others are served meanwhile");
    let third = running.connect();
    for mut stream in silent.into_iter().chain([third]) {
        assert!(matches!(stream.read_to_end(&mut Vec::new()), Ok(0) | Err(_)), "it is closed");
    }
    assert!(running.ask(&client).is_ok(), "and their places are free");
}
