//! PTX as kernels that can be run.

use crate::decode::{Instruction, Kind, Names, Register, decode};
use crate::shared;
use std::collections::HashMap;
use std::sync::Arc;

/// What a register has before the kernel begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Preset {
    /// A number that is written in the kernel.
    Number(u64),
    /// The thread's number in its block.
    Thread,
    /// The block's number, and how many blocks there are: x, y, z.
    Block(usize),
    Blocks(usize),
    /// Threads of a block.
    Threads,
    Lane,
}

pub struct Kernel {
    pub name: String,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
    pub shared: usize,
    /// Threads of a block, at most.
    pub max_threads: u32,
    pub registers: usize,
    pub presets: Vec<(Register, Preset)>,
    pub code: Vec<Instruction>,
}

pub struct Module {
    pub kernels: HashMap<String, Arc<Kernel>>,
    /// Of the PTX: 9.5 is 95.
    pub version: u32,
    /// The compute capability that it is for: 90.
    pub target: u32,
}

/// Names of one kernel.
struct Scope {
    registers: HashMap<String, Register>,
    presets: Vec<(Register, Preset)>,
    parameters: HashMap<String, usize>,
    labels: HashMap<String, usize>,
    shared: HashMap<String, u64>,
}

impl Scope {
    fn preset(&mut self, name: &str) -> Result<Option<Preset>, String> {
        let axis = |name: &str| "xyz".find(&name[name.len() - 1..]).unwrap_or(0);
        Ok(Some(match name {
            "%tid.x" => Preset::Thread,
            "%ntid.x" => Preset::Threads,
            "%laneid" => Preset::Lane,
            _ if name.starts_with("%ctaid.") => Preset::Block(axis(name)),
            _ if name.starts_with("%nctaid.") => Preset::Blocks(axis(name)),
            _ if name.starts_with('%') && !name.contains('.') => return Ok(None),
            _ => Preset::Number(match (name.strip_prefix("0f"), self.shared.get(name)) {
                (Some(bits), _) => u64::from_str_radix(bits, 16).map_err(|_| format!("no number: {name}"))?,
                (None, Some(offset)) => shared::BASE + offset,
                (None, None) => name
                    .parse::<i64>()
                    .map(|n| n as u64)
                    .or_else(|_| name.parse())
                    .map_err(|_| format!("no register and no number: {name}"))?,
            }),
        }))
    }
}

impl Names for Scope {
    fn register(&mut self, name: &str) -> Result<Register, String> {
        if let Some(known) = self.registers.get(name) {
            return Ok(*known);
        }
        let register = self.registers.len();
        if let Some(preset) = self.preset(name)? {
            self.presets.push((register, preset));
        }
        self.registers.insert(name.to_owned(), register);
        Ok(register)
    }

    fn parameter(&self, name: &str) -> Result<usize, String> {
        self.parameters.get(name).copied().ok_or_else(|| format!("no parameter: {name}"))
    }

    fn label(&self, name: &str) -> Result<usize, String> {
        self.labels.get(name).copied().ok_or_else(|| format!("no label: {name}"))
    }
}

/// The number after a word.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.split(name).nth(1)?.trim_start();
    rest.split(|c: char| c.is_whitespace() || c == ',' || c == ';').next()
}

pub fn parse(text: &str) -> Result<Module, String> {
    let text: String = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let version = directive(&text, ".version").and_then(|v| v.replace('.', "").parse().ok()).ok_or("no .version")?;
    let target = directive(&text, ".target").and_then(|t| t.strip_prefix("sm_")?.parse().ok()).ok_or("no .target")?;
    let mut kernels = HashMap::new();
    for entry in text.split(".entry ").skip(1) {
        let kernel = kernel(entry)?;
        kernels.insert(kernel.name.clone(), Arc::new(kernel));
    }
    Ok(Module { kernels, version, target })
}

