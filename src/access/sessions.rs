//! Sessions: how a signed-in person is known again, for how long, and what ends it.
//!
//! A session is a record in the state; its token is a JWT made from the record alone, so the
//! resume cookie gives back the very same token. A token counts only while its record lives.

use std::fmt;
use std::net::IpAddr;

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::digest::Digest;
use super::jwt::{self, Claims, ForeignToken, SigningSecret, TokenType};
use super::random::{self, RandomError};

/// How long a session lasts.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// How many sessions live at once; the longest idle one makes room.
pub const MAX_SESSIONS: usize = 200;
/// How many devices are known at once; the longest unused one makes room.
pub const MAX_DEVICES: usize = 20;
/// How long a device is known after it was last used.
pub const DEVICE_LIFETIME: SignedDuration = SignedDuration::from_hours(180 * 24);

const MAX_USER_AGENT: usize = 256;

/// How a person proved who they are (names of RFC 8176 where it has one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// The password.
    Pwd,
    /// A code from an authenticator app.
    Otp,
    /// A backup code.
    Recovery,
    /// A passkey.
    Passkey,
}

impl Factor {
    fn name(self) -> &'static str {
        match self {
            Self::Pwd => "pwd",
            Self::Otp => "otp",
            Self::Recovery => "recovery",
            Self::Passkey => "passkey",
        }
    }
}

/// One session as the state file keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The name by which it is listed and ended.
    pub id: String,
    /// The token's own name.
    pub jti: String,
    /// The SHA-256 of the token.
    pub token_hash: Digest,
    /// The SHA-256 of the resume cookie's secret.
    pub resume_hash: Digest,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// When it was last used.
    pub last_seen_at: Timestamp,
    /// From where the person signed in.
    pub first_address: IpAddr,
    /// From where it was last used.
    pub last_address: IpAddr,
    /// What the browser called itself.
    pub user_agent: String,
    /// What was proved.
    pub factors: Vec<Factor>,
    /// When a second factor was last proved in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor_at: Option<Timestamp>,
    /// What a later version keeps here.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Who a request with a live session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The session's id in the list.
    pub id: String,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When a second factor was last proved in it.
    pub second_factor_at: Option<Timestamp>,
}

/// Why a token that says it is a session's does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// The session was ended or never existed.
    #[error("the session has ended")]
    Ended,
    /// Its time is over.
    #[error("the session has expired")]
    Expired,
    /// It was not used for longer than the owner allows.
    #[error("the session was idle for too long")]
    Idle,
    /// The token names another account.
    #[error("the session is another account's")]
    OtherAccount,
}

/// From where and with what a person signs in.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub user_agent: String,
}

/// The secrets of a new session, for its person alone.
pub struct SessionSecrets {
    /// The session's id, which is no secret.
    pub id: String,
    /// The session token.
    pub token: Zeroizing<String>,
    /// The value of the resume cookie.
    pub resume: Zeroizing<String>,
}

impl fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecrets(..)")
    }
}

/// A session could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartSessionError {
    /// The kernel gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Unsigned,
}

impl From<ForeignToken> for StartSessionError {
    fn from(ForeignToken: ForeignToken) -> Self {
        Self::Unsigned
    }
}

impl Session {
    /// Makes a session for `username` and the secrets that go with it.
    pub fn start(
        username: &str,
        factors: Vec<Factor>,
        origin: &Origin,
        secret: &SigningSecret,
        now: Timestamp,
    ) -> Result<(Self, SessionSecrets), StartSessionError> {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let resume = random::base64url::<32>()?;
        let second = factors.iter().any(|factor| *factor != Factor::Pwd);
        let mut session = Self {
            id: random::hex::<8>()?,
            jti: random::base64url::<24>()?.to_string(),
            token_hash: Digest::of(b""),
            resume_hash: Digest::of(resume.as_bytes()),
            created_at: now,
            expires_at: now + LIFETIME,
            last_seen_at: now,
            first_address: origin.address,
            last_address: origin.address,
            user_agent: shorten(&origin.user_agent),
            factors,
            second_factor_at: second.then_some(now),
            other: serde_json::Map::new(),
        };
        let token = session.token(username, secret)?;
        session.token_hash = Digest::of(token.as_bytes());
        let id = session.id.clone();
        Ok((session, SessionSecrets { id, token, resume }))
    }

