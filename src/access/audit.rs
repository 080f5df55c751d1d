//! What happened, for the owner and for Fail2Ban: one event, one line.
//!
//! The line is an interface: filters on installed hosts look for
//! `proxmenux-auth: authentication failure; rhost=<ip> user=` after a date. What came from outside
//! is written so that it can form neither another field, nor another line, nor that pattern.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use jiff::ZonedDateTime;

use super::terminal::{TerminalStep, Who};

/// Who did it and from where, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The client's address; none for a command on the host.
    pub address: Option<IpAddr>,
    /// The name that was given or that is signed in.
    pub user: Option<String>,
}

/// With what somebody tried to prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A password.
    Password,
    /// A code of an authenticator app.
    Code,
    /// A backup code.
    BackupCode,
    /// A passkey.
    Passkey,
    /// The claim code of a host that is being set up.
    ClaimCode,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
            Self::BackupCode => "backup_code",
            Self::Passkey => "passkey",
            Self::ClaimCode => "claim_code",
        }
    }
}

/// What was being done when a credential failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signing in.
    SignIn,
    /// Setting up, going without, or taking that back.
    SetUp,
    /// Changing the password.
    ChangePassword,
    /// Turning protection off.
    TurnOff,
    /// Enrolling an authenticator app, and its first code.
    EnrolApp,
    /// Turning two-factor off.
    TurnTwoFactorOff,
    /// Making new backup codes.
    RenewBackupCodes,
    /// Making or replacing an API token.
    MakeToken,
    /// Adding, renaming or removing a passkey.
    ChangePasskeys,
    /// Opening a terminal, or coming back to a locked one.
    OpenTerminal,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::SetUp => "set_up",
            Self::ChangePassword => "change_password",
            Self::TurnOff => "turn_off",
            Self::EnrolApp => "enrol_app",
            Self::TurnTwoFactorOff => "turn_two_factor_off",
            Self::RenewBackupCodes => "renew_backup_codes",
            Self::MakeToken => "make_token",
            Self::ChangePasskeys => "change_passkeys",
            Self::OpenTerminal => "open_terminal",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody signed in.
    SignedIn {
        /// The strongest thing that was proved.
        method: Method,
        /// The new session.
        session: String,
    },
    /// A credential was wrong.
    Failed {
        /// Which one.
        method: Method,
        /// What it was for.
        purpose: Purpose,
    },
    /// A try was refused because too many had failed.
    RateLimited {
        /// How many refusals this line stands for.
        repeated: u64,
    },
    /// A backup code was used up.
    BackupCodeUsed {
        /// How many are left.
        left: usize,
    },
    /// Somebody asked for a secret to enrol an authenticator app with.
    EnrolmentStarted,
    /// An authenticator app became the second factor.
    TwoFactorEnabled {
        /// How many sessions ended with it.
        ended: usize,
    },
    /// Two-factor was turned off.
    TwoFactorDisabled {
        /// How many sessions ended with it.
        ended: usize,
    },
    /// The backup codes were replaced.
    BackupCodesRenewed,
    /// A passkey was added.
    PasskeyAdded {
        /// The passkey's id.
        passkey: String,
    },
    /// A passkey got another name.
    PasskeyRenamed {
        /// The passkey's id.
        passkey: String,
    },
    /// A passkey was removed.
    PasskeyRemoved {
        /// The passkey's id.
        passkey: String,
    },
    /// An API token was made.
    TokenCreated {
        /// The token's id.
        token: String,
        /// How far it reaches.
        scope: &'static str,
    },
    /// A successor of an API token was made.
    TokenRotated {
        /// The old token's id.
        token: String,
        /// The new token's id.
        successor: String,
    },
    /// An API token was revoked.
    TokenRevoked {
        /// The token's id.
        token: String,
    },
    /// An API token ends soon.
    TokenExpiring {
        /// The token's id.
        token: String,
        /// In how many days at most.
        days: i64,
    },
    /// A first password was set.
    SetUp,
    /// The owner went without a password.
    Declined,
    /// The owner took that back.
    DeclineTakenBack,
    /// The server runs without a password.
    OpenMode,
    /// Protection was turned off.
    TurnedOff,
    /// The interactive login was cleared by a command on the host.
    LoginReset,
    /// A person signed out.
    SignedOut {
        /// The session that ended.
        session: String,
    },
    /// A session was ended from elsewhere.
    SessionEnded {
        /// The session that ended.
        session: String,
    },
    /// A session was picked up again after a reload of the page.
    SessionResumed {
        /// The session.
        session: String,
    },
    /// The password was changed.
    PasswordChanged {
        /// How many sessions ended with it.
        ended: usize,
    },
    /// The shown name was changed.
    DisplayNameChanged,
    /// The picture was changed.
    AvatarChanged,
    /// The picture was removed.
    AvatarRemoved,
    /// Penalties were lifted by a command on the host.
    PenaltyLifted {
        /// Whose.
        subject: String,
    },
    /// An API token was used for the first time.
    TokenFirstUsed {
        /// The token's id.
        token: String,
    },
    /// A token that we signed was refused.
    TokenRefused {
        /// The token's id or the session's token digest, shortened.
        token: String,
        /// Why.
        reason: String,
    },
    /// A certificate is served on trial.
    TlsTried {
        /// Where it comes from.
        source: &'static str,
    },
    /// A certificate was to be served, but was refused.
    TlsRefused {
        /// Where it comes from.
        source: &'static str,
        /// Why, in a word.
        reason: &'static str,
    },
    /// A certificate is served from now on.
    TlsChanged {
        /// Where it comes from.
        source: &'static str,
    },
    /// A trial was taken back by whoever began it, or TLS was turned off.
    TlsTurnedOff,
    /// A trial was taken back because nobody confirmed it.
    TlsReverted,
    /// A renewed certificate is served.
    TlsReloaded,
    /// The certificate of the setting cannot be served.
    TlsFailed {
        /// What is wrong.
        problem: String,
    },
    /// The certificate ends soon.
    TlsExpiring {
        /// In how many days at most.
        days: i64,
    },
    /// An authority gave a certificate.
    CertificateObtained {
        /// For which names.
        names: String,
    },
    /// An authority gave none.
    CertificateRefused {
        /// For which names.
        names: String,
        /// Why, in a word.
        reason: &'static str,
    },
    /// The word of a network's proxies on the client's address is taken from now on.
    ProxyTrusted {
        /// The network.
        network: String,
    },
    /// It is taken no longer.
    ProxyDistrusted {
        /// The network.
        network: String,
    },
    /// Something about a terminal.
    Terminal {
        /// Whose it is.
        holder: Who,
        /// What.
        step: TerminalStep,
    },
    /// The state file cannot be trusted.
    StateLocked {
        /// What is wrong.
        problem: String,
    },
    /// The state file can be trusted again.
    StateUnlocked,
    /// The state file was changed by hand or by another program.
    StateReloaded,
    /// A good copy was put back by a command on the host.
    StateRestored,
    /// A state file was taken over by a command on the host.
    StateImported,
    /// The state could not be written, so something is held in memory for now.
    StateUnsaved,
}

