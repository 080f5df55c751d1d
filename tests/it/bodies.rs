//! Malformed bodies: each gives a clear refusal that names the field, and changes nothing.

use std::cell::RefCell;

use proptest::prelude::*;
use proxmenux_monitor::http::routes::routes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::harness::{Answer, Client, Fixture, OTHER_PASSWORD, PASSWORD, Sent, TestServer, USER};

/// A call that takes JSON.
struct Call {
    method: &'static str,
    path: &'static str,
    /// A right body.
    right: Value,
    /// Fields that must be there.
    required: &'static [&'static str],
    /// Fields that may be there.
    optional: &'static [&'static str],
    /// The host that it is for.
    fixture: fn() -> Fixture,
    /// Who may make it.
    client: fn(&TestServer) -> Client,
    /// What the right body is answered with.
    answers: u16,
    /// Whether the Python program's clients make it, with fields of their own.
    is_old: bool,
}

/// A call of the owner, who is signed in.
fn owners(
    method: &'static str,
    path: &'static str,
    right: Value,
    fields: [&'static [&'static str]; 2],
) -> Call {
    let [required, optional] = fields;
    Call {
        method,
        path,
        right,
        required,
        optional,
        fixture: Fixture::account,
        client: TestServer::owner,
        answers: 200,
        is_old: true,
    }
}

/// A call of the owner of a host with a second factor, who proved it a moment ago.
fn with_factor(path: &'static str, fields: [&'static [&'static str]; 2]) -> Call {
    Call {
        fixture: Fixture::second_factor,
        ..owners("POST", path, json!({ "password": PASSWORD }), fields)
    }
}

/// A call of a neighbour at a host without a password.
fn neighbours(
    path: &'static str,
    fixture: fn() -> Fixture,
    right: Value,
    required: &'static [&'static str],
) -> Call {
    Call {
        fixture,
        client: TestServer::neighbour,
        ..owners("POST", path, right, [required, &["claim_code"]])
    }
}

/// Calls about passkeys; most are about one that is not there.
fn passkey_calls() -> [Call; 5] {
    let by_name = |server: &TestServer| server.owner().with("host", "localhost:8008");
    let answer = json!({ "ceremony": "none", "credential": {} });
    let confirm: &[&str] = &["password", "totp_code"];
    let one = "/api/auth/passkeys/0000000000000000";
    let password = json!({ "password": PASSWORD });
    [
        Call {
            answers: 400,
            is_old: false,
            client: TestServer::stranger,
            ..owners(
                "POST",
                "/api/auth/passkey/login/finish",
                answer.clone(),
                [&["ceremony"], &[]],
            )
        },
        Call {
            client: by_name,
            ..with_factor(
                "/api/auth/passkeys/register/start",
                [&["password"], &["totp_code"]],
            )
        },
        Call {
            answers: 400,
            is_old: false,
            ..owners(
                "POST",
                "/api/auth/passkeys/register/finish",
                answer,
                [&["ceremony"], &["name"]],
            )
        },
        Call {
            answers: 404,
            is_old: false,
            ..owners("PUT", one, json!({ "name": "phone" }), [&["name"], confirm])
        },
        Call {
            answers: 404,
            ..owners("DELETE", one, password, [&[], confirm])
        },
    ]
}

/// A call about a network that is no network.
fn trust_call(method: &'static str) -> Call {
    let right = json!({ "network": "nowhere" });
    Call {
        answers: 400,
        is_old: false,
        ..owners(method, "/api/proxy/trust", right, [&["network"], &[]])
    }
}

/// A call about a certificate of a kind that there is not.
fn tls_call(path: &'static str) -> Call {
    let right = json!({ "source": "borrowed" });
    Call {
        answers: 400,
        ..owners(
            "POST",
            path,
            right,
            [&[], &["source", "cert_path", "key_path"]],
        )
    }
}

/// An order of a certificate for no name.
fn order_call() -> Call {
    let right = json!({ "names": [], "agree_terms": true });
    let fields: &[&str] = &["email", "challenge", "directory", "ca_path"];
    Call {
        answers: 400,
        is_old: false,
        ..owners("POST", "/api/ssl/acme", right, [&[], fields])
    }
}

/// The call that asks for a terminal.
fn terminal_call() -> Call {
    let fields: &[&str] = &["resume", "password", "totp_code"];
    owners("POST", "/api/terminal/ticket", json!({}), [&[], fields])
}

