//! `membox doctor`: what was found here, and what follows from it.

use crate::config::Config;
use crate::models;
use anyhow::{Result, bail};
use clap::Args;
use membox_memory::MemoryError;
use membox_memory::encoder::Encoder;
use membox_memory::encoder::cpu::isa::Isa;
use membox_memory::encoder::cuda::{CHECKED_SHAPES, Checked, Gpu, Half, check_kernels};
use std::fs;
use std::path::Path;

/// Say what was found here (processor, GPU, memory, disk, models) and what follows from it. Nothing in the data
/// folder is changed.
#[derive(Args)]
pub struct DoctorArgs {
    /// Run every kernel on each GPU, and print its error against the CPU.
    #[arg(long)]
    gpu: bool,
}

/// Runs `membox doctor`.
pub fn run(config: &Config, args: &DoctorArgs) -> Result<()> {
    let config = &Config { keeps_kernels: false, ..config.clone() };
    if args.gpu {
        return check_gpus();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let isa = Isa::detect();
    row("processor", &format!("{}, {cores} cores", processor().unwrap_or_else(|| "unknown".into())));
    let follows = match isa.name() {
        "avx512-vnni" => "the fastest kernels: AVX-512 with VNNI for int8",
        "avx512" => "AVX-512 for f32; int8 without VNNI is hardly faster than f32",
        "avx2" => "AVX2; int8 without VNNI is hardly faster than f32, and takes a quarter of the memory",
        _ => "portable code only: slower, and correct",
    };
    row("instructions", &format!("{}: {follows}", isa.name()));
    row("gpu", &gpu(&config.device));
    let memory = kilobytes("/proc/meminfo", "MemTotal:").unwrap_or(0.0) / 1e6;
    let free = kilobytes("/proc/meminfo", "MemAvailable:").unwrap_or(0.0) / 1e6;
    row(
        "memory",
        &format!("{memory:.1} GB, {free:.1} GB available; a million vectors with their index take about 1 GB"),
    );
    row("disk", &disk(&config.data_dir));
    for model in models::known()? {
        println!("model {}", model.name);
        row("", &state(config, &model)?);
    }
    row("compression", &format!("by {} (compression_model)", config.compression_model));
    row("data folder", &data_folder(config));
    Ok(())
}

/// What is in the data folder.
fn data_folder(config: &Config) -> String {
    let folder = config.data_dir.display();
    if !config.data_dir.join("membox.db").exists() {
        return format!("{folder} holds nothing yet; `membox serve` makes it");
    }
    let looked = config.memory_config().and_then(|config| Ok(membox_memory::overview(&config)?));
    match looked {
        Ok(found) => {
            let notes: String = found.notes.iter().map(|note| format!("; {note}")).collect();
            format!("{folder} can be read: {} collections, {} records{notes}", found.collections, found.records)
        }
        Err(error) if matches!(error.downcast_ref(), Some(MemoryError::Locked(_))) => {
            format!("{folder} is in use by a running box, which knows what is in it: GET /info, or `membox recall`")
        }
        Err(error) => format!("{folder}: {error:#}"),
    }
}

/// Whether a model is installed and can be loaded.
fn state(config: &Config, model: &models::Model) -> Result<String> {
    if !model.is_installed(&config.models_dir().join(&model.name)) {
        let need = if model.name == config.model { "needed" } else { "optional" };
        return Ok(format!("not installed ({need}): run `membox models pull {}`", model.name));
    }
    let scheduler = config.start_scheduler()?;
    let engine = if model.compresses() {
        config.load_compressor(&model.name, &scheduler).map(|compressor| runs_on(compressor.encoder()))
    } else if model.name == config.model {
        config.load_encoder(&scheduler).map(|encoder| runs_on(&encoder))
    } else {
        return Ok("installed".into());
    };
    Ok(engine.unwrap_or_else(|error| format!("{error:#}")))
}

/// Every kernel on every GPU.
fn check_gpus() -> Result<()> {
    let (mut wrong, mut broken) = (0, 0);
    for ordinal in 0..Gpu::count()?.max(1) {
        match check_gpu(ordinal) {
            Ok(found) => wrong += found,
            // One card that cannot be used is no reason to leave the others unchecked.
            Err(error) => {
                println!("card {ordinal}: {error:#}");
                broken += 1;
            }
        }
    }
    match (wrong, broken) {
        (0, 0) => Ok(()),
        (0, broken) => bail!("{broken} cards cannot be used"),
        (wrong, _) => bail!("{wrong} kernels are wrong on a card: run with device = cpu, and please report this"),
    }
}

/// Every kernel on one GPU: how many are wrong.
fn check_gpu(ordinal: usize) -> Result<usize> {
    let mut wrong = 0;
    let gpu = Gpu::find(ordinal)?;
    let (major, minor) = gpu.capability();
    println!("card {ordinal}: {}, compute capability {major}.{minor}, {} GiB", gpu.name(), gpu.memory() >> 30);
    println!("  {}", gpu.versions());
    // bf16 came with Ampere.
    for half in [Half::F16, Half::Bf16].into_iter().filter(|half| *half == Half::F16 || major >= 8) {
        for checked in check_kernels(&gpu, half, &CHECKED_SHAPES, None)? {
            let verdict = if checked.is_right() { "right" } else { "WRONG" };
            let Checked { kernel, shape, error, tolerance } = &checked;
            println!("  {verdict}  {kernel:<24} {half:?} error {error:.1e} of {tolerance:.1e}  {shape}");
            wrong += usize::from(!checked.is_right());
        }
    }
    Ok(wrong)
}

fn runs_on(encoder: &Encoder) -> String {
    let engine = encoder.engine().name();
    match encoder.why_not_cuda() {
        Some(reason) => format!("loads, runs on {engine}, and on no card: {reason}"),
        None => format!("loads, runs on {engine}"),
    }
}

fn row(name: &str, found: &str) {
    println!("{name:<24} {found}");
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gpu(device: &str) -> String {
    match fs::read_to_string("/proc/driver/nvidia/version") {
        Ok(text) => {
            let driver = text.lines().next().unwrap_or_default().trim().to_owned();
            format!("{driver}; device = {device}")
        }
        Err(_) => format!("no NVIDIA driver; device = {device}"),
    }
}

fn kilobytes(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find(|l| l.starts_with(key))?.split_whitespace().nth(1)?.parse().ok()
}

fn disk(data_dir: &Path) -> String {
    // Where it is to be, as long as it is not there.
    let there = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(there) {
        Ok(stat) => {
            let free = stat.f_bavail as f64 * stat.f_frsize as f64 / 1e9;
            format!("{free:.1} GB free in {}; a million records take about 2 GB", data_dir.display())
        }
        Err(error) => format!("{}: {error}", data_dir.display()),
    }
}
