//! Certificates from an authority: the real binary and pebble, the test server of ACME, which looks
//! whether names lead here as a real one does.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proxmenux_monitor::access::certificates::{provider, self_signed};
use proxmenux_monitor::clock::Clock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::binary::{Ran, Server, finish, program, put, within};
use super::tls::{Host, curl};

/// How long an order may take here.
const ORDER: Duration = Duration::from_secs(30);
const NAME: &str = "dash.example.net";

/// An authority, and the DNS that it asks: every name leads to this machine.
struct Authority {
    folder: tempfile::TempDir,
    ports: [u16; 3],
    running: Vec<Child>,
}

impl Authority {
    /// Starts one that looks for names behind `port`.
    fn looking_at(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let mut authority = Self {
            folder,
            ports: free_ports(),
            running: Vec::new(),
        };
        authority.start(port);
        authority
    }

    fn start(&mut self, port: u16) {
        let [directory, management, dns] = self.ports;
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{directory}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": "server.pem",
            "privateKey": "server.key",
            "httpPort": port,
            "tlsPort": port,
        }});
        put(&self.folder.path().join("pebble.json"), config.to_string());
        let dns = format!("127.0.0.1:{dns}");
        let names = [
            "-defaultIPv6",
            "",
            "-dns01",
            &dns,
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-management",
            "",
        ];
        for (name, arguments) in [
            ("pebble-challtestsrv", names.as_slice()),
            ("pebble", &["-config", "pebble.json", "-dnsserver", &dns]),
        ] {
            let mut command = program(tool(name));
            command
                .args(arguments)
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_AUTHZREUSE", "0")
                .current_dir(self.folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            self.running.push(command.spawn().unwrap());
        }
        assert!(within(ORDER, || self.get(directory, "dir").status == Some(0)));
    }

    fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn get(&self, port: u16, path: &str) -> Ran {
        let root = self.root();
        let url = format!("https://localhost:{port}/{path}");
        let mut command = program("curl");
        command.args(["-sf", "--cacert", root.to_str().unwrap(), &url]);
        finish(command)
    }

    /// The root by which the authority itself is trusted.
    fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.ports[0])
    }

    /// The root of the certificates that it gives.
    fn given_root(&self) -> PathBuf {
        let root = self.get(self.ports[1], "roots/0");
        let path = self.folder.path().join("given-root.pem");
        put(&path, root.out);
        path
    }

    fn wish(&self, name: &str, challenge: &str) -> Value {
        json!({
            "names": [name],
            "email": "owner@example.net",
            "directory": self.directory(),
            "ca_path": self.root(),
            "challenge": challenge,
            "agree_terms": true,
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".tools/debian/usr/bin")
        .join(name)
}

fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let sockets = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// Makes a root, and the certificate of the authority's own server.
fn make_certificates(folder: &Path) {
    let openssl = |line: &str| {
        let mut command = program("openssl");
        command.current_dir(folder).args(line.split(' '));
        let ran = finish(command);
        assert_eq!(ran.status, Some(0), "{ran:?}");
    };
    put(
        &folder.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    );
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -subj /CN=root -keyout root.key -out root.pem"
    ));
    openssl(&format!(
        "req {key} -subj /CN=localhost -keyout server.key -out server.csr"
    ));
    openssl(
        "x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile names -out server.pem",
    );
}

/// A host on which a trial lasts as long as one needs.
fn patient_host() -> Host {
    Host::with_settings("")
}

