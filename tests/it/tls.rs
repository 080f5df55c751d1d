//! HTTPS on the real binary, seen by curl and openssl: pairs, trials, renewals, and what is served
//! when files fail.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proxmenux_monitor::access::certificates::{provider, self_signed};
use proxmenux_monitor::clock::Clock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::binary::{PASSWORD, Place, Ran, Server, USER, finish, program, protected, put, within};

/// As long as a trial lasts in these tests.
const TRIAL: Duration = Duration::from_secs(5);

/// A host with an account, its server, and a session.
pub(super) struct Host {
    pub(super) place: Place,
    pub(super) server: Server,
    token: String,
}

impl Host {
    fn new() -> Self {
        Self::with_settings("tls_trial_seconds = 5\n")
    }

    pub(super) fn with_settings(settings: &str) -> Self {
        let place = Place::with_state(&protected());
        put(&place.config_dir().join("monitor.toml"), settings);
        let server = place.serve();
        let mut host = Self {
            place,
            server,
            token: String::new(),
        };
        let body = json!({ "username": USER, "password": PASSWORD });
        let (status, answer) = host.http("POST", "/api/auth/login", &body);
        assert_eq!(status, 200, "{answer}");
        answer["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut host.token);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.root().join(name)
    }

    pub(super) fn http(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask("http", method, path, body)
    }

    pub(super) fn https(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask("https", method, path, body)
    }

    /// Asks by curl, which trusts any certificate here.
    pub(super) fn ask(&self, scheme: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let ran = curl(&[
            "-k",
            "-X",
            method,
            "-w",
            "\n%{http_code}",
            "-d",
            &body.to_string(),
            "-H",
            "content-type: application/json",
            "-H",
            &format!("authorization: Bearer {}", self.token),
            &format!("{scheme}://{}{path}", self.server.address),
        ]);
        let (body, status) = ran.out.rsplit_once('\n').unwrap_or(("", "0"));
        (
            status.parse().unwrap(),
            serde_json::from_str(body).unwrap_or(Value::Null),
        )
    }

    fn configure(&self, pair: &Value) -> (u16, Value) {
        self.http("POST", "/api/ssl/configure", pair)
    }

    /// Turns HTTPS on and keeps it.
    fn keep(&self, pair: &Value) {
        let (status, answer) = self.configure(pair);
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = self.https("POST", "/api/ssl/confirm", &json!({}));
        assert_eq!(status, 200, "{answer}");
    }

    fn is_encrypted(&self) -> bool {
        curl(&[
            "-k",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("https://{}/api/auth/status", self.server.address),
        ])
        .out == "200"
    }

    fn setting(&self) -> Option<String> {
        std::fs::read_to_string(self.path("ssl_config.json")).ok()
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.place.auth_log()).unwrap()
    }

    fn restart(&mut self) {
        self.server.kill();
        self.server = self.place.serve();
    }
}

pub(super) fn curl(arguments: &[&str]) -> Ran {
    let mut command = program("curl");
    command.args(["-s", "--max-time", "20"]).args(arguments);
    finish(command)
}

/// Makes a key and a certificate for localhost; `more` are options of `openssl req`.
fn make_pair(folder: &Path, name: &str, key: &[&str], more: &[&str]) -> Value {
    let (certificate, secret) = (
        folder.join(format!("{name}.pem")),
        folder.join(format!("{name}.key")),
    );
    let mut command = program("openssl");
    command.args([
        "req",
        "-x509",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]);
    command.args(["-newkey"]).args(key).args(more);
    command
        .arg("-keyout")
        .arg(&secret)
        .arg("-out")
        .arg(&certificate);
    let ran = finish(command);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    json!({ "source": "custom", "cert_path": certificate, "key_path": secret })
}

const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const RSA: &[&str] = &["rsa:2048"];

fn ec_pair(folder: &Path, name: &str) -> Value {
    make_pair(folder, name, EC, &["-days", "90"])
}

