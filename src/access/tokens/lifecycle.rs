//! How an API token is made, replaced and revoked, and when its owner is reminded of its end.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::{ApiToken, Standing};
use crate::access::digest::Digest;
use crate::access::jwt::{self, Claims, ForeignToken, TokenType};
use crate::access::label::Label;
use crate::access::random::{self, RandomError};
use crate::access::rights::Scope;
use crate::access::sign_in::{Confirmation, ProofError};
use crate::access::{Access, rfc3339};

/// The longest life of a token, in days, and the usual one.
pub const MAX_DAYS: u16 = 365;

/// The most networks that one token may be bound to.
pub const MAX_NETWORKS: usize = 64;

/// The longest time for which a replaced token goes on, in hours.
pub const MAX_OVERLAP_HOURS: u16 = 720;

/// Days before its end on which the owner is reminded of a token.
const REMINDERS: [i64; 3] = [1, 7, 30];

/// How many days a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u16);

impl Days {
    /// Takes 1 to 365.
    pub fn new(days: u16) -> Option<Self> {
        (1..=MAX_DAYS).contains(&days).then_some(Self(days))
    }

    /// Returns the number.
    pub fn get(self) -> u16 {
        self.0
    }

    fn span(self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.0))
    }
}

impl Default for Days {
    fn default() -> Self {
        Self(MAX_DAYS)
    }
}

/// How long a replaced token goes on beside its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap(u16);

impl Overlap {
    /// Takes 0 to 720 hours.
    pub fn from_hours(hours: u16) -> Option<Self> {
        (hours <= MAX_OVERLAP_HOURS).then_some(Self(hours))
    }
}

impl Default for Overlap {
    fn default() -> Self {
        Self(24)
    }
}

/// Whether a token may open a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TerminalRight {
    /// It may not.
    #[default]
    Withheld,
    /// It may.
    Granted,
}

/// What somebody wants a token to be.
#[derive(Clone, Debug)]
pub struct TokenWish {
    /// Its name in the list.
    pub name: Label,
    /// How far it reaches.
    pub scope: Scope,
    /// How long it lives.
    pub days: Days,
    /// From where it may be used; none is everywhere.
    pub networks: Vec<IpNet>,
    /// Whether it may open a terminal.
    pub terminal: TerminalRight,
}

/// A new token, for its owner alone.
pub struct IssuedToken {
    /// Its id in the list, which is no secret.
    pub id: String,
    /// The token.
    pub token: Zeroizing<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What it was made to be.
    pub wish: TokenWish,
}

impl IssuedToken {
    /// Returns the last four characters of the token, by which its owner knows it again.
    pub fn last_four(&self) -> &str {
        last_four(&self.token)
    }
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IssuedToken({})", self.id)
    }
}

/// A token was not made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// What confirmed it does not hold any more.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The terminal asks for full rights.
    #[error("only a token with full rights may open a terminal")]
    TerminalNeedsFullAdmin,
    /// The kernel gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Unsigned,
}

impl From<ForeignToken> for IssueError {
    fn from(ForeignToken: ForeignToken) -> Self {
        Self::Unsigned
    }
}

/// Since when a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Since this call.
    Now,
    /// Since an earlier one.
    Before,
}

/// No listed token has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such token")]
pub struct UnknownToken;

/// A token was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The new one was not made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// There is no old one.
    #[error(transparent)]
    Unknown(#[from] UnknownToken),
    /// The old one does not count, or nobody knows how far it reaches.
    #[error("the token cannot be replaced")]
    NotReplaceable,
}

/// A successor, and how long what it replaces goes on.
#[derive(Debug)]
pub struct Rotated {
    /// The new token.
    pub issued: IssuedToken,
    /// When the old one ends.
    pub old_ends_at: Timestamp,
}

/// The owner should know that a token ends soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// The token's id.
    pub id: String,
    /// What the owner called it.
    pub name: String,
    /// In how many days at most it ends.
    pub days: i64,
}

impl Access {
    /// Makes a token for a session's person, who has confirmed it.
    pub fn issue_token(
        &mut self,
        confirmation: &Confirmation,
        wish: TokenWish,
        now: Timestamp,
    ) -> Result<IssuedToken, IssueError> {
        self.confirm(confirmation, now)?;
        self.issue_token_from_host(wish, now)
    }

