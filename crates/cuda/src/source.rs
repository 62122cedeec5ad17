//! The kernels' sources, and their compilation by NVRTC, once for a GPU, a driver and a set of defines.

use crate::gpu::Gpu;
use crate::libraries::Runtime;
use crate::nvrtc::{Nvrtc, Wanted};
use crate::{CudaError, Half};
use cudarc::driver::CudaModule;
use cudarc::driver::sys::CUresult;
use cudarc::nvrtc::Ptx;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

const COMMON: &str = include_str!("../../../kernels/common.cuh");

/// Every kernel file, by name.
pub const FILES: [(&str, &str); 6] = [
    ("norm", include_str!("../../../kernels/norm.cu")),
    ("gelu", include_str!("../../../kernels/gelu.cu")),
    ("heads", include_str!("../../../kernels/heads.cu")),
    ("attention", include_str!("../../../kernels/attention.cu")),
    ("rotary", include_str!("../../../kernels/rotary.cu")),
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

/// Compiles a file for an architecture such as `compute_80`, to PTX. The driver's release says which NVRTC is taken.
pub fn compile(
    file: &'static str,
    half: Half,
    defines: &[(&str, usize)],
    architecture: &str,
) -> Result<String, CudaError> {
    let failed = |log: &str| CudaError::Compile { file, architecture: architecture.to_owned(), log: log.into() };
    let nvrtc = Nvrtc::get(i32::MAX).ok_or_else(|| failed("NVRTC is not found"))?;
    let source = source(file, half, defines).ok_or_else(|| failed("there is no such file"))?;
    let text = make(nvrtc, file, &source, architecture, Wanted::Ptx)?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
}

fn make(
    nvrtc: &Nvrtc,
    file: &'static str,
    source: &str,
    architecture: &str,
    wanted: Wanted,
) -> Result<Vec<u8>, CudaError> {
    let options =
        [format!("--gpu-architecture={architecture}"), "--std=c++17".into(), "--extra-device-vectorization".into()];
    nvrtc.compile(&format!("{file}.cu"), source, &options, wanted).map_err(|log| CudaError::Compile {
        file,
        architecture: architecture.to_owned(),
        log,
    })
}

/// What a driver is given: the best first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Machine code for a compute capability such as 90.
    Cubin(i32),
    /// PTX for one, which the driver compiles.
    Ptx(i32),
    /// PTX that says that it is of an older version: what the kernels need of it has been there for long.
    OlderPtx(i32, String),
}

/// The newest PTX that a driver takes: that of its CUDA. <https://docs.nvidia.com/cuda/parallel-thread-execution>
fn newest_ptx(driver: i32) -> String {
    match (driver / 1000, driver % 1000 / 10) {
        (11, minor) => format!("7.{minor}"),
        (12, minor @ 0..=5) => format!("8.{minor}"),
        (12, minor) => format!("8.{}", minor - 1),
        (major, minor) => format!("{}.{minor}", major - 4),
    }
}

/// What to try for a card, in order. Machine code needs no compiler of the driver, which knows no PTX that is newer
/// than itself; a card that is newer than NVRTC gets PTX for the newest that NVRTC knows.
fn forms(capability: (i32, i32), driver: i32, makes_cubins: bool, known: &[i32]) -> Vec<Form> {
    let card = capability.0 * 10 + capability.1;
    let newest = known.iter().copied().filter(|known| *known <= card).max().unwrap_or(card);
    let is_known = makes_cubins && known.contains(&card);
    let cubin = is_known.then_some(Form::Cubin(card));
    cubin.into_iter().chain([Form::Ptx(newest), Form::OlderPtx(newest, newest_ptx(driver))]).collect()
}

impl Form {
    fn architecture(&self) -> String {
        match self {
            Self::Cubin(capability) => format!("sm_{capability}"),
            Self::Ptx(capability) | Self::OlderPtx(capability, _) => format!("compute_{capability}"),
        }
    }

    fn make(&self, nvrtc: &Nvrtc, file: &'static str, source: &str) -> Result<Vec<u8>, CudaError> {
        let architecture = self.architecture();
        match self {
            Self::Cubin(_) => make(nvrtc, file, source, &architecture, Wanted::Cubin),
            Self::Ptx(_) => make(nvrtc, file, source, &architecture, Wanted::Ptx),
            Self::OlderPtx(_, version) => {
                let text = make(nvrtc, file, source, &architecture, Wanted::Ptx)?;
                Ok(with_version(&String::from_utf8_lossy(&text), version).into_bytes())
            }
        }
    }
}

