//! The audit log: a line a write, reopened after rotation, copied to the journal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;

use crate::access::audit::{self, Actor, Event};
use crate::clock::Clock;

/// Where lines go and how they are stamped.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The file.
    pub path: PathBuf,
    /// The sockets of the journal and of syslog; the first that takes a line gets it.
    pub sockets: Vec<PathBuf>,
    /// The zone of the date; Fail2Ban reads local time.
    pub zone: TimeZone,
}

impl AuditSettings {
    /// Writes to `path` and to the sockets of a Debian host, in `zone`.
    pub fn new(path: PathBuf, zone: TimeZone) -> Self {
        let sockets = ["/run/systemd/journal/socket", "/dev/log"];
        Self {
            path,
            sockets: sockets.map(PathBuf::from).to_vec(),
            zone,
        }
    }
}

/// Writes events. Nothing ever waits for it or fails because of it.
#[derive(Debug)]
pub struct AuditLog {
    settings: AuditSettings,
    clock: Clock,
    file: Mutex<Option<File>>,
    socket: Option<UnixDatagram>,
    is_failing: AtomicBool,
    told_at: AtomicU64,
    failures: AtomicU64,
}

const TELL_EVERY_SECONDS: u64 = 60;

impl AuditLog {
    /// Opens the log; a file that cannot be opened is tried again at each event.
    pub fn open(settings: AuditSettings, clock: Clock) -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let log = Self {
            settings,
            clock,
            file: Mutex::new(None),
            socket: socket.ok(),
            is_failing: AtomicBool::new(false),
            told_at: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        let opened = log.open_file().map(|file| *log.lock() = Some(file));
        log.note(&opened);
        log
    }

    /// Writes one event as one line.
    pub fn write(&self, event: &Event, actor: &Actor) {
        let at = self
            .clock
            .now()
            .to_zoned_datetime(self.settings.zone.clone());
        let line = audit::line(event, actor, &at);
        let written = self.append(line.as_bytes());
        self.note(&written);
        self.copy_to_journal(event, actor);
    }

    /// Returns whether the last line could not be written.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Returns how many lines could not be written.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Opens the file anew, as after a rotation.
    pub fn reopen(&self) {
        *self.lock() = None;
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.lock();
        if !file.as_ref().is_some_and(|file| self.is_current(file)) {
            *file = Some(self.open_file()?);
        }
        let Some(file) = &mut *file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // One write a line: lines of two processes never mix (O_APPEND).
        let written = file.write(line)?;
        if written < line.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// Whether the open file is still the one with the log's name.
    fn is_current(&self, file: &File) -> bool {
        let same = fs::metadata(&self.settings.path).and_then(|named| {
            let open = file.metadata()?;
            Ok(named.dev() == open.dev() && named.ino() == open.ino())
        });
        same.unwrap_or(false)
    }

    fn open_file(&self) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&self.settings.path)
    }

    fn note(&self, written: &io::Result<()>) {
        let Err(error) = written else {
            self.is_failing.store(false, Ordering::Relaxed);
            return;
        };
        self.is_failing.store(true, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let told_at = self.told_at.load(Ordering::Relaxed);
        if now.abs_diff(told_at) >= TELL_EVERY_SECONDS {
            self.told_at.store(now, Ordering::Relaxed);
            let path = self.settings.path.display();
            tracing::error!(%path, %error, "the audit log cannot be written");
        }
    }

    /// Sends the line without its date: the journal's own protocol where that is there, else
    /// syslog's (RFC 3164, facility authpriv).
    fn copy_to_journal(&self, event: &Event, actor: &Actor) {
        let Some(socket) = &self.socket else {
            return;
        };
        let message = audit::message(event, actor);
        let severity = event.level().severity();
        let identifier = audit::IDENTIFIER;
        for path in &self.settings.sockets {
            let datagram = if path.ends_with("journal/socket") {
                format!(
                    "SYSLOG_IDENTIFIER={identifier}\nSYSLOG_FACILITY=10\nPRIORITY={severity}\nMESSAGE={message}\n"
                )
            } else {
                format!("<{}>{identifier}: {message}", 10 * 8 + severity)
            };
            if socket.send_to(datagram.as_bytes(), path).is_ok() {
                return;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn log(path: PathBuf, sockets: Vec<PathBuf>) -> AuditLog {
        let settings = AuditSettings {
            path,
            sockets,
            zone: TimeZone::UTC,
        };
        let start: Timestamp = "2026-04-24T14:32:11Z".parse().unwrap();
        AuditLog::open(settings, Clock::standing_at(start))
    }

    #[test]
    fn lines_are_appended_and_the_file_is_not_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.log");
        let log = log(path.clone(), Vec::new());

        log.write(&Event::SetUp, &Actor::default());
        log.write(&Event::TurnedOff, &Actor::default());

        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "2026-04-24 14:32:11 INFO    proxmenux-auth: password set up; user=-\n\
             2026-04-24 14:32:11 WARNING proxmenux-auth: protection turned off; user=-\n"
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_rotated_file_is_left_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.log");
        let log = log(path.clone(), Vec::new());
        log.write(&Event::SetUp, &Actor::default());

        fs::rename(&path, dir.path().join("auth.log.1")).unwrap();
        log.write(&Event::TurnedOff, &Actor::default());

        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_noticed_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("auth.log");
        let log = log(path.clone(), Vec::new());
        assert!(log.is_failing());

        log.write(&Event::SetUp, &Actor::default());
        assert_eq!(log.failures(), 2);
        fs::create_dir(path.parent().unwrap()).unwrap();
        log.write(&Event::SetUp, &Actor::default());

        assert!(!log.is_failing());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn the_journal_gets_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("journal/socket");
        fs::create_dir(socket.parent().unwrap()).unwrap();
        let journal = UnixDatagram::bind(&socket).unwrap();
        let log = log(dir.path().join("auth.log"), vec![socket]);

        log.write(&Event::SetUp, &Actor::default());

        let mut datagram = [0; 500];
        let size = journal.recv(&mut datagram).unwrap();
        let text = std::str::from_utf8(&datagram[..size]).unwrap();
        assert_eq!(
            text,
            "SYSLOG_IDENTIFIER=proxmenux-auth\nSYSLOG_FACILITY=10\nPRIORITY=6\nMESSAGE=password set up; user=-\n"
        );
    }
}
