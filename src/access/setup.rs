//! First launch and its opposite: set-up, going without, turning off, the reset; and the claim
//! code that proves a far-away person to be the host's owner.

use std::fmt;

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Access;
use super::passwords::PasswordHash;
use super::profile::UserName;
use super::random::{self, RandomError};
use super::rights::Door;
use super::sessions::{Factor, Session, StartSessionError};
use super::sign_in::{Arrival, OpenSessionError, SignedIn};

/// Set-up, skipping or taking the skip back was refused.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A password exists already.
    #[error("a password exists already")]
    AlreadyConfigured,
    /// There is nothing to take back: the owner has not gone without.
    #[error("nothing was declined")]
    NotDeclined,
    /// The first session could not be made.
    #[error(transparent)]
    Session(#[from] StartSessionError),
    /// The kernel gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<OpenSessionError> for SetUpError {
    fn from(error: OpenSessionError) -> Self {
        match error {
            OpenSessionError::Random(error) => Self::Random(error),
            OpenSessionError::Session(error) => Self::Session(error),
        }
    }
}

impl Access {
    /// Protects the dashboard with a first password and signs its person in.
    ///
    /// The signing secret, API tokens and revocations are kept, so integrations go on.
    pub fn set_up(
        &mut self,
        username: UserName,
        hash: PasswordHash,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<SignedIn, SetUpError> {
        self.refuse_if_protected()?;
        self.clear_login();
        self.username = Some(username.into());
        self.password_hash = Some(hash);
        self.enabled = true;
        self.declined = false;
        self.configured = Some(true);
        Ok(self.welcome(vec![Factor::Pwd], arrival, now)?)
    }

    /// Records that the owner goes without a password.
    pub fn decline(&mut self) -> Result<(), SetUpError> {
        self.refuse_if_protected()?;
        self.declined = true;
        self.configured = Some(true);
        Ok(())
    }

    /// Takes "continue without protection" back, so that set-up comes first again.
    pub fn take_back_decline(&mut self) -> Result<(), SetUpError> {
        self.refuse_if_protected()?;
        if self.door() != Door::Open {
            return Err(SetUpError::NotDeclined);
        }
        self.declined = false;
        self.configured = Some(false);
        Ok(())
    }

    /// Clears the interactive login and nothing else: what integrations need stays.
    ///
    /// Returns the sessions that ended with it.
    pub fn clear_login(&mut self) -> Vec<Session> {
        let ended = self.end_sessions(|_all| true);
        self.enabled = false;
        self.declined = false;
        self.configured = Some(false);
        self.username = None;
        self.password_hash = None;
        self.totp_enabled = false;
        self.totp_secret = None;
        self.backup_codes.clear();
        self.passkeys.clear();
        self.known_devices.clear();
        ended
    }

    fn refuse_if_protected(&self) -> Result<(), SetUpError> {
        match self.door() {
            Door::Protected => Err(SetUpError::AlreadyConfigured),
            Door::NotConfigured | Door::Open => Ok(()),
        }
    }
}

/// Letters that cannot be taken for digits.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";
const CODE_LETTERS: usize = 12;

/// The code that proves somebody from outside to be root on the host: `XXXX-XXXX-XXXX`.
#[derive(Clone)]
pub struct ClaimCode(Zeroizing<String>);

impl ClaimCode {
    /// Draws a code: twelve of 24 letters, about 55 bits.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(random::letters::<CODE_LETTERS>(LETTERS)?))
    }

    /// Returns whether `typed` is this code, in any case, with or without hyphens and spaces.
    pub fn matches(&self, typed: &str) -> bool {
        let letters = typed.chars().filter(|c| !matches!(c, '-' | ' '));
        let typed: Zeroizing<String> =
            Zeroizing::new(letters.map(|c| c.to_ascii_uppercase()).collect());
        typed.as_bytes().ct_eq(self.0.as_bytes()).into()
    }

    /// Returns the code as people read it.
    pub fn expose(&self) -> Zeroizing<String> {
        let groups = self.0.as_bytes().chunks(4);
        let groups = groups.map(|group| String::from_utf8_lossy(group));
        Zeroizing::new(Vec::from_iter(groups).join("-"))
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCode(..)")
    }
}

/// Who may set up without a claim code: the setting `setup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetupFrom {
    /// Everybody at a private address.
    #[default]
    Lan,
    /// Nobody.
    Code,
}

/// What a set-up call presents, as far as its rule asks.
#[derive(Clone, Copy, Debug)]
pub struct SetupVisitor<'a> {
    /// Whether the client's address is private.
    pub is_private: bool,
    /// Whether the request names this host by one of its own names.
    pub host_allowed: bool,
    /// The claim code, if one was sent.
    pub claim_code: Option<&'a str>,
}

/// Why a set-up call was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupRefusal {
    /// The request names a host that is not this one.
    #[error("the host name is not one of this host's")]
    HostRefused,
    /// From here the claim code is needed.
    #[error("the claim code is needed")]
    CodeRequired,
    /// The claim code is wrong.
    #[error("the claim code is wrong")]
    CodeWrong,
}