    /// Makes a token because root on the host says so.
    pub fn issue_token_from_host(
        &mut self,
        wish: TokenWish,
        now: Timestamp,
    ) -> Result<IssuedToken, IssueError> {
        let may_have_terminal = wish.scope == Scope::FullAdmin;
        if wish.terminal == TerminalRight::Granted && !may_have_terminal {
            return Err(IssueError::TerminalNeedsFullAdmin);
        }
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let secret = self.secret_or_new()?;
        let expires_at = now + wish.days.span();
        let claims = claims_of(&wish, self.username.clone(), now, expires_at)?;
        let token = jwt::sign(&claims, &secret)?;
        let mut entry = entry_of(&wish, &token, now, expires_at);
        entry.signed_with = Some(secret.fingerprint().to_owned());
        let id = entry.id();
        Arc::make_mut(&mut self.api_tokens).push(entry);
        Ok(IssuedToken {
            id,
            token,
            expires_at,
            wish,
        })
    }

    /// Makes sure that a token never counts again. It stays in the list until it would have ended.
    ///
    /// Returns whether it counted until now.
    pub fn revoke_token(&mut self, id: &str) -> Result<Revoked, UnknownToken> {
        let token = self.api_tokens.find_by_id(id).ok_or(UnknownToken)?;
        let (hash, until) = (token.token_hash, token.expires_at());
        if self.revoked.contains(&hash) {
            return Ok(Revoked::Before);
        }
        self.revoked.insert(hash, until);
        Ok(Revoked::Now)
    }

    /// Revokes every token that was not revoked yet; returns their ids.
    pub fn revoke_all_tokens(&mut self) -> Vec<String> {
        let mut ids = Vec::new();
        for token in self.api_tokens.iter() {
            if !self.revoked.contains(&token.token_hash) {
                self.revoked.insert(token.token_hash, token.expires_at());
                ids.push(token.id());
            }
        }
        ids
    }

    /// Makes a successor with the same name and rights; the old token goes on for a while, so that
    /// whatever uses it can be changed over.
    pub fn rotate_token(
        &mut self,
        confirmation: &Confirmation,
        (id, overlap): (&str, Overlap),
        days: Days,
        now: Timestamp,
    ) -> Result<Rotated, RotateError> {
        let old = self.api_tokens.find_by_id(id).ok_or(UnknownToken)?;
        let wish = self.successor(old, days, now)?;
        let (old_hash, old_expires_at) = (old.token_hash, old.expires_at());
        let issued = self.issue_token(confirmation, wish, now)?;
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let over = now + SignedDuration::from_hours(i64::from(overlap.0));
        let old_ends_at = old_expires_at.map_or(over, |end| end.min(over));
        let list = Arc::make_mut(&mut self.api_tokens);
        if let Some(old) = list.find_mut(&old_hash) {
            old.rotated_at = Some(now);
            old.ends_at = Some(old_ends_at);
            old.replaced_by = Some(issued.id.clone());
        }
        self.retire_replaced(now);
        Ok(Rotated {
            issued,
            old_ends_at,
        })
    }

    /// Returns what a successor of a listed token is to be.
    fn successor(
        &self,
        old: &ApiToken,
        days: Days,
        now: Timestamp,
    ) -> Result<TokenWish, RotateError> {
        let counts = match self.standing(old, now) {
            Standing::Valid | Standing::Unproven => true,
            Standing::Invalid(_) => false,
        };
        let scope = old.scope.as_deref().and_then(Scope::parse);
        let name = Label::parse(old.name());
        let (true, Some(scope), Ok(name), None) = (counts, scope, name, &old.replaced_by) else {
            return Err(RotateError::NotReplaceable);
        };
        let networks = old.allowed_networks.as_deref().unwrap_or_default();
        let networks = networks.iter().map(|text| parse_network(text));
        let networks = networks.collect::<Option<Vec<_>>>();
        Ok(TokenWish {
            name,
            scope,
            days,
            networks: networks.ok_or(RotateError::NotReplaceable)?,
            terminal: match old.terminal {
                Some(true) => TerminalRight::Granted,
                Some(false) | None => TerminalRight::Withheld,
            },
        })
    }

    /// Revokes the tokens whose time beside their successor is over, so that no other program lets
    /// them in either, and forgets revoked ones that have expired.
    pub(in crate::access) fn prune_tokens(&mut self, now: Timestamp) {
        self.retire_replaced(now);
        let is_history = |token: &ApiToken| {
            let has_expired = token.expires_at().is_some_and(|end| end <= now);
            has_expired && self.revoked.contains(&token.token_hash)
        };
        if self.api_tokens.iter().any(is_history) {
            let kept = self.api_tokens.iter().filter(|token| !is_history(token));
            self.api_tokens = Arc::new(kept.cloned().collect());
        }
    }

