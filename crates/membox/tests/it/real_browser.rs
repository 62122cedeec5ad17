//! The same in a real browser, where one is installed: Chromium loads pages of other sites, which then try to use a
//! box. Without a browser these tests say that they are skipped.

use crate::common::{Server, data_with_model};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

/// Names of Chromium, in the order in which they are looked for.
const NAMES: [&str; 4] = ["chromium-headless-shell", "chromium", "google-chrome", "chrome"];

fn browser() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|file| file.is_file());
    let found = NAMES.into_iter().find_map(find);
    if found.is_none() {
        eprintln!("skipped: there is no Chromium on the PATH");
    }
    found
}

/// What a page has become once its scripts have run, and what the browser has written about it. Names that end in
/// `.example` are this machine.
fn load(url: &str) -> Option<(String, String)> {
    let profile = tempfile::tempdir().expect("a folder");
    let output = Command::new(browser()?)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"])
        .args(["--host-resolver-rules=MAP *.example 127.0.0.1", "--virtual-time-budget=15000", "--timeout=60000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", url])
        .output()
        .expect("the browser");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (page, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && !page.is_empty(), "{url}: {log}");
    Some((page, log))
}

/// Serves a page to whoever asks for whatever, on a port of this machine.
fn serve(listener: TcpListener, page: String) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = page.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n");
            let _ = write!(stream, "{head}connection: close\r\n\r\n{page}");
        }
    });
}

/// A page that tries all that pages can, and notes what came of it.
fn page(url: &str) -> String {
    format!(
        r#"<!doctype html><link rel=icon href="data:,"><pre id=notes></pre><img src="{url}/v1/users/mallory/export">
<form id=form method=post target=frame action="{url}/v1/users/lena/erase"></form><iframe name=frame></iframe>
<iframe src="{url}/docs/"></iframe>
<script>
const note = text => document.getElementById("notes").textContent += text + "\n";
async function attempt(name, path, options) {{
  try {{
    const answer = await fetch("{url}" + path, options);
    note(name + ": " + answer.type + " " + answer.status + " " + (await answer.text()).slice(0, 200));
  }} catch (error) {{ note(name + ": failed"); }}
}}
(async () => {{
  const json = {{ "content-type": "application/json", "x-stainless-lang": "js" }};
  await attempt("reads", "/v1/collections");
  await attempt("posts a text", "/v1/collections/c/rebuild", {{ method: "POST", mode: "no-cors", body: "" }});
  const body = JSON.stringify({{ query: "key" }});
  await attempt("posts JSON", "/v1/collections/c/recall", {{ method: "POST", headers: json, body }});
  await attempt("drops", "/v1/collections/c", {{ method: "DELETE" }});
  document.getElementById("form").submit();
  note("done");
}})();
</script>"#
    )
}

#[test]
fn pages_of_other_sites_get_nothing_and_those_that_are_allowed_all() {
    if browser().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (evil, app) = (listen(), listen());
    let origin = |host: &str, at: &TcpListener| format!("http://{host}:{}", at.local_addr().expect("a port").port());
    let (evil_origin, app_origin) = (origin("evil.example", &evil), origin("app.example", &app));
    let settings = format!("allowed_origins = [\"{app_origin}\"]\n");
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data, &[]);
    serve(evil, page(&server.url));
    serve(app, page(&server.url));
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let said = json!({"user": "lena", "messages": [{"role": "user", "content": "the spare key is under the pot"}]});
    assert_eq!(server.call("POST", "/v1/sessions/s/messages", &said).0, 200);
    let entries = || server.call("GET", "/v1/audit?limit=1000", &Value::Null).1["entries"].as_array().map(Vec::len);
    let before = entries();
    let (notes, log) = load(&evil_origin).expect("a page");
    for name in ["reads: failed", "posts a text: failed", "posts JSON: failed", "drops: failed", "done"] {
        assert!(notes.contains(name), "{name} is not in {notes}{log}");
    }
    assert_eq!(entries(), before, "nothing was done");
    assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).1["messages"], json!(1));
    // A picture, a frame, a form, and four tries of a script.
    let refused = server.count("membox_foreign_requests_total{by=\"origin\"}");
    assert!(refused >= 7, "{refused}: {notes}{log}");
    let (notes, log) = load(&app_origin).expect("a page");
    for name in ["reads: cors 200 {\"collections\"", "posts JSON: cors 200", "drops: cors 204", "done"] {
        assert!(notes.contains(name), "{name} is not in {notes}{log}");
    }
    // A name that others have made resolve to this machine.
    let rebound = server.url.replace("127.0.0.1", "evil.example");
    let (page, _) = load(&format!("{rebound}/v1/collections")).expect("a page");
    assert!(page.contains("allowed_hosts") && !page.contains("\"collections\""), "{page}");
    server.stop();
}

#[test]
fn the_pages_for_people_work_within_their_policies() {
    if browser().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    for (path, shown) in [("/docs/", "/v1/collections/{collection}/"), ("/dashboard", "all-MiniLM-L6-v2 on ")] {
        let (page, log) = load(&format!("{}{path}", server.url)).expect("a page");
        assert!(page.replace('\u{200b}', "").replace("<wbr>", "").contains(shown), "{path}: {page}{log}");
        assert!(!log.contains("Content Security Policy"), "{path}: {log}");
    }
    server.stop();
}
