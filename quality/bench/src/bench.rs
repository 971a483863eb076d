//! What every measure is given: the program, the data, a place to work, and where the others are found.

use crate::data::cast::Cast;
use crate::data::files::Files;
use crate::data::{LINES, Recipe, files};
use crate::options::Options;
use crate::place::Place;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;

pub struct Bench {
    pub options: Options,
    pub cast: Cast,
    /// calltrail itself.
    pub program: PathBuf,
    /// Emptied by whoever uses a part of it.
    pub scratch: PathBuf,
    pub postgres_url: Option<String>,
    /// A Python that has DuckDB.
    pub python: Option<PathBuf>,
    pub zipkin_jar: Option<PathBuf>,
    /// Where much is stored; filled when it is asked for the first time.
    pub stored: OnceCell<Place>,
    files: Files,
}

/// Log files of a busy site: half a million lines in three minutes.
const REQUESTS_PER_SECOND: f64 = 1_000.0;
const STORED_SECONDS: f64 = 26.0 * 3_600.0;

impl Bench {
    pub fn prepare(options: Options) -> Result<Bench> {
        let program = options.program.clone();
        ensure!(
            program.exists(),
            "there is no {}: run it by `cargo xtask bench`, which builds it",
            program.display()
        );
        let cast = Cast::new();
        let scratch = options.work.join("scratch");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        let recipe = recipe(&options, options.lines, REQUESTS_PER_SECOND);
        let files = files(&options, &cast, recipe)?;
        let (python, zipkin_jar) = (options.python.clone(), options.zipkin_jar.clone());
        let postgres_url = options.postgres_url.clone();
        Ok(Bench {
            options,
            cast,
            program,
            scratch,
            postgres_url,
            python,
            zipkin_jar,
            stored: OnceCell::new(),
            files,
        })
    }

    /// The lines that are imported.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What is stored when the API is asked: a little more than a day.
    pub fn stored_recipe(&self) -> Recipe {
        let lines = self.options.stored_lines;
        recipe(&self.options, lines, lines as f64 / LINES as f64 / STORED_SECONDS)
    }

    pub fn more_files(&self, recipe: Recipe) -> Result<Files> {
        files(&self.options, &self.cast, recipe)
    }

    pub fn rules(&self) -> &Path {
        &self.files.rules
    }
}

fn recipe(options: &Options, lines: u64, requests_per_second: f64) -> Recipe {
    let requests = (lines / LINES).max(1);
    Recipe { seed: options.seed, requests, start_us: Recipe::START_US, requests_per_second }
}

fn files(options: &Options, cast: &Cast, recipe: Recipe) -> Result<Files> {
    let home =
        options.work.join(format!("data-{}-{:.0}", recipe.lines(), recipe.requests_per_second * 1_000.0));
    eprintln!("bench: {} lines in {}", recipe.lines(), home.display());
    files::Files::make(cast, recipe, &home)
}