    /// Returns the ids of replaced tokens that are over and not revoked yet.
    pub fn tokens_to_retire(&self, now: Timestamp) -> Vec<String> {
        self.over(now).map(ApiToken::id).collect()
    }

    fn retire_replaced(&mut self, now: Timestamp) {
        let over = self.over(now);
        let over = Vec::from_iter(over.map(|token| (token.token_hash, token.expires_at())));
        for (hash, until) in over {
            self.revoked.insert(hash, until);
        }
    }

    fn over(&self, now: Timestamp) -> impl Iterator<Item = &ApiToken> {
        self.api_tokens.iter().filter(move |token| {
            let is_over = token.ends_at.is_some_and(|end| end <= now);
            is_over && !self.revoked.contains(&token.token_hash)
        })
    }

    /// Returns the tokens whose owner should be reminded now, once for each of the thresholds.
    pub fn reminders(&self, now: Timestamp) -> Vec<Reminder> {
        let due = self.api_tokens.iter().filter_map(|token| {
            let threshold = self.threshold(token, now)?;
            let is_told = token.reminded_days.is_some_and(|told| told <= threshold);
            (!is_told).then(|| Reminder {
                id: token.id(),
                name: token.name().to_owned(),
                days: threshold,
            })
        });
        due.collect()
    }

    /// Notes that the owner was reminded.
    pub fn note_reminders(&mut self, reminders: &[Reminder]) {
        let list = Arc::make_mut(&mut self.api_tokens);
        for reminder in reminders {
            let hash = list.find_by_id(&reminder.id).map(|token| token.token_hash);
            if let Some(token) = hash.and_then(|hash| list.find_mut(&hash)) {
                token.reminded_days = Some(reminder.days);
            }
        }
    }

    fn threshold(&self, token: &ApiToken, now: Timestamp) -> Option<i64> {
        if self.standing(token, now).invalidation().is_some() || token.replaced_by.is_some() {
            return None;
        }
        let days = days_left(token.expires_at()?, now);
        REMINDERS.into_iter().find(|threshold| days <= *threshold)
    }
}

/// Returns how many days are left until `end`, a begun one counted whole.
pub fn days_left(end: Timestamp, now: Timestamp) -> i64 {
    const DAY: i64 = 24 * 3600;
    (end.as_second() - now.as_second() + DAY - 1).div_euclid(DAY)
}

/// Reads a network in CIDR notation, or a single address. One of IPv4-mapped addresses (RFC 4291
/// §2.5.5.2) is the network of IPv4 that it means.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| unmapped(network).trunc())
}

fn unmapped(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six.addr().to_ipv4_mapped();
    let prefix = six.prefix_len().checked_sub(MAPPED);
    let four = four
        .zip(prefix)
        .map(|(four, prefix)| Ipv4Net::new(four, prefix));
    match four {
        Some(Ok(four)) => IpNet::V4(four),
        Some(Err(_)) | None => network,
    }
}

fn claims_of(
    wish: &TokenWish,
    username: Option<String>,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Claims, RandomError> {
    let jti = random::base64url::<24>()?.to_string();
    let mut claims = Claims::issued(TokenType::Api, jti, now.as_second(), expires_at.as_second());
    claims.username = username;
    claims.token_name = Some(wish.name.as_str().to_owned());
    claims.scope = Some(wish.scope.name().to_owned());
    claims.terminal = (wish.terminal == TerminalRight::Granted).then_some(true);
    Ok(claims)
}

fn entry_of(wish: &TokenWish, token: &str, now: Timestamp, expires_at: Timestamp) -> ApiToken {
    let hash = Digest::of(token.as_bytes());
    let networks = Vec::from_iter(wish.networks.iter().map(ToString::to_string));
    ApiToken {
        id: Some(hash.short()),
        name: Some(wish.name.as_str().to_owned().into()),
        token_hash: hash,
        token_prefix: Some(format!("…{}", last_four(token)).into()),
        created_at: Some(rfc3339(now).into()),
        expires_at: Some(rfc3339(expires_at).into()),
        signed_with: None,
        scope: Some(wish.scope.name().to_owned()),
        allowed_networks: Some(networks),
        terminal: Some(wish.terminal == TerminalRight::Granted),
        last_used_at: None,
        last_used_from: None,
        rotated_at: None,
        ends_at: None,
        replaced_by: None,
        reminded_days: None,
        other: serde_json::Map::new(),
    }
}

fn last_four(token: &str) -> &str {
    let start = token.len().saturating_sub(4);
    token.get(start..).unwrap_or_default()
}
