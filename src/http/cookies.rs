//! The two cookies: one resumes a session after a reload, one marks a device that has signed in.
//!
//! Both are unreadable for scripts, never sent by other sites, and go to `/api/auth` only. Over
//! HTTPS they have other names than over plain HTTP, so that switching back locks nobody out.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;

use crate::access::digest::Digest;
use crate::access::sessions::{DEVICE_LIFETIME, LIFETIME};

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Resumes the session.
    Resume,
    /// Marks the device.
    Device,
}

impl Cookie {
    fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Resume, false) => "proxmenux_session",
            (Self::Resume, true) => "__Secure-proxmenux_session",
            (Self::Device, false) => "proxmenux_device",
            (Self::Device, true) => "__Secure-proxmenux_device",
        }
    }

    fn lifetime_seconds(self) -> i64 {
        match self {
            Self::Resume => LIFETIME.as_secs(),
            Self::Device => DEVICE_LIFETIME.as_secs(),
        }
    }

    /// Returns all values that came under this cookie's name: there can be more
    /// than one, from different paths.
    pub(super) fn values<'a>(
        self,
        headers: &'a HeaderMap,
        reach: &Reach,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = self.name(reach.https);
        let lines = headers.get_all(COOKIE).into_iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        pairs.filter_map(move |pair| {
            let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })
    }

    /// Returns the digests of those values.
    pub(super) fn digests<'a>(
        self,
        headers: &'a HeaderMap,
        reach: &Reach,
    ) -> impl Iterator<Item = Digest> + use<'a> {
        self.values(headers, reach).map(Digest::of)
    }

    /// Adds the cookie to an answer.
    pub(super) fn set(self, headers: &mut HeaderMap, value: &str, reach: &Reach) {
        self.write(headers, value, reach, self.lifetime_seconds());
    }

    /// Adds the cookie to an answer, for the rest of its time.
    pub(super) fn set_for(
        self,
        headers: &mut HeaderMap,
        value: &str,
        reach: &Reach,
        left: SignedDuration,
    ) {
        self.write(headers, value, reach, left.as_secs());
    }

    /// Makes the browser forget the cookie.
    pub(super) fn expire(self, headers: &mut HeaderMap, reach: &Reach) {
        self.write(headers, "", reach, 0);
    }

    fn write(self, headers: &mut HeaderMap, value: &str, reach: &Reach, seconds: i64) {
        let name = self.name(reach.https);
        let secure = if reach.https { "; Secure" } else { "" };
        let base = &reach.base;
        let cookie = format!(
            "{name}={value}; Path={base}/api/auth; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        );
        if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
            cookie.set_sensitive(true);
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Where cookies of a visit belong: over which protocol, and under what path a proxy shows the
/// page, as the page itself names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    https: bool,
    base: String,
}

impl Reach {
    const HEADER: &str = "x-monitor-base";
    const MAX: usize = 256;

    /// Reads the page's header; anything but a plain path is the root.
    pub(super) fn of(headers: &HeaderMap, https: bool) -> Self {
        let value = headers
            .get(Self::HEADER)
            .and_then(|value| value.to_str().ok());
        let path = value.unwrap_or_default().trim_end_matches('/');
        let base = if is_plain(path) { path } else { "" };
        Self {
            https,
            base: base.to_owned(),
        }
    }

    /// Returns the same place over plain HTTP.
    pub(super) fn over_plain_http(&self) -> Self {
        Self {
            https: false,
            base: self.base.clone(),
        }
    }

    /// Returns whether the client's own connection is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.https
    }
}

fn is_plain(path: &str) -> bool {
    path.len() <= Reach::MAX
        && path.starts_with('/')
        && !path.contains("//")
        && path.split('/').all(|part| part != ".." && part != ".")
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_base_is_a_plain_path_or_nothing() {
        for (sent, base) in [
            ("/monitor", "/monitor"),
            ("/a/b/", "/a/b"),
            ("/", ""),
            ("", ""),
            ("monitor", ""),
            ("//evil", ""),
            ("/a/../b", ""),
            ("/a; Domain=example.net", ""),
            ("/ñ", ""),
        ] {
            assert_eq!(
                Reach::of(&headers(Reach::HEADER, sent), false).base,
                base,
                "{sent}"
            );
        }
    }

    #[test]
    fn cookies_are_unreadable_strict_and_narrow() {
        let mut answer = HeaderMap::new();
        let reach = |https| Reach {
            https,
            base: "/m".to_owned(),
        };

        Cookie::Resume.set(&mut answer, "secret", &reach(true));
        Cookie::Device.expire(&mut answer, &reach(false));

        let sent = Vec::from_iter(
            answer
                .get_all(SET_COOKIE)
                .iter()
                .map(|v| v.to_str().unwrap()),
        );
        assert_eq!(
            sent,
            [
                "__Secure-proxmenux_session=secret; Path=/m/api/auth; Max-Age=86400; HttpOnly; SameSite=Strict; Secure",
                "proxmenux_device=; Path=/m/api/auth; Max-Age=0; HttpOnly; SameSite=Strict",
            ]
        );
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let sent = headers(
            "cookie",
            "a=1; proxmenux_session=x;proxmenux_session=y; proxmenux_session2=z",
        );

        let https = Reach::of(&HeaderMap::new(), true);
        let found = Vec::from_iter(Cookie::Resume.digests(&sent, &Reach::default()));

        assert_eq!(found, [Digest::of(b"x"), Digest::of(b"y")]);
        assert_eq!(Cookie::Resume.digests(&sent, &https).count(), 0);
    }
}
