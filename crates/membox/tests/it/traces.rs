//! Spans of requests reach a collector that the environment names: here, one that reads what it is sent.

use crate::common::{Server, data_with_model};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0aa902c7";

/// A collector, and what it is sent: the service's name and a span.
fn collector() -> (String, Receiver<(String, Span)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, spans) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut length, mut line, mut head) = (0, String::new(), String::new());
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                head.push_str(&lower);
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            assert!(head.starts_with("post /v1/traces ") && head.contains("x-token: secret"), "{head}");
            let request = ExportTraceServiceRequest::decode(&body[..]).expect("spans in protobuf");
            for of_service in request.resource_spans {
                let attributes = of_service.resource.expect("a resource").attributes;
                let name = attributes.into_iter().find(|attribute| attribute.key == "service.name").expect("a name");
                let Some(Any::StringValue(name)) = name.value.and_then(|value| value.value) else { panic!("a text") };
                for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    let _ = sender.send((name.clone(), span));
                }
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = reader.into_inner().write_all(answer.as_bytes());
        }
    });
    (url, spans)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a record and asks for it, each with `traceparent`.
fn used(server: &Server, flags: &str) {
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    let headers = [("content-type", "application/json"), ("traceparent", parent.as_str())];
    let send = |path: &str, body: serde_json::Value| {
        let (status, _, text) = server.raw("POST", path, &headers, body.to_string().into_bytes());
        assert_eq!(status, 200, "{text}");
    };
    send("/v1/collections/c/records", json!({"records": [{"text": "The key is under the pot."}]}));
    send("/v1/collections/c/recall", json!({"query": "where is the key?"}));
}

#[test]
fn spans_of_route_encoder_search_and_store_are_sent_and_joined_to_the_callers_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, sent) = collector();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret"),
        ("OTEL_SERVICE_NAME", "box-of-tests"),
    ];
    let server = Server::try_start(&data_with_model(folder.path()), &[], &environment).expect("a box");
    used(&server, "01");
    // A stop sends what waits.
    server.stop();
    let all: Vec<(String, Span)> = std::iter::from_fn(|| sent.recv_timeout(Duration::from_millis(500)).ok()).collect();
    assert!(all.iter().all(|(service, _)| service == "box-of-tests"));
    let spans: Vec<&Span> = all.iter().map(|(_, span)| span).collect();
    let named = |name: &str| -> Vec<&&Span> { spans.iter().filter(|span| span.name == name).collect() };
    for (route, within) in [
        ("POST /v1/collections/{collection}/records", &["encode", "store.write"][..]),
        ("POST /v1/collections/{collection}/recall", &["encode", "search", "store.read"][..]),
    ] {
        let [span] = named(route)[..] else { panic!("one span of {route}: {spans:?}") };
        assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE, PARENT));
        let status = span.attributes.iter().find(|attribute| attribute.key == "http.response.status_code");
        let status = status.and_then(|found| found.value.as_ref()?.value.clone());
        assert_eq!(status, Some(Any::IntValue(200)), "{span:?}");
        for name in within {
            let of_route = |own: &&&&Span| own.parent_span_id == span.span_id && own.trace_id == span.trace_id;
            assert_eq!(named(name).iter().filter(of_route).count(), 1, "{name} of {route}: {spans:?}");
        }
    }
    let [made] = named("PUT /v1/collections/{collection}")[..] else { panic!("one span") };
    assert!(made.parent_span_id.is_empty() && hex(&made.trace_id) != TRACE, "a trace of its own");
}

#[test]
fn a_sampler_decides_and_a_collector_that_does_not_answer_holds_up_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, sent) = collector();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let server = Server::try_start(&data_with_model(folder.path()), &[], &environment).expect("a box");
    used(&server, "00");
    server.stop();
    assert!(sent.recv_timeout(Duration::from_millis(500)).is_err());
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "600")];
    let server = Server::try_start(&data_with_model(folder.path()), &[], &environment).expect("a box");
    used(&server, "01");
    server.stop();
}

#[test]
fn a_protocol_that_is_not_spoken_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    assert!(Server::try_start(&data_with_model(folder.path()), &[], &environment).is_none());
}
