//! The only way to run a program of the host: an argument list, a time limit, bounded output.
//!
//! There is no shell here and no standard input: a program that asks a question gets end of file. It runs in a
//! process group of its own, so that what it started itself ends with it when the time is up.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// The most that is kept of each of a program's two outputs; one that writes more is ended.
const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// The most of a failed program's complaint that goes into the error.
const MAX_COMPLAINT_CHARS: usize = 500;

/// How long a program that has closed its outputs is waited for between two looks.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// What a program wrote before it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such program on this host.
    #[error("`{program}` is not installed")]
    NotInstalled {
        /// The program asked for.
        program: String,
    },
    /// The program could not be started, or its output could not be read.
    #[error("`{program}` could not be run")]
    NotRun {
        /// The program asked for.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended with a status that means failure.
    #[error("`{program}` failed ({status}): {complaint}")]
    Failed {
        /// The program asked for.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error, on one line.
        complaint: String,
    },
    /// The program was still running when its time was up, and was ended.
    #[error("`{program}` was ended after {} s", .timeout.as_secs_f32())]
    TimedOut {
        /// The program asked for.
        program: String,
        /// The time that it had.
        timeout: Duration,
    },
    /// The program wrote more than is kept, and was ended.
    #[error("`{program}` was ended because it wrote more than {MAX_OUTPUT_BYTES} bytes")]
    TooMuchOutput {
        /// The program asked for.
        program: String,
    },
}

/// Runs `program` with `args` and returns what it wrote, or why there is nothing to return.
///
/// Blocks until the program has ended, `timeout` at most: call it where blocking is allowed.
pub fn run(program: &str, args: &[&str], timeout: Duration) -> Result<Output, CommandError> {
    let deadline = Instant::now() + timeout;
    let mut child = start(program, args)?;
    let outcome = collect(&mut child, deadline);
    if !matches!(outcome, Ok(Collected::Ended(..))) {
        end(&mut child);
    }

    let program = program.to_owned();
    match outcome {
        Ok(Collected::Ended(status, output)) if status.success() => Ok(output),
        Ok(Collected::Ended(status, output)) => Err(CommandError::Failed {
            program,
            status,
            complaint: complaint(&output.stderr),
        }),
        Ok(Collected::TimedOut) => Err(CommandError::TimedOut { program, timeout }),
        Ok(Collected::TooMuch) => Err(CommandError::TooMuchOutput { program }),
        Err(source) => Err(CommandError::NotRun { program, source }),
    }
}

/// Starts the program with nothing of ours but the environment, in plain English.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that runs programs"
)]
fn start(program: &str, args: &[&str]) -> Result<Child, CommandError> {
    Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        // What systemd gave to us alone (sd_notify(3), sd_listen_fds(3)).
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_PID")
        .env_remove("WATCHDOG_USEC")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| {
            let program = program.to_owned();
            if source.kind() == io::ErrorKind::NotFound {
                CommandError::NotInstalled { program }
            } else {
                CommandError::NotRun { program, source }
            }
        })
}

enum Collected {
    Ended(ExitStatus, Output),
    TimedOut,
    TooMuch,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// Reads both outputs to their end and waits for the exit, until `deadline`.
fn collect(child: &mut Child, deadline: Instant) -> io::Result<Collected> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        drain(Stream::Stdout, stdout, sender.clone())?;
    }
    if let Some(stderr) = child.stderr.take() {
        drain(Stream::Stderr, stderr, sender.clone())?;
    }
    drop(sender);

    let mut output = Output {
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok((_, bytes)) if bytes.as_ref().is_ok_and(|b| b.len() > MAX_OUTPUT_BYTES) => {
                return Ok(Collected::TooMuch);
            }
            Ok((Stream::Stdout, bytes)) => output.stdout = bytes?,
            Ok((Stream::Stderr, bytes)) => output.stderr = bytes?,
            Err(mpsc::RecvTimeoutError::Timeout) => return Ok(Collected::TimedOut),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    // Both outputs are closed, so the exit is usually there already.
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Collected::Ended(status, output));
        }
        if Instant::now() >= deadline {
            return Ok(Collected::TimedOut);
        }
        thread::sleep(EXIT_POLL);
    }
}

