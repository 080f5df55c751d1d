//! A server in process: its own folder, its own clock, no port. *Who asks* is in the variable.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use proxmenux_monitor::access::Access;
use proxmenux_monitor::access::address::Transport;
use proxmenux_monitor::access::digest::Digest;
use proxmenux_monitor::access::jwt::{self, Claims, SigningSecret, TokenType};
use proxmenux_monitor::access::passwords::{Password, PasswordHash};
use proxmenux_monitor::access::sessions::Origin;
use proxmenux_monitor::access::sign_in::{Arrival, Proof, SecondFactor};
use proxmenux_monitor::access::totp;
use proxmenux_monitor::app::App;
use proxmenux_monitor::clock::Clock;
use proxmenux_monitor::config::{AuditTime, Locations, Settings};
use proxmenux_monitor::http::assets::Assets;
use proxmenux_monitor::http::{Peer, router};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tower::ServiceExt as _;

/// When every server's clock starts.
pub(super) const START: &str = "2026-01-02T03:04:05Z";
/// The account.
pub(super) const USER: &str = "owner";
/// Its password.
pub(super) const PASSWORD: &str = "Tr4vel-lightly";
/// Another good password.
pub(super) const OTHER_PASSWORD: &str = "Slow-w4lkers-arrive";
/// What signs tokens.
pub(super) const SECRET: &str = "a signing secret of more than thirty-two characters";
/// The second factor, where there is one.
pub(super) const TOTP_SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
/// The backup codes: two of one salt, and one as the Python program kept them.
pub(super) const BACKUP_CODES: [&str; 3] = ["ABCD-2345", "EFGH-6789", "LMNP-2345"];
/// An address on the private network.
pub(super) const LAN: &str = "192.168.1.20";
/// An address on the internet.
pub(super) const OUTSIDE: &str = "203.0.113.9";
/// What a request calls this host unless it says otherwise.
const HOST: &str = "192.0.2.1:8008";

/// What lies in the state directory when a server starts, and what its owner has decided.
pub(super) struct Fixture {
    document: Value,
    raw: Option<String>,
    settings: Settings,
    added: Vec<(&'static str, Value)>,
}

impl Fixture {
    /// A host that was never set up.
    pub(super) fn empty() -> Self {
        Self {
            document: json!({
                "jwt_secret": SECRET,
                "api_tokens": SCOPES.map(|scope| api_token(scope, Some(scope)).1),
            }),
            raw: None,
            settings: Settings {
                audit_time: AuditTime::Utc,
                ..Settings::default()
            },
            added: Vec::new(),
        }
    }

    /// A host whose owner goes without a password.
    pub(super) fn declined() -> Self {
        Self::empty().with("declined", json!(true))
    }

    /// A host with an account, signed in once.
    pub(super) fn account() -> Self {
        Self::empty()
            .with("enabled", json!(true))
            .with("username", json!(USER))
            .with(
                "password_hash",
                json!(cheap_hash(PASSWORD, b"sixteen bytes...")),
            )
    }

    /// A host with an account and a second factor.
    pub(super) fn second_factor() -> Self {
        second_factor_keys()
            .into_iter()
            .fold(Self::account(), |fixture, (key, value)| {
                fixture.with(key, value)
            })
    }

    /// A host whose state file is this text.
    pub(super) fn raw(text: &str) -> Self {
        Self {
            raw: Some(text.to_owned()),
            ..Self::empty()
        }
    }

    /// Changes a key of the file before the owner signs in.
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.document[key] = value;
        self
    }

    /// Changes a key of the file after the owner has signed in.
    pub(super) fn with_later(mut self, key: &'static str, value: Value) -> Self {
        self.added.push((key, value));
        self
    }

    /// Changes what the owner has decided.
    pub(super) fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Starts a server on it.
    pub(super) fn start(self) -> TestServer {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let locations = Locations {
            state: place("state"),
            data: place("data"),
            settings: place("state/monitor.toml"),
            auth_log: place("auth.log"),
            ssl_config: place("ssl_config.json"),
        };
        let start: Timestamp = START.parse().unwrap();
        let (text, owner) = match self.raw {
            Some(text) => (text, None),
            None => sign_in_beforehand(&self.document, self.added, start),
        };
        fs::create_dir(&locations.state).unwrap();
        write_file(&locations.state.join("auth.json"), text.as_bytes());
        let clock = Clock::standing_at(start);
        let (app, _told) = App::start(&locations, self.settings, clock.clone()).unwrap();
        let app = Arc::new(app);
        TestServer {
            router: router(&app, page()),
            app,
            clock,
            owner,
            locations,
            _dir: dir,
        }
    }
}

