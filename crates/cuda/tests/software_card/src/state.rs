//! Cards, streams and what waits in them. All of it is behind one lock.

use crate::blas::Product;
use crate::faults::{Faults, REPORT, is_due};
use crate::memory::{Memory, SECTOR};
use crate::ptx::Kernel;
use crate::warp::{self, Launch, Wrong};
use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Results of the driver.
pub mod code {
    pub const SUCCESS: i32 = 0;
    pub const INVALID_VALUE: i32 = 1;
    pub const OUT_OF_MEMORY: i32 = 2;
    pub const INVALID_DEVICE: i32 = 101;
    pub const INVALID_IMAGE: i32 = 200;
    pub const INVALID_CONTEXT: i32 = 201;
    pub const NO_BINARY_FOR_GPU: i32 = 209;
    pub const INVALID_PTX: i32 = 218;
    pub const UNSUPPORTED_PTX_VERSION: i32 = 222;
    pub const INVALID_HANDLE: i32 = 400;
    pub const NOT_FOUND: i32 = 500;
    pub const ILLEGAL_ADDRESS: i32 = 700;
    pub const LAUNCH_OUT_OF_RESOURCES: i32 = 701;
    pub const MISALIGNED_ADDRESS: i32 = 716;
    pub const LAUNCH_FAILED: i32 = 719;
    pub const CAPTURE_UNSUPPORTED: i32 = 900;
    pub const CAPTURE_INVALIDATED: i32 = 901;
}

/// What a stream does when its turn comes.
#[derive(Clone)]
pub enum Work {
    Kernel {
        kernel: Arc<Kernel>,
        parameters: Vec<u64>,
        grid: [u32; 3],
        threads: u32,
    },
    Product(Product),
    Upload {
        to: u64,
        bytes: Vec<u8>,
    },
    /// From memory that is read when the turn comes.
    UploadPinned {
        to: u64,
        from: usize,
        count: usize,
    },
    Download {
        from: u64,
        to: usize,
        count: usize,
    },
    Copy {
        from: u64,
        to: u64,
        count: usize,
    },
    Fill {
        to: u64,
        value: u8,
        count: usize,
    },
    Free(u64),
}

#[derive(Default)]
pub struct Stream {
    pub card: usize,
    pub queue: VecDeque<Work>,
    /// What is being recorded instead of done, and whether that is spoilt.
    pub capture: Option<(Vec<Work>, bool)>,
}

pub struct Card {
    pub memory: Memory,
    /// What every call answers from now on.
    pub lost: Option<i32>,
}

#[derive(Default)]
pub struct Counts {
    pub launches: u64,
    pub products: u64,
    pub graphs: u64,
    pub allocations: u64,
    pub complaints: u64,
}

pub struct State {
    pub faults: Faults,
    pub cards: Vec<Card>,
    pub streams: HashMap<usize, Stream>,
    pub modules: HashMap<usize, HashMap<String, Arc<Kernel>>>,
    pub functions: HashMap<usize, Arc<Kernel>>,
    pub graphs: HashMap<usize, Arc<Vec<Work>>>,
    /// Pinned memory of the host.
    pub pinned: Vec<Box<[u64]>>,
    /// Events, and the streams that they were recorded on.
    pub events: HashMap<usize, Option<usize>>,
    /// What was run before: libraries load it at its first use, which cannot be recorded.
    pub used: HashSet<String>,
    pub counts: Counts,
    /// Launches of each kernel, and the bytes that they used, where that is counted.
    pub traffic: HashMap<String, (u64, u64)>,
    /// What was complained of last.
    pub complaint: String,
    reported_to: Option<std::ffi::OsString>,
    next: usize,
}

thread_local! {
    /// The card whose context is this thread's.
    pub static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
    /// The stream that this thread records.
    pub static RECORDS: Cell<Option<usize>> = const { Cell::new(None) };
}

