//! The Model Context Protocol at `/mcp` (streamable HTTP): what a model may do with the memory, as tools.
//!
//! Stateless, so any number of clients share one box; both clients of today (`initialize`) and those since
//! 2026-07-28 (`server/discover`) are served. `membox mcp` is the same over stdin and stdout, for clients that
//! start their servers themselves.

mod lightmem;
mod messages;
mod tools;

use crate::auth::Caller;
use crate::problem::Problem;
use crate::request::with_budget;
use crate::state::AppState;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::Response;
use membox_api::ToolFailure;
use membox_threads::budget::RequestBudget;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod, CompleteRequestParams,
    CompleteResult, Implementation, ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesRequestMethod,
    ListResourceTemplatesResult, ListResourcesRequestMethod, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use std::sync::Arc;

/// What a model is told about the box.
const INSTRUCTIONS: &str = "A memory that lasts. Search it before you answer what may have been said before; add \
    what is worth remembering in \
                            one sentence each; append messages to a session to keep a conversation. Give `user` \
                            wherever it is known: each user's memories \
                            are apart.";

#[derive(Clone)]
struct Mcp {
    state: AppState,
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("membox", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // A tool that could only be refused costs a model tokens.
        let caller = caller(&context)?;
        let may = tools::ALL.iter().filter(|tool| caller.may(&tool.rule()).is_ok());
        Ok(ListToolsResult::with_all_items(may.map(|tool| tool.described.clone()).collect()))
    }

    // What is not declared is not there: an empty list would say that it is.
    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourceTemplatesRequestMethod>())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::ALL.iter().map(|tool| &tool.described).find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::ALL.iter().find(|tool| tool.described.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None));
        };
        let parts = context.extensions.get::<Parts>();
        if let Some(messages::Inexact(problem)) = parts.and_then(|parts| parts.extensions.get()) {
            return Ok(failure(problem).into());
        }
        let caller = caller(&context)?;
        if let Err(problem) = caller.may(&tool.rule()) {
            return Ok(failure(&problem).into());
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let memory = self.state.memory.clone();
        let pool = (tool.pool)(&self.state);
        metrics::counter!("membox_mcp_calls_total", "tool" => tool.described.name.to_string()).increment(1);
        // The protocol's own tasks run it, which know of no request.
        let budget = Arc::new(RequestBudget::of(&caller.tenant));
        let call = pool.run(move || (tool.run)(&memory, &caller, arguments));
        let done: Result<Value, Problem> = with_budget(budget, call).await;
        Ok(done.map_or_else(|problem| failure(&problem), CallToolResult::structured).into())
    }
}

/// Whose call it is.
fn caller(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let caller = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Caller>());
    caller.cloned().ok_or_else(|| ErrorData::internal_error("the request has no caller", None))
}

/// What the model did wrong it can put right: it is told, as a result and not as an error of the protocol.
fn failure(problem: &Problem) -> CallToolResult {
    let failure = ToolFailure { error: problem.detail.clone(), fields: problem.errors.clone() };
    CallToolResult::structured_error(serde_json::to_value(failure).unwrap_or_default())
}

/// Lets in who has a key, and says to the tools whose it is.
async fn authenticate(State(state): State<AppState>, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = <Caller as axum::extract::FromRequestParts<AppState>>::from_request_parts(&mut parts, &state).await?;
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The route of the protocol.
pub fn router(state: &AppState) -> Router<AppState> {
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = false;
    config.json_response = true;
    config.max_request_body_bytes = state.limits.max_body_bytes;
    // Names and origins are looked at before every route alike, by `guard`.
    config = config.disable_allowed_hosts();
    let handler = Mcp { state: state.clone() };
    let service =
        StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config);
    Router::new()
        .route_service("/mcp", service)
        .route_layer(middleware::from_fn_with_state(state.clone(), messages::hand_on))
        .route_layer(middleware::from_fn_with_state(state.clone(), authenticate))
}