/// What lies within the braces that open at the first one.
fn body(text: &str) -> Option<(&str, &str)> {
    let begin = text.find('{')?;
    let mut depth = 0;
    for (at, c) in text[begin..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some((&text[..begin], &text[begin + 1..begin + at])),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Declarations of shared memory: where each begins, and how much there is in all.
fn shared_memory(body: &str) -> Option<(HashMap<String, u64>, usize)> {
    let (mut places, mut size) = (HashMap::new(), 0usize);
    for declaration in body.split(".shared ").skip(1).filter(|d| d.starts_with(".align")) {
        let alignment: usize = directive(declaration, ".align")?.parse().ok()?;
        // An array of bytes, or one number.
        let mut words = declaration.split(';').next()?.split_whitespace().skip(2);
        let (of, name) = (words.next()?.trim_start_matches(['.', 'b', 'u', 's', 'f']), words.next()?);
        let (name, count) = name.trim_end_matches(']').split_once('[').unwrap_or((name, "1"));
        size = size.next_multiple_of(alignment);
        places.insert(name.to_owned(), size as u64);
        size += count.parse::<usize>().ok()? * of.parse::<usize>().ok()? / 8;
    }
    Some((places, size))
}

fn kernel(entry: &str) -> Result<Kernel, String> {
    let broken = || format!("no kernel: {}", entry.lines().next().unwrap_or_default());
    let (name, rest) = entry.split_once('(').ok_or_else(broken)?;
    let (list, rest) = rest.split_once(')').ok_or_else(broken)?;
    let (head, body) = body(rest).ok_or_else(broken)?;
    let (mut parameters, mut sizes) = (HashMap::new(), Vec::new());
    for parameter in list.split(',') {
        let words: Vec<&str> = parameter.split_whitespace().collect();
        let [".param", of, name] = words.as_slice() else { return Err(broken()) };
        parameters.insert((*name).to_owned(), sizes.len());
        sizes.push(of.trim_start_matches(['.', 'b', 'u', 's', 'f']).parse::<usize>().map_err(|_| broken())? / 8);
    }
    let (shared, size) = shared_memory(body).ok_or_else(broken)?;
    let max_threads = directive(head, ".maxntid").and_then(|n| n.parse().ok()).unwrap_or(1024);
    let (registers, presets, labels) = Default::default();
    let mut scope = Scope { registers, presets, parameters, labels, shared };
    let mut statements: Vec<&str> = Vec::new();
    for statement in body.split(';') {
        let mut statement = statement.trim();
        while let Some((label, rest)) = statement.split_once(':').filter(|_| statement.starts_with('$')) {
            scope.labels.insert(label.to_owned(), statements.len());
            statement = rest.trim();
        }
        // Braces around assembly of ours are blocks, in which nothing is declared.
        statement = statement.trim_start_matches(|c: char| c == '}' || c.is_whitespace());
        if !statement.is_empty() && !statement.starts_with('.') {
            statements.push(statement);
        }
    }
    let mut code = Vec::with_capacity(statements.len());
    for text in statements {
        let mut guard = None;
        let mut instruction = text;
        if let Some((predicate, rest)) = text.strip_prefix('@').and_then(|t| t.split_once(char::is_whitespace)) {
            let name = predicate.trim_start_matches('!');
            guard = Some((scope.register(name)?, !predicate.starts_with('!')));
            instruction = rest.trim();
        }
        let (opcode, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
        let kind = decode(opcode, rest.trim(), &mut scope)?;
        code.push(Instruction { guard, kind, text: text.split_whitespace().collect::<Vec<_>>().join(" ") });
    }
    if !matches!(code.last(), Some(Instruction { guard: None, kind: Kind::Return, .. })) {
        return Err(format!("{name} has no end"));
    }
    let (registers, presets) = (scope.registers.len(), scope.presets);
    Ok(Kernel { name: name.trim().to_owned(), parameters: sizes, shared: size, max_threads, registers, presets, code })
}
