//! `membox audit verify`.

use crate::config::Config;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use membox_memory::AuditChain;
use membox_memory::keys::hex;
use std::io::Write;
use std::path::PathBuf;

/// Check the log of who deleted, erased or exported what.
#[derive(Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Go along each tenant's chain, also of a running box: fails when an entry was changed, or one in the middle is
    /// missing.
    ///
    /// Entries are keyed with redaction.key of the data folder, so whoever can only write the database cannot make a
    /// chain that holds. Prints how many entries there are and the last code. Note both where the box cannot write, and
    /// the next check shows whether entries were taken off the end: the chain must then still have that code at that
    /// place. Entries that are keyed with another key, as those of a restored backup are, need that key: --key.
    Verify {
        /// redaction.key of the box that wrote older entries; once for each.
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
    },
    /// Print a tenant's entries, one JSON object a line, also of a running box.
    ///
    /// Without a tenant: the box's own, such as keys that were refused.
    List {
        /// Whose entries; `default` on a box without keys.
        #[arg(default_value = "")]
        tenant: String,
        /// Only entries after this number.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
}

/// Entries that are read at a time.
const PAGE: usize = 1000;

/// Runs `membox audit`.
pub fn run(config: &Config, args: &AuditArgs) -> Result<()> {
    match &args.command {
        AuditCommand::Verify { key } => verify(config, key),
        AuditCommand::List { tenant, after } => {
            let (mut out, mut after) = (std::io::stdout().lock(), *after);
            loop {
                let entries = membox_memory::list_audit(&config.data_dir, tenant, after, PAGE)?;
                let Some(last) = entries.last() else { return Ok(()) };
                after = last.number;
                for entry in &entries {
                    writeln!(out, "{}", serde_json::to_string(entry)?)?;
                }
            }
        }
    }
}

fn verify(config: &Config, keys: &[PathBuf]) -> Result<()> {
    let mut unchecked = 0;
    for chain in membox_memory::verify_audit(&config.data_dir, keys)? {
        let AuditChain { tenant, entries, last, .. } = &chain;
        let whose = if tenant.is_empty() { "the box itself" } else { tenant };
        println!("{whose}: {entries} entries, all as they were written; the last code is {}", hex(last));
        if chain.unchecked > 0 {
            println!("  of these, {} are keyed with a key that is not here, and were not checked", chain.unchecked);
        }
        if chain.without_key > 0 {
            println!(
                "  the last {} have no key: an older membox wrote them, or newer ones were taken off the end",
                chain.without_key
            );
        }
        unchecked += chain.unchecked;
    }
    if unchecked > 0 {
        bail!("{unchecked} entries were not checked: name the key of the box that wrote them (--key redaction.key)");
    }
    println!("the audit log is whole");
    Ok(())
}
