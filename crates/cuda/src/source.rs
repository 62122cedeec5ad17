//! The kernels' sources, and their compilation by NVRTC, once for a GPU, a driver and a set of defines.

use crate::gpu::Gpu;
use crate::{CudaError, Half};
use cudarc::driver::CudaModule;
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

const COMMON: &str = include_str!("../../../kernels/common.cuh");

/// Every kernel file, by name.
pub const FILES: [(&str, &str); 5] = [
    ("norm", include_str!("../../../kernels/norm.cu")),
    ("gelu", include_str!("../../../kernels/gelu.cu")),
    ("heads", include_str!("../../../kernels/heads.cu")),
    ("attention", include_str!("../../../kernels/attention.cu")),
    ("recall", include_str!("../../../kernels/recall.cu")),
];

/// A kernel file as NVRTC takes it: in one piece, with its defines at the top.
pub fn source(file: &str, half: Half, defines: &[(&str, usize)]) -> Option<String> {
    let text = FILES.iter().find(|(name, _)| *name == file)?.1;
    let common = COMMON.replace("#pragma once", "");
    let defines: String = defines.iter().map(|(name, value)| format!("#define {name} {value}\n")).collect();
    let half = u8::from(half == Half::Bf16);
    Some(format!("#define HALF {half}\n{defines}{}", text.replace("#include \"common.cuh\"", &common)))
}

/// Compiles a file for an architecture such as `compute_80`, to PTX.
pub fn compile(
    file: &'static str,
    half: Half,
    defines: &[(&str, usize)],
    architecture: &str,
) -> Result<String, CudaError> {
    let failed = |log: String| CudaError::Compile { file, architecture: architecture.to_owned(), log };
    let source = source(file, half, defines).ok_or_else(|| failed("there is no such file".into()))?;
    let options =
        vec![format!("--gpu-architecture={architecture}"), "--std=c++17".into(), "--extra-device-vectorization".into()];
    let options = CompileOptions { options, name: Some(format!("{file}.cu")), ..CompileOptions::default() };
    match compile_ptx_with_opts(source, options) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(CompileError::CompileError { log, .. }) => Err(failed(log.to_string_lossy().into_owned())),
        Err(other) => Err(failed(other.to_string())),
    }
}

/// A file as a module on the GPU, from `cache` if it was compiled for such a GPU and driver before.
pub(crate) fn load(
    gpu: &Gpu,
    file: &'static str,
    half: Half,
    defines: &[(&str, usize)],
    cache: Option<&Path>,
) -> Result<Arc<CudaModule>, CudaError> {
    let architecture = gpu.architecture();
    let source = source(file, half, defines).unwrap_or_default();
    let mut driver = 0;
    // SAFETY: writes one number.
    let known = unsafe { cudarc::driver::sys::cuDriverGetVersion(&mut driver) };
    let mut hash = Sha256::new();
    for part in [&source, gpu.name(), &architecture, &format!("{known:?} {driver}")] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let key: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let cached = cache.map(|folder| folder.join(format!("{file}-{key}.ptx")));
    if let Some(ptx) = cached.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
        match gpu.context.load_module(Ptx::from_src(ptx)) {
            Ok(module) => return Ok(module),
            Err(error) => tracing::warn!(file, %error, "a cached kernel does not load and is compiled anew"),
        }
    }
    let ptx = compile(file, half, defines, &architecture)?;
    if let Some(path) = cached
        && let Err(error) = keep(&path, &ptx)
    {
        tracing::warn!(path = %path.display(), %error, "a compiled kernel cannot be kept");
    }
    Ok(gpu.context.load_module(Ptx::from_src(ptx))?)
}

/// Whole or not at all.
#[expect(clippy::disallowed_methods, reason = "a kernel that is lost is compiled again")]
fn keep(path: &Path, ptx: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, ptx)?;
    std::fs::rename(temporary, path)
}
