//! Tokens: those that were forged, ended or never issued count for nothing; those in the list for
//! as much as was signed.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use proxmenux_monitor::access::digest::Digest;
use serde_json::{Value, json};

use super::harness::{
    Client, Fixture, OUTSIDE, SECRET, START, TestServer, USER, api_token, forge, listed,
};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const SYSTEM: &str = "/api/system";
const SESSIONS: &str = "/api/auth/sessions";

fn start() -> i64 {
    START.parse::<Timestamp>().unwrap().as_second()
}

/// The claims of a session, or of an API token as the Python program made them.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "proxmenux-monitor", "aud": "api", "username": USER,
        "iat": start() - 60, "exp": start() + 3600,
    });
    let Value::Object(changes) = changes else {
        return changes;
    };
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().shift_remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims
}

/// A server that lists tokens with these claims, signed as they are here.
fn with_listed(tokens: &[&str]) -> TestServer {
    let entries = tokens.iter().map(|token| listed(token, "sensor"));
    Fixture::account()
        .with("api_tokens", entries.collect())
        .start()
}

fn parts(token: &str) -> [String; 3] {
    let parts = Vec::from_iter(token.split('.').map(str::to_owned));
    parts.try_into().unwrap()
}

/// Asserts that a credential counts for nothing, in the fixed words.
async fn refused(client: &Client, what: &str) {
    for path in [SYSTEM, SESSIONS, "/api/none"] {
        let answer = client.get(path).await;
        assert_eq!(answer.verdict(), (401, "invalid_token"), "{what}");
        assert_eq!(answer.body["error"], "Invalid or expired token", "{what}");
        assert!(answer.body["message"].is_string(), "{what}");
        assert_eq!(
            answer.header("www-authenticate"),
            r#"Bearer error="invalid_token""#
        );
    }
    let status = client.get("/api/auth/status").await;
    assert_eq!(
        (status.status, &status.body["authenticated"]),
        (200, &json!(false)),
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_accepted_for_its_signature_alone() {
    let forged = [
        ("never issued", claims(json!({}))),
        (
            "a session without record",
            claims(json!({ "typ": "session", "jti": "x" })),
        ),
        ("a session without jti", claims(json!({ "typ": "session" }))),
        (
            "an api token that nobody lists",
            claims(json!({ "typ": "api", "jti": "x", "scope": "full_admin" })),
        ),
    ];
    let server = TestServer::start();
    for (what, claims) in forged {
        let token = forge(HEADER, &claims.to_string(), SECRET);
        refused(&server.neighbour().bearer(&token), what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn even_a_listed_token_must_be_signed_and_addressed_by_us() {
    let good = claims(json!({})).to_string();
    let header = |text: &str| forge(text, &good, SECRET);
    let body = |changes: Value| forge(HEADER, &claims(changes).to_string(), SECRET);
    let [head, payload, _] = parts(&forge(HEADER, &good, SECRET));
    let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
    let forgeries = [
        ("alg none", header(r#"{"alg":"none"}"#)),
        ("alg none without a mac", format!("{none}.{payload}.")),
        ("alg None", header(r#"{"alg":"None"}"#)),
        ("no mac", format!("{head}.{payload}.")),
        ("alg HS384", header(r#"{"alg":"HS384","typ":"JWT"}"#)),
        ("alg HS512", header(r#"{"alg":"HS512","typ":"JWT"}"#)),
        ("alg RS256", header(r#"{"alg":"RS256","typ":"JWT"}"#)),
        ("no alg", header(r#"{"typ":"JWT"}"#)),
        (
            "kid",
            header(r#"{"alg":"HS256","typ":"JWT","kid":"../../dev/null"}"#),
        ),
        (
            "crit",
            header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
        ),
        (
            "another key",
            forge(
                HEADER,
                &good,
                "another secret of more than thirty-two letters",
            ),
        ),
        ("an empty key", forge(HEADER, &good, "")),
        ("no iss", body(json!({ "iss": null }))),
        ("another iss", body(json!({ "iss": "other" }))),
        ("no aud", body(json!({ "aud": null }))),
        ("another aud", body(json!({ "aud": "web" }))),
        ("no exp", body(json!({ "exp": null }))),
        ("exp as a text", body(json!({ "exp": "4102444800" }))),
        ("expired", body(json!({ "exp": start() }))),
        ("issued in the future", body(json!({ "iat": start() + 61 }))),
        ("not yet", body(json!({ "nbf": start() + 1 }))),
        ("another typ", body(json!({ "typ": "refresh" }))),
        (
            "a session that is listed as api token",
            body(json!({ "typ": "session", "jti": "x" })),
        ),
        ("an unknown scope", body(json!({ "scope": "root" }))),
    ];
    let tokens = Vec::from_iter(forgeries.iter().map(|(_, token)| token.as_str()));
    let server = with_listed(&tokens);

    for (what, token) in &forgeries {
        refused(&server.neighbour().bearer(token), what).await;
    }
    let right = forge(HEADER, &good, SECRET);
    let server = with_listed(&[&right]);
    assert_eq!(
        server.neighbour().bearer(&right).get(SYSTEM).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_may_be_a_minute_wrong_and_an_expiry_not_a_second() {
    let ahead = forge(
        HEADER,
        &claims(json!({ "iat": start() + 60 })).to_string(),
        SECRET,
    );
    let short = forge(
        HEADER,
        &claims(json!({ "exp": start() + 1 })).to_string(),
        SECRET,
    );
    let server = with_listed(&[&ahead, &short]);
    assert_eq!(
        server.stranger().bearer(&ahead).get(SYSTEM).await.status,
        200
    );
    assert_eq!(
        server.stranger().bearer(&short).get(SYSTEM).await.status,
        200
    );

    server.advance(1);

    refused(&server.stranger().bearer(&short), "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_session_is_nobodys() {
    let server = TestServer::start();
    let token = server.session_token();
    let [head, payload, mac] = parts(&token);
    let said: Value =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap();
    let change = |key: &str, value: Value| {
        let mut changed = said.clone();
        changed[key] = value;
        changed
    };
    let other_user = forge(
        HEADER,
        &change("username", json!("root")).to_string(),
        SECRET,
    );
    let longer = forge(
        HEADER,
        &change("exp", json!(start() + 999_999)).to_string(),
        SECRET,
    );
    let unsigned = BASE64URL_NOPAD.encode(change("username", json!("root")).to_string().as_bytes());
    let forged = [
        ("another user, by the right key", other_user),
        ("a longer life, by the right key", longer),
        ("a changed body", format!("{head}.{unsigned}.{mac}")),
        ("a cut mac", token[..token.len() - 1].to_owned()),
        ("a padded mac", format!("{token}=")),
        ("more than three parts", format!("{token}.{mac}")),
        ("nothing", "..".to_owned()),
        ("its digest", Digest::of(token.as_bytes()).to_string()),
    ];

    for (what, token) in forged {
        refused(&server.neighbour().bearer(&token), what).await;
    }
    assert_eq!(server.owner().get(SESSIONS).await.status, 200);
    assert_eq!(
        server.audited("authentication failure"),
        0,
        "no forged token is a failure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_the_account_gets_another_name_by_hand() {
    let server = Fixture::account()
        .with_later("username", json!("renamed"))
        .start();
    refused(&server.owner(), "other account").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_has_one_form_and_three_fixed_texts() {
    let server = TestServer::start();
    let token = server.session_token();
    let missing = server.stranger().get(SYSTEM).await;
    assert_eq!(missing.verdict(), (401, "authentication_required"));
    assert_eq!(missing.body["error"], "Authentication required");
    assert_eq!(missing.header("www-authenticate"), "Bearer");

    for line in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  x",
        "Bearer a b",
        "Basic x",
        "Token x",
        "x",
        &token,
    ] {
        let answer = server
            .stranger()
            .with("authorization", line)
            .get(SYSTEM)
            .await;
        assert_eq!(
            answer.verdict(),
            (401, "invalid_authorization_header"),
            "{line:?}"
        );
        assert_eq!(answer.body["error"], "Invalid authorization header");
    }
    let twice = server
        .owner()
        .with_another("authorization", &format!("Bearer {token}"));
    assert_eq!(
        twice.get(SYSTEM).await.code(),
        "invalid_authorization_header"
    );
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let client = server
            .stranger()
            .with("authorization", &format!("{scheme} {token}"));
        assert_eq!(client.get(SYSTEM).await.status, 200, "{scheme}");
    }
    for path in ["/api/system?token=", "/api/system?access_token="] {
        let answer = server.stranger().get(&format!("{path}{token}")).await;
        assert_eq!(answer.status, 401, "no token in an address");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lesser_of_the_signed_and_the_listed_scope_holds() {
    let may_read = async |signed: Option<&str>, in_list: Option<&str>| {
        let (token, mut entry) = api_token("sensor", signed);
        entry.as_object_mut().unwrap().shift_remove("scope");
        if let Some(scope) = in_list {
            entry["scope"] = json!(scope);
        }
        let server = Fixture::account()
            .with("api_tokens", json!([entry]))
            .start();
        let client = server.stranger().bearer(&token);
        let statuses = [SYSTEM, "/api/auth/profile", SESSIONS, "/api/openapi.json"];
        let mut seen = Vec::new();
        for path in statuses {
            seen.push(client.get(path).await.status);
        }
        seen
    };
    for (signed, in_list, seen) in [
        (None, None, [200, 200, 403, 200]),
        (None, Some("unknown"), [200, 200, 403, 200]),
        (Some("full_admin"), Some("metrics"), [403, 403, 403, 200]),
        (Some("metrics"), Some("full_admin"), [403, 403, 403, 200]),
        (Some("read_only"), None, [200, 403, 403, 200]),
        (Some("operator"), Some("operator"), [200, 403, 403, 200]),
        (Some("full_admin"), Some("full_admin"), [200, 200, 403, 200]),
        (Some("full_admin"), Some("nonsense"), [401, 401, 401, 401]),
    ] {
        assert_eq!(
            may_read(signed, in_list).await,
            seen,
            "{signed:?} {in_list:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scope_does_not_reach_is_said_in_the_fixed_words() {
    let server = TestServer::start();
    let answer = server.token("metrics").get(SYSTEM).await;
    assert_eq!(answer.verdict(), (403, "insufficient_scope"));
    assert_eq!(answer.body["error"], "Insufficient scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_keeps_to_its_networks() {
    let (token, mut entry) = api_token("sensor", None);
    entry["allowed_networks"] = json!(["198.51.100.0/28", "2001:db8::7", "nonsense"]);
    let server = Fixture::account()
        .with("api_tokens", json!([entry]))
        .start();

    for address in ["198.51.100.3", "::ffff:198.51.100.3", "2001:db8::7"] {
        let client = server.stranger().at(address).bearer(&token);
        assert_eq!(client.get(SYSTEM).await.status, 200, "{address}");
    }
    for address in ["198.51.100.16", "127.0.0.1", "2001:db8::8"] {
        refused(&server.stranger().at(address).bearer(&token), address).await;
    }
    let proxied = server.local().bearer(&token);
    let proxied = proxied.with("x-forwarded-for", "198.51.100.3");
    assert_eq!(
        proxied.get(SYSTEM).await.status,
        200,
        "the client's address, not the proxy's"
    );
    let claimed = server
        .stranger()
        .bearer(&token)
        .with("x-forwarded-for", "198.51.100.3");
    refused(&claimed, "an address that a stranger claims").await;
    assert_eq!(
        server.audited("reason=wrong_network"),
        1,
        "once in ten minutes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_never_counts_again() {
    let (token, entry) = api_token("sensor", None);
    let digest = Digest::of(token.as_bytes());
    let server = Fixture::account()
        .with("api_tokens", json!([entry]))
        .with("revoked_tokens", json!([digest.to_string()]))
        .start();

    refused(&server.stranger().bearer(&token), "revoked").await;

    let line = format!(
        "WARNING proxmenux-auth: token refused; rhost={OUTSIDE} user=- token={} reason=revoked",
        digest.short()
    );
    assert_eq!(server.audited(&line), 1);
    server.advance(600);
    server.stranger().bearer(&token).get(SYSTEM).await;
    assert_eq!(server.audited(&line), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_first_use_is_written_down_and_the_last_is_remembered() {
    let (token, entry) = api_token("kitchen sensor", None);
    let id = entry["id"].as_str().unwrap().to_owned();
    let server = Fixture::account()
        .with("api_tokens", json!([entry]))
        .start();
    let client = server.stranger().bearer(&token);

    for _ in 0..3 {
        server.advance(10);
        assert_eq!(client.get(SYSTEM).await.status, 200);
    }
    let line = format!("token first used; rhost={OUTSIDE} user=kitchen%20sensor@api token={id}");
    assert_eq!(server.audited(&line), 1);
    assert_eq!(
        server.state()["api_tokens"][0].get("last_used_at"),
        None,
        "in memory so far"
    );

    server
        .owner()
        .put("/api/auth/profile", json!({ "display_name": "Home" }))
        .await;
    let kept = server.state()["api_tokens"][0].clone();
    assert_eq!(kept["last_used_at"], "2026-01-02T03:04:35Z");
    assert_eq!(kept["last_used_from"], OUTSIDE);
    client.get(SYSTEM).await;
    assert_eq!(server.audited(&line), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_the_account_that_made_it() {
    let (token, entry) = api_token("sensor", Some("read_only"));
    for fixture in [
        Fixture::empty(),
        Fixture::account().with("username", json!("renamed")),
    ] {
        let server = fixture.with("api_tokens", json!([entry.clone()])).start();
        assert_eq!(
            server.stranger().bearer(&token).get(SYSTEM).await.status,
            200
        );
    }
}
