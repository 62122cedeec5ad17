//! NVRTC: CUDA's compiler as a library. Opened here and not by cudarc, which knows neither cubins nor every name that
//! the library has.

use crate::libraries::Runtime;
use libloading::os::unix::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::OnceLock;

type Program = *mut c_void;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// The library's functions; those that older ones lack may be missing.
pub(crate) struct Nvrtc {
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log: (Size, Text),
    ptx: (Size, Text),
    cubin: Option<(Size, Text)>,
    /// Its release: 12 and 9.
    pub version: (i32, i32),
    /// Architectures that it knows; none where it cannot say.
    pub architectures: Vec<i32>,
    _library: Library,
}

/// What is wanted of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Text that a driver compiles: for `compute_90`.
    Ptx,
    /// Machine code: for `sm_90`.
    Cubin,
}

fn version(library: &Library) -> Option<(i32, i32)> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the function is documented to have this type, and writes two numbers.
    let code = unsafe {
        let get = library.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(b"nvrtcVersion").ok()?;
        get(&mut major, &mut minor)
    };
    (code == 0).then_some((major, minor))
}

fn architectures(library: &Library) -> Vec<i32> {
    type Get = unsafe extern "C" fn(*mut c_int) -> c_int;
    // SAFETY: the functions are documented to have these types; there is room for as many as the first one says.
    unsafe {
        let found = (library.get::<Get>(b"nvrtcGetNumSupportedArchs"), library.get::<Get>(b"nvrtcGetSupportedArchs"));
        let (Ok(count), Ok(get)) = found else { return Vec::new() };
        let mut many = 0;
        if count(&mut many) != 0 {
            return Vec::new();
        }
        let mut all = vec![0; many.max(0) as usize];
        if get(all.as_mut_ptr()) == 0 { all } else { Vec::new() }
    }
}

impl Nvrtc {
    /// The library, opened once for the process: the one that suits the driver best.
    pub fn get(driver: i32) -> Option<&'static Self> {
        static LIBRARY: OnceLock<Option<Nvrtc>> = OnceLock::new();
        let open = || Self::read(Runtime::Nvrtc.open(driver, |library| version(library).map(|(major, _)| major))?);
        LIBRARY.get_or_init(open).as_ref()
    }

    fn read(library: Library) -> Option<Self> {
        // SAFETY: the functions are documented to have these types, and the library stays as long as they do.
        unsafe {
            let text = |size: &[u8], text: &[u8]| -> Option<(Size, Text)> {
                Some((*library.get::<Size>(size).ok()?, *library.get::<Text>(text).ok()?))
            };
            Some(Self {
                create: *library.get(b"nvrtcCreateProgram").ok()?,
                compile: *library.get(b"nvrtcCompileProgram").ok()?,
                destroy: *library.get(b"nvrtcDestroyProgram").ok()?,
                log: text(b"nvrtcGetProgramLogSize", b"nvrtcGetProgramLog")?,
                ptx: text(b"nvrtcGetPTXSize", b"nvrtcGetPTX")?,
                cubin: text(b"nvrtcGetCUBINSize", b"nvrtcGetCUBIN"),
                version: version(&library)?,
                architectures: architectures(&library),
                _library: library,
            })
        }
    }

    /// Whether it makes machine code.
    pub fn makes_cubins(&self) -> bool {
        self.cubin.is_some()
    }

    /// Compiles a source, or gives the compiler's log. A text ends with a nought.
    pub fn compile(&self, name: &str, source: &str, options: &[String], wanted: Wanted) -> Result<Vec<u8>, String> {
        let c = |text: &str| CString::new(text).map_err(|error| error.to_string());
        let (source, name) = (c(source)?, c(name)?);
        let options = options.iter().map(|option| c(option)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let read = match wanted {
            Wanted::Ptx => self.ptx,
            Wanted::Cubin => self.cubin.ok_or("this NVRTC makes no machine code")?,
        };
        let mut program = std::ptr::null_mut();
        // SAFETY: the texts outlive the calls, and a program is used between its creation and its end.
        unsafe {
            let none = std::ptr::null();
            let code = (self.create)(&mut program, source.as_ptr(), name.as_ptr(), 0, none, none);
            if code != 0 {
                return Err(format!("NVRTC's error {code}"));
            }
            let code = (self.compile)(program, options.len() as c_int, options.as_ptr());
            let made = match code {
                0 => text(program, read).ok_or_else(|| "NVRTC gives nothing".to_owned()),
                _ => {
                    let log = text(program, self.log).unwrap_or_default();
                    let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
                    Err(if log.is_empty() { format!("NVRTC's error {code}") } else { log })
                }
            };
            (self.destroy)(&mut program);
            made
        }
    }
}

/// A text of a program.
///
/// # Safety
///
/// The program is one, and the functions are those of its library.
unsafe fn text(program: Program, (size, read): (Size, Text)) -> Option<Vec<u8>> {
    let mut count = 0;
    // SAFETY: the caller's; there is room for as many bytes as the library says.
    unsafe {
        if size(program, &mut count) != 0 || count == 0 {
            return None;
        }
        let mut bytes = vec![0u8; count];
        (read(program, bytes.as_mut_ptr().cast()) == 0).then_some(bytes)
    }
}
