//! Signing in: what it takes, what it costs, what it tells, and who is kept out for how long.

use serde_json::{Value, json};

use super::harness::{
    BACKUP_CODES, Client, Fixture, OUTSIDE, PASSWORD, TestServer, USER, cheap_hash,
};
use proxmenux_monitor::access::digest::Digest;
use proxmenux_monitor::access::passwords::{Password, PasswordHash};
use proxmenux_monitor::access::totp;

const LOGIN: &str = "/api/auth/login";

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_opens_a_session() {
    let server = TestServer::start();

    let answer = server.stranger().login(USER, PASSWORD).await;

    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.body, { ".token" => "[token]" }, @r#"
    {
      "success": true,
      "token": "[token]",
      "message": "Signed in."
    }
    "#);
    let me = server.stranger().bearer(answer.token().unwrap());
    assert_eq!(me.get("/api/auth/sessions").await.status, 200);
    assert_eq!(server.state()["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(
        server.audited(&format!(
            "INFO    proxmenux-auth: authentication success; rhost={OUTSIDE} user=owner method=password session="
        )),
        1
    );
}

/// Names and passwords that are wrong in every way, beside the account's own.
fn wrong_pairs() -> Vec<(String, String)> {
    let pair = |name: &str, password: &str| (name.to_owned(), password.to_owned());
    let mut pairs = vec![
        pair(USER, "wrong"),
        pair(USER, ""),
        pair("nobody", PASSWORD),
        pair("Owner", PASSWORD),
        pair("owner ", PASSWORD),
        pair("", PASSWORD),
        pair("", ""),
        pair("owner\u{0}", PASSWORD),
        pair("own\ner\u{1b}[31m", PASSWORD),
    ];
    pairs.extend([1024, 2048].map(|length| pair(&"x".repeat(length), PASSWORD)));
    pairs.push(pair(USER, &"x".repeat(2048)));
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_pair_costs_and_answers_the_same() {
    for fixture in [Fixture::account(), Fixture::second_factor()] {
        let server = fixture.start();
        let mut bodies = Vec::new();

        for (place, (name, password)) in wrong_pairs().iter().enumerate() {
            let stranger = server.stranger().at(&format!("198.51.100.{place}"));
            let login = stranger.login(name, password);
            let (answer, derivations) = server.derivations_of(login).await;
            assert_eq!((answer.status, derivations), (401, 1), "{name:?}");
            bodies.push(answer.body);
        }

        assert_eq!(bodies[0]["code"], "invalid_credentials");
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_another_normal_form_costs_two_whoever_is_named() {
    let server = TestServer::start();

    for name in [USER, "nobody", ""] {
        let stranger = server.stranger();
        let login = stranger.login(name, "cafe\u{301}");
        let (answer, derivations) = server.derivations_of(login).await;
        assert_eq!((answer.status, derivations), (401, 2), "{name:?}");
        server.forgive();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_login_is_refused_after_one_derivation() {
    for fixture in [Fixture::empty(), Fixture::declined()] {
        let server = fixture.start();

        let neighbour = server.neighbour();
        let login = neighbour.login(USER, PASSWORD);
        let (answer, derivations) = server.derivations_of(login).await;

        assert_eq!(answer.verdict(), (401, "invalid_credentials"));
        assert_eq!(derivations, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_hash_becomes_a_strong_one_at_the_next_right_sign_in() {
    let legacy = Digest::of(PASSWORD.as_bytes()).to_string();
    for hash in [legacy, cheap_hash(PASSWORD, b"salt")] {
        let server = Fixture::account()
            .with("password_hash", json!(hash))
            .start();

        let (wrong, derivations) = server
            .derivations_of(server.stranger().login(USER, "wrong"))
            .await;
        assert_eq!((wrong.status, derivations), (401, 1));
        assert_eq!(server.state()["password_hash"], hash);

        assert_eq!(server.stranger().login(USER, PASSWORD).await.status, 200);
        let upgraded = server.state()["password_hash"].clone();
        let upgraded = upgraded.as_str().unwrap();
        assert!(upgraded.starts_with("pbkdf2_sha256$600000$"), "{upgraded}");

        assert_eq!(server.stranger().login(USER, PASSWORD).await.status, 200);
        assert_eq!(server.state()["password_hash"], upgraded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_the_same_in_both_normal_forms() {
    let (composed, decomposed) = ("Cr\u{e8}me-7-layers", "Cre\u{300}me-7-layers");
    for (kept, sent, status) in [
        (composed, composed, 200),
        (composed, decomposed, 200),
        (decomposed, decomposed, 200),
        (composed, "Creme-7-layers", 401),
    ] {
        let hash = cheap_hash(kept, b"salt");
        let server = Fixture::account()
            .with("password_hash", json!(hash))
            .start();

        let answer = server.stranger().login(USER, sent).await;

        assert_eq!(answer.status, status, "{kept:?} {sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_all_that_is_required_gives_a_token() {
    let server = Fixture::second_factor().start();
    let kinds = |right: &str| {
        let others = [
            Value::Null,
            json!(""),
            json!("wrong"),
            json!(123_456),
            json!(true),
            json!([right]),
            json!({ "value": right }),
        ];
        let absent_or_other = others.into_iter().map(Some).chain([None]);
        absent_or_other.chain([Some(json!(right))])
    };
    let mut tokens = Vec::new();

    for username in kinds(USER) {
        for password in kinds(PASSWORD) {
            for code in kinds(&server.code(0)) {
                let mut body = json!({});
                for (key, value) in [("username", &username), ("password", &password)] {
                    if let Some(value) = value {
                        body[key] = value.clone();
                    }
                }
                if let Some(code) = code {
                    body["totp_token"] = code;
                }
                let answer = server.stranger().post(LOGIN, body.clone()).await;
                assert!(matches!(answer.status, 200 | 400 | 401), "{answer:?}");
                if answer.token().is_some() || answer.body["success"] == true {
                    tokens.push(body);
                }
                server.forgive();
            }
        }
    }

    let right = json!({ "username": USER, "password": PASSWORD, "totp_token": server.code(0) });
    assert_eq!(tokens, [right]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_fields_does_not_matter_and_their_number_does() {
    let server = Fixture::second_factor().start();
    let stranger = server.stranger();
    let username = format!("\"username\":\"{USER}\"");
    let password = format!("\"password\":\"{PASSWORD}\"");
    let fields = |order: &[&str]| super::harness::Sent::json(&format!("{{{}}}", order.join(",")));

    let code = format!("\"totp_token\":\"{}\"", server.code(0));
    let other = "\"password\":\"wrong\"";
    for order in [
        &[&username[..], &password, &code, other][..],
        &[other, &username, &code, &password],
        &[&code, &code, &username, &password],
        &[&username, &username, &password, &code],
    ] {
        let answer = stranger.send("POST", LOGIN, fields(order)).await;
        assert_eq!(answer.verdict(), (400, "bad_body"), "{order:?}");
    }
    for order in [[2, 0, 1], [1, 2, 0]] {
        let code = format!("\"totp_token\":\"{}\"", server.code(0));
        let all = [&username[..], &password, &code];
        let sent = fields(&order.map(|place| all[place]));
        assert_eq!(stranger.send("POST", LOGIN, sent).await.status, 200);
        server.advance(30);
    }
    let list = format!(r#"["{USER}","{PASSWORD}","{}"]"#, server.code(0));
    let answer = stranger
        .send("POST", LOGIN, super::harness::Sent::json(&list))
        .await;
    assert_eq!(answer.verdict(), (400, "bad_body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_alone_asks_for_the_code_and_is_no_failure() {
    let server = Fixture::second_factor().start();

    for sent in [json!(null), json!("")].into_iter().cycle().take(6) {
        let body = json!({ "username": USER, "password": PASSWORD, "totp_token": sent });
        let answer = server.stranger().post(LOGIN, body).await;
        assert_eq!(answer.status, 200);
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(answer.body, @r#"
            {
              "success": false,
              "requires_totp": true,
              "code": "totp_required",
              "message": "Enter a code from the authenticator app or a backup code."
            }
            "#);
        }
        assert!(answer.cookies().is_empty());
    }

    assert_eq!(server.audited("authentication failure"), 0);
    assert_eq!(
        server.stranger().login_with(&server.code(0)).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_counts_once_and_its_replay_is_no_failure() {
    let server = Fixture::second_factor().start();
    let code = server.code(0);
    assert_eq!(server.stranger().login_with(&code).await.status, 200);
    assert_eq!(server.audited("user=owner method=code session="), 1);

    for _ in 0..6 {
        let answer = server.stranger().login_with(&code).await;
        assert_eq!(answer.verdict(), (401, "code_already_used"));
        assert_eq!(answer.body["requires_totp"], true);
        assert_eq!(
            answer.body["retry_after"], 25,
            "the next step starts at :30"
        );
        assert_eq!(answer.header("retry-after"), "25");
    }

    assert_eq!(server.audited("authentication failure"), 0);
    server.advance(25);
    assert_eq!(
        server.stranger().login_with(&server.code(0)).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_is_a_failure_that_says_so() {
    let server = Fixture::second_factor().start();

    for code in ["000000", "12345", "nonsense", "ABCD-9999"] {
        let answer = server.stranger().login_with(code).await;
        assert_eq!(answer.verdict(), (401, "wrong_code"), "{code}");
        assert_eq!(answer.body["requires_totp"], true);
        assert_eq!(answer.body.get("clock_skew_seconds"), None);
    }
    let answer = server.stranger().login(USER, "wrong").await;
    assert_eq!(answer.body.get("requires_totp"), None, "a wrong password");

    let failure = format!("authentication failure; rhost={OUTSIDE} user=owner");
    assert_eq!(server.audited(&failure), 5);
    assert_eq!(server.audited("method=code reason=sign_in"), 2);
    assert_eq!(server.audited("method=backup_code reason=sign_in"), 2);
    assert_eq!(server.stranger().login_with("000000").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_told_and_the_revealed_code_never_counts() {
    for (steps, seconds) in [(-10, -300), (10, 300)] {
        let server = Fixture::second_factor().start();
        let code = server.code(steps);

        let answer = server.stranger().login_with(&code).await;

        assert_eq!(answer.verdict(), (401, "wrong_code"));
        assert_eq!(answer.body["clock_skew_seconds"], seconds);
        assert_eq!(answer.body["server_time"], super::harness::START);
        if seconds < 0 {
            continue;
        }
        let step = totp::current_step(server.clock.now()) + steps;
        let access = || server.app.store.read().unwrap();
        while !access().spent_steps().burnt.contains(&step) {
            tokio::task::yield_now().await;
        }
        server.advance(seconds);
        let later = server.stranger().login_with(&code).await;
        assert_eq!(later.verdict(), (401, "code_already_used"), "{steps}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_hint_needs_the_right_password() {
    let server = Fixture::second_factor().start();
    let body = json!({ "username": USER, "password": "wrong", "totp_token": server.code(10) });

    let answer = server.stranger().post(LOGIN, body).await;

    assert_eq!(answer.verdict(), (401, "invalid_credentials"));
    assert_eq!(answer.body.get("clock_skew_seconds"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_code_counts_once_however_it_is_typed() {
    let server = Fixture::second_factor().start();
    let typed = [
        BACKUP_CODES[0].to_lowercase().replace('-', ""),
        format!(" {} ", BACKUP_CODES[1].to_lowercase().replace('-', " ")),
        BACKUP_CODES[2].to_owned(),
    ];

    for (typed, left) in typed.iter().zip([2, 1, 0]) {
        let answer = server.stranger().login_with(typed).await;
        assert_eq!(answer.status, 200, "{typed}");
        assert_eq!(answer.body["backup_codes_left"], left);
        assert_eq!(
            server.audited(&format!(
                "backup code used; rhost={OUTSIDE} user=owner left={left}"
            )),
            1
        );
    }
    assert_eq!(server.audited("user=owner method=backup_code session="), 3);
    for (code, typed) in BACKUP_CODES.iter().zip(&typed) {
        for again in [*code, typed] {
            let answer = server.stranger().login_with(again).await;
            assert_eq!(answer.verdict(), (401, "code_already_used"), "{again}");
            assert_eq!(answer.body.get("retry_after"), None);
        }
    }
    assert_eq!(server.audited("authentication failure"), 0);
    let used = server.state()["backup_codes"].clone();
    assert!(
        used.as_array()
            .unwrap()
            .iter()
            .all(|code| code["used"] == true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_one_salt_cost_one_derivation_together() {
    let server = Fixture::second_factor().start();
    let stranger = server.stranger();
    let wrong = server.derivations_of(stranger.login_with("000000"));
    let without_backup = wrong.await.1;

    let login = stranger.login_with("ZZZZ-2222");
    let (answer, derivations) = server.derivations_of(login).await;

    assert_eq!(answer.verdict(), (401, "wrong_code"));
    assert_eq!(derivations - without_backup, 1, "one for the salt of all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_an_account_without_a_second_factor_is_ignored() {
    let server = TestServer::start();

    for code in ["000000", "", "nonsense"] {
        assert_eq!(server.stranger().login_with(code).await.status, 200);
    }
    assert_eq!(server.audited("method=password session="), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_sign_ins_with_one_code_one_wins() {
    let hash = PasswordHash::create(&Password::new(PASSWORD.to_owned())).unwrap();
    let server = Fixture::second_factor()
        .with("password_hash", json!(hash))
        .start();
    for code in [server.code(0), BACKUP_CODES[0].to_owned()] {
        let tries = (0..100).map(|place| {
            let stranger = server.stranger().at(&format!("198.51.100.{place}"));
            let code = code.clone();
            tokio::spawn(async move { stranger.login_with(&code).await })
        });
        let tries = Vec::from_iter(tries);
        let mut won = 0;

        for each in tries {
            let answer = each.await.unwrap();
            match answer.verdict() {
                (200, _) => won += 1,
                (401, "code_already_used") | (429, "too_many_attempts") | (503, "busy") => {}
                other => assert_eq!(other, (0, ""), "unexpected"),
            }
        }

        assert_eq!(won, 1, "{code}");
        assert_eq!(server.audited("authentication failure"), 0);
    }
    assert_eq!(server.state()["sessions"].as_array().unwrap().len(), 3);
}

/// Checks that somebody is kept out, and returns for how long.
async fn kept_out(client: &Client, subject: &str) -> i64 {
    let answer = client.login(USER, PASSWORD).await;
    assert_eq!(answer.verdict(), (429, "too_many_attempts"));
    assert_eq!(answer.body["subject"], subject);
    assert_eq!(
        answer.header("retry-after"),
        answer.body["retry_after"].to_string()
    );
    assert!(answer.body["until"].is_string(), "{}", answer.body);
    answer.body["retry_after"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn penalties_grow_and_a_refused_try_neither_counts_nor_extends() {
    let server = TestServer::start();
    let stranger = server.stranger();

    for seconds in [60, 300, 900, 3_600, 86_400, 86_400] {
        stranger.fail(5).await;
        let (left, derivations) = server.derivations_of(kept_out(&stranger, "address")).await;
        assert_eq!((left, derivations), (seconds, 0));
        for _ in 0..20 {
            assert_eq!(stranger.login(USER, "wrong").await.status, 429);
        }
        server.advance(seconds - 1);
        assert_eq!(kept_out(&stranger, "address").await, 1);
        server.advance(1);
    }
    let refused = {
        stranger.fail(5).await;
        stranger.login(USER, PASSWORD).await.body
    };
    assert_eq!(refused["address"], OUTSIDE);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("24 hours"), "says when it ends: {message}");
    assert!(
        message.contains("proxmenux-monitor ban lift 203.0.113.9"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_failure_in_five_minutes_is_refused_and_older_ones_do_not_count() {
    let server = TestServer::start();
    let stranger = server.stranger();
    stranger.fail(4).await;

    server.advance(300);
    stranger.fail(4).await;
    server.advance(299);
    stranger.fail(1).await;

    assert_eq!(kept_out(&stranger, "address").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_does_not_make_the_next_penalty_shorter() {
    let server = TestServer::start();
    let stranger = server.stranger();
    stranger.fail(5).await;
    server.advance(60);

    assert_eq!(stranger.login(USER, PASSWORD).await.status, 200);
    stranger.fail(5).await;

    assert_eq!(kept_out(&stranger, "address").await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_penalty_refuses_credentials_and_nothing_else() {
    let server = TestServer::start();
    let stranger = server.stranger();
    stranger.fail(5).await;
    kept_out(&stranger, "address").await;

    let owner = stranger.clone().bearer(&server.session_token());
    assert_eq!(owner.get("/api/auth/sessions").await.status, 200);
    assert_eq!(
        server.token("read_only").get("/api/system").await.status,
        200
    );
    assert_eq!(
        server
            .reloaded()
            .at(OUTSIDE)
            .post("/api/auth/session/resume", json!({}))
            .await
            .status,
        200
    );
    assert_eq!(stranger.get("/api/auth/status").await.status, 200);
    let change =
        json!({ "old_password": PASSWORD, "new_password": super::harness::OTHER_PASSWORD });
    assert_eq!(
        owner.post("/api/auth/change-password", change).await.status,
        429
    );
    let disable = json!({ "password": PASSWORD });
    assert_eq!(owner.post("/api/auth/disable", disable).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_counts_by_the_network() {
    let server = TestServer::start();
    for host in 1..=5 {
        let each = server.stranger().at(&format!("2001:db8:1:1::{host}"));
        each.fail(1).await;
    }

    let sixth = server.stranger().at("2001:db8:1:1:ffff::1");
    assert_eq!(kept_out(&sixth, "address").await, 60);
    server.stranger().at("2001:db8:1:2::1").fail(1).await;
    let mapped = |host: u8| server.stranger().at(&format!("::ffff:198.51.100.{host}"));
    mapped(7).fail(5).await;
    assert_eq!(
        kept_out(&server.stranger().at("198.51.100.7"), "address").await,
        60
    );
    mapped(8).fail(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_a_known_device_at_one_address_do_not_lock_each_other_out() {
    let server = TestServer::start();
    server.neighbour().fail(5).await;
    kept_out(&server.neighbour(), "address").await;
    assert_eq!(
        server.known_device().login(USER, PASSWORD).await.status,
        200
    );

    let server = TestServer::start();
    server.known_device().fail(5).await;
    kept_out(&server.known_device(), "device").await;
    assert_eq!(
        server.audited("authentication failure; rhost=192.168.1.20 user=owner"),
        6
    );
    assert_eq!(server.neighbour().login(USER, PASSWORD).await.status, 200);
    let invented = server
        .neighbour()
        .with("cookie", "proxmenux_device=invented");
    invented.fail(5).await;
    kept_out(&invented, "address").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_codes_refuse_codes_from_unknown_devices_only() {
    let server = Fixture::second_factor().start();
    for place in 0..10 {
        let stranger = server.stranger().at(&format!("198.51.100.{place}"));
        assert_eq!(stranger.login_with("000000").await.code(), "wrong_code");
    }

    let elsewhere = server.stranger().at("198.51.100.200");
    let refused = elsewhere.login_with(&server.code(0)).await;
    assert_eq!(refused.verdict(), (429, "too_many_attempts"));
    assert_eq!(refused.body["subject"], "account");
    assert_eq!(refused.body["retry_after"], 900);
    let password_alone = elsewhere.login(USER, PASSWORD).await;
    assert_eq!(
        password_alone.code(),
        "totp_required",
        "the password is still taken"
    );
    assert_eq!(
        elsewhere.login_with(&server.code(0)).await.status,
        429,
        "and resets nothing"
    );
    assert_eq!(
        server
            .known_device()
            .login_with(&server.code(0))
            .await
            .status,
        200
    );
    server.advance(900);
    assert_eq!(elsewhere.login_with(&server.code(0)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let server = TestServer::start();
    let client = |chain: &str| server.local().with("x-forwarded-for", chain);
    client("10.9.9.9, 198.51.100.7").fail(5).await;

    assert_eq!(kept_out(&client("198.51.100.7"), "address").await, 60);
    assert_eq!(
        kept_out(&client("1.1.1.1, 198.51.100.7, 127.0.0.1"), "address").await,
        60
    );
    assert_eq!(server.audited("rhost=198.51.100.7 "), 7);
    client("198.51.100.8").fail(1).await;
    server.local().fail(1).await;
    assert_eq!(server.audited("rhost=127.0.0.1 "), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_an_untrusted_peer_claims_are_limited_each_and_together() {
    let server = TestServer::start();
    let peer = "192.0.2.80";
    let claimed = |host: u8| {
        let client = server.stranger().at(peer);
        client.with("x-forwarded-for", &format!("198.51.100.{host}"))
    };
    claimed(0).fail(5).await;
    assert_eq!(kept_out(&claimed(0), "address").await, 60);
    claimed(1).fail(1).await;
    server.advance(60);

    for host in 10..18 {
        claimed(host).fail(5).await;
    }
    claimed(19).fail(4).await;

    assert_eq!(kept_out(&claimed(20), "proxy").await, 60);
    server.stranger().at(peer).fail(1).await;
    let rhost = server.audited(&format!("rhost={peer} "));
    assert_eq!(rhost, server.audited("authentication failure"));
    let device = server
        .known_device()
        .at(peer)
        .with("x-forwarded-for", "198.51.100.20");
    assert_eq!(device.login(USER, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_logged_for_the_jail_without_filling_the_disk() {
    let server = TestServer::start();
    let stranger = server.stranger();
    stranger.fail(5).await;

    for _ in 0..15 {
        stranger.login("a b", "wrong").await;
    }
    let line = format!("authentication failure; rhost={OUTSIDE} user=a%20b reason=rate_limited");
    assert_eq!(server.audited(&line), 10);

    server.advance(10);
    stranger.login("a b", "wrong").await;
    assert_eq!(server.audited(&format!("{line} repeated=6")), 1);
    assert_eq!(server.audited(&line), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_errors_polls_and_bad_tokens_are_no_failures() {
    let server = TestServer::start();
    for _ in 0..8 {
        let bad = server.stranger().bearer("a.b.c");
        assert_eq!(bad.get("/api/system").await.status, 401);
        assert_eq!(bad.get("/api/auth/status").await.status, 200);
        let answer = server
            .stranger()
            .post(LOGIN, json!({ "username": 1 }))
            .await;
        assert_eq!(answer.status, 400);
        let resumed = server
            .stranger()
            .post("/api/auth/session/resume", json!({}))
            .await;
        assert_eq!(resumed.verdict(), (401, "no_session"));
        let weak = json!({ "old_password": "wrong", "new_password": "weak" });
        let weak = server
            .owner()
            .at(OUTSIDE)
            .post("/api/auth/change-password", weak)
            .await;
        assert_eq!(weak.code(), "weak_password");
    }

    assert_eq!(server.audited("authentication failure"), 0);
    assert_eq!(server.stranger().login(USER, PASSWORD).await.status, 200);
}
