//! A card's memory: allocations with gaps between them, of which each byte is known to be written or not.

use std::collections::HashSet;

/// What an address is rounded up to, as the driver promises.
const ALIGNMENT: u64 = 512;
/// Between two allocations, so that what runs over the end of one is in none.
const GAP: u64 = 4096;

/// Bytes that a card's memory is read and written by.
pub const SECTOR: u64 = 32;

pub struct Allocation {
    pub base: u64,
    pub bytes: Vec<u8>,
    /// Which bytes were written.
    pub known: Vec<bool>,
    pub size: usize,
    /// Counted as free: by the host.
    pub given_back: bool,
    /// Not to be used any more: by the stream.
    pub freed: bool,
}

pub struct Memory {
    allocations: Vec<Allocation>,
    next: u64,
    pub used: usize,
    pub limit: usize,
    /// The allocation that was found last.
    last: usize,
    /// Sectors that a kernel read, and that it wrote, where that is counted.
    pub touched: Option<[HashSet<u64>; 2]>,
}

impl Memory {
    /// The memory of a card: no two have an address in common.
    pub fn new(card: usize, limit: usize) -> Self {
        Self { allocations: Vec::new(), next: (card as u64 + 1) << 40, used: 0, limit, last: 0, touched: None }
    }

    /// An address that is never used again, or nothing if there is no room.
    pub fn allocate(&mut self, size: usize) -> Option<u64> {
        if size > self.limit.saturating_sub(self.used) {
            return None;
        }
        let base = self.next;
        self.next = (base + size as u64 + GAP).next_multiple_of(ALIGNMENT);
        self.used += size;
        let (bytes, known) = (vec![0xa5; size], vec![false; size]);
        self.allocations.push(Allocation { base, bytes, known, size, given_back: false, freed: false });
        Some(base)
    }

    /// Counts an allocation as free.
    pub fn give_back(&mut self, base: u64) -> Result<(), String> {
        let at = self.at_base(base)?;
        let allocation = &mut self.allocations[at];
        if std::mem::replace(&mut allocation.given_back, true) {
            return Err(format!("{base:#x} is freed twice"));
        }
        self.used -= allocation.size;
        Ok(())
    }

    /// Takes an allocation's bytes away.
    pub fn free(&mut self, base: u64) -> Result<(), String> {
        let at = self.at_base(base)?;
        let allocation = &mut self.allocations[at];
        allocation.freed = true;
        (allocation.bytes, allocation.known) = (Vec::new(), Vec::new());
        Ok(())
    }

    fn at_base(&self, base: u64) -> Result<usize, String> {
        let found = self.allocations.binary_search_by_key(&base, |a| a.base);
        found.map_err(|_| format!("{base:#x} was never allocated"))
    }

    /// The allocation that `len` bytes from `address` lie in, and where in it.
    pub fn find(&mut self, address: u64, len: usize) -> Result<(&mut Allocation, usize), String> {
        let is_in = |a: &Allocation| address >= a.base && address < a.base + a.size.max(1) as u64;
        if !self.allocations.get(self.last).is_some_and(is_in) {
            let after = self.allocations.partition_point(|a| a.base <= address);
            self.last = after.checked_sub(1).ok_or_else(|| format!("{address:#x} is no address of this card"))?;
        }
        let allocation = &mut self.allocations[self.last];
        let (base, size) = (allocation.base, allocation.size);
        if allocation.freed {
            return Err(format!("{address:#x} lies in memory that was freed, {size} bytes from {base:#x}"));
        }
        let offset = (address - base) as usize;
        if offset + len > size {
            return Err(format!("{len} bytes from {address:#x} are outside of the {size} bytes from {base:#x}"));
        }
        Ok((allocation, offset))
    }

    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), String> {
        let (allocation, at) = self.find(address, data.len())?;
        allocation.bytes[at..at + data.len()].copy_from_slice(data);
        allocation.known[at..at + data.len()].fill(true);
        Ok(())
    }

    pub fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>, String> {
        let (allocation, at) = self.find(address, len)?;
        if let Some(unknown) = allocation.known[at..at + len].iter().position(|known| !known) {
            return Err(format!("{:#x} is read and was never written", address + unknown as u64));
        }
        Ok(allocation.bytes[at..at + len].to_vec())
    }

    /// Makes bytes such as were never written.
    pub fn forget(&mut self, address: u64, len: usize) -> Result<(), String> {
        let (allocation, at) = self.find(address, len)?;
        allocation.known[at..at + len].fill(false);
        Ok(())
    }

    /// As many as eight bytes for a kernel.
    #[inline]
    pub fn load(&mut self, address: u64, width: usize) -> Result<u64, String> {
        self.touch(address, 0);
        let (allocation, at) = self.find(address, width)?;
        if !allocation.known[at..at + width].iter().all(|known| *known) {
            return Err(format!("{address:#x} is read and was never written"));
        }
        let mut eight = [0; 8];
        eight[..width].copy_from_slice(&allocation.bytes[at..at + width]);
        Ok(u64::from_le_bytes(eight))
    }

    #[inline]
    fn touch(&mut self, address: u64, way: usize) {
        if let Some(touched) = &mut self.touched {
            touched[way].insert(address / SECTOR);
        }
    }

    #[inline]
    pub fn store(&mut self, address: u64, width: usize, value: u64) -> Result<(), String> {
        self.touch(address, 1);
        let (allocation, at) = self.find(address, width)?;
        allocation.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        allocation.known[at..at + width].fill(true);
        Ok(())
    }
}
