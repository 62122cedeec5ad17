//! What kind of cards there are, and what goes wrong with them: words like `memory=65536`, from the variable
//! [`VARIABLE`] when a process starts, and from a test while it runs ([`set`]).

/// The environment variable.
pub const VARIABLE: &str = "SOFTWARE_CARD";
/// The one with a file that [`counts`] are written to whenever a stream was waited for, for a test of another process.
pub const REPORT: &str = "SOFTWARE_CARD_REPORT";

#[derive(Clone, Debug)]
pub struct Faults {
    /// How many cards there are.
    pub cards: usize,
    /// Of each card, the last one of all further ones: 90.
    pub capability: Vec<u32>,
    /// Bytes of each card.
    pub memory: Vec<usize>,
    pub processors: i32,
    /// The newest CUDA that the driver knows: 13000.
    pub driver: i32,
    /// What NVRTC says that it is, and the architectures that it knows.
    pub nvrtc: (u32, u32),
    pub known: Vec<u32>,
    /// Whether memory comes from pools, in the order of a stream.
    pub pools: bool,
    /// The nth allocation from now on finds no room; 0 is none.
    pub fail_allocation: usize,
    /// The same of memory of the host.
    pub fail_host_allocation: usize,
    /// The nth time that memory is freed from now on, the driver says that something was wrong.
    pub fail_free: usize,
    /// The nth launch from now on is refused, without harm to what comes after it.
    pub fail_launch: usize,
    /// The card is lost at the nth piece of work from now on.
    pub lose: usize,
    /// What the next product answers: cuBLAS's status.
    pub product_status: u32,
    /// What the next handle of cuBLASLt answers.
    pub handle_status: u32,
    /// The driver takes no image.
    pub refuse_images: bool,
    /// A card whose products are wrong.
    pub wrong_card: Option<usize>,
    /// Products of so many outputs are wrong, on every card.
    pub wrong_outputs: usize,
    /// Whether the bytes that each kernel uses are counted ([`traffic`]).
    pub count_traffic: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            cards: 1,
            capability: vec![90],
            memory: vec![1 << 30],
            processors: 2,
            driver: 13000,
            nvrtc: (13, 5),
            known: vec![75, 80, 86, 89, 90, 100, 120],
            pools: true,
            fail_allocation: 0,
            fail_host_allocation: 0,
            fail_free: 0,
            fail_launch: 0,
            lose: 0,
            product_status: 0,
            handle_status: 0,
            refuse_images: false,
            wrong_card: None,
            wrong_outputs: 0,
            count_traffic: false,
        }
    }
}

fn list<T: std::str::FromStr>(value: &str) -> Vec<T> {
    value.split(',').filter_map(|one| one.parse().ok()).collect()
}

impl Faults {
    /// Of the process's environment.
    pub fn from_environment() -> Self {
        let mut faults = Self::default();
        faults.set(&std::env::var(VARIABLE).unwrap_or_default());
        faults
    }

    /// Takes words over what there is.
    pub fn set(&mut self, words: &str) {
        for (key, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
            let number = value.parse::<usize>().ok();
            match (key, number) {
                ("cards", Some(n)) => self.cards = n,
                ("capability", _) => self.capability = list(value),
                ("memory", _) => self.memory = list(value),
                ("processors", Some(n)) => self.processors = n as i32,
                ("driver", Some(n)) => self.driver = n as i32,
                ("nvrtc", _) => {
                    let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
                    self.nvrtc = (major.parse().unwrap(), minor.parse().unwrap());
                }
                ("known", _) => self.known = list(value),
                ("pools", Some(n)) => self.pools = n != 0,
                ("fail_allocation", Some(n)) => self.fail_allocation = n,
                ("fail_host_allocation", Some(n)) => self.fail_host_allocation = n,
                ("fail_free", Some(n)) => self.fail_free = n,
                ("fail_launch", Some(n)) => self.fail_launch = n,
                ("lose", Some(n)) => self.lose = n,
                ("product_status", Some(n)) => self.product_status = n as u32,
                ("handle_status", Some(n)) => self.handle_status = n as u32,
                ("refuse_images", Some(n)) => self.refuse_images = n != 0,
                ("wrong_outputs", Some(n)) => self.wrong_outputs = n,
                ("count_traffic", Some(n)) => self.count_traffic = n != 0,
                ("wrong_card", n) => self.wrong_card = n,
                _ => panic!("a software card knows no {key}={value}"),
            }
        }
    }

    /// Of a card: its own, or that of the last one that has any.
    pub fn of<T: Copy>(list: &[T], card: usize) -> T {
        *list.get(card).or(list.last()).expect("one at least")
    }
}

/// Counts a fault down; whether it is due now.
pub fn is_due(count: &mut usize) -> bool {
    let is_due = *count == 1;
    *count = count.saturating_sub(1);
    is_due
}

/// Asks the card of this process for faults, from a test.
pub fn set(words: &str) {
    type Set = unsafe extern "C" fn(*const std::ffi::c_char);
    let words = std::ffi::CString::new(words).unwrap();
    // SAFETY: the library of this process is the one below, whose function takes a string.
    unsafe {
        let library = libloading::Library::new("libcuda.so").expect("a software card is in the place of the driver");
        let set: libloading::Symbol<Set> = library.get(b"software_card_set").expect("a software card");
        set(words.as_ptr());
    }
}

/// What the card of this process counted: launches, products, graphs launched, allocations, what it complained of.
pub fn counts() -> [u64; 5] {
    type Counts = unsafe extern "C" fn(*mut u64);
    let mut counts = [0; 5];
    // SAFETY: as above; there is room for five.
    unsafe {
        let library = libloading::Library::new("libcuda.so").expect("a software card is in the place of the driver");
        let get: libloading::Symbol<Counts> = library.get(b"software_card_counts").expect("a software card");
        get(counts.as_mut_ptr());
    }
    counts
}

/// What the card of this process complained of last.
pub fn complaint() -> String {
    type Complaint = unsafe extern "C" fn(*mut u8, usize) -> usize;
    let mut text = vec![0u8; 4096];
    // SAFETY: as above; there is room for as many bytes as are said.
    let count = unsafe {
        let library = libloading::Library::new("libcuda.so").expect("a software card is in the place of the driver");
        let get: libloading::Symbol<Complaint> = library.get(b"software_card_complaint").expect("a software card");
        get(text.as_mut_ptr(), text.len())
    };
    String::from_utf8_lossy(&text[..count]).into_owned()
}

/// Launches of a kernel on the card of this process since bytes are counted, and the bytes that they used: sectors of
/// the memory that were read, and those that were written, each once a launch.
pub fn traffic(kernel: &str) -> (u64, u64) {
    type Traffic = unsafe extern "C" fn(*const std::ffi::c_char, *mut u64);
    let (name, mut both) = (std::ffi::CString::new(kernel).unwrap(), [0; 2]);
    // SAFETY: as above; there is room for two.
    unsafe {
        let library = libloading::Library::new("libcuda.so").expect("a software card is in the place of the driver");
        let get: libloading::Symbol<Traffic> = library.get(b"software_card_traffic").expect("a software card");
        get(name.as_ptr(), both.as_mut_ptr());
    }
    (both[0], both[1])
}