impl Host {
    fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// Asks for a path as a stranger.
    fn stranger(&self, path: &str) -> (String, String) {
        let url = format!("http://{}{path}", self.server.address);
        let ran = curl(&["-w", "\n%{http_code}", &url]);
        let (body, status) = ran.out.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    fn shown(&self, scheme: &str) -> Value {
        self.ask(scheme, "GET", "/api/ssl/status", &json!({})).1["acme"].clone()
    }

    /// Orders a certificate and waits until that has ended.
    fn order(&self, scheme: &str, wish: &Value) -> Value {
        let (status, answer) = self.ask(scheme, "POST", "/api/ssl/acme", wish);
        assert_eq!(status, 202, "{answer}");
        let mut shown = Value::Null;
        assert!(
            within(ORDER, || {
                shown = self.shown(scheme);
                shown["order"]["ended_at"].is_string()
            }),
            "{shown}"
        );
        shown
    }

    /// Serves the certificate of the authority, and keeps it.
    fn keep_given(&self, scheme: &str) {
        let acme = json!({ "source": "acme" });
        let (status, answer) = self.ask(scheme, "POST", "/api/ssl/configure", &acme);
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = self.https("POST", "/api/ssl/confirm", &json!({}));
        assert_eq!(status, 200, "{answer}");
    }

    /// Whether a client that trusts only `root` gets the page by `name`.
    fn is_trusted(&self, name: &str, root: &Path) -> bool {
        let port = self.port();
        let ran = curl(&[
            "--cacert",
            root.to_str().unwrap(),
            "--resolve",
            &format!("{name}:{port}:127.0.0.1"),
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("https://{name}:{port}/api/auth/status"),
        ]);
        ran.out == "200"
    }

    fn pair(&self) -> PathBuf {
        self.place.data_dir().join("tls/acme-1.pem")
    }

    /// Starts the server anew where the authority looks for it.
    fn come_back(&mut self) {
        let address = self.server.address;
        self.server.kill();
        let command = self
            .place
            .command(&["serve", "--listen", &address.to_string()]);
        self.server = Server::start(command);
    }

    /// Puts a certificate in the place of the authority's that has only some days left.
    fn grow_old(&self) {
        let long_ago = Clock::machine().now() - jiff::SignedDuration::from_hours(24 * 390);
        let made = self_signed(&[NAME.to_owned()], long_ago).unwrap();
        put(&self.pair(), format!("{}\n{}", made.certificate, *made.key));
    }

    /// Lets an hour pass since the last certificate was given.
    fn rest(&self) {
        let path = self.place.data_dir().join("tls/acme.json");
        let mut memory: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        memory["certificates"][0]["obtained_at"] = json!("2026-01-01T00:00:00Z");
        put(&path, memory.to_string());
    }
}

#[test]
fn an_authority_gives_a_certificate_which_is_served() {
    let host = patient_host();
    let authority = Authority::looking_at(host.port());
    assert_eq!(host.shown("http"), Value::Null);
    let refused = host.http("POST", "/api/ssl/configure", &json!({ "source": "acme" }));
    assert_eq!(refused.1["code"], "no_acme_certificate");

    let shown = host.order("http", &authority.wish(NAME, "http-01"));

    assert_eq!(shown["order"]["state"], "done", "{shown}");
    assert_eq!(shown["names"], json!([NAME]));
    assert_eq!(shown["certificate"]["names"], json!([NAME]));
    assert!(shown["renews_at"].is_string());
    host.keep_given("http");
    assert!(host.is_trusted(NAME, &authority.given_root()));
    assert!(!host.is_trusted("other.example.net", &authority.given_root()));
    let (_, status) = host.https("GET", "/api/ssl/status", &json!({}));
    assert_eq!(status["source"], "acme");
    assert!(
        host.log().contains(
            "tls certificate obtained; rhost=127.0.0.1 user=owner names=dash.example.net"
        )
    );
    // The next one comes while plain HTTP is led over to HTTPS.
    let before = fs::read(host.pair()).unwrap();
    let shown = host.order("https", &authority.wish(NAME, "http-01"));
    assert_eq!(shown["order"]["state"], "done", "{shown}");
    assert_ne!(fs::read(host.pair()).unwrap(), before);
}

#[test]
fn another_certificate_is_served_only_once_somebody_tries_it() {
    let host = patient_host();
    let authority = Authority::looking_at(host.port());
    host.order("http", &authority.wish(NAME, "http-01"));
    host.keep_given("http");
    let root = authority.given_root();

    let shown = host.order("https", &authority.wish("other.example.net", "http-01"));

    assert_eq!(shown["certificate"]["names"], json!(["other.example.net"]));
    assert!(host.is_trusted(NAME, &root));
    assert!(!host.is_trusted("other.example.net", &root));
    let (status, _) = host.https("POST", "/api/ssl/configure", &json!({ "source": "acme" }));
    assert_eq!(status, 200);
    assert!(host.is_trusted("other.example.net", &root));
    assert_eq!(host.https("POST", "/api/ssl/disable", &json!({})).0, 200);
    assert!(
        host.is_trusted(NAME, &root),
        "what was before is there again"
    );
}

#[test]
fn an_authority_may_ask_by_a_handshake_whether_tls_is_on_or_not() {
    let host = patient_host();
    let authority = Authority::looking_at(host.port());
    let wish = authority.wish(NAME, "tls-alpn-01");

    let shown = host.order("http", &wish);
    assert_eq!(shown["order"]["state"], "done", "{shown}");
    host.keep_given("http");
    let shown = host.order("https", &wish);

    assert_eq!(shown["order"]["state"], "done", "{shown}");
    assert!(host.is_trusted(NAME, &authority.given_root()));
    let handshake = |protocol: &str| {
        let mut command = program("openssl");
        command.args([
            "s_client",
            "-alpn",
            protocol,
            "-servername",
            NAME,
            "-connect",
        ]);
        command.arg(host.server.address.to_string());
        finish(command).status
    };
    assert_eq!(handshake("http/1.1"), Some(0));
    assert_ne!(handshake("acme-tls/1"), Some(0), "no order runs any more");
}

#[test]
fn a_name_that_leads_elsewhere_gets_none_and_nothing_changes() {
    let host = patient_host();
    let [nobody] = free_ports();
    let authority = Authority::looking_at(nobody);
    for challenge in ["http-01", "tls-alpn-01"] {
        let shown = host.order("http", &authority.wish(NAME, challenge));

        assert_eq!(shown["order"]["state"], "failed", "{shown}");
        let problem = shown["order"]["problem"].as_str().unwrap();
        assert!(
            problem.contains("could not see that dash.example.net leads here"),
            "{problem}"
        );
        assert_eq!(shown["certificate"], Value::Null);
        assert_eq!(shown["next_try_at"], Value::Null, "nothing is renewed yet");
    }
    assert!(!host.pair().exists());
    assert!(host.log().contains("tls certificate not obtained;"));
    let refused = host.http("POST", "/api/ssl/configure", &json!({ "source": "acme" }));
    assert_eq!(refused.1["code"], "no_acme_certificate");
    let answers = host.place.data_dir().join("tls/acme-answers.json");
    assert!(!answers.exists(), "the authority is told nothing any more");
}

#[test]
fn an_authority_that_cannot_be_reached_or_trusted_is_told() {
    let host = patient_host();
    let mut authority = Authority::looking_at(host.port());
    let mut untrusted = authority.wish(NAME, "http-01");
    untrusted["ca_path"] = Value::Null;
    let shown = host.order("http", &untrusted);
    let problem = shown["order"]["problem"].as_str().unwrap();
    assert!(
        problem.starts_with("The authority cannot be asked: "),
        "{problem}"
    );

    untrusted["ca_path"] = json!(authority.folder.path().join("server.key"));
    let shown = host.order("http", &untrusted);
    let problem = shown["order"]["problem"].as_str().unwrap();
    assert!(problem.contains("holds no certificate"), "{problem}");

    authority.stop();
    let shown = host.order("http", &authority.wish(NAME, "http-01"));
    assert_eq!(shown["order"]["state"], "failed", "{shown}");
    assert_eq!(shown["order"]["step"], "account");
}

/// What an impostor says, which may name its own address.
type Saying = fn(&str) -> String;

/// Answers every request over HTTPS with the same, as no authority would. Returns its directory.
fn impostor(folder: &Path, answer: impl FnOnce(&str) -> String) -> String {
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
    let chain = Vec::from_iter(chain.map(Result::unwrap));
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, socket) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = socket.local_addr().unwrap().port();
    let directory = format!("https://localhost:{port}/dir");
    let (place, answer) = (directory.clone(), answer(&directory));
    thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            let _request = stream.read(&mut [0; 4096]);
            let length = answer.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\nlocation: {place}\r\nreplay-nonce: n\r\ncontent-length: {length}\r\n\r\n"
            );
            let _client_is_gone = stream.write_all(head.as_bytes());
            let _client_is_gone = stream.write_all(answer.as_bytes());
        }
    });
    directory
}

