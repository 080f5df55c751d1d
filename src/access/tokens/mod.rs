//! API tokens: which ones count, for what and from where.
//!
//! | to learn                                | read            |
//! |-----------------------------------------|-----------------|
//! | whether a token counts                  | [`ApiTokens`]   |
//! | how one is made, replaced and revoked   | [`lifecycle`]   |
//! | what an entry of the list is worth      | [`Standing`]    |
//! | which tokens never count again          | [`Revocations`] |

pub mod lifecycle;
mod revocations;
mod standing;

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

pub use revocations::Revocations;
pub use standing::{Invalidation, Standing};

use super::digest::Digest;
use super::jwt::Claims;
use super::rfc3339;
use super::rights::Scope;

/// One API token as the state file knows it: never the token, only its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiToken {
    /// The first sixteen hex digits of `token_hash`; the Python program's entries hold their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the owner called it.
    #[serde(default)]
    pub name: Option<Shown>,
    /// The SHA-256 of the token.
    pub token_hash: Digest,
    /// `…` and the token's last four characters.
    #[serde(default)]
    pub token_prefix: Option<Shown>,
    /// When it was made, as the file has it.
    #[serde(default)]
    pub created_at: Option<Shown>,
    /// When it ends, as the file has it; the signed claim decides.
    #[serde(default)]
    pub expires_at: Option<Shown>,
    /// The fingerprint of the secret that signed it; absent in old entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_with: Option<String>,
    /// A copy of the scope for the list; the lesser of this and the signed claim holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// From where it may be used; empty or absent is everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_networks: Option<Vec<String>>,
    /// Whether it may open a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<bool>,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Shown>,
    /// From where it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_from: Option<Shown>,
    /// When a successor was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// When it ends because a successor was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The id of its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// The last threshold, in days before its end, at which the owner was reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded_days: Option<i64>,
    /// What a later version or another program keeps here.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Something that decides nothing and is only shown: a text, or whatever else the file has there,
/// written back as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shown(serde_json::Value);

impl Shown {
    /// Returns the text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl ApiToken {
    /// Returns the name by which the list and the commands know this token.
    pub fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.token_hash.short())
    }

    fn is_called(&self, id: &str) -> bool {
        match &self.id {
            Some(own) => own == id,
            None => self.token_hash.short() == id,
        }
    }

    /// Returns what the owner called it; empty if nothing.
    pub fn name(&self) -> &str {
        self.name
            .as_ref()
            .and_then(Shown::as_str)
            .unwrap_or_default()
    }

    /// Returns whether `address` is one that this token may be used from.
    ///
    /// A network that cannot be read allows nobody.
    fn allows(&self, address: IpAddr) -> bool {
        let networks = self.allowed_networks.as_deref().unwrap_or_default();
        let contains = |text: &String| {
            let network = lifecycle::parse_network(text);
            network.is_some_and(|network| network.contains(&address))
        };
        networks.is_empty() || networks.iter().any(contains)
    }
}

/// Who a request with a valid API token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    /// The token's id in the list.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How far it reaches.
    pub scope: Scope,
    /// Whether it may open a terminal.
    pub terminal: bool,
}

impl TokenIdentity {
    /// Returns its name as the log has it: in a form that is no person's.
    pub fn shown_user(&self) -> String {
        format!("{}@api", self.name)
    }
}

/// Why a token that we signed does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is not in the list: never issued by this state, or deleted from it.
    #[error("the token was never issued")]
    Unknown,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// Its time is over, or has not begun.
    #[error("the token is expired")]
    Expired,
    /// Another took its place, and its time beside that one is over.
    #[error("the token was replaced")]
    Rotated,
    /// Its scope is none that we know.
    #[error("the token's scope is unknown")]
    UnknownScope,
    /// It may not be used from this address.
    #[error("the token may not be used from this address")]
    WrongNetwork,
}

/// What is learnt when a token is used.
#[derive(Clone, Copy, Debug)]
pub struct TokenUse<'a> {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: IpAddr,
    /// How far it reached.
    pub scope: Option<Scope>,
    /// The fingerprint of the secret that its MAC was checked with.
    pub signed_with: Option<&'a str>,
}

/// The API tokens, in the order of the file, found by digest.
#[derive(Clone, Debug, Default)]
pub struct ApiTokens {
    list: Vec<ApiToken>,
    by_hash: HashMap<Digest, usize>,
}

impl ApiTokens {
    /// Returns the tokens in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &ApiToken> {
        self.list.iter()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the token with this digest.
    pub fn find(&self, hash: &Digest) -> Option<&ApiToken> {
        self.list.get(*self.by_hash.get(hash)?)
    }

