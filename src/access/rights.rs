//! Who may do what: one decision for every route, closed unless something opens it.
//!
//! | door | without a credential |
//! |---|---|
//! | not configured | public routes and the set-up only |
//! | open (the owner declined a password) | everything, for private addresses under a known host name |
//! | protected | public routes only |
//!
//! **Invariant:** [`decide`] has no arm that lets someone in because something was unexpected.

use serde::{Deserialize, Serialize};

use super::sessions::SessionIdentity;
use super::tokens::TokenIdentity;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Nothing.
    Public,
    /// Nothing here; the handler applies the rule of set-up, which needs the body.
    Setup,
    /// In open mode the same; otherwise a session, to which the handler says why not.
    Reopen,
    /// The scope `metrics`: any valid credential.
    Metrics,
    /// The scope `read_only`.
    Read,
    /// The same; while a certificate is being tried anyone, whom the handler tells little.
    Trial,
    /// Any valid credential; while a certificate is being ordered anyone: an authority asks.
    Challenge,
    /// The scope `operator`.
    Operate,
    /// The scope `full_admin`.
    Admin,
    /// A person's session; no token, however strong.
    Session,
    /// A session, or a token with full rights that was made for it.
    Terminal,
}

/// How far an API token reaches; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Metrics for a monitoring system.
    Metrics,
    /// Everything that can be read and is not a secret.
    ReadOnly,
    /// Bans and the gateway's state too.
    Operator,
    /// All but what only a person may do.
    FullAdmin,
}

impl Scope {
    /// Reads the name of a scope as it stands in tokens.
    ///
    /// ```
    /// use proxmenux_monitor::access::rights::Scope;
    ///
    /// assert_eq!(Scope::parse("read_only"), Some(Scope::ReadOnly));
    /// assert_eq!(Scope::parse("root"), None);
    /// ```
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "metrics" => Some(Self::Metrics),
            "read_only" => Some(Self::ReadOnly),
            "operator" => Some(Self::Operator),
            "full_admin" => Some(Self::FullAdmin),
            _unknown => None,
        }
    }

    /// Returns the name of the scope as it stands in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::ReadOnly => "read_only",
            Self::Operator => "operator",
            Self::FullAdmin => "full_admin",
        }
    }

    /// Returns whether this scope is enough for `right`.
    fn reaches(self, right: Right) -> bool {
        match right {
            Right::Public | Right::Setup | Right::Metrics | Right::Challenge => true,
            Right::Read | Right::Trial => self >= Self::ReadOnly,
            Right::Operate => self >= Self::Operator,
            Right::Admin | Right::Terminal => self >= Self::FullAdmin,
            Right::Reopen | Right::Session => false,
        }
    }
}

/// What the state says about strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Nothing was ever chosen: closed until set-up.
    NotConfigured,
    /// The owner chose to go without a password.
    Open,
    /// A password decides.
    Protected,
}

/// What came with the request as a credential.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// No `Authorization` header.
    Missing,
    /// A header that is not `Bearer <token>`.
    Malformed,
    /// A token that does not count.
    Invalid,
    /// A live session.
    Session(SessionIdentity),
    /// A live API token.
    Token(TokenIdentity),
}

/// Where the request comes from, as far as open mode asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// A private address under one of the host's names, or the owner allows every address.
    Welcome,
    /// An address outside the private networks.
    Outside,
    /// A host name that is not this host's: perhaps a page that rebinds DNS.
    StrangeHost,
}

/// Who a request that was let in is.
#[derive(Clone, Debug, PartialEq)]
pub enum Caller {
    /// Nobody in particular, on a public route.
    Anyone,
    /// Somebody in open mode.
    OpenMode,
    /// A person's session.
    Session(SessionIdentity),
    /// A program's token.
    Token(TokenIdentity),
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is configured, so nothing but set-up answers.
    #[error("set-up comes first")]
    SetupRequired,
    /// There was no credential.
    #[error("no credential")]
    AuthenticationRequired,
    /// The `Authorization` header is not of the one accepted form.
    #[error("the authorization header is malformed")]
    InvalidHeader,
    /// The token does not count.
    #[error("the token is invalid or expired")]
    InvalidToken,
    /// The token is valid but does not reach this far.
    #[error("the token's scope is insufficient")]
    InsufficientScope,
    /// Open mode answers private addresses only.
    #[error("open mode answers private addresses only")]
    PrivateOnly,
    /// Open mode answers under the host's own names only.
    #[error("open mode answers under the host's own names only")]
    HostRefused,
}

/// Decides whether a caller with `credential` may use a route that asks for `right`.
pub fn decide(
    door: Door,
    right: Right,
    credential: Credential,
    visitor: Visitor,
) -> Result<Caller, Refusal> {
    let is_open_to_all = match right {
        Right::Public | Right::Setup => true,
        Right::Reopen => door == Door::Open,
        Right::Metrics
        | Right::Read
        | Right::Trial
        | Right::Challenge
        | Right::Operate
        | Right::Admin
        | Right::Session
        | Right::Terminal => false,
    };
    if is_open_to_all {
        return Ok(match credential {
            Credential::Session(session) => Caller::Session(session),
            Credential::Token(token) => Caller::Token(token),
            Credential::Missing | Credential::Malformed | Credential::Invalid => Caller::Anyone,
        });
    }
    if door == Door::Open && visitor == Visitor::Welcome {
        return Ok(Caller::OpenMode);
    }
    match credential {
        Credential::Session(session) => Ok(Caller::Session(session)),
        Credential::Token(token) if is_enough(&token, right) => Ok(Caller::Token(token)),
        Credential::Token(_) => Err(Refusal::InsufficientScope),
        Credential::Missing | Credential::Malformed | Credential::Invalid => {
            Err(refusal(door, &credential, visitor))
        }
    }
}

