//! Configurations of reverse proxies, ready to paste.
//!
//! Each is a template beside this file, filled in with a host name, a path and an address that were
//! parsed: nothing else gets into a configuration that root will load. Tests run every one in the
//! real proxy.

use std::net::SocketAddr;
use std::str::FromStr;

use crate::access::hosts::HostName;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nginx.
    Nginx,
    /// Caddy.
    Caddy,
    /// Traefik, with a file of its dynamic configuration.
    Traefik,
}

impl Kind {
    /// Returns the name, as it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }
}

/// There is no configuration for such a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be nginx, caddy or traefik")]
pub struct ParseKindError;

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kinds = [Self::Nginx, Self::Caddy, Self::Traefik];
        let mut kinds = kinds.into_iter();
        kinds.find(|kind| kind.name() == text).ok_or(ParseKindError)
    }
}

/// Where the dashboard is to be seen: under a host name of its own, or below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: Option<HostName>,
    path: Option<SubPath>,
}

/// The place cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlaceError {
    /// Neither a name nor a path.
    #[error("a host name, a path or both are needed")]
    Nowhere,
    /// The host is no host name.
    #[error("must be a host name such as dash.example.net")]
    Host,
    /// The path is not plain.
    #[error("must be a path such as /monitor/ of letters, digits and -._~")]
    Path,
}

impl ParsePlaceError {
    /// Returns what is wrong: the host or the path.
    pub fn field(self) -> &'static str {
        match self {
            Self::Nowhere | Self::Host => "host",
            Self::Path => "path",
        }
    }
}

impl Place {
    /// Reads a host name and a path; what is empty is not there, and `/` is no path.
    ///
    /// ```
    /// use proxmenux_monitor::access::snippets::Place;
    ///
    /// assert!(Place::parse(Some("dash.example.net"), None).is_ok());
    /// assert!(Place::parse(None, Some("/monitor")).is_ok());
    /// assert!(Place::parse(None, Some("/a;b/")).is_err());
    /// ```
    pub fn parse(host: Option<&str>, path: Option<&str>) -> Result<Self, ParsePlaceError> {
        let host = host.filter(|host| !host.is_empty());
        let path = path.filter(|path| !path.trim_matches('/').is_empty());
        let place = Self {
            host: match host.map(HostName::parse) {
                Some(Ok(host)) => Some(host),
                Some(Err(_no_name)) => return Err(ParsePlaceError::Host),
                None => None,
            },
            path: match path.map(SubPath::parse) {
                Some(Some(path)) => Some(path),
                Some(None) => return Err(ParsePlaceError::Path),
                None => None,
            },
        };
        if place.host.is_none() && place.path.is_none() {
            return Err(ParsePlaceError::Nowhere);
        }
        Ok(place)
    }

    /// Returns a name for files and routers.
    fn name(&self) -> String {
        let host = self.host.as_ref().map(HostName::as_str);
        let path = self.path.as_ref().map(|SubPath(path)| path.as_str());
        let text = format!(
            "monitor.{}{}",
            host.unwrap_or_default(),
            path.unwrap_or_default()
        );
        let words = text.split(|character: char| !character.is_ascii_alphanumeric());
        Vec::from_iter(words.filter(|word| !word.is_empty())).join("-")
    }
}

/// A path without its last slash: `/monitor`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SubPath(String);

impl SubPath {
    const MAX: usize = 128;

    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('/')?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let is_plain = |segment: &str| {
            let bytes = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(bytes)
        };
        let fits = text.len() <= Self::MAX && inner.split('/').all(is_plain);
        fits.then(|| Self(format!("/{inner}")))
    }
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// How to name the file.
    pub file_name: String,
    /// The text.
    pub text: String,
    /// What to do beside pasting it.
    pub notes: Vec<&'static str>,
}

