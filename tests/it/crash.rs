//! Power cuts, full disks and crowds: what was acknowledged is there, and nothing else opens.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::binary::{
    PASSWORD, Place, Server, USER, add_session, ask, finish, names, pbkdf2, program, protected,
    sha256, totp, with_second_factor, within,
};

/// How often the process is killed, over all hosts.
const ROUNDS: usize = 220;
/// In every how manieth round the kill waits for a sign-in, which takes long, to be acknowledged.
const SIGN_IN_EVERY: usize = 5;
/// How many hosts crash side by side.
const HOSTS: usize = 2;

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// What a host has acknowledged, and what it may have done without saying so.
#[derive(Default)]
struct Promised {
    name: Option<String>,
    asked: HashSet<String>,
    sessions: Vec<String>,
}

/// Changes and signs in until the server is killed at a random moment.
fn crash_once(server: &mut Server, actor: &str, round: usize, promised: &Mutex<Promised>) {
    let address = server.address;
    thread::scope(|scope| {
        scope.spawn(move || {
            for count in 0.. {
                let name = format!("round {round} change {count}");
                let body = json!({ "display_name": name });
                promised.lock().unwrap().asked.insert(name.clone());
                let answer = ask(
                    address,
                    "PUT",
                    "/api/auth/profile",
                    Some(actor),
                    Some(&body),
                );
                let Ok(answer) = answer else { return };
                assert_eq!(answer.status, 200, "{answer:?}");
                let mut promised = promised.lock().unwrap();
                promised.asked.clear();
                promised.name = Some(name);
            }
        });
        scope.spawn(move || {
            let body = json!({ "username": USER, "password": PASSWORD });
            while let Ok(answer) = ask(address, "POST", "/api/auth/login", None, Some(&body)) {
                assert_eq!(answer.status, 200, "{answer:?}");
                let token = answer.json()["token"].as_str().unwrap().to_owned();
                promised.lock().unwrap().sessions.push(token);
            }
        });
        if round.is_multiple_of(SIGN_IN_EVERY) {
            let signed_in = || !promised.lock().unwrap().sessions.is_empty();
            assert!(within(Duration::from_secs(30), signed_in), "round {round}");
        }
        thread::sleep(Duration::from_millis(random(160)));
        server.kill();
    });
}

/// Compares the file with what was promised.
fn assert_kept(place: &Place, promised: &mut Promised, round: usize) {
    let text = place.state_text();
    let state: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        unreachable!("round {round}: the file is not whole ({error}): {text}")
    });
    assert_eq!(state["username"], USER, "round {round}");
    let name = state["display_name"].as_str().map(str::to_owned);
    let expected = name == promised.name
        || name
            .as_ref()
            .is_some_and(|name| promised.asked.contains(name));
    assert!(
        expected,
        "round {round}: {name:?} is not {:?}",
        promised.name
    );
    promised.name = name;
    promised.asked.clear();
    let sessions = state["sessions"].as_array().unwrap();
    let hashes = HashSet::<&str>::from_iter(
        sessions
            .iter()
            .map(|session| session["token_hash"].as_str().unwrap()),
    );
    for token in &promised.sessions {
        let hash = sha256(token);
        assert!(
            hashes.contains(hash.as_str()),
            "round {round}: a session is lost"
        );
    }
}

#[test]
fn a_killed_server_leaves_the_file_whole_with_all_that_it_acknowledged() {
    let sign_ins = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                let mut state = protected();
                state["password_hash"] = pbkdf2(PASSWORD, 600_000).into();
                let actor = add_session(&mut state);
                let place = Place::with_state(&state);
                let promised = Mutex::new(Promised::default());
                for round in 0..ROUNDS / HOSTS {
                    let mut server = place.serve();
                    assert!(
                        server.knows(&actor),
                        "round {round}: not locked, not forgotten"
                    );

                    crash_once(&mut server, &actor, round, &promised);

                    let mut promised = promised.lock().unwrap();
                    assert_kept(&place, &mut promised, round);
                    sign_ins.fetch_add(promised.sessions.len(), Ordering::Relaxed);
                    // Keeps the number of sessions below the one at which the oldest makes room.
                    promised.sessions.clear();
                    if round % 20 == 19 {
                        place.edit(|state| {
                            state["sessions"].as_array_mut().unwrap().truncate(1);
                        });
                    }
                }
            });
        }
    });
    assert!(sign_ins.into_inner() >= ROUNDS / SIGN_IN_EVERY);
}

