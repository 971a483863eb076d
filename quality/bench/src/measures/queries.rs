//! The API at its stored size: each question so many times over one keep-alive connection.

use super::import::{import, joined};
use super::questions::{Question, all};
use crate::bench::Bench;
use crate::figures::{Sample, quantile};
use crate::http::Client;
use crate::place::Place;
use crate::server::Server;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// A question that is far too slow is not asked to the end.
const TIME_OF_ONE: Duration = Duration::from_secs(60);

pub async fn run(bench: &Bench) -> Result<Sample> {
    let place = stored(bench).await?;
    let server = Server::start(bench, place).await?;
    let mut client = server.client().await?;
    let mut sample = Sample::new();
    for question in all(bench, &mut client).await? {
        sample.push((format!("query.{}.goal_ms", question.name), question.at_most_ms));
        match ask(&question, bench.options.questions, &mut client).await {
            Ok(mut took_ms) => {
                let name = question.name;
                sample.push((format!("query.{name}.p50_ms"), quantile(&mut took_ms, 0.5)));
                sample.push((format!("query.{name}.p99_ms"), quantile(&mut took_ms, 0.99)));
            }
            Err(error) => eprintln!("  {}: {error:#}", question.name),
        }
    }
    sample.push(("query.peak_mib".to_owned(), server.memory()?.peak_mib));
    Ok(sample)
}

/// The data of all rounds, imported in the first of them.
pub async fn stored(bench: &Bench) -> Result<&Place> {
    let import_all = async || -> Result<Place> {
        let files = bench.more_files(bench.stored_recipe())?;
        let place = Place::sqlite(bench, "stored")?;
        import(bench, &place, &files).await?;
        joined(bench, &place, files.recipe.lines(), files.recipe.calls()).await?;
        Ok(place)
    };
    bench.stored.get_or_try_init(import_all).await
}

async fn ask(question: &Question, times: usize, client: &mut Client) -> Result<Vec<f64>> {
    let (mut took_ms, began) = (Vec::with_capacity(times), Instant::now());
    let paths = question.paths.iter();
    // Once for the page cache: what is measured is a warm server.
    for path in paths.clone().take(3) {
        client.get(path).await?;
    }
    for path in paths.cycle().take(times) {
        let answer = client.get(path).await?;
        anyhow::ensure!(
            answer.status.is_success(),
            "{path} was answered {}: {}",
            answer.status,
            answer.text()
        );
        took_ms.push(answer.took.as_secs_f64() * 1e3);
        if began.elapsed() > TIME_OF_ONE {
            break;
        }
    }
    took_ms.first().context("there is nothing to ask for")?;
    Ok(took_ms)
}