fn crossed(certificate: &Value, key: &Value) -> Value {
    json!({ "source": "custom", "cert_path": certificate["cert_path"], "key_path": key["key_path"] })
}

/// A pair whose time is over.
fn ended_pair(folder: &Path) -> Value {
    let long_ago = Clock::machine().now() - jiff::SignedDuration::from_hours(24 * 400);
    let made = self_signed(&["localhost".to_owned()], long_ago).unwrap();
    let (certificate, key) = (folder.join("ended.pem"), folder.join("ended.key"));
    put(&certificate, made.certificate);
    put(&key, made.key.as_bytes());
    json!({ "source": "custom", "cert_path": certificate, "key_path": key })
}

/// Pairs that cannot be served, with the check that fails and words of its sentence.
fn bad_pairs(host: &Host) -> Vec<(Value, &'static str, &'static str)> {
    let folder = host.place.root();
    let (ec, other_ec) = (ec_pair(folder, "ec"), ec_pair(folder, "other-ec"));
    let rsa = make_pair(folder, "rsa", RSA, &["-days", "90"]);
    let other_rsa = make_pair(folder, "other-rsa", RSA, &["-days", "90"]);
    let ended = ended_pair(folder);
    put(
        &host.path("garbage.pem"),
        "-----BEGIN CERTIFICATE-----\n!!! no base64 !!!\n-----END CERTIFICATE-----\n",
    );
    let garbage = json!({ "source": "custom", "cert_path": host.path("garbage.pem"), "key_path": ec["key_path"] });
    let locked = host.path("locked.key");
    let mut command = program("openssl");
    command
        .args(["pkey", "-aes256", "-passout", "pass:secret", "-in"])
        .arg(host.path("ec.key"))
        .arg("-out")
        .arg(&locked);
    assert_eq!(finish(command).status, Some(0));
    let locked = json!({ "source": "custom", "cert_path": ec["cert_path"], "key_path": locked });
    let missing =
        json!({ "source": "custom", "cert_path": "/nonexistent.pem", "key_path": ec["key_path"] });
    let folder_for_file =
        json!({ "source": "custom", "cert_path": folder, "key_path": ec["key_path"] });

    vec![
        (crossed(&ec, &other_ec), "match", "does not belong"),
        (crossed(&rsa, &other_rsa), "match", "does not belong"),
        (crossed(&rsa, &ec), "match", "does not belong"),
        (ended, "dates", "ended on"),
        (garbage, "certificate", "not Base64"),
        (locked, "key", "passphrase"),
        (missing, "certificate_file", "no such file"),
        (folder_for_file, "certificate_file", "not a file"),
        (
            crossed(&json!({ "cert_path": ec["key_path"] }), &ec),
            "certificate",
            "no certificate",
        ),
        (
            crossed(&ec, &json!({ "key_path": ec["cert_path"] })),
            "key",
            "no private key",
        ),
    ]
}

#[test]
fn bad_pairs_are_refused_with_their_reason_and_change_nothing() {
    let host = Host::new();
    for (pair, failed, words) in bad_pairs(&host) {
        for path in ["/api/ssl/configure", "/api/ssl/validate"] {
            let (status, answer) = host.http("POST", path, &pair);
            let expected = if path.ends_with("configure") {
                400
            } else {
                200
            };
            assert_eq!(status, expected, "{answer}");
            assert_eq!(answer["success"], false);
            assert!(
                answer["message"].as_str().unwrap().contains(words),
                "{answer}"
            );
            let checks = answer["checks"].as_array().unwrap();
            assert!(
                checks
                    .iter()
                    .any(|check| check["name"] == failed && check["result"] == "failed"),
                "{answer}"
            );
        }
        assert_eq!(host.configure(&pair).1["code"], "tls_pair_rejected");
    }
    for (body, field) in [
        (json!({ "source": "custom" }), "cert_path"),
        (json!({ "source": "custom", "cert_path": "/a" }), "key_path"),
        (json!({ "source": "borrowed" }), "source"),
    ] {
        let (status, answer) = host.configure(&body);
        assert_eq!((status, &answer["field"]), (400, &json!(field)));
    }
    assert_eq!(host.setting(), None);
    assert!(!host.is_encrypted());
    let told = "tls refused; rhost=127.0.0.1 user=owner source=custom reason=match";
    assert!(host.log().contains(told), "{}", host.log());
}

