//! First launch: set-up, going without, taking that back; and the open mode that follows.

use proxmenux_monitor::access::hosts::HostName;
use proxmenux_monitor::access::setup::SetupFrom;
use serde_json::{Value, json};

use super::harness::{Answer, Client, Fixture, LAN, OTHER_PASSWORD, PASSWORD, TestServer, USER};

const SETUP: &str = "/api/auth/setup";
const SKIP: &str = "/api/auth/skip";
const ENABLE: &str = "/api/auth/enable";

fn body(claim_code: Option<&str>) -> Value {
    let mut body = json!({ "username": USER, "password": PASSWORD });
    if let Some(code) = claim_code {
        body["claim_code"] = json!(code);
    }
    body
}

async fn set_up(client: &Client, claim_code: Option<&str>) -> Answer {
    client.post(SETUP, body(claim_code)).await
}

async fn skip(client: &Client, claim_code: Option<&str>) -> Answer {
    let body = claim_code.map_or_else(|| json!({}), |code| json!({ "claim_code": code }));
    client.post(SKIP, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_protects_signs_in_and_keeps_what_integrations_need() {
    let server = Fixture::empty().start();

    let answer = set_up(&server.neighbour(), None).await;

    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.body, { ".token" => "[token]" }, @r#"
    {
      "success": true,
      "token": "[token]",
      "message": "The password is set."
    }
    "#);
    assert_eq!(answer.cookies().len(), 2, "session and device");
    let me = server.neighbour().bearer(answer.token().unwrap());
    assert_eq!(me.get("/api/auth/sessions").await.status, 200);
    assert_eq!(
        server.token("read_only").get("/api/system").await.status,
        200
    );
    let state = server.state();
    assert_eq!(state["jwt_secret"], super::harness::SECRET);
    let hash = state["password_hash"].as_str().unwrap();
    assert!(hash.starts_with("pbkdf2_sha256$600000$"), "{hash}");
    assert_eq!(
        server.audited(&format!("password set up; rhost={LAN} user=owner")),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_password_exists_set_up_is_over() {
    let server = TestServer::start();

    for path in [SETUP, SKIP, "/api/auth/decline"] {
        for client in [server.local(), server.stranger(), server.owner()] {
            let answer = client.post(path, body(None)).await;
            assert_eq!(answer.verdict(), (403, "already_configured"), "{path}");
        }
    }
    let enable = server.local().post(ENABLE, json!({})).await;
    assert_eq!(enable.verdict(), (401, "authentication_required"));
    let enable = server.owner().post(ENABLE, json!({})).await;
    assert_eq!(enable.verdict(), (403, "already_configured"));
    assert_eq!(server.neighbour().login(USER, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_password_is_refused_with_every_rule() {
    let server = Fixture::empty().start();
    for (password, rules) in [
        ("short", json!(["length", "classes"])),
        ("alllowercase", json!(["classes"])),
        ("Password1!", json!(["common"])),
        ("Proxmenux-1", json!(["names"])),
    ] {
        let sent = json!({ "username": USER, "password": password });
        let answer = server.neighbour().post(SETUP, sent).await;
        assert_eq!(answer.verdict(), (400, "weak_password"), "{password}");
        assert_eq!(answer.body["rules"], rules, "{password}");
        assert_eq!(answer.body["field"], "password");
    }
    let long = json!({ "username": USER, "password": format!("Aa1-{}", "x".repeat(1024)) });
    let answer = server.neighbour().post(SETUP, long).await;
    assert_eq!(answer.body["rules"], json!(["too_long"]));
    let phrase = json!({ "username": USER, "password": "winter boots walk to the sea" });
    assert_eq!(server.neighbour().post(SETUP, phrase).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_names_have_a_rule_at_set_up() {
    let server = Fixture::empty().start();
    let long = "n".repeat(65);
    for name in ["", " owner", "owner ", "ow\u{0}ner", "ow\nner", &long] {
        let sent = json!({ "username": name, "password": PASSWORD });
        let answer = server.neighbour().post(SETUP, sent).await;
        assert_eq!(answer.verdict(), (400, "invalid_username"), "{name:?}");
        assert_eq!(answer.body["field"], "username");
    }

    let decomposed = format!("Jose\u{301} {}", "n".repeat(59));
    let sent = json!({ "username": decomposed, "password": PASSWORD });
    assert_eq!(server.neighbour().post(SETUP, sent).await.status, 200);
    let kept = server.state()["username"].as_str().unwrap().to_owned();
    assert!(kept.starts_with("Jos\u{e9} "), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_outside_the_claim_code_is_needed() {
    let server = Fixture::empty().start();
    let code = server.claim_code();

    assert_eq!(
        set_up(&server.stranger(), None).await.verdict(),
        (403, "claim_code_required")
    );
    assert_eq!(
        set_up(&server.stranger(), Some("")).await.verdict(),
        (403, "claim_code_required")
    );
    let wrong = set_up(&server.stranger(), Some("AAAA-AAAA-AAAA")).await;
    assert_eq!(wrong.verdict(), (403, "claim_code_wrong"));
    assert_eq!(wrong.body["field"], "claim_code");
    assert_eq!(server.audited("user=- method=claim_code reason=set_up"), 1);
    let typed = code.to_lowercase().replace('-', " ");
    assert_eq!(set_up(&server.stranger(), Some(&typed)).await.status, 200);
    assert!(!server.file("claim-code").exists(), "dead after set-up");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_claim_codes_are_limited_like_passwords() {
    let server = Fixture::empty().start();
    for _ in 0..5 {
        let wrong = skip(&server.stranger(), Some("AAAA-AAAA-AAAA")).await;
        assert_eq!(wrong.verdict(), (403, "claim_code_wrong"));
    }

    let right = set_up(&server.stranger(), Some(&server.claim_code())).await;

    assert_eq!(right.verdict(), (429, "too_many_attempts"));
    assert_eq!(right.header("retry-after"), "60");
    assert_eq!(server.audited("reason=rate_limited"), 1);
    assert_eq!(
        server.stranger().login(USER, PASSWORD).await.status,
        429,
        "one limiter"
    );
    server.advance(60);
    let right = set_up(&server.stranger(), Some(&server.claim_code())).await;
    assert_eq!(right.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_claim_code_is_refused_from_near_too() {
    let server = Fixture::empty().start();
    let wrong = set_up(&server.neighbour(), Some("AAAA-AAAA-AAAA")).await;
    assert_eq!(wrong.verdict(), (403, "claim_code_wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_is_another_after_protection_was_turned_off() {
    let server = Fixture::empty().start();
    let first = server.claim_code();
    let session = set_up(&server.neighbour(), None).await;
    let me = server.neighbour().bearer(session.token().unwrap());

    let off = me
        .post("/api/auth/disable", json!({ "password": PASSWORD }))
        .await;

    assert_eq!(off.status, 200);
    assert_ne!(server.claim_code(), first);
    assert_eq!(
        set_up(&server.stranger(), Some(&first)).await.code(),
        "claim_code_wrong"
    );
    let second = server.claim_code();
    assert_eq!(set_up(&server.stranger(), Some(&second)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_code_asks_everybody_for_the_code() {
    let server = Fixture::empty()
        .set(|settings| settings.setup = SetupFrom::Code)
        .start();

    for client in [server.neighbour(), server.local()] {
        assert_eq!(
            set_up(&client, None).await.verdict(),
            (403, "claim_code_required")
        );
        assert_eq!(
            skip(&client, None).await.verdict(),
            (403, "claim_code_required")
        );
    }
    let status = server.local().get("/api/auth/status").await;
    assert_eq!(status.body["setup_requires_code"], true);
    assert_eq!(
        set_up(&server.local(), Some(&server.claim_code()))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_host_name_is_refused_unless_the_code_is_right() {
    let configured = HostName::parse("dash.example.net").unwrap();
    let fixture = || {
        let configured = configured.clone();
        Fixture::empty().set(move |settings| settings.host_names = vec![configured])
    };
    let server = fixture().start();
    let rebound = server.neighbour().with("host", "rebound.example.net");
    for path in [SETUP, SKIP, "/api/auth/decline"] {
        let answer = rebound.post(path, body(None)).await;
        assert_eq!(answer.verdict(), (403, "host_refused"), "{path}");
    }
    let forwarded = server.local().with("x-forwarded-for", LAN);
    let forwarded = forwarded.with("x-forwarded-host", "rebound.example.net");
    assert_eq!(set_up(&forwarded, None).await.code(), "host_refused");
    let status = rebound.get("/api/auth/status").await;
    assert_eq!(
        status.body["setup_requires_code"], true,
        "the page asks for it"
    );
    assert_eq!(
        set_up(&rebound, Some(&server.claim_code())).await.status,
        200
    );

    let own = server.app.system.identity().names[0].clone();
    for host in [
        "localhost:8008",
        "[2001:db8::1]:8008",
        "DASH.example.net",
        &own,
    ] {
        let server = fixture().start();
        let client = server.neighbour().with("host", host);
        assert_eq!(skip(&client, None).await.status, 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarding_header_takes_nearness_away() {
    let server = Fixture::empty().start();
    for (peer, header, value) in [
        (LAN, "x-forwarded-for", LAN),
        (LAN, "x-forwarded-for", "127.0.0.1"),
        (LAN, "x-real-ip", "127.0.0.1"),
        ("127.0.0.1", "x-forwarded-for", "198.51.100.7"),
        ("127.0.0.1", "x-forwarded-for", "127.0.0.1"),
        ("127.0.0.1", "x-forwarded-for", "nonsense"),
        ("127.0.0.1", "x-forwarded-proto", "https"),
        ("127.0.0.1", "forwarded", "for=127.0.0.1"),
        ("127.0.0.1", "x-real-ip", "127.0.0.1"),
        ("127.0.0.1", "via", "1.1 proxy"),
        ("127.0.0.1", "cf-connecting-ip", "127.0.0.1"),
        ("127.0.0.1", "true-client-ip", "127.0.0.1"),
    ] {
        let client = server.stranger().at(peer).with(header, value);
        let answer = set_up(&client, None).await;
        assert_eq!(
            answer.verdict(),
            (403, "claim_code_required"),
            "{peer} {header}: {value}"
        );
    }

    let near = server.local().with("x-forwarded-for", LAN);
    assert_eq!(
        skip(&near, None).await.status,
        200,
        "a trusted proxy's word for a near client"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_private_network_is_near() {
    for address in [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.1.2.3",
    ] {
        let server = Fixture::empty().start();
        let answer = skip(&server.stranger().at(address), None).await;
        assert_eq!(answer.status, 200, "{address}");
    }
    let server = Fixture::empty().start();
    for address in [
        "172.32.0.1",
        "100.128.0.1",
        "2001:db8::1",
        "192.0.2.7",
        "::ffff:192.0.2.7",
    ] {
        let answer = skip(&server.stranger().at(address), None).await;
        assert_eq!(answer.code(), "claim_code_required", "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declining_opens_and_can_be_taken_back() {
    for path in [SKIP, "/api/auth/decline"] {
        let server = Fixture::empty().start();
        assert_eq!(
            server.neighbour().post(ENABLE, json!({})).await.verdict(),
            (401, "setup_required")
        );

        let answer = server
            .neighbour()
            .send("POST", path, super::harness::Sent::nothing())
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["auth_declined"], true);
        assert_eq!(answer.body["success"], true);
        assert!(answer.body["message"].is_string());
        assert_eq!(server.neighbour().get("/api/system").await.status, 200);
        assert!(
            server.file("claim-code").exists(),
            "valid while declined too"
        );
        let again = skip(&server.neighbour(), None).await;
        assert_eq!(again.status, 200, "declining twice is declining");

        let enabled = server.neighbour().post(ENABLE, json!({})).await;
        assert_eq!(enabled.status, 200);
        assert_eq!(enabled.body["success"], true);
        assert_eq!(
            server.neighbour().get("/api/system").await.code(),
            "setup_required"
        );
        assert_eq!(
            server.audited("protection declined; rhost=192.168.1.20 user=-"),
            2
        );
        assert_eq!(server.audited("protection no longer declined"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_can_be_set_while_declined() {
    let server = Fixture::declined().start();
    assert_eq!(
        set_up(&server.stranger(), None).await.code(),
        "claim_code_required"
    );

    assert_eq!(set_up(&server.neighbour(), None).await.status, 200);

    let state = server.state();
    assert_eq!(
        (&state["enabled"], &state["declined"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        server.neighbour().get("/api/system").await.code(),
        "authentication_required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_racing_set_ups_one_wins() {
    for fixture in [Fixture::empty, Fixture::declined] {
        let server = fixture().start();
        let race = [("first", PASSWORD), ("second", OTHER_PASSWORD)].map(|(name, password)| {
            let client = server.neighbour();
            let body = json!({ "username": name, "password": password });
            tokio::spawn(async move { (name, password, client.post(SETUP, body).await) })
        });
        let mut winners = Vec::new();

        for racer in race {
            let (name, password, answer) = racer.await.unwrap();
            if answer.status == 200 {
                winners.push((name, password));
            } else {
                assert_eq!(answer.verdict(), (403, "already_configured"));
                assert_eq!(answer.token(), None);
                assert!(answer.cookies().is_empty());
            }
        }

        let [(name, password)] = winners[..] else {
            assert_eq!(winners.len(), 1);
            return;
        };
        assert_eq!(server.state()["username"], name);
        assert_eq!(server.neighbour().login(name, password).await.status, 200);
        assert_eq!(server.audited("password set up"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_of_declining_against_set_up_never_leaves_the_door_open() {
    for _ in 0..3 {
        let server = Fixture::empty().start();
        let (first, second) = (server.neighbour(), server.neighbour());
        let set_up = tokio::spawn(async move { set_up(&first, None).await.status });
        let skipped = tokio::spawn(async move { skip(&second, None).await.status });

        assert_eq!(set_up.await.unwrap(), 200);
        assert!(matches!(skipped.await.unwrap(), 200 | 403));
        assert_eq!(server.neighbour().get("/api/system").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_mode_answers_near_callers_by_the_hosts_names() {
    let server = Fixture::declined().start();
    let paths = [
        "/api/system",
        "/api/system/history",
        "/api/auth/sessions",
        "/api/auth/profile",
    ];
    for path in paths {
        assert_eq!(server.neighbour().get(path).await.status, 200, "{path}");
        let bad = server.neighbour().bearer("not a token").get(path).await;
        assert_eq!(bad.status, 200, "a bad token is ignored: {path}");
        let outside = server.stranger().get(path).await;
        assert_eq!(outside.verdict(), (403, "open_mode_private_only"), "{path}");
        let outside = server.stranger().bearer("a.b.c").get(path).await;
        assert_eq!(outside.verdict(), (403, "open_mode_private_only"), "{path}");
        let rebound = server.neighbour().with("host", "rebound.example.net");
        assert_eq!(
            rebound.get(path).await.verdict(),
            (403, "host_refused"),
            "{path}"
        );
        let claimed = server.neighbour().with("x-forwarded-for", LAN);
        assert_eq!(
            claimed.get(path).await.code(),
            "open_mode_private_only",
            "{path}"
        );
    }
    assert_eq!(
        server.token("read_only").get("/api/system").await.status,
        200
    );
    assert_eq!(
        server.token("metrics").get("/api/system").await.code(),
        "insufficient_scope"
    );
    let put = server
        .neighbour()
        .put("/api/auth/profile", json!({ "display_name": "Home" }))
        .await;
    assert_eq!(put.body["display_name"], "Home");
    assert_eq!(
        server
            .neighbour()
            .post("/api/auth/logout", json!({}))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_may_open_it_to_everybody() {
    let server = Fixture::declined()
        .set(|settings| settings.open_mode_public = true)
        .start();

    assert_eq!(server.stranger().get("/api/system").await.status, 200);
    let rebound = server.stranger().with("host", "rebound.example.net");
    assert_eq!(rebound.get("/api/system").await.code(), "host_refused");
    assert_eq!(
        set_up(&server.stranger(), None).await.code(),
        "claim_code_required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn open_mode_is_written_down_at_each_start() {
    let server = Fixture::declined().start();
    server.app.tell_open_mode();
    assert_eq!(
        server.audited("WARNING proxmenux-auth: running without protection; user=-"),
        1
    );

    let server = TestServer::start();
    server.app.tell_open_mode();
    assert_eq!(server.audited("running without protection"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_code_is_worth_nothing_once_a_password_exists() {
    let server = Fixture::empty().start();
    let code = server.claim_code();
    assert_eq!(set_up(&server.neighbour(), None).await.status, 200);

    let answer = set_up(&server.stranger(), Some(&code)).await;

    assert_eq!(answer.verdict(), (403, "already_configured"));
    assert_eq!(
        server.audited("authentication failure"),
        0,
        "nor is it a failure"
    );
}
