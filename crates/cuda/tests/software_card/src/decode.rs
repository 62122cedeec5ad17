//! Instructions as the interpreter takes them.

use crate::lanes::{Operation, operation};

/// A register's number in a warp.
pub type Register = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Global,
    Shared,
}

pub enum Kind {
    /// Without a memory: out, and up to three operands.
    Compute {
        run: Operation,
        out: Register,
        from: [Register; 3],
    },
    /// `bfi`, which has four operands.
    InsertBits {
        out: Register,
        insert: Register,
        into: Register,
        at: u64,
        count: u64,
    },
    /// Parts of `width` bits into one register, the first in the low bits.
    Join {
        out: Register,
        parts: Vec<Register>,
        width: u32,
    },
    /// The other way.
    Split {
        outs: Vec<Register>,
        from: Register,
        width: u32,
    },
    /// A parameter, by its number.
    Parameter {
        out: Register,
        number: usize,
    },
    Load {
        space: Space,
        width: usize,
        outs: Vec<Register>,
        address: Register,
        offset: i64,
    },
    Store {
        space: Space,
        width: usize,
        from: Vec<Register>,
        address: Register,
        offset: i64,
    },
    /// `atom.add.u32`.
    AtomicAdd {
        space: Space,
        out: Register,
        address: Register,
        offset: i64,
        by: Register,
    },
    /// `shfl.sync.bfly.b32`.
    Butterfly {
        out: Register,
        is_in: Option<Register>,
        from: Register,
        across: Register,
        members: Register,
    },
    /// `mma.sync.aligned.m16n8kK.row.col.f32.T.T.f32`.
    Multiply {
        out: [Register; 4],
        a: Vec<Register>,
        b: Vec<Register>,
        c: [Register; 4],
        is_bf16: bool,
    },
    /// `ldmatrix.sync.aligned.m8n8.x4.shared.b16`.
    LoadTiles {
        outs: [Register; 4],
        address: Register,
        offset: i64,
        is_transposed: bool,
    },
    Branch {
        to: usize,
    },
    Barrier,
    Return,
}

pub struct Instruction {
    /// Only the threads run it for which a predicate is 1, or 0.
    pub guard: Option<(Register, bool)>,
    pub kind: Kind,
    /// As it is in the PTX.
    pub text: String,
}

/// What names in a kernel stand for.
pub trait Names {
    fn register(&mut self, name: &str) -> Result<Register, String>;
    fn parameter(&self, name: &str) -> Result<usize, String>;
    fn label(&self, name: &str) -> Result<usize, String>;
}

fn width(of: &str) -> Result<usize, String> {
    let bits: usize = of.trim_start_matches(['b', 'u', 's', 'f']).parse().map_err(|_| format!("no type: {of}"))?;
    Ok(bits / 8)
}

/// Operands by their commas, those within braces and brackets as one.
pub fn operands(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut all) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                all.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    all.push(text[begin..].trim());
    all.retain(|operand| !operand.is_empty());
    all
}

fn registers(operand: &str, names: &mut impl Names) -> Result<Vec<Register>, String> {
    operand.trim_matches(['{', '}']).split(',').map(|name| names.register(name.trim())).collect()
}

fn four(operand: &str, names: &mut impl Names) -> Result<[Register; 4], String> {
    registers(operand, names)?.try_into().map_err(|_| format!("four registers and not {operand}"))
}

fn address(operand: &str, names: &mut impl Names) -> Result<(Register, i64), String> {
    let inner = operand.trim_matches(['[', ']']).trim();
    match inner.split_once('+') {
        Some((base, offset)) => {
            let offset = offset.trim().parse().map_err(|_| format!("no offset: {operand}"))?;
            Ok((names.register(base.trim())?, offset))
        }
        None => Ok((names.register(inner)?, 0)),
    }
}

fn space(part: &str) -> Result<Space, String> {
    match part {
        "global" => Ok(Space::Global),
        "shared" => Ok(Space::Shared),
        _ => Err(format!("memory that is not known: {part}")),
    }
}