/// How grave a line is, named as the old program named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All is as it should be.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    /// Returns the syslog severity (RFC 5424 §6.2.1).
    pub fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 6,
        }
    }
}

impl Event {
    /// Returns how grave it is.
    pub fn level(&self) -> Level {
        match self {
            Self::Failed { .. }
            | Self::RateLimited { .. }
            | Self::OpenMode
            | Self::Declined
            | Self::TurnedOff
            | Self::LoginReset
            | Self::TwoFactorDisabled { .. }
            | Self::TokenExpiring { .. }
            | Self::TokenRefused { .. }
            | Self::TlsTurnedOff
            | Self::TlsReverted
            | Self::TlsExpiring { .. }
            | Self::CertificateRefused { .. }
            | Self::TlsRefused { .. }
            | Self::ProxyTrusted { .. }
            | Self::StateRestored => Level::Warning,
            Self::StateLocked { .. } | Self::StateUnsaved | Self::TlsFailed { .. } => Level::Error,
            Self::SignedIn { .. }
            | Self::BackupCodeUsed { .. }
            | Self::EnrolmentStarted
            | Self::TwoFactorEnabled { .. }
            | Self::BackupCodesRenewed
            | Self::PasskeyAdded { .. }
            | Self::PasskeyRenamed { .. }
            | Self::PasskeyRemoved { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRotated { .. }
            | Self::TokenRevoked { .. }
            | Self::SetUp
            | Self::DeclineTakenBack
            | Self::SignedOut { .. }
            | Self::SessionEnded { .. }
            | Self::SessionResumed { .. }
            | Self::PasswordChanged { .. }
            | Self::DisplayNameChanged
            | Self::AvatarChanged
            | Self::AvatarRemoved
            | Self::TokenFirstUsed { .. }
            | Self::Terminal { .. }
            | Self::PenaltyLifted { .. }
            | Self::TlsTried { .. }
            | Self::TlsChanged { .. }
            | Self::TlsReloaded
            | Self::CertificateObtained { .. }
            | Self::ProxyDistrusted { .. }
            | Self::StateUnlocked
            | Self::StateReloaded
            | Self::StateImported => Level::Info,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::SignedIn { .. } => "authentication success",
            Self::Failed { .. } | Self::RateLimited { .. } => "authentication failure",
            Self::BackupCodeUsed { .. } => "backup code used",
            Self::EnrolmentStarted => "two-factor enrolment started",
            Self::TwoFactorEnabled { .. } => "two-factor enabled",
            Self::TwoFactorDisabled { .. } => "two-factor disabled",
            Self::BackupCodesRenewed => "backup codes renewed",
            Self::PasskeyAdded { .. } => "passkey added",
            Self::PasskeyRenamed { .. } => "passkey renamed",
            Self::PasskeyRemoved { .. } => "passkey removed",
            Self::TokenCreated { .. } => "token created",
            Self::TokenRotated { .. } => "token replaced",
            Self::TokenRevoked { .. } => "token revoked",
            Self::TokenExpiring { .. } => "token expires soon",
            Self::SetUp => "password set up",
            Self::Declined => "protection declined",
            Self::DeclineTakenBack => "protection no longer declined",
            Self::OpenMode => "running without protection",
            Self::TurnedOff => "protection turned off",
            Self::LoginReset => "login reset from the host",
            Self::SignedOut { .. } => "signed out",
            Self::SessionEnded { .. } => "session ended",
            Self::SessionResumed { .. } => "session resumed",
            Self::PasswordChanged { .. } => "password changed",
            Self::DisplayNameChanged => "display name changed",
            Self::AvatarChanged => "avatar changed",
            Self::AvatarRemoved => "avatar removed",
            Self::PenaltyLifted { .. } => "penalty lifted from the host",
            Self::TokenFirstUsed { .. } => "token first used",
            Self::TokenRefused { .. } => "token refused",
            Self::TlsTried { .. } => "tls tried",
            Self::TlsRefused { .. } => "tls refused",
            Self::TlsChanged { .. } => "tls changed",
            Self::TlsTurnedOff => "tls turned off",
            Self::TlsReverted => "tls reverted",
            Self::TlsReloaded => "tls certificate reloaded",
            Self::TlsFailed { .. } => "tls certificate not usable",
            Self::TlsExpiring { .. } => "tls certificate expires soon",
            Self::CertificateObtained { .. } => "tls certificate obtained",
            Self::CertificateRefused { .. } => "tls certificate not obtained",
            Self::ProxyTrusted { .. } => "proxy trusted",
            Self::ProxyDistrusted { .. } => "proxy no longer trusted",
            Self::Terminal { step, .. } => step.text(),
            Self::StateLocked { .. } => "state locked",
            Self::StateUnlocked => "state unlocked",
            Self::StateReloaded => "state changed outside the server",
            Self::StateRestored => "state restored from the host",
            Self::StateImported => "state imported from the host",
            Self::StateUnsaved => "state not saved",
        }
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each kind of event")]
    fn write_fields(&self, line: &mut String) {
        match self {
            Self::SignedIn { method, session } => {
                fields(line, [("method", method.name()), ("session", session)]);
            }
            Self::Failed { method, purpose } => {
                fields(
                    line,
                    [("method", method.name()), ("reason", purpose.name())],
                );
            }
            Self::RateLimited { repeated } => {
                field(line, "reason", "rate_limited");
                more_than_one(line, "repeated", *repeated);
            }
            Self::BackupCodeUsed { left } => number(line, "left", *left as u64),
            Self::PasswordChanged { ended }
            | Self::TwoFactorEnabled { ended }
            | Self::TwoFactorDisabled { ended } => number(line, "ended", *ended as u64),
            Self::PasskeyAdded { passkey }
            | Self::PasskeyRenamed { passkey }
            | Self::PasskeyRemoved { passkey } => field(line, "passkey", passkey),
            Self::TokenCreated { token, scope } => {
                fields(line, [("token", token), ("scope", scope)]);
            }
            Self::TokenRotated { token, successor } => {
                fields(line, [("token", token), ("successor", successor)]);
            }
            Self::TokenExpiring { token, days } => {
                field(line, "token", token);
                number(line, "days", days.unsigned_abs());
            }
            Self::SignedOut { session }
            | Self::SessionEnded { session }
            | Self::SessionResumed { session } => field(line, "session", session),
            Self::PenaltyLifted { subject } => field(line, "subject", subject),
            Self::TokenFirstUsed { token } | Self::TokenRevoked { token } => {
                field(line, "token", token);
            }
            Self::TokenRefused { token, reason } => {
                fields(line, [("token", token), ("reason", reason)]);
            }
            Self::Terminal { holder, step } => write_terminal(line, holder, step),
            Self::TlsTried { source } | Self::TlsChanged { source } => {
                field(line, "source", source);
            }
            Self::TlsRefused { source, reason } => {
                fields(line, [("source", source), ("reason", reason)]);
            }
            Self::TlsExpiring { days } => number(line, "days", days.unsigned_abs()),
            Self::CertificateObtained { names } => field(line, "names", names),
            Self::CertificateRefused { names, reason } => {
                fields(line, [("names", names), ("reason", reason)]);
            }
            Self::ProxyTrusted { network } | Self::ProxyDistrusted { network } => {
                field(line, "network", network);
            }
            Self::StateLocked { problem } | Self::TlsFailed { problem } => {
                field(line, "reason", problem);
            }
            Self::EnrolmentStarted
            | Self::BackupCodesRenewed
            | Self::SetUp
            | Self::Declined
            | Self::DeclineTakenBack
            | Self::OpenMode
            | Self::TurnedOff
            | Self::LoginReset
            | Self::DisplayNameChanged
            | Self::AvatarChanged
            | Self::AvatarRemoved
            | Self::TlsTurnedOff
            | Self::TlsReverted
            | Self::TlsReloaded
            | Self::StateUnlocked
            | Self::StateReloaded
            | Self::StateRestored
            | Self::StateImported
            | Self::StateUnsaved => {}
        }
    }
}

/// The name under which lines go to the log and the journal.
pub const IDENTIFIER: &str = "proxmenux-auth";

/// Returns the line without its date and level, as the journal gets it.
pub fn message(event: &Event, actor: &Actor) -> String {
    let mut line = format!("{};", event.text());
    if let Some(address) = actor.address {
        let address = address.to_canonical();
        // An address is never encoded: the filter reads it as it is.
        let _infallible = write!(line, " rhost={address}");
    }
    field(&mut line, "user", actor.user.as_deref().unwrap_or("-"));
    event.write_fields(&mut line);
    line
}

/// Returns the whole line with its line feed, in the zone of `at`.
pub fn line(event: &Event, actor: &Actor, at: &ZonedDateTime) -> String {
    format!(
        "{} {:<7} {IDENTIFIER}: {}\n",
        at.strftime("%Y-%m-%d %H:%M:%S"),
        event.level().name(),
        message(event, actor)
    )
}

const MAX_VALUE: usize = 64;

fn field(line: &mut String, key: &str, value: &str) {
    let _infallible = write!(line, " {key}={}", Encoded(value));
}

fn write_terminal(line: &mut String, holder: &Who, step: &TerminalStep) {
    match holder {
        Who::Session(session) => field(line, "session", session),
        Who::Token(token) => field(line, "token", token),
        Who::OpenMode(_) => {}
    }
    match step {
        TerminalStep::Opened { terminal } | TerminalStep::Resumed { terminal } => {
            field(line, "terminal", terminal);
        }
        TerminalStep::Closed {
            terminal,
            reason,
            seconds,
        } => {
            fields(line, [("terminal", terminal), ("reason", reason)]);
            number(line, "seconds", *seconds);
        }
        TerminalStep::Refused { reason } => field(line, "reason", reason),
    }
}

fn fields(line: &mut String, pairs: [(&str, &str); 2]) {
    for (key, value) in pairs {
        field(line, key, value);
    }
}

fn more_than_one(line: &mut String, key: &str, value: u64) {
    if value > 1 {
        number(line, key, value);
    }
}

fn number(line: &mut String, key: &str, value: u64) {
    let _infallible = write!(line, " {key}={value}");
}

/// A value from outside: 64 characters of it, and of those only harmless ones as they are.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(MAX_VALUE) {
            if character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '@' | '-') {
                f.write_char(character)?;
                continue;
            }
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at() -> ZonedDateTime {
        "2026-04-24T14:32:11[UTC]".parse().unwrap()
    }

