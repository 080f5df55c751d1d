//! A login shell on a terminal of its own: started, read, typed into, resized, ended.
//!
//! The shell leads a session of its own, which the terminal controls. It gets nothing of the
//! service's, neither its environment nor its open files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use pty_process::{Command, OwnedReadPty, OwnedWritePty, Pty};
use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use rustix::termios::{InputModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

/// How much is read at once: what a flood of output is cut into.
pub const PIECE: usize = 32 * 1024;
/// The most columns and rows: each costs memory in the programs that draw.
const MOST_CELLS: u16 = 1000;
/// How long a session has to end by itself once its terminal is gone.
const HANGUP_PATIENCE: Duration = Duration::from_millis(250);
/// How often one looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often processes that were begun meanwhile are looked for.
const MOST_KILLS: usize = 5;
/// Where programs are looked for, unless the service says.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A UTF-8 locale that is there everywhere.
const USUAL_LANG: &str = "C.UTF-8";
/// The shells that are taken where the user has none.
const USUAL_SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// What starts the shell: the service's files are for itself alone, those of a person are not.
const START: &str = r#"umask 022; exec "$0" -l"#;

/// What the service's environment says of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `USER`.
    pub user: Option<String>,
    /// `HOME`.
    pub home: Option<String>,
    /// `SHELL`.
    pub shell: Option<String>,
    /// `PATH`.
    pub path: Option<String>,
    /// `LANG`.
    pub lang: Option<String>,
}

impl Surroundings {
    /// Takes what `variable` says of each name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            user: variable("USER"),
            home: variable("HOME"),
            shell: variable("SHELL"),
            path: variable("PATH"),
            lang: variable("LANG"),
        }
    }
}

/// Whose shell is started, where, and in what environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    user: String,
    home: PathBuf,
    shell: PathBuf,
    path: String,
    lang: String,
}

impl Login {
    /// Returns the service's user, as far as the environment says and else as the host knows them.
    pub fn of_service(surroundings: &Surroundings) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::find(surroundings, &users, geteuid().as_raw())
    }

    fn find(surroundings: &Surroundings, users: &str, uid: u32) -> Self {
        let entry = Entry::find(users, uid).unwrap_or_default();
        let lang = surroundings.lang.as_deref().filter(|lang| is_utf8(lang));
        let homes = [surroundings.home.as_deref(), Some(entry.home)];
        let home = homes
            .into_iter()
            .flatten()
            .find(|home| home.starts_with('/') && Path::new(home).is_dir());
        let shells = [surroundings.shell.as_deref(), Some(entry.shell)];
        let shells = shells.into_iter().flatten().chain(USUAL_SHELLS);
        let shell = shells.into_iter().find(|shell| is_shell(shell));
        let user = surroundings.user.as_deref();
        let user = user.or(Some(entry.name).filter(|name| !name.is_empty()));
        Self {
            user: user.map_or_else(|| uid.to_string(), str::to_owned),
            home: home.unwrap_or("/").into(),
            shell: shell.unwrap_or("/bin/sh").into(),
            path: surroundings
                .path
                .clone()
                .unwrap_or_else(|| USUAL_PATH.to_owned()),
            lang: lang.unwrap_or(USUAL_LANG).to_owned(),
        }
    }
}

/// The line of a user in the host's list (passwd(5)).
#[derive(Default)]
struct Entry<'a> {
    name: &'a str,
    home: &'a str,
    shell: &'a str,
}

impl<'a> Entry<'a> {
    fn find(users: &'a str, uid: u32) -> Option<Self> {
        let uid = uid.to_string();
        let mut entries = users.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let is_it = fields.nth(1)? == uid;
            let home = fields.nth(2)?;
            let shell = fields.next().unwrap_or_default();
            is_it.then_some(Self { name, home, shell })
        });
        entries.next()
    }
}

fn is_utf8(lang: &str) -> bool {
    let codeset = lang.rsplit_once('.').map(|(_, codeset)| codeset);
    codeset.is_some_and(|codeset| {
        codeset.eq_ignore_ascii_case("utf-8") || codeset.eq_ignore_ascii_case("utf8")
    })
}

/// Whether this is a program in which somebody can type: not what stands for "no shell".
fn is_shell(path: &str) -> bool {
    let is_none = path.ends_with("/nologin") || path.ends_with("/false");
    path.starts_with('/') && !is_none && Path::new(path).is_file()
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    columns: u16,
    rows: u16,
}

