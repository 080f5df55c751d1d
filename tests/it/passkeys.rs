//! Passkeys: made, listed, used to sign in and to confirm, and removed.

use serde_json::{Value, json};

use super::harness::{Answer, Client, Fixture, PASSWORD, Sent, TestServer, USER};
use super::soft_passkey::{PRESENT, SoftPasskey, VERIFIED};

const PAGE: &str = "https://pve.example.net";
const PASSKEYS: &str = "/api/auth/passkeys";
const SESSIONS: &str = "/api/auth/sessions";
const MAKE: &str = "/api/auth/passkeys/register/start";
const MADE: &str = "/api/auth/passkeys/register/finish";
const CONFIRM: &str = "/api/auth/passkeys/confirm/start";
const START: &str = "/api/auth/passkey/login/start";
const FINISH: &str = "/api/auth/passkey/login/finish";

/// The same client on a page that can have passkeys.
fn page(client: Client) -> Client {
    client
        .over_tls()
        .with("host", "pve.example.net")
        .with("origin", PAGE)
}

async fn started(client: &Client, path: &str, body: Value) -> (String, Value) {
    let answer = client.post(path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let ceremony = answer.body["ceremony"].as_str().unwrap();
    (ceremony.to_owned(), answer.body["options"].clone())
}

async fn finished(client: &Client, path: &str, ceremony: &str, credential: Value) -> Answer {
    let body = json!({ "ceremony": ceremony, "credential": credential });
    client.post(path, body).await
}

/// Makes a passkey, with the password where a code is not asked for.
async fn make(client: &Client, number: u8) -> (SoftPasskey, String) {
    let (ceremony, options) = started(client, MAKE, json!({ "password": PASSWORD })).await;
    let mut soft = SoftPasskey::new(number);
    let made = soft.create(&options, PAGE);
    let answer = finished(client, MADE, &ceremony, made).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    (
        soft,
        answer.body["passkey"]["id"].as_str().unwrap().to_owned(),
    )
}

async fn sign_in(client: &Client, soft: &mut SoftPasskey) -> Answer {
    let (ceremony, options) = started(client, START, json!({})).await;
    finished(client, FINISH, &ceremony, soft.get(&options, PAGE)).await
}

/// What stands in the field `passkey` where it confirms.
async fn presented(client: &Client, soft: &mut SoftPasskey) -> Value {
    let (ceremony, options) = started(client, CONFIRM, json!({})).await;
    json!({ "ceremony": ceremony, "credential": soft.get(&options, PAGE) })
}

async fn remove(client: &Client, id: &str, body: &Value) -> Answer {
    let sent = Sent::json(&body.to_string());
    client
        .send("DELETE", &format!("{PASSKEYS}/{id}"), sent)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_made_listed_and_opens_sessions() {
    let server = TestServer::start();
    let owner = page(server.owner());
    let other = server.neighbour().login(USER, PASSWORD).await;
    let other = server.neighbour().bearer(other.token().unwrap());
    let owner = owner.with(
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) Firefox/153.0",
    );

    let (ceremony, options) = started(&owner, MAKE, json!({ "password": PASSWORD })).await;
    let mut soft = SoftPasskey::new(1);
    let answer = finished(&owner, MADE, &ceremony, soft.create(&options, PAGE)).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.body["passkey"]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        answer.body["passkey"],
        json!({
            "id": id,
            "name": "Firefox on Linux",
            "created_at": "2026-01-02T03:04:05Z",
            "last_used_at": null,
            "rp_id": "pve.example.net",
            "usable_here": true,
        })
    );
    assert_eq!(answer.body["ended"], 1);
    assert_eq!(other.get(SESSIONS).await.status, 401);
    assert_eq!(
        server.audited(&format!(
            "passkey added; rhost=192.168.1.20 user=owner passkey={id}"
        )),
        1
    );
    assert_eq!(server.state()["passkeys"][0]["name"], "Firefox on Linux");

    server.advance(60);
    let opened = sign_in(&page(server.stranger()), &mut soft).await;
    assert_eq!(opened.status, 200, "{}", opened.body);
    assert!(opened.cookie("__Secure-proxmenux_session").len() > 40);
    let session = page(server.stranger()).bearer(opened.token().unwrap());
    let sessions = session.get(SESSIONS).await;
    assert_eq!(sessions.body["sessions"][0]["factors"], json!(["passkey"]));
    assert_eq!(
        server.audited("authentication success; rhost=203.0.113.9 user=owner method=passkey"),
        1
    );

    let listed = session.get(PASSKEYS).await;
    assert_eq!(
        listed.body["passkeys"][0]["last_used_at"],
        "2026-01-02T03:05:05Z"
    );
    assert_eq!(listed.body["available_here"], true);
    assert_eq!(listed.body["unavailable_reason"], Value::Null);
    assert_eq!(session.get("/api/auth/status").await.body["passkeys"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_a_name_or_https_has_no_passkeys() {
    let server = TestServer::start();
    let owner = server.owner();
    let by_address = owner.clone().over_tls().with("host", "192.0.2.1:8008");
    let plain = owner.clone().with("host", "pve.example.net:8008");
    for (client, why) in [(by_address, "address"), (plain, "not_https")] {
        for path in [MAKE, CONFIRM, START] {
            let body = if path == MAKE {
                json!({ "password": PASSWORD })
            } else {
                json!({})
            };
            let answer = client.post(path, body).await;
            assert_eq!(answer.verdict(), (400, "passkeys_unavailable"), "{path}");
        }
        let listed = client.get(PASSKEYS).await;
        assert_eq!(listed.body["available_here"], false);
        assert_eq!(listed.body["unavailable_reason"], why);
    }
    let here = owner
        .with("host", "localhost:8008")
        .with("origin", "http://localhost:8008");
    started(&here, START, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceremony_is_for_one_answer_of_its_owner_in_five_minutes() {
    let server = TestServer::start();
    let owner = page(server.owner());
    let (mut soft, _id) = make(&owner, 1).await;
    let stranger = page(server.stranger());

    let (ceremony, options) = started(&stranger, START, json!({})).await;
    let answer = soft.get(&options, PAGE);
    let elsewhere = finished(&page(server.neighbour()), FINISH, &ceremony, answer.clone()).await;
    assert_eq!(elsewhere.verdict(), (400, "ceremony_expired"));
    let opened = finished(&stranger, FINISH, &ceremony, answer.clone()).await;
    assert_eq!(opened.status, 200);
    let again = finished(&stranger, FINISH, &ceremony, answer).await;
    assert_eq!(again.verdict(), (400, "ceremony_expired"));

    let (ceremony, options) = started(&stranger, START, json!({})).await;
    server.advance(300);
    let late = finished(&stranger, FINISH, &ceremony, soft.get(&options, PAGE)).await;
    assert_eq!(late.verdict(), (400, "ceremony_expired"));

    let (ceremony, options) = started(&owner, MAKE, json!({ "password": PASSWORD })).await;
    let spoilt = finished(&owner, MADE, &ceremony, json!({})).await;
    assert_eq!(spoilt.verdict(), (400, "bad_body"));
    let again = finished(
        &owner,
        MADE,
        &ceremony,
        SoftPasskey::new(2).create(&options, PAGE),
    )
    .await;
    assert_eq!(again.verdict(), (400, "ceremony_expired"));
    let session = page(server.neighbour()).bearer(opened.token().unwrap());
    let (ceremony, options) = started(&owner, MAKE, json!({ "password": PASSWORD })).await;
    let made = SoftPasskey::new(2).create(&options, PAGE);
    let other = finished(&session, MADE, &ceremony, made).await;
    assert_eq!(
        other.verdict(),
        (400, "ceremony_expired"),
        "another session's"
    );
    assert_eq!(server.audited("authentication failure"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_that_proves_nothing_is_a_failure_like_any_other() {
    let server = TestServer::start();
    let (mut soft, _id) = make(&page(server.owner()), 1).await;
    let stranger = page(server.stranger());

    let refused = sign_in(&stranger, &mut SoftPasskey::new(2)).await;
    assert_eq!(refused.verdict(), (401, "passkey_refused"));
    soft.flags = PRESENT;
    let refused = sign_in(&stranger, &mut soft).await;
    assert_eq!(refused.verdict(), (401, "passkey_refused"));
    let (ceremony, _options) = started(&stranger, START, json!({})).await;
    let malformed = finished(&stranger, FINISH, &ceremony, json!({ "id": 1 })).await;
    assert_eq!(malformed.verdict(), (400, "bad_body"));
    assert_eq!(malformed.body["field"], "credential");
    let line = "authentication failure; rhost=203.0.113.9 user=owner method=passkey";
    assert_eq!(server.audited(line), 2, "a body is no failure");

    stranger.fail(3).await;
    let kept_out = sign_in(&stranger, &mut soft).await;
    assert_eq!(kept_out.verdict(), (429, "too_many_attempts"));
    server.forgive();
    soft.flags = PRESENT | VERIFIED;
    assert_eq!(sign_in(&stranger, &mut soft).await.status, 200);
    soft.counter = 0;
    let copied = sign_in(&stranger, &mut soft).await;
    assert_eq!(
        copied.verdict(),
        (401, "passkey_refused"),
        "its counter went back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_confirms_in_place_of_password_and_code() {
    let server = Fixture::second_factor().start();
    let owner = page(server.owner());
    let body = json!({ "password": PASSWORD });
    server.advance(3600);
    let answer = owner.post(MAKE, body.clone()).await;
    assert_eq!(answer.verdict(), (403, "code_required"));
    let wrong = json!({ "password": "wrong", "totp_code": server.code(0) });
    let answer = owner.post(MAKE, wrong).await;
    assert_eq!(answer.verdict(), (403, "reauthentication_failed"));
    let body = json!({ "password": PASSWORD, "totp_code": server.code(0) });
    let (ceremony, options) = started(&owner, MAKE, body).await;
    let mut soft = SoftPasskey::new(1);
    let answer = finished(&owner, MADE, &ceremony, soft.create(&options, PAGE)).await;
    let id = answer.body["passkey"]["id"].as_str().unwrap().to_owned();
    let path = format!("{PASSKEYS}/{id}");

    server.advance(3600);
    let passkey = presented(&owner, &mut soft).await;
    let renamed = json!({ "name": " phone ", "passkey": passkey });
    let answer = owner.put(&path, renamed.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["passkey"]["name"], "phone");
    let again = owner.put(&path, renamed).await;
    assert_eq!(again.verdict(), (400, "ceremony_expired"));

    let mut stranger = SoftPasskey::new(2);
    let passkey = presented(&owner, &mut stranger).await;
    let answer = remove(&owner, &id, &json!({ "passkey": passkey })).await;
    assert_eq!(answer.verdict(), (403, "reauthentication_failed"));
    assert_eq!(answer.body["field"], "passkey");
    assert_eq!(server.audited("method=passkey reason=change_passkeys"), 1);

    let (ceremony, options) = started(&page(server.neighbour()), START, json!({})).await;
    let passkey = json!({ "ceremony": ceremony, "credential": soft.get(&options, PAGE) });
    let answer = remove(&owner, &id, &json!({ "passkey": passkey })).await;
    assert_eq!(
        answer.verdict(),
        (400, "ceremony_expired"),
        "that is a sign-in"
    );

    let passkey = presented(&owner, &mut soft).await;
    let body = json!({ "passkey": passkey });
    let off = owner.post("/api/auth/totp/disable", body).await;
    assert_eq!(off.status, 200, "{}", off.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_that_was_removed_opens_nothing() {
    let server = TestServer::start();
    let owner = page(server.owner());
    let (mut soft, id) = make(&owner, 1).await;
    let opened = sign_in(&page(server.stranger()), &mut soft).await;
    let session = page(server.stranger()).bearer(opened.token().unwrap());
    let confirm = json!({ "password": PASSWORD });

    let unknown = remove(&owner, "0000000000000000", &confirm).await;
    assert_eq!(unknown.verdict(), (404, "passkey_not_found"));
    let answer = remove(&owner, &id, &confirm).await;
    assert_eq!((answer.status, &answer.body["ended"]), (200, &json!(1)));
    assert_eq!(session.get(SESSIONS).await.status, 401);
    assert_eq!(owner.get(PASSKEYS).await.body["passkeys"], json!([]));
    assert_eq!(
        server.audited(&format!(
            "passkey removed; rhost=192.168.1.20 user=owner passkey={id}"
        )),
        1
    );
    let refused = sign_in(&page(server.neighbour()), &mut soft).await;
    assert_eq!(refused.verdict(), (401, "passkey_refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_1_to_64_characters() {
    let server = TestServer::start();
    let owner = page(server.owner());
    let (_soft, id) = make(&owner, 1).await;
    for name in [" ".to_owned(), "a\u{7}b".to_owned(), "ä".repeat(65)] {
        let body = json!({ "name": name, "password": PASSWORD });
        let answer = owner.put(&format!("{PASSKEYS}/{id}"), body).await;
        assert_eq!(answer.verdict(), (400, "invalid_passkey_name"), "{name:?}");
        assert_eq!(answer.body["field"], "name");
    }
    let (ceremony, options) = started(&owner, MAKE, json!({ "password": PASSWORD })).await;
    let made = SoftPasskey::new(2).create(&options, PAGE);
    let body = json!({ "ceremony": ceremony, "credential": made, "name": "a\nb" });
    let answer = owner.post(MADE, body).await;
    assert_eq!(answer.verdict(), (400, "invalid_passkey_name"));
    let body = json!({ "ceremony": ceremony, "credential": made, "name": "Küche" });
    let answer = owner.post(MADE, body).await;
    assert_eq!(
        answer.body["passkey"]["name"], "Küche",
        "the name came first"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_protection_there_is_nothing_to_confirm() {
    let server = Fixture::declined().start();
    let visitor = server
        .local()
        .with("host", "localhost:8008")
        .with("origin", "http://localhost:8008");
    for path in [MAKE, CONFIRM] {
        let answer = visitor.post(path, json!({})).await;
        assert_eq!(answer.verdict(), (400, "not_protected"), "{path}");
    }
    let start = "/api/auth/passkey/login/start";
    let refused = visitor.post(start, json!({})).await;
    assert_eq!(refused.verdict(), (400, "not_protected"));
    let fresh = Fixture::empty().start();
    let visitor = fresh.local().with("host", "localhost:8008");
    let refused = visitor.post(start, json!({})).await;
    assert_eq!(refused.verdict(), (401, "setup_required"));
}
