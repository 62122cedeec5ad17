//! `membox verify`, `rebuild`, `backup` and `restore`.

use crate::config::Config;
use anyhow::{Result, bail};
use clap::Args;
use membox_memory::{Models, Report};
use std::path::PathBuf;

/// Check a data folder that no box has open.
#[derive(Args)]
pub struct VerifyArgs {
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Copy a data folder, also that of a running box.
#[derive(Args)]
pub struct BackupArgs {
    /// The new folder.
    target: PathBuf,
    /// Leave out the tenants' keys: what is sealed can be read only beside the keys.json of the box, so that a tenant who is erased there is gone from this
    /// backup too. Without that file it is worth nothing; keep copies of that.
    #[arg(long)]
    without_keys: bool,
}

/// Copy a backup to a data folder that holds nothing yet.
#[derive(Args)]
pub struct RestoreArgs {
    /// The backup.
    backup: PathBuf,
}

/// Runs `membox verify`: fails when something is wrong.
pub fn verify(config: &Config, args: &VerifyArgs) -> Result<()> {
    let report = membox_memory::verify(&config.memory_config()?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    match report.problems.len() {
        0 => Ok(()),
        n => bail!("{n} problems; `membox rebuild` mends what can be mended"),
    }
}

/// Runs `membox rebuild`.
pub fn rebuild(config: &Config) -> Result<()> {
    // Only damaged vectors need the model; without one, derived state can still be mended.
    let loaded = config.start_scheduler().and_then(|scheduler| config.load_encoder(&scheduler));
    let encoder = loaded.map_err(|error| eprintln!("without a model: {error:#}")).ok();
    let models = Models { encoder, ..Models::default() };
    let report = membox_memory::rebuild(&config.memory_config()?, models)?;
    print(&report);
    let after = membox_memory::verify(&config.memory_config()?)?;
    match after.problems.len() {
        0 => println!("mended"),
        n => {
            print(&after);
            bail!("{n} problems are left");
        }
    }
    Ok(())
}

fn print(report: &Report) {
    for problem in &report.problems {
        let mark = if problem.serious { "LOST" } else { "damaged" };
        println!("{mark}  {}: {}\n      rebuild would: {}", problem.place, problem.found, problem.remedy);
    }
    println!(
        "{} collections, {} records checked, {} problems",
        report.collections,
        report.records,
        report.problems.len()
    );
}

/// Runs `membox backup`.
pub fn backup(config: &Config, args: &BackupArgs) -> Result<()> {
    let s = membox_memory::backup(&config.data_dir, &args.target, !args.without_keys)?;
    println!(
        "{} collections, {} records, {:.1} MB in {}",
        s.collections,
        s.records,
        s.bytes as f64 / 1e6,
        args.target.display()
    );
    Ok(())
}

/// Runs `membox restore`.
pub fn restore(config: &Config, args: &RestoreArgs) -> Result<()> {
    let s = membox_memory::restore(&args.backup, &config.data_dir)?;
    println!("{} collections, {} records restored to {}", s.collections, s.records, config.data_dir.display());
    Ok(())
}
