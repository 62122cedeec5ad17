//! Every kernel compiles for every architecture that is promised, and fits what its launch assumes. No GPU is needed,
//! but NVRTC and ptxas are: `make kernels` fetches them and runs these tests; where they are not found, the tests say
//! so and pass.

use membox_cuda::{FILES, Half, compile};
use std::path::PathBuf;
use std::process::Command;

/// Compute capabilities; those of the last ones only where the compiler knows them.
const ARCHITECTURES: [u32; 3] = [75, 80, 90];
const NEWER: [u32; 2] = [100, 120];

/// The shapes that models have: hidden size and head.
const SHAPES: [(usize, usize); 3] = [(384, 32), (768, 64), (1024, 64)];

fn has_compiler() -> bool {
    // SAFETY: looks for NVRTC by its names and loads it; it has no side effects when loaded.
    let found = unsafe { cudarc::nvrtc::sys::is_culib_present() };
    if !found {
        println!("SKIPPED: libnvrtc is not found; `make kernels` fetches it and runs this test");
    }
    found
}

/// Each file with each set of defines that it is compiled with, and the threads of its largest block.
fn variants() -> Vec<(&'static str, Vec<(&'static str, usize)>)> {
    let mut all = Vec::new();
    for (file, _) in FILES {
        match file {
            "norm" => {
                all.extend(SHAPES.map(|(hidden, _)| (file, vec![("HIDDEN", hidden)])));
                all.extend(SHAPES.map(|(hidden, _)| (file, vec![("HIDDEN", hidden), ("NO_PLACES", 1)])));
                let modern_bert = |(hidden, _)| (file, vec![("HIDDEN", hidden), ("NO_PLACES", 1), ("PRE_NORM", 1)]);
                all.extend(SHAPES.map(modern_bert));
                all.extend(SHAPES.map(|(hidden, _)| (file, vec![("HIDDEN", hidden), ("ROW_NORM", 1)])));
            }
            "gelu" => {
                all.push((file, vec![]));
                all.extend((1..4).map(|activation| (file, vec![("ACTIVATION", activation)])));
                all.extend((0..4).map(|activation| (file, vec![("ACTIVATION", activation), ("GATED", 1)])));
            }
            "rotary" => all.extend(SHAPES.map(|(hidden, head)| (file, vec![("HIDDEN", hidden), ("HEAD", head)]))),
            "attention" => {
                all.extend(SHAPES.map(|(hidden, head)| (file, vec![("HIDDEN", hidden), ("HEAD", head)])));
                for part in ["LOCAL", "RELATIVE"] {
                    all.extend(
                        SHAPES.map(|(hidden, head)| (file, vec![("HIDDEN", hidden), ("HEAD", head), (part, 1)])),
                    );
                }
            }
            "heads" => all.extend([vec![], vec![("LOGITS", 1)]].map(|defines| (file, defines))),
            "recall" => all.extend([64, 384, 768, 1024, 1536].map(|d| (file, vec![("DIMENSION", d)]))),
            _ => all.push((file, vec![])),
        }
    }
    all
}

fn compiled(capability: u32) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (file, defines) in variants() {
        for half in [Half::F16, Half::Bf16] {
            // bf16 came with Ampere.
            if half == Half::Bf16 && capability < 80 {
                continue;
            }
            let ptx = compile(file, half, &defines, &format!("compute_{capability}")).unwrap_or_else(|e| panic!("{e}"));
            all.push((format!("{file} {half:?} {defines:?} {capability}"), ptx));
        }
    }
    all
}

#[test]
fn every_kernel_compiles_for_every_architecture() {
    if !has_compiler() {
        return;
    }
    for capability in ARCHITECTURES {
        for (name, ptx) in compiled(capability) {
            assert!(ptx.contains(".entry"), "{name} has no kernel");
            assert!(
                (name.starts_with("attention") || name.starts_with("recall")) == ptx.contains("mma.sync"),
                "{name}: tensor cores are for attention and recall"
            );
        }
    }
    for capability in NEWER {
        match compile("gelu", Half::F16, &[], &format!("compute_{capability}")) {
            Ok(_) => assert!(!compiled(capability).is_empty()),
            Err(error) => println!("SKIPPED for {capability}, which this NVRTC does not know: {error}"),
        }
    }
}

/// What ptxas says of one kernel.
#[derive(Debug, Default)]
struct Resources {
    kernel: String,
    registers: usize,
    shared: usize,
    spilled: usize,
}

fn resources(report: &str) -> Vec<Resources> {
    let mut all: Vec<Resources> = Vec::new();
    let number_before = |line: &str, what: &str| -> usize {
        let words: Vec<&str> = line.split_whitespace().collect();
        let end: Vec<&str> = what.split(' ').collect();
        let at = words.windows(end.len()).position(|w| w.iter().zip(&end).all(|(a, b)| a.trim_end_matches(',') == *b));
        at.and_then(|at| words.get(at.wrapping_sub(1))?.parse().ok()).unwrap_or(0)
    };
    for line in report.lines() {
        if let Some(name) = line.split("Compiling entry function '").nth(1) {
            all.push(Resources {
                kernel: name.split('\'').next().unwrap_or_default().to_owned(),
                ..Resources::default()
            });
        }
        if let Some(last) = all.last_mut() {
            last.spilled += number_before(line, "bytes spill stores");
            last.registers = last.registers.max(number_before(line, "registers"));
            last.shared = last.shared.max(number_before(line, "bytes smem"));
        }
    }
    all
}

