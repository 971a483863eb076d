//! A running `calltrail serve`: the real binary, on a port that the system chose.

use super::Backend;
use super::http::{self, Answer};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LISTENING: &str = "listening on http://";
/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the server is to be started.
pub struct Serve {
    command: Command,
}

impl Serve {
    pub fn on(backend: &Backend) -> Serve {
        let mut serve = Serve::with_program(env!("CARGO_BIN_EXE_calltrail"), &[]);
        backend.point(&mut serve.command);
        serve
    }

    /// Through another program, `unshare` for one, whose last arguments are calltrail's.
    pub fn with_program(program: &str, before: &[&str]) -> Serve {
        let mut command = Command::new(program);
        command.args(before).args(["serve", "--listen", "127.0.0.1:0"]);
        Serve { command }
    }

    pub fn arg(mut self, argument: &str) -> Serve {
        self.command.arg(argument);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Serve {
        self.command.env(name, value);
        self
    }

    /// Starts it and waits until `/readyz` says yes.
    pub fn start(self) -> Calltrail {
        let server = self.start_unready();
        server.wait_until_ready();
        server
    }

    /// Starts it and waits only until it listens.
    pub fn start_unready(mut self) -> Calltrail {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command));
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        read(child.stdout.take().unwrap(), log.clone(), found.clone());
        read(child.stderr.take().unwrap(), log.clone(), found);
        match address.recv() {
            Ok(address) => Calltrail { child, address, log },
            Err(_) => {
                let status = child.wait().unwrap();
                panic!("calltrail serve ended with {status} before it listened:\n{}", log.lock().unwrap());
            }
        }
    }
}

/// Keeps what the program prints, and tells the address once it is said. Both ends hung up means that it has ended.
fn read(output: impl io::Read + Send + 'static, log: Arc<Mutex<String>>, found: mpsc::Sender<SocketAddr>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                let _ = found.send(address);
            }
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = &line[line.find(LISTENING)? + LISTENING.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".:[]".contains(c)).unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}

pub struct Calltrail {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Calltrail {
    /// Asks `/readyz` until it says 200. A server that ends meanwhile fails the test.
    pub fn wait_until_ready(&self) {
        self.ask_until("/readyz", |answer| answer.status == 200);
    }

    pub fn get(&self, path: &str) -> io::Result<Answer> {
        http::get(self.address, path)
    }

    /// A question that must be answered with 200.
    pub fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub fn post(&self, path: &str, body: &[u8]) -> io::Result<Answer> {
        http::post(self.address, path, body)
    }

    /// Uploads and insists on a 2xx.
    pub fn ingest(&self, source: &str, body: &[u8]) -> Answer {
        let path = format!("/ingest/{source}");
        let answer = self.post(&path, body).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        answer
    }

    /// Asks until the answer to `path` satisfies the condition, and gives that answer.
    pub fn wait_for(&self, path: &str, enough: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        self.ask_until(path, |answer| answer.status == 200 && enough(&answer.json())).json()
    }

    /// One question after the other, each waiting for its answer. The time limit is for a hang, not for a slow machine.
    pub fn ask_until(&self, path: &str, enough: impl Fn(&Answer) -> bool) -> Answer {
        let asked_first = Instant::now();
        loop {
            let answer =
                self.get(path).unwrap_or_else(|e| panic!("{path} is not answered ({e}):\n{}", self.log()));
            if enough(&answer) {
                return answer;
            }
            assert!(
                asked_first.elapsed() < PATIENCE,
                "{path} still says {} {}:\n{}",
                answer.status,
                answer.text(),
                self.log()
            );
            std::thread::yield_now();
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the program is given no chance to tidy up.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// SIGTERM, and what it came to.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait()
    }

    /// STOP pauses it, CONT lets it go on.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM alone; a second one would end the program at once.
    pub fn ask_to_stop(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Calltrail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