#[test]
fn every_kind_of_pair_is_served_over_both_versions() {
    let host = Host::new();
    let folder = host.place.root();
    let ec = ec_pair(folder, "ec");
    host.keep(&ec);
    let p384 = make_pair(
        folder,
        "p384",
        &["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"],
        &["-days", "90"],
    );
    let rsa = make_pair(folder, "rsa", RSA, &["-days", "90"]);
    // Text before the certificate, and the key in the old form.
    let text = std::fs::read_to_string(host.path("ec.pem")).unwrap();
    put(
        &host.path("led.pem"),
        format!("subject=CN = localhost\n\n{text}"),
    );
    let mut command = program("openssl");
    command
        .args(["ec", "-in"])
        .arg(host.path("ec.key"))
        .arg("-out")
        .arg(host.path("old.key"));
    assert_eq!(finish(command).status, Some(0));
    let led = json!({ "source": "custom", "cert_path": host.path("led.pem"), "key_path": host.path("old.key") });
    for (pair, kind) in [(p384, "EC P-384"), (rsa, "RSA 2048"), (led, "EC P-256")] {
        let (status, answer) = host.https("POST", "/api/ssl/configure", &pair);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(host.https("POST", "/api/ssl/confirm", &json!({})).0, 200);
        let (_, shown) = host.https("GET", "/api/ssl/status", &json!({}));
        assert_eq!(shown["cert_info"]["key_kind"], kind);
        assert_eq!(
            shown["cert_info"]["names"],
            json!(["localhost", "127.0.0.1"])
        );
        assert_eq!(shown["cert_info"]["days_left"], 89);
    }
    for (version, opens) in [("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let mut command = program("openssl");
        command.args([
            "s_client",
            version,
            "-brief",
            "-connect",
            &host.server.address.to_string(),
        ]);
        assert_eq!(finish(command).status == Some(0), opens, "{version}");
    }
    let two = curl(&[
        "-k",
        "--http2",
        "-o",
        "/dev/null",
        "-w",
        "%{http_version}",
        &format!("https://{}/", host.server.address),
    ]);
    assert_eq!(two.out, "2");
}

#[test]
fn a_trial_that_nobody_confirms_is_taken_back_and_a_confirmed_one_stays() {
    let host = Host::new();
    let (status, answer) =
        host.configure(&json!({ "source": "self_signed", "auto_restart": true }));
    assert_eq!(
        (status, &answer["new_protocol"], &answer["restarting"]),
        (200, &json!("https"), &json!(false))
    );

    assert!(host.is_encrypted());
    assert_eq!(
        host.https(
            "POST",
            "/api/ssl/configure",
            &json!({ "source": "self_signed" })
        )
        .1["code"],
        "trial_running"
    );
    let stranger = curl(&[&format!("http://{}/api/ssl/status", host.server.address)]);
    let stranger: Value = serde_json::from_str(&stranger.out).unwrap();
    assert_eq!(stranger["trial"]["reverts_to"], "http");
    assert_eq!(stranger.as_object().unwrap().len(), 3, "{stranger}");

    assert!(within(TRIAL * 3, || !host.is_encrypted()));
    assert!(host.log().contains("tls reverted"));
    assert_eq!(
        host.http("GET", "/api/ssl/status", &json!({})).1["ssl_enabled"],
        false
    );
    assert_eq!(
        host.http("POST", "/api/ssl/confirm", &json!({})).1["code"],
        "no_trial"
    );
    let stranger = curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &format!("http://{}/api/ssl/status", host.server.address),
    ]);
    assert_eq!(stranger.out, "401");

    host.keep(&json!({ "source": "self_signed" }));
    thread::sleep(TRIAL + Duration::from_secs(1));
    assert!(host.is_encrypted());
    assert!(
        host.log()
            .contains("tls changed; rhost=127.0.0.1 user=owner source=self_signed")
    );
    assert_eq!(
        host.https("POST", "/api/ssl/disable", &json!({ "any": 1 }))
            .1["new_protocol"],
        "http"
    );
    assert!(!host.is_encrypted());
}

