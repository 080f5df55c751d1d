//! The state file from outside: what the Python program left is taken over, what is damaged opens
//! nothing and is not touched, hand edits and commands take effect while the server runs.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proxmenux_monitor::access::Access;
use proxmenux_monitor::access::passwords::{Password, PasswordHash};
use serde_json::{Value, json};

use super::binary::{
    EDIT_PATIENCE, PASSWORD, Place, Server, USER, add_api_token, add_session, mode, names, pbkdf2,
    protected, put, set_mode, sha256, totp, with_second_factor, within,
};

const PYTHON_SECRET: &str = "python-made-secret-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn left_by_python(name: &str) -> Place {
    let place = Place::fresh();
    place.write_state(&fixture(name));
    place
}

fn python_token(name: &str) -> String {
    let tokens: Value = serde_json::from_str(&fixture("python-tokens.json")).unwrap();
    tokens[name].as_str().unwrap().to_owned()
}

/// What the Python program's integrations get from the server, whatever the login's state.
fn assert_tokens_count(server: &Server) {
    let status = |path: &str, name: &str| server.get(path, Some(&python_token(name))).status;
    assert_eq!(status("/api/auth/profile", "full"), 200);
    assert_eq!(status("/api/system", "read_only"), 200);
    assert_eq!(status("/api/auth/profile", "read_only"), 403);
    assert_eq!(status("/api/system", "revoked"), 401);
}

