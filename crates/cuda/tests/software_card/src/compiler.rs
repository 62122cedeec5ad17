//! NVRTC: a front of the real library, or of PTX that it made before (`ptx/`).
//!
//! What the front calls a cubin is PTX with a line before it that says so, since machine code cannot be interpreted.

use crate::state::state;
use libloading::{Library, Symbol};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

/// How a cubin begins; the major version of its CUDA and the end of the line follow.
pub const CUBIN: &str = "\u{7f}ELF of a software card, CUDA ";

const SUCCESS: u32 = 0;
const INVALID_OPTION: u32 = 5;
const COMPILATION: u32 = 6;

#[derive(Default)]
pub struct Program {
    source: String,
    name: String,
    ptx: CString,
    /// There is none for an architecture such as `compute_90`.
    cubin: CString,
    log: CString,
}

/// Where the PTX of a source is kept.
pub fn fixture(name: &str, source: &str, capability: u32) -> PathBuf {
    let hash = source
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Only what is by tensor cores has code that differs before Ampere.
    let is_by_tensor_cores = name.starts_with("attention") || name.starts_with("recall");
    let capability = if is_by_tensor_cores && capability < 80 { 75 } else { 80 };
    let file = format!("{}-{hash:016x}-{capability}.ptx", name.trim_end_matches(".cu"));
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ptx").join(file)
}

/// The real library, where `make kernels` put it and asks for it by `MEMBOX_REAL_NVRTC`. Other tests never take it, so
/// that a machine that has it finds the same faults as one without.
pub fn nvrtc() -> Option<PathBuf> {
    std::env::var_os("MEMBOX_REAL_NVRTC")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(4)?.join(".kernels/lib");
    let inner = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = inner(root)
        .flat_map(|python| inner(python.join("site-packages/nvidia")))
        .flat_map(|package| inner(package.join("lib")));
    found
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc.so")))
}