#[test]
fn a_trial_ends_while_the_program_does_not_run() {
    let mut host = Host::new();
    assert_eq!(host.configure(&json!({ "source": "self_signed" })).0, 200);
    host.restart();
    assert!(host.is_encrypted(), "the trial goes on");

    host.server.kill();
    thread::sleep(TRIAL);
    host.server = host.place.serve();

    assert!(!host.is_encrypted());
    assert!(host.log().contains("tls reverted"));
}

#[test]
fn a_trial_over_https_goes_back_to_the_pair_before() {
    let host = Host::new();
    host.keep(&ec_pair(host.place.root(), "first"));
    let fingerprint = || {
        host.https("GET", "/api/ssl/status", &json!({})).1["cert_info"]["fingerprint_sha256"]
            .clone()
    };
    let first = fingerprint();

    let second = ec_pair(host.place.root(), "second");
    assert_eq!(host.https("POST", "/api/ssl/configure", &second).0, 200);
    assert_ne!(fingerprint(), first);

    assert!(within(TRIAL * 3, || fingerprint() == first));
}

#[test]
fn plain_http_is_led_over_or_told_and_never_answered() {
    let host = Host::new();
    host.keep(&json!({ "source": "self_signed" }));
    let address = host.server.address;

    let led = curl(&[
        "-i",
        "-H",
        "accept: text/html",
        &format!("http://{address}/security?a=1"),
    ])
    .out;
    assert!(led.starts_with("HTTP/1.1 307"), "{led}");
    assert!(
        led.contains(&format!("location: https://{address}/security?a=1")),
        "{led}"
    );
    assert!(led.contains("cache-control: no-store"));
    let (status, answer) = host.http("GET", "/api/system", &json!({}));
    assert_eq!((status, &answer["code"]), (426, &json!("https_required")));
    let (status, _) = host.http(
        "POST",
        "/api/auth/login",
        &json!({ "username": USER, "password": PASSWORD }),
    );
    assert_eq!(status, 426);
    // A trusted proxy that encrypts itself goes on; one that nobody trusts is told what to do.
    let behind = |header: &str| {
        curl(&[
            "-H",
            header,
            "-H",
            "x-forwarded-for: 192.0.2.7",
            &format!("http://{address}/api/auth/status"),
        ])
        .out
    };
    assert!(behind("x-forwarded-proto: https").contains("\"success\":true"));
    assert!(behind("x-forwarded-proto: http").contains("https_required"));
}

#[test]
fn a_browser_is_told_to_insist_only_when_that_cannot_lock_anyone_out() {
    let host = Host::with_settings("tls_trial_seconds = 60\nhsts = true\n");
    let insists = || {
        curl(&["-k", "-i", &format!("https://{}/", host.server.address)])
            .out
            .contains("max-age=31536000")
    };
    host.keep(&json!({ "source": "self_signed" }));
    assert!(!insists(), "a certificate of our own");

    let signed = signed_by_an_authority(host.place.root());
    assert_eq!(host.https("POST", "/api/ssl/configure", &signed).0, 200);
    assert!(!insists(), "on trial");
    assert_eq!(host.https("POST", "/api/ssl/confirm", &json!({})).0, 200);
    assert!(insists());
}

fn signed_by_an_authority(folder: &Path) -> Value {
    make_pair(folder, "authority", EC, &["-days", "90"]);
    sign_leaf(folder, folder);
    json!({ "source": "custom", "cert_path": folder.join("signed.pem"), "key_path": folder.join("signed.key") })
}