/// A server whose state directory is a small file system of its own, which goes with the process.
struct SmallDisk {
    place: Place,
    server: Server,
}

impl SmallDisk {
    /// None where this process may not mount anything.
    fn start(state: &Value) -> Option<Self> {
        let place = Place::fresh();
        fs::create_dir(place.config_dir()).unwrap();
        let folder = place.config_dir().display().to_string();
        let mut attempt = program("unshare");
        attempt.args([
            "-m",
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=256k",
            "tmpfs",
            &folder,
        ]);
        if finish(attempt).status != Some(0) {
            return None;
        }
        let seed = place.root().join("seed.json");
        super::binary::put(&seed, serde_json::to_string(state).unwrap());
        let script = "mount -t tmpfs -o size=256k,mode=700 tmpfs \"$1\" && install -m 600 \"$2\" \"$1/auth.json\" && shift 2 && exec \"$@\"";
        let mut command = program("unshare");
        command.args(["-m", "sh", "-c", script, "sh", &folder]);
        command.arg(&seed);
        command.arg(env!("CARGO_BIN_EXE_proxmenux-monitor"));
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(place.options()).env("TZ", "UTC");
        let server = Server::start(command);
        Some(Self { place, server })
    }

    /// The state directory as the process sees it.
    fn folder(&self) -> PathBuf {
        let inside = self.place.config_dir();
        let root = PathBuf::from(format!("/proc/{}/root", self.server.pid()));
        root.join(inside.strip_prefix("/").unwrap())
    }

