//! The examples do what their pages say.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The real MiniLM, which `make model` installs. It is part of the tests: without it they fail.
fn model() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/all-MiniLM-L6-v2");
    let folder = std::env::var_os("MEMBOX_TEST_MODEL").map_or(default, PathBuf::from);
    assert!(folder.join("model.safetensors").exists(), "no model in {}: run `make model` first", folder.display());
    folder
}

/// What an example prints.
fn said(example: &mut Command, input: &str) -> String {
    let mut child = example.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the example");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("a pipe");
    let ended = child.wait_with_output().expect("its end");
    assert!(ended.status.success());
    String::from_utf8(ended.stdout).expect("text")
}

#[test]
fn what_is_near_in_meaning_is_near() {
    let cosine = |other: &str| -> f32 {
        let mut example = Command::new(env!("CARGO_BIN_EXE_compare"));
        said(example.arg(model()).args(["Where did we park?", other]), "").trim().parse().expect("a number")
    };
    assert!(cosine("We left the car on the second level.") > cosine("Bread wants flour, water and salt.") + 0.1);
}

#[test]
fn a_compressed_text_is_shorter_and_keeps_what_counts() {
    let text = "So, um, I have been thinking that we should, you know, move the launch to 14 March 2027, if that is \
                all right.";
    let mut example = Command::new(env!("CARGO_BIN_EXE_compress"));
    let left = said(example.arg(model()).arg("0.6"), text);
    assert!(left.len() < text.len() * 3 / 4 && left.contains("14 March 2027"), "{left}");
}

#[test]
fn a_note_is_recalled_by_what_it_means_and_by_a_second_run_too() {
    let folder = tempfile::tempdir().expect("a folder");
    for question in ["Where is the spare key?", "Where is the car?"] {
        let mut example = Command::new(env!("CARGO_BIN_EXE_remember"));
        let found = said(example.arg(model()).arg(folder.path().join("data")).arg(question), "");
        let expected = if question.contains("key") { "under the blue pot" } else { "second level" };
        assert!(found.contains(expected), "{found}");
    }
}
