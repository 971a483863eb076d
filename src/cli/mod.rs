//! The command line: one file per command, `--help` is the reference.
//!
//! Commands hold no rules and no SQL: they read options, call the library and print.

mod ask;
pub mod backup;
pub mod call;
pub mod calls;
mod cut;
pub mod demo;
mod demo_capture;
mod demo_report;
pub mod export;
mod filter;
pub mod history;
pub mod import;
mod input;
pub mod migrate;
mod page;
mod paint;
mod phrase;
mod progress;
mod prose;
pub mod rebuild;
mod remote;
pub mod restore;
pub mod retention;
pub mod rules;
pub mod serve;
pub mod sources;
pub mod stats;
mod table;
pub mod token;
pub mod trace;
pub mod why;
mod why_page;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Who called what, as whom, who allowed it, and what came of it.
#[derive(Debug, Parser)]
#[command(name = "calltrail", version, about, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the data is: in a directory of ours, in Postgres, or behind a server.
#[derive(Clone, Args)]
#[command(next_help_heading = "Where the data is")]
pub struct Place {
    /// Directory of the data: SQLite, lock and rules file
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CALLTRAIL_DATA_DIR",
        default_value = "./calltrail-data"
    )]
    pub data_dir: PathBuf,
    /// Postgres instead of SQLite: postgres://USER:PASSWORD@HOST/DATABASE (better set by the environment than on the
    /// command line, which others can see)
    #[arg(long, global = true, value_name = "URL", env = "CALLTRAIL_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// A running calltrail to ask (or to send to) instead of opening the data: http://HOST:7311, or
    /// https://HOST for one behind TLS
    #[arg(long, global = true, value_name = "URL", env = "CALLTRAIL_SERVER")]
    pub server: Option<String>,
    /// Token for --server, as printed by `calltrail token create`
    #[arg(long, global = true, value_name = "TOKEN", env = "CALLTRAIL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows what it is for: feeds a bundled real capture to a real server, prints the calls and keeps serving
    Demo(demo::DemoArgs),
    /// Takes uploads, joins them and answers questions, until SIGTERM or Ctrl-C
    Serve(serve::ServeArgs),
    /// Reads log files into the data, or sends them to a server
    Import(import::ImportArgs),
    /// Lists calls, newest first
    Calls(calls::CallsArgs),
    /// Shows one call and everything that is known about it
    Call(call::CallArgs),
    /// Explains why a call was joined as it was: evidence, runners-up, parent, principal, findings
    Why(why::WhyArgs),
    /// Tells what was believed of a call when, and what was taken back
    History(history::HistoryArgs),
    /// Draws the calls of a trace as a tree
    Trace(trace::TraceArgs),
    /// Lists findings, newest first
    Findings(calls::FindingsArgs),
    /// Lists lines that are kept and could not be read
    Rejects(calls::RejectsArgs),
    /// Lists the sources: how much came, from whom, how completely, and what is wrong with that
    Sources(sources::SourcesArgs),
    /// Counts calls, failures, bytes and durations in steps of time, without walking the calls
    Stats(stats::StatsArgs),
    /// Writes everything out for other programs
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Throws away what was derived and derives it again from the evidence
    Rebuild(rebuild::RebuildArgs),
    /// Writes the data directory into one file, while a server goes on writing, and proves what it holds
    Backup(backup::BackupArgs),
    /// Makes a data directory of a backup, after proving what it holds
    Restore(restore::RestoreArgs),
    /// Carries everything from one database to another, SQLite or Postgres; the calls are derived again there
    Migrate(migrate::MigrateArgs),
    /// Shows what is kept, since when, and what the rules would remove; with --apply removes it
    Retention(retention::RetentionArgs),
    /// Checks the rules file and shows what it puts in force
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Creates, lists and revokes the tokens that senders and readers present
    #[command(subcommand)]
    Token(token::TokenCommand),
}

/// Runs one command. Its error is for the person at the terminal.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(args, &cli.place).await,
        Command::Demo(args) => demo::run(args, &cli.place).await,
        Command::Import(args) => import::run(args, &cli.place).await,
        Command::Calls(args) => calls::calls(args, &cli.place).await,
        Command::Call(args) => call::run(args, &cli.place).await,
        Command::Why(args) => why::run(args, &cli.place).await,
        Command::History(args) => history::run(args, &cli.place).await,
        Command::Trace(args) => trace::run(args, &cli.place).await,
        Command::Findings(args) => calls::findings(args, &cli.place).await,
        Command::Rejects(args) => calls::rejects(args, &cli.place).await,
        Command::Sources(args) => sources::run(args, &cli.place).await,
        Command::Stats(args) => stats::run(args, &cli.place).await,
        Command::Export(command) => export::run(command, &cli.place).await,
        Command::Rebuild(args) => rebuild::run(args, &cli.place).await,
        Command::Backup(args) => backup::run(args, &cli.place).await,
        Command::Restore(args) => restore::run(args, &cli.place).await,
        Command::Migrate(args) => migrate::run(args, &cli.place).await,
        Command::Retention(args) => retention::run(args, &cli.place).await,
        Command::Rules(command) => rules::run(command, &cli.place).await,
        Command::Token(command) => token::run(command, &cli.place).await,
    }
}

impl Place {
    /// Keeps every other process from writing to the data directory; Postgres needs no such lock.
    pub fn lock(&self) -> anyhow::Result<Option<crate::app::DataLock>> {
        match self.database_url {
            Some(_) => Ok(None),
            None => crate::app::DataLock::take(&self.data_dir).map(Some),
        }
    }

    pub fn location(&self) -> crate::store::Location {
        match &self.database_url {
            Some(url) => crate::store::Location::Postgres(url.clone()),
            None => crate::store::Location::Directory(self.data_dir.clone()),
        }
    }
}

// Debug never prints a password or a token.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("data_dir", &self.data_dir)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
