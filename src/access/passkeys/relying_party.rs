//! Where passkeys can be used: they belong to a host's name, so there must be one, and a browser
//! only offers them to pages that cannot have been changed on the way.

use std::fmt;

use webauthn_rs::prelude::{Url, Webauthn, WebauthnBuilder};

use crate::access::hosts::{HostName, Origin};

/// What browsers may show as the name of the site.
const NAME: &str = "ProxMenux Monitor";

/// The site that a passkey belongs to (WebAuthn §4, relying party), at one origin.
#[derive(Clone)]
pub struct RelyingParty {
    id: HostName,
    site: Webauthn,
}

/// Why there are no passkeys at this page's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It has no name: passkeys belong to one, never to an address.
    #[error("the page was opened by an address, not by a name")]
    Address,
    /// It is neither HTTPS nor this very machine.
    #[error("the page was opened without HTTPS")]
    NotHttps,
}

impl RelyingParty {
    /// Returns the site that a page of this origin is of: exactly its host's name (WebAuthn
    /// §5.1.3, the effective domain), and no other origin, be it a port or a subdomain away.
    pub fn of(page: Option<&Origin>) -> Result<Self, Unavailable> {
        let page = page.ok_or(Unavailable::Address)?;
        let id = page.host_name().ok_or(Unavailable::Address)?;
        if !page.is_https() && !id.is_loopback() {
            return Err(Unavailable::NotHttps);
        }
        // A name such as `1.2` is an address to browsers, and to this parser.
        let url = Url::parse(&page.to_string()).map_err(|_no_name| Unavailable::Address)?;
        let site = WebauthnBuilder::new(id.as_str(), &url)
            .and_then(|builder| builder.rp_name(NAME).build())
            .map_err(|_no_name| Unavailable::Address)?;
        Ok(Self { id, site })
    }

    /// Returns the name that its passkeys belong to.
    pub fn id(&self) -> &HostName {
        &self.id
    }

    pub(super) fn site(&self) -> &Webauthn {
        &self.site
    }
}

impl fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelyingParty({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(origin: &str) -> Result<String, Unavailable> {
        let origin = Origin::parse(origin).unwrap();
        RelyingParty::of(Some(&origin)).map(|party| party.id().to_string())
    }

    #[test]
    fn a_site_is_a_name_over_https_or_this_machine() {
        for (origin, id) in [
            ("https://pve.example.net", "pve.example.net"),
            ("https://PVE.example.net:8008", "pve.example.net"),
            ("https://pve", "pve"),
            ("https://under_score.lan", "under_score.lan"),
            ("https://localhost:8008", "localhost"),
            ("http://localhost", "localhost"),
            ("http://localhost:8008", "localhost"),
            ("http://pve.localhost:8008", "pve.localhost"),
        ] {
            assert_eq!(at(origin).as_deref(), Ok(id), "{origin}");
        }
    }

    #[test]
    fn elsewhere_there_are_no_passkeys() {
        for (origin, why) in [
            ("http://pve.example.net", Unavailable::NotHttps),
            ("http://pve:8008", Unavailable::NotHttps),
            ("http://localhost.example.net", Unavailable::NotHttps),
            ("http://notlocalhost", Unavailable::NotHttps),
            ("https://192.0.2.1:8008", Unavailable::Address),
            ("https://[2001:db8::1]:8008", Unavailable::Address),
            ("http://127.0.0.1:8008", Unavailable::Address),
            ("http://[::1]", Unavailable::Address),
            ("https://1.2", Unavailable::Address),
            ("https://pve.0x7f", Unavailable::Address),
        ] {
            assert_eq!(at(origin), Err(why), "{origin}");
        }
        assert_eq!(RelyingParty::of(None).err(), Some(Unavailable::Address));
    }
}
