//! Images and recordings: kept as they were given, found by what is said of them, and gone with their messages.

use crate::common::{Server, data_with_model, files_with, membox, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

fn picture(seed: u8) -> Vec<u8> {
    let image = RgbImage::from_fn(400, 300, |x, y| Rgb([x as u8 ^ seed, y as u8, seed]));
    let mut bytes = Vec::new();
    DynamicImage::from(image).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("an image");
    bytes
}

/// A recording whose samples can be looked for in files.
fn recording(samples: &[u8]) -> Vec<u8> {
    let length = samples.len() as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples);
    bytes
}

fn message(id: &str, kind: &str, content: &str, media: Value) -> Value {
    json!({"id": id, "role": "user", "type": kind, "content": content, "media": media})
}

fn image(id: &str, caption: &str, bytes: &[u8]) -> Value {
    message(id, "image", caption, json!({"data": format!("data:image/png;base64,{}", STANDARD.encode(bytes))}))
}

fn audio(id: &str, transcript: &str, bytes: &[u8], seconds: f64) -> Value {
    message(id, "audio", transcript, json!({"data": STANDARD.encode(bytes), "seconds": seconds, "language": "en"}))
}

fn append(server: &Server, session: &str, messages: Value) -> Value {
    post(server, &format!("/v1/sessions/{session}/messages"), &json!({"user": "lena", "messages": messages}))
}

/// Status, content type and bytes of a message's file.
fn media(server: &Server, path: &str) -> (u16, String, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(format!("{}/v1/sessions/{path}", server.url)).call().expect("an answer");
    let kind =
        response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    (response.status().as_u16(), kind, response.body_mut().read_to_vec().expect("a body"))
}

/// Names of the files of images and recordings in a data folder.
fn kept(data: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for collection in std::fs::read_dir(data.join("collections")).expect("a folder").flatten() {
        let files = std::fs::read_dir(collection.path().join("media")).into_iter().flatten().flatten();
        names.extend(files.map(|file| file.file_name().to_string_lossy().into_owned()));
    }
    names
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().expect("hits").iter().map(|hit| hit["id"].as_str().expect("an id")).collect()
}