/// Looks like each answer of an authority that asks about a name with a token.
fn asking(place: &str, name: &str, token: &str) -> String {
    let challenge = json!({ "type": "http-01", "url": place, "token": token, "status": "pending" });
    let answer = json!({
        "newNonce": place, "newAccount": place, "newOrder": place,
        "status": "pending", "authorizations": [place], "finalize": place,
        "type": "http-01", "url": place, "token": token,
        "identifier": { "type": "dns", "value": name }, "challenges": [challenge],
    });
    answer.to_string()
}

#[test]
fn an_impostor_ends_its_order_and_nothing_else() {
    let host = patient_host();
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let no_address = |_place: &str| asking("no address", NAME, "");
    let secret = |_place: &str| "\"a secret of the network\"".to_owned();
    let endless = |_place: &str| " ".repeat(10_000_000);
    let other_name = |place: &str| asking(place, "other.example.net", &"t".repeat(40));
    let path = |place: &str| asking(place, NAME, "../../../../../../etc/passwd");
    let impostors: [(Saying, &str); 5] = [
        (no_address, "does not speak ACME"),
        (secret, "does not speak ACME"),
        (endless, "cannot be asked"),
        (other_name, "does not speak ACME"),
        (path, "does not speak ACME"),
    ];
    for (answer, told) in impostors {
        let wish = json!({
            "names": [NAME],
            "directory": impostor(folder.path(), answer),
            "ca_path": folder.path().join("root.pem"),
            "agree_terms": true,
        });
        let shown = host.order("http", &wish);

        assert_eq!(shown["order"]["state"], "failed", "{shown}");
        let problem = shown["order"]["problem"].as_str().unwrap();
        assert!(
            problem.contains(told) && !problem.contains("secret"),
            "{problem}"
        );
    }
    assert_eq!(
        host.log().matches("tls certificate not obtained").count(),
        impostors.len()
    );
    let answers = host.place.data_dir().join("tls/acme-answers.json");
    assert!(!answers.exists());
}

