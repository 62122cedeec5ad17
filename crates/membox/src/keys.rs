//! `membox keys`.

use crate::config::Config;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use membox_memory::keys::{MasterKey, keys};
use membox_memory::time_text;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Make a master key, and list the tenants' keys that it wraps.
#[derive(Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Write a new master key to a file that only you can read.
    ///
    /// Set master_key_file in membox.toml to it, and keep a copy where neither the data nor its backups are: whoever
    /// has both reads everything, and without it nobody does. To change it, make another, set that, name the old file
    /// in old_master_key_files, and start the box once.
    New {
        /// The new file.
        file: PathBuf,
    },
    /// List the tenants' keys in the data folder, and by which master key each is wrapped. No master key is needed.
    List,
}

/// Runs `membox keys`.
pub fn run(config: &Config, args: &KeysArgs) -> Result<()> {
    match &args.command {
        KeysCommand::New { file } => {
            let key = MasterKey::generate()?;
            let write = || -> std::io::Result<()> {
                let mut created = File::options().create_new(true).write(true).mode(0o600).open(file)?;
                writeln!(created, "{}", *key.to_base64())?;
                created.sync_all()?;
                membox_memory::sync_parent(file)
            };
            write().with_context(|| format!("cannot write {}", file.display()))?;
            println!("master key {} in {}", key.fingerprint(), file.display());
            println!("set master_key_file = {:?} in membox.toml, and keep a copy apart from the data", file);
        }
        KeysCommand::List => {
            let keys = keys(&membox_memory::keys_file(&config.data_dir))?;
            for key in &keys {
                let settled = if key.settled { "" } else { ", and not everything is sealed with it yet" };
                let (number, tenant, made) = (key.number, &key.tenant, time_text(key.created_at));
                println!("key {number} of tenant {tenant}, made {made}, wrapped by master key {}{settled}", key.master);
            }
            println!("{} keys in {}", keys.len(), membox_memory::keys_file(&config.data_dir).display());
        }
    }
    Ok(())
}
