//! Kernels compiled as C++ by the compiler that also builds FAISS.

use half::{bf16, f16};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

/// A kind of 16-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    F16,
    Bf16,
}

impl Half {
    pub fn narrow(self, x: &[f32]) -> Vec<u16> {
        match self {
            Self::F16 => x.iter().map(|x| f16::from_f32(*x).to_bits()).collect(),
            Self::Bf16 => x.iter().map(|x| bf16::from_f32(*x).to_bits()).collect(),
        }
    }

    pub fn widen(self, x: &[u16]) -> Vec<f32> {
        match self {
            Self::F16 => x.iter().map(|x| f16::from_bits(*x).to_f32()).collect(),
            Self::Bf16 => x.iter().map(|x| bf16::from_bits(*x).to_f32()).collect(),
        }
    }

    /// The share of a number that its rounding may change.
    pub fn step(self) -> f64 {
        match self {
            Self::F16 => 1.0 / 1024.0,
            Self::Bf16 => 1.0 / 128.0,
        }
    }
}

/// A kernel file as a library.
#[derive(Clone)]
pub struct Kernels(Arc<libloading::Library>);

type Key = (String, Half, Vec<(&'static str, usize)>);

impl Kernels {
    /// Compiles `kernels/NAME.cu`, once for the same defines.
    pub fn compile(name: &str, half: Half, defines: &[(&'static str, usize)]) -> Self {
        static COMPILED: LazyLock<Mutex<HashMap<Key, Kernels>>> = LazyLock::new(Mutex::default);
        let mut compiled = COMPILED.lock().expect("compiled kernels");
        compiled.entry((name.to_owned(), half, defines.to_vec())).or_insert_with(|| build(name, half, defines)).clone()
    }

    /// A launcher of host.cpp, whose signature the caller knows.
    pub fn get<T: Copy>(&self, name: &str) -> T {
        // SAFETY: the libraries are our own; that T is the launcher's signature is the caller's promise, at each of
        // whose calls it is said.
        unsafe { *self.0.get::<T>(name.as_bytes()).expect("a launcher") }
    }
}

fn build(name: &str, half: Half, defines: &[(&'static str, usize)]) -> Kernels {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = crate_folder.join("../../kernels");
    let text: Vec<String> = defines.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let library: PathBuf = FOLDER.path().join(format!("{name}-{half:?}-{}.so", text.join("-")));
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut command = Command::new(compiler);
    command.args([
        "-std=c++17",
        "-O2",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-Wno-unused-function",
        "-Wno-unknown-pragmas",
    ]);
    command.arg(format!("-DKERNELS=\"{name}.cu\"")).arg(format!("-D{}", name.to_uppercase()));
    command.arg(format!("-DHALF={}", u8::from(half == Half::Bf16)));
    command.args(defines.iter().map(|(name, value)| format!("-D{name}={value}")));
    command.arg("-I").arg(&sources).arg(crate_folder.join("tests/host.cpp")).arg("-o").arg(&library);
    let output = command.output().expect("a C++ compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // SAFETY: what was just compiled from our own sources; loading it runs nothing of note.
    Kernels(Arc::new(unsafe { libloading::Library::new(&library) }.expect("the library")))
}