    /// Returns the token that the list and the commands know by this id.
    pub fn find_by_id(&self, id: &str) -> Option<&ApiToken> {
        self.iter().find(|token| token.is_called(id))
    }

    /// Takes over which tokens were replaced in `other`, and when they end.
    pub(super) fn keep_ends(&mut self, other: &Self) {
        for ended in other.iter().filter(|token| token.ends_at.is_some()) {
            if let Some(token) = self.find_mut(&ended.token_hash)
                && (token.ends_at.is_none() || ended.ends_at < token.ends_at)
            {
                token.ends_at = ended.ends_at;
                token.rotated_at = ended.rotated_at;
                token.replaced_by.clone_from(&ended.replaced_by);
            }
        }
    }

    /// Returns how many were replaced.
    pub(super) fn replaced(&self) -> usize {
        let replaced = self.iter().filter(|token| token.ends_at.is_some());
        replaced.count()
    }

    fn find_mut(&mut self, hash: &Digest) -> Option<&mut ApiToken> {
        self.list.get_mut(*self.by_hash.get(hash)?)
    }

    fn push(&mut self, token: ApiToken) {
        self.by_hash
            .entry(token.token_hash)
            .or_insert(self.list.len());
        self.list.push(token);
    }

    /// Notes that the token with this digest was used, and what an old entry did not know: how far
    /// it reaches, and that the secret with this fingerprint signed it.
    pub fn note_use(&mut self, hash: &Digest, seen: TokenUse<'_>) {
        let Some(token) = self.find_mut(hash) else {
            return;
        };
        token.last_used_at = Some(rfc3339(seen.at).into());
        token.last_used_from = Some(seen.from.to_string().into());
        // The lesser of claim and copy, so that the copy never promises more than the claim.
        if let Some(scope) = seen.scope {
            token.scope = Some(scope.name().to_owned());
        }
        if token.signed_with.is_none() {
            token.signed_with = seen.signed_with.map(str::to_owned);
        }
    }

    /// Decides whether the token with this digest and these verified claims counts.
    pub fn identify(
        &self,
        hash: &Digest,
        claims: &Claims,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<TokenIdentity, TokenRefusal> {
        let token = self.find(hash).ok_or(TokenRefusal::Unknown)?;
        if !claims.is_current(now.as_second()) {
            return Err(TokenRefusal::Expired);
        }
        if token.ends_at.is_some_and(|end| end <= now) {
            return Err(TokenRefusal::Rotated);
        }
        if !token.allows(address) {
            return Err(TokenRefusal::WrongNetwork);
        }
        let scope = effective_scope(claims, token).ok_or(TokenRefusal::UnknownScope)?;
        let terminal = claims.terminal == Some(true) && token.terminal == Some(true);
        Ok(TokenIdentity {
            id: token.id(),
            name: token.name().to_owned(),
            scope,
            terminal: terminal && scope == Scope::FullAdmin,
        })
    }
}

/// The signed claim decides, and a token that claims nothing has full rights; where the list
/// holds a scope too, the lesser of both. A name that we do not know gives nothing, except the
/// list's `unknown`, which says only that nobody has looked.
fn effective_scope(claims: &Claims, token: &ApiToken) -> Option<Scope> {
    let claimed = match &claims.scope {
        Some(name) => Scope::parse(name)?,
        None => Scope::FullAdmin,
    };
    match token.scope.as_deref() {
        None | Some("unknown") => Some(claimed),
        Some(name) => Some(claimed.min(Scope::parse(name)?)),
    }
}

impl FromIterator<ApiToken> for ApiTokens {
    fn from_iter<I: IntoIterator<Item = ApiToken>>(tokens: I) -> Self {
        let list = Vec::from_iter(tokens);
        let mut by_hash = HashMap::with_capacity(list.len());
        for (index, token) in list.iter().enumerate() {
            by_hash.entry(token.token_hash).or_insert(index);
        }
        Self { list, by_hash }
    }
}

impl Serialize for ApiTokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::jwt::TokenType;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(json: &str) -> ApiTokens {
        let mut token: serde_json::Value = serde_json::from_str(json).unwrap();
        token["token_hash"] = Digest::of(b"token").to_string().into();
        ApiTokens::from_iter([serde_json::from_value(token).unwrap()])
    }

    fn claims(scope: Option<&str>) -> Claims {
        let mut claims = Claims::issued(TokenType::Api, "id".to_owned(), 0, 1000);
        claims.scope = scope.map(str::to_owned);
        claims
    }