/// PTX with another `.version`.
fn with_version(ptx: &str, version: &str) -> String {
    let line =
        |line: &str| if line.starts_with(".version") { format!(".version {version}\n") } else { format!("{line}\n") };
    ptx.trim_end_matches('\0').lines().map(line).collect::<String>() + "\0"
}

/// Whether the driver may take the same in another form.
fn is_about_form(code: CUresult) -> bool {
    matches!(
        code,
        CUresult::CUDA_ERROR_INVALID_IMAGE
            | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            | CUresult::CUDA_ERROR_INVALID_PTX
            | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
            | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | CUresult::CUDA_ERROR_JIT_COMPILATION_DISABLED
            | CUresult::CUDA_ERROR_INVALID_SOURCE
    )
}

/// A file as a module on the GPU, from `cache` if it was compiled for such a GPU and driver before.
pub(crate) fn load(
    gpu: &Gpu,
    file: &'static str,
    half: Half,
    defines: &[(&str, usize)],
    cache: Option<&Path>,
) -> Result<Arc<CudaModule>, CudaError> {
    let versions = gpu.versions();
    let package = Runtime::Nvrtc.package(versions.driver);
    let missing = || CudaError::NoLibrary { library: Runtime::Nvrtc.name(), package: package.clone() };
    let nvrtc = Nvrtc::get(versions.driver).ok_or_else(missing)?;
    let source = source(file, half, defines).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [&source, gpu.name(), &format!("{:?} {versions}", gpu.capability())] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let key: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let cached = cache.map(|folder| folder.join(format!("{file}-{key}.image")));
    if let Some(image) = cached.as_ref().and_then(|path| std::fs::read(path).ok())
        // The driver reads text up to a nought.
        && image.ends_with(b"\0")
    {
        match gpu.context.load_module(Ptx::from_binary(image)) {
            Ok(module) => return Ok(module),
            Err(error) => tracing::warn!(file, %error, "a cached kernel does not load and is compiled anew"),
        }
    }
    let mut reason = String::new();
    for form in forms(gpu.capability(), versions.driver, nvrtc.makes_cubins(), &nvrtc.architectures) {
        let mut image = form.make(nvrtc, file, &source)?;
        match gpu.context.load_module(Ptx::from_binary(image.clone())) {
            Ok(module) => {
                if !image.ends_with(b"\0") {
                    image.push(0);
                }
                if let Some(path) = cached
                    && let Err(error) = keep(&path, &image)
                {
                    tracing::warn!(path = %path.display(), %error, "a compiled kernel cannot be kept");
                }
                return Ok(module);
            }
            Err(error) if is_about_form(error.0) => {
                tracing::info!(file, ?form, %error, "the driver does not take a kernel in this form");
                reason = error.to_string();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(CudaError::Image { file, reason, versions, package })
}

/// Whole or not at all.
#[expect(clippy::disallowed_methods, reason = "a kernel that is lost is compiled again")]
fn keep(path: &Path, image: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, image)?;
    std::fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_comes_first_and_ptx_where_the_card_or_the_driver_is_other_than_nvrtc_knows() {
        let known = [75, 80, 90];
        let older = |capability, version: &str| Form::OlderPtx(capability, version.to_owned());
        let of_hopper = forms((9, 0), 12040, true, &known);
        assert_eq!(of_hopper, [Form::Cubin(90), Form::Ptx(90), older(90, "8.4")]);
        // A card that is newer than the compiler, and one between two that it knows.
        assert_eq!(forms((12, 0), 13000, true, &known), [Form::Ptx(90), older(90, "9.0")]);
        assert_eq!(forms((8, 9), 12080, true, &known), [Form::Ptx(80), older(80, "8.7")]);
        // A compiler that makes no machine code, or cannot say what it knows.
        assert_eq!(forms((8, 0), 11080, false, &known), [Form::Ptx(80), older(80, "7.8")]);
        assert_eq!(forms((8, 6), 11080, true, &[]), [Form::Ptx(86), older(86, "7.8")]);
    }

    #[test]
    fn the_version_of_ptx_is_lowered_and_nothing_else() {
        let ptx = "//\n.version 9.5\n.target sm_90\n.visible .entry a()\0";
        assert_eq!(with_version(ptx, "8.4"), "//\n.version 8.4\n.target sm_90\n.visible .entry a()\n\0");
    }
}
