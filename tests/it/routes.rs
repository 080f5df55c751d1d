//! Every route for every caller, compared with a table that is checked in; and what every answer
//! and every change must have.

use std::collections::HashSet;
use std::fmt::Write as _;

use axum::http::Method;
use proxmenux_monitor::access::digest::Digest;
use proxmenux_monitor::access::hosts::Origin;
use proxmenux_monitor::http::routes::{Route, routes};
use serde_json::{Value, json};

use super::harness::{
    Answer, Client, Fixture, OTHER_PASSWORD, PASSWORD, SECRET, START, Sent, TestServer, USER,
    api_token, forge, listed, second_factor_keys,
};

/// A right request to a route, by somebody who may make it.
fn right_request(route: &Route) -> (String, Sent) {
    let session = "0000000000000000";
    let path = route.path.replace("{id}", session);
    let body = match (route.method.as_str(), route.path) {
        ("POST", "/api/auth/setup" | "/api/auth/login") => {
            json!({ "username": USER, "password": PASSWORD })
        }
        ("POST", "/api/auth/change-password") => {
            json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD })
        }
        // Wrong on purpose: a right one costs the derivations of ten backup codes.
        ("POST", "/api/auth/totp/setup") => json!({ "password": "wrong" }),
        ("POST", "/api/auth/totp/enable") => json!({ "token": "123456" }),
        ("PUT", "/api/auth/passkeys/{id}") => json!({ "name": "phone", "password": PASSWORD }),
        ("POST", path) if path.starts_with("/api/auth/passkey") && path.ends_with("/finish") => {
            json!({ "ceremony": "none", "credential": {} })
        }
        (
            "POST",
            "/api/auth/disable"
            | "/api/auth/generate-api-token"
            | "/api/auth/api-tokens/{id}/rotate"
            | "/api/auth/totp/disable"
            | "/api/auth/totp/backup-codes"
            | "/api/auth/passkeys/register/start",
        )
        | ("DELETE", "/api/auth/passkeys/{id}") => json!({ "password": PASSWORD }),
        (_, "/api/proxy/trust") => json!({ "network": "127.0.0.0/8" }),
        ("GET", "/api/proxy/snippet") => {
            return (path + "?kind=nginx&host=dash.example.net", Sent::nothing());
        }
        ("POST", "/api/ssl/acme") => json!({ "names": [], "agree_terms": true }),
        ("POST", "/api/ssl/configure" | "/api/ssl/validate") => json!({ "source": "borrowed" }),
        ("PUT", "/api/auth/profile") => json!({ "display_name": "Home" }),
        ("POST", "/api/auth/profile/avatar") => return (path, Sent::of("image/gif", GIF)),
        _without_body => return (path, Sent::nothing()),
    };
    (path, Sent::json(&body.to_string()))
}

/// The smallest picture: one pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

async fn ask(client: &Client, route: &Route) -> Answer {
    let (path, sent) = right_request(route);
    client.send(route.method.as_str(), &path, sent).await
}

/// Shows a refusal by its status and a letter, and anything else by its status.
fn cell(answer: &Answer) -> String {
    let letter = LETTERS.iter().find(|(code, _)| *code == answer.code());
    let letter = letter.map_or("", |(_, letter)| letter);
    assert!(answer.status < 400 || !letter.is_empty(), "{}", answer.body);
    format!("{}{letter}", answer.status)
}

const LETTERS: &[(&str, &str)] = &[
    ("authentication_required", "a"),
    ("ticket_invalid", "b"),
    ("upgrade_required", "b"),
    ("foreign_origin", "g"),
    ("step_up_required", "v"),
    ("invalid_authorization_header", "h"),
    ("invalid_token", "t"),
    ("setup_required", "s"),
    ("insufficient_scope", "i"),
    ("open_mode_private_only", "p"),
    ("host_refused", "n"),
    ("claim_code_required", "c"),
    ("already_configured", "y"),
    ("invalid_credentials", "w"),
    ("totp_required", "q"),
    ("code_required", "q"),
    ("no_session", "r"),
    ("not_declined", "d"),
    ("not_protected", "u"),
    ("reauthentication_failed", "f"),
    ("no_enrolment", "e"),
    ("totp_not_enabled", "o"),
    ("invalid_source", "x"),
    ("names_missing", "x"),
    ("no_trial", "x"),
    ("passkeys_unavailable", "k"),
    ("ceremony_expired", "x"),
    ("passkey_not_found", "-"),
    ("token_not_found", "-"),
    ("not_found", "-"),
    ("no_avatar", "-"),
    ("session_not_found", "-"),
    ("locked", "l"),
];