#[test]
fn a_file_of_the_python_program_signs_in_and_keeps_everything() {
    let place = left_by_python("python-pbkdf2.json");
    let before = place.state();
    let server = place.serve();
    assert_tokens_count(&server);

    assert_eq!(server.login(PASSWORD, None).code(), "totp_required");
    let by_code = server.login(PASSWORD, Some(&totp(0)));
    assert_eq!(by_code.status, 200, "{by_code:?}");
    server.stop();

    let (text, after) = (place.state_text(), place.state());
    let unknown = r#""dashboard": {"widgets": ["cpu",  "disk"], "zoom": 1.50, "big": 12345678901234567890123, "e": 1E2},"#;
    assert!(text.contains(unknown), "kept to the letter: {text}");
    let keys = |state: &Value| Vec::from_iter(state.as_object().unwrap().keys().cloned());
    assert_eq!(keys(&after)[..keys(&before).len()], keys(&before)[..]);
    for key in [
        "enabled",
        "username",
        "jwt_secret",
        "totp_secret",
        "backup_codes",
        "revoked_tokens",
        "notes",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    for (old, new) in before["api_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .zip(after["api_tokens"].as_array().unwrap())
    {
        for (key, value) in old.as_object().unwrap() {
            assert_eq!(&new[key], value, "{key}");
        }
    }
    assert_eq!(after["version"], 2);
    assert_upgraded(&after);
}

fn assert_upgraded(state: &Value) {
    let hash = state["password_hash"].as_str().unwrap();
    assert!(hash.starts_with("pbkdf2_sha256$600000$"), "{hash}");
    let parsed = PasswordHash::parse(hash).unwrap();
    assert!(parsed.verify(&Password::new(PASSWORD.to_owned())).matches);
}

#[test]
fn legacy_backup_codes_work_once_each_in_any_form() {
    let place = left_by_python("python-pbkdf2.json");
    let server = place.serve();

    let used = server.login(PASSWORD, Some(" abcd 2345 "));

    assert_eq!(used.status, 200, "{used:?}");
    assert_eq!(used.json()["backup_codes_left"], 2);
    assert_eq!(
        place.state()["backup_codes"][0]["used"],
        true,
        "before the answer"
    );
    for spent in ["ABCD-2345", "NPQR-3333"] {
        assert_eq!(
            server.login(PASSWORD, Some(spent)).code(),
            "code_already_used"
        );
    }
    assert_eq!(
        server.login(PASSWORD, Some("EFGH-6788")).code(),
        "wrong_code"
    );
}

#[test]
fn a_legacy_sha256_password_is_upgraded_at_sign_in() {
    let place = left_by_python("python-legacy.json");
    let server = place.serve();
    assert_eq!(server.login("wrong", None).status, 401);
    assert_eq!(
        place.state()["password_hash"].as_str().unwrap().len(),
        64,
        "a failure upgrades nothing"
    );

    server.sign_in();

    assert_upgraded(&place.state());
    assert_tokens_count(&server);
    server.sign_in();
}

#[test]
fn after_the_old_menus_reset_a_set_up_keeps_secret_tokens_and_revocations() {
    let place = left_by_python("python-reset.json");
    let server = place.serve();
    assert_eq!(server.status(None)["configured"], false);
    assert_eq!(server.login("", None).status, 401);
    assert_tokens_count(&server);

    let set_up = server.post(
        "/api/auth/setup",
        None,
        &json!({ "username": "newcomer", "password": PASSWORD }),
    );

    assert_eq!(set_up.status, 200, "{set_up:?}");
    let state = place.state();
    assert_eq!(state["jwt_secret"], PYTHON_SECRET);
    assert_eq!(state["username"], "newcomer");
    assert_eq!(state["api_tokens"].as_array().unwrap().len(), 3);
    assert_tokens_count(&server);
}

#[test]
fn missing_keys_are_filled_in() {
    let place = left_by_python("python-minimal.json");
    let server = place.serve();

    let token = server.sign_in();

    assert!(server.knows(&token));
    let state = place.state();
    let secret = state["jwt_secret"].as_str().unwrap();
    assert!(secret.len() >= 64, "48 random bytes at first need");
    assert_eq!(state["configured"], true);
    let declined = left_by_python("python-declined.json").serve();
    assert_eq!(declined.status(None)["declined"], true);
}

/// Calls everything that a damaged state must not open.
fn assert_locked(server: &Server, token: &str, context: &str) {
    let setup = json!({ "username": "intruder", "password": "Correct-Horse-9-Batteries" });
    for (method, path, body) in [
        (
            "POST",
            "/api/auth/login",
            json!({ "username": USER, "password": PASSWORD }),
        ),
        ("POST", "/api/auth/setup", setup),
        ("POST", "/api/auth/skip", json!({})),
        ("POST", "/api/auth/enable", json!({})),
        ("GET", "/api/system", Value::Null),
        ("PUT", "/api/auth/profile", json!({ "display_name": "x" })),
    ] {
        for token in [None, Some(token)] {
            let body = (!body.is_null()).then_some(&body);
            let answer = server.ask(method, path, token, body).unwrap();
            assert_eq!(answer.status, 503, "{context}: {method} {path} {answer:?}");
            assert_eq!(answer.code(), "locked", "{context}: {method} {path}");
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains("proxmenux-monitor restore"), "{message}");
        }
    }
    let status = server.status(Some(token));
    assert_eq!(status["locked"], true, "{context}");
    assert_eq!(status["authenticated"], false, "{context}");
    assert_eq!(
        status["configured"], true,
        "{context}: never a first launch"
    );
    assert_eq!(server.get("/api/system-info", None).status, 200);
}

#[test]
fn a_damaged_file_locks_and_is_left_alone() {
    let good = serde_json::to_string_pretty(&protected()).unwrap();
    let with = |key: &str, value: Value| {
        let mut state = protected();
        state[key] = value;
        serde_json::to_vec_pretty(&state).unwrap()
    };
    let not_utf8 = [&good.as_bytes()[..good.len() - 2], b",\n\"x\": \"\xff\"}"].concat();
    let damaged: &[(&str, Vec<u8>)] = &[
        ("not UTF-8", not_utf8),
        ("empty", Vec::new()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("followed by more", format!("{good}{{}}").into_bytes()),
        ("enabled is text", with("enabled", json!("true"))),
        ("enabled without hash", with("password_hash", Value::Null)),
        (
            "enabled with an empty hash",
            with("password_hash", json!("")),
        ),
        (
            "no iterations",
            with(
                "password_hash",
                json!(pbkdf2(PASSWORD, 1).replace("$1$", "$0$")),
            ),
        ),
        (
            "too many iterations",
            with(
                "password_hash",
                json!(pbkdf2(PASSWORD, 1).replace("$1$", "$10000001$")),
            ),
        ),
        ("enabled without name", with("username", json!(""))),
        ("tokens are no list", with("api_tokens", json!({}))),
        (
            "a revocation is no digest",
            with("revoked_tokens", json!(["abc"])),
        ),
        ("a factor without secret", with("totp_enabled", json!(true))),
        ("a counter is text", with("last_totp_counter", json!("7"))),
    ];
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    for (what, bytes) in damaged {
        put(&place.auth_json(), bytes);
        let server = place.serve();

        assert_locked(&server, &token, what);

        assert_eq!(&fs::read(place.auth_json()).unwrap(), bytes, "{what}");
        assert_eq!(
            names(&place.config_dir()),
            ["auth.json"],
            "{what}: no other file either"
        );
    }
}

#[test]
fn a_path_that_is_no_file_locks() {
    let place = Place::with_state(&protected());
    fs::remove_file(place.auth_json()).unwrap();
    fs::create_dir(place.auth_json()).unwrap();
    let server = place.serve();

    assert_locked(&server, "nonsense", "a directory");

    assert!(place.auth_json().is_dir());
}

#[test]
fn a_locked_state_says_where_and_unlocks_when_repaired() {
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = place.serve();
    let good = place.state_text();
    assert!(server.knows(&token));

    place.write_state(&good.replacen("\"enabled\": true", "\"enabled\": s3cret", 1));

    assert!(within(EDIT_PATIENCE, || server.is_locked()));
    let locked = server.login(PASSWORD, None).json();
    assert_eq!(locked["line"], 2);
    assert_eq!(locked["file"], place.auth_json().display().to_string());
    assert!(!locked.to_string().contains("s3cret"), "{locked}");
    place.write_state(&good);
    assert!(within(EDIT_PATIENCE, || server.knows(&token)));
}

#[test]
fn what_locked_tells_is_for_private_addresses() {
    let place = Place::with_state(&protected());
    put(&place.auth_json(), "{");
    let server = place.serve();

    let request = "GET /api/system HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(server.raw(request)).unwrap();

    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(!answer.contains("auth.json"), "{answer}");
}

/// The places at which a file is cut: each one that JSON's structure has, and each twentieth byte.
fn cuts(text: &str) -> Vec<usize> {
    let end = text.rfind('}').unwrap();
    let structure = |at: &usize| b"{}[]:,\"\n".contains(&text.as_bytes()[*at]);
    (0..=end)
        .filter(|at| structure(at) || at % 20 == 0)
        .collect()
}

fn full_state() -> (String, String) {
    let mut state = with_second_factor(&["ABCD-2345"]);
    let token = add_session(&mut state);
    add_api_token(&mut state, "homepage", None);
    state["known_devices"] = json!([]);
    state["revoked_tokens"] = json!([sha256("gone")]);
    state["note"] = json!({ "kept": [1, "}", null] });
    (serde_json::to_string_pretty(&state).unwrap(), token)
}

#[test]
fn a_file_cut_at_any_byte_is_damaged() {
    let (text, _token) = full_state();
    let end = text.rfind('}').unwrap();
    for cut in 0..=end {
        assert!(Access::from_json(&text[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Access::from_json(&text).is_ok());
}

#[test]
fn a_file_cut_while_the_server_runs_opens_nothing() {
    let (text, token) = full_state();
    let cuts = cuts(&text);
    assert!(cuts.len() >= 200, "{}", cuts.len());
    let share = cuts.len().div_ceil(4);

    // Four hosts side by side: most of the time is spent waiting for the file to be looked at.
    thread::scope(|scope| {
        for cuts in cuts.chunks(share) {
            let (text, token) = (text.as_str(), token.as_str());
            scope.spawn(move || {
                let place = Place::fresh();
                place.write_state(text);
                let server = place.serve();
                assert!(server.knows(token));
                for cut in cuts {
                    put(&place.auth_json(), &text[..*cut]);
                    assert!(within(EDIT_PATIENCE, || server.is_locked()), "cut at {cut}");
                    // The next look has passed, and nothing has come of it.
                    thread::sleep(Duration::from_millis(260));
                    let context = format!("cut at {cut}");
                    for (method, path, body) in [
                        (
                            "POST",
                            "/api/auth/login",
                            Some(json!({ "username": USER, "password": PASSWORD })),
                        ),
                        (
                            "POST",
                            "/api/auth/setup",
                            Some(json!({ "username": "x", "password": PASSWORD })),
                        ),
                        ("GET", "/api/system", None),
                    ] {
                        let answer = server
                            .ask(method, path, Some(token), body.as_ref())
                            .unwrap();
                        assert_eq!(answer.status, 503, "{context} {answer:?}");
                    }
                    assert_eq!(
                        place.state_text(),
                        text[..*cut],
                        "{context}: not overwritten"
                    );
                }
                put(&place.auth_json(), text);
                assert!(within(EDIT_PATIENCE, || server.knows(token)));
            });
        }
    });
}

#[test]
fn a_factor_turned_off_by_hand_is_off() {
    let mut state = with_second_factor(&[]);
    let api_token = add_api_token(&mut state, "homepage", None);
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = place.serve();
    let is_on = || server.status(Some(&api_token))["totp_enabled"] == true;
    assert!(is_on() && server.knows(&token));
    assert_eq!(server.login(PASSWORD, None).code(), "totp_required");

    place.edit(|state| state["totp_enabled"] = false.into());

    assert!(within(EDIT_PATIENCE, || !is_on()));
    assert!(!server.knows(&token), "signed in under other rules");
    server.sign_in();
}

#[test]
fn open_mode_ended_by_hand_is_over() {
    let mut state = protected();
    state["enabled"] = false.into();
    state["declined"] = true.into();
    let place = Place::with_state(&state);
    let server = place.serve();
    assert_eq!(server.get("/api/system", None).status, 200);

    place.edit(|state| {
        state.as_object_mut().unwrap().remove("declined");
    });

    let is_closed = || server.get("/api/system", None).code() == "setup_required";
    assert!(within(EDIT_PATIENCE, is_closed));
    assert_eq!(server.status(None)["configured"], false);
}

#[test]
fn a_name_or_password_changed_by_hand_ends_sessions_and_keeps_tokens() {
    for (key, value) in [
        ("username", json!("somebody-else")),
        ("password_hash", json!(pbkdf2("Another-Horse-7-Battery", 1))),
    ] {
        let mut state = protected();
        let token = add_session(&mut state);
        let api_token = add_api_token(&mut state, "homepage", None);
        let place = Place::with_state(&state);
        let server = place.serve();
        assert!(server.knows(&token));

        place.edit(|state| state[key] = value.clone());

        assert!(within(EDIT_PATIENCE, || !server.knows(&token)), "{key}");
        assert_eq!(
            server.get("/api/auth/profile", Some(&api_token)).status,
            200
        );
        assert!(within(EDIT_PATIENCE, || place.state()["sessions"] == json!([])));
        // Not even the old value brings the session back.
        place.edit(|edited| edited[key] = state[key].clone());
        thread::sleep(Duration::from_millis(600));
        assert!(!server.knows(&token), "{key}");
    }
}

#[test]
fn another_secret_ends_every_token() {
    let mut state = protected();
    let token = add_session(&mut state);
    let api_token = add_api_token(&mut state, "homepage", None);
    let place = Place::with_state(&state);
    let server = place.serve();
    assert!(server.knows(&token));

    place.edit(|state| state["jwt_secret"] = "b".repeat(64).into());

    assert!(within(EDIT_PATIENCE, || !server.knows(&token)));
    assert_eq!(
        server.get("/api/auth/profile", Some(&api_token)).status,
        401
    );
    server.sign_in();
}

#[test]
fn what_was_spent_or_revoked_stays_so_while_the_secret_is_the_same() {
    let mut state = with_second_factor(&["ABCD-2345", "EFGH-6789"]);
    let api_token = add_api_token(&mut state, "homepage", None);
    let token = add_session(&mut state);
    state["revoked_tokens"] = json!([sha256(&api_token)]);
    let place = Place::with_state(&state);
    let original = place.state_text();
    let server = place.serve();
    let code = totp(0);
    assert_eq!(server.login(PASSWORD, Some(&code)).status, 200);
    assert_eq!(server.login(PASSWORD, Some("ABCD-2345")).status, 200);
    let logged_out = server.post("/api/auth/logout", Some(&token), &json!({}));
    assert_eq!(logged_out.status, 200);

    // The file as it was before all that, and with the revocation taken out.
    let mut undone: Value = serde_json::from_str(&original).unwrap();
    undone["revoked_tokens"] = json!([]);
    undone["note"] = "edited".into();
    place.write_state(&serde_json::to_string_pretty(&undone).unwrap());
    let merged = || {
        let state = place.state();
        state["note"] == "edited" && state["revoked_tokens"].as_array().unwrap().len() >= 2
    };
    assert!(within(EDIT_PATIENCE, merged), "{}", place.state_text());

    assert_eq!(
        server.get("/api/auth/profile", Some(&api_token)).status,
        401
    );
    assert!(!server.knows(&token), "a session that was signed out");
    assert_eq!(
        server.login(PASSWORD, Some("ABCD-2345")).code(),
        "code_already_used"
    );
    assert_eq!(
        server.login(PASSWORD, Some(&code)).code(),
        "code_already_used"
    );
    assert_eq!(place.state()["backup_codes"][0]["used"], true);
    assert_eq!(place.state()["backup_codes"][1]["used"], false);
    assert!(place.state()["last_totp_counter"].as_i64().is_some());
}

#[test]
fn a_restore_revokes_no_less() {
    let mut state = protected();
    let api_token = add_api_token(&mut state, "homepage", None);
    let place = Place::with_state(&state);
    let server = place.serve();
    server.sign_in();
    let good = fs::read(place.config_dir().join("auth.json.bak")).unwrap();
    assert_eq!(
        server.get("/api/auth/profile", Some(&api_token)).status,
        200
    );
    place.edit(|state| state["revoked_tokens"] = json!([sha256(&api_token)]));
    assert!(within(EDIT_PATIENCE, || {
        server.get("/api/auth/profile", Some(&api_token)).status == 401
    }));
    put(&place.config_dir().join("auth.json.bak"), &good);

    // Nobody else remembers: the command alone must carry the revocation over.
    drop(server);
    let restored = place.run(&["restore", "--yes"]);

    assert_eq!(restored.status, Some(0), "{restored:?}");
    let server = place.serve();
    assert_eq!(
        server.get("/api/auth/profile", Some(&api_token)).status,
        401
    );
    assert_eq!(place.state()["revoked_tokens"][0], sha256(&api_token));
}

/// What can be spent, the last of it by the last change before the damage.
#[derive(Clone, Copy)]
enum Spent {
    ApiToken,
    BackupCode,
    Code,
    Session,
}

/// A host on which one of each is spent in turn; with the API token, the session and the code.
fn spend(order: [Spent; 4]) -> (Place, Server, [String; 3]) {
    let mut state = with_second_factor(&["ABCD-2345"]);
    let api_token = add_api_token(&mut state, "homepage", None);
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = place.serve();
    let code = totp(0);
    let knows_api = || server.get("/api/auth/profile", Some(&api_token)).status == 200;
    assert!(knows_api() && server.knows(&token));
    for spent in order {
        let answer = match spent {
            Spent::ApiToken => {
                place.edit(|state| {
                    let revoked = state["revoked_tokens"].as_array_mut().unwrap();
                    revoked.push(sha256(&api_token).into());
                });
                assert!(within(EDIT_PATIENCE, || !knows_api()));
                continue;
            }
            Spent::BackupCode => server.login(PASSWORD, Some("ABCD-2345")),
            Spent::Code => server.login(PASSWORD, Some(&code)),
            Spent::Session => server.post("/api/auth/logout", Some(&token), &json!({})),
        };
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    (place, server, [api_token, token, code])
}

fn assert_spent(place: &Place, [api_token, token, code]: &[String; 3], context: &str) {
    let server = place.serve();
    let api = server.get("/api/auth/profile", Some(api_token));
    assert_eq!(api.status, 401, "{context}");
    assert!(!server.knows(token), "{context}");
    let backup = server.login(PASSWORD, Some("ABCD-2345"));
    assert_eq!(backup.code(), "code_already_used", "{context}");
    assert_eq!(server.login(PASSWORD, Some(code)).status, 401, "{context}");
    let state = place.state();
    let revoked = state["revoked_tokens"].to_string();
    assert!(revoked.contains(&sha256(api_token)), "{context} {revoked}");
    assert!(revoked.contains(&sha256(token)), "{context} {revoked}");
    assert_eq!(state["backup_codes"][0]["used"], true, "{context}");
}

#[test]
fn a_restore_over_a_damaged_file_un_spends_nothing_that_the_last_change_spent() {
    use Spent::{ApiToken, BackupCode, Code, Session};

    thread::scope(|scope| {
        for (damage, order) in [
            ("truncated", [ApiToken, Session, Code, BackupCode]),
            ("garbage", [Code, BackupCode, Session, ApiToken]),
            ("deleted", [BackupCode, ApiToken, Code, Session]),
        ] {
            scope.spawn(move || {
                // Killed right after the answer: nobody had time to write anything else.
                let (place, mut server, spent) = spend(order);
                server.kill();
                match damage {
                    "truncated" => put(&place.auth_json(), ""),
                    "garbage" => put(&place.auth_json(), [0xff; 100]),
                    _deleted => fs::remove_file(place.auth_json()).unwrap(),
                }

                let restored = place.run(&["restore"]);

                assert_eq!(restored.status, Some(0), "{restored:?}");
                assert!(restored.out.contains("auth.json.bak-latest"));
                assert_spent(&place, &spent, damage);
            });
        }
    });
}

#[test]
fn a_named_older_copy_un_spends_nothing_either() {
    let order = [
        Spent::Code,
        Spent::Session,
        Spent::ApiToken,
        Spent::BackupCode,
    ];
    let (place, mut server, spent) = spend(order);
    server.kill();
    let copy = place.config_dir().join("auth.json.bak");
    assert!(
        fs::read_to_string(&copy)
            .unwrap()
            .contains("\"used\": false")
    );
    put(&place.auth_json(), "{");

    let restored = place.run(&["restore", copy.to_str().unwrap()]);

    assert_eq!(restored.status, Some(0), "{restored:?}");
    assert_spent(&place, &spent, "older");
}

#[test]
fn a_file_that_is_gone_locks_after_two_seconds_and_comes_back() {
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = place.serve();
    let aside = place.root().join("aside");
    assert!(server.knows(&token));

    fs::rename(place.auth_json(), &aside).unwrap();
    let gone = Instant::now();
    while gone.elapsed() < Duration::from_millis(1500) {
        assert!(server.knows(&token), "an editor may take that long");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(within(EDIT_PATIENCE, || server.is_locked()));
    assert!(gone.elapsed() >= Duration::from_secs(2));
    assert_locked(&server, &token, "gone");
    assert!(
        !place.auth_json().exists(),
        "nothing was written in its place"
    );

    fs::rename(&aside, place.auth_json()).unwrap();
    assert!(within(EDIT_PATIENCE, || server.knows(&token)));
}

#[test]
fn a_file_missing_at_start_is_a_fresh_start_and_copies_are_told() {
    let fresh = Place::fresh();
    let server = fresh.serve();
    assert_eq!(server.status(None)["configured"], false);
    assert!(!server.said().contains("restore"), "{}", server.said());

    let place = Place::with_state(&protected());
    fs::rename(place.auth_json(), place.config_dir().join("auth.json.bak")).unwrap();
    let server = place.serve();

    assert!(
        server.says("proxmenux-monitor restore"),
        "{}",
        server.said()
    );
    assert_eq!(server.status(None)["configured"], false);
}

#[test]
fn files_are_created_tight() {
    let place = Place::fresh();
    let server = place.serve();
    let set_up = json!({ "username": USER, "password": PASSWORD });
    assert_eq!(server.post("/api/auth/setup", None, &set_up).status, 200);
    assert_eq!(server.login("wrong", None).status, 401);
    server.sign_in();
    drop(server);
    assert_eq!(place.run(&["reset-password", "--yes"]).status, Some(0));

    for folder in [place.config_dir(), place.data_dir()] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for name in names(&folder) {
            assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
        }
    }
    assert!(names(&place.config_dir()).len() >= 4);
    assert_eq!(mode(&place.auth_log()), 0o640);
}

#[test]
fn looser_modes_are_tightened_and_told() {
    let place = Place::with_state(&protected());
    let copy = place.config_dir().join("auth.json.bak");
    put(&copy, "{}");
    set_mode(&copy, 0o666);
    set_mode(&place.auth_json(), 0o644);
    set_mode(&place.config_dir(), 0o755);

    let server = place.serve();

    assert_eq!(mode(&place.auth_json()), 0o600);
    assert_eq!(mode(&copy), 0o600);
    assert_eq!(mode(&place.config_dir()), 0o700);
    for was in ["644", "666", "755"] {
        assert!(server.says(was), "{was}: {}", server.said());
    }
}

#[test]
fn restore_puts_the_newest_good_copy_back_and_opens_a_running_server() {
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let server = place.serve();
    assert_eq!(server.rename(&token, "one").status, 200);
    assert_eq!(server.rename(&token, "two").status, 200);
    put(&place.auth_json(), "{ \"enabled\": tr");
    assert!(within(EDIT_PATIENCE, || server.is_locked()));
    let damaged_copy = place.config_dir().join("auth.json.bak-20990101T000000Z");
    put(&damaged_copy, "{");
    let later = SystemTime::now() + Duration::from_secs(10);
    let written = fs::File::options().write(true).open(&damaged_copy);
    written.unwrap().set_modified(later).unwrap();

    let listed = place.run(&["restore", "--list", "--json"]).json();
    assert_eq!(listed[0]["state"]["kind"], "damaged");
    assert_eq!(listed[1]["state"]["kind"], "good");
    assert_eq!(listed[1]["state"]["username"], USER);
    let restored = place.run(&["restore"]);

    assert_eq!(restored.status, Some(0), "{restored:?}");
    assert!(within(EDIT_PATIENCE, || !server.is_locked()));
    assert_eq!(
        place.state()["display_name"],
        "two",
        "nothing is lost, not even the last change"
    );
    assert!(
        !server.knows(&token),
        "it may have been ended after the copy was made"
    );
    server.sign_in();
    let aside = names(&place.config_dir());
    let aside = aside
        .iter()
        .find(|name| name.starts_with("auth.json.bak-2") && !name.contains("2099"));
    let aside = fs::read_to_string(place.config_dir().join(aside.unwrap())).unwrap();
    assert_eq!(aside, "{ \"enabled\": tr", "what was in its place is kept");
}

#[test]
fn restore_refuses_a_damaged_copy_and_asks_before_it_replaces_a_good_state() {
    let place = Place::with_state(&protected());
    let before = place.state_text();
    let bad = place.root().join("bad.json");
    put(&bad, "{\"enabled\": true}");

    let none = place.run(&["restore", "--yes"]);
    let damaged = place.run(&["restore", "--yes", bad.to_str().unwrap()]);
    let unasked = place.run(&["restore"]);

    assert_eq!(
        (none.status, damaged.status, unasked.status),
        (Some(1), Some(1), Some(2))
    );
    assert!(none.err.contains("no good copy"), "{none:?}");
    assert!(
        damaged.err.contains("bad.json") && damaged.err.contains("line 1"),
        "{damaged:?}"
    );
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    assert_eq!(place.state_text(), before);
}

#[test]
fn import_takes_a_good_file_and_says_what_it_found() {
    let place = Place::fresh();
    let file = place.root().join("python.json");
    put(&file, fixture("python-pbkdf2.json"));

    let imported = place.run(&["import", file.to_str().unwrap(), "--json"]);

    assert_eq!(imported.status, Some(0), "{imported:?}");
    let found = imported.json();
    assert_eq!(found["username"], "owner");
    assert_eq!(found["weak_password_hash"], true);
    assert_eq!(found["second_factor"], true);
    assert_eq!(found["backup_codes_left"], 3);
    assert_eq!(found["api_tokens"], 3);
    assert_eq!(found["revoked_tokens"], 2);
    let server = place.serve();
    assert_tokens_count(&server);
    assert_eq!(server.login(PASSWORD, Some("EFGH-6789")).status, 200);
}

#[test]
fn import_refuses_what_it_cannot_read_and_changes_nothing() {
    let place = Place::with_state(&protected());
    let before = place.state_text();
    let damaged = place.root().join("damaged.json");
    put(&damaged, "{\"enabled\": true,\n \"username\": 5}");

    let refused = place.run(&["import", damaged.to_str().unwrap(), "--yes"]);
    let missing = place.run(&["import", "missing.json", "--yes"]);
    let good = place.root().join("good.json");
    put(&good, fixture("python-minimal.json"));
    let unasked = place.run(&["import", good.to_str().unwrap()]);

    assert_eq!(
        (refused.status, missing.status, unasked.status),
        (Some(1), Some(1), Some(2))
    );
    assert!(refused.err.contains("line 2"), "{refused:?}");
    assert!(missing.err.contains("missing.json"), "{missing:?}");
    assert_eq!(place.state_text(), before);
}

#[test]
fn a_reset_ends_sessions_at_once_and_keeps_the_rest() {
    let mut state = with_second_factor(&["ABCD-2345"]);
    let token = add_session(&mut state);
    let api_token = add_api_token(&mut state, "homepage", None);
    state["revoked_tokens"] = json!([sha256("gone")]);
    state["note"] = "kept".into();
    let place = Place::with_state(&state);
    let server = place.serve();
    assert!(server.knows(&token));

    let reset = place.run(&["reset-password", "--yes"]);
    let done = Instant::now();

    assert_eq!(reset.status, Some(0), "{reset:?}");
    assert!(
        within(Duration::from_secs(1), || !server.knows(&token)),
        "{:?}",
        done.elapsed()
    );
    assert_eq!(server.status(None)["configured"], false);
    assert_eq!(
        server.get("/api/auth/profile", Some(&api_token)).status,
        200
    );
    let after = place.state();
    for key in ["jwt_secret", "note"] {
        assert_eq!(after[key], state[key], "{key}");
    }
    for key in ["username", "password_hash", "totp_secret"] {
        assert_eq!(after[key], Value::Null, "{key}");
    }
    assert_eq!(after["backup_codes"], json!([]));
    assert_eq!(after["api_tokens"].as_array().unwrap().len(), 1);
    let revoked = after["revoked_tokens"].as_array().unwrap();
    assert!(revoked.contains(&json!(sha256("gone"))) && revoked.contains(&json!(sha256(&token))));
    let log = fs::read_to_string(place.auth_log()).unwrap();
    assert!(
        log.contains("login reset from the host; user=root"),
        "{log}"
    );
}

#[test]
fn the_claim_code_lives_while_no_password_does() {
    let place = Place::fresh();
    let file = place.config_dir().join("claim-code");
    let server = place.serve();
    let first = fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    let parts = Vec::from_iter(first.trim().split('-').map(str::len));
    assert_eq!(parts, [4, 4, 4], "{first}");
    assert!(server.said().contains(first.trim()), "in the journal");
    assert_eq!(place.run(&["claim-code"]).out, first);

    drop(server);
    let server = place.serve();
    let second = fs::read_to_string(&file).unwrap();
    assert_ne!(first, second, "another one at each start");
    assert_eq!(server.post("/api/auth/skip", None, &json!({})).status, 200);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        second,
        "valid in open mode"
    );

    let set_up = json!({ "username": USER, "password": PASSWORD });
    assert_eq!(server.post("/api/auth/setup", None, &set_up).status, 200);
    assert!(!file.exists(), "dead after set-up");
    assert_eq!(place.run(&["claim-code"]).status, Some(1));

    assert_eq!(place.run(&["reset-password", "--yes"]).status, Some(0));
    assert!(
        within(EDIT_PATIENCE, || file.exists()),
        "a new one when the password goes"
    );
    assert_ne!(fs::read_to_string(&file).unwrap(), second);
}

#[test]
fn the_claim_code_opens_set_up_from_afar() {
    let place = Place::fresh();
    let server = place.serve();
    let from_afar = |code: &str| {
        let body =
            json!({ "username": USER, "password": PASSWORD, "claim_code": code }).to_string();
        let request = format!(
            "POST /api/auth/setup HTTP/1.1\r\nHost: monitor.example.net\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        String::from_utf8(server.raw(request)).unwrap()
    };

    assert!(from_afar("").contains("claim_code_required"));
    assert!(from_afar("AAAA-BBBB-CCCC").contains("claim_code_wrong"));
    let code = place.run(&["claim-code"]).out.trim().to_lowercase();
    let opened = from_afar(&code);

    assert!(opened.starts_with("HTTP/1.1 200"), "{opened}");
    assert!(from_afar(&code).contains("already_configured"));
}

#[test]
fn commands_and_the_server_lose_nothing_of_each_other() {
    let mut state = protected();
    let actor = add_session(&mut state);
    let tokens = Vec::from_iter((0..12).map(|_| add_session(&mut state)));
    let place = Place::with_state(&state);
    let server = place.serve();
    let ids = state["sessions"].as_array().unwrap()[1..]
        .iter()
        .map(|session| session["id"].as_str().unwrap().to_owned());
    let ids = Vec::from_iter(ids);

    let last = thread::scope(|scope| {
        let commands = Vec::from_iter(ids.chunks(6).map(|ids| {
            let place = &place;
            scope.spawn(move || {
                for id in ids {
                    let ran = place.run(&["session", "end", id]);
                    assert_eq!(ran.status, Some(0), "{ran:?}");
                }
            })
        }));
        let mut count = 0;
        while commands.iter().any(|command| !command.is_finished()) {
            count += 1;
            let renamed = server.rename(&actor, &format!("name {count}"));
            assert_eq!(renamed.status, 200, "{renamed:?}");
        }
        count
    });

    let state = place.state();
    assert_eq!(state["display_name"], format!("name {last}"));
    assert_eq!(state["sessions"].as_array().unwrap().len(), 1);
    for token in &tokens {
        assert!(within(EDIT_PATIENCE, || !server.knows(token)));
    }
    assert!(server.knows(&actor));
    assert!(last > 5, "both were at work");
}