    /// Returns the session's token, made from the record: the same one each time.
    pub fn token(
        &self,
        username: &str,
        secret: &SigningSecret,
    ) -> Result<Zeroizing<String>, ForeignToken> {
        let mut claims = Claims::issued(
            TokenType::Session,
            self.jti.clone(),
            self.created_at.as_second(),
            self.expires_at.as_second(),
        );
        claims.username = Some(username.to_owned());
        let names = self.factors.iter().map(|factor| factor.name().to_owned());
        claims.amr = Some(names.collect());
        jwt::sign(&claims, secret)
    }
}

fn shorten(user_agent: &str) -> String {
    let printable = user_agent.chars().filter(|c| !c.is_control());
    printable.take(MAX_USER_AGENT).collect()
}

/// The live sessions, found by the token's own name.
#[derive(Clone, Debug, Default)]
pub struct Sessions(IndexMap<String, Session>);

impl Sessions {
    /// Returns the sessions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.0.values()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the session with this id.
    pub fn find(&self, id: &str) -> Option<&Session> {
        self.iter().find(|session| session.id == id)
    }

    /// Returns the live session whose resume cookie has this digest.
    pub fn find_by_resume(&self, hash: &Digest) -> Option<&Session> {
        self.iter().find(|session| session.resume_hash == *hash)
    }

    /// Adds a session and returns the ones that had to make room.
    pub fn insert(&mut self, session: Session) -> Vec<Session> {
        let mut ended = Vec::new();
        while self.0.len() >= MAX_SESSIONS {
            let Some(idlest) = self.iter().min_by_key(|session| session.last_seen_at) else {
                break;
            };
            let jti = idlest.jti.clone();
            ended.extend(self.0.shift_remove(&jti));
        }
        self.0.insert(session.jti.clone(), session);
        ended
    }

    /// Removes the sessions that `ends` picks and returns them.
    pub fn remove_where(&mut self, ends: impl Fn(&Session) -> bool) -> Vec<Session> {
        let (ended, live) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_jti, session)| ends(session));
        self.0 = live;
        let ended: IndexMap<String, Session> = ended;
        ended.into_values().collect()
    }

    /// Notes when and from where a session was last used.
    pub fn note_use(&mut self, id: &str, at: Timestamp, from: IpAddr) {
        if let Some(session) = self.0.values_mut().find(|session| session.id == id)
            && session.last_seen_at < at
        {
            session.last_seen_at = at;
            session.last_address = from;
        }
    }

    /// Notes that a session proved a second factor.
    pub fn note_second_factor(&mut self, id: &str, at: Timestamp) {
        if let Some(session) = self.0.values_mut().find(|session| session.id == id) {
            session.second_factor_at = Some(at);
        }
    }

    /// Decides whether the session of these verified claims is live.
    pub fn identify(
        &self,
        hash: &Digest,
        claims: &Claims,
        username: Option<&str>,
        now: Timestamp,
    ) -> Result<SessionIdentity, SessionRefusal> {
        let session = claims
            .jti
            .as_deref()
            .and_then(|jti| self.0.get(jti))
            .filter(|session| session.token_hash == *hash)
            .ok_or(SessionRefusal::Ended)?;
        if !claims.is_current(now.as_second()) || session.expires_at <= now {
            return Err(SessionRefusal::Expired);
        }
        if username.is_none() || claims.username.as_deref() != username {
            return Err(SessionRefusal::OtherAccount);
        }
        Ok(SessionIdentity {
            id: session.id.clone(),
            created_at: session.created_at,
            second_factor_at: session.second_factor_at,
        })
    }
}

impl FromIterator<Session> for Sessions {
    fn from_iter<I: IntoIterator<Item = Session>>(sessions: I) -> Self {
        let by_jti = |session: Session| (session.jti.clone(), session);
        Self(sessions.into_iter().map(by_jti).collect())
    }
}

impl Serialize for Sessions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.values())
    }
}

/// A device that has signed in with the right password and factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownDevice {
    /// The SHA-256 of the device cookie's secret.
    pub hash: Digest,
    /// What it calls itself, for people.
    pub name: String,
    /// When it first signed in.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub last_used_at: Timestamp,
    /// What a later version keeps here.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl KnownDevice {
    /// Returns whether the device is still known at `now`.
    pub fn is_known(&self, now: Timestamp) -> bool {
        now.duration_since(self.last_used_at) < DEVICE_LIFETIME
    }
}

