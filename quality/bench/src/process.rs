//! A program that is measured from outside: how long it ran, how much processor it took, how much memory at most.
//!
//! The kernel tells in `/proc`: a process that has ended keeps its times until it is waited for, its memory does not outlive
//! it, so that is looked at while it runs.

use anyhow::{Context, Result, bail};
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// What a process took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub wall_s: f64,
    pub cpu_s: f64,
    pub peak_mib: f64,
}

/// How often a running process is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Linux counts processor time in hundredths of a second for every program, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Runs a program to its end. Its output goes to `log`, which an error shows.
pub async fn run(mut command: Command, log: &std::path::Path) -> Result<Cost> {
    let file = fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut peak_mib = 0.0;
    while !has_ended(child.id()) {
        peak_mib = memory(child.id()).map_or(peak_mib, |m| m.peak_mib);
        tokio::time::sleep(LOOK).await;
    }
    let wall_s = began.elapsed().as_secs_f64();
    let cpu_s = cpu_s(child.id()).unwrap_or_default();
    let status = child.wait()?;
    if !status.success() {
        bail!("{command:?} ended with {status}: {}", fs::read_to_string(log).unwrap_or_default().trim());
    }
    Ok(Cost { wall_s, cpu_s, peak_mib })
}

/// A server that runs until it is dropped: killed, since nothing of it is needed any more.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command, log: &std::path::Path) -> Result<Running> {
        let file = fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Running(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn has_ended(&self) -> bool {
        has_ended(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now_mib: f64,
    pub peak_mib: f64,
}

pub fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1_024.0)
    };
    Some(Memory { now_mib: mib("VmRSS:")?, peak_mib: mib("VmHWM:")? })
}

/// Of a process with all its threads, so far.
pub fn cpu_s(pid: u32) -> Option<f64> {
    let fields = stat(pid)?;
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    // utime and stime are fields 14 and 15, counted from 1; what is here begins with the third.
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn has_ended(pid: u32) -> bool {
    stat(pid).is_none_or(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X") | None))
}

/// From the state on: the name before it may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_is_measured_and_one_that_fails_says_why() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let cost = run(sh(busy), log.path()).await.unwrap();
        assert!(cost.wall_s > 0.0 && cost.cpu_s > 0.0 && cost.cpu_s <= cost.wall_s + 0.1, "{cost:?}");
        assert!(cost.peak_mib > 0.1, "{cost:?}");
        let error = run(sh("echo no such thing; exit 3"), log.path()).await.unwrap_err().to_string();
        assert!(error.contains("no such thing"), "{error}");
    }
}
