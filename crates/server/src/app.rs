//! The router, and the server around it: time limits on slow clients, and a stop that drains.

use crate::access;
use crate::auth::Peer;
use crate::connections::{Connection, Connections};
use crate::contract::{self, Contract};
use crate::dialect;
use crate::guard::{self, Guard};
use crate::http::{self, Protocols};
use crate::keys::Keys;
use crate::managed::{self, Managed};
use crate::pool::{Pool, PoolSize};
use crate::problem::Problem;
use crate::routes::{
    agent_memory, collections, compress, conversations, engines, jobs, keys, lists, mem0, memories, models, operations,
    recall, records, sessions, tei, tenants, threads, usage, users,
};
use crate::state::{AppState, Limits, ServerConfig};
use crate::tls::{Socket, Tls};
use crate::{ServerError, encodings, paths, recorder, request, trace};
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use membox_memory::MemoryBox;
use membox_threads::room::Room;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Connections that may wait to be accepted, as far as the system allows (`net.core.somaxconn`).
const WAITING_CONNECTIONS: u32 = 4096;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "membox",
        description = "A memory box for LLM clusters: embed, compress, index and recall conversation histories.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(
        schemas(
            Problem,
            dialect::OpenAiProblem,
            dialect::OpenAiError,
            dialect::TeiProblem,
            membox_api::Scope
        )
    ),
    tags(
        (name = "engines", description = "Vectors, compression and tokens"),
        (name = "collections", description = "Named sets of records"),
        (name = "records", description = "What is remembered"),
        (name = "recall", description = "What do we remember about this?"),
        (name = "sessions", description = "Conversations: messages in order, context within a budget, queues"),
        (name = "conversations", description = "Sessions as OpenAI's Conversations have them"),
        (name = "mem0", description = "Memories as mem0's clients say them"),
        (name = "mem0_server", description = "The same, as mem0's own server has them"),
        (name = "agent_memory", description = "Memories as clients of Redis' agent-memory-server say them"),
        (
            name = "memories",
            description = "From what is said to memories: topics, facts, and what newer ones make of older ones"
        ),
        (name = "threads", description = "Checkpoints of an agent's state"),
        (name = "users", description = "All of a user: export, erasure, audit"),
        (name = "keys", description = "Keys of the API: made, listed and revoked"),
        (name = "tenants", description = "A tenant as a whole: its key, and its end"),
        (name = "jobs", description = "Long work"),
        (name = "operations", description = "For whoever runs the box")
    ),
)]
struct ApiDoc;

fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(engines::embeddings))
        .routes(routes!(models::list))
        .routes(routes!(models::get))
        .routes(routes!(models::get_of))
        .routes(routes!(engines::embeddings_of_any_model))
        .routes(routes!(tei::embed))
        .routes(routes!(tei::embed_at_root, tei::about::health_at_root))
        .routes(routes!(tei::invocations))
        .routes(routes!(tei::vertex))
        .routes(routes!(tei::embed_all))
        .routes(routes!(tei::sparse::embed_sparse))
        .routes(routes!(tei::rerank::rerank))
        .routes(routes!(tei::rerank::rerank_of_cohere))
        .routes(routes!(tei::rerank::rerank_of_jina))
        .routes(routes!(tei::other_models::predict))
        .routes(routes!(tei::similarity))
        .routes(routes!(tei::tokens::tokenize))
        .routes(routes!(tei::tokens::decode))
        .routes(routes!(tei::about::info))
        .routes(routes!(tei::about::ping))
        .routes(routes!(engines::tokens))
        .routes(routes!(engines::chunks))
        .routes(routes!(compress::compress))
        .routes(routes!(collections::list))
        .routes(routes!(collections::create, collections::describe, collections::remove))
        .routes(routes!(collections::reembed))
        .routes(routes!(collections::token_vectors))
        .routes(routes!(collections::rebuild))
        .routes(routes!(collections::consolidate))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::job, jobs::cancel_job))
        .routes(routes!(records::upsert, records::page))
        .routes(routes!(records::get, records::patch, records::delete))
        .routes(routes!(records::delete_many))
        .routes(routes!(lists::get_many))
        .routes(routes!(lists::count))
        .routes(routes!(lists::facets))
        .routes(routes!(lists::scroll))
        .routes(routes!(lists::patch_many))
        .routes(routes!(records::forget))
        .routes(routes!(recall::recall))
        .routes(routes!(recall::batch))
        .routes(routes!(memories::add))
        .routes(routes!(memories::update))
        .routes(routes!(memories::topics))
        .routes(routes!(mem0::hosted::ping))
        .routes(routes!(mem0::hosted::add))
        .routes(routes!(mem0::hosted::search))
        .routes(routes!(mem0::hosted::list))
        .routes(routes!(mem0::hosted::get, mem0::hosted::update))
        .routes(routes!(mem0::hosted::delete))
        .routes(routes!(mem0::hosted::delete_all))
        .routes(routes!(mem0::hosted::history))
        .routes(routes!(mem0::hosted::entities))
        .routes(routes!(mem0::hosted::delete_entity))
        .routes(routes!(mem0::hosted::profile))
        .routes(routes!(mem0::hosted::batch_update))
        .routes(routes!(mem0::hosted::batch_delete))
        .routes(routes!(mem0::hosted::feedback))
        .routes(routes!(mem0::hosted::create_export))
        .routes(routes!(mem0::hosted::get_export))
        .routes(routes!(mem0::hosted::summary))
        .routes(routes!(agent_memory::routes::health))
        .routes(routes!(agent_memory::routes::list))
        .routes(routes!(agent_memory::routes::get, agent_memory::routes::put, agent_memory::routes::delete))
        .routes(routes!(agent_memory::routes::add, agent_memory::routes::delete_many))
        .routes(routes!(agent_memory::routes::search))
        .routes(routes!(agent_memory::routes::forget))
        .routes(routes!(agent_memory::routes::get_memory, agent_memory::routes::patch_memory))
        .routes(routes!(agent_memory::routes::prompt))
        .routes(routes!(mem0::server::add, mem0::server::list, mem0::server::delete_all))
        .routes(routes!(mem0::server::get, mem0::server::update, mem0::server::delete))
        .routes(routes!(mem0::server::history))
        .routes(routes!(mem0::server::search))
        .routes(routes!(mem0::server::reset))
        .routes(routes!(conversations::create))
        .routes(routes!(conversations::get, conversations::update, conversations::delete))
        .routes(routes!(conversations::add_items, conversations::items))
        .routes(routes!(conversations::item, conversations::delete_item))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::put, sessions::get, sessions::delete))
        .routes(routes!(sessions::append, sessions::messages))
        .routes(routes!(sessions::message, sessions::patch_message, sessions::delete_message))
        .routes(routes!(sessions::media))
        .routes(routes!(sessions::context))
        .routes(routes!(sessions::push, sessions::queue))
        .routes(routes!(sessions::take))
        .routes(routes!(sessions::acknowledge))
        .routes(routes!(threads::list, threads::delete))
        .routes(routes!(threads::threads))
        .routes(routes!(threads::namespaces))
        .routes(routes!(threads::put_blob, threads::get_blob))
        .routes(routes!(threads::prune))
        .routes(routes!(threads::copy))
        .routes(routes!(threads::put, threads::get, threads::delete_one))
        .routes(routes!(threads::put_writes))
        .routes(routes!(usage::report, usage::usage))
        .routes(routes!(usage::set_quota, usage::quota, usage::remove_quota))
        .routes(routes!(users::erase))
        .routes(routes!(tenants::tenant))
        .routes(routes!(tenants::rotate))
        .routes(routes!(tenants::erase))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(users::export))
        .routes(routes!(users::audit))
        .routes(routes!(users::profile, users::patch_profile, users::build_profile))
        .routes(routes!(operations::health))
        .routes(routes!(operations::ready))
        .routes(routes!(operations::metrics))
}

/// The OpenAPI document of every route, as `/openapi.json` gives it.
pub fn openapi() -> Result<serde_json::Value, ServerError> {
    crate::openapi::finish(&routes().split_for_parts().1).map_err(ServerError::Document)
}

/// A connection that was accepted.
struct Accepted {
    peer: SocketAddr,
    held: Arc<Connection>,
    /// Asks it to end when the server stops.
    stop: watch::Receiver<()>,
}