/// Makes a key and a certificate in a folder, signed by the authority in another.
fn sign_leaf(folder: &Path, authority: &Path) {
    put(
        &folder.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    );
    let mut request = program("openssl");
    request
        .args(["req", "-new", "-nodes", "-subj", "/CN=signed", "-newkey"])
        .args(EC);
    request
        .arg("-keyout")
        .arg(folder.join("signed.key"))
        .arg("-out")
        .arg(folder.join("signed.csr"));
    assert_eq!(finish(request).status, Some(0));
    let mut sign = program("openssl");
    sign.args(["x509", "-req", "-days", "90", "-in"])
        .arg(folder.join("signed.csr"));
    sign.arg("-CA")
        .arg(authority.join("authority.pem"))
        .arg("-CAkey")
        .arg(authority.join("authority.key"));
    sign.arg("-extfile")
        .arg(folder.join("names"))
        .arg("-out")
        .arg(folder.join("signed.pem"));
    assert_eq!(finish(sign).status, Some(0));
}

#[test]
fn when_files_fail_the_last_good_pair_is_served_or_one_made_on_the_spot_but_never_plain_http() {
    let mut host = Host::new();
    let pair = ec_pair(host.place.root(), "mine");
    host.keep(&pair);
    let status = |host: &Host| host.https("GET", "/api/ssl/status", &json!({})).1;
    let mine = status(&host)["cert_info"]["fingerprint_sha256"].clone();

    // While it runs, it goes on with what it has, and says so.
    std::fs::remove_file(host.path("mine.key")).unwrap();
    assert!(within(Duration::from_secs(10), || status(&host)["problem"]
        .is_string()));
    assert_eq!(status(&host)["cert_info"]["fingerprint_sha256"], mine);
    assert!(host.log().contains("tls certificate not usable"));

    host.restart();
    assert_eq!(status(&host)["serving"], "last_good");
    assert_eq!(status(&host)["cert_info"]["fingerprint_sha256"], mine);
    assert_eq!(host.http("GET", "/api/system", &json!({})).0, 426);

    host.server.kill();
    std::fs::remove_file(host.place.data_dir().join("tls/last-good.pem")).unwrap();
    host.server = host.place.serve();
    assert_eq!(status(&host)["serving"], "emergency");

    // A setting that nobody can read is no reason to go without either.
    host.server.kill();
    put(&host.path("ssl_config.json"), "{");
    host.server = host.place.serve();
    assert_eq!(status(&host)["serving"], "emergency");
    assert_eq!(host.http("GET", "/api/system", &json!({})).0, 426);
}

/// A client that keeps one connection open, and trusts the certificates it is given.
fn keep_alive(address: SocketAddr, certificate: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    StreamOwned::new(connection, socket)
}

/// How often the certificate is renewed: a minute of it with `MONITOR_RENEWALS=60`.
fn renewals() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "a long run is asked for from outside"
    )]
    let asked = std::env::var("MONITOR_RENEWALS");
    asked
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(8)
}

