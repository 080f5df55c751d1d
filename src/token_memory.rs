//! What is remembered of tokens between requests: claims whose MAC was checked, and refusals that
//! were written down. Bounded, and never trusted beyond the MAC: whether a token still counts is
//! asked each time.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::Cache;

use crate::access::digest::Digest;
use crate::access::jwt::{self, Claims, ForeignToken, SigningSecret};

const MOST: usize = 4096;
const TELL_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// The last time that a token of ours was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRefused {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: IpAddr,
    /// Why.
    pub reason: &'static str,
}

/// The bounded memories.
#[derive(Debug)]
pub struct TokenMemory {
    verified: Cache<Digest, Verified>,
    told: Cache<Digest, Timestamp>,
    refused: Cache<Digest, TokenRefused>,
}

#[derive(Clone, Debug)]
struct Verified {
    with: SigningSecret,
    claims: Arc<Claims>,
}

impl Default for TokenMemory {
    fn default() -> Self {
        Self {
            verified: Cache::new(MOST),
            told: Cache::new(MOST),
            refused: Cache::new(MOST),
        }
    }
}

impl TokenMemory {
    /// Returns what `token`, whose digest is `hash`, says if `secret` signed it for us.
    pub fn verify(
        &self,
        token: &str,
        hash: &Digest,
        secret: &SigningSecret,
    ) -> Result<Arc<Claims>, ForeignToken> {
        if let Some(known) = self.verified.get(hash)
            && known.with == *secret
        {
            return Ok(known.claims);
        }
        let claims = Arc::new(jwt::verify(token, secret)?);
        let verified = Verified {
            with: secret.clone(),
            claims: Arc::clone(&claims),
        };
        self.verified.insert(*hash, verified);
        Ok(claims)
    }

    /// Remembers that a token was refused.
    pub fn note_refusal(&self, hash: &Digest, refused: TokenRefused) {
        self.refused.insert(*hash, refused);
    }

    /// Returns how a token was last refused, if it was since the server started.
    pub fn last_refusal(&self, hash: &Digest) -> Option<TokenRefused> {
        self.refused.get(hash)
    }

    /// Returns whether a refusal of this token was written down in the last ten minutes; if not,
    /// it is taken to be now.
    pub fn is_told(&self, hash: &Digest, now: Timestamp) -> bool {
        let recently = |at: Timestamp| at <= now && now < at + TELL_EVERY;
        if self.told.get(hash).is_some_and(recently) {
            return true;
        }
        self.told.insert(*hash, now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::jwt::TokenType;

    #[test]
    fn a_remembered_token_is_foreign_to_another_secret() {
        let memory = TokenMemory::default();
        let secret = SigningSecret::generate().unwrap();
        let claims = Claims::issued(TokenType::Api, "id".to_owned(), 0, 1000);
        let token = jwt::sign(&claims, &secret).unwrap();
        let hash = Digest::of(token.as_bytes());
        assert!(memory.verify(&token, &hash, &secret).is_ok());
        assert!(memory.verify(&token, &hash, &secret).is_ok());

        let other = SigningSecret::generate().unwrap();

        assert_eq!(memory.verify(&token, &hash, &other), Err(ForeignToken));
        assert!(memory.verify(&token, &hash, &secret).is_ok());
    }

    #[test]
    fn a_refusal_is_told_once_in_ten_minutes() {
        let memory = TokenMemory::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let hash = Digest::of(b"token");

        assert!(!memory.is_told(&hash, now));
        assert!(memory.is_told(&hash, now + SignedDuration::from_secs(599)));
        assert!(!memory.is_told(&hash, now + SignedDuration::from_secs(600)));
    }
}
