//! Against the Python program's own libraries: what they sign, hash and count is accepted, and
//! what we sign and hash is accepted by them.

use std::path::Path;

use proxmenux_monitor::access::passwords::{Password, PasswordHash};
use serde_json::{Value, json};

use super::binary::{
    PASSWORD, Place, SECRET, TOTP_SECRET, USER, printed, program, protected, sha256, totp,
    with_second_factor,
};

/// Runs a script of Python with arguments.
fn python(script: &str, arguments: &[&str]) -> String {
    let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/bin/python");
    assert!(
        interpreter.exists(),
        "the Python packages of the tests are missing: run `make test`, which installs them"
    );
    let output = program(interpreter)
        .arg("-c")
        .arg(script)
        .args(arguments)
        .output();
    printed(&output.unwrap())
}

/// Signs a token as the Python program did: no `jti`, no `typ`.
fn pyjwt_token(name: &str, scope: Option<&str>, secret: &str) -> String {
    let script = "
import datetime, jwt, sys
name, scope, secret = sys.argv[1:4]
now = datetime.datetime.now(datetime.timezone.utc)
claims = {
    'username': 'api_token',
    'token_name': name,
    'exp': now + datetime.timedelta(days=365),
    'iat': now,
    'iss': 'proxmenux-monitor',
    'aud': 'api',
}
if scope:
    claims['scope'] = scope
print(jwt.encode(claims, secret, algorithm='HS256'))
";
    python(script, &[name, scope.unwrap_or_default(), secret])
}

/// What the Python program wrote down about a token.
fn record(token: &str, name: &str) -> Value {
    json!({
        "id": sha256(name)[..16],
        "name": name,
        "token_hash": sha256(token),
        "token_prefix": token[..12],
        "created_at": "2026-01-02T03:04:05.123456",
        "expires_at": "2027-01-02T03:04:05.123456",
    })
}

#[test]
fn tokens_of_pyjwt_stay_valid_with_and_without_scope() {
    let full = pyjwt_token("homepage", None, SECRET);
    let scoped = pyjwt_token("grafana", Some("read_only"), SECRET);
    let unlisted = pyjwt_token("unlisted", None, SECRET);
    let foreign = pyjwt_token("foreign", None, "another-secret-0123456789abcdef0123456789");
    let mut state = protected();
    state["api_tokens"] = json!([
        record(&full, "homepage"),
        record(&scoped, "grafana"),
        record(&foreign, "foreign"),
    ]);
    let place = Place::with_state(&state);
    let server = place.serve();

    let status = |path: &str, token: &str| server.get(path, Some(token)).status;

    assert_eq!(status("/api/auth/profile", &full), 200, "no scope is full");
    assert_eq!(status("/api/system", &full), 200);
    assert_eq!(status("/api/system", &scoped), 200);
    assert_eq!(status("/api/auth/profile", &scoped), 403);
    assert_eq!(status("/api/system", &unlisted), 401, "never issued");
    assert_eq!(status("/api/system", &foreign), 401, "another secret");
    assert_eq!(status("/api/auth/sessions", &full), 403, "no session");
}

#[test]
fn pyjwt_reads_our_session_tokens() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let token = server.sign_in();

    let claims = python(
        "
import json, jwt, sys
token, secret = sys.argv[1:3]
claims = jwt.decode(token, secret, algorithms=['HS256'], audience='api', issuer='proxmenux-monitor')
print(json.dumps([jwt.get_unverified_header(token), claims]))
",
        &[&token, SECRET],
    );

    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!(claims[0], json!({ "alg": "HS256", "typ": "JWT" }));
    let claims = &claims[1];
    assert_eq!(claims["username"], USER);
    assert_eq!(claims["typ"], "session");
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert!(claims["jti"].as_str().unwrap().len() >= 22, "128 bits");
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 24 * 3600);
}

#[test]
fn a_token_that_pyjwt_refuses_is_refused() {
    let mut state = protected();
    let forged = python(
        "
import jwt, time
now = int(time.time())
good = {'username': 'owner', 'iss': 'proxmenux-monitor', 'aud': 'api', 'iat': now, 'exp': now + 900}
secret = 'fixture-secret-0123456789abcdef0123456789abcdef'
print(jwt.encode(good, None, algorithm='none'))
print(jwt.encode(good, secret, algorithm='HS512'))
print(jwt.encode({**good, 'exp': now - 1}, secret, algorithm='HS256'))
print(jwt.encode({**good, 'iat': now + 300}, secret, algorithm='HS256'))
print(jwt.encode({**good, 'iss': 'other'}, secret, algorithm='HS256'))
print(jwt.encode({**good, 'aud': 'other'}, secret, algorithm='HS256'))
print(jwt.encode({k: v for k, v in good.items() if k != 'iss'}, secret, algorithm='HS256'))
print(jwt.encode({k: v for k, v in good.items() if k != 'aud'}, secret, algorithm='HS256'))
print(jwt.encode(good, secret, algorithm='HS256'))
",
        &[],
    );
    let tokens = Vec::from_iter(forged.lines());
    // Listed all the same, so that nothing but the token itself can be at fault.
    state["api_tokens"] = tokens.iter().map(|token| record(token, token)).collect();
    let place = Place::with_state(&state);
    let server = place.serve();

    let statuses = Vec::from_iter(tokens.iter().map(|token| {
        let answer = server.get("/api/system", Some(token));
        answer.status
    }));

    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 401, 401, 200]);
}

