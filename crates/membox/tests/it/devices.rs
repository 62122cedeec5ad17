//! What a box computes on: a GPU where there is one, and a clear word where there is none.

use crate::common::{Server, data_with_model, membox};
use serde_json::Value;

#[test]
fn a_gpu_is_used_or_the_reason_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &["--device", "auto"]);
    let (_, info) = server.call("GET", "/info", &Value::Null);
    let (engine, reason) = (info["engine"].as_str().expect("an engine"), info["why_not_cuda"].as_str());
    assert!(engine.starts_with("cuda") == reason.is_none(), "{engine}: {reason:?}");
    let (_, metrics) = server.call("GET", "/metrics", &Value::Null);
    assert!(metrics.as_str().is_some_and(|text| text.contains("membox_card_lost 0")), "{metrics}");
    server.stop();

    let server = Server::start(&data, &["--device", "cpu"]);
    let (_, info) = server.call("GET", "/info", &Value::Null);
    assert!(info["engine"].as_str().is_some_and(|engine| engine.starts_with("cpu")), "{info}");
    assert_eq!(info["why_not_cuda"], Value::Null, "none was looked for");
    server.stop();
}

#[test]
fn a_gpu_that_is_asked_for_and_cannot_be_had_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    for (device, wanted) in [("cuda:99", "device = cuda:99 cannot be had"), ("gpu", "auto, cpu or cuda:N")] {
        for command in ["bench", "serve"] {
            let output = membox(&data).args([command, "--device", device]).output().expect("the binary");
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && text.contains(wanted), "{command} {device}: {text}");
        }
    }
}
