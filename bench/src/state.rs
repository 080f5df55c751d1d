//! State directories of any size, and the tokens that open them.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use proxmenux_monitor::access::Access;
use proxmenux_monitor::access::digest::Digest;
use proxmenux_monitor::access::jwt::SigningSecret;
use proxmenux_monitor::access::label::Label;
use proxmenux_monitor::access::passwords::{Password, PasswordHash};
use proxmenux_monitor::access::random;
use proxmenux_monitor::access::rights::Scope;
use proxmenux_monitor::access::sessions::{Factor, Origin, Session};
use proxmenux_monitor::access::tokens::ApiToken;
use proxmenux_monitor::access::tokens::lifecycle::{Days, TerminalRight, TokenWish};
use serde::{Serialize, Serializer};
use serde_json::json;
use tempfile::TempDir;

/// The one user's name.
pub(crate) const USER: &str = "owner";
const PASSWORD: &str = "correct horse battery staple";
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// How large a state is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Revoked tokens.
    pub(crate) revocations: u32,
    /// API tokens.
    pub(crate) api_tokens: u32,
    /// Sessions.
    pub(crate) sessions: u32,
    /// Iterations of the password's hash.
    pub(crate) iterations: u32,
}

impl Shape {
    /// One session, one API token, nothing revoked, and a password that costs nothing.
    pub(crate) const SMALL: Self = Self {
        revocations: 0,
        api_tokens: 1,
        sessions: 1,
        iterations: 1,
    };
}

/// A state directory with everything that a server writes; gone when dropped.
pub(crate) struct Home {
    directory: TempDir,
    /// The tokens of all sessions.
    pub(crate) sessions: Vec<String>,
    /// All API tokens.
    pub(crate) api_tokens: Vec<String>,
}

impl Home {
    /// Writes a state as a server would have left it.
    pub(crate) fn create(shape: Shape) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let now = Timestamp::now();
        let secret = SigningSecret::generate()?;
        let sessions = signed(shape.sessions, || new_session(&secret, now))?;
        let api_tokens = signed(shape.api_tokens, || new_api_token(&secret, now))?;
        let password = Password::new(PASSWORD.to_owned());
        let document = Document {
            enabled: true,
            declined: false,
            configured: true,
            username: USER,
            password_hash: PasswordHash::create_with(&password, shape.iterations)?,
            jwt_secret: secret.expose(),
            api_tokens: &api_tokens.records,
            revoked_tokens: Revoked(shape.revocations),
            revoked_until: RevokedUntil(shape.revocations, now + TOKEN_LIFETIME),
            sessions: &sessions.records,
            version: 2,
        };
        let home = Self {
            directory,
            sessions: sessions.tokens,
            api_tokens: api_tokens.tokens,
        };
        let mut private = DirBuilder::new();
        private.mode(0o700).create(home.state())?;
        private.create(home.data())?;
        write(&home.state().join("auth.json"), &document)?;
        Ok(home)
    }

    /// Returns the directory of the state.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Returns the directory of what a server keeps for itself.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Returns the file of the TLS setting.
    pub(crate) fn tls_setting(&self) -> PathBuf {
        self.path("ssl_config.json")
    }

    /// Returns the place of another file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn write(path: &Path, document: &Document<'_>) -> anyhow::Result<()> {
    let mut private = OpenOptions::new();
    private.write(true).create_new(true).mode(0o600);
    let mut file = BufWriter::new(private.open(path)?);
    serde_json::to_writer_pretty(&mut file, document)?;
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(())
}

/// The keys of the state file that matter here.
#[derive(Serialize)]
struct Document<'a> {
    enabled: bool,
    declined: bool,
    configured: bool,
    username: &'a str,
    password_hash: PasswordHash,
    jwt_secret: &'a str,
    api_tokens: &'a [ApiToken],
    revoked_tokens: Revoked,
    revoked_until: RevokedUntil,
    sessions: &'a [Session],
    version: u32,
}

/// Digests of tokens that nobody holds.
fn revoked(count: u32) -> impl Iterator<Item = Digest> {
    (0..count).map(|number| Digest::of(&number.to_le_bytes()))
}

struct Revoked(u32);

impl Serialize for Revoked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(revoked(self.0))
    }
}

struct RevokedUntil(u32, Timestamp);

impl Serialize for RevokedUntil {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(revoked(self.0).map(|digest| (digest, self.1)))
    }
}

/// Records of the state file, each with its token.
struct Signed<T> {
    records: Vec<T>,
    tokens: Vec<String>,
}

fn signed<T>(
    count: u32,
    mut make: impl FnMut() -> anyhow::Result<(T, String)>,
) -> anyhow::Result<Signed<T>> {
    let mut all = Signed {
        records: Vec::new(),
        tokens: Vec::new(),
    };
    for _ in 0..count {
        let (record, token) = make()?;
        all.records.push(record);
        all.tokens.push(token);
    }
    Ok(all)
}

fn new_session(secret: &SigningSecret, now: Timestamp) -> anyhow::Result<(Session, String)> {
    let origin = Origin {
        address: [127, 0, 0, 1].into(),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
            .to_owned(),
    };
    let (session, secrets) = Session::start(USER, vec![Factor::Pwd], &origin, secret, now)?;
    Ok((session, secrets.token.to_string()))
}

fn new_api_token(secret: &SigningSecret, now: Timestamp) -> anyhow::Result<(ApiToken, String)> {
    let state = json!({ "username": USER, "jwt_secret": secret.expose() });
    let mut access = Access::from_json(&state.to_string())?;
    let wish = TokenWish {
        name: Label::parse(&format!("sensor {}", random::hex::<4>()?))?,
        scope: Scope::FullAdmin,
        days: Days::default(),
        networks: Vec::new(),
        terminal: TerminalRight::Withheld,
    };
    let issued = access.issue_token_from_host(wish, now)?;
    let record = access.api_tokens().find_by_id(&issued.id);
    let record = record.context("an issued token is not listed")?;
    Ok((record.clone(), issued.token.to_string()))
}
