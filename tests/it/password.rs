//! Changing the password and turning protection off: both confirmed with what signs in.

use serde_json::{Value, json};

use super::harness::{BACKUP_CODES, Fixture, LAN, OTHER_PASSWORD, PASSWORD, TestServer, USER};

const CHANGE: &str = "/api/auth/change-password";
const DISABLE: &str = "/api/auth/disable";
const SESSIONS: &str = "/api/auth/sessions";

fn change(old: &str, new: &str) -> Value {
    json!({ "old_password": old, "new_password": new })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_ends_every_session_and_hands_over_a_fresh_one() {
    let server = TestServer::start();
    let other = server.stranger().login(USER, PASSWORD).await;
    let other = server.stranger().bearer(other.token().unwrap());

    let answer = server
        .owner()
        .post(CHANGE, change(PASSWORD, OTHER_PASSWORD))
        .await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["success"], true);
    assert!(answer.cookie("proxmenux_session").len() > 40);
    let fresh = server.neighbour().bearer(answer.token().unwrap());
    assert_eq!(
        fresh.get(SESSIONS).await.body["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(other.get(SESSIONS).await.status, 401);
    assert_eq!(server.owner().get(SESSIONS).await.status, 401);
    assert_eq!(
        server.token("read_only").get("/api/system").await.status,
        200
    );
    assert_eq!(
        server.audited("password changed; rhost=192.168.1.20 user=owner ended=2"),
        1
    );
    assert_eq!(server.neighbour().login(USER, PASSWORD).await.status, 401);
    assert_eq!(
        server.neighbour().login(USER, OTHER_PASSWORD).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_password_may_go_by_another_name() {
    let server = TestServer::start();
    let both = json!({ "old_password": PASSWORD, "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    let answer = server.owner().post(CHANGE, both).await;
    assert_eq!(answer.verdict(), (400, "bad_body"), "not by both");

    let sent = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });

    assert_eq!(server.owner().post(CHANGE, sent).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_old_password_is_a_failure_that_signs_nobody_out() {
    let server = TestServer::start();

    for (path, sent, field) in [
        (CHANGE, change("wrong", OTHER_PASSWORD), "old_password"),
        (DISABLE, json!({ "password": "wrong" }), "password"),
    ] {
        let answer = server.owner().post(path, sent).await;
        assert_eq!(answer.verdict(), (403, "reauthentication_failed"));
        assert_eq!(answer.body["field"], field);
        assert_eq!(server.owner().get(SESSIONS).await.status, 200);
    }
    let line = format!("authentication failure; rhost={LAN} user=owner method=password");
    assert_eq!(server.audited(&format!("{line} reason=change_password")), 1);
    assert_eq!(server.audited(&format!("{line} reason=turn_off")), 1);
    server.neighbour().fail(3).await;
    let answer = server
        .owner()
        .post(CHANGE, change(PASSWORD, OTHER_PASSWORD))
        .await;
    assert_eq!(
        answer.verdict(),
        (429, "too_many_attempts"),
        "one limiter for all"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_new_password_costs_neither_an_attempt_nor_a_code() {
    let server = Fixture::second_factor().start();
    let code = server.code(0);
    for _ in 0..6 {
        let mut sent = change(PASSWORD, "weak");
        sent["totp_code"] = json!(code);
        let work = server.owner().post(CHANGE, sent).await;
        assert_eq!(work.verdict(), (400, "weak_password"));
        assert_eq!(work.body["field"], "new_password");
        assert_eq!(work.body["rules"], json!(["length", "classes"]));
    }
    assert_eq!(server.app.derivations.count(), 0);

    let mut sent = change(PASSWORD, OTHER_PASSWORD);
    sent["totp_code"] = json!(code);
    assert_eq!(server.owner().post(CHANGE, sent).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_used_up() {
    for (path, with_code) in [
        (CHANGE, change(PASSWORD, OTHER_PASSWORD)),
        (DISABLE, json!({ "password": PASSWORD })),
    ] {
        let server = Fixture::second_factor().start();
        let send = async |name: &str, code: &str| {
            let mut sent = with_code.clone();
            sent[name] = json!(code);
            server.owner().post(path, sent).await
        };
        for missing in ["", "  "] {
            let answer = send("totp_code", missing).await;
            assert_eq!(answer.verdict(), (403, "code_required"));
        }
        let missing = server.owner().post(path, with_code.clone()).await;
        assert_eq!(missing.verdict(), (403, "code_required"));
        assert_eq!(missing.body["requires_totp"], true);
        let wrong = send("totp_code", "000000").await;
        assert_eq!(wrong.verdict(), (403, "reauthentication_failed"));
        assert_eq!(wrong.body["field"], "totp_code");
        let skewed = send("totp_code", &server.code(10)).await;
        assert_eq!(skewed.body["clock_skew_seconds"], 300);
        assert_eq!(
            server.stranger().login_with(&server.code(0)).await.status,
            200
        );
        let spent = send("totp_code", &server.code(0)).await;
        assert_eq!(spent.verdict(), (403, "code_already_used"));
        assert_eq!(spent.body["retry_after"], 25);
        assert_eq!(spent.body["field"], "totp_code");
        assert_eq!(spent.body.get("requires_totp"), None);
        assert_eq!(
            server.owner().get(SESSIONS).await.status,
            200,
            "still signed in"
        );
        let by_alias = send("totp_token", BACKUP_CODES[0]).await;
        assert_eq!(by_alias.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_off_leads_back_to_set_up_and_keeps_tokens() {
    let server = TestServer::start();

    let answer = server
        .owner()
        .post(DISABLE, json!({ "password": PASSWORD }))
        .await;

    assert_eq!(
        (answer.status, &answer.body["success"]),
        (200, &json!(true))
    );
    assert_eq!(answer.cookies().len(), 2);
    assert!(
        answer
            .cookies()
            .iter()
            .all(|cookie| cookie.contains("Max-Age=0"))
    );
    assert_eq!(
        server.owner().get(SESSIONS).await.verdict(),
        (401, "setup_required")
    );
    assert_eq!(
        server.neighbour().get("/api/system").await.code(),
        "setup_required"
    );
    assert_eq!(
        server.token("read_only").get("/api/system").await.status,
        200
    );
    let state = server.state();
    assert_eq!(state["jwt_secret"], super::harness::SECRET);
    assert_eq!(state["password_hash"], Value::Null);
    assert_eq!(state["known_devices"], json!([]));
    assert_eq!(
        server.audited(
            "WARNING proxmenux-auth: protection turned off; rhost=192.168.1.20 user=owner"
        ),
        1
    );
    let status = server.neighbour().get("/api/auth/status").await.body;
    assert_eq!(
        (&status["configured"], &status["declined"]),
        (&json!(false), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_does_not_come_back_with_the_next_set_up() {
    let server = TestServer::start();
    server
        .owner()
        .post(DISABLE, json!({ "password": PASSWORD }))
        .await;

    let again = json!({ "username": USER, "password": PASSWORD });
    assert_eq!(
        server
            .neighbour()
            .post("/api/auth/setup", again)
            .await
            .status,
        200
    );

    assert_eq!(
        server.owner().get(SESSIONS).await.verdict(),
        (401, "invalid_token")
    );
    let resume = server
        .reloaded()
        .post("/api/auth/session/resume", json!({}))
        .await;
    assert_eq!(resume.code(), "no_session");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_open_mode_there_is_nothing_to_confirm_with() {
    let server = Fixture::declined().start();

    for (path, sent) in [
        (CHANGE, change(PASSWORD, OTHER_PASSWORD)),
        (DISABLE, json!({ "password": PASSWORD })),
    ] {
        let answer = server.neighbour().post(path, sent).await;
        assert_eq!(answer.verdict(), (400, "not_protected"), "{path}");
    }
    assert_eq!(server.audited("authentication failure"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_racing_changes_do_not_both_win() {
    let server = TestServer::start();
    let race = [OTHER_PASSWORD, "Third-w4y-round-it"].map(|new| {
        let owner = server.owner();
        tokio::spawn(async move { (new, owner.post(CHANGE, change(PASSWORD, new)).await.status) })
    });
    let mut won = Vec::new();

    for each in race {
        let (new, status) = each.await.unwrap();
        if status == 200 {
            won.push(new);
        }
    }

    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(server.neighbour().login(USER, won[0]).await.status, 200);
}
