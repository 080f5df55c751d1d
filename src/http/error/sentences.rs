//! What people read when something is refused or fails: a sentence each, which says what to do.

use std::net::IpAddr;

use jiff::SignedDuration;

use super::{BodyError, ClockSkew, Error, TokenWishError, whole_seconds};
use crate::access::attempts::{SubjectKind, TooMany};
use crate::access::rights::Refusal;
use crate::access::setup::SetupRefusal;
use crate::access::tokens::lifecycle::{MAX_DAYS, MAX_NETWORKS, MAX_OVERLAP_HOURS};
use crate::store::StoreError;

impl Error {
    /// Returns a sentence for people that says what to do.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal_sentence(*refusal).to_owned(),
            Self::ForeignOrigin => "This request came from a page of another site. Use the dashboard's own page.".to_owned(),
            Self::Locked(..) => "The state file cannot be read, so nobody is let in. As root on the host, run `proxmenux-monitor restore`.".to_owned(),
            Self::BadHost => "Send exactly one Host header.".to_owned(),
            Self::NotFound => "There is nothing at this address.".to_owned(),
            Self::NoAvatar => "There is no avatar.".to_owned(),
            Self::MethodNotAllowed(methods) => format!("This address takes {methods} only."),
            Self::Body(error) => body_sentence(error),
            Self::SetUp(refusal) => setup_sentence(*refusal).to_owned(),
            Self::AlreadyConfigured => "A password protects this dashboard already. Sign in; if it was not you who set it, run `proxmenux-monitor reset-password` on the host.".to_owned(),
            Self::NotDeclined => "Nobody chose to continue without protection, so there is nothing to take back.".to_owned(),
            Self::WeakPassword { rules, .. } => {
                let sentences = rules.iter().map(ToString::to_string);
                Vec::from_iter(sentences).join(" ")
            }
            Self::UserName(error) => format!("Choose another user name: {error}."),
            Self::DisplayName(error) => format!("Choose another display name: {error}."),
            Self::Avatar(error) => format!("The image was not stored: {error}."),
            Self::InvalidCredentials => "User name and password do not match. If the password is lost, run `proxmenux-monitor reset-password` on the host.".to_owned(),
            Self::WrongFirstCode { skew: None } => "That code is wrong. Check that the app holds this secret, wait for its next code and enter that.".to_owned(),
            Self::WrongCode { skew } | Self::WrongFirstCode { skew } | Self::Reauthentication { field: "totp_code", skew } => code_sentence(*skew),
            Self::NoEnrolment => "No app is being enrolled, or it took longer than ten minutes. Start again.".to_owned(),
            Self::TwoFactorOff => "Two-factor is off, so there is nothing to change.".to_owned(),
            Self::CodeAlreadyUsed { retry_after, .. } => match retry_after {
                Some(wait) => format!("This code was used already. Wait {} for the next one.", in_words(*wait)),
                None => "This backup code was used already. Use another one, or run `proxmenux-monitor totp disable` on the host.".to_owned(),
            },
            Self::CodeRequired => "Enter a code from the authenticator app or a backup code too.".to_owned(),
            Self::Reauthentication { field: "passkey", .. } => "This passkey does not open this dashboard. Nothing was changed. Use another one, or the password.".to_owned(),
            Self::Reauthentication { .. } => "The current password is wrong or missing, so nothing was changed. If it is lost, run `proxmenux-monitor reset-password` on the host.".to_owned(),
            Self::NotProtected => "No password protects this dashboard, so there is nothing to confirm with. Set a password up first.".to_owned(),
            Self::TooManyAttempts { refusal, address } => too_many_sentence(refusal, *address),
            Self::Busy => "Too many sign-ins are waiting. Try again in 2 seconds.".to_owned(),
            Self::Passkey(fault) => fault.sentence(),
            Self::Tls(fault) => fault.sentence(),
            Self::Proxy(fault) => fault.sentence(),
            Self::Terminal(fault) => fault.sentence(),
            Self::TokenWish(error) => error.sentence(),
            Self::TokenNotFound => "There is no such token; the list shows which there are.".to_owned(),
            Self::SessionNotFound => "There is no such session; it may have ended already.".to_owned(),
            Self::NoSession => "There is no session to resume. Sign in.".to_owned(),
            Self::Storage(error) => storage_sentence(error).to_owned(),
            Self::Internal(_) => "Something went wrong on the server. Its log says what.".to_owned(),
        }
    }
}