/// A caller: a short name, the host that is asked, and who asks.
type Identity = (&'static str, fn() -> Fixture, fn(&TestServer) -> Client);

/// A token that the Python program issued.
fn python_token() -> String {
    let issued = START.parse::<jiff::Timestamp>().unwrap().as_second();
    let claims = json!({
        "token_name": "old", "iss": "proxmenux-monitor", "aud": "api", "username": USER,
        "iat": issued, "exp": issued + 3600,
    });
    forge(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &claims.to_string(),
        SECRET,
    )
}

fn listing_python_token() -> Fixture {
    Fixture::account().with("api_tokens", json!([listed(&python_token(), "old")]))
}

fn revoking() -> Fixture {
    let (token, _) = api_token("full_admin", Some("full_admin"));
    let revoked = json!([Digest::of(token.as_bytes()).to_string()]);
    Fixture::account().with("revoked_tokens", revoked)
}

fn gained_a_second_factor() -> Fixture {
    let keys = second_factor_keys();
    keys.into_iter()
        .fold(Fixture::account(), |fixture, (key, value)| {
            fixture.with_later(key, value)
        })
}

const IDENTITIES: &[Identity] = &[
    ("nobody", Fixture::account, TestServer::stranger),
    ("nearby", Fixture::account, TestServer::neighbour),
    ("cookies", Fixture::account, TestServer::reloaded),
    ("basic", Fixture::account, |server| {
        server.stranger().with("authorization", "Basic eDp4")
    }),
    ("forged", Fixture::account, |server| {
        server.stranger().bearer("a.b.c")
    }),
    ("expired", Fixture::account, |server| {
        server.advance(24 * 3600);
        server.owner()
    }),
    ("revoked", revoking, |server| server.token("full_admin")),
    ("session", Fixture::account, TestServer::owner),
    ("1factor", gained_a_second_factor, TestServer::owner),
    ("metrics", Fixture::account, |server| {
        server.token("metrics")
    }),
    ("read", Fixture::account, |server| server.token("read_only")),
    ("operate", Fixture::account, |server| {
        server.token("operator")
    }),
    ("admin", Fixture::account, |server| {
        server.token("full_admin")
    }),
    ("python", listing_python_token, |server| {
        server.stranger().bearer(&python_token())
    }),
    ("new:far", Fixture::empty, TestServer::stranger),
    ("new:lan", Fixture::empty, TestServer::neighbour),
    ("new:tok", Fixture::empty, |server| {
        server.token("read_only")
    }),
    ("open:far", Fixture::declined, TestServer::stranger),
    ("open:lan", Fixture::declined, TestServer::neighbour),
    ("open:odd", Fixture::declined, |server| {
        server.neighbour().with("host", "rebound.example.net")
    }),
    ("open:bad", Fixture::declined, |server| {
        server.neighbour().bearer("a.b.c")
    }),
    ("open:tok", Fixture::declined, |server| {
        server.token("read_only")
    }),
    (
        "locked",
        || Fixture::raw("{"),
        |server| server.token("full_admin"),
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn who_may_what_is_as_it_is_written_down() {
    let mut table = String::new();
    for (code, letter) in LETTERS {
        writeln!(table, "{letter} {code}").unwrap();
    }
    write!(table, "\n{:43}", "").unwrap();
    for (name, _, _) in IDENTITIES {
        write!(table, " {name:>8}").unwrap();
    }
    table.push('\n');
    for route in routes() {
        write!(table, "{:6} {:36}", route.method.as_str(), route.path).unwrap();
        for (_, fixture, client) in IDENTITIES {
            let server = fixture().start();
            let answer = ask(&client(&server), &route).await;
            write!(table, " {:>8}", cell(&answer)).unwrap();
        }
        table.push('\n');
    }
    for (method, path) in [
        ("GET", "/api/none"),
        ("GET", "/ws/none"),
        ("PATCH", "/api/system"),
    ] {
        write!(table, "{method:6} {path:36}").unwrap();
        for (_, fixture, client) in IDENTITIES {
            let server = fixture().start();
            let answer = client(&server).send(method, path, Sent::nothing()).await;
            let shown = if answer.status == 405 {
                "405".to_owned()
            } else {
                cell(&answer)
            };
            write!(table, " {shown:>8}").unwrap();
        }
        table.push('\n');
    }

    insta::assert_snapshot!("who_may_what", table);
}

fn assert_has_the_headers(what: &str, answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(answer.header("x-frame-options"), "DENY", "{what}");
    assert_eq!(
        answer.header("cross-origin-opener-policy"),
        "same-origin",
        "{what}"
    );
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        "same-origin",
        "{what}"
    );
    assert!(
        answer.header("permissions-policy").contains("camera=()"),
        "{what}"
    );
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
    if what.starts_with("/api/") {
        assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    }
}

fn is_change(route: &Route) -> bool {
    route.method != Method::GET
}

/// A device has to answer for passkeys, a connection for HTTPS, a socket for a terminal; their own
/// tests look at the log.
fn has_own_tests(path: &str) -> bool {
    let theirs = [
        "/passkey",
        "/api/ssl/validate",
        "/api/ssl/confirm",
        "/api/ssl/acme",
        "/api/terminal/ticket",
    ];
    theirs.iter().any(|part| path.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_written_down() {
    let is_tried = |route: &&Route| is_change(route) && !has_own_tests(route.path);
    for route in routes().iter().filter(is_tried) {
        let fixture = match route.path {
            "/api/auth/setup" | "/api/auth/skip" | "/api/auth/decline" => Fixture::empty(),
            "/api/auth/enable" => Fixture::declined(),
            _of_an_account => Fixture::account(),
        };
        let fixture = match route.path {
            "/api/auth/totp/disable" | "/api/auth/totp/backup-codes" => Fixture::second_factor(),
            _other => fixture,
        };
        let server = fixture.start();
        let (mut path, mut sent) = right_request(route);
        let mut client = match route.path {
            "/api/auth/session/resume" => server.reloaded(),
            _ if server.state()["enabled"] == true => server.owner(),
            _ => server.neighbour(),
        };
        if route.path.starts_with("/api/auth/sessions") {
            let other = server.stranger().login(USER, PASSWORD).await;
            assert_eq!(other.status, 200);
            let id = server.state()["sessions"][1]["id"]
                .as_str()
                .unwrap()
                .to_owned();
            path = route.path.replace("{id}", &id);
        }
        if route.path.starts_with("/api/auth/api-tokens") {
            let id = server.state()["api_tokens"][0]["id"].clone();
            path = route.path.replace("{id}", id.as_str().unwrap());
        }
        if route.path == "/api/ssl/configure" {
            sent = Sent::json(&json!({ "source": "self_signed" }).to_string());
        }
        if route.path.starts_with("/api/auth/totp/") {
            sent = factor_request(&server, route.path).await;
        }
        if route.method == Method::DELETE && route.path.ends_with("/avatar") {
            client
                .send("POST", route.path, Sent::of("image/gif", GIF))
                .await;
        }
        client = client.with("user-agent", "test");
        let before = server.audit().len();

        let answer = client.send(route.method.as_str(), &path, sent).await;

        assert_eq!(
            answer.status, 200,
            "{} {path}: {}",
            route.method, answer.body
        );
        let written = server.audit().len() - before;
        assert_eq!(written, 1, "{} {}", route.method, route.path);
    }
}

/// What changes the second factor, with all that must be so before.
async fn factor_request(server: &TestServer, path: &str) -> Sent {
    let body = match path {
        "/api/auth/totp/setup" => json!({}),
        "/api/auth/totp/enable" => {
            let begun = server.owner().post("/api/auth/totp/setup", json!({})).await;
            let secret = begun.body["secret"].as_str().unwrap();
            json!({ "token": server.code_of(secret, 0) })
        }
        _confirmed => json!({ "password": PASSWORD, "totp_code": server.code(0) }),
    };
    Sent::json(&body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_to_whoever_has_a_credential() {
    let server = TestServer::start();
    for path in [
        "/api/none",
        "/api",
        "/api/",
        "/api/auth",
        "/api/auth/status/",
        "/API/auth/status/../none",
        "/ws/terminal/",
    ] {
        let is_api = path.to_ascii_lowercase() == *path;
        let (stranger, owner) = (
            server.stranger().get(path).await,
            server.owner().get(path).await,
        );
        let expected = if is_api {
            (401, "authentication_required")
        } else {
            (404, "not_found")
        };
        assert_eq!(stranger.verdict(), expected, "{path}");
        assert_eq!(owner.verdict(), (404, "not_found"), "{path}");
        assert_eq!(owner.body["success"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_told_to_whoever_has_a_credential() {
    let server = TestServer::start();
    for (path, allowed) in [
        ("/api/system", "GET, HEAD"),
        ("/api/auth/login", "POST"),
        ("/api/auth/profile", "GET, HEAD, PUT"),
        ("/api/auth/profile/avatar", "DELETE, GET, HEAD, POST"),
        ("/api/auth/sessions/x", "DELETE"),
    ] {
        for method in ["PATCH", "TRACE", "OPTIONS"] {
            let stranger = server.stranger().send(method, path, Sent::nothing()).await;
            assert_eq!(
                stranger.verdict(),
                (401, "authentication_required"),
                "{method} {path}"
            );
            assert_eq!(stranger.header("allow"), "", "strangers learn nothing");
            let owner = server.owner().send(method, path, Sent::nothing()).await;
            assert_eq!(
                owner.verdict(),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
            assert_eq!(owner.header("allow"), allowed);
        }
    }
    let head = server
        .owner()
        .send("HEAD", "/api/system", Sent::nothing())
        .await;
    assert_eq!(head.status, 200);
    assert_eq!(
        server
            .stranger()
            .send("HEAD", "/api/system", Sent::nothing())
            .await
            .status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_what_browsers_must_know() {
    let server = TestServer::start();
    let page = server.stranger().with("accept", "text/html");
    server
        .owner()
        .send(
            "POST",
            "/api/auth/profile/avatar",
            Sent::of("image/gif", GIF),
        )
        .await;
    let mut answers = vec![
        ("page", page.get("/").await),
        ("deep page", page.get("/security/sessions").await),
        ("asset", page.get("/assets/app-1a2b.js").await),
        ("nothing", server.stranger().get("/none.js").await),
        ("post to the page", page.post("/", json!({})).await),
        (
            "foreign",
            server
                .owner()
                .with("origin", "https://evil.example.net")
                .post("/api/auth/logout", json!({}))
                .await,
        ),
        (
            "no method",
            server
                .owner()
                .send("PATCH", "/api/system", Sent::nothing())
                .await,
        ),
        (
            "bad body",
            server
                .stranger()
                .send("POST", "/api/auth/login", Sent::json("{"))
                .await,
        ),
    ];
    for route in routes() {
        answers.push((route.path, ask(&server.stranger(), &route).await));
        if route.method == Method::GET {
            answers.push((route.path, ask(&server.owner(), &route).await));
        }
    }

    let mut ids = HashSet::new();
    for (what, answer) in &answers {
        assert_has_the_headers(what, answer);
        assert!(ids.insert(answer.header("x-request-id")), "{what}");
    }
    let (page, asset) = (&answers[0].1, &answers[2].1);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-store");
    let forever = "public, max-age=31536000, immutable";
    assert_eq!(asset.header("cache-control"), forever);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_changes_nothing() {
    let server = TestServer::start();
    let before = server.state();
    let foreign = [
        "https://evil.example.net",
        "http://192.0.2.1",
        "http://192.0.2.1:8009",
        "http://192.0.2.11:8008",
        "null",
        "nonsense",
        "",
    ];
    for route in routes().iter().filter(|route| is_change(route)) {
        for origin in foreign {
            let answer = ask(&server.owner().with("origin", origin), route).await;
            assert_eq!(
                answer.verdict(),
                (403, "foreign_origin"),
                "{} {origin}",
                route.path
            );
        }
    }
    let twice = server.owner().with("origin", "http://192.0.2.1:8008");
    let twice = twice.with_another("origin", "https://evil.example.net");
    assert_eq!(
        twice.post("/api/auth/logout", json!({})).await.code(),
        "foreign_origin"
    );
    assert_eq!(server.state(), before);
    assert_eq!(server.audit().len(), 0);

    let name = json!({ "display_name": "Home" });
    let proxied = server.owner().with("x-forwarded-host", "dash.example.net");
    for client in [
        server.owner().with("origin", "http://192.0.2.1:8008"),
        server
            .owner()
            .with("host", "192.0.2.1")
            .with("origin", "https://192.0.2.1"),
        proxied.with("origin", "https://dash.example.net"),
    ] {
        assert_eq!(
            client.put("/api/auth/profile", name.clone()).await.status,
            200
        );
    }
    let reading = server.owner().with("origin", "https://evil.example.net");
    assert_eq!(
        reading
            .get("/api/system")
            .await
            .header("access-control-allow-origin"),
        ""
    );
}

fn allowing_one_page() -> TestServer {
    let allowed = Origin::parse("https://home.example.net").unwrap();
    let fixture = Fixture::account();
    fixture
        .set(|settings| settings.cors_origins = vec![allowed])
        .start()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_pages_of_other_sites_may_use_the_api() {
    let server = allowing_one_page();
    let page = server.owner().with("origin", "https://home.example.net");

    let answer = page
        .put("/api/auth/profile", json!({ "display_name": "Home" }))
        .await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://home.example.net"
    );
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        "",
        "no cookie crosses sites"
    );
    assert_eq!(answer.header("vary"), "Origin");
    for other in [
        "https://evil.example.net",
        "http://home.example.net",
        "https://home.example.net.evil.example",
    ] {
        let other = server.owner().with("origin", other);
        let read = other.get("/api/system").await;
        assert_eq!(read.header("access-control-allow-origin"), "");
        assert_eq!(read.header("vary"), "Origin");
        let write = other.put("/api/auth/profile", json!({})).await;
        assert_eq!(write.code(), "foreign_origin");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_asks_for_such_a_page_first_and_without_the_token() {
    let server = allowing_one_page();
    let preflight = server
        .stranger()
        .with("origin", "https://home.example.net")
        .with("access-control-request-method", "PUT")
        .with(
            "access-control-request-headers",
            "authorization,content-type",
        )
        .send("OPTIONS", "/api/auth/profile", Sent::nothing())
        .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        "https://home.example.net"
    );
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("authorization")
    );
    assert!(
        preflight
            .header("access-control-allow-methods")
            .contains("PUT")
    );
    let preflight = server
        .stranger()
        .with("origin", "https://evil.example.net")
        .with("access-control-request-method", "PUT")
        .send("OPTIONS", "/api/auth/profile", Sent::nothing())
        .await;
    assert_eq!(preflight.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_exactly_the_routes() {
    let server = TestServer::start();
    let document = server.token("metrics").get("/api/openapi.json").await.body;
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.push(format!("{} {path}", method.to_uppercase()));
            assert!(
                operation["summary"].as_str().unwrap().ends_with('.'),
                "{path}"
            );
        }
    }
    let mut in_table = Vec::from_iter(
        routes()
            .iter()
            .map(|route| format!("{} {}", route.method, route.path)),
    );

    described.sort();
    in_table.sort();

    assert_eq!(described, in_table);
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = Vec::new();
    find_references(&document, &mut references);
    assert!(references.len() > routes().len());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn find_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                found.push(reference.to_owned());
            }
            map.values().for_each(|value| find_references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| find_references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_path_stands_twice_for_one_method() {
    let mut seen = HashSet::new();
    for route in routes() {
        assert!(
            seen.insert((route.method.clone(), route.path)),
            "{}",
            route.path
        );
        let place = route.path.split('/').nth(1);
        let is_known = matches!(place, Some("api" | "ws" | ".well-known"));
        assert!(is_known, "{}", route.path);
        assert!(!route.summary.is_empty(), "{}", route.path);
    }
}

#[test]
fn the_document_for_people_has_every_route_and_no_other() {
    let text = include_str!("../../docs/api.md");
    let row = |route: &Route| format!("| `{} {}` |", route.method, route.path);

    for route in routes() {
        assert!(text.contains(&row(&route)), "{}", row(&route));
    }
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains(" /"));
    assert_eq!(rows.count(), routes().len());
}
