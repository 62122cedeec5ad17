//! `membox doctor`: what was found here, and what follows from it.

use crate::config::Config;
use crate::models;
use anyhow::Result;
use membox_memory::encoder::cpu::isa::Isa;
use std::fs;
use std::path::Path;

/// Runs `membox doctor`.
pub fn run(config: &Config) -> Result<()> {
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
    row("gpu", &gpu());
    let memory = kilobytes("/proc/meminfo", "MemTotal:").unwrap_or(0.0) / 1e6;
    let free = kilobytes("/proc/meminfo", "MemAvailable:").unwrap_or(0.0) / 1e6;
    row(
        "memory",
        &format!("{memory:.1} GB, {free:.1} GB available; a million vectors with their index take about 1 GB"),
    );
    row("disk", &disk(&config.data_dir));
    for model in models::known()? {
        let folder = config.models_dir().join(&model.name);
        let state = if !model.is_installed(&folder) {
            format!("not installed: run `membox models pull {}`", model.name)
        } else {
            match config.load_encoder(&config.start_scheduler()?) {
                Ok(encoder) if model.name == config.model => format!("loads, runs on {}", encoder.engine().name()),
                Ok(_) => "installed".into(),
                Err(error) => format!("{error:#}"),
            }
        };
        row(&format!("model {}", model.name), &state);
    }
    match membox_memory::MemoryBox::open(
        &membox_memory::MemoryConfig::new(&config.data_dir),
        membox_memory::Models::default(),
    ) {
        Ok(memory) => row("data folder", &format!("{} opens; {}", config.data_dir.display(), collections(&memory))),
        Err(error) => row("data folder", &error.to_string()),
    }
    Ok(())
}

fn row(name: &str, found: &str) {
    println!("{name:<24} {found}");
}

fn collections(memory: &membox_memory::MemoryBox) -> String {
    format!("{} collections of tenant default", memory.collection_names(membox_server::DEFAULT_TENANT).len())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gpu() -> String {
    match fs::read_to_string("/proc/driver/nvidia/version") {
        Ok(text) => {
            let driver = text.lines().next().unwrap_or_default().trim().to_owned();
            format!("{driver}; this version computes on the CPU only")
        }
        Err(_) => "no NVIDIA driver; the CPU computes".into(),
    }
}

fn kilobytes(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find(|l| l.starts_with(key))?.split_whitespace().nth(1)?.parse().ok()
}

fn disk(data_dir: &Path) -> String {
    let _ = fs::create_dir_all(data_dir);
    match rustix::fs::statvfs(data_dir) {
        Ok(stat) => {
            let free = stat.f_bavail as f64 * stat.f_frsize as f64 / 1e9;
            format!("{free:.1} GB free in {}; a million records take about 2 GB", data_dir.display())
        }
        Err(error) => format!("{}: {error}", data_dir.display()),
    }
}