pub fn state() -> MutexGuard<'static, State> {
    static STATE: OnceLock<Mutex<State>> = OnceLock::new();
    STATE.get_or_init(|| Mutex::new(State::new())).lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn new() -> Self {
        let faults = Faults::from_environment();
        let card = |card| Card { memory: Memory::new(card, Faults::of(&faults.memory, card)), lost: None };
        let cards = (0..faults.cards).map(card).collect();
        let reported_to = std::env::var_os(REPORT);
        let (streams, modules, functions, graphs, pinned, events) = Default::default();
        let (used, counts, traffic, complaint) = Default::default();
        Self {
            faults,
            cards,
            streams,
            modules,
            functions,
            graphs,
            pinned,
            events,
            used,
            counts,
            traffic,
            complaint,
            reported_to,
            next: 0x1000,
        }
    }

    /// A number that nothing else has.
    pub fn handle(&mut self) -> usize {
        self.next += 16;
        self.next
    }

    /// Says what is wrong.
    pub fn complain(&mut self, what: &str) {
        self.counts.complaints += 1;
        self.complaint = what.to_owned();
        eprintln!("software card: {what}");
    }

    /// This thread's card, if it is not lost.
    pub fn card(&self) -> Result<usize, i32> {
        let card = CURRENT.get().ok_or(code::INVALID_CONTEXT)?;
        self.cards[card].lost.map_or(Ok(card), Err)
    }

    /// A stream of this thread's card.
    pub fn stream(&mut self, stream: usize) -> Result<&mut Stream, i32> {
        let card = self.card()?;
        let known = self.streams.get(&stream).is_some_and(|s| s.card == card);
        if !known {
            self.complain("a stream that is not of this thread's context");
            return Err(code::INVALID_HANDLE);
        }
        self.streams.get_mut(&stream).ok_or(code::INVALID_HANDLE)
    }

    /// Appends to a stream, or to what it records.
    pub fn enqueue(&mut self, stream: usize, work: Work) -> Result<(), i32> {
        let first_use = match &work {
            Work::Kernel { kernel, .. } => Some(format!("{} {:p}", kernel.name, Arc::as_ptr(kernel))),
            Work::Product(product) => Some(product.shape()),
            _ => None,
        };
        let is_new = first_use.is_some_and(|name| self.used.insert(name));
        let stream = self.stream(stream)?;
        match &mut stream.capture {
            None => stream.queue.push_back(work),
            Some((works, is_spoilt)) => {
                let is_recordable =
                    matches!(work, Work::Kernel { .. } | Work::Product(_) | Work::Copy { .. }) && !is_new;
                if !is_recordable {
                    *is_spoilt = true;
                    self.complain("this cannot be recorded, or not at its first use");
                    return Err(code::CAPTURE_UNSUPPORTED);
                }
                works.push(work);
            }
        }
        Ok(())
    }

    /// What a thread must not do while it records.
    pub fn not_recorded(&mut self, what: &str) -> Result<(), i32> {
        let Some(stream) = RECORDS.get() else { return Ok(()) };
        if let Some((_, is_spoilt)) = self.streams.get_mut(&stream).and_then(|s| s.capture.as_mut()) {
            *is_spoilt = true;
        }
        self.complain(&format!("{what} while a stream is recorded"));
        Err(code::CAPTURE_UNSUPPORTED)
    }

    /// Does all that waits in a stream.
    pub fn drain(&mut self, stream: usize) -> Result<(), i32> {
        let card = self.stream(stream)?.card;
        while let Some(work) = self.streams.get_mut(&stream).and_then(|s| s.queue.pop_front()) {
            let done = match is_due(&mut self.faults.lose) {
                true => Err((code::LAUNCH_FAILED, "it is lost, as was asked for".to_owned())),
                false => self.perform(card, work),
            };
            if let Err((code, why)) = done {
                self.cards[card].lost = Some(code);
                self.streams.values_mut().filter(|s| s.card == card).for_each(|s| s.queue.clear());
                self.complain(&why);
                self.report();
                return Err(code);
            }
        }
        self.report();
        Ok(())
    }

    fn report(&self) {
        if let Some(path) = &self.reported_to {
            let Counts { launches, products, graphs, allocations, complaints } = self.counts;
            let text = format!("{launches} {products} {graphs} {allocations} {complaints}");
            std::fs::write(path, text).expect("a report");
        }
    }

    fn perform(&mut self, card: usize, work: Work) -> Result<(), (i32, String)> {
        let memory = &mut self.cards[card].memory;
        let bad = |what: &'static str| move |why: String| (code::ILLEGAL_ADDRESS, format!("{what}: {why}"));
        match work {
            Work::Kernel { kernel, parameters, grid, threads } => {
                let launch = Launch { kernel: &kernel, parameters: &parameters, grid, threads };
                memory.touched = self.faults.count_traffic.then(Default::default);
                let done = warp::run(&launch, memory);
                if let Some(touched) = memory.touched.take() {
                    let (launches, bytes) = self.traffic.entry(kernel.name.clone()).or_default();
                    (*launches, *bytes) = (
                        *launches + 1,
                        *bytes + touched.map(|sectors| sectors.len() as u64 * SECTOR).iter().sum::<u64>(),
                    );
                }
                done.map_err(|(wrong, why)| match wrong {
                    Wrong::Address(_) => (code::ILLEGAL_ADDRESS, why),
                    Wrong::Alignment(_) => (code::MISALIGNED_ADDRESS, why),
                    Wrong::Other(_) => (code::LAUNCH_FAILED, why),
                })
            }
            Work::Product(product) => {
                let is_wrong = self.faults.wrong_card == Some(card) || self.faults.wrong_outputs == product.d.rows;
                product.run(memory, is_wrong).map_err(bad("a product"))
            }
            Work::Upload { to, bytes } => memory.write(to, &bytes).map_err(bad("a copy to the card")),
            Work::UploadPinned { to, from, count } => {
                // SAFETY: pinned memory that a copy is still to use is not freed (`cuMemFreeHost`).
                let bytes = unsafe { std::slice::from_raw_parts(from as *const u8, count) };
                memory.write(to, bytes).map_err(bad("a copy to the card"))
            }
            Work::Download { from, to, count } => {
                let bytes = memory.read(from, count).map_err(bad("a copy from the card"))?;
                // SAFETY: the caller keeps its buffer until it has waited for the stream.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, count) };
                Ok(())
            }
            Work::Copy { from, to, count } => {
                let bytes = memory.read(from, count).map_err(bad("a copy on the card"))?;
                memory.write(to, &bytes).map_err(bad("a copy on the card"))
            }
            Work::Fill { to, value, count } => memory.write(to, &vec![value; count]).map_err(bad("a fill")),
            Work::Free(base) => memory.free(base).map_err(bad("a free")),
        }
    }
}
