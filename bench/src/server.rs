//! Servers under measurement: started, watched through `/proc`, and stopped.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, anyhow};

use crate::Plan;
use crate::state::Home;

/// How much of a server's log is told if it does not start.
const LOG_LINES: usize = 5;

/// A process that serves; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the binary under measurement on a state.
    pub(crate) fn monitor(plan: &Plan, home: &Home) -> anyhow::Result<Self> {
        let mut command = Command::new(&plan.binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg("--config-dir")
            .arg(home.state())
            .arg("--data-dir")
            .arg(home.data())
            .arg("--auth-log")
            .arg(home.path("auth.log"))
            .arg("--ssl-config")
            .arg(home.path("ssl_config.json"));
        Self::start(plan, command, &home.path("server.log"))
    }

    /// Starts the plain route that the binary is compared with.
    pub(crate) fn hello(plan: &Plan, home: &Home) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve-hello").arg(home.path("hello"));
        Self::start(plan, command, &home.path("hello.log"))
    }

    /// Starts a process and waits until it says where it listens.
    fn start(plan: &Plan, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?);
        if let Some(directory) = log.parent() {
            command.env("HOME", directory);
        }
        let child = plan.cpus.as_server(|| command.spawn());
        let mut child = child.with_context(|| format!("{} does not start", program.display()))?;
        match listening(&mut child) {
            Ok((address, stdout)) => Ok(Self {
                child,
                address,
                _stdout: stdout,
            }),
            Err(error) => {
                stop(&mut child);
                let log = fs::read_to_string(log).unwrap_or_default();
                let lines = Vec::from_iter(log.lines());
                let last = lines.len().saturating_sub(LOG_LINES);
                let last = lines.get(last..).unwrap_or_default().join(" | ");
                Err(error.context(format!("{} said: {last}", program.display())))
            }
        }
    }

    /// Returns how much memory is resident, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u32 = kibibytes.context("no VmRSS")?.trim().parse()?;
        Ok(f64::from(kibibytes) * 1024.0)
    }

    /// Returns how long its threads have computed, in seconds (proc(5), fields 14 and 15).
    pub(crate) fn computed(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_name, fields) = stat.rsplit_once(") ").context("no fields")?;
        let fields = fields.split(' ').skip(11).take(2);
        let ticks = fields.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        let second = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(f64::from(ticks) / f64::from(second))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    let _gone_already = child.kill();
    let _gone_already = child.wait();
}

/// Reads `listening on http://ADDRESS`.
fn listening(child: &mut Child) -> anyhow::Result<(SocketAddr, BufReader<ChildStdout>)> {
    let stdout = child.stdout.take().context("no standard output")?;
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    loop {
        line.clear();
        if stdout.read_line(&mut line)? == 0 {
            return Err(anyhow!("it ended before it listened"));
        }
        if let Some(address) = line.trim().strip_prefix("listening on http://") {
            return Ok((address.parse()?, stdout));
        }
    }
}