/// The keys of an active second factor.
pub(super) fn second_factor_keys() -> [(&'static str, Value); 3] {
    let salt = b"one salt for all";
    let code = |hash: String| json!({ "code": hash, "used": false });
    let codes = json!([
        code(cheap_hash(BACKUP_CODES[0], salt)),
        code(cheap_hash(BACKUP_CODES[1], salt)),
        code(Digest::of(BACKUP_CODES[2].as_bytes()).to_string()),
    ]);
    [
        ("totp_enabled", json!(true)),
        ("totp_secret", json!(TOTP_SECRET)),
        ("backup_codes", codes),
    ]
}

/// What the owner's browser holds after signing in.
#[derive(Clone)]
struct Owner {
    token: String,
    resume: String,
    device: String,
}

/// Signs the owner in by the rules themselves, since a real sign-in costs a real derivation.
fn sign_in_beforehand(
    document: &Value,
    added: Vec<(&str, Value)>,
    start: Timestamp,
) -> (String, Option<Owner>) {
    let mut access = Access::from_json(&document.to_string()).unwrap();
    let account = access.account();
    let Some(hash) = account.map(|account| account.hash.clone()) else {
        return (document.to_string(), None);
    };
    let long_ago = SecondFactor::Step(totp::current_step(start) - 100);
    let proof = Proof {
        username: document["username"].as_str().unwrap().to_owned(),
        hash,
        upgrade: None,
        app: access.second_factor().cloned(),
        second: access.second_factor().map(|_| long_ago),
    };
    let arrival = Arrival {
        origin: Origin {
            address: LAN.parse().unwrap(),
            user_agent: USER_AGENT.to_owned(),
        },
        device: None,
    };
    let signed_in = access.sign_in(&proof, &arrival, start).unwrap();
    let owner = Owner {
        token: signed_in.secrets.token.to_string(),
        resume: signed_in.secrets.resume.to_string(),
        device: signed_in.device.unwrap().to_string(),
    };
    let mut document: Value = serde_json::from_slice(&access.to_json().unwrap()).unwrap();
    for (key, value) in added {
        document[key] = value;
    }
    (document.to_string(), Some(owner))
}

const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A running server.
pub(super) struct TestServer {
    /// The program.
    pub(super) app: Arc<App>,
    /// Its clock, which stands until it is moved.
    pub(super) clock: Clock,
    router: Router,
    owner: Option<Owner>,
    locations: Locations,
    _dir: TempDir,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.app.store.close();
    }
}

impl TestServer {
    /// Starts a server with an account and without a second factor.
    pub(super) fn start() -> Self {
        Fixture::account().start()
    }

    /// Somebody on the internet without any credential.
    pub(super) fn stranger(&self) -> Client {
        Client {
            router: self.router.clone(),
            address: OUTSIDE.parse().unwrap(),
            transport: Transport::Plain,
            headers: HeaderMap::new(),
        }
        .with("host", HOST)
        .with("user-agent", USER_AGENT)
    }

    /// Somebody on the private network without any credential.
    pub(super) fn neighbour(&self) -> Client {
        self.stranger().at(LAN)
    }

    /// Somebody on this host itself.
    pub(super) fn local(&self) -> Client {
        self.stranger().at("127.0.0.1")
    }

    /// The owner with the session that the fixture began, without any cookie.
    pub(super) fn owner(&self) -> Client {
        self.neighbour().bearer(&self.owner.as_ref().unwrap().token)
    }

    /// A browser that has signed in before, without its session.
    pub(super) fn known_device(&self) -> Client {
        let owner = self.owner.as_ref().unwrap();
        self.neighbour()
            .with("cookie", &format!("proxmenux_device={}", owner.device))
    }

    /// The owner's browser after a reload: only the resume cookie.
    pub(super) fn reloaded(&self) -> Client {
        let owner = self.owner.as_ref().unwrap();
        self.neighbour()
            .with("cookie", &format!("proxmenux_session={}", owner.resume))
    }

    /// The owner's session token.
    pub(super) fn session_token(&self) -> String {
        self.owner.as_ref().unwrap().token.clone()
    }