fn is_enough(token: &TokenIdentity, right: Right) -> bool {
    token.scope.reaches(right) && (right != Right::Terminal || token.terminal)
}

fn refusal(door: Door, credential: &Credential, visitor: Visitor) -> Refusal {
    match (door, visitor, credential) {
        (Door::NotConfigured, _, _) => Refusal::SetupRequired,
        (Door::Open, Visitor::StrangeHost, _) => Refusal::HostRefused,
        (Door::Open, _, _) => Refusal::PrivateOnly,
        (Door::Protected, _, Credential::Missing) => Refusal::AuthenticationRequired,
        (Door::Protected, _, Credential::Malformed) => Refusal::InvalidHeader,
        (Door::Protected, _, _) => Refusal::InvalidToken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(scope: Scope) -> Credential {
        Credential::Token(TokenIdentity {
            id: "0123456789abcdef".to_owned(),
            name: "sensor".to_owned(),
            scope,
            terminal: false,
        })
    }

    fn may(door: Door, right: Right, credential: Credential) -> Result<(), Refusal> {
        decide(door, right, credential, Visitor::Outside).map(|_caller| ())
    }

    #[test]
    fn each_scope_includes_the_one_before() {
        let rights = [Right::Metrics, Right::Read, Right::Operate, Right::Admin];
        let scopes = [
            Scope::Metrics,
            Scope::ReadOnly,
            Scope::Operator,
            Scope::FullAdmin,
        ];
        for (reach, scope) in scopes.into_iter().enumerate() {
            for (need, right) in rights.into_iter().enumerate() {
                let allowed = may(Door::Protected, right, token(scope)).is_ok();
                assert_eq!(allowed, need <= reach, "{scope:?} {right:?}");
            }
            assert_eq!(
                may(Door::Protected, Right::Session, token(scope)),
                Err(Refusal::InsufficientScope)
            );
        }
    }

    #[test]
    fn a_terminal_is_for_people_and_tokens_made_for_it() {
        let made_for_it = |scope, terminal| {
            Credential::Token(TokenIdentity {
                id: "0123456789abcdef".to_owned(),
                name: "robot".to_owned(),
                scope,
                terminal,
            })
        };
        for (scope, terminal, allowed) in [
            (Scope::FullAdmin, true, Ok(())),
            (Scope::FullAdmin, false, Err(Refusal::InsufficientScope)),
            (Scope::Operator, true, Err(Refusal::InsufficientScope)),
        ] {
            let credential = made_for_it(scope, terminal);
            assert_eq!(may(Door::Protected, Right::Terminal, credential), allowed);
        }
        assert_eq!(
            may(Door::Protected, Right::Terminal, Credential::Missing),
            Err(Refusal::AuthenticationRequired)
        );
    }

    #[test]
    fn not_configured_is_closed_but_for_tokens() {
        for credential in [
            Credential::Missing,
            Credential::Malformed,
            Credential::Invalid,
        ] {
            assert_eq!(
                may(Door::NotConfigured, Right::Read, credential),
                Err(Refusal::SetupRequired)
            );
        }
        assert!(may(Door::NotConfigured, Right::Setup, Credential::Missing).is_ok());
        assert!(may(Door::NotConfigured, Right::Read, token(Scope::ReadOnly)).is_ok());
    }

    #[test]
    fn protected_tells_the_three_failures_apart() {
        assert_eq!(
            may(Door::Protected, Right::Metrics, Credential::Missing),
            Err(Refusal::AuthenticationRequired)
        );
        assert_eq!(
            may(Door::Protected, Right::Metrics, Credential::Malformed),
            Err(Refusal::InvalidHeader)
        );
        assert_eq!(
            may(Door::Protected, Right::Metrics, Credential::Invalid),
            Err(Refusal::InvalidToken)
        );
    }

    #[test]
    fn only_what_was_declined_can_be_taken_back() {
        assert!(may(Door::Open, Right::Reopen, Credential::Missing).is_ok());
        assert_eq!(
            may(Door::NotConfigured, Right::Reopen, Credential::Missing),
            Err(Refusal::SetupRequired)
        );
        assert_eq!(
            may(Door::Protected, Right::Reopen, Credential::Missing),
            Err(Refusal::AuthenticationRequired)
        );
    }

    #[test]
    fn open_mode_is_open_to_the_welcome_only() {
        let read = |visitor| decide(Door::Open, Right::Session, Credential::Invalid, visitor);

        assert_eq!(read(Visitor::Welcome), Ok(Caller::OpenMode));
        assert_eq!(read(Visitor::Outside), Err(Refusal::PrivateOnly));
        assert_eq!(read(Visitor::StrangeHost), Err(Refusal::HostRefused));
        assert!(may(Door::Open, Right::Read, token(Scope::ReadOnly)).is_ok());
    }
}
