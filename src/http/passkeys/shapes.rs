//! What calls about passkeys take and give.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::proof::PresentedPasskey;
use crate::access::passkeys::{Passkey, RelyingParty};
use crate::access::rfc3339;

/// What the browser is asked.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CeremonyAnswer {
    pub(super) success: bool,
    /// What the answer is sent back with; it counts once, for five minutes.
    pub(super) ceremony: String,
    /// What `navigator.credentials` takes, in its JSON form.
    #[schema(value_type = Object)]
    pub(super) options: Value,
}

/// What renames a passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RenameBody {
    /// The new name.
    pub(super) name: String,
    /// The current password.
    pub(super) password: Option<String>,
    /// A code, if two-factor is on and was not proved lately; `totp_token` is taken too.
    #[serde(alias = "totp_token")]
    pub(super) totp_code: Option<String>,
    /// A passkey, in place of both.
    pub(super) passkey: Option<PresentedPasskey>,
}

/// A passkey that was made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MadeBody {
    /// The ceremony that was begun.
    pub(super) ceremony: String,
    /// What `navigator.credentials.create` gave, as `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(super) credential: Value,
    /// What to call it; left out, it is named after the browser.
    pub(super) name: Option<String>,
}

/// The passkeys of the account.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PasskeysAnswer {
    pub(super) success: bool,
    pub(super) passkeys: Vec<ListedPasskey>,
    /// Whether passkeys can be used at the address that the page was opened by.
    pub(super) available_here: bool,
    /// If not: `address` (there is no name) or `not_https`.
    pub(super) unavailable_reason: Option<&'static str>,
}

/// One passkey.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedPasskey {
    /// The name by which it is changed.
    pub(super) id: String,
    /// What its person calls it.
    pub(super) name: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    /// When it was last used.
    #[schema(format = DateTime)]
    pub(super) last_used_at: Option<String>,
    /// The host name that it belongs to.
    pub(super) rp_id: String,
    /// Whether that is the name that the page was opened by.
    pub(super) usable_here: bool,
}

/// A passkey that was changed.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PasskeyAnswer {
    pub(super) success: bool,
    pub(super) message: &'static str,
    pub(super) passkey: ListedPasskey,
    /// How many other sessions ended with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<usize>,
}

/// A passkey that was removed.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RemovedAnswer {
    pub(super) success: bool,
    pub(super) message: &'static str,
    /// How many other sessions ended with it.
    pub(super) ended: usize,
}

impl ListedPasskey {
    /// Shows a passkey to a page of the site `here`.
    pub(super) fn of(passkey: &Passkey, here: Option<&RelyingParty>) -> Self {
        Self {
            id: passkey.id.clone(),
            name: passkey.name.as_str().to_owned(),
            created_at: rfc3339(passkey.created_at),
            last_used_at: passkey.last_used_at.map(rfc3339),
            rp_id: passkey.rp_id.to_string(),
            usable_here: here.is_some_and(|here| *here.id() == passkey.rp_id),
        }
    }
}