#[test]
fn renewals_under_load_fail_nobody() {
    let host = Host::new();
    let pair = signed_by_an_authority(host.place.root());
    host.keep(&pair);
    let address = host.server.address;
    let authority = host.path("authority.pem");
    let stop = AtomicBool::new(false);
    let (answered, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut command = vec![
                    "--cacert",
                    authority.to_str().unwrap(),
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                ];
                let url = format!("https://localhost:{}/api/auth/status", address.port());
                let resolve = format!("localhost:{}:127.0.0.1", address.port());
                command.extend(["--resolve", &resolve, &url]);
                while !stop.load(Ordering::Relaxed) {
                    let ok = curl(&command).out == "200";
                    if ok { &answered } else { &failed }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            // One connection over all renewals.
            let mut open = keep_alive(address, &authority);
            let mut answer = [0; 8192];
            while !stop.load(Ordering::Relaxed) {
                let sent =
                    open.write_all(b"GET /api/auth/status HTTP/1.1\r\nhost: localhost\r\n\r\n");
                let read = sent.and_then(|()| open.read(&mut answer));
                let ok = read.is_ok_and(|length| answer[..length].starts_with(b"HTTP/1.1 200"));
                if ok { &answered } else { &failed }.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        for _ in 0..renewals() {
            let next = Instant::now() + Duration::from_secs(1);
            // The key first and the certificate after it: for a moment they do not belong together.
            signed_by_an_authority_again(host.place.root());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let fresh = x509_serial(&std::fs::read(host.path("signed.pem")).unwrap());
    assert_eq!(failed.into_inner(), 0);
    assert!(answered.into_inner() > 50);
    assert!(within(Duration::from_secs(10), || served_serial(address) == fresh));
    assert!(host.log().matches("tls certificate reloaded").count() >= renewals() / 2);
    assert!(!host.log().contains("not usable"));
}

/// Renews the leaf under the same authority.
fn signed_by_an_authority_again(folder: &Path) {
    let fresh = folder.join("fresh");
    std::fs::create_dir_all(&fresh).unwrap();
    sign_leaf(&fresh, folder);
    for name in ["signed.key", "signed.pem"] {
        std::fs::rename(fresh.join(name), folder.join(name)).unwrap();
    }
}

fn x509_serial(pem: &[u8]) -> String {
    let der = CertificateDer::from_pem_slice(pem).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    certificate.raw_serial_as_string()
}

fn served_serial(address: SocketAddr) -> String {
    let mut command = program("openssl");
    command.args([
        "s_client",
        "-connect",
        &address.to_string(),
        "-servername",
        "localhost",
    ]);
    let ran = finish(command);
    let start = ran.out.find("-----BEGIN CERTIFICATE-----").unwrap();
    x509_serial(&ran.out.as_bytes()[start..])
}

#[test]
fn commands_choose_what_is_served_while_the_server_runs() {
    let host = Host::new();
    let pair = ec_pair(host.place.root(), "mine");
    let other = ec_pair(host.place.root(), "other");
    let path = |pair: &Value, key: &str| pair[key].as_str().unwrap().to_owned();

    let wrong = host.place.run(&[
        "tls",
        "use",
        &path(&pair, "cert_path"),
        &path(&other, "key_path"),
    ]);
    assert_eq!(wrong.status, Some(1));
    assert!(wrong.err.contains("does not belong"), "{wrong:?}");
    assert!(!host.is_encrypted());

    let ran = host.place.run(&[
        "tls",
        "use",
        &path(&pair, "cert_path"),
        &path(&pair, "key_path"),
    ]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(within(Duration::from_secs(3), || host.is_encrypted()));
    let shown = host.place.run(&["tls", "status", "--json"]).json();
    assert_eq!(shown["source"], "custom");
    assert_eq!(shown["trial_ends_at"], Value::Null);

    assert_eq!(host.place.run(&["tls", "self-signed"]).status, Some(0));
    assert_eq!(
        host.place.run(&["tls", "status", "--json"]).json()["source"],
        "self_signed"
    );
    assert_eq!(host.place.run(&["tls", "off"]).status, Some(0));
    assert!(within(Duration::from_secs(3), || !host.is_encrypted()));
    assert_eq!(host.place.run(&["tls", "off"]).status, Some(1));
    assert_eq!(
        host.log()
            .matches("tls changed; user=root source=custom")
            .count(),
        1
    );
}

#[test]
fn the_session_comes_over_once_by_its_plain_cookie() {
    let host = Host::new();
    let jar = host.path("jar");
    let jar = jar.to_str().unwrap();
    let body = json!({ "username": USER, "password": PASSWORD }).to_string();
    let login = format!("http://{}/api/auth/login", host.server.address);
    curl(&[
        "-c",
        jar,
        "-H",
        "content-type: application/json",
        "-d",
        &body,
        &login,
    ]);
    let plain = std::fs::read_to_string(jar).unwrap();
    let resume = || {
        put(Path::new(jar), &plain);
        let url = format!("https://{}/api/auth/session/resume", host.server.address);
        curl(&["-k", "-i", "-b", jar, "-X", "POST", &url]).out
    };
    assert_eq!(host.configure(&json!({ "source": "self_signed" })).0, 200);

    let first = resume();
    assert!(
        first.contains("set-cookie: __Secure-proxmenux_session="),
        "{first}"
    );
    assert!(
        !first.contains("set-cookie: proxmenux_session="),
        "a revert leaves nobody out"
    );
    assert!(resume().contains("no_session"), "once");
    assert_eq!(host.https("POST", "/api/ssl/confirm", &json!({})).0, 200);
    assert!(resume().contains("no_session"), "and only on trial");
}

#[test]
fn a_proxy_may_announce_its_client_where_that_is_allowed() {
    let host = Host::with_settings("proxy_protocol = true\n");
    let answer = |announcement: &[u8]| {
        let mut socket = TcpStream::connect(host.server.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.write_all(announcement).unwrap();
        let body = r#"{"username":"x","password":"y"}"#;
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _refused_early = socket.write_all(request.as_bytes());
        let mut answer = String::new();
        let _cut = socket.read_to_string(&mut answer);
        answer
    };
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    second.extend([198, 51, 100, 8, 127, 0, 0, 1, 0x1f, 0x90, 0x1f, 0x48]);

    assert!(answer(b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 8008\r\n").starts_with("HTTP/1.1 401"));
    assert!(answer(&second).starts_with("HTTP/1.1 401"));
    assert!(
        answer(b"").starts_with("HTTP/1.1 401"),
        "without one all is as before"
    );
    assert!(!answer(b"PROXY TCP4 nonsense\r\n").contains("HTTP/1.1 401"));
    let log = host.log();
    assert!(log.contains("rhost=198.51.100.7 user=x"), "{log}");
    assert!(log.contains("rhost=198.51.100.8 user=x"), "{log}");
    assert!(log.contains("rhost=127.0.0.1 user=x"), "{log}");
    assert!(answer(b"PROXY UNKNOWN\r\n").starts_with("HTTP/1.1 401"));

    let without = Host::new();
    let mut socket = TcpStream::connect(without.server.address).unwrap();
    socket
        .write_all(b"PROXY TCP4 198.51.100.9 127.0.0.1 4000 8008\r\n\r\n")
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(
        &answer, b"HTTP/1.1 400",
        "nobody may who was not allowed to"
    );
}

#[test]
fn a_damaged_setting_neither_keeps_a_trial_nor_ends_it_in_plain_http() {
    let mut host = Host::new();
    host.keep(&ec_pair(host.place.root(), "first"));
    let shown = |host: &Host| host.https("GET", "/api/ssl/status", &json!({})).1;
    let first = shown(&host)["cert_info"]["fingerprint_sha256"].clone();
    let second = ec_pair(host.place.root(), "second");
    assert_eq!(host.https("POST", "/api/ssl/configure", &second).0, 200);

    put(&host.path("ssl_config.json"), "{");
    assert!(within(
        TRIAL * 3,
        || shown(&host)["cert_info"]["fingerprint_sha256"] == first
    ));

    host.server.kill();
    put(&host.path("ssl_config.json"), "{");
    host.server = host.place.serve();
    assert_eq!(host.https("POST", "/api/ssl/configure", &second).0, 200);
    assert!(within(TRIAL * 3, || shown(&host)["trial"].is_null()));
    assert!(host.is_encrypted(), "never plain HTTP");
}

#[test]
fn what_was_only_tried_does_not_stand_in_for_a_pair_that_is_gone() {
    let host = Host::new();
    host.keep(&ec_pair(host.place.root(), "first"));
    let shown = || host.https("GET", "/api/ssl/status", &json!({})).1;
    let first = shown()["cert_info"]["fingerprint_sha256"].clone();
    let second = ec_pair(host.place.root(), "second");
    assert_eq!(host.https("POST", "/api/ssl/configure", &second).0, 200);

    std::fs::remove_file(host.path("first.key")).unwrap();

    assert!(within(TRIAL * 3, || shown()["serving"] == "last_good"));
    assert_eq!(shown()["cert_info"]["fingerprint_sha256"], first);
}
