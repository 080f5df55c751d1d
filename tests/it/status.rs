//! What the page asks first, and the locked state that answers nothing else.

use serde_json::{Value, json};

use super::harness::{Client, Fixture, TestServer, USER};

const STATUS: &str = "/api/auth/status";

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_learns_everything() {
    let server = Fixture::second_factor().start();

    let answer = server.owner().get(STATUS).await;

    insta::assert_json_snapshot!(answer.body, { ".version" => "[version]", ".password_policy" => "[policy]" }, @r#"
    {
      "success": true,
      "auth_enabled": true,
      "auth_configured": true,
      "configured": true,
      "declined": false,
      "authenticated": true,
      "totp_enabled": true,
      "username": "owner",
      "password_policy": "[policy]",
      "setup_requires_code": false,
      "locked": false,
      "server_time": "2026-01-02T03:04:05Z",
      "version": "[version]",
      "warnings": [],
      "backup_codes_left": 3,
      "passkeys": 0,
      "second_factor_fresh": true,
      "idle_minutes": 0
    }
    "#);
    assert_eq!(answer.body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.body["password_policy"]["min_length"], 10);
    let by_token = server.token("metrics").get(STATUS).await;
    assert_eq!(by_token.body["authenticated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_never_learn_who_lives_here() {
    for fixture in [Fixture::account, Fixture::second_factor] {
        let server = fixture()
            .with("display_name", json!("The shown name"))
            .start();
        let forms = [
            server.stranger(),
            server.neighbour(),
            server.local(),
            server.stranger().bearer("a.b.c"),
            server
                .stranger()
                .with("authorization", "Basic b3duZXI6eA=="),
            server.reloaded(),
            server.known_device(),
        ];
        for client in forms {
            let answer = client.get(STATUS).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body["authenticated"], false);
            assert_eq!(answer.body["totp_enabled"], false);
            assert_eq!(answer.body["username"], Value::Null);
            assert_eq!(answer.body.get("warnings"), None);
            assert_eq!(answer.body.get("idle_minutes"), None);
            let text = answer.body.to_string();
            assert!(
                !text.contains(USER) && !text.contains("shown name"),
                "{text}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_a_stranger() {
    let server = TestServer::start();
    server.owner().post("/api/auth/logout", json!({})).await;

    let answer = server.owner().get(STATUS).await;

    assert_eq!(
        (answer.status, &answer.body["authenticated"]),
        (200, &json!(false))
    );
    assert_eq!(answer.body["username"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_door_is_told() {
    for (fixture, enabled, configured, declined) in [
        (Fixture::empty(), false, false, false),
        (Fixture::declined(), false, true, true),
        (Fixture::account(), true, true, false),
        (
            Fixture::account().with("declined", json!(true)),
            true,
            true,
            false,
        ),
        (
            Fixture::empty().with("configured", json!(true)),
            false,
            false,
            false,
        ),
    ] {
        let server = fixture.start();
        let body = server.neighbour().get(STATUS).await.body;
        assert_eq!(body["auth_enabled"], enabled, "{body}");
        assert_eq!(body["auth_configured"], configured, "{body}");
        assert_eq!(body["configured"], configured, "{body}");
        assert_eq!(body["declined"], declined, "{body}");
        assert_eq!(body["locked"], false);
        assert_eq!(body["setup_requires_code"], false);
        let outside = server.stranger().get(STATUS).await.body;
        assert_eq!(outside["setup_requires_code"], !enabled);
    }
}

/// A state file that cannot be trusted: the third line is at fault.
const DAMAGED: &str =
    "{\n  \"enabled\": true,\n  \"password_hash\": \"s3cret\",\n  \"username\": \"owner\"\n}";

async fn locked(client: &Client, method: &str, path: &str) -> Value {
    let body = super::harness::Sent::json("{}");
    let answer = client.send(method, path, body).await;
    let code = answer.code();
    let is_body_first = path.ends_with("/login") && code == "bad_body";
    assert!(
        is_body_first || answer.verdict() == (503, "locked"),
        "{method} {path}: {}",
        answer.body
    );
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_state_answers_only_status_system_info_and_the_page() {
    let server = Fixture::raw(DAMAGED).start();
    for client in [
        server.stranger(),
        server.neighbour(),
        server.token("full_admin"),
    ] {
        for route in proxmenux_monitor::http::routes::routes() {
            if matches!(route.path, STATUS | "/api/system-info") {
                assert_eq!(client.get(route.path).await.status, 200, "{}", route.path);
                continue;
            }
            locked(&client, route.method.as_str(), route.path).await;
        }
        locked(&client, "GET", "/api/none").await;
        let page = client.clone().with("accept", "text/html").get("/").await;
        assert_eq!(
            (page.status, &page.bytes[..15]),
            (200, &b"<!doctype html>"[..])
        );
        let status = client.get(STATUS).await.body;
        assert_eq!(status["locked"], true);
        assert_eq!(status["authenticated"], false);
        assert_eq!(
            status["auth_configured"], true,
            "never the look of a first launch"
        );
        assert_eq!(status["setup_requires_code"], false);
        let login = client.login(USER, super::harness::PASSWORD).await;
        assert_eq!(login.verdict(), (503, "locked"));
    }
    assert_eq!(
        server.state()["password_hash"],
        "s3cret",
        "nothing was overwritten"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn near_callers_learn_what_is_damaged_and_others_only_that_it_is() {
    let server = Fixture::raw(DAMAGED).start();

    let near = locked(&server.neighbour(), "GET", "/api/system").await;
    assert_eq!(near["line"], 3);
    assert!(near["file"].as_str().unwrap().ends_with("/auth.json"));
    assert_eq!(
        near["problem"],
        "`password_hash` is not a password hash or null"
    );
    assert!(
        near["message"]
            .as_str()
            .unwrap()
            .contains("proxmenux-monitor restore")
    );
    assert!(!near.to_string().contains("s3cret"));

    let far = [
        server.stranger(),
        server.local().with("x-forwarded-for", "198.51.100.7"),
        server.neighbour().with("x-forwarded-for", "192.168.1.20"),
    ];
    for client in far {
        let far = locked(&client, "GET", "/api/system").await;
        for detail in ["file", "line", "problem"] {
            assert_eq!(far.get(detail), None, "{detail}");
        }
        assert!(
            far["message"]
                .as_str()
                .unwrap()
                .contains("proxmenux-monitor restore")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_to_anyone_and_no_more_where_the_owner_says_so() {
    use proxmenux_monitor::config::PublicInfo;
    let server = TestServer::start();
    let info = server.stranger().get("/api/system-info").await;
    for field in [
        "hostname",
        "uptime",
        "uptime_seconds",
        "timestamp",
        "health",
    ] {
        assert!(!info.body[field].is_null(), "{field}: {}", info.body);
    }

    let server = Fixture::account()
        .set(|settings| settings.system_info = PublicInfo::Status)
        .start();
    let info = server.stranger().get("/api/system-info").await.body;
    assert_eq!(info.as_object().unwrap().len(), 1, "{info}");
    assert!(info["health"]["status"].is_string(), "{info}");
    assert_eq!(info["health"].as_object().unwrap().len(), 1, "{info}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_cannot_be_written_is_told_and_blocks_nobody() {
    let server = TestServer::start();
    server.break_audit_log();

    let answer = server
        .neighbour()
        .login(USER, super::harness::PASSWORD)
        .await;

    assert_eq!(answer.status, 200);
    let status = server.owner().get(STATUS).await.body;
    assert_eq!(status["warnings"], json!(["audit_log_unwritable"]));
}
