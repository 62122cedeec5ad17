//! A real server, and clients that speak to it byte by byte.

use membox_memory::{MemoryBox, MemoryConfig, Models};
use membox_server::{Limits, Server, ServerConfig, listen};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

pub const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A box on a socket of its own.
pub struct Running {
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "the test hears a panic when it joins the thread")]
pub fn start(limits: Limits) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = Arc::new(MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box"));
    let server = Server::new(memory, ServerConfig { limits, ..ServerConfig::default() }).expect("a server");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(async { listen(LOCAL) }).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || runtime.block_on(server.run(listener, async { drop(stopped.await) })));
    Running { address, stop: Some(stop), thread: Some(thread), _folder: folder }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[allow(dead_code, reason = "not every test file stops a server by hand")]
impl Running {
    /// Asks it to stop, and waits for nothing.
    pub fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }
}

pub fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    stream
}

/// What the server says until it closes the connection.
pub fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