/// Compiles by the real library.
fn compile(library: &Library, program: &Program, architecture: &str, options: &[String]) -> Result<CString, CString> {
    type Create = unsafe extern "C" fn(
        *mut *mut c_void,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> u32;
    type Compile = unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> u32;
    type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> u32;
    type Text = unsafe extern "C" fn(*mut c_void, *mut c_char) -> u32;
    let c = |text: &str| CString::new(text).unwrap();
    let (source, name) = (c(&program.source), c(&program.name));
    let mut options: Vec<CString> =
        options.iter().filter(|o| !o.starts_with("--gpu-architecture")).map(|o| c(o)).collect();
    options.push(c(&format!("--gpu-architecture={architecture}")));
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    // SAFETY: NVRTC's functions, as it documents them.
    unsafe {
        let get = |of: &[u8], of_size: &[u8], made: *mut c_void| {
            let (size, text): (Symbol<Size>, Symbol<Text>) = (library.get(of_size).unwrap(), library.get(of).unwrap());
            let mut count = 0;
            size(made, &mut count);
            let mut bytes = vec![0u8; count.max(1)];
            text(made, bytes.as_mut_ptr().cast());
            CString::from_vec_with_nul(bytes).unwrap_or_default()
        };
        let create: Symbol<Create> = library.get(b"nvrtcCreateProgram").unwrap();
        let compile: Symbol<Compile> = library.get(b"nvrtcCompileProgram").unwrap();
        let mut made = std::ptr::null_mut();
        create(&mut made, source.as_ptr(), name.as_ptr(), 0, std::ptr::null(), std::ptr::null());
        match compile(made, options.len() as c_int, options.as_ptr()) {
            SUCCESS => Ok(get(b"nvrtcGetPTX", b"nvrtcGetPTXSize", made)),
            _ => Err(get(b"nvrtcGetProgramLog", b"nvrtcGetProgramLogSize", made)),
        }
    }
}

/// The PTX of a program: one that is kept, or what the real library makes.
fn ptx(program: &Program, capability: u32, options: &[String]) -> Result<String, CString> {
    if let Ok(text) = std::fs::read_to_string(fixture(&program.name, &program.source, capability)) {
        return Ok(text);
    }
    // SAFETY: NVRTC has no side effects when it is loaded.
    let library = nvrtc().and_then(|path| unsafe { Library::new(path) }.ok()).ok_or_else(|| {
        c"tests keep no PTX of this source, and NVRTC is not there to compile it: run `make kernels`".to_owned()
    })?;
    let architecture = format!("compute_{}", capability.min(90));
    compile(&library, program, &architecture, options).map(|text| text.to_string_lossy().into_owned())
}

/// The version of PTX that an NVRTC writes.
fn version((major, minor): (u32, u32)) -> String {
    match (major, minor) {
        (11, minor) => format!("7.{minor}"),
        (12, minor @ 0..=5) => format!("8.{minor}"),
        (12, minor) => format!("8.{}", minor - 1),
        (major, minor) => format!("{}.{minor}", major - 4),
    }
}

fn line(text: &str, directive: &str, value: &str) -> String {
    let is_it = |line: &str| line.starts_with(directive);
    text.lines().map(|l| if is_it(l) { format!("{directive} {value}\n") } else { format!("{l}\n") }).collect()
}

fn compile_program(program: &mut Program, options: &[String]) -> u32 {
    let faults = state().faults.clone();
    let architecture = options.iter().find_map(|option| option.strip_prefix("--gpu-architecture="));
    let Some((kind, capability)) = architecture.and_then(|a| a.split_once('_')) else { return INVALID_OPTION };
    let Ok(capability) = capability.parse::<u32>() else { return INVALID_OPTION };
    if !faults.known.contains(&capability) {
        program.log = c"nvrtc: error: invalid value for --gpu-architecture (-arch)".to_owned();
        return INVALID_OPTION;
    }
    match ptx(program, capability, options) {
        Ok(text) => {
            let text = line(&line(&text, ".version", &version(faults.nvrtc)), ".target", &format!("sm_{capability}"));
            if kind == "sm" {
                program.cubin = CString::new(format!("{CUBIN}{}\n{text}", faults.nvrtc.0)).unwrap_or_default();
            }
            program.ptx = CString::new(text).unwrap_or_default();
            SUCCESS
        }
        Err(log) => {
            program.log = log;
            COMPILATION
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) -> u32 {
    let version = state().faults.nvrtc;
    // SAFETY: as C has it.
    unsafe { (*major, *minor) = (version.0 as c_int, version.1 as c_int) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetNumSupportedArchs(count: *mut c_int) -> u32 {
    // SAFETY: as C has it.
    unsafe { *count = state().faults.known.len() as c_int };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetSupportedArchs(known: *mut c_int) -> u32 {
    for (i, capability) in state().faults.known.iter().enumerate() {
        // SAFETY: as C has it: room for as many as there are.
        unsafe { *known.add(i) = *capability as c_int };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcCreateProgram(
    program: *mut *mut Program,
    source: *const c_char,
    name: *const c_char,
    _headers: c_int,
    _header: *const *const c_char,
    _include: *const *const c_char,
) -> u32 {
    // SAFETY: as C has it.
    unsafe {
        let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
        let new = Program { source: text(source), name: text(name), ..Program::default() };
        *program = Box::into_raw(Box::new(new));
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcDestroyProgram(program: *mut *mut Program) -> u32 {
    // SAFETY: as C has it: it came from `nvrtcCreateProgram`.
    drop(unsafe { Box::from_raw(*program) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcCompileProgram(
    program: *mut Program,
    count: c_int,
    options: *const *const c_char,
) -> u32 {
    // SAFETY: as C has it.
    let (program, options) = unsafe {
        let options = std::slice::from_raw_parts(options, count as usize);
        let options: Vec<String> =
            options.iter().map(|option| CStr::from_ptr(*option).to_string_lossy().into_owned()).collect();
        (&mut *program, options)
    };
    compile_program(program, &options)
}

unsafe fn copy(from: &CString, to: *mut c_char) -> u32 {
    let bytes = from.as_bytes_with_nul();
    // SAFETY: as C has it: room for as many as the function before said.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, bytes.len()) };
    SUCCESS
}

/// A text of a program, and how long it is.
macro_rules! text {
    ($get:ident, $size:ident, $field:ident) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $size(program: *mut Program, size: *mut usize) -> u32 {
            // SAFETY: as C has it.
            unsafe {
                let text = &(*program).$field;
                *size = if text.is_empty() { 0 } else { text.as_bytes_with_nul().len() };
            }
            SUCCESS
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(program: *mut Program, to: *mut c_char) -> u32 {
            // SAFETY: as C has it.
            unsafe { copy(&(*program).$field, to) }
        }
    };
}

text!(nvrtcGetPTX, nvrtcGetPTXSize, ptx);
text!(nvrtcGetCUBIN, nvrtcGetCUBINSize, cubin);
text!(nvrtcGetProgramLog, nvrtcGetProgramLogSize, log);

#[unsafe(no_mangle)]
pub extern "C" fn nvrtcGetErrorString(error: u32) -> *const c_char {
    let text = match error {
        SUCCESS => c"NVRTC_SUCCESS",
        INVALID_OPTION => c"NVRTC_ERROR_INVALID_OPTION",
        COMPILATION => c"NVRTC_ERROR_COMPILATION",
        _ => c"NVRTC_ERROR",
    };
    text.as_ptr()
}
