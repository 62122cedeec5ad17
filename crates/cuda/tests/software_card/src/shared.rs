//! A block's shared memory, with who used what since the last barrier.

/// Where shared memory begins among addresses: below every card's.
pub const BASE: u64 = 1 << 20;
/// Bytes that are watched together: the smallest that kernels read.
const UNIT: usize = 2;
/// Of more than one thread.
const MANY: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Use {
    /// The barrier that it came after, plus one.
    epoch: u32,
    thread: u32,
    is_atomic: bool,
}

#[derive(Clone, Copy, Default)]
struct Unit {
    known: bool,
    written: Use,
    read: Use,
}

pub struct Shared {
    bytes: Vec<u8>,
    units: Vec<Unit>,
    epoch: u32,
}

impl Shared {
    pub fn new(size: usize) -> Self {
        Self { bytes: vec![0xa5; size], units: vec![Unit::default(); size.div_ceil(UNIT)], epoch: 1 }
    }

    /// All threads have met.
    pub fn barrier(&mut self) {
        self.epoch += 1;
    }

    fn range(&self, address: u64, width: usize) -> Result<usize, String> {
        let at = address.wrapping_sub(BASE);
        if at > self.bytes.len() as u64 || at as usize + width > self.bytes.len() {
            return Err(format!("{width} bytes at {at} of {} bytes of shared memory", self.bytes.len()));
        }
        Ok(at as usize)
    }

    pub fn load(&mut self, address: u64, width: usize, thread: u32, is_atomic: bool) -> Result<u64, String> {
        let at = self.range(address, width)?;
        for unit in &mut self.units[at / UNIT..(at + width).div_ceil(UNIT)] {
            let Use { epoch, thread: writer, is_atomic: by_atomic } = unit.written;
            if !unit.known {
                return Err(format!("byte {at} of shared memory is read and was never written"));
            }
            if epoch == self.epoch && writer != thread && !(is_atomic && by_atomic) {
                return Err(format!("a race: thread {writer} wrote byte {at} of shared memory since the last barrier"));
            }
            let is_other = unit.read.epoch == self.epoch && unit.read.thread != thread;
            let is_atomic = is_atomic && (unit.read.epoch != self.epoch || unit.read.is_atomic);
            unit.read = Use { epoch: self.epoch, thread: if is_other { MANY } else { thread }, is_atomic };
        }
        let mut eight = [0; 8];
        eight[..width].copy_from_slice(&self.bytes[at..at + width]);
        Ok(u64::from_le_bytes(eight))
    }

    pub fn store(
        &mut self,
        address: u64,
        width: usize,
        value: u64,
        thread: u32,
        is_atomic: bool,
    ) -> Result<(), String> {
        let at = self.range(address, width)?;
        for unit in &mut self.units[at / UNIT..(at + width).div_ceil(UNIT)] {
            for other in [unit.written, unit.read] {
                if other.epoch == self.epoch && other.thread != thread && !(is_atomic && other.is_atomic) {
                    let who =
                        if other.thread == MANY { "others".to_owned() } else { format!("thread {}", other.thread) };
                    return Err(format!("a race: {who} used byte {at} of shared memory since the last barrier"));
                }
            }
            unit.known = true;
            unit.written = Use { epoch: self.epoch, thread, is_atomic };
        }
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_threads_use_between_two_barriers_is_a_race_unless_both_read_or_both_are_atomic() {
        let mut shared = Shared::new(16);
        assert!(shared.load(BASE, 4, 0, false).is_err(), "it was never written");
        shared.store(BASE, 4, 7, 0, false).unwrap();
        assert_eq!(shared.load(BASE, 4, 0, false), Ok(7));
        assert!(shared.load(BASE, 4, 1, false).is_err() && shared.store(BASE, 2, 8, 1, false).is_err());
        shared.barrier();
        assert_eq!(shared.load(BASE, 4, 1, false), Ok(7));
        assert_eq!(shared.load(BASE, 4, 2, false), Ok(7));
        assert!(shared.store(BASE, 4, 8, 1, false).is_err(), "another read it");
        shared.barrier();
        for thread in 0..3 {
            let was = shared.load(BASE, 4, thread, true).unwrap();
            shared.store(BASE, 4, was + 1, thread, true).unwrap();
        }
        assert!(shared.load(BASE, 4, 0, false).is_err());
        shared.barrier();
        assert_eq!(shared.load(BASE, 4, 0, false), Ok(10));
        assert!(shared.load(BASE + 14, 4, 0, false).is_err() && shared.load(4096, 4, 0, false).is_err());
    }
}