    fn state(&self) -> Value {
        let text = fs::read_to_string(self.folder().join("auth.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn filler(&self) -> PathBuf {
        self.folder().join("filler")
    }

    /// Takes the last free byte.
    fn fill(&self) {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_read_only(&self) {
        let mut command = program("nsenter");
        command.args(["-t", &self.server.pid().to_string(), "-m"]);
        command.args(["mount", "-o", "remount,ro"]);
        command.arg(self.place.config_dir());
        let ran = finish(command);
        assert_eq!(ran.status, Some(0), "{ran:?}");
    }
}

#[test]
fn on_a_full_disk_nothing_changes_but_signing_in_works() {
    let mut state = with_second_factor(&["ABCD-2345"]);
    state["password_hash"] = pbkdf2(PASSWORD, 600_000).into();
    let token = add_session(&mut state);
    let Some(disk) = SmallDisk::start(&state) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let server = &disk.server;
    assert_eq!(server.rename(&token, "before").status, 200);
    disk.fill();
    let before = disk.state();

    let renamed = server.rename(&token, "after");
    assert_eq!(
        (renamed.status, renamed.code().as_str()),
        (507, "storage_full")
    );
    let profile = server.get("/api/auth/profile", Some(&token)).json();
    assert_eq!(
        profile["display_name"], "before",
        "memory is as the disk is"
    );
    let logout = server.post("/api/auth/logout", Some(&token), &json!({}));
    assert_eq!(logout.status, 507);
    assert!(server.knows(&token));
    let backup = server.login(PASSWORD, Some("ABCD-2345"));
    assert_eq!(
        backup.status, 507,
        "a backup code must be durable: {backup:?}"
    );
    assert_eq!(disk.state(), before, "the disk is as it was");

    let code = totp(0);
    let kept = server.login(PASSWORD, Some(&code));
    assert_eq!(kept.status, 200, "{kept:?}");
    assert_eq!(kept.json()["kept_in_memory"], true);
    let new = kept.json()["token"].as_str().unwrap().to_owned();
    assert!(server.knows(&new));
    assert_eq!(
        server.login(PASSWORD, Some(&code)).code(),
        "code_already_used"
    );
    assert_eq!(
        server.status(Some(&new))["warnings"],
        json!(["state_unsaved"])
    );
    assert_eq!(disk.state(), before);

    fs::remove_file(disk.filler()).unwrap();
    let is_saved = || disk.state()["last_totp_counter"].is_i64();
    assert!(
        within(Duration::from_secs(13), is_saved),
        "{}",
        server.said()
    );
    let hashes = disk.state()["sessions"].to_string();
    assert!(hashes.contains(&sha256(&new)));
    assert_eq!(server.status(Some(&new))["warnings"], json!([]));
    let backup = server.login(PASSWORD, Some("ABCD-2345"));
    assert_eq!(
        backup.status, 200,
        "the refusal has not spent it: {backup:?}"
    );
}

#[test]
fn on_a_read_only_disk_changes_fail_and_leave_no_trace() {
    let mut state = protected();
    let token = add_session(&mut state);
    let Some(disk) = SmallDisk::start(&state) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    disk.make_read_only();
    let before = disk.state();

    let renamed = disk.server.rename(&token, "after");

    assert_eq!(
        (renamed.status, renamed.code().as_str()),
        (500, "storage_failed")
    );
    assert!(!renamed.body.contains("os error"), "no exception text");
    let profile = disk.server.get("/api/auth/profile", Some(&token)).json();
    assert_eq!(profile["display_name"], Value::Null);
    let kept = disk.server.login(PASSWORD, None);
    assert_eq!(kept.json()["kept_in_memory"], true, "{kept:?}");
    assert_eq!(disk.state(), before);
    assert_eq!(
        names(&disk.folder())
            .iter()
            .filter(|name| name.contains(".new"))
            .count(),
        0
    );
}

#[test]
fn what_a_full_disk_kept_in_memory_is_tried_again_at_stop() {
    let state = protected();
    let Some(mut disk) = SmallDisk::start(&state) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    disk.fill();
    let kept = disk.server.login(PASSWORD, None);
    assert_eq!(kept.json()["kept_in_memory"], true, "{kept:?}");
    let token = kept.json()["token"].as_str().unwrap().to_owned();
    // Keeps the small file system alive beyond the process.
    let held = fs::File::open(disk.folder()).unwrap();
    fs::remove_file(disk.filler()).unwrap();

    disk.server.signal(rustix::process::Signal::TERM);
    let status = disk.server.ended(Duration::from_secs(15)).unwrap();

    assert!(status.success());
    let file = rustix::fs::openat(
        &held,
        "auth.json",
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    );
    let mut text = String::new();
    std::io::Read::read_to_string(&mut fs::File::from(file.unwrap()), &mut text).unwrap();
    assert!(text.contains(&sha256(&token)), "{text}");
}

#[test]
fn an_audit_log_that_cannot_be_written_never_blocks_a_sign_in() {
    let place = Place::with_state(&protected());
    let log = place.root().join("missing/auth.log");
    let server = Server::start(logging_to(&place, &log));

    let token = server.sign_in();

    assert_eq!(
        server.status(Some(&token))["warnings"],
        json!(["audit_log_unwritable"])
    );
    assert!(
        server.status(None)["warnings"].is_null(),
        "strangers are told nothing"
    );
    assert!(
        server.says("the audit log cannot be written"),
        "{}",
        server.said()
    );
    fs::create_dir(log.parent().unwrap()).unwrap();
    server.sign_in();
    assert_eq!(server.status(Some(&token))["warnings"], json!([]));
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
}

/// The server with its audit log somewhere else.
fn logging_to(place: &Place, log: &Path) -> std::process::Command {
    let mut command = super::binary::bare(place.root());
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut options = place.options();
    let at = options
        .iter()
        .position(|option| option == "--auth-log")
        .unwrap();
    options[at + 1] = log.display().to_string();
    command.args(options);
    command
}

#[test]
fn of_a_thousand_changes_at_once_none_is_lost() {
    const SIGN_OUTS: usize = 99;
    const SIGN_INS: usize = 40;
    const STAYING: usize = 60;
    const CHANGES: usize = 861;
    let mut state = protected();
    state["password_hash"] = pbkdf2(PASSWORD, 600_000).into();
    let actor = add_session(&mut state);
    let mut staying = Vec::from_iter((0..STAYING).map(|_| add_session(&mut state)));
    let leaving = Vec::from_iter((0..SIGN_OUTS).map(|_| add_session(&mut state)));
    let place = Place::with_state(&state);
    let server = place.serve();
    let (server, actor, leaving) = (&server, actor.as_str(), leaving.as_slice());
    let changing = 160;
    let gate = Barrier::new(changing + SIGN_OUTS + 10);
    let (gate, next, arrivals) = (&gate, &AtomicUsize::new(0), &Mutex::new(Vec::new()));
    let opened = &AtomicUsize::new(0);

    thread::scope(|scope| {
        for _ in 0..changing {
            scope.spawn(move || {
                gate.wait();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CHANGES {
                        return;
                    }
                    let changed = server.rename(actor, &format!("change {number}"));
                    assert_eq!(changed.status, 200, "{changed:?}");
                }
            });
        }
        for token in leaving {
            scope.spawn(move || {
                gate.wait();
                let left = server.post("/api/auth/logout", Some(token), &json!({}));
                assert_eq!(left.status, 200, "{left:?}");
            });
        }
        for _ in 0..10 {
            scope.spawn(move || {
                gate.wait();
                while opened.fetch_add(1, Ordering::Relaxed) < SIGN_INS {
                    let token = sign_in_at_last(server);
                    arrivals.lock().unwrap().push(token);
                }
            });
        }
    });

    let arrivals = arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), SIGN_INS);
    staying.extend(arrivals.iter().cloned());
    assert_none_is_lost(&place, &staying, leaving);
    let log = fs::read_to_string(place.auth_log()).unwrap();
    assert_eq!(log.matches("display name changed").count(), CHANGES);
    assert_eq!(log.matches("authentication success").count(), SIGN_INS);
    assert!(
        !log.contains("authentication failure"),
        "a full queue is no failure"
    );
}