impl Default for Size {
    /// The size of terminals from the start.
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

impl Size {
    /// Takes a size that a terminal can have.
    ///
    /// ```
    /// use proxmenux_monitor::host::pty::Size;
    ///
    /// assert!(Size::new(80, 24).is_some());
    /// assert!(Size::new(0, 24).is_none());
    /// ```
    pub fn new(columns: u16, rows: u16) -> Option<Self> {
        let can_be = 1..=MOST_CELLS;
        (can_be.contains(&columns) && can_be.contains(&rows)).then_some(Self { columns, rows })
    }
}

impl From<Size> for pty_process::Size {
    fn from(size: Size) -> Self {
        Self::new(size.rows, size.columns)
    }
}

/// A running shell.
#[derive(Debug)]
pub struct Shell {
    /// What it and its programs write.
    pub output: Output,
    /// What is typed.
    pub input: Input,
    /// The shell itself.
    pub process: Process,
}

impl Shell {
    /// Starts the login shell of a user in a terminal of this size.
    pub fn start(login: &Login, size: Size) -> io::Result<Self> {
        let (pty, terminal) = pty_process::open().map_err(plain)?;
        pty.resize(size.into()).map_err(plain)?;
        expect_utf8(&pty)?;
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(START)
            .arg(&login.shell)
            .env_clear()
            .env("HOME", &login.home)
            .env("USER", &login.user)
            .env("LOGNAME", &login.user)
            .env("SHELL", &login.shell)
            .env("PATH", &login.path)
            .env("LANG", &login.lang)
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor")
            .env("PROXMENUX_TERMINAL", "monitor")
            .current_dir(&login.home)
            .spawn(terminal)
            .map_err(plain)?;
        let session = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let session = session.ok_or(io::ErrorKind::NotFound)?;
        let (output, input) = pty.into_split();
        Ok(Self {
            output: Output {
                pty: output,
                piece: vec![0; PIECE],
            },
            input: Input(input),
            process: Process { child, session },
        })
    }
}

/// Lets the terminal erase whole characters where it edits the line itself.
fn expect_utf8(pty: &Pty) -> io::Result<()> {
    let mut modes = tcgetattr(pty)?;
    modes.input_modes |= InputModes::IUTF8;
    Ok(tcsetattr(pty, OptionalActions::Now, &modes)?)
}

fn plain(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        pty_process::Error::TokioAsyncFd(_) | pty_process::Error::Unsplit(..) => {
            io::Error::other(error.to_string())
        }
    }
}

/// What a shell and its programs write.
#[derive(Debug)]
pub struct Output {
    pty: OwnedReadPty,
    piece: Vec<u8>,
}

impl Output {
    /// Waits for output and returns what there is, up to [`PIECE`]; nothing once nobody can write
    /// any more. Whoever stops waiting loses nothing.
    pub async fn read(&mut self) -> &[u8] {
        // With an error Linux says that the other end is closed.
        let mut filled = self.pty.read(&mut self.piece).await.unwrap_or_default();
        // The kernel hands over 4 KiB at a time.
        while filled > 0
            && let Some(rest) = self.piece.get_mut(filled..)
            && !rest.is_empty()
            && let Some(Ok(more @ 1..)) = self.pty.read(rest).now_or_never()
        {
            filled += more;
        }
        self.piece.get(..filled).unwrap_or_default()
    }
}

/// What is typed into a shell.
#[derive(Debug)]
pub struct Input(OwnedWritePty);

impl Input {
    /// Types as much of this as there is room for, and waits until there is some.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    /// Changes the size; programs are told.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        self.0.resize(size.into()).map_err(plain)
    }
}

/// A shell's process, and what was started from it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    session: Pid,
}

impl Process {
    /// Waits for the shell's end.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the whole session: what does not end by itself when the terminal hangs up is killed.
    ///
    /// The shell is not reaped before that, so that its number cannot have become another's.
    pub async fn end(mut self) {
        self.signal(Signal::HUP);
        self.signal(Signal::CONT);
        let until = Instant::now() + HANGUP_PATIENCE;
        while !self.members().is_empty() && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for _ in 0..MOST_KILLS {
            if self.members().is_empty() {
                break;
            }
            self.signal(Signal::KILL);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "an ended shell could not be waited for");
        }
    }

    fn signal(&self, signal: Signal) {
        // Most of it at once, even where /proc does not show everything.
        let _gone_already = kill_process_group(self.session, signal);
        for process in self.members() {
            let _gone_already = kill_process(process, signal);
        }
    }

    /// The living processes of the session.
    fn members(&self) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let members = processes.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            let is_one = living_in(&String::from_utf8_lossy(&stat)) == Some(self.session);
            Pid::from_raw(pid).filter(|_| is_one)
        });
        members.collect()
    }
}