/// The server of one box.
#[derive(Clone)]
pub struct Server {
    pub(crate) state: AppState,
    /// Also what tests ask without a socket.
    pub(crate) router: Router,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Sets a server up; it listens when it is [run](Server::run).
    pub fn new(memory: Arc<MemoryBox>, config: ServerConfig) -> Result<Self, ServerError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let keys = Arc::new(Keys::new(config.keys, config.metrics_key));
        let managed = config.key_file.map(|file| Managed::begin(file, keys.clone()).map(Arc::new)).transpose()?;
        let tls = config.tls.map(|files| Tls::new(files).map(Arc::new)).transpose()?;
        let has_tenants = !keys.is_open();
        let pool = |name, threads, waiting| {
            let size = PoolSize::new(has_tenants, threads, waiting);
            Pool::new(name, size).map(Arc::new).map_err(ServerError::Threads)
        };
        let state = AppState {
            memory,
            keys,
            managed,
            guard: Arc::new(Guard::new(&config.allowed_hosts, &config.allowed_origins)?),
            room: Arc::new(Room::new(config.limits.request_memory_bytes)),
            limits: Arc::new(config.limits),
            // More threads than cores: a recall waits for the engine, a write for the disk.
            reads: pool("read", cores * 4, 1024)?,
            writes: pool("write", (cores * 8).max(32), 1024)?,
            pipeline: pool("pipeline", cores.max(8), 256)?,
            metrics: recorder::handle(),
            model_aliases: Arc::new(config.model_aliases),
            started_at: std::time::SystemTime::now(),
            checkpoint_locks: Arc::default(),
            stopping: Arc::new(AtomicBool::new(false)),
            spans: config.spans,
        };
        recorder::show_counters();
        let (router, document) = routes().split_for_parts();
        let contract = Contract::of(&document);
        let document = crate::openapi::finish(&document).map_err(ServerError::Document)?;
        // Its badge would ask a server of others whether the document is valid.
        let docs_config = utoipa_swagger_ui::Config::default().validator_url("none");
        let docs = utoipa_swagger_ui::SwaggerUi::new("/docs").config(docs_config);
        let docs = Router::from(docs.external_url_unchecked("/openapi.json", document));
        let request_id = HeaderName::from_static("x-request-id");
        let router = router
            .route_layer(middleware::from_fn_with_state(contract, contract::hold))
            .route_layer(middleware::from_fn_with_state(state.clone(), access::hold))
            .merge(crate::mcp::router(&state))
            .route("/dashboard", axum::routing::get(operations::dashboard))
            .route_layer(middleware::from_fn_with_state(state.clone(), measure))
            .merge(docs.layer(middleware::from_fn(guard::add_docs_headers)))
            .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is no such route; GET /docs shows all") })
            .method_not_allowed_fallback(|| async {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this route has other methods; GET /docs shows all")
            })
            .layer(middleware::from_fn_with_state(state.clone(), limit_time))
            .layer(middleware::from_fn_with_state(state.clone(), request::budget))
            .layer(CatchPanicLayer::custom(|_| {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed inside the box; its log says more")
                    .into_response()
            }));
        let router = match state.guard.cors() {
            Some(cors) => router.layer(cors),
            None => router,
        };
        let router = router
            .layer(middleware::from_fn_with_state(state.clone(), guard::admit))
            .layer(middleware::from_fn(guard::add_headers))
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
            .layer(middleware::from_fn(encodings::check))
            .layer(middleware::from_fn(dialect::speak))
            .layer(middleware::map_response(encodings::fuse))
            .layer(encodings::compression())
            .layer(PropagateRequestIdLayer::new(request_id.clone()))
            .layer(SetRequestIdLayer::new(request_id, MakeRequestUuid))
            .with_state(state.clone());
        Ok(Self { state, router, tls })
    }

    /// The certificate, which can be read again while the server runs; `None` where it speaks plain HTTP.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// The keys, which can be replaced while the server runs.
    pub fn keys(&self) -> Arc<Keys> {
        self.state.keys.clone()
    }

    /// Serves a connection to its end. A handshake is made here, so that nobody waits behind one.
    async fn serve(&self, stream: TcpStream, accepted: Accepted, protocols: Protocols) {
        let Accepted { peer, held, stop } = accepted;
        let Limits { write_timeout, handshake_timeout, .. } = *self.state.limits;
        let served = async {
            let _ = stream.set_nodelay(true);
            // An answer that nobody reads is not kept.
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(write_timeout));
            let stream = Box::pin(stream);
            let (socket, is_http2): (Box<dyn Socket>, _) = match &self.tls {
                None => (Box::new(stream), None),
                Some(tls) => match tls.accept(stream, peer, handshake_timeout).await {
                    Some((socket, is_http2)) => (socket, Some(is_http2)),
                    None => return,
                },
            };
            let router = self.router.clone().map_request(move |mut request: Request<_>| {
                request.extensions_mut().insert(Peer(Some(peer)));
                http::name_host(&mut request);
                paths::normalize(&mut request);
                request
            });
            protocols.serve((socket, is_http2), &held, router, stop).await;
        };
        tokio::select! {
            () = served => {}
            () = held.told_to_close() => {}
        }
    }

    /// Looks at files that may change while the box runs.
    fn watch(&self) -> AbortHandle {
        let (state, tls) = (self.state.clone(), self.tls.clone());
        let looks = async move {
            let mut ticks = tokio::time::interval(managed::LOOKS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let (state, tls) = (state.clone(), tls.clone());
                let look = move || {
                    state.look_after_keys();
                    tls.inspect(|tls| tls.look());
                };
                let _ = tokio::task::spawn_blocking(look).await;
            }
        };
        tokio::spawn(looks).abort_handle()
    }

    /// Serves `listener` until `stop` resolves, then finishes the requests under way (within the drain time) and
    /// returns.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let Limits { max_connections, drain_timeout, .. } = *self.state.limits;
        let protocols = Protocols::new(&self.state.limits);
        let connections = Connections::new(max_connections);
        // Each connection has the receiver until it ends.
        let (stopping, stopped) = watch::channel(());
        let mut upkeep = tokio::time::interval(recorder::UPKEEP);
        let watch = self.watch();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = upkeep.tick() => {
                    self.state.metrics.run_upkeep();
                    continue;
                }
                () = &mut stop => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: those in use must be given back first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    connections.close_one();
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(held) = connections.admit(peer.ip()) else {
                tracing::warn!(max_connections, "a connection over the limit was closed: none idles");
                continue;
            };
            let (server, accepted) = (self.clone(), Accepted { peer, held, stop: stopped.clone() });
            let protocols = protocols.clone();
            tokio::spawn(async move { server.serve(stream, accepted, protocols).await });
            connections.settle().await;
        }
        drop(listener);
        watch.abort();
        self.state.stopping.store(true, Ordering::Release);
        drop(stopped);
        let _ = stopping.send(());
        if tokio::time::timeout(drain_timeout, stopping.closed()).await.is_err() {
            tracing::warn!("some requests did not end within the drain time and are cut off");
        }
        let _ = tokio::task::spawn_blocking(move || self.state.look_after_keys()).await;
    }
}