    /// A program on the internet with the fixture's token of this scope.
    pub(super) fn token(&self, scope: &str) -> Client {
        self.stranger().bearer(&api_token(scope, Some(scope)).0)
    }

    /// Moves the clock.
    pub(super) fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// What the authenticator app shows, this many steps from now.
    pub(super) fn code(&self, steps: i64) -> String {
        self.code_of(TOTP_SECRET, steps)
    }

    /// What an app with this secret shows, this many steps from now.
    pub(super) fn code_of(&self, secret: &str, steps: i64) -> String {
        let second = self.clock.now().as_second() + steps * totp::STEP_SECONDS;
        let key = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        let app = totp_rs::Builder::new()
            .with_secret(key)
            .build_noncompliant();
        app.generate(u64::try_from(second).unwrap()).to_string()
    }

    /// The claim code, as the command of that name shows it.
    pub(super) fn claim_code(&self) -> String {
        self.app.claim_code.read().unwrap()
    }

    /// The audit log's lines.
    pub(super) fn audit(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.locations.auth_log).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// How many lines of the audit log hold this text.
    pub(super) fn audited(&self, text: &str) -> usize {
        self.audit()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }

    /// The state file.
    pub(super) fn state(&self) -> Value {
        let text = fs::read(self.file("auth.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// A file of the state directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.locations.state.join(name)
    }

    /// Puts a folder where the audit log was, so that no line can be written any more.
    pub(super) fn break_audit_log(&self) {
        fs::remove_file(&self.locations.auth_log).unwrap();
        fs::create_dir(&self.locations.auth_log).unwrap();
        self.app.audit.reopen();
    }

    /// Forgives everybody.
    pub(super) fn forgive(&self) {
        self.app.limits.lift(None, self.clock.now()).unwrap();
    }

    /// How many keys `work` derived.
    pub(super) async fn derivations_of<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.app.derivations.count();
        let outcome = work.await;
        (outcome, self.app.derivations.count() - before)
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub(super) struct Client {
    router: Router,
    address: IpAddr,
    transport: Transport,
    headers: HeaderMap,
}

impl Client {
    /// The same, from another address.
    pub(super) fn at(mut self, address: &str) -> Self {
        self.address = address.parse().unwrap();
        self
    }

    /// The same over TLS that ends here.
    pub(super) fn over_tls(mut self) -> Self {
        self.transport = Transport::Tls;
        self
    }

    /// The same with one header more, or another value of it.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// The same with one line more of a header.
    pub(super) fn with_another(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, value.parse().unwrap());
        self
    }

    /// What the client sends in a header.
    pub(super) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    /// The same with a token.
    pub(super) fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// Asks with any method, body and type.
    pub(super) async fn send(&self, method: &str, path: &str, body: Sent) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(kind) = body.kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let mut request = request.body(Body::from(body.bytes)).unwrap();
        request.headers_mut().extend(self.headers.clone());
        request.extensions_mut().insert(Peer {
            address: self.address,
            announced: false,
            transport: self.transport,
        });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
        }
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Sent::nothing()).await
    }

    /// Posts JSON.
    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Sent::json(&body.to_string())).await
    }

    /// Puts JSON.
    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Sent::json(&body.to_string())).await
    }

    /// Deletes.
    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, Sent::nothing()).await
    }

    /// Signs in with a name and a password.
    pub(super) async fn login(&self, username: &str, password: &str) -> Answer {
        let body = json!({ "username": username, "password": password });
        self.post("/api/auth/login", body).await
    }

    /// Signs the account in with this code.
    pub(super) async fn login_with(&self, code: &str) -> Answer {
        let body = json!({ "username": USER, "password": PASSWORD, "totp_token": code });
        self.post("/api/auth/login", body).await
    }

    /// Fails to sign in this many times, each of which must be counted.
    pub(super) async fn fail(&self, times: usize) {
        for _ in 0..times {
            let answer = self.login(USER, "wrong").await;
            assert_eq!((answer.status, answer.code()), (401, "invalid_credentials"));
        }
    }
}

/// A body and its type.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    bytes: Vec<u8>,
    kind: Option<String>,
}

impl Sent {
    /// No body and no type.
    pub(super) fn nothing() -> Self {
        Self {
            bytes: Vec::new(),
            kind: None,
        }
    }

