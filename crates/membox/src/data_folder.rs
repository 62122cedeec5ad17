//! `membox verify`, `rebuild`, `backup` and `restore`.

use crate::config::Config;
use crate::exit::{BOX_RUNS, ExitError};
use anyhow::{Result, bail};
use clap::Args;
use membox_memory::{BackupSummary, MemoryConfig, MemoryError, Models, Report};
use std::path::PathBuf;
use std::sync::Arc;

/// Check a data folder that no box has open, and say what `rebuild` would do. Nothing in the folder is changed.
///
/// Exit code 0: everything is as it should be. 1: something is wrong, or it could not be checked. 3: a box has the
/// folder open, and nothing was checked; stop it first, or check a backup of it:
/// `membox backup COPY && membox verify --data-dir COPY`.
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
    /// Leave out the tenants' keys: what is sealed can be read only beside the keys.json of the box, so that a tenant
    /// who is erased there is gone from this backup too. Without that file it is worth nothing; keep copies of that.
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
    let report = look_after(&config.memory_config()?, membox_memory::verify)?;
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

/// Checks or mends a folder; that a box has it open is an error of its own.
fn look_after(
    config: &MemoryConfig,
    work: impl FnOnce(&MemoryConfig) -> Result<Report, MemoryError>,
) -> Result<Report> {
    if config.data_dir.is_dir() && !config.data_dir.join("membox.db").exists() {
        bail!("{} holds no membox.db, so there is nothing to check; is --data-dir right?", config.data_dir.display());
    }
    work(config).map_err(|error| match error {
        MemoryError::Locked(_) => {
            let advice = "Nothing was checked. To check it while the box runs, check a backup of it: \
                          `membox backup COPY && membox verify --data-dir COPY`";
            ExitError::new(BOX_RUNS, format!("{error}.\n{advice}")).into()
        }
        other => other.into(),
    })
}

/// Runs `membox rebuild`.
pub fn rebuild(config: &Config) -> Result<()> {
    // Only damaged vectors need the model; without one, derived state can still be mended.
    let scheduler = config.start_scheduler()?;
    let loaded = config.load_encoder(&scheduler);
    let encoder = loaded.map_err(|error| eprintln!("without a model: {error:#}")).ok();
    let further = Arc::new(config.further_models(&scheduler));
    let models = Models { encoder, further, ..Models::default() };
    let config = config.memory_config()?;
    let report = look_after(&config, |config| membox_memory::rebuild(config, models))?;
    print(&report);
    let after = look_after(&config, membox_memory::verify)?;
    match after.problems.len() {
        0 if report.problems.is_empty() => println!("there was nothing to mend"),
        0 => println!("mended: a check finds nothing wrong any more"),
        n => {
            println!("after that:");
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
    report.notes.iter().for_each(|note| println!("note  {note}"));
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
    name_leftovers(&s);
    Ok(())
}

/// Runs `membox restore`.
pub fn restore(config: &Config, args: &RestoreArgs) -> Result<()> {
    let s = membox_memory::restore(&args.backup, &config.data_dir)?;
    println!("{} collections, {} records restored to {}", s.collections, s.records, config.data_dir.display());
    name_leftovers(&s);
    Ok(())
}

/// Nothing removes a folder that it has not made.
fn name_leftovers(summary: &BackupSummary) {
    for path in &summary.leftovers {
        println!(
            "left by one that was interrupted, unless it is still under way; remove it yourself: {}",
            path.display()
        );
    }
}
