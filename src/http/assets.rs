//! The page: files looked up by exact name in a table, never in a file system.
//!
//! The table is made from the files inside the binary, or from a folder while the page is worked
//! on. A name that is not in it is nothing, whatever dots, slashes or percent signs it has; to a
//! browser that navigates, it is the page's start, which knows its own routes.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;

use super::error::Error;
use crate::access::digest::Digest;

const INDEX: &str = "index.html";

/// How deep an address of the page may be.
const MAX_DEPTH: usize = 16;

/// What the page may do: its own files, its own host, nothing inline.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/web/dist"]
struct Embedded;

/// One file in each form that it is kept in.
#[derive(Clone, Debug)]
struct Asset {
    kind: &'static str,
    etag: HeaderValue,
    plain: Bytes,
    gzip: Option<Bytes>,
    brotli: Option<Bytes>,
}

/// The table of files.
#[derive(Clone, Debug, Default)]
pub struct Assets(Arc<ArcSwap<HashMap<String, Asset>>>);

impl Assets {
    /// Takes the files inside the binary.
    pub fn embedded() -> Self {
        let files = Embedded::iter().filter_map(|name| {
            let file = Embedded::get(&name)?;
            Some((name.into_owned(), Bytes::from(file.data.into_owned())))
        });
        Self::from_files(files)
    }

    /// Takes files by name, such as `assets/index-1a2b.js`; those that end in `.br` or `.gz` are
    /// compressed forms of others.
    pub fn from_files(files: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let assets = Self::default();
        assets.replace(files);
        assets
    }

    /// Takes other files from now on.
    pub fn replace(&self, files: impl IntoIterator<Item = (String, Bytes)>) {
        let files = HashMap::<String, Bytes>::from_iter(files);
        let compressed = |name: &str, end: &str| files.get(&format!("{name}.{end}")).cloned();
        let plain = files
            .iter()
            .filter(|(name, _)| !matches!(name.rsplit('.').next(), Some("br" | "gz")));
        let table = plain.filter_map(|(name, bytes)| {
            let etag = format!("\"{}\"", Digest::of(bytes).short());
            let asset = Asset {
                kind: kind(name),
                etag: HeaderValue::try_from(etag).ok()?,
                plain: bytes.clone(),
                gzip: compressed(name, "gz"),
                brotli: compressed(name, "br"),
            };
            Some((name.clone(), asset))
        });
        self.0.store(Arc::new(table.collect()));
    }

    /// Answers a request for a file or for the page.
    pub(super) fn answer(&self, request: &Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Error::MethodNotAllowed("GET, HEAD").into_response();
        }
        let table = self.0.load();
        let path = request.uri().path();
        let name = path.strip_prefix('/').unwrap_or(path);
        let headers = request.headers();
        match table.get(name).filter(|_| name != INDEX) {
            Some(asset) => asset.answer(headers, caching(name)),
            None if name.matches('/').count() > MAX_DEPTH => Error::NotFound.into_response(),
            None if name.is_empty() || name == INDEX || is_navigation(headers) => {
                match table.get(INDEX) {
                    Some(index) => index.answer_as_page(headers, name),
                    None => Error::NotFound.into_response(),
                }
            }
            None => Error::NotFound.into_response(),
        }
    }
}

impl Asset {
    fn answer(&self, headers: &HeaderMap, caching: &'static str) -> Response {
        if is_known(headers, &self.etag) {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            self.describe(response.headers_mut(), caching);
            return response;
        }
        let accepted = headers
            .get(ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok());
        let accepted = accepted.unwrap_or_default();
        let (bytes, encoding) = match (&self.brotli, &self.gzip) {
            (Some(brotli), _) if accepts(accepted, "br") => (brotli, Some("br")),
            (_, Some(gzip)) if accepts(accepted, "gzip") => (gzip, Some("gzip")),
            _neither => (&self.plain, None),
        };
        let mut response = bytes.clone().into_response();
        self.describe(response.headers_mut(), caching);
        if let Some(encoding) = encoding {
            response
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }

    /// Answers with the page's start, its links made right for the depth of the address.
    fn answer_as_page(&self, headers: &HeaderMap, name: &str) -> Response {
        let depth = name.matches('/').count();
        if depth == 0 {
            return self.answer(headers, "no-store");
        }
        let up = "../".repeat(depth);
        let text = String::from_utf8_lossy(&self.plain).replace("=\"./", &format!("=\"{up}"));
        let mut response = text.into_response();
        self.describe(response.headers_mut(), "no-store");
        response.headers_mut().remove(ETAG);
        response
    }

    fn describe(&self, headers: &mut HeaderMap, caching: &'static str) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(ETAG, self.etag.clone());
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(PAGE_POLICY),
        );
    }
}

