//! `calltrail token create | list | revoke`.

use super::Place;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Lists names, scopes and times of creation; the secrets are not kept
    List,
}

pub async fn run(command: TokenCommand, place: &Place) -> anyhow::Result<()> {
    let _ = (command, place);
    anyhow::bail!("`calltrail token` is not built yet")
}
