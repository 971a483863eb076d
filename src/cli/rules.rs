//! `calltrail rules check`: what the rules file puts in force, and what in it is hardly meant.
//!
//! A file that cannot be used is an error, as it is at the start of the server; what only looks wrong is a warning.

use super::Place;
use super::paint::emit;
use super::phrase::{count, printable};
use crate::config::{RULES_FILE, advice, load_rules};
use crate::correlate::Rules;
use crate::correlate::rules::KeyMaterial;
use crate::model::{CallFilter, CustomFormat, Timestamp};
use crate::store::{Order, Store};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Prints what a rules file puts in force, with warnings; fails when it cannot be used
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The rules file [default: calltrail.toml in the data directory, if it exists, else the defaults]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

pub async fn run(command: RulesCommand, place: &Place) -> Result<()> {
    let RulesCommand::Check(args) = command;
    if place.server.is_some() {
        bail!("rules are checked where their file is, not through --server");
    }
    let own = || Some(place.data_dir.join(RULES_FILE)).filter(|path| path.exists());
    let file = args.file.or_else(|| own().filter(|_| place.database_url.is_none()));
    let rules = match &file {
        Some(path) => load_rules(path)?,
        None => Rules::default(),
    };
    let from =
        file.map_or_else(|| "no rules file: the defaults".to_owned(), |path| path.display().to_string());
    let mut text = format!("{from}\n\n{}", in_force(&rules));
    let mut warnings = advice(&rules);
    // Names are compared with what has been seen, where there is anything.
    if let Ok(store) = Store::open_existing(&place.location()).await {
        warnings.extend(unseen(&store, &rules).await?);
        store.close().await;
    }
    if !warnings.is_empty() {
        text.push('\n');
    }
    for warning in warnings {
        text.push_str(&format!("warning: {}\n", printable(&warning)));
    }
    emit(&text)
}

/// One line per rule, in the order of the file's tables.
fn in_force(rules: &Rules) -> String {
    let mut lines: Vec<(&str, String)> = vec![("header", header(rules))];
    lines.push(("join", format!("{} of grace", seconds(rules.grace_us))));
    lines.extend(rules.grace_us_of.iter().map(|(source, us)| ("", format!("{} for {source}", seconds(*us)))));
    lines.push(("", format!("clocks may be {} apart", seconds(rules.skew_bound_us))));
    lines.push(("edge", edge(rules)));
    lines.push(("certificate", certificates(rules)));
    lines.extend(rules.formats.iter().map(|format| ("format", described(format))));
    lines.extend(rules.outages.iter().map(|outage| {
        let until = outage.to.map_or_else(|| "until further notice".to_owned(), |to| format!("to {to}"));
        ("blind", format!("{} from {} {until}", outage.source, outage.from))
    }));
    lines.into_iter().map(|(table, text)| format!("{table:<12} {}\n", printable(&text))).collect()
}

fn header(rules: &Rules) -> String {
    let key = |material: &KeyMaterial| match material {
        KeyMaterial::HmacSha256(_) => "hmac-sha256",
        KeyMaterial::Ed25519(_) => "ed25519",
    };
    let keys = rules.header_keys.iter().map(|k| match &k.key_id {
        Some(id) => format!("{} {id}", key(&k.secret)),
        None => key(&k.secret).to_owned(),
    });
    let keys: Vec<String> = keys.collect();
    if keys.is_empty() {
        return "no key: signatures of x-calltrail-principal are not checked".to_owned();
    }
    let audience = rules.header_audience.as_deref().unwrap_or("any");
    format!("{} ({}), audience {audience}", count(keys.len() as u64, "key", "keys"), keys.join(", "))
}

fn edge(rules: &Rules) -> String {
    if rules.edge_fronted.is_empty() {
        return "no service is listed as reached through the edge only".to_owned();
    }
    let except = match rules.allowed_mesh_callers.is_empty() {
        true => String::new(),
        false => format!(", or by {}", rules.allowed_mesh_callers.join(", ")),
    };
    format!("{} through the edge only{except}", rules.edge_fronted.join(", "))
}

fn certificates(rules: &Rules) -> String {
    let bound =
        |us: Option<i64>| us.map_or_else(|| "any".to_owned(), |us| format!("{} h", us as f64 / 3.6e9));
    format!(
        "lifetime at most {}, age at most {}",
        bound(rules.certificate_max_lifetime_us),
        bound(rules.certificate_max_age_us)
    )
}

fn described(format: &CustomFormat) -> String {
    let source = format.source.as_ref().map(|s| format!("of source {s}"));
    let has = format.has.as_ref().map(|field| match &format.equals {
        Some(text) => format!("with {field} = {text:?}"),
        None => format!("with {field}"),
    });
    let known_by: Vec<String> = source.into_iter().chain(has).collect();
    format!(
        "{}: lines {}; {}, durations in {}",
        format.name,
        known_by.join(" "),
        count(format.fields.len() as u64, "field", "fields"),
        format.duration_unit.as_str()
    )
}

fn seconds(us: i64) -> String {
    format!("{} s", us as f64 / 1e6)
}

/// Services that the rules name and nothing stored matches.
async fn unseen(store: &Store, rules: &Rules) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if store.totals().await?.calls == 0 {
        return Ok(warnings);
    }
    for name in &rules.edge_fronted {
        let filter = CallFilter { callee: Some(name.clone()), ..CallFilter::default() };
        if !any(store, &filter).await? {
            warnings.push(format!(
                "[edge] services names {name:?}, and no stored call was made to a service of that name"
            ));
        }
    }
    for name in &rules.allowed_mesh_callers {
        let filter = CallFilter { caller: Some(name.clone()), ..CallFilter::default() };
        if !any(store, &filter).await? {
            warnings.push(format!(
                "[edge] allowed_mesh_callers names {name:?}, and no stored call was made by a service of that name"
            ));
        }
    }
    Ok(warnings)
}

async fn any(store: &Store, filter: &CallFilter) -> Result<bool> {
    let page = store.calls(filter, Timestamp::MAX, Order::NewestFirst, None, 1).await?;
    Ok(!page.rows.is_empty())
}
