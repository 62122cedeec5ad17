//! Processes that find a software card where NVIDIA's libraries would be.

use crate::faults::VARIABLE;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The names that are looked for.
pub const LIBRARIES: [&str; 3] = ["libcuda.so", "libcublasLt.so", "libnvrtc.so"];

/// The library, which cargo builds beside the tests that depend on it.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a test");
    let path = test.with_file_name("libmembox_software_card.so");
    assert!(path.is_file(), "{} is not built", path.display());
    path
}

/// A folder with some of the libraries, for `LD_LIBRARY_PATH`.
pub fn folder(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        std::os::unix::fs::symlink(library(), folder.path().join(name)).expect("a link");
    }
    folder
}

/// Runs one test of this binary again, in a process with a software card.
fn again(test: &str, faults: &str, libraries: &[&str]) -> Output {
    let folder = folder(libraries);
    Command::new(std::env::current_exe().expect("a test"))
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(VARIABLE, format!(" {faults}"))
        .env("LD_LIBRARY_PATH", folder.path())
        // What a Python of this machine has is not looked for.
        .env("HOME", folder.path())
        .env_remove("VIRTUAL_ENV")
        .env_remove("CONDA_PREFIX")
        .output()
        .expect("a process")
}

/// The body of a test, in a process of its own that has a software card. `test` is its name.
pub fn on_card(test: &str, faults: &str, libraries: &[&str], body: impl FnOnce()) {
    if std::env::var_os(VARIABLE).is_some() {
        return body();
    }
    let output = again(test, faults, libraries);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let has_run = stdout.contains("1 passed");
    assert!(output.status.success() && has_run, "{test} on a software card ({faults}):\n{stdout}\n{stderr}");
    println!("{stdout}");
}

/// [`on_card`] for the test that this stands in.
#[macro_export]
macro_rules! on_card {
    ($faults:expr, $body:expr) => {
        $crate::on_card!($faults, &$crate::process::LIBRARIES, $body)
    };
    ($faults:expr, $libraries:expr, $body:expr) => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here).trim_end_matches("::here");
        let name = name.split_once("::").map_or(name, |(_, name)| name);
        $crate::process::on_card(name, $faults, $libraries, $body)
    }};
}