    fn identify(tokens: &ApiTokens, claims: &Claims) -> Result<Scope, TokenRefusal> {
        let address = "192.0.2.9".parse().unwrap();
        tokens
            .identify(&Digest::of(b"token"), claims, address, at(10))
            .map(|identity| identity.scope)
    }

    #[test]
    fn the_lesser_of_claim_and_record_holds() {
        for (claimed, recorded, holds) in [
            (None, "{}", Ok(Scope::FullAdmin)),
            (Some("read_only"), "{}", Ok(Scope::ReadOnly)),
            (
                Some("read_only"),
                r#"{"scope":"full_admin"}"#,
                Ok(Scope::ReadOnly),
            ),
            (
                Some("full_admin"),
                r#"{"scope":"metrics"}"#,
                Ok(Scope::Metrics),
            ),
            (None, r#"{"scope":"unknown"}"#, Ok(Scope::FullAdmin)),
            (Some("root"), "{}", Err(TokenRefusal::UnknownScope)),
            (None, r#"{"scope":"root"}"#, Err(TokenRefusal::UnknownScope)),
        ] {
            assert_eq!(
                identify(&token(recorded), &claims(claimed)),
                holds,
                "{claimed:?} {recorded}"
            );
        }
    }

    #[test]
    fn a_token_ends_on_its_second_and_outside_its_networks() {
        let tokens = token("{}");
        let hash = Digest::of(b"token");
        let address = "192.0.2.9".parse().unwrap();
        assert!(
            tokens
                .identify(&hash, &claims(None), address, at(999))
                .is_ok()
        );
        assert_eq!(
            tokens.identify(&hash, &claims(None), address, at(1000)),
            Err(TokenRefusal::Expired)
        );

        for (networks, allowed) in [
            (r#"{"allowed_networks":["192.0.2.0/24"]}"#, true),
            (r#"{"allowed_networks":["192.0.2.9"]}"#, true),
            (r#"{"allowed_networks":["198.51.100.0/24"]}"#, false),
            (r#"{"allowed_networks":["nonsense"]}"#, false),
            (r#"{"allowed_networks":[]}"#, true),
            (r#"{"allowed_networks":null}"#, true),
        ] {
            assert_eq!(
                identify(&token(networks), &claims(None)).is_ok(),
                allowed,
                "{networks}"
            );
        }
    }

    #[test]
    fn old_tokens_never_have_the_terminal() {
        let address = "192.0.2.9".parse().unwrap();
        let mut claims = claims(None);
        let old = token("{}").identify(&Digest::of(b"token"), &claims, address, at(10));
        assert!(!old.unwrap().terminal);

        claims.terminal = Some(true);
        let granted = token(r#"{"terminal":true}"#);
        let identity = granted.identify(&Digest::of(b"token"), &claims, address, at(10));
        assert!(identity.unwrap().terminal);
    }

    #[test]
    fn a_digest_that_is_not_listed_is_unknown() {
        let address = "192.0.2.9".parse().unwrap();
        let other = token("{}").identify(&Digest::of(b"other"), &claims(None), address, at(10));
        assert_eq!(other, Err(TokenRefusal::Unknown));
    }

    #[test]
    fn revocations_outlive_merges_and_end_when_certain() {
        let (early, late, ever) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
        let mut known = Revocations::default();
        known.insert(early, Some(at(100)));
        known.insert(late, Some(at(100)));
        known.insert(late, Some(at(200)));
        known.insert(late, Some(at(50)));
        let mut read_again = Revocations::default();
        read_again.insert(ever, None);
        read_again.merge(&known);
        assert_eq!(read_again.len(), 3);

        read_again.prune(at(100));

        assert!(!read_again.contains(&early));
        assert!(read_again.contains(&late));
        assert!(read_again.contains(&ever));
    }

    #[test]
    fn what_is_only_shown_may_be_anything() {
        let tokens = token(r#"{"name":7,"created_at":1777040000.5,"last_used_at":null}"#);
        assert_eq!(identify(&tokens, &claims(None)), Ok(Scope::FullAdmin));
        let written = serde_json::to_value(&tokens).unwrap();
        assert_eq!(written[0]["name"], 7);
        assert_eq!(written[0]["created_at"], 1_777_040_000.5);
    }

    #[test]
    fn unknown_keys_of_a_token_are_written_back() {
        let tokens = token(r#"{"name":"x","note":{"kept":[1,2.5,"x"]}}"#);
        let written = serde_json::to_value(&tokens).unwrap();
        assert_eq!(written[0]["note"], serde_json::json!({"kept":[1,2.5,"x"]}));
    }
}