#[test]
fn a_certificate_is_renewed_in_time_also_where_the_account_is_gone() {
    let mut host = patient_host();
    let mut authority = Authority::looking_at(host.port());
    host.order("http", &authority.wish(NAME, "http-01"));
    host.keep_given("http");
    // This kind of authority forgets its accounts when it starts anew.
    authority.stop();
    authority.start(host.port());
    host.grow_old();
    host.come_back();
    let soon = host.server.says("ordered anew");
    assert!(!soon, "not within an hour of the last one");
    host.rest();
    host.come_back();

    let root = authority.given_root();
    assert!(
        within(ORDER, || host.is_trusted(NAME, &root)),
        "{}",
        host.server.said()
    );

    assert!(within(ORDER, || host
        .log()
        .contains("tls certificate reloaded")));
    assert!(
        host.log()
            .contains("tls certificate obtained; user=- names=dash.example.net")
    );
}

#[test]
fn a_renewal_that_fails_is_told_and_tried_again_later() {
    let mut host = patient_host();
    let mut authority = Authority::looking_at(host.port());
    host.order("http", &authority.wish(NAME, "http-01"));
    host.keep_given("http");
    authority.stop();
    host.grow_old();
    host.rest();
    host.come_back();

    assert!(within(ORDER, || host.shown("https")["next_try_at"].is_string()));

    let shown = host.shown("https");
    assert!(
        shown["problem"]
            .as_str()
            .unwrap()
            .contains("cannot be asked"),
        "{shown}"
    );
    assert!(
        host.shown("https")["certificate"].is_object(),
        "the old one is served"
    );
    let failures = |log: &str| log.matches("tls certificate not obtained").count();
    assert_eq!(failures(&host.log()), 1);
    host.come_back();
    assert!(host.server.says("") && !host.server.says("ordered anew"));
    assert_eq!(failures(&host.log()), 1, "not before its time");
}

