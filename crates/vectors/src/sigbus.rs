//! A page of a mapped file that cannot be read is zeros and damage of that file, and not the end of the process.
//!
//! The system tells of such a page (a bad sector, a file that somebody has cut, a network disk that is gone) by the
//! signal SIGBUS, on the thread that reads. For an address within one of the maps that are watched here, the handler
//! puts a page of zeros in the place of the page and notes that the map is damaged; the read goes on. Rows of zeros do
//! not have the checksums of their records, and who has searched the map looks at the note. For any other address the
//! handler of before runs, as if this one were not there.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

/// Maps in a block; there are as many blocks as are needed, and none is given back.
const BLOCK: usize = 64;
/// In place of the start of a map: somebody is about to write it.
const CLAIMED: usize = 1;

/// A map that is watched.
struct Entry {
    /// Address of its first byte; 0 where the entry is free.
    start: AtomicUsize,
    /// Address after its last byte.
    end: AtomicUsize,
    is_damaged: AtomicBool,
}

impl Entry {
    const fn new() -> Self {
        Self { start: AtomicUsize::new(0), end: AtomicUsize::new(0), is_damaged: AtomicBool::new(false) }
    }
}

struct Block {
    entries: [Entry; BLOCK],
    next: OnceLock<Box<Block>>,
}

impl Block {
    const fn new() -> Self {
        Self { entries: [const { Entry::new() }; BLOCK], next: OnceLock::new() }
    }
}

static FIRST: Block = Block::new();
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Watches a map for as long as it lives. It is dropped before the map.
pub(crate) struct Watched(&'static Entry);

impl Watched {
    /// Watches the map of these bytes.
    pub fn new(map: &[u8]) -> Self {
        install();
        let (start, end) = (map.as_ptr().addr(), map.as_ptr().addr() + map.len());
        let mut block = &FIRST;
        loop {
            for entry in &block.entries {
                if entry.start.compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    entry.end.store(end, Ordering::Release);
                    entry.is_damaged.store(false, Ordering::Release);
                    entry.start.store(start, Ordering::Release);
                    return Self(entry);
                }
            }
            block = block.next.get_or_init(|| Box::new(Block::new()));
        }
    }

    /// Whether a page of it could not be read.
    pub fn is_damaged(&self) -> bool {
        self.0.is_damaged.load(Ordering::Acquire)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
    }
}

/// The map that an address is in, with its bounds. Takes no lock and no memory: it runs in the handler.
fn watched_at(address: usize) -> Option<(&'static Entry, usize, usize)> {
    let mut block = Some(&FIRST);
    while let Some(current) = block {
        for entry in &current.entries {
            let (start, end) = (entry.start.load(Ordering::Acquire), entry.end.load(Ordering::Acquire));
            let is_in = start > CLAIMED && (start..end).contains(&address);
            // The bounds are of one map if it has not changed meanwhile.
            if is_in && entry.start.load(Ordering::Acquire) == start {
                return Some((entry, start, end));
            }
        }
        block = current.next.get().map(|next| &**next);
    }
    None
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        PAGE_BYTES.store(rustix::param::page_size(), Ordering::Release);
        // SAFETY: `sigaction` is plain data of which all zeros are a value, the system reads and writes these two
        // alone, and the handler keeps to what POSIX allows in one: it takes no lock, no memory and calls only
        // `mmap`, `sigaction` and `raise`.
        unsafe {
            let mut previous: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) != 0 {
                return;
            }
            let _ = PREVIOUS.set(previous);
            let mut own: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
            own.sa_sigaction = handler as *const () as usize;
            own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut own.sa_mask);
            libc::sigaction(libc::SIGBUS, &own, std::ptr::null_mut());
        }
    });
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the system gives the signal's own information, whose address is valid for these codes;
    // errno is the thread's own, and is put back since the code that was interrupted may be about to read it.
    unsafe {
        let errno = *libc::__errno_location();
        let is_fault = matches!((*info).si_code, libc::BUS_ADRERR | libc::BUS_MCEERR_AR);
        if !is_fault || !replace_page((*info).si_addr().addr()) {
            pass_on(signal, info, context);
        }
        *libc::__errno_location() = errno;
    }
}

/// Puts zeros in the place of the page of an address, if that is in a map that is watched.
fn replace_page(address: usize) -> bool {
    let Some((entry, start, end)) = watched_at(address) else { return false };
    entry.is_damaged.store(true, Ordering::Release);
    let page_bytes = PAGE_BYTES.load(Ordering::Acquire);
    let page = address / page_bytes * page_bytes;
    // Where the process may have no more maps, all of this one becomes zeros: that takes one instead of many.
    put_zeros(page, page_bytes) || put_zeros(start, (end - start).next_multiple_of(page_bytes))
}

fn put_zeros(start: usize, bytes: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let at = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the pages are of a map that is watched, so it lives: its owner stops the watch before it ends, and the
    // thread that reads it holds it. They are replaced by pages of the same protection, and what reads them through
    // the map takes any bytes: they are numbers, whose checksums are looked at.
    unsafe { libc::mmap(at, bytes, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED }
}

/// Does what would be done without this handler.
///
/// # Safety
/// Called by the handler, with what it was called with.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.get();
    let address = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    // SAFETY: the address is that of a handler, of the form that its flags say, since `sigaction` gave it; for the
    // default, `sigaction` gets plain data, and the signal comes again when this handler returns.
    unsafe {
        match (address, previous) {
            (libc::SIG_IGN, _) => {}
            (libc::SIG_DFL, _) | (_, None) => {
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, std::ptr::null_mut());
                libc::raise(signal);
            }
            (address, Some(previous)) if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                std::mem::transmute::<usize, Handler>(address)(signal, info, context);
            }
            (address, Some(_)) => std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(address)(signal),
        }
    }
}

#[cfg(all(test, not(membox_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_map_that_is_watched_until_that_ends() {
        // More than a block holds.
        let maps: Vec<Vec<u8>> = (0..BLOCK * 2 + 5).map(|i| vec![0; 10 + i]).collect();
        let watched: Vec<Watched> = maps.iter().map(|map| Watched::new(map)).collect();
        for (map, watched) in maps.iter().zip(&watched) {
            let start = map.as_ptr().addr();
            for address in [start, start + map.len() - 1] {
                let found = watched_at(address).expect("it is watched");
                assert!(std::ptr::eq(found.0, watched.0));
                assert_eq!((found.1, found.2), (start, start + map.len()));
            }
            assert!(!watched.is_damaged());
        }
        let first = maps[0].as_ptr().addr();
        drop(watched);
        assert!(watched_at(first).is_none());
    }
}