/// A socket where thousands may arrive at once, as all clients do after a restart: those that the queue of waiting
/// connections has no room for are lost, or reset once they have sent a request. Must be called within a tokio
/// runtime.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_CONNECTIONS)
}

/// Times each request by its route, for the metrics, the log and the caller.
async fn measure(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", |p| p.as_str()).to_owned();
    let method = request.method().clone();
    let id = request.headers().get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let of_trace = trace::read(request.headers()).map(|trace| (trace.trace.to_owned(), trace.parent.to_owned()));
    let (trace, parent) = of_trace.unwrap_or_default();
    let span = state.spans.begin(&method, &route, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    let total = format!("total;dur={:.3}", begun.elapsed().as_secs_f64() * 1e3);
    if let Ok(value) = HeaderValue::from_str(&total) {
        response.headers_mut().append("server-timing", value);
    }
    let (seconds, status) = (begun.elapsed().as_secs_f64(), response.status().as_u16());
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    metrics::histogram!("membox_request_seconds", "route" => route.clone(), "status" => status.to_string())
        .record(seconds);
    let ms = seconds * 1e3;
    tracing::debug!(%method, route, status, ms, request_id = id, trace_id = trace, parent_id = parent, "request");
    response
}

async fn limit_time(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(state.limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took longer than this box allows").into_response()
        }
    }
}
