//! The terminal from outside: the real binary, a real shell, a real WebSocket client.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use proxmenux_monitor::config::TerminalIdle;
use proxmenux_monitor::http::assets::Assets;
use proxmenux_monitor::http::router;
use proxmenux_monitor::http::server::Server as Sockets;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::binary::{
    PASSWORD, Place, SECRET, Server, add_session, jwt, protected, sha256, totp, with_second_factor,
    within,
};
use super::harness::{self, Fixture, TestServer};

/// How long anything may take that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many commands were run.
static MARKS: AtomicU32 = AtomicU32::new(0);

/// A window with a terminal in it.
struct Window {
    socket: WebSocketStream<TcpStream>,
    terminal: String,
    /// All output.
    shown: String,
    /// Up to where it has been looked at.
    seen: usize,
}

/// Why no window opened.
type Refused = (u16, String);

/// Opens a socket at a path with more headers.
async fn dial(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<TcpStream>, Refused> {
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(*name, value);
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match timeout(PATIENCE, client_async(request, stream))
        .await
        .unwrap()
    {
        Ok((socket, _)) => Ok(socket),
        Err(SocketError::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = body["code"].as_str().unwrap_or_default().to_owned();
            Err((response.status().as_u16(), code))
        }
        Err(error) => unreachable!("{error}"),
    }
}

fn place_of(ticket: &str) -> String {
    format!("/ws/terminal?ticket={ticket}&cols=100&rows=30")
}

impl Window {
    /// Opens a new terminal.
    async fn open(server: &Server, token: &str) -> Self {
        Self::with(server, Some(token), json!({})).await
    }

    /// Comes back to a terminal.
    async fn resume(server: &Server, token: &str, terminal: &str) -> Self {
        Self::with(server, Some(token), json!({ "resume": terminal })).await
    }

    async fn with(server: &Server, token: Option<&str>, body: Value) -> Self {
        let answer = server.post("/api/terminal/ticket", token, &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let origin = format!("http://{}", server.address);
        Self::at(server.address, &answer.json(), &[("origin", &origin)])
            .await
            .unwrap()
    }

    async fn at(
        address: SocketAddr,
        answer: &Value,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Refused> {
        let ticket = answer["ticket"].as_str().unwrap();
        Ok(Self {
            socket: dial(address, &place_of(ticket), headers).await?,
            terminal: answer["terminal_id"].as_str().unwrap().to_owned(),
            shown: String::new(),
            seen: 0,
        })
    }

    async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Waits for the next text; the end of the connection is its close code and reason.
    async fn next(&mut self) -> Result<String, (u16, String)> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_ping)) => {}
                Some(Err(error)) => return Err((0, error.to_string())),
                None => return Err((0, String::new())),
            }
        }
    }

    /// Reads until this is shown, after what was looked for before; returns what came up to it.
    async fn until(&mut self, wanted: &str) -> String {
        let look = async {
            loop {
                if let Some(at) = self.shown[self.seen..].find(wanted) {
                    let end = self.seen + at + wanted.len();
                    let found = self.shown[self.seen..end].to_owned();
                    self.seen = end;
                    return found;
                }
                let text = self.next().await.unwrap();
                self.shown += &text;
            }
        };
        match timeout(PATIENCE, look).await {
            Ok(found) => found,
            Err(_late) => unreachable!("no {wanted:?} in {:?}", self.shown),
        }
    }

    /// Runs a command; returns what it printed. The marks are torn apart where they are typed, and
    /// are others each time.
    async fn run(&mut self, command: &str) -> String {
        let mark = MARKS.fetch_add(1, Ordering::Relaxed);
        self.send(&format!(
            "echo beg''un{mark}; {command}; echo end''ed{mark}\r"
        ))
        .await;
        self.until(&format!("begun{mark}\r\n")).await;
        let end = format!("ended{mark}\r\n");
        let shown = self.until(&end).await;
        shown.trim_end_matches(&end).trim_end().to_owned()
    }

    /// Reads until the server closes; returns code and reason.
    async fn closed(&mut self) -> (u16, String) {
        self.closed_within(PATIENCE).await
    }

    async fn closed_within(&mut self, patience: Duration) -> (u16, String) {
        let end = async {
            loop {
                if let Err(end) = self.next().await {
                    return end;
                }
            }
        };
        timeout(patience, end).await.unwrap()
    }

    /// The shell's process, and one in the background that ignores a hangup.
    async fn processes(&mut self) -> [u32; 2] {
        let shown = self
            .run("nohup sleep 1000 >/dev/null 2>&1 & echo $! $$")
            .await;
        let last = shown.lines().last().unwrap().to_owned();
        let mut numbers = last.split(' ').map(|number| number.trim().parse().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    }
}