/// Returns the configuration that shows the server at `upstream` at a place.
pub fn snippet(kind: Kind, place: &Place, upstream: SocketAddr) -> Snippet {
    let template = match (kind, &place.path) {
        (Kind::Nginx, None) => include_str!("nginx-host.conf"),
        (Kind::Nginx, Some(_)) => include_str!("nginx-path.conf"),
        (Kind::Caddy, None) => include_str!("caddy-host.caddyfile"),
        (Kind::Caddy, Some(_)) => include_str!("caddy-path.caddyfile"),
        (Kind::Traefik, None) => include_str!("traefik-host.yml"),
        (Kind::Traefik, Some(_)) => include_str!("traefik-path.yml"),
    };
    let host = place.host.as_ref().map(HostName::as_str);
    let prefix = place.path.as_ref().map_or("", |SubPath(path)| path);
    let host_and = host.map(|host| format!("Host(`{host}`) && "));
    let name = place.name();
    let text = template
        .replace("{{host_and}}", &host_and.unwrap_or_default())
        .replace("{{host}}", host.unwrap_or("your host"))
        .replace("{{path}}", &format!("{prefix}/"))
        .replace("{{prefix}}", prefix)
        .replace("{{name}}", &name)
        .replace("{{upstream}}", &upstream.to_string());
    let end = match kind {
        Kind::Nginx => "conf",
        Kind::Caddy => "caddyfile",
        Kind::Traefik => "yml",
    };
    Snippet {
        file_name: format!("{name}.{end}"),
        text,
        notes: notes(kind, place),
    }
}

fn notes(kind: Kind, place: &Place) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if kind == Kind::Nginx && place.path.is_none() {
        notes.push("Fill in your certificate and its key.");
    }
    notes.push(
        "If the proxy runs on another host, name this host's address in it, and trust the proxy here once it was seen.",
    );
    if place.host.is_some() {
        notes
            .push("For set-up and without a password, add the name to host_names in monitor.toml.");
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upstream() -> SocketAddr {
        "127.0.0.1:8008".parse().unwrap()
    }

    const KINDS: [Kind; 3] = [Kind::Nginx, Kind::Caddy, Kind::Traefik];

    #[test]
    fn every_template_is_filled_in_whole() {
        for kind in KINDS {
            for (host, path) in [
                (Some("dash.example.net"), None),
                (Some("dash.example.net"), Some("/hosts/pve")),
                (None, Some("/monitor/")),
            ] {
                let place = Place::parse(host, path).unwrap();
                let made = snippet(kind, &place, upstream());
                assert!(!made.text.contains("{{"), "{}", made.text);
                assert!(made.text.contains("127.0.0.1:8008"));
                for part in host.into_iter().chain(path) {
                    assert!(made.text.contains(part), "{part}: {}", made.text);
                }
            }
        }
    }

    #[test]
    fn nothing_hostile_gets_into_a_configuration() {
        for host in [
            "a;b", "a b", "`", "{", "a\nb", "$host", "*", "../x", "a/b", "é",
        ] {
            assert_eq!(
                Place::parse(Some(host), None),
                Err(ParsePlaceError::Host),
                "{host:?}"
            );
        }
        for path in [
            "monitor", "/a;b/", "/a b/", "/a/../b/", "/./", "//a", "/a//b/", "/$x/", "/a`/",
            "/{x}/", "/a\n/", "/é/", "/%2e/",
        ] {
            assert_eq!(
                Place::parse(None, Some(path)),
                Err(ParsePlaceError::Path),
                "{path:?}"
            );
        }
        assert_eq!(Place::parse(None, Some("/")), Err(ParsePlaceError::Nowhere));
        assert_eq!(Place::parse(Some(""), None), Err(ParsePlaceError::Nowhere));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_plain(host: String, path: String) {
            if let Ok(place) = Place::parse(Some(&host), Some(&path)) {
                for kind in KINDS {
                    let made = snippet(kind, &place, upstream());
                    prop_assert!(made.text.is_ascii());
                }
            }
        }
    }
}
