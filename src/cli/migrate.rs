//! `calltrail migrate`: evidence, tokens and journal into another database; the calls are derived again there.
//!
//! It can be broken off at any moment and run again. As long as the source is served it carries what there is and then says so:
//! only what nobody writes to any more is called complete.

use super::backup::told;
use super::rebuild::derive;
use super::{Place, phrase, progress};
use crate::app::DataLock;
use crate::correlate::Rules;
use crate::store::{Backup, Holdings, Location, Office, Store};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::convert::Infallible;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Where from: sqlite://DIRECTORY, sqlite://FILE of a backup, or postgres://USER:PASSWORD@HOST/DATABASE (better set by
    /// the environment than on the command line, which others can see)
    #[arg(long, value_name = "URL", env = "CALLTRAIL_MIGRATE_FROM", hide_env_values = true, value_parser = end)]
    pub from: End,
    /// Where to: sqlite://DIRECTORY or postgres://…, empty or left by an earlier run
    #[arg(long, value_name = "URL", env = "CALLTRAIL_MIGRATE_TO", hide_env_values = true, value_parser = end)]
    pub to: End,
    /// Rules file for deriving the calls [default: calltrail.toml in the directory that is the source, if it exists]
    #[arg(long, value_name = "FILE", env = "CALLTRAIL_RULES")]
    pub rules: Option<PathBuf>,
}

/// One end of the way. Debug never prints a password, as that of [`Location`] does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Data(Location),
    Backup(PathBuf),
    /// Said by us and not by the parser, which would repeat the url with its password.
    Unknown,
}

fn end(url: &str) -> Result<End, Infallible> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(End::Data(Location::Postgres(url.to_owned())));
    }
    let Some(path) = url.strip_prefix("sqlite://").filter(|path| !path.is_empty()) else {
        return Ok(End::Unknown);
    };
    let path = PathBuf::from(path);
    if !path.is_file() {
        return Ok(End::Data(Location::Directory(path)));
    }
    Ok(match Location::of_database_file(&path) {
        Some(directory) => End::Data(directory),
        None => End::Backup(path),
    })
}

pub async fn run(args: MigrateArgs, place: &Place) -> Result<()> {
    let to = target_of(&args, place)?;
    let rules = rules(&args)?;
    let source = open_source(&args.from).await.context("cannot open the source")?;
    let lock = match to {
        Location::Directory(directory) => Some(DataLock::take(directory)?),
        Location::Postgres(_) => None,
    };
    let target = Store::open(to).await.context("cannot open the target")?;
    let Some(office) = target.try_office().await.context("cannot ask who derives at the target")? else {
        bail!("another calltrail works in the target: stop it first; it can be served when this has ended");
    };
    let holdings = carry(&args.from, &source, &target).await?;
    office.leave().await;
    derive(&target, &rules).await?;
    println!("{to}: {}", told(&holdings));
    println!("{} derived", progress::calls(target.totals().await?.calls));
    source.close().await;
    target.close().await;
    drop(lock);
    Ok(())
}

fn target_of<'a>(args: &'a MigrateArgs, place: &Place) -> Result<&'a Location> {
    if place.server.is_some() {
        bail!("a migration works on the data themselves, not through a server: leave --server away");
    }
    for (option, end) in [("--from", &args.from), ("--to", &args.to)] {
        if *end == End::Unknown {
            bail!(
                "{option} names no place: write sqlite://DIRECTORY or postgres://USER:PASSWORD@HOST/DATABASE"
            );
        }
    }
    match &args.to {
        End::Data(to) if args.from != args.to => Ok(to),
        End::Data(_) => bail!("--from and --to are the same"),
        _ => bail!("--to is a file: name a directory that does not exist yet, or a Postgres"),
    }
}

/// Those under which the calls are derived; whoever serves the target has to name them again.
fn rules(args: &MigrateArgs) -> Result<Rules> {
    let directory = match &args.from {
        End::Data(Location::Directory(directory)) => Some(directory.as_path()),
        _ => None,
    };
    let rules = crate::config::rules(args.rules.as_deref(), directory)?;
    if let Some(file) = args.rules.clone().or_else(|| crate::config::rules_file(directory)) {
        eprintln!(
            "The calls are derived under {}: name it with --rules when you serve the target, or put it there.",
            file.display()
        );
    }
    Ok(rules)
}

async fn open_source(from: &End) -> Result<Store> {
    Ok(match from {
        End::Data(location) => Store::open_existing(location).await?,
        End::Backup(file) => Backup::open(file).await?.store().await?,
        End::Unknown => bail!("it has no name"),
    })
}