#[test]
fn wishes_that_cannot_be_asked_for_are_refused_with_their_field() {
    let host = patient_host();
    let wish = |key: &str, value: Value| {
        let mut wish = json!({ "names": [NAME], "agree_terms": true });
        wish[key] = value;
        wish
    };
    for (wish, code, field) in [
        (wish("names", json!([])), "names_missing", "names"),
        (json!({ "agree_terms": true }), "names_missing", "names"),
        (
            wish("names", json!(["*.example.net"])),
            "invalid_name",
            "names",
        ),
        (wish("names", json!(["pve.local"])), "invalid_name", "names"),
        (wish("names", json!(["192.0.2.1"])), "invalid_name", "names"),
        (wish("email", json!("nobody")), "invalid_email", "email"),
        (
            wish("challenge", json!("dns-01")),
            "invalid_challenge",
            "challenge",
        ),
        (
            wish("directory", json!("http://a.net")),
            "invalid_directory",
            "directory",
        ),
        (
            wish("ca_path", json!("root.pem")),
            "invalid_ca_path",
            "ca_path",
        ),
        (
            wish("agree_terms", json!(false)),
            "terms_not_agreed",
            "agree_terms",
        ),
        (
            json!({ "names": [NAME] }),
            "terms_not_agreed",
            "agree_terms",
        ),
    ] {
        let (status, answer) = host.http("POST", "/api/ssl/acme", &wish);
        assert_eq!(
            (status, &answer["code"], &answer["field"]),
            (400, &json!(code), &json!(field)),
            "{answer}"
        );
    }
    assert_eq!(host.shown("http"), Value::Null);
    fs::create_dir_all(host.place.data_dir().join("tls")).unwrap();
    let lock = File::create(host.place.data_dir().join("tls/acme.lock")).unwrap();
    lock.lock().unwrap();
    let (status, answer) = host.http("POST", "/api/ssl/acme", &wish("email", Value::Null));
    assert_eq!((status, &answer["code"]), (409, &json!("order_running")));
}

#[test]
fn strangers_are_answered_only_while_an_order_runs() {
    let host = patient_host();
    assert_eq!(host.stranger("/.well-known/acme-challenge/t1").0, "401");
    let answers = host.place.data_dir().join("tls/acme-answers.json");
    let token = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDf";
    let path = format!("/.well-known/acme-challenge/{token}");
    let publish = |seconds: i64| {
        let until = Clock::machine().now() + jiff::SignedDuration::from_secs(seconds);
        let answer = json!({ "name": NAME, "token": token, "key_authorization": "t1.print" });
        let text = json!({ "until": until, "challenge": "http-01", "answers": [answer] });
        put(&answers, text.to_string());
    };
    fs::create_dir_all(answers.parent().unwrap()).unwrap();

    publish(120);
    let told = ("200".to_owned(), "t1.print".to_owned());
    assert_eq!(host.stranger(&path), told);
    for other in ["t2", "%ff", "..%2f..%2fapi%2fauth%2fprofile", ""] {
        let (status, body) = host.stranger(&format!("/.well-known/acme-challenge/{other}"));
        assert!(status == "404" || status == "401", "{other} {status}");
        assert!(body.contains("\"success\":false"), "{other} {body}");
    }
    let own = json!({ "source": "self_signed" });
    assert_eq!(host.http("POST", "/api/ssl/configure", &own).0, 200);
    assert_eq!(host.stranger("/").0, "307");
    assert_eq!(host.stranger(&path), told, "never led over to HTTPS");
    assert_eq!(host.https("POST", "/api/ssl/disable", &json!({})).0, 200);
    host.place.write_state("{");
    assert!(within(ORDER, || host.stranger("/api/auth/profile").0 == "503"));
    assert_eq!(
        host.stranger(&path),
        told,
        "a locked state does not stop a renewal"
    );
    for seconds in [-1, 3600] {
        publish(seconds);
        assert_eq!(host.stranger(&path).0, "503", "no order lasts so long");
    }
}

#[test]
fn the_command_orders_and_serves_while_the_server_answers() {
    let host = patient_host();
    let authority = Authority::looking_at(host.port());
    let (directory, root) = (authority.directory(), authority.root());
    let acme = |more: &[&str]| {
        let mut arguments = vec!["tls", "acme"];
        arguments.extend(more);
        host.place.run(&arguments)
    };
    let wanted = [
        NAME,
        "--directory",
        &directory,
        "--ca",
        root.to_str().unwrap(),
    ];
    assert_eq!(acme(&[]).status, Some(1), "nothing was ordered before");
    assert_eq!(acme(&["pve.local", "--agree-terms"]).status, Some(2));
    let asked = acme(&wanted);
    assert_eq!(asked.status, Some(2), "{asked:?}");
    assert!(asked.err.contains("--agree-terms"), "{asked:?}");

    let ran = acme(&[wanted.as_slice(), &["--agree-terms"]].concat());

    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.out.contains("HTTPS is on"), "{ran:?}");
    let given = authority.given_root();
    assert!(within(ORDER, || host.is_trusted(NAME, &given)));
    let before = fs::read(host.pair()).unwrap();
    assert_eq!(acme(&[]).status, Some(0), "the same one anew");
    assert_ne!(fs::read(host.pair()).unwrap(), before);
    assert!(host.log().contains("tls certificate obtained; user=root"));
}