fn refusal_sentence(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SetupRequired => {
            "Set this dashboard up first: open its page, or run `proxmenux-monitor claim-code` on the host."
        }
        Refusal::AuthenticationRequired => {
            "Sign in, or send an API token as `Authorization: Bearer <token>`."
        }
        Refusal::InvalidHeader => "Send the token as `Authorization: Bearer <token>`.",
        Refusal::InvalidToken => {
            "The token is invalid, revoked or expired. Sign in again, or make a new API token."
        }
        Refusal::InsufficientScope => {
            "This token may not do this. Use one with a wider scope, or sign in."
        }
        Refusal::PrivateOnly => {
            "Without a password this dashboard answers private addresses only. Set a password up."
        }
        Refusal::HostRefused => {
            "This dashboard does not go by that name. Use its address, or add the name to `host_names` in monitor.toml."
        }
    }
}

fn setup_sentence(refusal: SetupRefusal) -> &'static str {
    match refusal {
        SetupRefusal::HostRefused => refusal_sentence(Refusal::HostRefused),
        SetupRefusal::CodeRequired => {
            "From here the claim code is needed: run `proxmenux-monitor claim-code` on the host."
        }
        SetupRefusal::CodeWrong => {
            "The claim code is wrong. `proxmenux-monitor claim-code` on the host shows it."
        }
    }
}

fn body_sentence(error: &BodyError) -> String {
    match error {
        BodyError::Malformed { message, .. } => message.clone(),
        BodyError::MediaType(expected) => format!("Send {expected}, and say so in Content-Type."),
        BodyError::TooLarge => "The body is larger than this call takes.".to_owned(),
        BodyError::Incomplete => "The body did not arrive in time.".to_owned(),
    }
}

fn code_sentence(skew: Option<ClockSkew>) -> String {
    let Some(skew) = skew else {
        return "That code is wrong. Wait for the next one, or use a backup code; if the phone is lost, run `proxmenux-monitor totp disable` on the host.".to_owned();
    };
    let direction = if skew.seconds > 0 {
        "ahead of"
    } else {
        "behind"
    };
    let difference = in_words(SignedDuration::from_secs(skew.seconds.abs()));
    format!(
        "That code belongs to another time: your phone is {difference} {direction} this host. Set the phone's clock, then use the next code."
    )
}

fn too_many_sentence(refusal: &TooMany, address: IpAddr) -> String {
    let wait = in_words(refusal.retry_after);
    if refusal.until.is_none() {
        return format!("Other tries from here are still being checked. Try again in {wait}.");
    }
    let whose = match refusal.subject {
        SubjectKind::Account => {
            return format!(
                "Too many wrong codes for this account. Codes from unknown devices are taken again in {wait}. On the host, `proxmenux-monitor ban lift account` ends this."
            );
        }
        SubjectKind::Device => "--all".to_owned(),
        SubjectKind::Address | SubjectKind::Network48 | SubjectKind::Proxy => address.to_string(),
    };
    format!(
        "Too many failed tries from {address}. Try again in {wait}. On the host, `proxmenux-monitor ban lift {whose}` ends this."
    )
}

fn storage_sentence(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full => {
            "The host's disk is full, so nothing was changed. Make room, then try again."
        }
        StoreError::Gone => {
            "The state file is not there at the moment, so nothing was changed. Try again in two seconds."
        }
        StoreError::Busy => {
            "The state is being changed by a command on the host. Try again in a moment."
        }
        StoreError::Stopping => "The server is stopping. Try again in a moment.",
        StoreError::Locked(_) | StoreError::Failed(_) => {
            "The state could not be written, so nothing was changed. The server's log says why."
        }
    }
}

impl TokenWishError {
    fn sentence(self) -> String {
        match self {
            Self::Name(error) => format!("Choose another name: {error}."),
            Self::Scope => "Choose one of the scopes metrics, read_only, operator and full_admin.".to_owned(),
            Self::Expiry => format!("Choose 1 to {MAX_DAYS} days."),
            Self::Network => format!("Write each network as an address or in CIDR notation, such as 192.0.2.0/24; {MAX_NETWORKS} at most."),
            Self::Terminal => "Only a token with the scope full_admin may open a terminal.".to_owned(),
            Self::Overlap => format!("Choose 0 to {MAX_OVERLAP_HOURS} hours."),
            Self::NotReplaceable => "This token cannot be replaced, since it does not count any more, was replaced already, or its reach or name cannot be taken over. Make a new one.".to_owned(),
        }
    }
}

/// Says a wait in words.
fn in_words(wait: SignedDuration) -> String {
    let seconds = whole_seconds(wait);
    match seconds {
        1 => "1 second".to_owned(),
        2..=119 => format!("{seconds} seconds"),
        120..=7199 => format!("{} minutes", (seconds + 59) / 60),
        _hours => format!("{} hours", (seconds + 3599) / 3600),
    }
}