type Drained = (Stream, io::Result<Vec<u8>>);

/// Reads one output on a thread of its own: a program that fills one while we read the other would hang.
fn drain(
    stream: Stream,
    source: impl Read + Send + 'static,
    sender: mpsc::Sender<Drained>,
) -> io::Result<()> {
    let limit = u64::try_from(MAX_OUTPUT_BYTES + 1).unwrap_or(u64::MAX);
    thread::Builder::new()
        .name("command-output".to_owned())
        .spawn(move || {
            let mut bytes = Vec::new();
            let read = source.take(limit).read_to_end(&mut bytes);
            // Nobody listens any more when the program is being ended: then nobody needs it.
            drop(sender.send((stream, read.map(|_| bytes))));
        })
        .map(drop)
}

/// Ends the program and what it started, and takes its exit status so that no zombie stays.
fn end(child: &mut Child) {
    if let Err(error) = kill_process_group(Pid::from_child(child), Signal::KILL) {
        tracing::debug!(%error, "the program to be ended had gone already");
    }
    if let Err(error) = child.wait() {
        tracing::warn!(%error, "an ended program could not be waited for");
    }
}

/// Returns the end of what a program complained about, on one line.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = line.chars().count().saturating_sub(MAX_COMPLAINT_CHARS);
    line.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const AMPLE: Duration = Duration::from_secs(20);

    #[test]
    fn both_outputs_are_returned() {
        let output = run("sh", &["-c", "echo out; echo err >&2"], AMPLE).unwrap();

        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
    }

    #[test]
    fn arguments_reach_the_program_as_they_are() {
        let output = run("printf", &["%s|", "a b", "$HOME", "*; id"], AMPLE).unwrap();

        assert_eq!(output.stdout, b"a b|$HOME|*; id|");
    }

    #[test]
    fn a_program_that_reads_gets_end_of_file() {
        let script = "cat; readlink /proc/self/fd/0";

        let output = run("sh", &["-c", script], AMPLE).unwrap();

        assert_eq!(output.stdout, b"/dev/null\n");
    }

    #[test]
    fn a_missing_program_is_told_apart() {
        let error = run("no-such-program-here", &[], AMPLE).unwrap_err();

        assert!(
            matches!(error, CommandError::NotInstalled { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = run("sh", &["-c", "printf 'no\\nluck' >&2; exit 3"], AMPLE).unwrap_err();

        assert_eq!(
            error.to_string(),
            "`sh` failed (exit status: 3): no luck",
            "{error:?}"
        );
    }

    #[test]
    fn a_slow_program_ends_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("grandchild-lived");
        let script = format!("(sleep 1; touch '{}') & sleep 60", mark.display());
        let started = Instant::now();

        let error = run("sh", &["-c", &script], SOON).unwrap_err();

        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(1200));
        assert!(!mark.exists());
    }

    #[test]
    fn a_left_behind_child_that_holds_the_output_does_not_hold_us() {
        let started = Instant::now();

        let error = run("sh", &["-c", "sleep 60 & exit 0"], SOON).unwrap_err();

        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn endless_output_is_cut_off() {
        let error = run("yes", &[], AMPLE).unwrap_err();

        assert!(
            matches!(error, CommandError::TooMuchOutput { .. }),
            "{error}"
        );
    }

    #[test]
    fn much_on_both_outputs_does_not_hang() {
        let script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2";

        let output = run("sh", &["-c", script], AMPLE).unwrap();

        assert_eq!(output.stdout.len(), 1_000_000);
        assert_eq!(output.stderr.len(), 1_000_000);
    }
}