    /// A text that says that it is JSON.
    pub(super) fn json(text: &str) -> Self {
        Self::of("application/json", text.as_bytes())
    }

    /// Bytes that say what they are.
    pub(super) fn of(kind: &str, bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            kind: Some(kind.to_owned()),
        }
    }

    /// A form with one file, `file`.
    pub(super) fn form(kind: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nignored\r\n--edge\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"me\"\r\nContent-Type: {kind}\r\n\r\n"
        );
        let body = [head.as_bytes(), bytes, b"\r\n--edge--\r\n"].concat();
        Self::of("multipart/form-data; boundary=edge", &body)
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body, if it is JSON.
    pub(super) body: Value,
    /// The body.
    pub(super) bytes: Bytes,
}

impl Answer {
    /// The code by which programs tell failures apart.
    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The token, if there is one.
    pub(super) fn token(&self) -> Option<&str> {
        self.body["token"].as_str()
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The cookies that are set, whole.
    pub(super) fn cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    /// `name=value` of a cookie that is set, as a browser sends it back.
    pub(super) fn cookie(&self, name: &str) -> String {
        let start = format!("{name}=");
        let cookies = self.cookies();
        let cookie = cookies.iter().find(|cookie| cookie.starts_with(&start));
        cookie.unwrap().split(';').next().unwrap().to_owned()
    }

    /// Status and code, for tables.
    pub(super) fn verdict(&self) -> (u16, &str) {
        (self.status, self.code())
    }
}

/// The scopes, each with a token in every fixture.
pub(super) const SCOPES: [&str; 4] = ["metrics", "read_only", "operator", "full_admin"];

/// Makes an API token as we issue them, and its entry in the list.
pub(super) fn api_token(name: &str, scope: Option<&str>) -> (String, Value) {
    let issued: Timestamp = START.parse().unwrap();
    let issued = issued.as_second();
    let mut claims = Claims::issued(
        TokenType::Api,
        format!("jti of {name}"),
        issued,
        issued + 365 * 86_400,
    );
    claims.token_name = Some(name.to_owned());
    claims.scope = scope.map(str::to_owned);
    let token = jwt::sign(&claims, &SigningSecret::parse(SECRET).unwrap()).unwrap();
    let mut entry = listed(&token, name);
    if let Some(scope) = scope {
        entry["scope"] = json!(scope);
    }
    (token.to_string(), entry)
}

/// The entry of a token in the list, as short as the Python program's.
pub(super) fn listed(token: &str, name: &str) -> Value {
    json!({
        "id": Digest::of(token.as_bytes()).short(),
        "name": name,
        "token_hash": Digest::of(token.as_bytes()).to_string(),
        "token_prefix": "…",
        "created_at": START,
        "expires_at": "2027-01-02T03:04:05Z",
    })
}

/// Signs any header and body, as PyJWT or somebody who knows the secret could.
pub(super) fn forge(header: &str, body: &str, secret: &str) -> String {
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let signed = format!("{}.{}", encode(header), encode(body));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let mac = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&mac))
}

/// Hashes with one iteration (RFC 8018 §5.2: one block of one round) and a given salt.
pub(super) fn cheap_hash(text: &str, salt: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(text.as_bytes()).unwrap();
    let key = mac.chain_update(salt).chain_update(1_u32.to_be_bytes());
    let key = key.finalize().into_bytes();
    format!(
        "pbkdf2_sha256$1${}${}",
        BASE64.encode(salt),
        BASE64.encode(&key)
    )
}

/// Writes a test's own file.
pub(super) fn write_file(path: &std::path::Path, bytes: &[u8]) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn page() -> Assets {
    let file = |name: &str, text: &'static str| (name.to_owned(), Bytes::from(text));
    Assets::from_files([
        file("index.html", "<!doctype html><title>page</title>"),
        file("assets/app-1a2b.js", "page();"),
        file("mark.svg", "<svg/>"),
    ])
}

#[test]
fn the_cheap_hash_is_what_the_product_reads() {
    let cheap = PasswordHash::parse(&cheap_hash(PASSWORD, b"salt")).unwrap();
    let ours = PasswordHash::create_with(&Password::new(PASSWORD.to_owned()), 1).unwrap();

    for hash in [cheap, ours] {
        assert!(hash.verify(&Password::new(PASSWORD.to_owned())).matches);
        assert!(!hash.verify(&Password::new("wrong".to_owned())).matches);
    }
}
