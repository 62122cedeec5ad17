//! `membox keys`.

use crate::config::Config;
use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use membox_api::{Access, NewApiKey};
use membox_memory::keys::{MasterKey, keys};
use membox_memory::{now, time_millis, time_text};
use membox_server::{DEFAULT_TENANT, ManagedKey};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Make, list and revoke API keys; make a master key.
///
/// API keys say who may ask: `create`, `list`, `revoke`. They are in a file of the data folder (or keys_file), by
/// their hashes alone, and a running box takes up what changes within a second. A master key seals what is on the
/// disk: `new`.
#[derive(Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make an API key and print it. It is shown this once.
    ///
    /// The first key of a box closes it: from then on nobody asks without one, also of a box that runs. Everything that
    /// was written before belongs to the tenant `default`.
    ///
    /// Such as: membox keys create "Lena's assistant" --access append --user lena
    Create(CreateArgs),
    /// Revoke an API key by its id, as `membox keys list` shows it. A running box refuses it within a second.
    Revoke {
        /// The key's id.
        id: String,
    },
    /// List the API keys of the file, and the tenants' keys in the data folder with the master key that wraps each. No
    /// key is shown.
    List,
    /// Write a new master key to a file that only you can read.
    ///
    /// Set master_key_file in membox.toml to it, and keep a copy where neither the data nor its backups are: whoever
    /// has both reads everything, and without it nobody does. To change it, make another, set that, name the old file
    /// in old_master_key_files, and start the box once.
    New {
        /// The new file.
        file: PathBuf,
    },
}

#[derive(Args)]
struct CreateArgs {
    /// What it is for: the list of keys shows it.
    name: String,
    /// Everything written and asked with it belongs to this tenant.
    #[arg(long, default_value = DEFAULT_TENANT, value_name = "NAME")]
    tenant: String,
    /// What it may do: look; add too; change and delete too; everything of its tenant.
    #[arg(long, default_value = Access::Admin.name(), value_name = "LEVEL", value_parser = access())]
    access: Access,
    /// A collection that it reaches; given several times, several. Without it, all.
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// A session that it reaches; given several times, several. Without it, all.
    #[arg(long = "session", value_name = "ID")]
    sessions: Vec<String>,
    /// A user that it reaches; given several times, several. Without it, all.
    #[arg(long = "user", value_name = "ID")]
    users: Vec<String>,
    /// Requests that it may send a second. Without it, any number.
    #[arg(long, value_name = "N")]
    requests_per_second: Option<f64>,
    /// When it ends, such as 2027-01-31T00:00:00Z. Without it, never.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

/// Reads a level by its name.
fn access() -> impl TypedValueParser<Value = Access> {
    let by_name = |name: String| Access::ALL.into_iter().find(|access| access.name() == name).unwrap_or_default();
    PossibleValuesParser::new(Access::ALL.map(Access::name)).map(by_name)
}

/// Runs `membox keys`.
pub fn run(config: &Config, args: &KeysArgs) -> Result<()> {
    match &args.command {
        KeysCommand::Create(args) => create(config, args),
        KeysCommand::Revoke { id } => revoke(config, id),
        KeysCommand::List => list(config),
        KeysCommand::New { file } => new_master_key(file),
    }
}

fn create(config: &Config, args: &CreateArgs) -> Result<()> {
    let list = |names: &Vec<String>| (!names.is_empty()).then(|| names.clone());
    let new = NewApiKey {
        name: args.name.clone(),
        access: args.access,
        collections: list(&args.collections),
        sessions: list(&args.sessions),
        users: list(&args.users),
        requests_per_second: args.requests_per_second,
        expires_at: args.expires_at.clone(),
    };
    let file = config.key_file();
    let is_first = file.read()?.is_none() && config.keys.is_empty();
    let (key, made) = file.create(&args.tenant, &new)?;
    println!("{key}");
    eprintln!("{}", line(&made));
    eprintln!("this is the only time that the key is shown; {} holds its hash", file.path().display());
    if is_first {
        eprintln!("from now on this box answers nobody without a key");
    }
    Ok(())
}

fn revoke(config: &Config, id: &str) -> Result<()> {
    let file = config.key_file();
    let mut left = 0;
    let revoked = file.revoke(id, None, |keys| {
        left = keys.len();
        Ok(())
    })?;
    println!("revoked: {}", line(&revoked));
    if left == 0 && config.keys.is_empty() {
        println!("no key is left: nobody may ask this box until you make one by `membox keys create`");
    }
    Ok(())
}

fn list(config: &Config) -> Result<()> {
    let file = config.key_file();
    let managed = file.read()?.unwrap_or_default();
    managed.iter().for_each(|key| println!("{}", line(key)));
    let of_settings = config.keys.len();
    println!("{} API keys in {}, and {of_settings} in the settings", managed.len(), file.path().display());
    let path = membox_memory::keys_file(&config.data_dir);
    let keys = keys(&path)?;
    for key in &keys {
        let settled = if key.settled { "" } else { ", and not everything is sealed with it yet" };
        let (number, tenant, made) = (key.number, &key.tenant, time_text(key.created_at));
        println!("key {number} of tenant {tenant}, made {made}, wrapped by master key {}{settled}", key.master);
    }
    println!("{} keys of tenants in {}", keys.len(), path.display());
    Ok(())
}

/// What is said of an API key.
fn line(key: &ManagedKey) -> String {
    let ManagedKey { id, name, tenant, access, created_at, .. } = key;
    let mut line = format!("API key {id} {name:?} of tenant {tenant}, access {access}, made {created_at}");
    for (what, list) in [("collections", &key.collections), ("sessions", &key.sessions), ("users", &key.users)] {
        if let Some(names) = list {
            line.push_str(&format!(", {what} {}", names.join(" ")));
        }
    }
    if let Some(rate) = key.requests_per_second {
        line.push_str(&format!(", {rate} requests a second"));
    }
    if let Some(end) = &key.expires_at {
        let is_over = time_millis(end).is_some_and(|end| end <= now());
        line.push_str(&format!(", {} {end}", if is_over { "has ended" } else { "ends" }));
    }
    line
}

fn new_master_key(file: &Path) -> Result<()> {
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
    Ok(())
}