#[test]
fn they_are_kept_as_they_were_given_and_found_by_caption_and_transcript() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let (png, wav) = (picture(1), recording(b"some samples"));
    let messages = json!([
        {"id": "t", "role": "user", "content": "Look what I have here."},
        image("i", "A red bicycle in front of the town hall.", &png),
        audio("a", "Please buy two bags of soil for the garden.", &wav, 12.5),
        audio("b", "And some seeds.", &recording(b"others"), 2.25),
    ]);
    append(&server, "s", messages);
    let (_, view) = server.call("GET", "/v1/sessions/s/messages/i", &Value::Null);
    let shown = &view["media"];
    assert_eq!(
        (&shown["content_type"], &shown["width"], &shown["height"]),
        (&json!("image/png"), &json!(400), &json!(300)),
        "{view}"
    );
    assert_eq!((&shown["bytes"], shown["sha256"].as_str().map(str::len)), (&json!(png.len()), Some(64)));
    assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).1["audio_seconds"], 14.75);
    let (_, view) = server.call("GET", "/v1/sessions/s/messages/a", &Value::Null);
    assert_eq!((&view["media"]["seconds"], &view["media"]["language"]), (&json!(12.5), &json!("en")), "{view}");

    assert_eq!(media(&server, "s/messages/i/media"), (200, "image/png".into(), png.clone()));
    let (status, kind, bytes) = media(&server, "s/messages/i/media?thumbnail=true");
    let small = image::load_from_memory(&bytes).expect("an image");
    assert_eq!((status, kind.as_str(), small.width(), small.height()), (200, "image/jpeg", 200, 150));
    let (status, kind, bytes) = media(&server, "s/messages/a/media");
    assert!(status == 200 && kind.starts_with("audio/") && bytes == wav, "{kind}");
    assert_eq!(media(&server, "s/messages/a/media?thumbnail=true").0, 422);
    assert_eq!(media(&server, "s/messages/t/media").0, 404);
    assert_eq!(media(&server, "s/messages/none/media").0, 404);

    let ask = |query: &str, modality: &str| {
        let body = json!({"query": query, "k": 4, "modality": modality});
        post(&server, "/v1/collections/user-lena/recall", &body)
    };
    let found = ask("Where was the bike?", "all");
    assert_eq!(ids(&found)[0], "s/i");
    assert_eq!(found["hits"][0]["modality"], "image");
    assert_eq!(ids(&ask("What is to be bought?", "audio")).len(), 2);
    assert_eq!(ids(&ask("What is to be bought?", "image")), ["s/i"]);
    assert_eq!(ids(&ask("bicycle", "text")), ["s/t"]);
    let (_, page) = server.call("GET", "/v1/sessions/s/messages?modality=audio", &Value::Null);
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2), "{page}");

    // A caption that comes later.
    append(&server, "s", json!([image("late", "", &picture(2))]));
    let path = "/v1/sessions/s/messages/late";
    let (status, patched) = server.call("PATCH", path, &json!({"content": "An owl on the roof of the barn at night."}));
    assert_eq!((status, patched["tokens"].as_u64() > Some(5)), (200, true), "{patched}");
    let near = json!({"query": "a bird on a farm building", "mode": "vector", "k": 1});
    assert_eq!(ids(&post(&server, "/v1/collections/user-lena/recall", &near)), ["s/late"]);
    let (status, problem) = server.call("PATCH", "/v1/sessions/s/messages/t", &json!({"content": "Never said."}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/content")));

    // What has an answer is there after a kill.
    server.kill_9();
    let server = Server::start(&data, &[]);
    assert_eq!(media(&server, "s/messages/i/media").2, png);
}

#[test]
fn what_cannot_be_kept_is_refused_and_nothing_of_its_request_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let png = STANDARD.encode(picture(1));
    for (kind, media, status, pointer) in [
        ("image", json!({"data": "not base64!"}), 400, "/messages/1/media/data"),
        ("image", json!({"data": STANDARD.encode(b"no image at all")}), 422, "/messages/1/media/data"),
        ("image", json!({"data": ""}), 422, "/messages/1/media/data"),
        ("audio", json!({"data": png}), 422, "/messages/1/media/data"),
        ("audio", json!({"data": STANDARD.encode(recording(b"x")), "seconds": -1}), 422, "/messages/1/media/seconds"),
        ("text", json!({"data": png}), 422, "/messages/1/media"),
        ("image", json!({"data": STANDARD.encode(vec![0u8; (16 << 20) + 1])}), 422, "/messages/1/media/data"),
    ] {
        let body = json!({"messages": [image("first", "fine", &picture(3)), message("second", kind, "no", media)]});
        let (found, problem) = server.call("POST", "/v1/sessions/s/messages", &body);
        assert_eq!((found, &problem["errors"][0]["pointer"]), (status, &json!(pointer)), "{problem}");
    }
    assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).0, 404);
    assert_eq!(kept(&data), Vec::<String>::new(), "no file is written before all of them were looked at");
}

#[test]
fn a_file_is_there_once_and_goes_with_the_last_message_that_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let png = picture(1);
    append(&server, "one", json!([image("x", "the same", &png)]));
    append(&server, "two", json!([image("y", "the same again", &png), audio("z", "said", &recording(b"abc"), 1.0)]));
    let files = kept(&data);
    assert_eq!(files.len(), 3, "an image, what is small of it, and a recording: {files:?}");
    assert_eq!(server.call("DELETE", "/v1/sessions/one", &Value::Null).0, 200);
    // One that has left its session's list is given out too.
    let capped =
        json!({"user": "lena", "max_messages": 1, "messages": [image("p", "once", &png), image("q", "twice", &png)]});
    post(&server, "/v1/sessions/capped/messages", &capped);
    // In one archive with everything else that is remembered of a user.
    let (_, _, archive) = server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    let lines: Vec<Value> = archive.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of_y = lines.iter().find(|line| line["message"]["id"] == "y").expect("the message");
    assert_eq!(of_y["media"], json!(STANDARD.encode(&png)));
    assert_eq!(lines.iter().filter(|line| line["media"] == of_y["media"]).count(), 3, "{lines:?}");
    assert_eq!(server.call("DELETE", "/v1/sessions/capped", &Value::Null).0, 200);
    assert_eq!(media(&server, "two/messages/y/media").2, png, "another message has it");
    assert_eq!(server.call("DELETE", "/v1/sessions/two/messages/y", &Value::Null).0, 204);
    let begun = Instant::now();
    while kept(&data).len() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", kept(&data));
        std::thread::sleep(Duration::from_millis(100));
    }
    server.job("/v1/users/lena/erase", &Value::Null);
    assert_eq!(kept(&data), Vec::<String>::new());
}