/// A first round beside whoever writes to the source, a last one when nobody does; then the target is proven.
async fn carry(from: &End, source: &Store, target: &Store) -> Result<Holdings> {
    let carried = carry_round(source, target).await?;
    let quiet = quiet(from, source).await.with_context(|| {
        format!(
            "{} carried so far, and the source is not at rest: stop what writes to it and run this again, which carries \
             only the rest",
            phrase::count(carried, "delivery is", "deliveries are")
        )
    })?;
    carry_round(source, target).await?;
    let (tokens, entries) =
        source.carry_tokens_and_journal(target).await.context("cannot carry the tokens")?;
    if !source.bygone().await?.is_nothing() {
        println!("lines or calls have been removed: what was derived from them is carried as it is");
        source
            .carry_derived(target)
            .await
            .context("cannot carry what was derived; another run begins with it anew")?;
    }
    let holdings = prove_target(source, target).await?;
    quiet.end().await;
    let tokens = phrase::count(tokens, "token", "tokens");
    println!(
        "{tokens} and {} carried besides",
        phrase::count(entries, "entry of the journal", "entries of the journal")
    );
    Ok(holdings)
}

async fn carry_round(source: &Store, target: &Store) -> Result<u64> {
    let bar = progress::deliveries("carrying", source.head().await?);
    let carried = source.carry_evidence(target, |number| bar.set_position(number)).await;
    bar.finish_and_clear();
    carried.context("cannot carry the evidence; what was carried stays, and another run goes on there")
}

/// Held while nobody else may write to the source.
enum Quiet {
    Directory(DataLock),
    Office(Office),
    Backup,
}

impl Quiet {
    async fn end(self) {
        match self {
            Quiet::Directory(lock) => drop(lock),
            Quiet::Office(office) => office.leave().await,
            Quiet::Backup => {}
        }
    }
}

async fn quiet(from: &End, source: &Store) -> Result<Quiet> {
    match from {
        End::Backup(_) | End::Unknown => Ok(Quiet::Backup),
        End::Data(Location::Directory(directory)) => Ok(Quiet::Directory(DataLock::take(directory)?)),
        // A server that only takes uploads waits for the office of one that derives: nobody holds it when none runs.
        End::Data(Location::Postgres(_)) => match source.try_office().await? {
            Some(office) => Ok(Quiet::Office(office)),
            None => bail!("another calltrail works in it"),
        },
    }
}

/// Reads all that the target holds, and compares it with the source.
async fn prove_target(source: &Store, target: &Store) -> Result<Holdings> {
    let bar = progress::deliveries("proving the target", target.head().await?);
    let proven = target.verify(|number| bar.set_position(number)).await;
    bar.finish_and_clear();
    let proven = proven.context("the target does not hold what was carried to it: take a new one")?;
    let head = source.log_head().await?;
    let (deliveries, lines, root) = (head.next_number - 1, head.line_count, head.frontier.root());
    if (proven.deliveries, proven.lines, proven.root) != (deliveries, lines, root) {
        bail!(
            "the source holds {deliveries} deliveries with {lines} lines, root {}; the target {} with {}, root {}: somebody \
             writes to one of them; stop that and run this again",
            hex::encode(root),
            proven.deliveries,
            proven.lines,
            hex::encode(proven.root)
        );
    }
    Ok(proven)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_directory_a_backup_or_a_postgres() {
        let directory = tempfile::tempdir().unwrap();
        let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
        for name in ["calltrail.db", "yesterday.backup"] {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let here = End::Data(Location::Directory(directory.path().to_owned()));
        assert_eq!(end(&url("calltrail.db")).unwrap(), here);
        assert_eq!(end(&format!("sqlite://{}", directory.path().display())).unwrap(), here);
        assert_eq!(
            end(&url("yesterday.backup")).unwrap(),
            End::Backup(directory.path().join("yesterday.backup"))
        );
        let new = directory.path().join("new");
        assert_eq!(end(&url("new")).unwrap(), End::Data(Location::Directory(new)));
        let postgres = "postgres://me:hunter2@db/calltrail";
        assert_eq!(end(postgres).unwrap(), End::Data(Location::Postgres(postgres.to_owned())));
        assert!(!format!("{:?}", end(postgres)).contains("hunter2"));
        for nothing in ["mysql://me:hunter2@db", "sqlite://", ""] {
            assert_eq!(end(nothing).unwrap(), End::Unknown);
        }
    }
}
