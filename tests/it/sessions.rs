//! Sessions: listed, ended, resumed, outlived; and the two cookies that go with them.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::harness::{Answer, Client, Fixture, LAN, OUTSIDE, PASSWORD, TestServer, USER};

const SESSIONS: &str = "/api/auth/sessions";
const RESUME: &str = "/api/auth/session/resume";
const LOGOUT: &str = "/api/auth/logout";

async fn signed_in(client: &Client) -> (Client, Answer) {
    let answer = client.login(USER, PASSWORD).await;
    assert_eq!(answer.status, 200);
    (client.clone().bearer(answer.token().unwrap()), answer)
}

async fn listed(client: &Client) -> Vec<Value> {
    let answer = client.get(SESSIONS).await;
    assert_eq!(answer.status, 200);
    answer.body["sessions"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_where_the_account_is_signed_in() {
    let server = TestServer::start();
    server.advance(60);
    let agent = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";
    let (elsewhere, _) = signed_in(&server.stranger().with("user-agent", agent)).await;
    server.advance(60);

    let answer = elsewhere.get(SESSIONS).await;

    insta::assert_json_snapshot!(
        answer.body,
        { ".sessions[].id" => "[id]", ".sessions[].user_agent" => "[agent]" },
        @r#"
    {
      "success": true,
      "sessions": [
        {
          "id": "[id]",
          "current": true,
          "created_at": "2026-01-02T03:05:05Z",
          "last_seen_at": "2026-01-02T03:06:05Z",
          "expires_at": "2026-01-03T03:05:05Z",
          "address": "203.0.113.9",
          "network": "internet",
          "user_agent": "[agent]",
          "device": "Chrome on Windows",
          "factors": [
            "pwd"
          ]
        },
        {
          "id": "[id]",
          "current": false,
          "created_at": "2026-01-02T03:04:05Z",
          "last_seen_at": "2026-01-02T03:04:05Z",
          "expires_at": "2026-01-03T03:04:05Z",
          "address": "192.168.1.20",
          "network": "lan",
          "user_agent": "[agent]",
          "device": "Firefox on Linux",
          "factors": [
            "pwd"
          ]
        }
      ]
    }
    "#
    );
    assert_eq!(answer.body["sessions"][0]["user_agent"], agent);
    let text = answer.body.to_string();
    let state = server.state();
    for session in state["sessions"].as_array().unwrap() {
        for secret in ["jti", "token_hash", "resume_hash"] {
            assert!(
                !text.contains(session[secret].as_str().unwrap()),
                "{secret}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_session_is_first_whoever_was_last_seen() {
    let server = TestServer::start();
    let (elsewhere, _) = signed_in(&server.stranger()).await;
    server.advance(60);
    elsewhere.get(SESSIONS).await;

    let sessions = listed(&server.owner().with("x-monitor-background", "1")).await;

    assert_eq!(sessions[0]["current"], true);
    assert_eq!(sessions[0]["address"], LAN);
    assert_eq!(sessions[1]["address"], OUTSIDE);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_can_be_ended_from_another() {
    let server = TestServer::start();
    let (elsewhere, _) = signed_in(&server.stranger()).await;
    let id = listed(&elsewhere).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let ended = server.owner().delete(&format!("{SESSIONS}/{id}")).await;

    assert_eq!((ended.status, &ended.body["success"]), (200, &json!(true)));
    assert_eq!(
        elsewhere.get(SESSIONS).await.verdict(),
        (401, "invalid_token")
    );
    assert_eq!(listed(&server.owner()).await.len(), 1);
    assert_eq!(
        server.audited(&format!(
            "session ended; rhost={LAN} user=owner session={id}"
        )),
        1
    );
    for unknown in [&id[..], "0", "%ff", "%00", "..", "x%2fy"] {
        let answer = server
            .owner()
            .delete(&format!("{SESSIONS}/{unknown}"))
            .await;
        assert_eq!(answer.status, 404, "{unknown}");
        assert_eq!(answer.body["success"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_others_can_be_ended_at_once() {
    let server = TestServer::start();
    let (first, _) = signed_in(&server.stranger()).await;
    let (second, _) = signed_in(&server.stranger()).await;

    let answer = first.delete(SESSIONS).await;

    assert_eq!((answer.status, &answer.body["ended"]), (200, &json!(2)));
    assert_eq!(first.get(SESSIONS).await.status, 200);
    assert_eq!(second.get(SESSIONS).await.status, 401);
    assert_eq!(server.owner().get(SESSIONS).await.status, 401);
    assert_eq!(server.audited("session ended"), 2);
    assert_eq!(first.delete(SESSIONS).await.body["ended"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_here_and_the_cookie_there() {
    let server = TestServer::start();

    let answer = server.owner().post(LOGOUT, json!({})).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.cookies(),
        ["proxmenux_session=; Path=/api/auth; Max-Age=0; HttpOnly; SameSite=Strict"]
    );
    assert_eq!(answer.header("clear-site-data"), "", "only over HTTPS");
    assert_eq!(
        server.owner().get(SESSIONS).await.verdict(),
        (401, "invalid_token")
    );
    assert_eq!(
        server.reloaded().post(RESUME, json!({})).await.code(),
        "no_session"
    );
    assert_eq!(server.state()["sessions"], json!([]));
    assert_eq!(
        server.state()["revoked_tokens"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        server.audited("signed out; rhost=192.168.1.20 user=owner session="),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_browser_clears_everything_but_cookies() {
    let server = TestServer::start();

    let answer = server.owner().over_tls().post(LOGOUT, json!({})).await;

    assert_eq!(answer.header("clear-site-data"), r#""cache", "storage""#);
    assert_eq!(
        answer.cookies(),
        [
            "__Secure-proxmenux_session=; Path=/api/auth; Max-Age=0; HttpOnly; SameSite=Strict; Secure"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_resumed_with_the_same_token_and_by_its_cookie_alone() {
    let server = TestServer::start();
    let (_, login) = signed_in(&server.stranger()).await;
    let cookie = login.cookie("proxmenux_session");
    let browser = server
        .stranger()
        .with("cookie", &format!("other=1; {cookie}"));

    for _ in 0..2 {
        let resumed = browser.post(RESUME, json!({})).await;
        assert_eq!(resumed.status, 200);
        assert_eq!(resumed.token(), login.token());
    }

    assert_eq!(
        server.audited("session resumed; rhost=203.0.113.9 user=owner session="),
        2
    );
    for path in [SESSIONS, "/api/auth/profile", "/api/system"] {
        assert_eq!(
            browser.get(path).await.status,
            401,
            "a cookie is no credential: {path}"
        );
    }
    let device = login.cookie("proxmenux_device");
    let swapped = device.replace("proxmenux_device", "proxmenux_session");
    for wrong in [
        &device[..],
        &swapped,
        "proxmenux_session=",
        "proxmenux_session=x",
    ] {
        let answer = server
            .stranger()
            .with("cookie", wrong)
            .post(RESUME, json!({}))
            .await;
        assert_eq!(answer.verdict(), (401, "no_session"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_ends_with_the_session() {
    let server = TestServer::start();
    assert_eq!(server.reloaded().post(RESUME, json!({})).await.status, 200);

    server.advance(24 * 3_600);

    assert_eq!(
        server.reloaded().post(RESUME, json!({})).await.code(),
        "no_session"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_follow_the_scheme_and_the_base_of_the_page() {
    let server = TestServer::start();
    let names = |answer: &Answer| {
        let cookies = answer.cookies();
        let shown = cookies.iter().map(|cookie| {
            let (name, rest) = cookie.split_once('=').unwrap();
            format!("{name} {}", rest.split_once("; ").unwrap().1)
        });
        Vec::from_iter(shown)
    };
    let plain = names(&signed_in(&server.stranger()).await.1);
    assert_eq!(
        plain,
        [
            "proxmenux_session Path=/api/auth; Max-Age=86400; HttpOnly; SameSite=Strict",
            "proxmenux_device Path=/api/auth; Max-Age=15552000; HttpOnly; SameSite=Strict",
        ]
    );
    let proxied = server.local().with("x-forwarded-for", "198.51.100.7");
    let proxied = proxied
        .with("x-forwarded-proto", "https")
        .with("x-monitor-base", "/monitor/");
    let secure = [
        "__Secure-proxmenux_session Path=/monitor/api/auth; Max-Age=86400; HttpOnly; SameSite=Strict; Secure",
        "__Secure-proxmenux_device Path=/monitor/api/auth; Max-Age=15552000; HttpOnly; SameSite=Strict; Secure",
    ];
    assert_eq!(names(&signed_in(&proxied).await.1), secure);
    let claimed = server.stranger().with("x-forwarded-proto", "https");
    assert_eq!(
        names(&signed_in(&claimed).await.1),
        plain,
        "the word of a stranger"
    );
    for base in ["//evil", "/a/../b", "/a; Domain=example.net", "no-slash"] {
        let odd = server.stranger().with("x-monitor-base", base);
        assert_eq!(names(&signed_in(&odd).await.1), plain, "{base}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_of_plain_http_is_not_taken_over_https() {
    let server = TestServer::start();
    let (_, login) = signed_in(&server.stranger()).await;
    let cookie = login.cookie("proxmenux_session");

    let secure = server.stranger().over_tls().with("cookie", &cookie);

    assert_eq!(secure.post(RESUME, json!({})).await.code(), "no_session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_device_gets_no_second_cookie() {
    let server = TestServer::start();

    let answer = server.known_device().login(USER, PASSWORD).await;

    assert_eq!(answer.cookies().len(), 1);
    assert!(answer.cookies()[0].starts_with("proxmenux_session="));
    assert_eq!(server.state()["known_devices"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_ends_and_background_requests_do_not_keep_it() {
    let fixture =
        || Fixture::account().set(|settings| settings.idle = Some(SignedDuration::from_mins(15)));
    let server = fixture().start();
    for _ in 0..4 {
        server.advance(15 * 60);
        assert_eq!(server.owner().get(SESSIONS).await.status, 200);
    }
    let status = server.owner().get("/api/auth/status").await;
    assert_eq!(status.body["idle_minutes"], 15);

    let background = server.owner().with("x-monitor-background", "1");
    for _ in 0..15 {
        server.advance(60);
        assert_eq!(background.get(SESSIONS).await.status, 200);
    }
    server.advance(1);
    assert_eq!(
        background.get(SESSIONS).await.verdict(),
        (401, "invalid_token")
    );
    assert_eq!(server.owner().get(SESSIONS).await.status, 401);
    assert_eq!(
        server.reloaded().post(RESUME, json!({})).await.code(),
        "no_session"
    );
    assert_eq!(
        server.audited("token refused; rhost=192.168.1.20 user=-"),
        1
    );
    assert_eq!(server.audited("reason=session_idle"), 1);

    let server = TestServer::start();
    server.advance(23 * 3_600);
    assert_eq!(
        server.owner().get(SESSIONS).await.status,
        200,
        "off by default"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lasts_a_day_and_not_a_second_more() {
    let server = TestServer::start();
    server.advance(24 * 3_600 - 1);
    assert_eq!(server.owner().get(SESSIONS).await.status, 200);

    server.advance(1);

    assert_eq!(
        server.owner().get(SESSIONS).await.verdict(),
        (401, "invalid_token")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_than_two_hundred_sessions_the_longest_idle_ends() {
    let server = TestServer::start();
    let (first, _) = signed_in(&server.stranger()).await;
    let unused = server.session_token();
    let template = server.state()["sessions"][0].clone();
    let mut full = server.state();
    let mut sessions = vec![full["sessions"][0].clone(), full["sessions"][1].clone()];
    for number in 0..198 {
        let mut session = template.clone();
        session["id"] = json!(format!("{number:016x}"));
        session["jti"] = json!(format!("jti {number}"));
        let digest = proxmenux_monitor::access::digest::Digest::of(&[number]);
        session["token_hash"] = json!(digest.to_string());
        session["last_seen_at"] = json!("2026-01-02T03:04:15Z");
        sessions.push(session);
    }
    full["sessions"] = json!(sessions);
    drop(server);
    let server = Fixture::raw(&full.to_string()).start();
    let owner = server
        .stranger()
        .with("authorization", first_authorization(&first).as_str());
    server.advance(60);
    assert_eq!(
        owner.get(SESSIONS).await.status,
        200,
        "used, though only in memory"
    );

    signed_in(&server.stranger()).await;

    let ids = server.state()["sessions"].clone();
    assert_eq!(ids.as_array().unwrap().len(), 200);
    assert_eq!(
        owner.get(SESSIONS).await.status,
        200,
        "not the longest idle"
    );
    let unused = server.stranger().bearer(&unused);
    assert_eq!(unused.get(SESSIONS).await.code(), "invalid_token");
    assert_eq!(
        server.state()["revoked_tokens"].as_array().unwrap().len(),
        1
    );
}

fn first_authorization(client: &Client) -> String {
    client.header("authorization")
}
