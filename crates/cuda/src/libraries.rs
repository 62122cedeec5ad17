//! Where the libraries of the CUDA run time are: by their names where the system looks, then in the folders that pip,
//! conda, torch's packages and NVIDIA's installers put them in.

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Releases of CUDA whose libraries are known, the newest first. Debian 12 has NVRTC by the last of these names.
const RELEASES: [&str; 4] = ["13", "12", "11", "11.2"];

/// A library of the run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Nvrtc,
    CublasLt,
}

impl Runtime {
    /// What its files' names begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nvrtc => "libnvrtc",
            Self::CublasLt => "libcublasLt",
        }
    }

    /// The package of PyPI that has it, for a driver of a CUDA such as 12040.
    pub fn package(self, driver: i32) -> String {
        let name = match self {
            Self::Nvrtc => "nvidia-cuda-nvrtc",
            Self::CublasLt => "nvidia-cublas",
        };
        // From CUDA 13 on the names have no number.
        if driver >= 13000 { name.to_owned() } else { format!("{name}-cu{}", driver / 1000) }
    }

    /// Opens it for good. `major` reads the release of an open one; the first that the driver's release has or is
    /// newer than is taken, or else the first one that there is.
    pub fn open(self, driver: i32, major: impl Fn(&Library) -> Option<i32>) -> Option<Library> {
        let plain = format!("{}.so", self.name());
        let versioned = RELEASES.map(|release| format!("{plain}.{release}"));
        let names = std::iter::once(plain.clone()).chain(versioned).map(OsString::from);
        let files = folders().into_iter().flat_map(|folder| self.files(&folder)).map(OsString::from);
        let mut other = None;
        for path in names.chain(files) {
            // SAFETY: NVIDIA's libraries have no side effects when they are loaded. Their symbols are for all, so that
            // cudarc finds by its name what was opened by its path.
            let Ok(library) = (unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }) else { continue };
            match major(&library) {
                Some(major) if major <= driver / 1000 => return Some(library),
                Some(_) => other = other.or(Some(library)),
                None => {}
            }
        }
        other
    }

    /// Its files in a folder, the newest first. Torch's packages put a hash into their names.
    fn files(self, folder: &Path) -> Vec<PathBuf> {
        let mut files = entries(folder);
        files.retain(|file| {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let rest = name.strip_prefix(self.name()).unwrap_or("?");
            let is_library = rest.starts_with(".so") || (rest.starts_with('-') && rest.contains(".so"));
            is_library && !rest.contains("builtins")
        });
        files.sort_by_key(|file| std::cmp::Reverse(release(file)));
        files
    }
}

/// The number after `.so`.
fn release(file: &Path) -> Vec<u32> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let number = name.rsplit_once(".so.").map_or("", |(_, number)| number);
    number.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// What is in a folder, in order; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Folders of libraries, of the environment that is active first.
fn folders() -> Vec<PathBuf> {
    let environment = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let mut roots: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(environment).collect();
    roots.extend(environment("HOME").map(|home| home.join(".local")));
    roots.extend(["/usr/local", "/usr"].map(PathBuf::from));
    let mut folders: Vec<PathBuf> = roots.iter().flat_map(|root| of_python(root)).collect();
    folders.extend(environment("CONDA_PREFIX").map(|root| root.join("lib")));
    let toolkits = entries(Path::new("/usr/local"));
    let is_toolkit = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cuda"));
    folders.extend(toolkits.into_iter().filter(is_toolkit).rev().map(|toolkit| toolkit.join("lib64")));
    folders.push("/opt/cuda/lib64".into());
    folders
}

/// Folders of the packages of each Python below a root.
fn of_python(root: &Path) -> Vec<PathBuf> {
    let is_python = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"));
    let pythons: Vec<PathBuf> = entries(&root.join("lib")).into_iter().filter(is_python).rev().collect();
    let packages = pythons.iter().flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.join(name)));
    packages
        .flat_map(|packages| {
            let nvidia = entries(&packages.join("nvidia")).into_iter().rev().map(|package| package.join("lib"));
            nvidia.chain([packages.join("torch/lib")]).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, "").expect("a file");
    }

    #[test]
    fn what_pip_torch_and_debian_install_is_found() {
        let root = tempfile::tempdir().expect("a folder");
        let packages = root.path().join("lib/python3.11/site-packages");
        let wanted = [
            "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
            "nvidia/cu13/lib/libnvrtc.so.13",
            "torch/lib/libnvrtc-672ee683.so.11.2",
        ];
        let others = ["nvidia/cu13/lib/libnvrtc-builtins.so.13.0", "nvidia/cu13/lib/libnvrtc.alt.so.13"];
        wanted.iter().chain(&others).for_each(|path| touch(&packages.join(path)));
        touch(&packages.join("nvidia/cublas/lib/libcublasLt.so.12"));
        let found = |of: Runtime| -> Vec<PathBuf> {
            of_python(root.path()).iter().flat_map(|folder| of.files(folder)).collect()
        };
        assert_eq!(found(Runtime::Nvrtc), wanted.map(|path| packages.join(path)));
        assert_eq!(found(Runtime::CublasLt), [packages.join("nvidia/cublas/lib/libcublasLt.so.12")]);
        assert!(RELEASES.contains(&"11.2"), "Debian 12's");
    }

    #[test]
    fn files_come_newest_first_and_packages_are_those_of_the_driver() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["libcublasLt.so.11", "libcublasLt.so.12.9", "libcublasLt.so.12.10", "libcublas.so.13"] {
            touch(&folder.path().join(name));
        }
        let names = ["libcublasLt.so.12.10", "libcublasLt.so.12.9", "libcublasLt.so.11"];
        assert_eq!(Runtime::CublasLt.files(folder.path()), names.map(|name| folder.path().join(name)));
        assert_eq!(Runtime::Nvrtc.package(12040), "nvidia-cuda-nvrtc-cu12");
        assert_eq!(Runtime::CublasLt.package(13000), "nvidia-cublas");
    }
}