/// An instruction that reads or writes a memory.
fn access(op: &str, space: Space, parts: &[&str], from: &[&str], names: &mut impl Names) -> Result<Kind, String> {
    match (op, parts, from) {
        ("ld", [.., of], [out, from]) => {
            let (address, offset) = address(from, names)?;
            let outs = registers(out, names)?;
            Ok(Kind::Load { space, width: width(of)?, outs, address, offset })
        }
        ("st", [.., of], [to, from]) => {
            let (address, offset) = address(to, names)?;
            let from = registers(from, names)?;
            Ok(Kind::Store { space, width: width(of)?, from, address, offset })
        }
        ("atom", [_, _, "add", "u32"], [out, to, by]) => {
            let (address, offset) = address(to, names)?;
            let (out, by) = (names.register(out)?, names.register(by)?);
            Ok(Kind::AtomicAdd { space, out, address, offset, by })
        }
        _ => Err(format!("an access that is not known: {parts:?} {from:?}")),
    }
}

/// An instruction of `opcode` and operands; `Err` names what is not known of it.
pub fn decode(opcode: &str, rest: &str, names: &mut impl Names) -> Result<Kind, String> {
    let (parts, from) = (opcode.split('.').collect::<Vec<&str>>(), operands(rest));
    let unknown = || format!("an instruction that is not known: {opcode} {rest}");
    let number = |name: &str| name.parse::<u64>().map_err(|_| unknown());
    match (parts.as_slice(), from.as_slice()) {
        (["ret" | "exit"], []) => Ok(Kind::Return),
        (["bra", ..], [label]) => Ok(Kind::Branch { to: names.label(label)? }),
        (["bar", "sync"], ["0"]) => Ok(Kind::Barrier),
        (["ld", "param", _], [out, name]) => {
            let number = names.parameter(name.trim_matches(['[', ']']).trim())?;
            Ok(Kind::Parameter { out: names.register(out)?, number })
        }
        ([op @ ("ld" | "st" | "atom"), memory, ..], from) => access(op, space(memory)?, &parts, from, names),
        (["shfl", "sync", "bfly", "b32"], [out, from, across, _, members]) => {
            let (out, is_in) = match out.split_once('|') {
                Some((out, is_in)) => (names.register(out)?, Some(names.register(is_in)?)),
                None => (names.register(out)?, None),
            };
            let [from, across, members] = [from, across, members].map(|name| names.register(name));
            Ok(Kind::Butterfly { out, is_in, from: from?, across: across?, members: members? })
        }
        (["mma", "sync", "aligned", shape, "row", "col", "f32", of, _, "f32"], [out, a, b, c]) => {
            let (a, b) = (registers(a, names)?, registers(b, names)?);
            let deep = match *shape {
                "m16n8k16" => 4,
                "m16n8k8" => 2,
                _ => return Err(unknown()),
            };
            if a.len() != deep || b.len() * 2 != deep {
                return Err(unknown());
            }
            Ok(Kind::Multiply { out: four(out, names)?, a, b, c: four(c, names)?, is_bf16: *of == "bf16" })
        }
        (["ldmatrix", "sync", "aligned", "m8n8", "x4", how @ .., "shared", "b16"], [outs, from]) => {
            let (outs, (address, offset)) = (four(outs, names)?, address(from, names)?);
            let is_transposed = match how {
                [] => false,
                ["trans"] => true,
                _ => return Err(unknown()),
            };
            Ok(Kind::LoadTiles { outs, address, offset, is_transposed })
        }
        (["bfi", _], [out, insert, into, at, count]) => Ok(Kind::InsertBits {
            out: names.register(out)?,
            insert: names.register(insert)?,
            into: names.register(into)?,
            at: number(at)?,
            count: number(count)?,
        }),
        (["mov", of], [out, from]) if from.starts_with('{') => {
            let parts = registers(from, names)?;
            let width = (width(of)? * 8 / parts.len()) as u32;
            Ok(Kind::Join { out: names.register(out)?, parts, width })
        }
        (["mov", of], [out, from]) if out.starts_with('{') => {
            let outs = registers(out, names)?;
            let width = (width(of)? * 8 / outs.len()) as u32;
            Ok(Kind::Split { outs, from: names.register(from)?, width })
        }
        (parts, [out, from @ ..]) if (1..=3).contains(&from.len()) => {
            let run = operation(parts).ok_or_else(unknown)?;
            let out = names.register(out)?;
            let mut registers = [out; 3];
            for (register, name) in registers.iter_mut().zip(from) {
                *register = names.register(name)?;
            }
            Ok(Kind::Compute { run, out, from: registers })
        }
        _ => Err(unknown()),
    }
}
