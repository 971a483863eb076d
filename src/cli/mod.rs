//! The command line: one file per command, `--help` is the reference.
//!
//! Commands hold no rules and no SQL: they read options, call the library and print.

pub mod serve;
pub mod token;

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
    /// A running calltrail to ask (or to send to) instead of opening the data: http://HOST:7311
    #[arg(long, global = true, value_name = "URL", env = "CALLTRAIL_SERVER")]
    pub server: Option<String>,
    /// Token for --server, as printed by `calltrail token create`
    #[arg(long, global = true, value_name = "TOKEN", env = "CALLTRAIL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Takes uploads, joins them and answers questions, until SIGTERM or Ctrl-C
    Serve(serve::ServeArgs),
    /// Creates, lists and revokes the tokens that senders and readers present
    #[command(subcommand)]
    Token(token::TokenCommand),
}

/// Runs one command. Its error is for the person at the terminal.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(args, &cli.place).await,
        Command::Token(command) => token::run(command, &cli.place).await,
    }
}

impl Place {
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
