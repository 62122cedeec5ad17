//! membox: a memory box for LLM clusters. `membox --help` tells what it does.

mod api_keys;
mod audit;
mod axes;
mod bench;
mod client;
mod compress;
mod config;
mod data_folder;
mod distil;
mod doctor;
mod embed;
mod exit;
mod files;
mod gpu;
#[cfg(feature = "hub")]
mod hub;
mod import;
mod keys;
mod loading;
mod machine;
mod mcp;
mod models;
mod output;
mod private;
mod progress;
mod ready;
mod recall;
mod serve;
mod text;
mod traces;

use anyhow::Result;
use clap::{Parser, Subcommand};
use config::GlobalArgs;
use std::process::ExitCode;

/// What was freed is given back to the system within seconds: glibc's arenas keep it, more of it the longer a box is
/// under load.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A memory box for LLM clusters: one server that embeds, indexes and recalls conversation histories.
///
/// Start a box with `membox serve`, load a history with `membox import history.jsonl`, and ask it with
/// `membox recall COLLECTION "a question"`. Settings come from membox.toml, then the environment (MEMBOX_*), then
/// flags; `membox config show` prints what is in force.
#[derive(Parser)]
#[command(name = "membox", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Import(import::ImportArgs),
    /// Ask a running box what it remembers.
    Recall(recall::RecallArgs),
    Ready(ready::ReadyArgs),
    Embed(embed::EmbedArgs),
    Compress(compress::CompressArgs),
    Distil(distil::DistilArgs),
    Mcp(mcp::McpArgs),
    /// List, install and check models.
    Models(models::ModelsArgs),
    /// Show the configuration in force.
    Config(config::ConfigArgs),
    /// Measure this machine: throughput, and a query's latency idle and under a bulk load.
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
    Verify(data_folder::VerifyArgs),
    /// Mend a data folder that no box has open: embed damaged vectors anew and remove damaged indexes, which are
    /// built anew.
    ///
    /// A vector that was given and is damaged cannot be had again: the embedding of its text takes its place, and the
    /// record is named. Ends with a check of the folder. Exit code 0: nothing is wrong any more. 1: something could
    /// not be mended. 3: a box has the folder open.
    Rebuild,
    Audit(audit::AuditArgs),
    Keys(keys::KeysArgs),
    /// Copy a data folder, also that of a running box, to a new folder.
    Backup(data_folder::BackupArgs),
    /// Copy a backup to a data folder that holds nothing yet.
    Restore(data_folder::RestoreArgs),
}

fn main() -> ExitCode {
    private::make_files_private();
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Serve(_)) {
        exit::end_with_the_reader();
    }
    exit::code_of(run(cli))
}

fn run(cli: Cli) -> Result<()> {
    let config = config::load(&cli.global)?;
    match cli.command {
        Command::Serve(args) => serve::run(config, cli.global, args),
        Command::Import(args) => import::run(&config, &args),
        Command::Recall(args) => recall::run(&config, &args),
        Command::Ready(args) => ready::run(&config, &args),
        Command::Embed(args) => embed::run(&config, &args),
        Command::Compress(args) => compress::run(&config, &args),
        Command::Distil(args) => distil::run(&config, &args),
        Command::Mcp(args) => mcp::run(&config, &args),
        Command::Models(args) => models::run(&config, &args),
        Command::Config(args) => config::run(&config, &args),
        Command::Bench(args) => bench::run(&config, &args),
        Command::Doctor(args) => doctor::run(&config, &args),
        Command::Verify(args) => data_folder::verify(&config, &args),
        Command::Rebuild => data_folder::rebuild(&config),
        Command::Audit(args) => audit::run(&config, &args),
        Command::Keys(args) => keys::run(&config, &args),
        Command::Backup(args) => data_folder::backup(&config, &args),
        Command::Restore(args) => data_folder::restore(&config, &args),
    }
}