    fn actor(user: &str) -> Actor {
        Actor {
            address: Some("192.0.2.10".parse().unwrap()),
            user: Some(user.to_owned()),
        }
    }

    const FAILED: Event = Event::Failed {
        method: Method::Password,
        purpose: Purpose::SignIn,
    };

    #[test]
    fn a_failure_is_the_line_that_filters_look_for() {
        assert_eq!(
            line(&FAILED, &actor("admin"), &at()),
            "2026-04-24 14:32:11 WARNING proxmenux-auth: authentication failure; rhost=192.0.2.10 user=admin method=password reason=sign_in\n"
        );
    }

    #[test]
    fn a_success_is_padded_to_the_same_width() {
        let event = Event::SignedIn {
            method: Method::Code,
            session: "0a1b".to_owned(),
        };
        assert_eq!(
            line(&event, &actor("admin"), &at()),
            "2026-04-24 14:32:11 INFO    proxmenux-auth: authentication success; rhost=192.0.2.10 user=admin method=code session=0a1b\n"
        );
    }

    #[test]
    fn hostile_names_stay_one_value() {
        for (name, written) in [
            ("", ""),
            ("a b", "a%20b"),
            ("x\nrhost=203.0.113.1", "x%0Arhost%3D203.0.113.1"),
            (
                "authentication failure; rhost=203.0.113.1 user=",
                "authentication%20failure%3B%20rhost%3D203.0.113.1%20user%3D",
            ),
            ("ñ%", "%C3%B1%25"),
        ] {
            let message = message(&FAILED, &actor(name));
            let expected = format!(
                "authentication failure; rhost=192.0.2.10 user={written} method=password reason=sign_in"
            );
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn mapped_addresses_are_written_as_what_they_are() {
        let actor = Actor {
            address: Some("::ffff:192.0.2.10".parse().unwrap()),
            user: None,
        };
        assert_eq!(
            message(&Event::SetUp, &actor),
            "password set up; rhost=192.0.2.10 user=-"
        );
    }

    proptest! {
        #[test]
        fn no_name_forms_a_field_or_a_line(name in any::<String>()) {
            let line = line(&FAILED, &actor(&name), &at());

            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(line.matches("rhost=").count(), 1);
            prop_assert_eq!(line.split(' ').count(), 10);
            prop_assert!(line.len() < 1000);
        }
    }
}
