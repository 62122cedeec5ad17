//! Runs a kernel: block by block, and in a block warp by warp from barrier to barrier.
//!
//! Threads of a warp that are at different places go on one place at a time, the earliest first, so that they come
//! together where compiled code does.

use crate::decode::{Kind, Register, Space};
use crate::lanes::{Lanes, insert_bits};
use crate::memory::Memory;
use crate::ptx::{Kernel, Preset};
use crate::shared::Shared;
use half::{bf16, f16};

const ALL: u32 = u32::MAX;
/// Registers that were not written have this in them.
const POISON: u64 = 0x7ff4_dead_7fa0_dead;
/// Instructions of a warp between two barriers, at most: a kernel that takes more does not end.
const MAX_STEPS: u64 = 1 << 32;

/// What went wrong in a kernel, and what a driver would say of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    Address(String),
    Alignment(String),
    Other(String),
}

pub struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub parameters: &'a [u64],
    pub grid: [u32; 3],
    pub threads: u32,
}

/// Where a warp is.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Running,
    Barrier(usize),
    End,
}

struct Warp {
    registers: Vec<Lanes>,
    places: [usize; 32],
    alive: u32,
    /// The first of its threads.
    first: u32,
    at: At,
}

struct Block<'a> {
    launch: &'a Launch<'a>,
    memory: &'a mut Memory,
    shared: Shared,
    place: [u32; 3],
}

/// Runs all blocks; `Err` says where it ended and why.
pub fn run(launch: &Launch, memory: &mut Memory) -> Result<(), (Wrong, String)> {
    let [x, y, z] = launch.grid;
    for place in (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| [x, y, z]))) {
        let shared = Shared::new(launch.kernel.shared);
        Block { launch, memory, shared, place }.run()?;
    }
    Ok(())
}

fn threads(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}