#[test]
fn codes_of_pyotp_are_accepted() {
    let place = Place::with_state(&with_second_factor(&[]));
    let server = place.serve();

    let code = python(
        "import pyotp, sys; print(pyotp.TOTP(sys.argv[1]).now())",
        &[TOTP_SECRET],
    );

    assert_eq!(server.login(PASSWORD, None).code(), "totp_required");
    assert_eq!(server.login(PASSWORD, Some(&code)).status, 200);
    assert_eq!(
        server.login(PASSWORD, Some(&code)).code(),
        "code_already_used"
    );
}

#[test]
fn an_app_is_enrolled_with_pyotp_and_our_token_is_read_by_pyjwt() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let session = server.sign_in();
    let begun = server.post("/api/auth/totp/setup", Some(&session), &json!({}));
    let begun = begun.json();

    let read = python(
        "
import json, pyotp, sys
app = pyotp.parse_uri(sys.argv[1])
print(json.dumps([app.now(), app.secret, app.issuer, app.name, app.digits, app.interval, app.digest().name]))
",
        &[begun["otpauth_uri"].as_str().unwrap()],
    );
    let read: Value = serde_json::from_str(&read).unwrap();
    let enabled = server.post(
        "/api/auth/totp/enable",
        Some(&session),
        &json!({ "token": read[0] }),
    );

    assert_eq!(enabled.status, 200, "{:?}", enabled.json());
    let secret = &begun["secret"];
    assert_eq!(
        read,
        json!([read[0], secret, "ProxMenux Monitor", USER, 6, 30, "sha1"])
    );
    let code = begun["backup_codes"][0].as_str().unwrap();
    let body = json!({ "password": PASSWORD, "totp_token": code, "token_name": "küche", "scope": "operator", "terminal": false });
    let made = server
        .post("/api/auth/generate-api-token", Some(&session), &body)
        .json();
    assert_eq!(made["success"], true, "{made}");
    let claims = python(
        "
import json, jwt, sys
print(json.dumps(jwt.decode(sys.argv[1], sys.argv[2], algorithms=['HS256'], audience='api', issuer='proxmenux-monitor')))
",
        &[made["token"].as_str().unwrap(), SECRET],
    );
    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!(claims["token_name"], "küche");
    assert_eq!(claims["scope"], "operator");
    assert_eq!(claims["typ"], "api");
    assert_eq!(claims.get("terminal"), None);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 365 * 86_400);
    let log = std::fs::read_to_string(place.auth_log()).unwrap();
    assert!(
        log.contains("backup code used; rhost=127.0.0.1 user=owner left=9"),
        "{log}"
    );
}

#[test]
fn codes_of_oathtool_are_accepted() {
    let place = Place::with_state(&with_second_factor(&[]));
    let server = place.serve();
    let oathtool = program("oathtool")
        .args(["--totp", "-b", TOTP_SECRET])
        .output();
    let code = printed(&oathtool.unwrap());

    assert_eq!(server.login(PASSWORD, Some(&code)).status, 200);
    assert!([totp(0), totp(-1)].contains(&code), "ours agrees");
}

#[test]
fn a_hash_of_hashlib_signs_in_and_ours_verifies_there() {
    let hash = python(
        "
import base64, hashlib, sys
salt = bytes(range(16))
key = hashlib.pbkdf2_hmac('sha256', sys.argv[1].encode(), salt, 1000)
print('pbkdf2_sha256$1000$' + base64.b64encode(salt).decode() + '$' + base64.b64encode(key).decode())
",
        &[PASSWORD],
    );
    let mut state = protected();
    state["password_hash"] = hash.into();
    let place = Place::with_state(&state);
    let server = place.serve();
    assert_eq!(server.login("Correct-Horse-9-batterY", None).status, 401);
    server.sign_in();

    let upgraded = place.state()["password_hash"].as_str().unwrap().to_owned();

    assert!(upgraded.starts_with("pbkdf2_sha256$600000$"), "{upgraded}");
    assert_eq!(verified_by_hashlib(PASSWORD, &upgraded), "True");
    assert_eq!(verified_by_hashlib("another", &upgraded), "False");
}

#[test]
fn hashes_agree_beyond_ascii() {
    for password in ["pässwörd-ñ-日本", "with spaces and 'quotes'", "e\u{301}"] {
        let parsed = Password::new(password.to_owned());
        let hash = PasswordHash::create_with(&parsed, 50).unwrap();
        let normalized = python(
            "import sys, unicodedata; print(unicodedata.normalize('NFC', sys.argv[1]))",
            &[password],
        );

        assert_eq!(
            verified_by_hashlib(&normalized, &hash.to_string()),
            "True",
            "{password}"
        );
    }
}

fn verified_by_hashlib(password: &str, hash: &str) -> String {
    python(
        "
import base64, hashlib, sys
password, text = sys.argv[1:3]
kind, count, salt, key = text.split('$')
derived = hashlib.pbkdf2_hmac('sha256', password.encode(), base64.b64decode(salt), int(count))
print(kind == 'pbkdf2_sha256' and derived == base64.b64decode(key))
",
        &[password, hash],
    )
}