#[test]
fn they_are_in_backups_sealed_with_the_tenant_and_never_given_out_damaged() {
    const MARKER: &str = "zanzibar";
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let run = |data: &Path, arguments: &[&str]| {
        let output = membox(data).args(arguments).output().expect("the binary");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let server = Server::start(&data, &[]);
    let wav = recording(MARKER.as_bytes());
    append(&server, "s", json!([audio("a", "a recording", &wav, 1.0), image("i", "an image", &picture(9))]));
    server.stop();
    assert_eq!(files_with(&data, MARKER).len(), 1, "as it was given");
    // From the start with a key on, it is sealed; so is what comes.
    assert!(run(&data, &["keys", "new", "master"]).0);
    let key = [("MEMBOX_MASTER_KEY_FILE", "master")];
    let server = Server::try_start(&data, &[], &key).expect("a server");
    while server.call("GET", "/v1/tenant", &Value::Null).1["settled"] != true {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = recording(b"zanzibar, a second time");
    append(&server, "s", json!([audio("b", "another", &second, 1.0)]));
    server.job("/v1/tenant:rotate", &Value::Null);
    assert_eq!(files_with(&data, MARKER), Vec::<String>::new());
    assert_eq!((media(&server, "s/messages/a/media").2, media(&server, "s/messages/b/media").2), (wav.clone(), second));
    let backup = folder.path().join("backup");
    let (done, said) = run(&data, &["backup", backup.to_str().expect("a path")]);
    assert!(done, "{said}");
    server.stop();

    std::fs::write(folder.path().join("membox.toml"), "master_key_file = \"master\"").expect("a file");
    let restored = folder.path().join("restored");
    let (done, said) = run(&restored, &["restore", backup.to_str().expect("a path")]);
    assert!(done, "{said}");
    std::os::unix::fs::symlink(data.join("models"), restored.join("models")).expect("a link");
    let (whole, said) = run(&restored, &["verify"]);
    assert!(whole, "{said}");
    let server = Server::start(&restored, &[]);
    assert_eq!(media(&server, "s/messages/a/media").2, wav);
    // A bit flips in a thumbnail: it is made of its image again.
    let name = kept(&restored).into_iter().find(|name| name.ends_with(".small")).expect("a thumbnail");
    let small = media(&server, "s/messages/i/media?thumbnail=true");
    flip(&restored, &name);
    assert!(media(&server, "s/messages/i/media?thumbnail=true") == small);
    server.stop();
    let (whole, said) = run(&restored, &["verify"]);
    assert!(whole, "{said}");
    // Or found by verify, and removed by rebuild.
    flip(&restored, &name);
    let (_, said) = run(&restored, &["verify"]);
    assert!(said.contains(&name), "{said}");
    let (done, said) = run(&restored, &["rebuild"]);
    assert!(done, "{said}");
    assert!(!kept(&restored).contains(&name));
    let server = Server::start(&restored, &[]);
    assert!(media(&server, "s/messages/i/media?thumbnail=true") == small);
    // One in the image itself is never given out.
    let name = name.trim_end_matches(".small");
    flip(&restored, name);
    let (status, kind, _) = media(&server, "s/messages/i/media");
    assert_eq!((status, kind.as_str()), (500, "application/problem+json"));
    server.stop();
    let (whole, said) = run(&restored, &["verify"]);
    assert!(!whole && said.contains(name), "{said}");
}

/// Changes a bit in the middle of a file of a message.
fn flip(data: &Path, name: &str) {
    let folders = std::fs::read_dir(data.join("collections")).expect("a folder").flatten();
    let mut files = folders.map(|collection| collection.path().join("media").join(name));
    let file = files.find(|path| path.exists()).expect("the file");
    let mut bytes = std::fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, bytes).expect("written");
}