fn calls() -> Vec<Call> {
    let credentials = json!({ "username": USER, "password": PASSWORD });
    let change = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
    let both: &[&str] = &["username", "password"];
    let change_fields: [&[&str]; 2] = [&["old_password", "new_password"], &["totp_code"]];
    let confirm_fields: [&[&str]; 2] = [&["password"], &["totp_code"]];
    let create_fields: &[&str] = &["totp_token", "token_name", "scope"];
    let token = "/api/auth/api-tokens/0000000000000000/rotate";
    let name = json!({ "display_name": "Home" });
    let confirm = json!({ "password": PASSWORD });
    // A right one costs the derivations of ten backup codes.
    let wrong = json!({ "password": "wrong" });
    let login = credentials.clone();
    vec![
        neighbours("/api/auth/setup", Fixture::empty, credentials, both),
        neighbours("/api/auth/skip", Fixture::empty, json!({}), &[]),
        neighbours("/api/auth/decline", Fixture::empty, json!({}), &[]),
        neighbours("/api/auth/enable", Fixture::declined, json!({}), &[]),
        Call {
            client: TestServer::stranger,
            ..owners("POST", "/api/auth/login", login, [both, &["totp_token"]])
        },
        owners("PUT", "/api/auth/profile", name, [&[], &["display_name"]]),
        owners("POST", "/api/auth/change-password", change, change_fields),
        owners("POST", "/api/auth/disable", confirm.clone(), confirm_fields),
        Call {
            right: wrong.clone(),
            answers: 403,
            ..with_factor("/api/auth/totp/setup", [&[], &["password", "totp_code"]])
        },
        Call {
            answers: 400,
            right: json!({ "token": "123456" }),
            ..with_factor("/api/auth/totp/enable", [&["token"], &[]])
        },
        with_factor("/api/auth/totp/disable", confirm_fields),
        Call {
            right: wrong,
            answers: 403,
            is_old: false,
            ..with_factor("/api/auth/totp/backup-codes", confirm_fields)
        },
        owners(
            "POST",
            "/api/auth/generate-api-token",
            confirm,
            [&["password"], create_fields],
        ),
        Call {
            is_old: false,
            answers: 403,
            ..with_factor(token, confirm_fields)
        },
    ]
    .into_iter()
    .chain(["POST", "DELETE"].map(trust_call))
    .chain(["/api/ssl/configure", "/api/ssl/validate"].map(tls_call))
    .chain(passkey_calls())
    .chain([order_call(), terminal_call()])
    .collect()
}

#[test]
fn every_route_that_takes_json_is_tried_here() {
    let document = proxmenux_monitor::http::document();
    let takes_json = |method: &str, path: &str| {
        let method = method.to_ascii_lowercase();
        !document["paths"][path][method]["requestBody"]["content"]["application/json"].is_null()
    };
    let routes = routes();
    let in_table = routes
        .iter()
        .map(|route| (route.method.as_str(), route.path));
    let in_table = in_table.filter(|(method, path)| takes_json(method, path));
    let mut in_table = Vec::from_iter(in_table.map(|(method, path)| format!("{method} {path}")));
    let tried = calls();
    let tried = tried.iter().map(|call| {
        let path = call.path.replace("0000000000000000", "{id}");
        format!("{} {path}", call.method)
    });
    let mut tried = Vec::from_iter(tried);
    in_table.sort();
    tried.sort();
    assert_eq!(in_table, tried);
}

/// A call on a server of its own, whose file must stay as it is.
struct Trial {
    call: Call,
    server: TestServer,
    before: Value,
}

impl Trial {
    fn of(call: Call) -> Self {
        let server = (call.fixture)().start();
        let before = server.state();
        Self {
            call,
            server,
            before,
        }
    }

    async fn send(&self, sent: Sent) -> Answer {
        let client = (self.call.client)(&self.server);
        client.send(self.call.method, self.call.path, sent).await
    }

    async fn refuses(&self, sent: Sent, verdict: (u16, &str), field: Option<&str>) {
        let what = format!("{} {sent:.300?}", self.call.path);
        let answer = self.send(sent).await;
        assert_eq!(answer.verdict(), verdict, "{what} {}", answer.body);
        assert_eq!(
            answer.body["field"].as_str(),
            field,
            "{what} {}",
            answer.body
        );
        assert_eq!(answer.body["success"], false, "{what}");
        assert!(answer.body["error"].is_string(), "{what}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.ends_with('.'), "{message}");
        assert!(
            field.is_none_or(|field| message.contains(field)),
            "{message}"
        );
        for leak in ["serde", "expected", "invalid type", "EOF", "s3cret"] {
            assert!(!message.contains(leak), "{message}");
        }
        assert_eq!(self.server.state(), self.before, "{what}");
    }

    fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.call.required.iter().chain(self.call.optional).copied()
    }