/// Whether a process runs; one that nobody has reaped does not.
fn lives(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

async fn all_gone(processes: &[u32], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while processes.iter().any(|process| lives(*process)) {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    true
}

/// A host that starts with this state, whose user's shell is bash.
fn serve(place: &Place) -> Server {
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    command
        .env("SHELL", "/bin/bash")
        .env("LANG", "de_DE.ISO-8859-1")
        .env("PROXMENUX_LOG", "info")
        .env("OF_THE_SERVICE", "a secret");
    Server::start(command)
}

/// A host with an account and a session.
fn signed_in() -> (Place, Server, String) {
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = serve(&place);
    (place, server, token)
}

fn ticket(server: &Server, token: &str) -> String {
    let answer = server.post("/api/terminal/ticket", Some(token), &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

fn refusal(server: &Server, token: &str, body: &Value) -> Refused {
    let answer = server.post("/api/terminal/ticket", Some(token), body);
    (answer.status, answer.code())
}

fn audit(place: &Place) -> String {
    fs::read_to_string(place.auth_log()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_does_what_is_typed_and_knows_where_it_is() {
    let (place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;

    assert_eq!(window.run("echo $((6 * 7))").await, "42");
    assert_eq!(window.run("stty size").await, "30 100");
    window
        .send(r#"{"type":"resize","cols":132,"rows":43}"#)
        .await;
    assert_eq!(window.run("stty size").await, "43 132");
    assert_eq!(
        window.run("pwd -P").await,
        place.root().canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(
        window.run("shopt -q login_shell && echo login").await,
        "login"
    );
    assert_eq!(
        window.run("tty | cut -c1-9; : < /dev/tty; umask").await,
        "/dev/pts/\r\n0022"
    );
    assert_eq!(window.run("stty -a | grep -o .iutf8").await, " iutf8");
    let open = window.run("readlink /proc/self/fd/*").await;
    assert!(open.starts_with("/dev/pts/"), "{open}");
    for ours in ["socket:", "anon_inode:", "ptmx", "auth."] {
        assert!(!open.contains(ours), "a file of the service: {open}");
    }
    let environment = window
        .run("cat /proc/$$/environ | tr '\\0' '\\n' | sort")
        .await;
    let mut names = environment
        .lines()
        .map(|line| line.split('=').next().unwrap());
    let known = [
        "COLORTERM",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "PROXMENUX_TERMINAL",
        "PWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "USER",
        "_",
        "OLDPWD",
    ];
    assert!(names.all(|name| known.contains(&name)), "{environment}");
    for line in [
        "TERM=xterm-256color",
        "COLORTERM=truecolor",
        "LANG=C.UTF-8",
        "PROXMENUX_TERMINAL=monitor",
        "SHELL=/bin/bash",
    ] {
        assert!(environment.contains(line), "{environment}");
    }
    let health = server.get("/api/terminal/health", Some(&token)).json();
    assert_eq!(
        health,
        json!({ "success": true, "terminals": 1, "most": 16 })
    );

    window.send("exit 3\r").await;

    assert_eq!(window.closed().await, (4000, "exit status: 3".to_owned()));
    let none = || server.get("/api/terminal/health", Some(&token)).json()["terminals"] == 0;
    assert!(within(PATIENCE, none));
    let log = audit(&place);
    let id = format!("terminal={}", window.terminal);
    for step in ["terminal opened;", "terminal closed;"] {
        let line = log.lines().find(|line| line.contains(step)).unwrap();
        let who = "rhost=127.0.0.1 user=owner session=";
        assert!(line.contains(who) && line.contains(&id), "{line}");
    }
    assert!(log.contains(" reason=exited seconds="), "{log}");
    assert!(!log.contains(&token) && !log.contains("ticket"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_shell_are_shown_even_if_its_jobs_hold_the_terminal() {
    let (_place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;

    window.send("sleep 3 & exec seq -s ' ' 1 100000\r").await;
    window.until(" 99999 100000").await;
    let begun = Instant::now();

    assert_eq!(window.closed().await.0, 4000);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_socket_once() {
    let mut state = protected();
    let (token, other) = (add_session(&mut state), add_session(&mut state));
    let place = Place::with_state(&state);
    let server = serve(&place);
    let used = ticket(&server, &token);
    let invalid = (401, "ticket_invalid".to_owned());
    let dial = async |path: String, headers: &[(&'static str, &str)]| {
        dial(server.address, &path, headers).await.map(drop)
    };

    assert_eq!(dial(place_of(&used), &[]).await, Ok(()));

    assert_eq!(
        dial(place_of(&used), &[]).await,
        Err(invalid.clone()),
        "twice"
    );
    assert_eq!(
        dial("/ws/terminal".to_owned(), &[]).await,
        Err(invalid.clone())
    );
    assert_eq!(dial(place_of("nonsense"), &[]).await, Err(invalid.clone()));
    assert_eq!(
        dial(place_of(&token), &[]).await,
        Err(invalid.clone()),
        "no token in a URL"
    );
    let with_other_token = format!("Bearer {other}");
    let headers = [("authorization", with_other_token.as_str())];
    let path = place_of(&ticket(&server, &token));
    assert_eq!(
        dial(path, &headers).await,
        Err(invalid.clone()),
        "of another session"
    );
    let path = place_of(&ticket(&server, &token));
    let plain = server.get(&path, None);
    assert_eq!(
        (plain.status, plain.code()),
        (426, "upgrade_required".to_owned())
    );
    assert_eq!(
        dial(path, &[]).await,
        Ok(()),
        "a plain request uses no ticket up"
    );
    let late = ticket(&server, &token);
    let of_ended = ticket(&server, &other);
    server.post("/api/auth/logout", Some(&other), &json!({}));
    assert_eq!(
        dial(place_of(&of_ended), &[]).await,
        Err(invalid.clone()),
        "of an ended session"
    );
    sleep(Duration::from_millis(10_050)).await;
    assert_eq!(dial(place_of(&late), &[]).await, Err(invalid), "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_opens_no_socket() {
    let (_place, server, token) = signed_in();
    let own = format!("http://{}", server.address);
    let foreign = Err((403, "foreign_origin".to_owned()));
    for (headers, opens) in [
        (vec![("origin", own.as_str())], true),
        (vec![], true),
        (vec![("origin", own.as_str()), ("cookie", "a=b")], true),
        (vec![("origin", "https://evil.example.net")], false),
        (vec![("origin", "null")], false),
        (vec![("cookie", "a=b")], false),
        (vec![("sec-fetch-mode", "websocket")], false),
    ] {
        let path = place_of(&ticket(&server, &token));
        let dialled = dial(server.address, &path, &headers).await.map(drop);
        let expected = if opens { Ok(()) } else { foreign.clone() };
        assert_eq!(dialled, expected, "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_is_still_there_after_the_connection_broke() {
    let (place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.run("kept=treasure; echo é€𝄞").await;
    let terminal = window.terminal.clone();
    window.send("(sleep 0.3; echo mean''while) &\r").await;
    window.until("mean''while").await;

    drop(window);
    sleep(Duration::from_millis(600)).await;
    let mut window = Window::resume(&server, &token, &terminal).await;

    assert_eq!(window.terminal, terminal);
    let before = window.until("meanwhile\r\n").await;
    assert!(before.contains("é€𝄞"), "{before}");
    assert_eq!(window.run("echo $kept").await, "treasure");
    assert_eq!(window.run("stty size").await, "30 100");

    let mut second = Window::resume(&server, &token, &terminal).await;
    assert_eq!(window.closed().await, (4002, "taken_over".to_owned()));
    assert_eq!(second.run("echo $kept").await, "treasure");
    let log = audit(&place);
    assert_eq!(log.matches("terminal opened").count(), 1, "{log}");
    assert_eq!(log.matches("terminal resumed").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_its_own_sessions_alone() {
    let mut state = protected();
    let (token, other) = (add_session(&mut state), add_session(&mut state));
    let place = Place::with_state(&state);
    let server = serve(&place);
    let window = Window::open(&server, &token).await;
    let gone = (404, "terminal_gone".to_owned());

    let resume = json!({ "resume": window.terminal });
    assert_eq!(refusal(&server, &other, &resume), gone);
    assert_eq!(refusal(&server, &token, &json!({ "resume": "none" })), gone);
    let ticket = server.post("/api/terminal/ticket", Some(&token), &resume);
    assert_eq!(ticket.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_has_four_terminals() {
    let mut state = protected();
    let (token, other) = (add_session(&mut state), add_session(&mut state));
    let place = Place::with_state(&state);
    let server = serve(&place);
    let mut windows = Vec::new();
    let early = server
        .post("/api/terminal/ticket", Some(&token), &json!({}))
        .json();
    for _ in 0..4 {
        let mut window = Window::open(&server, &token).await;
        // Its shell runs a moment after its socket is there.
        window.run("true").await;
        windows.push(window);
    }

    let too_many = (409, "too_many_terminals".to_owned());
    assert_eq!(refusal(&server, &token, &json!({})), too_many);
    let mut fifth = Window::at(server.address, &early, &[]).await.unwrap();
    assert_eq!(
        fifth.closed().await.0,
        1013,
        "a ticket from before helps nobody"
    );
    drop(Window::open(&server, &other).await);

    let mut last = windows.pop().unwrap();
    let processes = last.processes().await;
    let code = tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode::from(4000);
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code,
        reason: "".into(),
    };
    last.socket.send(Message::Close(Some(frame))).await.unwrap();
    assert!(
        all_gone(&processes, Duration::from_secs(2)).await,
        "its person closed it"
    );
    let again = || refusal(&server, &token, &json!({})).0 == 200;
    assert!(within(Duration::from_secs(1), again));
    assert!(audit(&place).contains("reason=closed"));
}

/// Waits for the end of a terminal whose holder is gone.
async fn ends_with_its_holder(window: &mut Window, processes: &[u32], begun: Instant) {
    let end = window.closed_within(Duration::from_secs(2)).await;
    let (closed, gone) = (
        begun.elapsed(),
        all_gone(processes, Duration::from_secs(1)).await,
    );
    assert_eq!(end, (4001, "session_ended".to_owned()));
    assert!(closed < Duration::from_secs(1), "{closed:?}");
    assert!(gone, "the shell or its jobs live on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_ends_with_its_session() {
    let mut state = protected();
    let tokens = [(); 4].map(|()| add_session(&mut state));
    let place = Place::with_state(&state);
    let server = serve(&place);
    let new = "Other-Horse-8-Battery";
    let change = json!({ "old_password": PASSWORD, "new_password": new });
    let id = place.state()["sessions"][1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let last = tokens[3].as_str();
    for (number, (method, path, body, by)) in [
        (
            "POST",
            "/api/auth/logout".to_owned(),
            json!({}),
            tokens[0].as_str(),
        ),
        (
            "DELETE",
            format!("/api/auth/sessions/{id}"),
            json!({}),
            last,
        ),
        ("POST", "/api/auth/change-password".to_owned(), change, last),
    ]
    .into_iter()
    .enumerate()
    {
        let mut window = Window::open(&server, &tokens[number]).await;
        let processes = window.processes().await;
        assert!(processes.iter().all(|process| lives(*process)));

        let answer = server.ask(method, &path, Some(by), Some(&body)).unwrap();
        let begun = Instant::now();

        assert_eq!(answer.status, 200, "{answer:?}");
        ends_with_its_holder(&mut window, &processes, begun).await;
    }
    let told = || audit(&place).matches("reason=session_ended").count() == 3;
    assert!(within(PATIENCE, told), "{}", audit(&place));
}

/// Adds an API token made for terminals.
fn add_terminal_token(state: &mut Value, scope: &str, terminal: bool) -> String {
    let now = jiff::Timestamp::from_second(i64::try_from(epoch()).unwrap())
        .unwrap()
        .as_second();
    let mut claims = json!({
        "iss": "proxmenux-monitor", "aud": "api", "typ": "api", "jti": format!("{scope}{terminal}"),
        "token_name": "robot", "scope": scope, "iat": now, "exp": now + 3600,
    });
    if terminal {
        claims["terminal"] = true.into();
    }
    let token = jwt(&claims, SECRET);
    let hash = sha256(&token);
    let entry = json!({
        "id": hash[..16], "name": "robot", "token_hash": hash, "scope": scope, "terminal": terminal,
    });
    state["api_tokens"].as_array_mut().unwrap().push(entry);
    token
}

fn epoch() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_a_program_ends_with_its_token() {
    let mut state = protected();
    let owner = add_session(&mut state);
    let robot = add_terminal_token(&mut state, "full_admin", true);
    let without = add_terminal_token(&mut state, "full_admin", false);
    let weak = add_terminal_token(&mut state, "operator", true);
    let place = Place::with_state(&state);
    let server = serve(&place);
    for token in [&without, &weak] {
        let refused = refusal(&server, token, &json!({}));
        assert_eq!(refused, (403, "insufficient_scope".to_owned()));
    }
    let mut window = Window::open(&server, &robot).await;
    let processes = window.processes().await;
    let path = format!("/api/auth/api-tokens/{}", &sha256(&robot)[..16]);

    let begun = Instant::now();
    let answer = server.ask("DELETE", &path, Some(&owner), None).unwrap();

    assert_eq!(answer.status, 200);
    ends_with_its_holder(&mut window, &processes, begun).await;
    let log = audit(&place);
    assert!(
        log.contains("terminal opened; rhost=127.0.0.1 user=robot@api token="),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_only_the_page_gets_a_terminal_and_a_password_ends_it() {
    let mut state = protected();
    for key in ["enabled", "configured"] {
        state[key] = false.into();
    }
    state["declined"] = true.into();
    state["password_hash"] = Value::Null;
    let place = Place::with_state(&state);
    let server = serve(&place);
    let answer = server.post("/api/terminal/ticket", None, &json!({})).json();
    let refused = Window::at(server.address, &answer, &[]).await.err();
    assert_eq!(refused, Some((403, "foreign_origin".to_owned())));
    let mut window = Window::with(&server, None, json!({})).await;
    let processes = window.processes().await;

    let begun = Instant::now();
    let answer = server.post("/api/auth/enable", None, &json!({}));

    assert_eq!(answer.status, 200, "{answer:?}");
    ends_with_its_holder(&mut window, &processes, begun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_shells_end_with_the_server() {
    let (place, mut server, token) = signed_in();
    let (mut first, mut second) = (
        Window::open(&server, &token).await,
        Window::open(&server, &token).await,
    );
    let processes = [first.processes().await, second.processes().await].concat();

    server.signal(Signal::TERM);

    for window in [&mut first, &mut second] {
        assert_eq!(window.closed().await, (1001, "server_stopping".to_owned()));
    }
    let ended = server.ended(Duration::from_secs(4));
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
    assert!(all_gone(&processes, Duration::from_millis(200)).await);
    assert_eq!(audit(&place).matches("reason=server_stopping").count(), 2);
}

/// The resident memory of a process in KiB.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_noise_is_interrupted_at_once_and_costs_no_memory() {
    let (_place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.run("true").await;
    let before = resident(server.pid());
    window.send("cat /dev/urandom\r").await;
    let mut shown = 0;
    while shown < 40_000_000 {
        shown += window.next().await.unwrap().len();
        let shown = format!(r#"{{"type":"ack","bytes":{shown}}}"#);
        window.send(&shown).await;
    }

    let begun = Instant::now();
    window.send("\x03").await;
    window.send("echo he''re\r").await;
    let mut end = String::new();
    while !end.contains("here") {
        let text = window.next().await.unwrap();
        shown += text.len();
        let shown = format!(r#"{{"type":"ack","bytes":{shown}}}"#);
        window.send(&shown).await;
        end += &text;
    }

    assert!(
        begun.elapsed() < Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_sent_than_a_window_can_show_once_it_says_how_much_that_is() {
    const MOST: usize = 512 * 1024;
    let (_place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.send(r#"{"type":"ack","bytes":0}"#).await;
    window.send("yes | head -c 3000000; echo do''ne\r").await;
    let mut read = 0;
    while let Ok(text) = timeout(Duration::from_millis(700), window.next()).await {
        read += text.unwrap().len();
    }
    assert!((MOST / 2..=MOST).contains(&read), "{read}");

    // The page's own questions are answered meanwhile.
    window.send(r#"{"type":"ping"}"#).await;
    assert_eq!(window.next().await.unwrap(), r#"{"type":"pong"}"#);
    window
        .send(&format!(r#"{{"type":"ack","bytes":{read}}}"#))
        .await;
    let mut more = 0;
    while let Ok(text) = timeout(Duration::from_millis(700), window.next()).await {
        more += text.unwrap().len();
    }
    assert!((MOST / 2..=MOST).contains(&more), "{more}");
    window.send(r#"{"type":"ack","bytes":99999999}"#).await;
    window.until("done\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_paste_arrives_whole_while_its_echo_waits_to_be_shown() {
    let (place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.send(r#"{"type":"ack","bytes":0}"#).await;
    // What is pasted comes back, and nobody says that it is shown until all is pasted.
    let command = "stty raw -echo; echo rea''dy; head -c 3145728 | tee pasted; echo do''ne\r";
    window.send(command).await;
    window.until("ready").await;
    let paste = "0123456789abcdef".repeat(4096);
    let (mut sink, mut source) = window.socket.split();
    let pasting = async {
        for _ in 0..48 {
            sink.send(Message::text(paste.as_str())).await.unwrap();
        }
        let all_shown = r#"{"type":"ack","bytes":99999999}"#;
        sink.send(Message::text(all_shown)).await.unwrap();
    };
    let reading = async {
        let mut shown = String::new();
        while !shown.ends_with("done\n") && !shown.contains("done\n\u{1b}") {
            if let Message::Text(text) = source.next().await.unwrap().unwrap() {
                shown += &text;
            }
        }
    };

    timeout(PATIENCE, async { tokio::join!(pasting, reading) })
        .await
        .unwrap();

    let pasted = fs::read_to_string(place.root().join("pasted")).unwrap();
    assert!(pasted == paste.repeat(48), "{}", pasted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_stay_whole_and_bytes_that_are_none_are_marked() {
    let (_place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.run("true").await;

    window
        .send("for i in {1..30000}; do printf 'é€𝄞-'; done; echo; echo do''ne\r")
        .await;
    let shown = window.until("done\r\n").await;

    assert!(!shown.contains('\u{fffd}'));
    assert_eq!(
        shown.matches("é€𝄞-").count(),
        30_001,
        "once as it was typed"
    );
    assert_eq!(
        window.run(r"printf 'a\xff\xe2\x82b'").await,
        "a\u{fffd}\u{fffd}b"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_make_no_sense_are_ignored_and_all_else_is_typed() {
    let (_place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.run("true").await;
    for word in [
        r#"{"type":"resize"}"#,
        r#"{"type":"resize","cols":0,"rows":9}"#,
        r#"{"type":"resize","cols":"80","rows":24}"#,
        r#"{"type":"resize","cols":1e9,"rows":24}"#,
        r#"{"type":"ack","bytes":"many"}"#,
    ] {
        window.send(word).await;
    }
    assert_eq!(window.run("stty size").await, "30 100");
    assert!(!window.shown.contains("type"), "{}", window.shown);

    window.send(r#"echo '{"type":"hello"}' "#).await;
    window
        .socket
        .send(Message::binary(b"bina''ry \r".to_vec()))
        .await
        .unwrap();
    window.until("binary").await;
    window.send(r#"{"type":"hello"}"#).await;
    window.until(r#"{"type":"hello"}"#).await;
    window
        .socket
        .send(Message::Ping(b"x".to_vec().into()))
        .await
        .unwrap();
    let pong = timeout(PATIENCE, window.socket.next()).await.unwrap();
    assert!(matches!(pong, Some(Ok(Message::Pong(_)))), "{pong:?}");

    let large = Message::binary(vec![b'x'; 1024 * 1024 + 1]);
    let _refused_meanwhile = window.socket.send(large).await;
    let (code, _) = window.closed().await;
    assert_ne!(code, 4000);
    let mut window = Window::resume(&server, &token, &window.terminal).await;
    window.send("\x15").await;
    assert_eq!(
        window.run("echo on").await,
        "on",
        "the shell does not suffer"
    );
}

/// Says that the one session proved its second factor so many hours ago.
fn proved(state: &mut Value, hours: u64) {
    let at = i64::try_from(epoch() - hours * 3600).unwrap();
    let at = jiff::Timestamp::from_second(at).unwrap().to_string();
    state["sessions"][0]["second_factor_at"] = at.into();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_of_yesterday_opens_no_terminal() {
    let mut state = with_second_factor(&["ABCD-2345"]);
    let token = add_session(&mut state);
    proved(&mut state, 11);
    let place = Place::with_state(&state);
    let server = serve(&place);
    assert_eq!(refusal(&server, &token, &json!({})).0, 200, "of today");

    place.edit(|state| proved(state, 13));
    let needed = (403, "step_up_required".to_owned());
    assert!(within(PATIENCE, || refusal(&server, &token, &json!({})) == needed));
    let answer = server.post("/api/terminal/ticket", Some(&token), &json!({}));
    assert_eq!(answer.json()["requires_totp"], true);
    assert_eq!(
        refusal(&server, &token, &json!({ "totp_code": " " })),
        needed
    );
    let failed = (403, "reauthentication_failed".to_owned());
    assert_eq!(
        refusal(&server, &token, &json!({ "totp_code": "000000" })),
        failed
    );
    let alone = json!({ "password": PASSWORD });
    assert_eq!(
        refusal(&server, &token, &alone),
        (403, "code_required".to_owned())
    );
    let wrong = json!({ "password": "wrong", "totp_code": totp(0) });
    assert_eq!(refusal(&server, &token, &wrong), failed);
    let log = audit(&place);
    assert!(log.contains("method=code reason=open_terminal"), "{log}");
    assert!(
        log.contains("method=password reason=open_terminal"),
        "{log}"
    );
    assert!(
        log.contains("terminal refused; rhost=127.0.0.1 user=owner session="),
        "{log}"
    );

    let code = totp(0);
    assert_eq!(
        refusal(&server, &token, &json!({ "totp_token": code })).0,
        200
    );
    assert_eq!(
        refusal(&server, &token, &json!({})).0,
        200,
        "it counts for a while"
    );
    place.edit(|state| proved(state, 13));
    assert!(within(PATIENCE, || refusal(&server, &token, &json!({})) == needed));
    let spent = json!({ "totp_code": code });
    assert_eq!(
        refusal(&server, &token, &spent),
        (403, "code_already_used".to_owned())
    );
    let both = json!({ "password": PASSWORD, "totp_code": "abcd2345" });
    assert_eq!(refusal(&server, &token, &both).0, 200);
    assert!(audit(&place).contains("backup code used"));
    assert_eq!(place.state()["backup_codes"][0]["used"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_a_terminals_code_are_limited_like_all_others() {
    let mut state = with_second_factor(&[]);
    let token = add_session(&mut state);
    proved(&mut state, 13);
    let place = Place::with_state(&state);
    let server = serve(&place);
    let wrong = json!({ "totp_code": "000000" });
    for _ in 0..5 {
        assert_eq!(
            refusal(&server, &token, &wrong).1,
            "reauthentication_failed"
        );
    }

    let right = json!({ "totp_code": totp(0) });
    assert_eq!(
        refusal(&server, &token, &right),
        (429, "too_many_attempts".to_owned())
    );
}

/// A server in this process with sockets of its own, so that its clock can be moved and its
/// patience be short.
fn in_process(fixture: Fixture) -> (TestServer, SocketAddr) {
    let server = fixture.start();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let sockets = Sockets::bind(&[address]).unwrap();
    let address = sockets.addresses().unwrap()[0];
    let page = Assets::from_files([("index.html".to_owned(), "page".into())]);
    let app = Arc::clone(&server.app);
    tokio::spawn(async move {
        let page = router(&app, page);
        sockets.run(&app, page, std::future::pending()).await;
    });
    (server, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_in_which_nobody_types_is_locked_until_its_person_confirms() {
    let limit = Some(Duration::from_millis(1500));
    let fixture = Fixture::account().set(|settings| settings.terminal_idle = TerminalIdle(limit));
    let (server, address) = in_process(fixture);
    let owner = server.owner();
    let ask = async |body: Value| owner.post("/api/terminal/ticket", body).await;
    let opened = ask(json!({})).await;
    let mut window = Window::at(address, &opened.body, &[]).await.unwrap();
    window.run("kept=treasure").await;
    sleep(Duration::from_secs(1)).await;
    window.run("true").await;
    let typed = Instant::now();

    assert_eq!(window.closed().await, (4003, "locked".to_owned()));

    assert!(
        typed.elapsed() >= Duration::from_millis(1400),
        "typing puts it off"
    );
    let resume = json!({ "resume": window.terminal });
    let refused = ask(resume.clone()).await;
    assert_eq!(refused.verdict(), (403, "step_up_required"));
    assert!(refused.body["requires_totp"].is_null(), "there is no code");
    let mut wrong = resume.clone();
    wrong["password"] = "wrong".into();
    assert_eq!(ask(wrong).await.verdict(), (403, "reauthentication_failed"));
    let mut right = resume.clone();
    right["password"] = harness::PASSWORD.into();
    let confirmed = ask(right).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    assert_eq!(
        ask(resume).await.verdict(),
        (403, "step_up_required"),
        "a ticket opens no lock"
    );
    let mut window = Window::at(address, &confirmed.body, &[]).await.unwrap();
    assert_eq!(window.run("echo $kept").await, "treasure");
    assert_eq!(server.audited("terminal refused"), 2);
    server.app.terminals.stop();
    server.app.terminals.stopped().await;
    assert_eq!(server.app.terminals.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_terminal_opens_to_a_code_where_there_is_a_second_factor() {
    let (server, address) = in_process(Fixture::second_factor());
    let ask = async |body: Value| server.owner().post("/api/terminal/ticket", body).await;
    let opened = ask(json!({})).await;
    assert_eq!(opened.status, 200, "proved a moment ago");
    let mut window = Window::at(address, &opened.body, &[]).await.unwrap();
    window.run("true").await;

    server.app.terminals.lock(&window.terminal);

    assert_eq!(window.closed().await.0, 4003);
    let resume = json!({ "resume": window.terminal });
    let refused = ask(resume.clone()).await;
    assert_eq!(refused.verdict(), (403, "step_up_required"));
    assert_eq!(refused.body["requires_totp"], true);
    let mut by_password = resume.clone();
    by_password["password"] = harness::PASSWORD.into();
    assert_eq!(ask(by_password).await.verdict(), (403, "code_required"));
    let mut by_code = resume;
    by_code["totp_code"] = server.code(0).into();
    let confirmed = ask(by_code).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    Window::at(address, &confirmed.body, &[])
        .await
        .unwrap()
        .run("true")
        .await;

    server.advance(12 * 3600);
    assert_eq!(
        ask(json!({})).await.verdict(),
        (403, "step_up_required"),
        "twelve hours later"
    );
    server.app.terminals.stop();
    server.app.terminals.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_types_is_not_idle_and_who_is_idle_has_no_terminal() {
    let idle = jiff::SignedDuration::from_mins(10);
    let fixture = Fixture::account().set(|settings| settings.idle = Some(idle));
    let (server, address) = in_process(fixture);
    let opened = server.owner().post("/api/terminal/ticket", json!({})).await;
    server.advance(8 * 60);
    let mut window = Window::at(address, &opened.body, &[]).await.err();
    assert_eq!(
        window.take().unwrap(),
        (401, "ticket_invalid".to_owned()),
        "late"
    );
    let opened = server.owner().post("/api/terminal/ticket", json!({})).await;
    let mut window = Window::at(address, &opened.body, &[]).await.unwrap();
    server.advance(8 * 60);
    window.run("true").await;

    server.advance(8 * 60);
    sleep(Duration::from_millis(900)).await;
    assert_eq!(
        window.run("echo on").await,
        "on",
        "somebody typed eight minutes ago"
    );
    server.advance(3 * 60);

    assert_eq!(window.closed_within(Duration::from_secs(1)).await.0, 4001);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_state_cannot_be_trusted_nobody_has_a_terminal() {
    let (place, server, token) = signed_in();
    let mut window = Window::open(&server, &token).await;
    window.run("kept=treasure").await;
    let good = place.state_text();

    place.write_state("{");

    assert_eq!(
        window.closed_within(Duration::from_secs(3)).await,
        (1013, "not_now".to_owned())
    );
    assert!(server.is_locked());
    place.write_state(&good);
    assert!(within(PATIENCE, || !server.is_locked()));
    let mut window = Window::resume(&server, &token, &window.terminal).await;
    assert_eq!(
        window.run("echo $kept").await,
        "treasure",
        "its work is not lost"
    );
}
