//! Hostile input: names that would forge log lines, paths that would leave the page.

use axum::http::Uri;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use super::harness::{Fixture, OUTSIDE, PASSWORD, Sent, TestServer};

/// Asserts that each line is one event, of an address that was really there.
fn assert_lines_are_sound(server: &TestServer) {
    for line in server.audit() {
        assert!(
            line.is_ascii() && line.starts_with("2026-01-02 03:0"),
            "{line}"
        );
        assert_eq!(line.matches("rhost=").count(), 1, "{line}");
        assert_eq!(line.matches("authentication failure").count(), 1, "{line}");
        assert_eq!(line.matches(" user=").count(), 1, "{line}");
        assert!(line.contains(&format!("rhost={OUTSIDE} user=")), "{line}");
        assert!(line.len() < 1_000, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_name_forms_a_second_field_or_line() {
    let server = TestServer::start();
    let forged = "2026-01-02 03:04:05 WARNING proxmenux-auth: authentication failure; rhost=198.51.100.66 user=x";
    let names = [
        format!("x\n{forged}"),
        format!("x\r\n{forged}"),
        format!("x\u{2028}{forged}\u{2029}{forged}"),
        forged.to_owned(),
        "x rhost=198.51.100.66".to_owned(),
        "x\trhost=198.51.100.66".to_owned(),
        "x\u{a0}rhost=198.51.100.66".to_owned(),
        "%0Arhost%3D198.51.100.66".to_owned(),
        "\u{0}\u{1b}[2K\u{7f}\u{9b}2J".to_owned(),
        "\u{202e}drowssap".to_owned(),
        "x; rhost=198.51.100.66; user=\"root\"".to_owned(),
        "\u{1f600}".repeat(2_000),
        "' OR 1=1 --".to_owned(),
        "${jndi:ldap://203.0.113.66/x}".to_owned(),
        "<HOST> <ADDR> (?P<host>.*)".to_owned(),
    ];

    for name in &names {
        server.forgive();
        let answer = server.stranger().login(name, PASSWORD).await;
        assert_eq!(answer.status, 401, "{name:?}");
    }

    assert_eq!(server.audit().len(), names.len());
    assert_lines_are_sound(&server);
    assert_eq!(
        server.audited("rhost=198.51.100.66"),
        0,
        "nobody else is banned"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_things_from_outside_stay_one_value_too() {
    let hostile = "x rhost=198.51.100.66 user=root\u{2028}";
    let (token, mut entry) = super::harness::api_token("x", None);
    entry["name"] = json!(hostile);
    entry["id"] = json!(hostile);
    let server = Fixture::account()
        .with("api_tokens", json!([entry]))
        .start();

    assert_eq!(
        server
            .stranger()
            .bearer(&token)
            .get("/api/system")
            .await
            .status,
        200
    );
    let odd = server.stranger().with("user-agent", hostile);
    assert_eq!(odd.login(super::harness::USER, PASSWORD).await.status, 200);

    for line in server.audit() {
        assert_eq!(line.matches("rhost=").count(), 1, "{line}");
        assert_eq!(line.matches(" user=").count(), 1, "{line}");
    }
}

#[test]
fn no_name_whatever_forms_a_line() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(async { TestServer::start() });
    let mut lines = 0;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));

    let outcome = runner.run(&any::<String>(), |name| {
        server.forgive();
        let answer = runtime.block_on(server.stranger().login(&name, "wrong"));
        prop_assert_eq!(answer.status, 401);
        Ok(())
    });

    assert_eq!(outcome, Ok(()));
    lines += server.audit().len();
    assert!(lines >= 200, "{lines}");
    assert_lines_are_sound(&server);
}

/// Ways to climb out of a folder, in every encoding that a server might undo once too often.
fn climbing_paths() -> Vec<String> {
    let steps = [
        "../",
        "..%2f",
        "..%2F",
        "%2e%2e/",
        "%2E%2E%2F",
        ".%2e/",
        "%252e%252e/",
        "%252e%252e%252f",
        "..%252f",
        "..\\",
        "..%5c",
        "%2e%2e%5c",
        "..%255c",
        "....//",
        "..;/",
        "%c0%ae%c0%ae/",
        "..%c0%af",
        "%uff0e%uff0e/",
        "..%00/",
        "/",
        "//",
        "./",
    ];
    let starts = [
        "/",
        "/assets/",
        "/assets/app-1a2b.js/",
        "//",
        "/api/",
        "/api/auth/sessions/",
        "/ws/",
    ];
    let ends = [
        "etc/passwd",
        "auth.json",
        "Cargo.toml",
        "etc%2fpasswd",
        "etc/passwd%00.js",
    ];
    let mut paths = Vec::new();
    for start in starts {
        for step in steps {
            for end in ends {
                paths.push(format!("{start}{}{end}", step.repeat(6)));
                paths.push(format!("{start}{step}{end}"));
            }
        }
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leaves_the_table_of_files() {
    let server = TestServer::start();
    let browser = server.owner().with("accept", "text/html");
    let mut asked = 0;

    for path in climbing_paths() {
        if path.parse::<Uri>().is_err() {
            continue;
        }
        for client in [&server.owner(), &server.stranger(), &browser] {
            let answer = client.get(&path).await;
            asked += 1;
            assert!(
                matches!(answer.status, 200 | 401 | 404 | 405),
                "{path}: {}",
                answer.status
            );
            let text = String::from_utf8_lossy(&answer.bytes);
            let is_page = text.starts_with("<!doctype html><title>page</title>");
            let is_refusal = answer.body["success"] == false;
            assert!(is_page || is_refusal, "{path}: {text}");
            assert!(answer.status != 200 || is_page, "{path}: {text}");
        }
    }
    assert!(asked > 3_000, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_are_refused_and_nothing_breaks() {
    let server = TestServer::start();
    let long = format!("/{}", "a".repeat(30_000));
    let query = format!("/api/system?{}", "a=b&".repeat(5_000));
    for path in [
        &long[..],
        &query,
        "/api/auth/sessions/%ff%fe",
        "/api/%00",
        "/%ff",
        "*",
    ] {
        for method in [
            "GET", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X",
        ] {
            for client in [server.owner(), server.stranger()] {
                let answer = client.send(method, path, Sent::nothing()).await;
                assert!(answer.status < 500, "{method} {path}: {}", answer.status);
            }
        }
    }
    let odd = server
        .stranger()
        .with("host", "a\u{ff}b")
        .with("x-forwarded-for", "\u{ff}");
    let odd = odd
        .with("cookie", "\u{ff};;=;proxmenux_device")
        .with("user-agent", "\u{ff}");
    assert_eq!(odd.login("x", "y").await.status, 401);
}