#[test]
fn kernels_fit_the_registers_and_the_shared_memory_that_their_launch_assumes() {
    if !has_compiler() {
        return;
    }
    let ptxas = std::env::var_os("MEMBOX_PTXAS").map_or_else(|| PathBuf::from("ptxas"), PathBuf::from);
    if Command::new(&ptxas).arg("--version").output().is_err() {
        println!("SKIPPED: ptxas is not found; `make kernels` fetches it and runs this test");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for capability in [80, 90] {
        for (name, ptx) in compiled(capability) {
            let path = folder.path().join("kernel.ptx");
            std::fs::write(&path, &ptx).expect("a file");
            let output = Command::new(&ptxas)
                .args(["-v", &format!("-arch=sm_{capability}"), "-o", "/dev/null"])
                .arg(&path)
                .output()
                .expect("ptxas");
            let report =
                String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{name}: {report}");
            for kernel in resources(&report) {
                println!("{name}: {kernel:?}");
                // So many blocks fit the 65 536 registers that every GPU has for them, and two the 48 KiB of shared
                // memory; of scan_many, which has all questions there, one.
                let (threads, blocks, shared) = match kernel.kernel.as_str() {
                    "bias_gelu" | "bias_gated" | "rotate" => (512, 2, 24),
                    "attention" if name.contains("(\"HEAD\", 64)") => (128, 3, 24),
                    "choose_best" => (1024, 1, 24),
                    "scan_many" if name.ends_with(" 75") => (128, 1, 48),
                    "scan_many" => (128, 4, 48),
                    "scan_rows" | "scan_codes" => (128, 5, 24),
                    _ => (128, 4, 24),
                };
                assert!(kernel.registers > 0 && kernel.registers * threads * blocks <= 65_536, "{name}: {kernel:?}");
                assert!(kernel.shared <= shared << 10, "{name}: {kernel:?}");
                assert_eq!(kernel.spilled, 0, "{name}: {kernel:?} spills registers to memory");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} kernels were reported on");
}

/// A file, its numbers, its defines, and a compute capability.
type Variant = (&'static str, Half, Vec<(&'static str, usize)>, u32);

/// What the tests on a software card run: the kernels of small models of each family and of MiniLM, and recall.
fn of_software_card() -> Vec<Variant> {
    let mut all =
        vec![("recall", Half::F16, vec![("DIMENSION", 64)], 80), ("recall", Half::F16, vec![("DIMENSION", 64)], 75)];
    for half in [Half::F16, Half::Bf16] {
        all.push(("norm", half, vec![("HIDDEN", 64)], 80));
        all.push(("gelu", half, vec![], 80));
        all.push(("gelu", half, vec![("ACTIVATION", 3), ("GATED", 1)], 80));
        all.push(("heads", half, vec![], 80));
        all.push(("heads", half, vec![("LOGITS", 1)], 80));
        all.push(("norm", half, vec![("HIDDEN", 64), ("ROW_NORM", 1)], 80));
        all.push(("rotary", half, vec![("HIDDEN", 64), ("HEAD", 32)], 80));
        all.push(("norm", half, vec![("HIDDEN", 64), ("NO_PLACES", 1), ("PRE_NORM", 1)], 80));
    }
    for (half, capability) in [(Half::F16, 80), (Half::F16, 75), (Half::Bf16, 80)] {
        all.push(("attention", half, vec![("HIDDEN", 64), ("HEAD", 32)], capability));
        for part in ["LOCAL", "RELATIVE"] {
            all.push(("attention", half, vec![("HIDDEN", 64), ("HEAD", 32), (part, 1)], capability));
        }
    }
    // Other families than BERT.
    all.push(("norm", Half::F16, vec![("HIDDEN", 64), ("NO_PLACES", 1)], 80));
    all.extend((1..4).map(|activation| ("gelu", Half::F16, vec![("ACTIVATION", activation)], 80)));
    all.push(("gelu", Half::F16, vec![("ACTIVATION", 0), ("GATED", 1)], 80));
    all.push(("rotary", Half::F16, vec![("HIDDEN", 64), ("HEAD", 64)], 80));
    all.push(("attention", Half::F16, vec![("HIDDEN", 64), ("HEAD", 64)], 80));
    // A pass whose tiles are full.
    all.push(("norm", Half::F16, vec![("HIDDEN", 128)], 80));
    all.push(("attention", Half::F16, vec![("HIDDEN", 128), ("HEAD", 32)], 80));
    // A box with MiniLM.
    all.push(("norm", Half::F16, vec![("HIDDEN", 384)], 80));
    all.push(("attention", Half::F16, vec![("HIDDEN", 384), ("HEAD", 32)], 80));
    all
}

/// `make kernels` writes it, where it has fetched NVRTC; the tests run it without.
#[test]
fn a_software_card_has_ptx_of_these_sources() {
    let mut kept = Vec::new();
    for (file, half, defines, capability) in of_software_card() {
        let source = membox_cuda::source(file, half, &defines).expect("a file");
        let path = membox_software_card::compiler::fixture(&format!("{file}.cu"), &source, capability);
        if std::env::var_os("MEMBOX_KEEP_PTX").is_some() && has_compiler() {
            let ptx = compile(file, half, &defines, &format!("compute_{capability}")).unwrap_or_else(|e| panic!("{e}"));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, ptx).expect("a file");
        }
        let has_kernel = std::fs::read_to_string(&path).is_ok_and(|ptx| ptx.contains(".entry"));
        assert!(has_kernel, "kernels/{file}.cu was changed: `make kernels` writes {}", path.display());
        kept.push(path);
    }
    for entry in kept[0].parent().expect("a folder").read_dir().expect("a folder") {
        let path = entry.expect("a file").path();
        let is_wanted = kept.contains(&path);
        if !is_wanted && std::env::var_os("MEMBOX_KEEP_PTX").is_some() {
            std::fs::remove_file(&path).expect("a file");
        } else {
            assert!(is_wanted, "{} is of no source: `make kernels` removes it", path.display());
        }
    }
}
