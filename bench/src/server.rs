//! Servers under measurement: started, watched through `/proc`, and stopped.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::Plan;
use crate::state::Home;

/// How much of a server's log is told if it does not start.
const LOG_LINES: usize = 5;
/// How long a server that does not say where it listens may take until it does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often one looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A process that serves; ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// What ends it, and all its processes.
    ends_by: Signal,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _stdout: Option<BufReader<ChildStdout>>,
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
            .arg(home.tls_setting());
        Self::start(plan, command, &home.path("server.log"))
    }

    /// Starts the plain route that the binary is compared with.
    pub(crate) fn hello(plan: &Plan, home: &Home) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve-hello").arg(home.path("hello"));
        Self::start(plan, command, &home.path("hello.log"))
    }

    /// Starts a process and waits until it says where it listens.
    fn start(plan: &Plan, command: Command, log: &Path) -> anyhow::Result<Self> {
        let (program, mut child) = spawn(plan, command, log)?;
        match listening(&mut child) {
            Ok((address, stdout)) => Ok(Self {
                child,
                ends_by: Signal::KILL,
                address,
                _stdout: Some(stdout),
            }),
            Err(error) => {
                stop(&mut child, Signal::KILL);
                Err(error.context(last_words(&program, log)))
            }
        }
    }

    /// Starts a process that listens where it is told, and waits until it does. It is asked to end,
    /// since it has processes of its own.
    pub(crate) fn start_at(
        plan: &Plan,
        command: Command,
        (address, log): (SocketAddr, &Path),
    ) -> anyhow::Result<Self> {
        let (program, child) = spawn(plan, command, log)?;
        let mut server = Self {
            child,
            ends_by: Signal::TERM,
            address,
            _stdout: None,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until || server.child.try_wait()?.is_some() {
                bail!(last_words(&program, log));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(server)
    }

    /// Returns how much memory is resident, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        self.memory("VmRSS:")
    }

    /// Returns how much memory was resident at most, in bytes.
    pub(crate) fn resident_at_most(&self) -> anyhow::Result<f64> {
        self.memory("VmHWM:")
    }

    /// Reads a line of `proc_pid_status(5)`.
    fn memory(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u32 = kibibytes.context("no memory")?.trim().parse()?;
        Ok(f64::from(kibibytes) * 1024.0)
    }

    /// Returns how long its threads and its worker processes have computed, in seconds.
    pub(crate) fn computed(&self) -> anyhow::Result<f64> {
        let own = self.child.id().to_string();
        let workers = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let workers = workers.unwrap_or_default();
        let processes = std::iter::once(own.as_str()).chain(workers.split_ascii_whitespace());
        processes.map(computed).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child, self.ends_by);
    }
}

fn stop(child: &mut Child, signal: Signal) {
    if let Some(process) = Pid::from_raw(child.id().cast_signed()) {
        let _gone_already = kill_process(process, signal);
    }
    let _gone_already = child.wait();
}

/// Starts a process on the servers' processors; returns its name too.
fn spawn(plan: &Plan, mut command: Command, log: &Path) -> anyhow::Result<(String, Child)> {
    let program = command.get_program().display().to_string();
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(log)?);
    if let Some(directory) = log.parent() {
        command.env("HOME", directory);
    }
    let child = plan.cpus.as_server(|| command.spawn());
    let child = child.with_context(|| format!("{program} does not start"))?;
    Ok((program, child))
}

/// Says what a program wrote last into its log.
fn last_words(program: &str, log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines = Vec::from_iter(log.lines());
    let last = lines.len().saturating_sub(LOG_LINES);
    let last = lines.get(last..).unwrap_or_default().join(" | ");
    format!("{program} said: {last}")
}

/// Returns how long a process has computed, in seconds (`proc_pid_stat(5)`, fields 14 and 15).
fn computed(process: &str) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_name, fields) = stat.rsplit_once(") ").context("no fields")?;
    let fields = fields.split(' ').skip(11).take(2);
    let ticks = fields.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    let second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok(f64::from(ticks) / f64::from(second))
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
