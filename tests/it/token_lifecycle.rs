//! API tokens made, listed, replaced and revoked.

use serde_json::{Value, json};

use super::harness::{Fixture, OUTSIDE, PASSWORD, SECRET, TestServer, USER, api_token, write_file};

const CREATE: &str = "/api/auth/generate-api-token";
const LIST: &str = "/api/auth/api-tokens";
const SYSTEM: &str = "/api/system";

fn wish(mut more: Value) -> Value {
    more["password"] = json!(PASSWORD);
    more
}

async fn create(server: &TestServer, more: Value) -> Value {
    let answer = server.owner().post(CREATE, wish(more)).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body
}

async fn listed(server: &TestServer, id: &Value) -> Value {
    let list = server.owner().get(LIST).await.body;
    let tokens = list["tokens"].as_array().unwrap();
    tokens
        .iter()
        .find(|token| token["id"] == *id)
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_with_what_is_usual_and_shown_once() {
    let server = TestServer::start();

    let made = create(&server, json!({})).await;

    let token = made["token"].as_str().unwrap();
    assert_eq!(made["success"], true);
    assert_eq!(made["token_name"], "API Token");
    assert_eq!(made["expires_in"], "365 days");
    assert_eq!(made["scope"], "read_only");
    let last4 = &token[token.len() - 4..];
    assert_eq!(made["last4"], last4);
    assert_eq!(made["token_prefix"], format!("…{last4}"));
    let text = server.state().to_string();
    assert!(!text.contains(token), "only its digest is kept");
    let entry = listed(&server, &made["id"]).await;
    assert_eq!(entry["name"], "API Token");
    assert_eq!(entry["created_at"], "2026-01-02T03:04:05Z");
    assert_eq!(entry["expires_at"], "2027-01-02T03:04:05Z");
    assert_eq!(entry["days_left"], 365);
    assert_eq!(entry["valid"], true);
    assert_eq!(entry["invalidation_reason"], Value::Null);
    assert_eq!(entry["last_used_at"], Value::Null);
    assert_eq!(entry["legacy"], false);
    let line = format!(
        "token created; rhost=192.168.1.20 user=owner token={} scope=read_only",
        made["id"].as_str().unwrap()
    );
    assert_eq!(server.audited(&line), 1);

    let program = server.stranger().bearer(token);
    assert_eq!(program.get(SYSTEM).await.status, 200);
    let entry = listed(&server, &made["id"]).await;
    assert_eq!(entry["last_used_at"], "2026-01-02T03:04:05Z");
    assert_eq!(entry["last_used_from"], OUTSIDE);
    assert_eq!(server.audited("token first used; rhost=203.0.113.9"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_made_in_one_second_are_two() {
    let server = TestServer::start();

    let one = create(&server, json!({ "token_name": "twin" })).await;
    let two = create(&server, json!({ "token_name": "twin" })).await;

    assert_ne!(one["token"], two["token"]);
    assert_ne!(one["id"], two["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_reaches_as_far_as_it_says() {
    let server = TestServer::start();
    for (scope, status) in [
        ("metrics", 403),
        ("read_only", 200),
        ("operator", 200),
        ("full_admin", 200),
    ] {
        let made = create(&server, json!({ "scope": scope })).await;
        let program = server.stranger().bearer(made["token"].as_str().unwrap());

        assert_eq!(program.get("/api/prometheus").await.status, 200, "{scope}");
        assert_eq!(program.get(SYSTEM).await.status, status, "{scope}");
        let may_list = if scope == "full_admin" { 200 } else { 403 };
        assert_eq!(program.get(LIST).await.status, may_list, "{scope}");
        let another = program.post(CREATE, wish(json!({}))).await;
        assert_eq!(
            another.verdict(),
            (403, "insufficient_scope"),
            "{scope}: tokens make no tokens"
        );
        let entry = listed(&server, &made["id"]).await;
        assert_eq!(
            entry["last_refused_reason"], "insufficient_scope",
            "{scope}"
        );
        assert_eq!(entry["last_refused_from"], OUTSIDE);
    }
}

/// Wishes that cannot be: what is refused, and which field.
fn impossible() -> Vec<(Value, &'static str, &'static str)> {
    let long = "x".repeat(65);
    vec![
        (
            json!({ "token_name": long }),
            "invalid_token_name",
            "token_name",
        ),
        (
            json!({ "token_name": "a\nb" }),
            "invalid_token_name",
            "token_name",
        ),
        (json!({ "scope": "root" }), "invalid_scope", "scope"),
        (json!({ "scope": "" }), "invalid_scope", "scope"),
        (
            json!({ "expires_in_days": 0 }),
            "invalid_expiry",
            "expires_in_days",
        ),
        (
            json!({ "expires_in_days": 366 }),
            "invalid_expiry",
            "expires_in_days",
        ),
        (
            json!({ "expires_in_days": -1 }),
            "invalid_expiry",
            "expires_in_days",
        ),
        (
            json!({ "expires_in_days": 70000 }),
            "invalid_expiry",
            "expires_in_days",
        ),
        (
            json!({ "expires_in_days": 1.5 }),
            "bad_body",
            "expires_in_days",
        ),
        (
            json!({ "allowed_networks": ["nonsense"] }),
            "invalid_network",
            "allowed_networks",
        ),
        (
            json!({ "allowed_networks": vec!["192.0.2.1"; 65] }),
            "invalid_network",
            "allowed_networks",
        ),
        (
            json!({ "allowed_networks": "192.0.2.1" }),
            "bad_body",
            "allowed_networks",
        ),
        (json!({ "terminal": true }), "invalid_terminal", "terminal"),
        (json!({ "terminal": 1 }), "bad_body", "terminal"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_names_its_field_and_counts_for_nothing() {
    let server = TestServer::start();
    for (more, code, field) in impossible() {
        // A wrong password, too: what is wrong with the wish comes first.
        let mut body = wish(more);
        body["password"] = json!("wrong");
        let answer = server.owner().post(CREATE, body).await;
        assert_eq!(answer.verdict(), (400, code), "{field}");
        assert_eq!(answer.body["field"], field);
    }
    assert_eq!(server.audited("authentication failure"), 0);
    let wrong = server
        .owner()
        .post(CREATE, json!({ "password": "wrong" }))
        .await;
    assert_eq!(wrong.verdict(), (403, "reauthentication_failed"));
    assert_eq!(server.audited("reason=make_token"), 1);
    assert_eq!(
        server.state()["api_tokens"].as_array().unwrap().len(),
        4,
        "the fixture's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_and_stays_within_its_networks() {
    let server = TestServer::start();
    let wanted =
        json!({ "expires_in_days": 1, "allowed_networks": ["198.51.100.77/24", "2001:db8::7"] });
    let made = create(&server, wanted).await;
    let program = server.stranger().bearer(made["token"].as_str().unwrap());

    let entry = listed(&server, &made["id"]).await;
    assert_eq!(
        entry["allowed_networks"],
        json!(["198.51.100.0/24", "2001:db8::7/128"])
    );
    assert_eq!(
        program.clone().at("198.51.100.9").get(SYSTEM).await.status,
        200
    );
    assert_eq!(
        program.clone().at("2001:db8::7").get(SYSTEM).await.status,
        200
    );
    assert_eq!(
        program.clone().at("2001:db8::8").get(SYSTEM).await.status,
        401
    );
    assert_eq!(program.get(SYSTEM).await.verdict(), (401, "invalid_token"));
    let entry = listed(&server, &made["id"]).await;
    assert_eq!(entry["last_refused_reason"], "wrong_network");

    server.advance(24 * 3600);

    assert_eq!(program.at("198.51.100.9").get(SYSTEM).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_matched_unmapped_and_no_header_makes_a_caller_this_host() {
    let server = TestServer::start();
    let wanted = json!({ "allowed_networks": ["::ffff:203.0.113.0/120", "127.0.0.1"] });
    let made = create(&server, wanted).await;
    let program = server.stranger().bearer(made["token"].as_str().unwrap());
    let entry = listed(&server, &made["id"]).await;
    let local = program.clone().at("127.0.0.1");

    assert_eq!(entry["allowed_networks"][0], "203.0.113.0/24");
    assert_eq!(program.get(SYSTEM).await.status, 200);
    assert_eq!(local.get(SYSTEM).await.status, 200);
    for chain in ["garbage", "unknown", "127.0.0.1", ""] {
        let forwarded = local.clone().with("x-forwarded-for", chain);
        assert_eq!(forwarded.get(SYSTEM).await.status, 401, "{chain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_noted_whatever_the_program_calls_it() {
    let server = TestServer::start();
    let made = create(&server, json!({})).await;
    let program = server.stranger().bearer(made["token"].as_str().unwrap());

    let hidden = program.with("x-monitor-background", "1").get(SYSTEM).await;

    assert_eq!(hidden.status, 200);
    let entry = listed(&server, &made["id"]).await;
    assert_eq!(entry["last_used_from"], OUTSIDE);
    assert_eq!(server.audited("token first used"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_scope_never_outgrows_the_claim() {
    let (token, mut record) = api_token("metrics", Some("metrics"));
    record["scope"] = json!("full_admin");
    record["terminal"] = json!(false);
    let server = Fixture::account()
        .with("api_tokens", json!([record]))
        .start();
    let program = server.stranger().bearer(&token);
    assert_eq!(program.get("/api/prometheus").await.status, 200);

    create(&server, json!({})).await;

    assert_eq!(server.state()["api_tokens"][0]["scope"], "metrics");
    let id = record["id"].as_str().unwrap();
    let path = format!("{LIST}/{id}/rotate");
    let successor = server.owner().post(&path, wish(json!({}))).await;
    assert_eq!(successor.body["scope"], "metrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_put_back_does_not_revive_a_replaced_token() {
    let server = TestServer::start();
    let made = create(&server, json!({})).await;
    let before = std::fs::read(server.file("auth.json")).unwrap();
    let path = format!("{LIST}/{}/rotate", made["id"].as_str().unwrap());
    let rotated = server
        .owner()
        .post(&path, wish(json!({ "overlap_hours": 1 })))
        .await;
    assert_eq!(rotated.status, 200);

    write_file(&server.file("auth.json"), &before);
    server.app.look_after_tokens().await;
    server.advance(3600);
    let program = server.stranger().bearer(made["token"].as_str().unwrap());
    // Any change makes the writer look at the file first.
    create(&server, json!({ "token_name": "another" })).await;

    assert_eq!(program.get(SYSTEM).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_fails_on_the_very_next_request() {
    let server = TestServer::start();
    let made = create(&server, json!({ "scope": "full_admin" })).await;
    let id = made["id"].as_str().unwrap();
    let program = server.stranger().bearer(made["token"].as_str().unwrap());
    assert_eq!(program.get(SYSTEM).await.status, 200);

    let revoked = server.owner().delete(&format!("{LIST}/{id}")).await;

    assert_eq!(revoked.status, 200);
    assert_eq!(program.get(SYSTEM).await.verdict(), (401, "invalid_token"));
    let entry = listed(&server, &made["id"]).await;
    assert_eq!(entry["revoked"], true);
    assert_eq!(entry["valid"], false);
    assert_eq!(entry["invalidation_reason"], "revoked");
    assert_eq!(entry["last_refused_reason"], "revoked");
    assert_eq!(
        server.audited(&format!(
            "token revoked; rhost=192.168.1.20 user=owner token={id}"
        )),
        1
    );
    let unknown = server
        .owner()
        .delete(&format!("{LIST}/ffffffffffffffff"))
        .await;
    assert_eq!(unknown.verdict(), (404, "token_not_found"));
    let again = server.owner().delete(&format!("{LIST}/{id}")).await;
    assert_eq!(
        again.status, 200,
        "revoking is never undone, nor an error twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_full_rights_lists_and_revokes() {
    let server = TestServer::start();
    let victim = create(&server, json!({})).await;
    let admin = server.token("full_admin");

    assert_eq!(admin.get(LIST).await.status, 200);
    let path = format!("{LIST}/{}", victim["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).await.status, 200);

    let program = server.stranger().bearer(victim["token"].as_str().unwrap());
    assert_eq!(program.get(SYSTEM).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_takes_over_in_its_own_time() {
    let server = TestServer::start();
    let old = create(&server, json!({ "token_name": "sensor", "scope": "operator", "allowed_networks": ["203.0.113.0/24"] })).await;
    let path = format!("{LIST}/{}/rotate", old["id"].as_str().unwrap());

    let new = server
        .owner()
        .post(&path, wish(json!({ "overlap_hours": 2 })))
        .await;

    assert_eq!(new.status, 200, "{:?}", new.body);
    let new = new.body;
    assert_eq!(new["token_name"], "sensor");
    assert_eq!(new["scope"], "operator");
    assert_eq!(new["replaces"], old["id"]);
    assert_eq!(new["old_ends_at"], "2026-01-02T05:04:05Z");
    let entry = listed(&server, &new["id"]).await;
    assert_eq!(entry["allowed_networks"], json!(["203.0.113.0/24"]));
    let with = |token: &Value| server.stranger().bearer(token["token"].as_str().unwrap());
    server.advance(60);
    assert_eq!(with(&old).get(SYSTEM).await.status, 200);
    assert_eq!(with(&new).get(SYSTEM).await.status, 200);
    let entry = listed(&server, &old["id"]).await;
    assert_eq!(entry["ends_at"], "2026-01-02T05:04:05Z");
    assert_eq!(entry["replaced_by"], new["id"]);
    assert_eq!(entry["used_since_rotation"], true);
    assert_eq!(entry["last_used_from"], OUTSIDE);

    server.advance(2 * 3600 - 60);

    assert_eq!(with(&old).get(SYSTEM).await.status, 401);
    assert_eq!(with(&new).get(SYSTEM).await.status, 200);
    let entry = listed(&server, &old["id"]).await;
    assert_eq!(entry["invalidation_reason"], "rotated");
    server.app.look_after_tokens().await;
    let revoked = server.state()["revoked_tokens"].clone();
    let hash =
        proxmenux_monitor::access::digest::Digest::of(old["token"].as_str().unwrap().as_bytes());
    assert!(
        revoked
            .as_array()
            .unwrap()
            .contains(&json!(hash.to_string())),
        "for other programs too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_is_not_replaced() {
    let server = TestServer::start();
    let made = create(&server, json!({})).await;
    let id = made["id"].as_str().unwrap();
    let path = format!("{LIST}/{id}/rotate");
    let too_long = server
        .owner()
        .post(&path, wish(json!({ "overlap_hours": 721 })))
        .await;
    assert_eq!(too_long.verdict(), (400, "invalid_overlap"));
    let unknown_field = server
        .owner()
        .post(&path, wish(json!({ "overlap": 1 })))
        .await;
    assert_eq!(unknown_field.verdict(), (400, "bad_body"));
    let nobody = server
        .owner()
        .post(&format!("{LIST}/ffff/rotate"), wish(json!({})))
        .await;
    assert_eq!(nobody.verdict(), (404, "token_not_found"));
    let at_once = server
        .owner()
        .post(&path, wish(json!({ "overlap_hours": 0 })))
        .await;
    assert_eq!(at_once.status, 200);
    let old = server.stranger().bearer(made["token"].as_str().unwrap());
    assert_eq!(old.get(SYSTEM).await.status, 401, "no overlap at all");

    let again = server.owner().post(&path, wish(json!({}))).await;

    assert_eq!(again.verdict(), (400, "token_not_valid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_earlier_secret_is_told_apart() {
    let (token, mut record) = api_token("read_only", Some("read_only"));
    record["signed_with"] = json!("0123456789abcdef");
    let server = Fixture::account()
        .with(
            "jwt_secret",
            json!("another signing secret of more than thirty-two characters"),
        )
        .with("api_tokens", json!([record]))
        .start();

    let refused = server.stranger().bearer(&token).get(SYSTEM).await;

    assert_eq!(refused.verdict(), (401, "invalid_token"));
    let list = server.owner().get(LIST).await.body;
    assert_eq!(list["tokens"][0]["valid"], false);
    assert_eq!(list["tokens"][0]["invalidation_reason"], "secret_changed");
    assert_eq!(list["tokens"][0]["last_refused_reason"], "secret_changed");
    assert_ne!(
        SECRET,
        "another signing secret of more than thirty-two characters"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_entry_tells_its_scope_after_its_first_use() {
    let (token, mut record) = api_token("old", None);
    for key in ["scope", "signed_with", "terminal"] {
        record.as_object_mut().unwrap().remove(key);
    }
    let server = Fixture::account()
        .with("api_tokens", json!([record]))
        .start();
    let before = server.owner().get(LIST).await.body["tokens"][0].clone();
    assert_eq!(before["scope"], "unknown");
    assert_eq!(before["valid"], Value::Null);
    assert_eq!(before["legacy"], true);

    assert_eq!(
        server.stranger().bearer(&token).get(LIST).await.status,
        200,
        "no claim is full rights"
    );

    let after = server.owner().get(LIST).await.body["tokens"][0].clone();
    assert_eq!(after["scope"], "full_admin");
    server.owner().post(CREATE, wish(json!({}))).await;
    let kept = server.state()["api_tokens"][0].clone();
    assert_eq!(kept["scope"], "full_admin");
    assert!(kept["signed_with"].is_string());
    assert_eq!(kept["last_used_from"], OUTSIDE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_reminded_once_at_each_threshold() {
    let server = TestServer::start();
    let made = create(
        &server,
        json!({ "expires_in_days": 40, "token_name": "sensor" }),
    )
    .await;
    let id = made["id"].as_str().unwrap();
    let reminded = |days: i64| {
        server.audited(&format!(
            "token expires soon; user=- token={id} days={days}"
        ))
    };

    server.app.look_after_tokens().await;
    assert_eq!(server.audited("token expires soon"), 0);
    for (advance, days) in [(10, 30), (23, 7), (6, 1)] {
        server.advance(advance * 24 * 3600);
        server.app.look_after_tokens().await;
        server.app.look_after_tokens().await;
        assert_eq!(reminded(days), 1, "{days}");
    }
    assert_eq!(server.audited("token expires soon"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_a_change_of_password_and_a_reset() {
    let server = TestServer::start();
    let made = create(&server, json!({})).await;
    let program = server.stranger().bearer(made["token"].as_str().unwrap());

    let change = json!({ "old_password": PASSWORD, "new_password": "Slow-w4lkers-arrive" });
    assert_eq!(
        server
            .owner()
            .post("/api/auth/change-password", change)
            .await
            .status,
        200
    );
    assert_eq!(program.get(SYSTEM).await.status, 200);
    let cleared = server.app.store.update(|access| {
        access.clear_login();
        Ok::<_, std::convert::Infallible>(())
    });
    assert!(cleared.await.is_ok());

    assert_eq!(
        program.get(SYSTEM).await.status,
        200,
        "of {USER}, who is gone"
    );
}