/// Files with a hash in their name never change; the rest is asked for again.
fn caching(name: &str) -> &'static str {
    if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }
}

fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        let mut tags = known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag.as_bytes() == etag.as_bytes())
    })
}

/// Whether a browser goes to this address, rather than a page asking for a file.
fn is_navigation(headers: &HeaderMap) -> bool {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match value("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => value(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html")),
    }
}

/// Whether `Accept-Encoding` takes a coding (RFC 9110 §12.5.3).
fn accepts(header: &str, coding: &str) -> bool {
    header.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_it = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let refused = weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        is_it && !refused
    })
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _other => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::header::ALLOW;

    fn assets() -> Assets {
        let file = |name: &str, text: &'static str| (name.to_owned(), Bytes::from(text));
        Assets::from_files([
            file("index.html", "<script src=\"./assets/a-1.js\">"),
            file("assets/a-1.js", "plain"),
            file("assets/a-1.js.br", "br"),
            file("assets/a-1.js.gz", "gz"),
            file("mark.svg", "<svg/>"),
        ])
    }

    fn get(path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assets().answer(&request.body(Body::empty()).unwrap())
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    const BROWSER: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml")];

    #[tokio::test]
    async fn the_best_accepted_form_is_sent() {
        for (accepted, sent) in [
            ("gzip, deflate, br", "br"),
            ("gzip", "gz"),
            ("br;q=0, gzip;q=0.5", "gz"),
            ("", "plain"),
        ] {
            let response = get("/assets/a-1.js", &[("accept-encoding", accepted)]);
            assert_eq!(text(response).await, sent, "{accepted}");
        }
    }

    #[test]
    fn hashed_names_are_kept_and_the_start_is_not() {
        let cached = |path| get(path, &BROWSER).headers()[CACHE_CONTROL].clone();
        assert_eq!(
            cached("/assets/a-1.js"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(cached("/"), "no-store");
        assert_eq!(cached("/security"), "no-store");
        let policy = get("/", &BROWSER).headers()[CONTENT_SECURITY_POLICY].clone();
        assert!(!policy.to_str().unwrap().contains("unsafe"));
    }

    #[tokio::test]
    async fn the_start_finds_its_files_at_any_depth() {
        assert!(
            text(get("/security", &BROWSER))
                .await
                .contains("\"./assets/")
        );
        assert!(
            text(get("/a/b/c", &BROWSER))
                .await
                .contains("\"../../assets/")
        );
    }

    #[test]
    fn what_is_not_in_the_table_is_nothing() {
        for path in [
            "/../Cargo.toml",
            "/assets/../index.html",
            "/%2e%2e/etc/passwd",
            "/%2fetc%2fpasswd",
            "/..%5cetc",
            "/assets/%252e%252e/x",
            "/assets/a-1.js.br",
            "//etc/passwd",
            "/assets/",
        ] {
            assert_eq!(get(path, &[]).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let etag = get("/mark.svg", &[]).headers()[ETAG].clone();
        let again = get("/mark.svg", &[("if-none-match", etag.to_str().unwrap())]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn only_reading_is_allowed() {
        let request = Request::builder()
            .method("POST")
            .uri("/")
            .body(Body::empty());
        let response = assets().answer(&request.unwrap());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
