//! The real binary, driven from outside: folders of its own, a port of its own, a small client.
//!
//! Nothing waits for ever: each start, answer and change has a deadline. What is started is killed
//! by its handle when the test lets it go.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proxmenux_monitor::access::jwt::SigningSecret;
use proxmenux_monitor::access::sessions::{Factor, Origin, Session};
use proxmenux_monitor::clock::Clock;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The account of the fixtures.
pub(super) const USER: &str = "owner";
/// Its password.
pub(super) const PASSWORD: &str = "Correct-Horse-9-Battery";
/// What signs its tokens.
pub(super) const SECRET: &str = "fixture-secret-0123456789abcdef0123456789abcdef";
/// Its second factor, where it has one.
pub(super) const TOTP_SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// How long a hand edit may take to be seen: two seconds, and what a busy machine adds.
pub(super) const EDIT_PATIENCE: Duration = Duration::from_secs(4);

const START_PATIENCE: Duration = Duration::from_secs(30);
const ANSWER_PATIENCE: Duration = Duration::from_secs(40);
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

const VARIABLES: [&str; 8] = [
    "PROXMENUX_AUTH_LOG",
    "PROXMENUX_CONFIG",
    "PROXMENUX_CONFIG_DIR",
    "PROXMENUX_DATA_DIR",
    "PROXMENUX_LOG",
    "PROXMENUX_SSL_CONFIG",
    "PROXMENUX_TRUSTED_PROXIES",
    "PROXMENUX_TRUST_PROXY",
];

/// Returns a command that runs a program.
#[expect(
    clippy::disallowed_methods,
    reason = "tests run programs without the product's own seam"
)]
pub(super) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(name)
}

/// Writes a file of a test in place, as an editor would that knows nothing of atomic writes.
#[expect(clippy::disallowed_methods, reason = "a test's own file")]
pub(super) fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}

/// Waits until `holds`; false if it does not in time.
pub(super) fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// The folders of one host.
pub(super) struct Place {
    dir: TempDir,
}

impl Place {
    /// A host on which nothing was ever started.
    pub(super) fn fresh() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A host with a state file.
    pub(super) fn with_state(state: &Value) -> Self {
        let place = Self::fresh();
        place.write_state(&serde_json::to_string_pretty(state).unwrap());
        place
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn config_dir(&self) -> PathBuf {
        self.root().join("config")
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.root().join("data")
    }

    pub(super) fn auth_json(&self) -> PathBuf {
        self.config_dir().join("auth.json")
    }

    pub(super) fn auth_log(&self) -> PathBuf {
        self.root().join("auth.log")
    }

    /// Puts a state file in place, tight as a careful owner's.
    pub(super) fn write_state(&self, text: &str) {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(self.config_dir()).unwrap();
        let new = self.config_dir().join("edited");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::rename(&new, self.auth_json()).unwrap();
    }

    pub(super) fn state_text(&self) -> String {
        fs::read_to_string(self.auth_json()).unwrap()
    }

    pub(super) fn state(&self) -> Value {
        serde_json::from_str(&self.state_text()).unwrap()
    }

    /// Changes the state file by hand.
    pub(super) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        change(&mut state);
        self.write_state(&serde_json::to_string_pretty(&state).unwrap());
    }

    /// The options that keep the binary inside these folders.
    pub(super) fn options(&self) -> Vec<String> {
        let option = |name: &str, path: PathBuf| [name.to_owned(), path.display().to_string()];
        [
            option("--config-dir", self.config_dir()),
            option("--data-dir", self.data_dir()),
            option("--auth-log", self.auth_log()),
            option("--ssl-config", self.root().join("ssl_config.json")),
        ]
        .concat()
    }

    /// A command of the binary inside these folders.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(self.root());
        command.args(arguments).args(self.options());
        command
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments))
    }

    /// Starts the server with more options.
    pub(super) fn serve_with(&self, more: &[&str]) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(more);
        Server::start(command)
    }

    /// Starts the server.
    pub(super) fn serve(&self) -> Server {
        self.serve_with(&[])
    }
}