impl Block<'_> {
    fn run(mut self) -> Result<(), (Wrong, String)> {
        let count = self.launch.threads;
        let mut warps: Vec<Warp> = (0..count).step_by(32).map(|first| self.warp(first, count)).collect();
        loop {
            for warp in &mut warps {
                if warp.at != At::End {
                    warp.at = At::Running;
                    self.advance(warp)?;
                }
            }
            let waiting: Vec<usize> =
                warps.iter().filter_map(|w| if let At::Barrier(at) = w.at { Some(at) } else { None }).collect();
            let Some(first) = waiting.first() else { return Ok(()) };
            if waiting.iter().any(|at| at != first) {
                return Err(self.wrong(*first, 0, Wrong::Other("warps wait at different barriers".into())));
            }
            self.shared.barrier();
        }
    }

    fn warp(&self, first: u32, count: u32) -> Warp {
        let kernel = self.launch.kernel;
        let mut registers = vec![[POISON; 32]; kernel.registers];
        for (register, preset) in &kernel.presets {
            registers[*register] = std::array::from_fn(|lane| match preset {
                Preset::Number(number) => *number,
                Preset::Thread => u64::from(first) + lane as u64,
                Preset::Lane => lane as u64,
                Preset::Threads => u64::from(count),
                Preset::Block(axis) => u64::from(self.place[*axis]),
                Preset::Blocks(axis) => u64::from(self.launch.grid[*axis]),
            });
        }
        let there = (count - first).min(32);
        let alive = if there == 32 { ALL } else { (1 << there) - 1 };
        Warp { registers, places: [0; 32], alive, first, at: At::Running }
    }

    fn wrong(&self, place: usize, thread: u32, wrong: Wrong) -> (Wrong, String) {
        let (kernel, [x, y, z]) = (self.launch.kernel, self.place);
        let instruction = kernel.code.get(place).map_or("", |i| i.text.as_str());
        let (Wrong::Address(why) | Wrong::Alignment(why) | Wrong::Other(why)) = &wrong;
        let text = format!(
            "{}, instruction {place} ({instruction}), thread {thread} of block {x},{y},{z}: {why}",
            kernel.name
        );
        (wrong, text)
    }

    /// Runs a warp to its next barrier, or to its end.
    fn advance(&mut self, warp: &mut Warp) -> Result<(), (Wrong, String)> {
        let mut steps = 0;
        while warp.at == At::Running {
            if warp.alive == 0 {
                warp.at = At::End;
                break;
            }
            let place = threads(warp.alive).map(|lane| warp.places[lane]).min().unwrap_or(0);
            let mask = threads(warp.alive).filter(|&lane| warp.places[lane] == place).fold(0, |m, lane| m | 1 << lane);
            let others = threads(warp.alive & !mask).map(|lane| warp.places[lane]).min().unwrap_or(usize::MAX);
            self.straight(warp, place, mask, others, &mut steps)?;
            if steps > MAX_STEPS {
                return Err(self.wrong(place, warp.first, Wrong::Other("it does not end".into())));
            }
        }
        Ok(())
    }

    /// Runs the threads of `mask` from `place` until they part, end, meet a barrier or come to where others wait.
    fn straight(
        &mut self,
        warp: &mut Warp,
        mut place: usize,
        mask: u32,
        others: usize,
        steps: &mut u64,
    ) -> Result<(), (Wrong, String)> {
        let code = &self.launch.kernel.code;
        while place < others {
            *steps += 1;
            let instruction = &code[place];
            let active = match instruction.guard {
                None => mask,
                Some((predicate, wanted)) => {
                    let values = &warp.registers[predicate];
                    threads(mask).filter(|&lane| (values[lane] & 1 == 1) == wanted).fold(0, |m, lane| m | 1 << lane)
                }
            };
            match &instruction.kind {
                _ if active == 0 => place += 1,
                Kind::Branch { to } if active == mask && others == usize::MAX => place = *to,
                Kind::Branch { to } => {
                    threads(mask & !active).for_each(|lane| warp.places[lane] = place + 1);
                    threads(active).for_each(|lane| warp.places[lane] = *to);
                    return Ok(());
                }
                Kind::Return => {
                    warp.alive &= !active;
                    place += 1;
                    if active == mask {
                        return Ok(());
                    }
                }
                Kind::Barrier => {
                    if active != warp.alive {
                        let why = "not all threads of the warp are at the barrier".into();
                        return Err(self.wrong(place, warp.first + active.trailing_zeros(), Wrong::Other(why)));
                    }
                    warp.at = At::Barrier(place);
                    place += 1;
                    break;
                }
                kind => {
                    let done = self.step(warp, kind, active);
                    done.map_err(|(lane, wrong)| self.wrong(place, warp.first + lane as u32, wrong))?;
                    place += 1;
                }
            }
            if *steps > MAX_STEPS {
                break;
            }
        }
        threads(mask).for_each(|lane| warp.places[lane] = place);
        Ok(())
    }

    /// One instruction that leads to the next.
    fn step(&mut self, warp: &mut Warp, kind: &Kind, active: u32) -> Result<(), (usize, Wrong)> {
        let r = &mut warp.registers;
        match kind {
            Kind::Compute { run, out, from: [a, b, c] } => {
                let value = run(&r[*a], &r[*b], &r[*c]);
                set(&mut r[*out], &value, active);
            }
            Kind::InsertBits { out, insert, into, at, count } => {
                let value = insert_bits(&r[*insert], &r[*into], *at, *count);
                set(&mut r[*out], &value, active);
            }
            Kind::Join { out, parts, width } => {
                let mask = (1u64 << width) - 1;
                let joined = |lane: usize| {
                    parts
                        .iter()
                        .enumerate()
                        .fold(0, |all, (i, part)| all | (r[*part][lane] & mask) << (i as u32 * width))
                };
                let value = std::array::from_fn(joined);
                set(&mut r[*out], &value, active);
            }
            Kind::Split { outs, from, width } => {
                let whole = r[*from];
                for (i, out) in outs.iter().enumerate() {
                    let value = whole.map(|x| x >> (i as u32 * width) & ((1 << width) - 1));
                    set(&mut r[*out], &value, active);
                }
            }
            Kind::Parameter { out, number } => set(&mut r[*out], &[self.launch.parameters[*number]; 32], active),
            Kind::Load { .. } | Kind::Store { .. } | Kind::AtomicAdd { .. } => self.access(warp, kind, active)?,
            Kind::LoadTiles { outs, address, offset, is_transposed } => {
                if active != ALL {
                    return Err((0, Wrong::Other("tiles need all threads of a warp".into())));
                }
                let (rows, first) = (warp.registers[*address], warp.first);
                let tiles = self.load_tiles(&rows, *offset, *is_transposed, first)?;
                for (out, value) in outs.iter().zip(tiles) {
                    warp.registers[*out] = value;
                }
            }
            Kind::Butterfly { out, is_in, from, across, members } => {
                let first = active.trailing_zeros() as usize;
                if threads(active).any(|lane| r[*members][lane] as u32 & warp.alive != active) {
                    return Err((first, Wrong::Other("a shuffle without all of the threads that it names".into())));
                }
                let (value, across) = (r[*from], r[*across]);
                let moved = std::array::from_fn(|lane| {
                    let other = (lane ^ across[lane] as usize) & 31;
                    if active >> other & 1 == 1 { value[other] } else { POISON }
                });
                set(&mut r[*out], &moved, active);
                if let Some(is_in) = is_in {
                    set(&mut r[*is_in], &[1; 32], active);
                }
            }
            Kind::Multiply { out, a, b, c, is_bf16 } => {
                if active != ALL {
                    return Err((0, Wrong::Other("tensor cores need all threads of a warp".into())));
                }
                let product = multiply(r, a, b, c, *is_bf16);
                for (out, value) in out.iter().zip(product) {
                    r[*out] = value;
                }
            }
            Kind::Branch { .. } | Kind::Barrier | Kind::Return => {}
        }
        Ok(())
    }

    /// An instruction that reads or writes a memory.
    fn access(&mut self, warp: &mut Warp, kind: &Kind, active: u32) -> Result<(), (usize, Wrong)> {
        let r = &mut warp.registers;
        match kind {
            Kind::Load { space, width, outs, address, offset } => {
                for lane in threads(active) {
                    let from = r[*address][lane].wrapping_add_signed(*offset);
                    aligned(from, width * outs.len()).map_err(|wrong| (lane, wrong))?;
                    for (i, out) in outs.iter().enumerate() {
                        let thread = warp.first + lane as u32;
                        let got = self.load(*space, from + (i * width) as u64, *width, thread, false);
                        r[*out][lane] = got.map_err(|wrong| (lane, wrong))?;
                    }
                }
            }
            Kind::Store { space, width, from, address, offset } => {
                for lane in threads(active) {
                    let to = r[*address][lane].wrapping_add_signed(*offset);
                    aligned(to, width * from.len()).map_err(|wrong| (lane, wrong))?;
                    for (i, from) in from.iter().enumerate() {
                        let (thread, value) = (warp.first + lane as u32, r[*from][lane]);
                        let done = self.store(*space, to + (i * width) as u64, *width, value, thread, false);
                        done.map_err(|wrong| (lane, wrong))?;
                    }
                }
            }
            Kind::AtomicAdd { space, out, address, offset, by } => {
                for lane in threads(active) {
                    let at = r[*address][lane].wrapping_add_signed(*offset);
                    aligned(at, 4).map_err(|wrong| (lane, wrong))?;
                    let thread = warp.first + lane as u32;
                    let was = self.load(*space, at, 4, thread, true).map_err(|wrong| (lane, wrong))?;
                    let sum = u64::from((was as u32).wrapping_add(r[*by][lane] as u32));
                    self.store(*space, at, 4, sum, thread, true).map_err(|wrong| (lane, wrong))?;
                    r[*out][lane] = was;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Four tiles of 8 x 8 numbers of 16 bits, whose rows are where each thread says: row i % 8 of tile i / 8.
    fn load_tiles(
        &mut self,
        rows: &Lanes,
        offset: i64,
        is_transposed: bool,
        first: u32,
    ) -> Result<[Lanes; 4], (usize, Wrong)> {
        let mut numbers = [[0u64; 8]; 32];
        for (lane, row) in numbers.iter_mut().enumerate() {
            let from = u64::from(rows[lane] as u32).wrapping_add_signed(offset);
            aligned(from, 16).map_err(|wrong| (lane, wrong))?;
            for (i, number) in row.iter_mut().enumerate() {
                let got = self.load(Space::Shared, from + 2 * i as u64, 2, first + lane as u32, false);
                *number = got.map_err(|wrong| (lane, wrong))?;
            }
        }
        let number = |tile: usize, row: usize, column: usize| match is_transposed {
            true => numbers[8 * tile + column][row],
            false => numbers[8 * tile + row][column],
        };
        Ok(std::array::from_fn(|tile| {
            std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, 2 * (lane % 4));
                number(tile, row, column) | number(tile, row, column + 1) << 16
            })
        }))
    }

    fn load(&mut self, space: Space, from: u64, width: usize, thread: u32, is_atomic: bool) -> Result<u64, Wrong> {
        match space {
            Space::Global => self.memory.load(from, width).map_err(Wrong::Address),
            Space::Shared => self.shared.load(from, width, thread, is_atomic).map_err(Wrong::Other),
        }
    }

    fn store(
        &mut self,
        space: Space,
        to: u64,
        width: usize,
        value: u64,
        thread: u32,
        is_atomic: bool,
    ) -> Result<(), Wrong> {
        match space {
            Space::Global => self.memory.store(to, width, value).map_err(Wrong::Address),
            Space::Shared => self.shared.store(to, width, value, thread, is_atomic).map_err(Wrong::Other),
        }
    }
}

