//! `calltrail token create | list | revoke`: the tokens that senders and readers present.

use super::Place;
use crate::api::auth::{Scope, mint};
use crate::model::{Clock, SystemClock};
use crate::store::Store;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints it once; only its SHA-256 is kept
    Create(CreateArgs),
    /// Lists names, scopes and times of creation; the secrets are not kept
    List,
    /// Takes a token's rights away, within seconds on a running server
    Revoke {
        /// Its name, as `calltrail token list` shows it
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// ingest:NAME (uploads of one source; ingest:* of every source), read (questions) or admin (everything)
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<Scope>,
    /// What to call it in lists [default: the scopes and the time]
    #[arg(long)]
    pub name: Option<String>,
}

pub async fn run(command: TokenCommand, place: &Place) -> anyhow::Result<()> {
    let store = Store::open(&place.location()).await.context("cannot open the store")?;
    let result = match command {
        TokenCommand::Create(args) => create(&store, args).await,
        TokenCommand::List => list(&store).await,
        TokenCommand::Revoke { name } => revoke(&store, &name).await,
    };
    store.close().await;
    result
}

async fn create(store: &Store, args: CreateArgs) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let name = args.name.unwrap_or_else(|| {
        let scopes: Vec<String> = args.scopes.iter().map(ToString::to_string).collect();
        format!("{}@{now}", scopes.join("+"))
    });
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        bail!("--name must be a word that a list can show");
    }
    if store.tokens().await?.iter().any(|t| t.name == name) {
        bail!("there is a token {name:?} already: choose another --name, or revoke that one first");
    }
    let (row, secret) = mint(name, &args.scopes, now);
    store.add_token(&row).await?;
    // The secret alone goes to standard output, so that it can be piped; the words go to standard error.
    println!("{secret}");
    eprintln!("Token {:?} ({}). It is shown this once and not kept.", row.name, row.scopes.join(", "));
    Ok(())
}

async fn list(store: &Store) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["NAME", "SCOPES", "CREATED"]);
    for token in store.tokens().await? {
        table.add_row([token.name, token.scopes.join(", "), token.created_at.to_string()]);
    }
    println!("{table}");
    Ok(())
}

async fn revoke(store: &Store, name: &str) -> anyhow::Result<()> {
    if !store.revoke_token(name).await? {
        bail!("there is no token {name:?}: `calltrail token list` shows them");
    }
    eprintln!("Token {name:?} is revoked; running servers notice within seconds.");
    Ok(())
}
