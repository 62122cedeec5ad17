//! `membox audit verify`.

use crate::config::Config;
use anyhow::Result;
use clap::{Args, Subcommand};

/// Check the log of who deleted, erased or exported what.
#[derive(Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Go along each tenant's chain of hashes, also of a running box: fails when an entry was changed, or taken out
    /// of the middle.
    ///
    /// Prints how many entries there are and the last hash. Note both where the box cannot write, and the next check
    /// shows whether entries were taken off the end: the chain must then still have that hash at that place.
    Verify,
}

/// Runs `membox audit`.
pub fn run(config: &Config, args: &AuditArgs) -> Result<()> {
    match args.command {
        AuditCommand::Verify => {
            for (tenant, count, last) in membox_memory::verify_audit(&config.data_dir)? {
                println!("{tenant}: {count} entries, all as they were written; the last hash is {last}");
            }
            println!("the audit log is whole");
            Ok(())
        }
    }
}
