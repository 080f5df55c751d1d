//! Two-factor: enrolled, turned off, its backup codes made anew, and never disturbed on the way.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::harness::{BACKUP_CODES, Fixture, LAN, PASSWORD, TOTP_SECRET, TestServer, USER};

const SETUP: &str = "/api/auth/totp/setup";
const ENABLE: &str = "/api/auth/totp/enable";
const DISABLE: &str = "/api/auth/totp/disable";
const RENEW: &str = "/api/auth/totp/backup-codes";
const SESSIONS: &str = "/api/auth/sessions";
const STATUS: &str = "/api/auth/status";

fn password() -> Value {
    json!({ "password": PASSWORD })
}

fn with_code(code: &str) -> Value {
    json!({ "password": PASSWORD, "totp_code": code })
}

fn first(code: &str) -> Value {
    json!({ "token": code })
}

/// Six digits that are none of the secret's for ten minutes around now.
fn wrong_code(server: &TestServer, secret: &str) -> String {
    let around = Vec::from_iter((-25..=25).map(|steps| server.code_of(secret, steps)));
    let mut candidates = (0..1_000_000).map(|number| format!("{number:06}"));
    candidates.find(|code| !around.contains(code)).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().unwrap().iter();
    texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// Enrols an app; returns its secret and the backup codes.
async fn enrol(server: &TestServer) -> (String, Vec<String>) {
    let begun = server.owner().post(SETUP, json!({})).await;
    assert_eq!(begun.status, 200, "{:?}", begun.body);
    let secret = begun.body["secret"].as_str().unwrap().to_owned();
    let first = first(&server.code_of(&secret, 0));
    let enabled = server.owner().post(ENABLE, first).await;
    assert_eq!(enabled.status, 200, "{:?}", enabled.body);
    (secret, texts(&begun.body["backup_codes"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_enrols_an_app_is_shown_and_not_kept() {
    let server = TestServer::start();

    let begun = server.owner().post(SETUP, json!({})).await;

    let secret = begun.body["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    let is_base32 = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
    assert!(secret.bytes().all(is_base32), "{secret}");
    let picture = begun.body["qr_code"].as_str().unwrap();
    assert!(picture.starts_with("data:image/svg+xml;base64,"));
    let uri = format!(
        "otpauth://totp/ProxMenux%20Monitor:owner?secret={secret}&issuer=ProxMenux%20Monitor&algorithm=SHA1&digits=6&period=30"
    );
    assert_eq!(begun.body["otpauth_uri"], uri);
    assert_eq!(begun.body["expires_in"], 600);
    let codes = texts(&begun.body["backup_codes"]);
    assert_eq!(codes.len(), 10);
    for code in &codes {
        let fits = |(place, byte): (usize, u8)| match place {
            4 => byte == b'-',
            _ => matches!(byte, b'A'..=b'H' | b'J'..=b'N' | b'P'..=b'Z' | b'2'..=b'9'),
        };
        assert!(
            code.len() == 9 && code.bytes().enumerate().all(fits),
            "{code}"
        );
    }
    assert_eq!(
        server.state()["totp_enabled"],
        false,
        "nothing is active yet"
    );
    assert_eq!(server.state()["totp_secret"], Value::Null);
    let line = "two-factor enrolment started; rhost=192.168.1.20 user=owner";
    assert_eq!(server.audited(line), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_code_makes_the_app_the_second_factor() {
    let server = TestServer::start();
    let other = server.stranger().login(USER, PASSWORD).await;
    let other = server.stranger().bearer(other.token().unwrap());

    let (secret, _codes) = enrol(&server).await;

    assert_eq!(other.get(SESSIONS).await.status, 401, "other sessions end");
    assert_eq!(
        server.owner().get(SESSIONS).await.status,
        200,
        "this one goes on"
    );
    let state = server.state();
    assert_eq!(state["totp_enabled"], true);
    assert_eq!(state["totp_secret"], secret.as_str());
    let hashes = state["backup_codes"].as_array().unwrap();
    let field = |record: &Value, index| {
        let hash = record["code"].as_str().unwrap();
        hash.split('$').nth(index).unwrap().to_owned()
    };
    assert_eq!(hashes.len(), 10);
    for record in hashes {
        assert_eq!(field(record, 0), "pbkdf2_sha256");
        assert_eq!(field(record, 1), "600000");
        assert_eq!(field(record, 2), field(&hashes[0], 2), "one salt a set");
        assert_eq!(record["used"], false);
    }
    let line = "two-factor enabled; rhost=192.168.1.20 user=owner ended=1";
    assert_eq!(server.audited(line), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_app_is_asked_for_at_sign_in() {
    let server = TestServer::start();
    let (secret, codes) = enrol(&server).await;
    let neighbour = server.neighbour();

    let asked = neighbour.login(USER, PASSWORD).await;
    let again = neighbour.login_with(&server.code_of(&secret, 0)).await;
    let next = neighbour.login_with(&server.code_of(&secret, 1)).await;
    let backup = neighbour.login_with(&codes[3]).await;

    assert_eq!(asked.body["requires_totp"], true);
    assert_eq!(
        again.verdict(),
        (401, "code_already_used"),
        "spent by enrolment"
    );
    assert_eq!(next.status, 200);
    assert_eq!(backup.body["backup_codes_left"], 9);
    let status = server.owner().get(STATUS).await.body;
    assert_eq!(status["backup_codes_left"], 9);
    assert_eq!(
        status["second_factor_fresh"], true,
        "it showed a code just now"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_enrolment_asks_for_the_password_ten_minutes_after_signing_in() {
    let server = TestServer::start();
    server.advance(601);

    let bare = server.owner().post(SETUP, json!({})).await;
    let wrong = server
        .owner()
        .post(SETUP, json!({ "password": "wrong" }))
        .await;
    let right = server.owner().post(SETUP, password()).await;

    assert_eq!(bare.verdict(), (403, "reauthentication_failed"));
    assert_eq!(bare.body["field"], "password");
    assert_eq!(wrong.verdict(), (403, "reauthentication_failed"));
    assert_eq!(right.status, 200);
    let line =
        format!("authentication failure; rhost={LAN} user=owner method=password reason=enrol_app");
    assert_eq!(server.audited(&line), 1, "only what was tried counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_again_does_not_disturb_the_active_app() {
    let server = Fixture::second_factor().start();
    server.advance(601);

    let without_code = server.owner().post(SETUP, password()).await;
    assert_eq!(without_code.verdict(), (403, "code_required"));
    let begun = server.owner().post(SETUP, with_code(&server.code(0))).await;
    assert_eq!(begun.status, 200);
    let pending = begun.body["secret"].as_str().unwrap();

    assert_eq!(server.state()["totp_secret"], TOTP_SECRET);
    let spent = server.neighbour().login_with(&server.code(0)).await;
    assert_eq!(
        spent.verdict(),
        (401, "code_already_used"),
        "a confirmation spends its code"
    );
    let old = server.neighbour().login_with(&server.code(1)).await;
    assert_eq!(old.status, 200, "the active app still signs in");
    let new = server
        .neighbour()
        .login_with(&server.code_of(pending, 0))
        .await;
    assert_eq!(
        new.verdict(),
        (401, "wrong_code"),
        "the pending one does not"
    );

    let enabled = server
        .owner()
        .post(ENABLE, first(&server.code_of(pending, 0)))
        .await;

    assert_eq!(enabled.status, 200);
    assert_eq!(server.state()["totp_secret"], pending);
    let old = server.neighbour().login_with(BACKUP_CODES[0]).await;
    assert_eq!(
        old.verdict(),
        (401, "wrong_code"),
        "the old codes went with it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_waits_ten_minutes_and_belongs_to_its_session() {
    let server = TestServer::start();
    let other = server.neighbour().login(USER, PASSWORD).await;
    let other = server.neighbour().bearer(other.token().unwrap());
    let begun = server.owner().post(SETUP, json!({})).await;
    let secret = begun.body["secret"].as_str().unwrap();

    let foreign = other.post(ENABLE, first(&server.code_of(secret, 0))).await;
    assert_eq!(foreign.verdict(), (400, "no_enrolment"));
    server.advance(600);
    let late = server
        .owner()
        .post(ENABLE, first(&server.code_of(secret, 0)))
        .await;

    assert_eq!(late.verdict(), (400, "no_enrolment"));
    assert_eq!(server.state()["totp_enabled"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_first_code_is_a_failure_and_a_clock_hint_burns_its_step() {
    let server = TestServer::start();
    let begun = server.owner().post(SETUP, json!({})).await;
    let secret = begun.body["secret"].as_str().unwrap();

    let wrong = server
        .owner()
        .post(ENABLE, first(&wrong_code(&server, secret)))
        .await;
    assert_eq!(wrong.verdict(), (400, "wrong_code"));
    assert_eq!(wrong.body["field"], "token");
    let backup = begun.body["backup_codes"][0].as_str().unwrap();
    let backup = server.owner().post(ENABLE, first(backup)).await;
    assert_eq!(backup.verdict(), (400, "wrong_code"), "no backup code here");
    let ahead = server
        .owner()
        .post(ENABLE, first(&server.code_of(secret, 4)))
        .await;
    assert_eq!(ahead.verdict(), (400, "wrong_code"));
    assert_eq!(ahead.body["clock_skew_seconds"], 120);
    assert!(ahead.body["server_time"].is_string());
    let line =
        format!("authentication failure; rhost={LAN} user=owner method=code reason=enrol_app");
    assert_eq!(server.audited(&line), 3);

    server.advance(120);
    let burnt = server
        .owner()
        .post(ENABLE, first(&server.code_of(secret, 0)))
        .await;
    assert_eq!(burnt.verdict(), (400, "code_already_used"));
    assert!(burnt.body["retry_after"].as_i64().unwrap() <= 30);
    server.advance(30);
    let right = server
        .owner()
        .post(ENABLE, first(&server.code_of(secret, 0)))
        .await;
    assert_eq!(right.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_send_the_first_code_one_wins() {
    let server = TestServer::start();
    let begun = server.owner().post(SETUP, json!({})).await;
    let code = first(&server.code_of(begun.body["secret"].as_str().unwrap(), 0));
    let owner = server.known_device().bearer(&server.session_token());

    let tries = (0..100).map(|_| owner.post(ENABLE, code.clone()));
    let answers = join_all(tries).await;

    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status, 200 | 400 | 429))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_turned_off_with_password_and_code() {
    let server = Fixture::second_factor().start();
    server.advance(601);
    let other = server.neighbour().login_with(&server.code(-1)).await;
    let other = server.neighbour().bearer(other.token().unwrap());

    let bare = server.owner().post(DISABLE, json!({})).await;
    assert_eq!(bare.verdict(), (400, "bad_body"));
    assert_eq!(bare.body["field"], "password");
    let without = server.owner().post(DISABLE, password()).await;
    assert_eq!(without.verdict(), (403, "code_required"));
    let wrong = server
        .owner()
        .post(DISABLE, with_code(&wrong_code(&server, TOTP_SECRET)))
        .await;
    assert_eq!(wrong.verdict(), (403, "reauthentication_failed"));
    assert_eq!(wrong.body["field"], "totp_code");
    let off = server
        .owner()
        .post(DISABLE, with_code(&server.code(0)))
        .await;

    assert_eq!(off.status, 200);
    assert_eq!(off.body["ended"], 1);
    assert_eq!(other.get(SESSIONS).await.status, 401);
    let state = server.state();
    assert_eq!(state["totp_enabled"], false);
    assert_eq!(state["totp_secret"], Value::Null);
    assert_eq!(state["backup_codes"], json!([]));
    assert_eq!(
        server.audited("two-factor disabled; rhost=192.168.1.20 user=owner ended=1"),
        1
    );
    assert_eq!(server.neighbour().login(USER, PASSWORD).await.status, 200);
    for path in [DISABLE, RENEW] {
        let again = server.owner().post(path, password()).await;
        assert_eq!(again.verdict(), (400, "totp_not_enabled"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proved_a_code_lately_is_not_asked_again() {
    let server = Fixture::second_factor().start();
    let signed_in = server.neighbour().login_with(&server.code(0)).await;
    let person = server.neighbour().bearer(signed_in.token().unwrap());
    assert_eq!(person.get(STATUS).await.body["second_factor_fresh"], true);

    server.advance(599);
    let wrong = person.post(RENEW, json!({ "password": "wrong" })).await;
    assert_eq!(
        wrong.verdict(),
        (403, "reauthentication_failed"),
        "the password always"
    );
    assert_eq!(person.post(RENEW, password()).await.status, 200);
    server.advance(1);
    assert_eq!(person.get(STATUS).await.body["second_factor_fresh"], false);
    let late = person.post(RENEW, password()).await;
    assert_eq!(late.verdict(), (403, "code_required"));
    let proved = person.post(RENEW, with_code(&server.code(0))).await;
    assert_eq!(proved.status, 200);
    assert_eq!(
        person.post(DISABLE, password()).await.status,
        200,
        "and that counts again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_protection_off_and_making_tokens_always_ask_for_a_code() {
    let server = Fixture::second_factor().start();
    let signed_in = server.neighbour().login_with(&server.code(0)).await;
    let person = server.neighbour().bearer(signed_in.token().unwrap());

    let off = person.post("/api/auth/disable", password()).await;
    assert_eq!(off.verdict(), (403, "code_required"));
    let token = person
        .post("/api/auth/generate-api-token", password())
        .await;
    assert_eq!(token.status, 200);
    assert_eq!(token.body["success"], false);
    assert_eq!(token.body["requires_totp"], true);
    assert_eq!(token.body.get("token"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_new_backup_codes_replace_the_old_ones() {
    let server = Fixture::second_factor().start();

    let renewed = server.owner().post(RENEW, with_code(BACKUP_CODES[0])).await;

    assert_eq!(renewed.status, 200);
    assert_eq!(renewed.body["backup_codes_left"], 10);
    let codes = texts(&renewed.body["backup_codes"]);
    assert_eq!(codes.len(), 10);
    assert_eq!(
        server.audited("backup codes renewed; rhost=192.168.1.20 user=owner"),
        1
    );
    let old = server.neighbour().login_with(BACKUP_CODES[1]).await;
    assert_eq!(old.verdict(), (401, "wrong_code"));
    let typed = codes[9].to_lowercase().replace('-', " ");
    let new = server.neighbour().login_with(&typed).await;
    assert_eq!(new.body["backup_codes_left"], 9);
    server.forgive();
    let (wrong, derived) = server
        .derivations_of(server.neighbour().login_with("ZZZZ-9999"))
        .await;
    assert_eq!(wrong.verdict(), (401, "wrong_code"));
    assert_eq!(derived, 2, "one for the password, one for all ten codes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_counts_once_over_all_places() {
    let server = Fixture::second_factor().start();
    server.advance(601);
    let code = server.code(0);

    assert_eq!(
        server.owner().post(RENEW, with_code(&code)).await.status,
        200
    );

    let change = json!({ "old_password": PASSWORD, "new_password": "Slow-w4lkers-arrive", "totp_code": code });
    for (path, body) in [
        ("/api/auth/change-password", change),
        (DISABLE, with_code(&code)),
        (SETUP, with_code(&code)),
        ("/api/auth/disable", with_code(&code)),
        (
            "/api/auth/generate-api-token",
            json!({ "password": PASSWORD, "totp_token": code }),
        ),
    ] {
        let answer = server.owner().post(path, body).await;
        assert_eq!(answer.verdict(), (403, "code_already_used"), "{path}");
        assert!(answer.body["retry_after"].as_i64().unwrap() > 0, "{path}");
    }
    let login = server.neighbour().login_with(&code).await;
    assert_eq!(login.verdict(), (401, "code_already_used"));
    assert_eq!(
        server.audited("authentication failure"),
        0,
        "a spent code is no failure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_there_is_nothing_to_confirm_with() {
    let server = Fixture::declined().start();

    for path in [SETUP, DISABLE, RENEW, "/api/auth/generate-api-token"] {
        let answer = server.neighbour().post(path, password()).await;
        assert_eq!(answer.verdict(), (400, "not_protected"), "{path}");
    }
    let answer = server.neighbour().post(ENABLE, first("123456")).await;
    assert_eq!(answer.verdict(), (400, "not_protected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_many_addresses_get_nowhere_and_lock_nobody_out() {
    let server = Fixture::second_factor().start();
    let guess = wrong_code(&server, TOTP_SECRET);
    let mut verdicts = Vec::new();

    for host in 1..=12 {
        let guesser = server.stranger().at(&format!("198.51.100.{host}"));
        verdicts.push(guesser.login_with(&guess).await.status);
    }
    // Ten thousand more, without the derivation that each costs.
    let now = server.clock.now();
    let unknown = proxmenux_monitor::access::attempts::KnownDevice::No;
    let more = (0..10_000).filter(|_| server.app.limits.begin_code(unknown, now).is_ok());

    assert_eq!(more.count(), 0, "not one of them is looked at");
    assert_eq!(verdicts, [[401; 10].as_slice(), &[429, 429]].concat());
    let owner = server.known_device().login_with(&server.code(0)).await;
    assert_eq!(owner.status, 200, "{}", owner.body);
    let right = server.stranger().at("198.51.100.200");
    let right = right.login_with(&server.code(1)).await;
    assert_eq!(right.verdict(), (429, "too_many_attempts"));
    assert_eq!(right.body["subject"], "account");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_its_session_ends_comes_to_nothing() {
    let slow = |path: &'static str, body: Value| async move {
        let server = Fixture::account().start();
        let signed_in = server.neighbour().login(USER, PASSWORD).await;
        let other = server.neighbour().bearer(signed_in.token().unwrap());
        let before = server.state()["api_tokens"].clone();
        // The rule is asked after the derivation, and by then the session is gone.
        let id = server.state()["sessions"][1]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let end = server.app.store.update(move |access| {
            access.end_sessions(|session| session.id == id);
            Ok::<_, std::convert::Infallible>(())
        });
        let (answer, ended) = tokio::join!(other.post(path, body), end);
        assert!(ended.is_ok());
        assert_eq!(answer.verdict(), (401, "invalid_token"), "{path}");
        assert_eq!(server.state()["api_tokens"], before, "{path}");
        assert_eq!(server.owner().get(SESSIONS).await.status, 200, "{path}");
    };

    slow("/api/auth/generate-api-token", password()).await;
    let change = json!({ "old_password": PASSWORD, "new_password": "Slow-w4lkers-arrive" });
    slow("/api/auth/change-password", change).await;
    slow("/api/auth/disable", password()).await;
    slow("/api/auth/totp/setup", password()).await;
}