/// Names a device after what its browser calls itself: `Firefox on Linux`.
pub fn device_name(user_agent: &str) -> String {
    const BROWSERS: &[(&str, &str)] = &[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("Wget/", "Wget"),
        ("python", "Python"),
    ];
    const SYSTEMS: &[(&str, &str)] = &[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| {
        let known = names.iter().find(|(mark, _)| user_agent.contains(mark));
        known.map(|(_, name)| *name)
    };
    match (named(BROWSERS), named(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(system)) => system.to_owned(),
        (None, None) => "Unknown device".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn secret() -> SigningSecret {
        SigningSecret::parse("a secret of at least thirty-two characters").unwrap()
    }

    fn start(now: i64) -> (Session, SessionSecrets) {
        let origin = Origin {
            address: "192.0.2.9".parse().unwrap(),
            user_agent: "curl/8\n".to_owned(),
        };
        Session::start("owner", vec![Factor::Pwd], &origin, &secret(), at(now)).unwrap()
    }

    fn identify(
        sessions: &Sessions,
        token: &str,
        username: &str,
        now: i64,
    ) -> Result<String, SessionRefusal> {
        let claims = jwt::verify(token, &secret()).unwrap();
        let hash = Digest::of(token.as_bytes());
        sessions
            .identify(&hash, &claims, Some(username), at(now))
            .map(|identity| identity.id)
    }

    #[test]
    fn a_session_lives_for_a_day_under_its_own_name() {
        let (session, secrets) = start(1000);
        let sessions = Sessions::from_iter([session.clone()]);
        let end = 1000 + 24 * 3600;

        assert_eq!(
            identify(&sessions, &secrets.token, "owner", 1000),
            Ok(session.id)
        );
        assert!(identify(&sessions, &secrets.token, "owner", end - 1).is_ok());
        assert_eq!(
            identify(&sessions, &secrets.token, "owner", end),
            Err(SessionRefusal::Expired)
        );
        assert_eq!(
            identify(&sessions, &secrets.token, "other", 1000),
            Err(SessionRefusal::OtherAccount)
        );
    }

    #[test]
    fn the_record_gives_the_same_token_again() {
        let (session, secrets) = start(1000);

        let again = session.token("owner", &secret()).unwrap();

        assert_eq!(again, secrets.token);
        assert_eq!(session.resume_hash, Digest::of(secrets.resume.as_bytes()));
    }

    #[test]
    fn an_ended_session_and_a_twin_with_its_name_do_not_count() {
        let (session, secrets) = start(1000);
        let mut sessions = Sessions::from_iter([session.clone()]);
        let mut twin = jwt::verify(&secrets.token, &secret()).unwrap();
        twin.exp += 1;
        let twin = jwt::sign(&twin, &secret()).unwrap();
        assert_eq!(
            identify(&sessions, &twin, "owner", 1000),
            Err(SessionRefusal::Ended)
        );

        let ended = sessions.remove_where(|each| each.id == session.id);

        assert_eq!(ended.len(), 1);
        assert_eq!(
            identify(&sessions, &secrets.token, "owner", 1000),
            Err(SessionRefusal::Ended)
        );
    }

    #[test]
    fn the_longest_idle_session_makes_room() {
        let mut sessions = Sessions::default();
        let mut first = None;
        for second in 0..i64::try_from(MAX_SESSIONS).unwrap() {
            let (session, _) = start(1000 + second);
            first.get_or_insert(session.id.clone());
            assert!(sessions.insert(session).is_empty());
        }
        let first = first.unwrap();
        sessions.note_use(&first, at(9000), "192.0.2.10".parse().unwrap());

        let ended = sessions.insert(start(5000).0);

        assert_eq!(sessions.len(), MAX_SESSIONS);
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].created_at, at(1001), "the first was used since");
        assert_eq!(
            sessions.find(&first).unwrap().last_address.to_string(),
            "192.0.2.10"
        );
    }

    #[test]
    fn devices_are_named_for_people() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0",
                "Edge on Windows",
            ),
            ("curl/8.5.0", "curl"),
            ("", "Unknown device"),
        ] {
            assert_eq!(device_name(agent), name);
        }
    }
}