/// The binary with an environment of its own and no arguments.
pub(super) fn bare(home: &Path) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_proxmenux-monitor"));
    command.env("HOME", home).env("TZ", "UTC").current_dir(home);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// What came of a command.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| unreachable!("{error}: {self:?}"))
    }
}

/// Runs a program to its end, within a deadline.
pub(super) fn finish(mut command: Command) -> Ran {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let read_all = |mut pipe: Box<dyn io::Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = read_all(Box::new(child.stdout.take().unwrap()));
    let err = read_all(Box::new(child.stderr.take().unwrap()));
    let mut status = None;
    let ended = within(COMMAND_PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    if !ended {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(ended, "a command did not end: {command:?}");
    Ran {
        status: status.and_then(|status| status.code()),
        out: out.join().unwrap(),
        err: err.join().unwrap(),
    }
}

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    err: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a command that serves, and waits until it says where.
    pub(super) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let err = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let collected = Arc::clone(&err);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut text = collected.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _test_is_over = tell.send(line);
            }
        });
        let first = told.recv_timeout(START_PATIENCE);
        let address = first.ok().and_then(|line| {
            let address = line.strip_prefix("listening on http://")?;
            address.parse().ok()
        });
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            err,
        };
        let said = || server.err.lock().unwrap().clone();
        server.address = address.unwrap_or_else(|| unreachable!("no server: {}", said()));
        server
    }

    /// What it has said on standard error.
    pub(super) fn said(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// Waits until it has said something on standard error.
    pub(super) fn says(&self, words: &str) -> bool {
        within(EDIT_PATIENCE, || self.said().contains(words))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it at once, as a power cut would.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; none if it does not end in time.
    pub(super) fn ended(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let mut status = None;
        within(patience, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status
    }

    /// Stops it as systemd does.
    pub(super) fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.ended(Duration::from_secs(15));
        assert_eq!(status.and_then(|status| status.code()), Some(0));
    }

    pub(super) fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.ask("GET", path, token, None).unwrap()
    }

    pub(super) fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.ask("POST", path, token, Some(body)).unwrap()
    }

    pub(super) fn put(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.ask("PUT", path, token, Some(body)).unwrap()
    }

    /// Asks once; fails as the connection does.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        ask(self.address, method, path, token, body)
    }

    /// Sends bytes as they are and returns all that comes back.
    pub(super) fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = connect(self.address).unwrap();
        // The server may close before it has read everything.
        let _cut_short = stream.write_all(bytes.as_ref());
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        answer
    }

    /// Signs the fixtures' account in.
    pub(super) fn sign_in(&self) -> String {
        let answer = self.login(PASSWORD, None);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn login(&self, password: &str, code: Option<&str>) -> Answer {
        let mut body = json!({ "username": USER, "password": password });
        if let Some(code) = code {
            body["totp_token"] = code.into();
        }
        self.post("/api/auth/login", None, &body)
    }

    pub(super) fn status(&self, token: Option<&str>) -> Value {
        self.get("/api/auth/status", token).json()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.status(None)["locked"] == true
    }

    /// Whether the token opens the list of sessions, which only a session does.
    pub(super) fn knows(&self, token: &str) -> bool {
        self.get("/api/auth/sessions", Some(token)).status == 200
    }

    pub(super) fn rename(&self, token: &str, name: &str) -> Answer {
        self.put(
            "/api/auth/profile",
            Some(token),
            &json!({ "display_name": name }),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Connects, with deadlines on everything that follows.
pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks a server once, on a connection of its own.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> io::Result<Answer> {
    let body = body.map(ToString::to_string);
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some(token) = token {
        request.extend(["Authorization: Bearer ", token, "\r\n"]);
    }
    if let Some(body) = &body {
        let length = body.len().to_string();
        request += "Content-Type: application/json\r\n";
        request.extend(["Content-Length: ", &length, "\r\n"]);
    }
    request += "\r\n";
    request += &body.unwrap_or_default();
    let mut stream = connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Answer::parse(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// Reads a whole answer; none if it was cut off.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let answer = Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        };
        let announced = answer.header("content-length");
        let whole = announced.is_none_or(|length| length.parse() == Ok(answer.body.len()));
        whole.then_some(answer)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        let pair = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
        pair.map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| unreachable!("{error}: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The state of a host that a password protects; its hash costs one iteration.
pub(super) fn protected() -> Value {
    json!({
        "enabled": true,
        "declined": false,
        "configured": true,
        "username": USER,
        "password_hash": pbkdf2(PASSWORD, 1),
        "jwt_secret": SECRET,
        "totp_enabled": false,
        "totp_secret": null,
        "backup_codes": [],
        "api_tokens": [],
        "revoked_tokens": [],
    })
}

/// The same with a second factor and some backup codes.
pub(super) fn with_second_factor(backup_codes: &[&str]) -> Value {
    let mut state = protected();
    state["totp_enabled"] = true.into();
    state["totp_secret"] = TOTP_SECRET.into();
    let codes = backup_codes
        .iter()
        .map(|code| json!({ "code": sha256(code), "used": false }));
    state["backup_codes"] = codes.collect();
    state
}

/// Adds a live session to a state; returns its token.
pub(super) fn add_session(state: &mut Value) -> String {
    let origin = Origin {
        address: "192.0.2.9".parse().unwrap(),
        user_agent: "fixture".to_owned(),
    };
    let secret = SigningSecret::parse(SECRET).unwrap();
    let now = Clock::machine().now();
    let (session, secrets) =
        Session::start(USER, vec![Factor::Pwd], &origin, &secret, now).unwrap();
    if state["sessions"].is_null() {
        state["sessions"] = json!([]);
    }
    let sessions = state["sessions"].as_array_mut().unwrap();
    sessions.push(serde_json::to_value(session).unwrap());
    secrets.token.to_string()
}

/// Adds an API token as the Python program makes them; returns it.
pub(super) fn add_api_token(state: &mut Value, name: &str, scope: Option<&str>) -> String {
    let now = Clock::machine().now().as_second();
    let mut claims = json!({
        "iss": "proxmenux-monitor",
        "aud": "api",
        "username": "api_token",
        "token_name": name,
        "iat": now,
        "exp": now + 365 * 24 * 3600,
    });
    if let Some(scope) = scope {
        claims["scope"] = scope.into();
    }
    let token = jwt(&claims, SECRET);
    let hash = sha256(&token);
    let tokens = state["api_tokens"].as_array_mut().unwrap();
    tokens.push(json!({ "id": hash[..16], "name": name, "token_hash": hash }));
    token
}

/// A JWT (RFC 7515 §3.1) with HS256.
pub(super) fn jwt(claims: &Value, secret: &str) -> String {
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let head = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encode(&mac.finalize().into_bytes()))
}

/// The SHA-256 of a text in hex.
pub(super) fn sha256(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

/// A password hash in the form of the state file.
pub(super) fn pbkdf2(password: &str, iterations: u32) -> String {
    let salt = b"0123456789abcdef";
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut key);
    let (salt, key) = (BASE64.encode(salt), BASE64.encode(&key));
    format!("pbkdf2_sha256${iterations}${salt}${key}")
}

/// The code of the fixtures' second factor (RFC 6238 §4), `ahead` steps from now.
pub(super) fn totp(ahead: i64) -> String {
    let key = data_encoding::BASE32
        .decode(TOTP_SECRET.as_bytes())
        .unwrap();
    let step = Clock::machine().now().as_second() / 30 + ahead;
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[19] & 0xf);
    let word = <[u8; 4]>::try_from(&digest[offset..offset + 4]).unwrap();
    let number = (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000;
    format!("{number:06}")
}

/// The names of the files in a folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names =
        Vec::from_iter(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    names.sort();
    names
}

/// The permission bits of a file.
pub(super) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Loosens or tightens a file.
pub(super) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a program printed, where it succeeded.
pub(super) fn printed(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .trim()
        .to_owned()
}
