//! Bodies in gzip and zstd, paths with slashes at their end, and traces in the log.

use crate::common::{Server, data_with_model, post};
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Asks, and gives the status, the head and the body as it came.
fn ask(server: &Server, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a connection");
    let length = body.len();
    let request = format!("{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body)).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut body = answer.split_off(end);
    if head.contains("transfer-encoding: chunked") {
        body = in_one(&body);
    }
    (status, head, body)
}

/// A chunked body in one.
fn in_one(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = chunks.windows(2).position(|two| two == b"\r\n").expect("a length");
        let length = std::str::from_utf8(&chunks[..line]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let (length, rest) = (length.expect("a length"), &chunks[line + 2..]);
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[..length]);
        chunks = &rest[length + 2..];
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(text, Compression::fast()).read_to_end(&mut packed).expect("gzip");
    packed
}

/// Up to 255 bytes as a frame of zstd that holds them as they are.
fn zstd(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let block = (u32::from(length) << 3 | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length], &block[..3], text].concat()
}

#[test]
fn bodies_come_in_gzip_and_zstd_and_go_out_so_where_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &["--max-body-bytes", "100000"]);
    post_records(&server);
    let head = |encoding: &str| {
        format!(
            "POST /v1/collections/c/records HTTP/1.1\r\ncontent-type: application/json\r\ncontent-encoding: {encoding}"
        )
    };
    let record = br#"{"records": [{"id": "packed", "text": "the boat is in the shed"}]}"#;
    for (encoding, body) in [("gzip", gzip(record)), ("zstd", zstd(record)), ("identity", record.to_vec())] {
        let (status, _, answer) = ask(&server, &head(encoding), &body);
        assert_eq!(status, 200, "{encoding}: {}", String::from_utf8_lossy(&answer));
    }
    let (status, told, answer) = ask(&server, &head("br"), record);
    assert!(status == 415 && told.contains("accept-encoding: zstd, gzip"), "{told}");
    assert!(String::from_utf8_lossy(&answer).contains("content-encoding"));
    assert_eq!(ask(&server, &head("gzip"), record).0, 400, "it is no gzip");
    assert_eq!(ask(&server, &head("gzip"), &gzip(record)[..40]).0, 400, "it is cut off");
    // What it is without its encoding counts.
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 300_000);
    assert_eq!(ask(&server, &head("gzip"), &gzip(&vec![b' '; 200_000])).0, 413);
    assert_eq!(ask(&server, &head("gzip"), &bomb).0, 413);

    let get = |accept: &str| {
        ask(&server, &format!("GET /v1/collections/c/records?limit=100 HTTP/1.1\r\naccept-encoding: {accept}"), &[])
    };
    let (_, plain, whole) = get("identity");
    assert!(!plain.contains("content-encoding"));
    let (status, told, packed) = get("gzip");
    assert!(status == 200 && told.contains("content-encoding: gzip") && told.contains("vary: "), "{told}");
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, whole);
    assert!(packed.len() * 4 < whole.len(), "{} of {}", packed.len(), whole.len());
    let (_, told, packed) = get("zstd, gzip;q=0.5");
    assert!(told.contains("content-encoding: zstd") && packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "{told}");
    assert!(!ask(&server, "GET /health HTTP/1.1\r\naccept-encoding: gzip", &[]).1.contains("content-encoding"));
    server.stop();
}

fn post_records(server: &Server) {
    server.call("PUT", "/v1/collections/c", &json!({}));
    let record = |i: usize| json!({"id": format!("r{i}"), "text": format!("note {i} of the river and the boat")});
    post(server, "/v1/collections/c/records", &json!({"records": (0..50).map(record).collect::<Vec<_>>()}));
}

#[test]
fn a_slash_at_the_end_of_a_path_does_not_count_but_of_a_deletion() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c/", &json!({})).0, 201);
    assert_eq!(server.call("GET", "/v1/collections/c/?", &Value::Null).1["name"], "c");
    assert_eq!(server.call("POST", "/v1/collections/c/records/", &json!({"records": [{"text": "x"}]})).0, 200);
    assert_eq!(server.call("PUT", "/v1/threads/t/checkpoints/1", &json!({"state": 1})).0, 200);
    assert_eq!(server.call("DELETE", "/v1/threads/t/checkpoints/", &Value::Null).0, 404, "of an id that is empty");
    assert_eq!(server.call("GET", "/v1/threads/t/checkpoints/1/", &Value::Null).0, 200);
    assert_eq!(server.raw("GET", "/docs/", &[], Vec::new()).0, 200);
    server.stop();
}