fn set(register: &mut Lanes, value: &Lanes, active: u32) {
    if active == ALL {
        *register = *value;
    } else {
        threads(active).for_each(|lane| register[lane] = value[lane]);
    }
}

fn aligned(address: u64, width: usize) -> Result<(), Wrong> {
    match address.is_multiple_of(width as u64) {
        true => Ok(()),
        false => Err(Wrong::Alignment(format!("{address:#x} is no address of {width} bytes"))),
    }
}

/// A tile of 16 x K times K x 8, spread over a warp as the manual of PTX has it, with sums in f32.
fn multiply(r: &[Lanes], a: &[Register], b: &[Register], c: &[Register; 4], is_bf16: bool) -> [Lanes; 4] {
    let number = |bits: u64| match is_bf16 {
        true => bf16::from_bits(bits as u16).to_f32(),
        false => f16::from_bits(bits as u16).to_f32(),
    };
    let (mut left, mut right) = ([[0f32; 16]; 16], [[0f32; 8]; 16]);
    for (i, register) in a.iter().enumerate() {
        for (lane, value) in r[*register].iter().enumerate() {
            for part in 0..2 {
                left[lane / 4 + 8 * (i % 2)][2 * (lane % 4) + part + 8 * (i / 2)] = number(value >> (16 * part));
            }
        }
    }
    for (i, register) in b.iter().enumerate() {
        for (lane, value) in r[*register].iter().enumerate() {
            for part in 0..2 {
                right[2 * (lane % 4) + part + 8 * i][lane / 4] = number(value >> (16 * part));
            }
        }
    }
    let deep = b.len() * 8;
    let mut sums = [[0f32; 8]; 16];
    for (row, sums) in sums.iter_mut().enumerate() {
        for (k, right) in right.iter().enumerate().take(deep) {
            sums.iter_mut().zip(right).for_each(|(sum, x)| *sum += left[row][k] * x);
        }
    }
    std::array::from_fn(|i| {
        std::array::from_fn(|lane| {
            let sum = sums[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
            u64::from((sum + f32::from_bits(r[c[i]][lane] as u32)).to_bits())
        })
    })
}