/// Decides whether `visitor` may set this host up, go without, or take that back.
///
/// A right code frees the address and the host name; a wrong one is refused from everywhere.
pub fn may_set_up(
    from: SetupFrom,
    visitor: SetupVisitor<'_>,
    code: Option<&ClaimCode>,
) -> Result<(), SetupRefusal> {
    if let Some(typed) = visitor.claim_code {
        return match code {
            Some(code) if code.matches(typed) => Ok(()),
            Some(_) | None => Err(SetupRefusal::CodeWrong),
        };
    }
    if requires_code(from, visitor.is_private) {
        return Err(SetupRefusal::CodeRequired);
    }
    if !visitor.host_allowed {
        return Err(SetupRefusal::HostRefused);
    }
    Ok(())
}

/// Returns whether a visitor needs the claim code, whatever name they use for the host.
pub fn requires_code(from: SetupFrom, is_private: bool) -> bool {
    from == SetupFrom::Code || !is_private
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival() -> Arrival {
        let origin = crate::access::sessions::Origin {
            address: "192.0.2.9".parse().unwrap(),
            user_agent: String::new(),
        };
        Arrival {
            origin,
            device: None,
        }
    }

    fn hash() -> PasswordHash {
        PasswordHash::parse(
            "pbkdf2_sha256$1$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        )
        .unwrap()
    }

    fn set_up(access: &mut Access) -> Result<SignedIn, SetUpError> {
        let name = UserName::parse("owner").unwrap();
        access.set_up(name, hash(), &arrival(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn exactly_one_set_up_wins() {
        let mut access = Access::default();

        assert!(set_up(&mut access).is_ok());

        assert_eq!(access.door(), Door::Protected);
        assert!(matches!(
            set_up(&mut access),
            Err(SetUpError::AlreadyConfigured)
        ));
        assert!(matches!(
            access.decline(),
            Err(SetUpError::AlreadyConfigured)
        ));
        assert!(matches!(
            access.take_back_decline(),
            Err(SetUpError::AlreadyConfigured)
        ));
    }

    #[test]
    fn who_declined_can_set_up_or_take_it_back() {
        let mut access = Access::default();
        assert!(matches!(
            access.take_back_decline(),
            Err(SetUpError::NotDeclined)
        ));
        access.decline().unwrap();
        assert_eq!(access.door(), Door::Open);
        access.take_back_decline().unwrap();
        assert_eq!(access.door(), Door::NotConfigured);

        access.decline().unwrap();
        set_up(&mut access).unwrap();

        assert_eq!(access.door(), Door::Protected);
    }

    #[test]
    fn a_cleared_login_keeps_what_integrations_need() {
        let text = r#"{"enabled":true,"username":"owner","password_hash":"pbkdf2_sha256$1$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "jwt_secret":"0123456789abcdef0123456789abcdef","totp_enabled":true,"totp_secret":"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
            "passkeys":[{"id":"x"}],
            "api_tokens":[{"name":"sensor","token_hash":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}],
            "revoked_tokens":["cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34"]}"#;
        let mut access = Access::from_json(text).unwrap();

        access.clear_login();

        assert_eq!(access.door(), Door::NotConfigured);
        assert!(access.second_factor().is_none());
        assert!(access.passkeys.is_empty());
        assert_eq!(access.api_tokens().len(), 1);
        assert_eq!(access.revocations().len(), 1);
        let secret = access.signing_secret().unwrap().clone();
        set_up(&mut access).unwrap();
        assert_eq!(access.signing_secret(), Some(&secret));
        assert_eq!(access.api_tokens().len(), 1);
    }

    #[test]
    fn the_claim_code_is_forgiving_about_form_only() {
        let code = ClaimCode::generate().unwrap();
        let shown = code.expose();

        assert_eq!(shown.len(), 14);
        assert!(code.matches(&shown));
        assert!(code.matches(&shown.to_lowercase().replace('-', " ")));
        assert!(!code.matches(""));
        assert!(!code.matches(&shown[..13]));
        assert!(!code.matches(&format!("{}A", *shown)));
    }

    #[test]
    fn the_rule_of_set_up_has_one_table() {
        use SetupFrom::{Code, Lan};
        const HOST: Result<(), SetupRefusal> = Err(SetupRefusal::HostRefused);
        const WRONG: Result<(), SetupRefusal> = Err(SetupRefusal::CodeWrong);
        const NEEDED: Result<(), SetupRefusal> = Err(SetupRefusal::CodeRequired);

        let code = ClaimCode::generate().unwrap();
        let shown = code.expose();
        let right = Some(shown.as_str());
        for (from, is_private, host_allowed, claim_code, outcome) in [
            (Lan, true, true, None, Ok(())),
            (Lan, true, false, None, HOST),
            (Lan, true, false, right, Ok(())),
            (Lan, true, true, Some("wrong"), WRONG),
            (Lan, true, true, Some(""), WRONG),
            (Lan, false, true, None, NEEDED),
            (Lan, false, false, right, Ok(())),
            (Code, true, true, None, NEEDED),
            (Code, true, true, right, Ok(())),
        ] {
            let visitor = SetupVisitor {
                is_private,
                host_allowed,
                claim_code,
            };
            let decided = may_set_up(from, visitor, Some(&code));
            assert_eq!(decided, outcome, "{from:?} {visitor:?}");
        }
        let visitor = SetupVisitor {
            is_private: true,
            host_allowed: true,
            claim_code: right,
        };
        assert_eq!(may_set_up(Lan, visitor, None), WRONG);
    }
}
