//! What a client sees when no terminal is given.

use axum::http::StatusCode;

use super::super::error::Error;
use crate::terminals::{MOST, MOST_EACH, TicketError};

/// Why a call about terminals came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum TerminalFault {
    /// Who asks must prove again who they are, and with what.
    StepUpRequired(StepUp),
    /// The terminal has ended, or is somebody else's.
    Gone,
    /// There are as many as there may be.
    TooMany,
    /// The ticket was used, is too old, or never was one.
    TicketInvalid,
    /// The request is none for a WebSocket.
    UpgradeRequired,
}

/// What proves it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum StepUp {
    /// A code of the second factor, or a passkey.
    Code,
    /// The password, or a passkey.
    Password,
}

impl StepUp {
    /// Returns the reason's name for the audit log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Code => "second_factor_needed",
            Self::Password => "locked",
        }
    }
}

impl TerminalFault {
    /// Returns the status and the code.
    pub(in crate::http) fn kind(self) -> (StatusCode, &'static str) {
        match self {
            Self::StepUpRequired(_) => (StatusCode::FORBIDDEN, "step_up_required"),
            Self::Gone => (StatusCode::NOT_FOUND, "terminal_gone"),
            Self::TooMany => (StatusCode::CONFLICT, "too_many_terminals"),
            Self::TicketInvalid => (StatusCode::UNAUTHORIZED, "ticket_invalid"),
            Self::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "upgrade_required"),
        }
    }

    /// Returns whether a code would do.
    pub(in crate::http) fn requires_totp(self) -> Option<bool> {
        (self == Self::StepUpRequired(StepUp::Code)).then_some(true)
    }

    /// Returns the short text.
    pub(in crate::http) fn short(self) -> &'static str {
        match self {
            Self::StepUpRequired(_) => "Confirmation required",
            Self::Gone => "Terminal gone",
            Self::TooMany => "Too many terminals",
            Self::TicketInvalid => "Invalid ticket",
            Self::UpgradeRequired => "Upgrade required",
        }
    }

    /// Returns a sentence for people that says what to do.
    pub(in crate::http) fn sentence(self) -> String {
        match self {
            Self::StepUpRequired(StepUp::Code) => "A terminal asks for a recent second factor. Enter a code from the authenticator app or a backup code, or use a passkey.".to_owned(),
            Self::StepUpRequired(StepUp::Password) => "This terminal was locked because nobody typed. Enter the password, or use a passkey.".to_owned(),
            Self::Gone => "This terminal has ended. Open a new one.".to_owned(),
            Self::TooMany => format!("There are {MOST_EACH} terminals of this session or {MOST} in all already. Close one first."),
            Self::TicketInvalid => "This ticket was used already, or is older than ten seconds. Ask for a new one with `POST /api/terminal/ticket`.".to_owned(),
            Self::UpgradeRequired => "This address takes WebSocket connections only.".to_owned(),
        }
    }
}

impl From<TerminalFault> for Error {
    fn from(fault: TerminalFault) -> Self {
        Self::Terminal(fault)
    }
}

impl From<TicketError> for Error {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Gone => TerminalFault::Gone.into(),
            TicketError::TooMany => TerminalFault::TooMany.into(),
            TicketError::Random(error) => Self::Internal(error.into()),
        }
    }
}