/// Compares the file with who is there, beside the one who changed the name, and who has left.
fn assert_none_is_lost(place: &Place, there: &[String], left: &[String]) {
    let state = place.state();
    let live = state["sessions"].to_string();
    let revoked = state["revoked_tokens"].to_string();
    assert_eq!(state["sessions"].as_array().unwrap().len(), 1 + there.len());
    for token in there {
        assert!(live.contains(&sha256(token)), "a session is lost");
    }
    for token in left {
        assert!(revoked.contains(&sha256(token)), "a sign-out is lost");
        assert!(!live.contains(&sha256(token)));
    }
    let name = state["display_name"].as_str().unwrap();
    assert!(name.starts_with("change "), "{name}");
}

/// Signs in, and comes back when the limiter or the queue says so.
fn sign_in_at_last(server: &Server) -> String {
    let mut token = None;
    let signed_in = within(Duration::from_secs(100), || {
        let answer = server.login(PASSWORD, None);
        assert!(matches!(answer.status, 200 | 429 | 503), "{answer:?}");
        token = answer.json()["token"].as_str().map(str::to_owned);
        token.is_some()
    });
    assert!(signed_in, "the queue never had room");
    token.unwrap()
}

#[test]
fn two_commands_at_once_both_count() {
    let mut state = protected();
    let tokens = Vec::from_iter((0..16).map(|_| add_session(&mut state)));
    let place = &Place::with_state(&state);
    let sessions = state["sessions"].as_array().unwrap();
    let ids = sessions
        .iter()
        .map(|session| session["id"].as_str().unwrap());

    thread::scope(|scope| {
        for id in ids {
            scope.spawn(move || {
                let ran = place.run(&["session", "end", id]);
                assert_eq!(ran.status, Some(0), "{ran:?}");
            });
        }
    });

    let after = place.state();
    assert_eq!(after["sessions"], json!([]));
    assert_eq!(
        after["revoked_tokens"].as_array().unwrap().len(),
        tokens.len()
    );
}

#[test]
fn readers_never_see_half_a_file() {
    let mut state = protected();
    let actor = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = place.serve();
    let is_over = AtomicBool::new(false);

    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(place.state()["username"], USER);
                read += 1;
            }
            read
        });
        for count in 0..100 {
            assert_eq!(server.rename(&actor, &format!("name {count}")).status, 200);
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });

    assert!(read > 100, "{read}");
}