    /// The right body with one field's value written as this text.
    fn with(&self, field: &str, value: &str) -> String {
        let mut texts = Vec::new();
        for (name, right) in self.call.right.as_object().unwrap() {
            if name != field {
                texts.push(format!("\"{name}\":{right}"));
            }
        }
        texts.push(format!("\"{field}\":{value}"));
        format!("{{{}}}", texts.join(","))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_the_wrong_kind_is_named() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let huge = "1".repeat(400);
    for trial in calls().into_iter().map(Trial::of) {
        for field in trial.fields() {
            let wrong = [
                "1",
                "-0.5",
                "true",
                "[]",
                "[\"s3cret\"]",
                "{}",
                "{\"s3cret\":1}",
                &deep,
                "1e30",
                &huge,
            ];
            for value in wrong {
                let body = trial.with(field, value);
                let is_huge = value == huge;
                let answer = trial.send(Sent::json(&body)).await;
                if is_huge && answer.body["field"].is_null() {
                    assert_eq!(answer.verdict(), (400, "bad_body"));
                    continue;
                }
                trial
                    .refuses(Sent::json(&body), (400, "bad_body"), Some(field))
                    .await;
            }
        }
        for field in trial.call.required {
            trial
                .refuses(
                    Sent::json(&trial.with(field, "null")),
                    (400, "bad_body"),
                    Some(field),
                )
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_or_stands_twice_is_named() {
    for trial in calls().into_iter().map(Trial::of) {
        for field in trial.call.required {
            let mut body = trial.call.right.clone();
            body.as_object_mut().unwrap().shift_remove(*field);
            trial
                .refuses(
                    Sent::json(&body.to_string()),
                    (400, "bad_body"),
                    Some(field),
                )
                .await;
        }
        for field in trial.fields() {
            let once = trial.with(field, "\"s3cret\"");
            let twice = once.replacen('{', &format!("{{\"{field}\":\"other\","), 1);
            trial
                .refuses(Sent::json(&twice), (400, "bad_body"), Some(field))
                .await;
        }
        let first = trial.call.required.first();
        if let Some(first) = first {
            trial
                .refuses(Sent::nothing(), (400, "bad_body"), Some(first))
                .await;
            trial
                .refuses(Sent::json("{}"), (400, "bad_body"), Some(first))
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_object_is_refused() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep_object = format!("{}1{}", "{\"username\":".repeat(5_000), "}".repeat(5_000));
    for trial in calls().into_iter().map(Trial::of) {
        let right = trial.call.right.to_string();
        let values = Vec::from_iter(trial.call.right.as_object().unwrap().values().cloned());
        let listed = [values.clone(), [values, vec![Value::Null]].concat()]
            .map(|list| json!(list).to_string());
        let malformed = [
            " ",
            "null",
            "true",
            "1",
            "\"s3cret\"",
            "[]",
            "[null]",
            "[{}]",
            "{",
            "{\"",
            "}",
            "{'username':1}",
            "{\"username\"}",
            "nonsense",
            "NaN",
            "{\"a\":1,}",
            "\u{feff}{}",
            &right[..right.len() - 1],
            &format!("{right} x"),
            &format!("{right}{right}"),
            &format!("/* */{right}"),
            &deep,
            &listed[0],
            &listed[1],
        ]
        .map(|text| text.as_bytes().to_vec());
        let bytes = [
            b"{\"username\":\"\xff\xfe\"}".to_vec(),
            b"\xff".to_vec(),
            vec![0; 100],
        ];
        for body in malformed.into_iter().chain(bytes) {
            let sent = Sent::of("application/json", &body);
            let answer = trial.send(sent.clone()).await;
            assert_eq!(
                answer.verdict(),
                (400, "bad_body"),
                "{} {sent:.200?}",
                trial.call.path
            );
            assert_eq!(trial.server.state(), trial.before);
        }
        let answer = trial.send(Sent::json(&deep_object)).await;
        assert!(
            answer.status == 400 || trial.call.required.is_empty(),
            "{}",
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_size_and_a_type() {
    for trial in calls().into_iter().map(Trial::of) {
        let right = trial.call.right.to_string();
        let padded = |length: usize| format!("{right}{}", " ".repeat(length - right.len()));
        let client = (trial.call.client)(&trial.server).with("content-length", "65537");
        let announced = client
            .send(trial.call.method, trial.call.path, Sent::json(&right))
            .await;
        assert_eq!(
            announced.verdict(),
            (413, "too_large"),
            "{}",
            trial.call.path
        );
        trial
            .refuses(Sent::json(&padded(65_537)), (413, "too_large"), None)
            .await;
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "application/json, text/plain",
            "application/xml",
        ] {
            let sent = Sent::of(kind, right.as_bytes());
            trial
                .refuses(sent, (415, "unsupported_media_type"), None)
                .await;
        }
        let answer = trial
            .send(Sent::of(
                "Application/JSON; charset=utf-8",
                padded(65_536).as_bytes(),
            ))
            .await;
        let right = trial.call.answers;
        assert_eq!(answer.status, right, "{} {}", trial.call.path, answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored_on_calls_that_old_clients_make() {
    for trial in calls().into_iter().map(Trial::of) {
        let mut body = trial.call.right.clone();
        body["unknown"] = json!({ "anything": [1, null, "x"] });
        let answer = trial.send(Sent::json(&body.to_string())).await;
        let expected = if trial.call.is_old {
            trial.call.answers
        } else {
            400
        };
        let path = trial.call.path;
        assert_eq!(answer.status, expected, "{path} {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_fields_take_none() {
    for path in ["/api/auth/session/resume", "/api/auth/logout"] {
        let server = TestServer::start();
        let cookie = server.reloaded().header("cookie");
        let client = server.owner().with("cookie", &cookie);
        for (sent, verdict) in [
            (Sent::json("nonsense"), (400, "bad_body")),
            (Sent::json("[]"), (400, "bad_body")),
            (Sent::json("null"), (400, "bad_body")),
            (Sent::json(r#"{"unknown":1}"#), (400, "bad_body")),
            (
                Sent::of("text/plain", b"x"),
                (415, "unsupported_media_type"),
            ),
            (Sent::json(&" ".repeat(65_537)), (413, "too_large")),
        ] {
            let answer = client.send("POST", path, sent).await;
            assert_eq!(answer.verdict(), verdict, "{path} {}", answer.body);
        }
        assert_eq!(client.get("/api/auth/sessions").await.status, 200);
        assert_eq!(client.send("POST", path, Sent::nothing()).await.status, 200);
    }
}

/// Any JSON, often with the names of fields.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "username",
        "password",
        "totp_token",
        "claim_code",
        "display_name",
        "old_password",
        "new_password",
        "totp_code",
        "token",
        "token_name",
        "scope",
        "expires_in_days",
        "allowed_networks",
        "terminal",
        "overlap_hours",
        "resume",
        "network",
        "source",
        "cert_path",
        "key_path",
        "names",
        "email",
        "challenge",
        "directory",
        "ca_path",
        "agree_terms",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!(USER)),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        let name = prop_oneof![4 => prop::sample::select(names.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            4 => prop::collection::vec((name, inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => (any_json(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(json, place, byte)| {
            let mut bytes = json.to_string().into_bytes();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

/// How many bodies each call gets: few here, a million in `make soak`.
fn cases() -> u32 {
    let asked = option_env!("MONITOR_CASES");
    asked.map_or(150, |number| number.parse().unwrap())
}

/// Whether a body may well be right by chance: any object declines, and takes that back; two texts
/// set a password.
fn may_be_right(call: &Call, body: &[u8]) -> bool {
    let names_both = || {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
        body["username"].is_string() && body["password"].is_string()
    };
    call.required.is_empty() || (call.path == "/api/auth/setup" && names_both())
}

#[test]
fn no_body_whatever_breaks_anything_or_opens_anything() {
    let runtime = Runtime::new().unwrap();
    for (index, call) in calls().into_iter().enumerate() {
        let path = call.path;
        let trial = RefCell::new(runtime.block_on(async { Trial::of(call) }));
        let config = ProptestConfig::with_cases(cases());
        let mut runner = proptest::test_runner::TestRunner::new(config);

        let outcome = runner.run(&any_body(), |body| {
            let answer = {
                let trial = trial.borrow();
                trial.server.forgive();
                runtime.block_on(trial.send(Sent::of("application/json", &body)))
            };
            prop_assert!(answer.status < 500, "{} {}", answer.status, answer.body);
            prop_assert!(answer.status < 400 || !answer.code().is_empty());
            if answer.status >= 400 {
                prop_assert!(answer.token().is_none());
                return Ok(());
            }
            let is_right = may_be_right(&trial.borrow().call, &body);
            prop_assert!(is_right, "{}", answer.body);
            if answer.token().is_some() {
                prop_assert_eq!(path, "/api/auth/setup");
                // The next body meets a host without a password again.
                let fresh = async { Trial::of(calls().swap_remove(index)) };
                trial.replace(runtime.block_on(fresh));
            }
            Ok(())
        });

        assert_eq!(outcome, Ok(()), "{path}");
    }
}
