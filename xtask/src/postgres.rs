//! A throw-away Postgres for one run of the tests: a new data directory, a free port of the loopback interface, no password.
//!
//! The server is a child, not a daemon: it ends with this process, and Ctrl-C reaches it too. Postgres refuses to be root, so
//! root runs it as `nobody`, inside a user namespace where there is one (there the files may stay root's, in any folder).

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const NOBODY: u32 = 65_534;
const READY: &str = "database system is ready to accept connections";

pub struct Server {
    child: Child,
    port: u16,
}

/// What a commit promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// The tests kill calltrail, never the machine: what is in the page cache is as good as on the disk.
    ToThePageCache,
    /// As in production.
    ToTheDisk,
}

impl Commits {
    fn settings(self) -> &'static [&'static str] {
        match self {
            Commits::ToThePageCache => &["-c", "fsync=off"],
            // What every guide sets first; the default of 128 MB is for machines that do something else, too.
            Commits::ToTheDisk => &[
                "-c",
                "fsync=on",
                "-c",
                "shared_buffers=1GB",
                "-c",
                "max_wal_size=8GB",
                "-c",
                "wal_compression=on",
            ],
        }
    }
}

impl Server {
    pub fn start(bin: &Path, home: &Path, commits: Commits) -> Result<Server> {
        let _ = fs::remove_dir_all(home);
        fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
        let account = Account::of_owner(home)?;
        let data = home.join("data");
        init_database(&account, bin, &data)?;
        // Free now, and ours a moment later; should another program take it first, Postgres says so and the run fails.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut child = account
            .command(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")])
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=200"])
            .args(commits.settings())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start Postgres")?;
        wait_until_ready(&mut child, &home.join("log"))?;
        Ok(Server { child, port })
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is Postgres's fast shutdown; std can only send SIGKILL, which is for a server that does not listen.
        let asked = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn init_database(account: &Account, bin: &Path, data: &Path) -> Result<()> {
    let output = account
        .command(&bin.join("initdb"))
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
        .arg(data)
        .output()
        .context("cannot run initdb")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim())
}

/// Reads the server's log until it says that it is ready; the rest goes to the log file.
fn wait_until_ready(child: &mut Child, log: &Path) -> Result<()> {
    let mut lines = BufReader::new(child.stderr.take().context("Postgres has no log")?).lines();
    let mut file = fs::File::create(log)?;
    let mut seen = String::new();
    for line in lines.by_ref() {
        let line = line?;
        writeln!(file, "{line}")?;
        if line.contains(READY) {
            std::thread::spawn(move || {
                lines.map_while(Result::ok).for_each(|line| drop(writeln!(file, "{line}")));
            });
            return Ok(());
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    let _ = child.wait();
    bail!("Postgres did not start:\n{}", seen.trim())
}

/// As whom Postgres runs.
enum Account {
    Myself,
    /// `nobody` by way of a user namespace: the kernel still sees root, so every file stays within reach.
    NobodyInNamespace,
    Nobody,
}

impl Account {
    fn of_owner(home: &Path) -> Result<Account> {
        if fs::metadata(home)?.uid() != 0 {
            return Ok(Account::Myself);
        }
        let namespace = namespaced(Path::new("true")).stderr(Stdio::null()).status();
        if namespace.is_ok_and(|status| status.success()) {
            return Ok(Account::NobodyInNamespace);
        }
        chown(home, Some(NOBODY), Some(NOBODY)).context("cannot give Postgres's folder to nobody")?;
        Ok(Account::Nobody)
    }

    fn command(&self, program: &Path) -> Command {
        match self {
            Account::Myself => Command::new(program),
            Account::NobodyInNamespace => namespaced(program),
            Account::Nobody => {
                let mut command = Command::new(program);
                command.uid(NOBODY).gid(NOBODY);
                command
            }
        }
    }
}

fn namespaced(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .arg("--user")
        .arg(format!("--map-user={NOBODY}"))
        .arg(format!("--map-group={NOBODY}"))
        .arg(program);
    command
}
