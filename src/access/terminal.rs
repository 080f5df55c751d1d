//! The terminal: who may have one, for how long, and when a second factor is asked for again.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Access;
use super::digest::Digest;
use super::jwt::{Claims, SigningSecret};
use super::rights::{Credential, Door};
use super::sign_in::{ProofError, SecondFactor};
use super::totp::TotpSecret;

/// How long a proof of the second factor opens terminals.
pub const STEP_UP: SignedDuration = SignedDuration::from_hours(12);

/// Whose a terminal is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A person's session, by its id.
    Session(String),
    /// A program's token, by its id.
    Token(String),
    /// Somebody in open mode, by the address.
    OpenMode(IpAddr),
}

/// Who holds a terminal, and by what.
#[derive(Clone, Debug)]
pub struct Holder {
    who: Who,
    bearer: Option<Bearer>,
}

/// A session's or a program's token, as far as it must be known to ask whether it still counts.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The token's digest.
    pub hash: Digest,
    /// What it says.
    pub claims: Arc<Claims>,
    /// What signed it.
    pub secret: SigningSecret,
    /// From where it was presented.
    pub address: IpAddr,
}

/// What a code proves by itself: that somebody has the app, or the list of backup codes.
#[derive(Clone, Debug)]
pub struct CodeProof {
    /// The app that was the second factor then.
    pub app: TotpSecret,
    /// The code.
    pub second: SecondFactor,
}

/// What happens to a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalStep {
    /// It was opened.
    Opened {
        /// Its id.
        terminal: String,
    },
    /// Somebody came back to it.
    Resumed {
        /// Its id.
        terminal: String,
    },
    /// It has ended.
    Closed {
        /// Its id.
        terminal: String,
        /// Why.
        reason: &'static str,
        /// After how long.
        seconds: u64,
    },
    /// None was opened: who asks must prove again who they are.
    Refused {
        /// Why.
        reason: &'static str,
    },
}

impl TerminalStep {
    /// Returns what happened, for the audit log.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "terminal opened",
            Self::Resumed { .. } => "terminal resumed",
            Self::Closed { .. } => "terminal closed",
            Self::Refused { .. } => "terminal refused",
        }
    }
}

impl Holder {
    /// Somebody in open mode.
    pub fn open_mode(address: IpAddr) -> Self {
        Self {
            who: Who::OpenMode(address),
            bearer: None,
        }
    }

    /// Whoever presents a token.
    pub fn bearer(who: Who, bearer: Bearer) -> Self {
        Self {
            who,
            bearer: Some(bearer),
        }
    }

    /// Returns whose the terminal is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Returns the session, if it is a person who signed in.
    pub fn session(&self) -> Option<&str> {
        match &self.who {
            Who::Session(id) => Some(id),
            Who::Token(_) | Who::OpenMode(_) => None,
        }
    }

    /// Returns from where it was opened.
    pub fn address(&self) -> Option<IpAddr> {
        match (&self.who, &self.bearer) {
            (Who::OpenMode(address), _) => Some(*address),
            (_, bearer) => bearer.as_ref().map(|bearer| bearer.address),
        }
    }
}

impl Access {
    /// Returns whether what a terminal was opened with still opens one.
    pub fn keeps_terminal(&self, holder: &Holder, now: Timestamp) -> bool {
        let Some(bearer) = &holder.bearer else {
            return self.door() == Door::Open;
        };
        if self.signing_secret() != Some(&bearer.secret) {
            return false;
        }
        let credential = self.credential(&bearer.hash, &bearer.claims, bearer.address, now);
        match (credential, &holder.who) {
            (Ok(Credential::Session(session)), Who::Session(id)) => session.id == *id,
            (Ok(Credential::Token(token)), Who::Token(id)) => token.terminal && token.id == *id,
            (Ok(_) | Err(_), _) => false,
        }
    }

    /// Returns whether a session must prove the second factor again before it gets a terminal.
    pub fn asks_for_step_up(&self, session: &str, now: Timestamp) -> bool {
        let proved_at = self
            .sessions
            .find(session)
            .and_then(|session| session.second_factor_at);
        let is_fresh = proved_at.is_some_and(|at| {
            let past = now.duration_since(at);
            !past.is_negative() && past < STEP_UP
        });
        self.second_factor().is_some() && !is_fresh
    }

    /// Accepts a code by itself from a session that has proved the password before, and consumes
    /// it. It excuses the session for a while.
    pub fn step_up(
        &mut self,
        session: &str,
        proof: &CodeProof,
        now: Timestamp,
    ) -> Result<(), ProofError> {
        self.must_live(session, now)?;
        if self.account().is_none() {
            return Err(ProofError::NotProtected);
        }
        if self.second_factor() != Some(&proof.app) {
            return Err(ProofError::Changed);
        }
        self.consume(&proof.second, now)?;
        self.sessions.note_second_factor(session, now);
        Ok(())
    }
}