/// The session of a living process (`proc_pid_stat(5)`); its name may hold anything but ends last.
fn living_in(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then(|| Pid::from_raw(session))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\nbroken\n";

    #[test]
    fn the_environment_goes_before_the_list_of_users() {
        let nothing = Surroundings::default();
        let root = Login::find(&nothing, USERS, 0);
        assert_eq!(root.user, "root");
        assert_eq!(root.home, Path::new("/"));
        assert_eq!(root.shell, Path::new("/bin/sh"));
        assert_eq!(root.path, USUAL_PATH);
        assert_eq!(root.lang, USUAL_LANG);

        let said = |text: &str| Some(text.to_owned());
        let all = Surroundings {
            user: said("admin"),
            home: said("/tmp"),
            shell: said("/bin/cat"),
            path: said("/bin"),
            lang: said("de_DE.UTF-8"),
        };
        let login = Login::find(&all, USERS, 0);
        assert_eq!(
            (login.user, login.lang),
            ("admin".into(), "de_DE.UTF-8".into())
        );
        assert_eq!(
            (login.home, login.shell),
            ("/tmp".into(), "/bin/cat".into())
        );
        assert_eq!(login.path, "/bin");
    }

    #[test]
    fn what_is_not_there_is_not_used() {
        let said = |text: &str| Some(text.to_owned());
        let wrong = Surroundings {
            home: said("/nonexistent"),
            shell: said("/usr/sbin/nologin"),
            lang: said("de_DE.ISO-8859-1"),
            ..Surroundings::default()
        };
        for uid in [65534, 4_000_000] {
            let login = Login::find(&wrong, USERS, uid);
            assert_eq!(login.home, Path::new("/"));
            assert!(USUAL_SHELLS.contains(&login.shell.to_str().unwrap()));
            assert_eq!(login.lang, "C.UTF-8");
        }
        assert_eq!(Login::find(&wrong, USERS, 4_000_000).user, "4000000");
    }

    #[test]
    fn the_session_of_a_process_is_read_whatever_its_name() {
        let session = |stat: &str| living_in(stat).map(|pid| pid.as_raw_nonzero().get());
        assert_eq!(session("7 (sh) S 1 7 5 34817 7 4194560"), Some(5));
        assert_eq!(session("7 (a) R 9) b) R 1 7 6 0"), Some(6));
        assert_eq!(session("7 (sh) Z 1 7 5 34817"), None);
        assert_eq!(session("7 (sh"), None);
        assert_eq!(session(""), None);
    }

    #[tokio::test]
    async fn the_end_reaches_what_ignores_the_hangup_and_runs_in_the_background() {
        let login = Login::find(&Surroundings::default(), USERS, 0);
        let mut shell = Shell::start(&login, Size::default()).unwrap();
        let line =
            "trap '' HUP; set -m; sh -c 'trap \"\" HUP; sleep 1000; true' & echo begun-$!-\n";
        shell.input.write(line.as_bytes()).await.unwrap();
        let mut said = String::new();
        let background = loop {
            said += &String::from_utf8_lossy(shell.output.read().await);
            let mut begun = said.split("begun-").skip(1);
            let number = begun.find_map(|rest| rest.split_once('-')?.0.parse::<i32>().ok());
            if let Some(number) = number {
                break Pid::from_raw(number).unwrap();
            }
        };
        let is_there = || Path::new(&format!("/proc/{}", background.as_raw_nonzero())).exists();
        assert!(is_there() && shell.process.members().len() >= 2);

        let begun = Instant::now();
        shell.process.end().await;

        assert!(begun.elapsed() < Duration::from_millis(900));
        // Whoever reaps orphans on this machine may take a moment.
        for _ in 0..100 {
            if !is_there() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", background.as_raw_nonzero()));
        assert_eq!(living_in(&stat.unwrap_or_default()), None);
    }
}
