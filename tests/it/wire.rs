//! The server on a socket: framing, limits in size and time, signals, the folder of the page.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::binary::{
    Answer, EDIT_PATIENCE, PASSWORD, Place, Server, USER, add_session, ask, connect, finish,
    program, protected, put, within,
};

const JSON: &str = "Content-Type: application/json\r\n";

/// How many answers came on one connection.
fn answers(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches("HTTP/1.").count()
}

/// The status of the first answer.
fn status(bytes: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(bytes);
    let status = text.get(9..12).and_then(|digits| digits.parse().ok());
    status.unwrap_or_default()
}

/// Reads until the server closes; returns what came and how long that took.
fn read_to_close(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    (bytes, begun.elapsed())
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn the_unspecified_address_takes_both_families() {
    if !has_ipv6() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let place = Place::fresh();
    let server = Server::start(place.command(&["serve", "--listen", "[::]:0"]));
    let port = server.address.port();
    assert_ne!(port, 0, "the port that was picked is printed");

    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let address: SocketAddr = address.parse().unwrap();
        let answer = ask(address, "GET", "/api/system", None, None).unwrap();
        assert_eq!(answer.code(), "setup_required", "{address}");
        // Mapped addresses are unmapped: both count as this host's own.
        let status = ask(address, "GET", "/api/auth/status", None, None).unwrap();
        assert_eq!(status.json()["setup_requires_code"], false, "{address}");
    }
}

#[test]
fn one_ipv6_address_can_be_named() {
    if !has_ipv6() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let place = Place::fresh();
    let server = Server::start(place.command(&["serve", "--listen", "[::1]:0"]));

    assert!(server.address.is_ipv6());
    assert_eq!(server.get("/api/auth/status", None).status, 200);
}

#[test]
fn several_addresses_are_all_served_and_printed() {
    let place = Place::fresh();
    let first = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let named = first.to_string();
    let server = place.serve_with(&["--listen", &named]);

    assert_eq!(server.get("/api/auth/status", None).status, 200);
    assert_eq!(
        ask(first, "GET", "/api/auth/status", None, None)
            .unwrap()
            .status,
        200
    );
}

#[test]
fn a_port_in_use_is_told_and_ends_with_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let ran = Place::fresh().run(&["serve", "--listen", &address]);

    assert_eq!(ran.status, Some(1));
    assert!(
        ran.err.contains(&address) && ran.err.contains("--listen"),
        "{ran:?}"
    );
    assert!(ran.out.is_empty(), "{ran:?}");
}

#[test]
fn the_end_waits_for_answers_and_not_for_ever() {
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let mut server = place.serve();
    let head = format!("POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: ");
    let body = json!({ "username": USER, "password": PASSWORD }).to_string();
    let mut slow = connect(server.address).unwrap();
    let mut stuck = connect(server.address).unwrap();
    let mut idle = connect(server.address).unwrap();
    write!(slow, "{head}{}\r\n\r\n{}", body.len(), &body[..10]).unwrap();
    // A picture may take a minute, which is longer than the end waits.
    write!(
        stuck,
        "POST /api/auth/profile/avatar HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nx"
    )
    .unwrap();
    thread::sleep(Duration::from_millis(300));

    server.signal(Signal::TERM);
    let told = Instant::now();
    let (nothing, _) = read_to_close(&mut idle);
    assert!(
        nothing.is_empty() && told.elapsed() < Duration::from_secs(2),
        "idle ones end at once"
    );
    assert!(
        TcpStream::connect(server.address).is_err(),
        "nobody new is let in"
    );
    thread::sleep(Duration::from_millis(700));
    slow.write_all(&body.as_bytes()[10..]).unwrap();
    let (answer, _) = read_to_close(&mut slow);
    assert_eq!(status(&answer), 200, "{}", String::from_utf8_lossy(&answer));

    let ended = server.ended(Duration::from_secs(12));
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
    assert!(
        told.elapsed() <= Duration::from_secs(11),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(place.state()["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn without_work_the_end_comes_at_once_and_uses_are_written() {
    let mut state = protected();
    let token = add_session(&mut state);
    state["sessions"][0]["last_seen_at"] = "2026-01-01T00:00:00Z".into();
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::with_state(&state);
        let mut server = place.serve();
        assert!(server.knows(&token));

        server.signal(signal);

        let ended = server.ended(Duration::from_secs(3));
        assert_eq!(
            ended.and_then(|status| status.code()),
            Some(0),
            "{signal:?}"
        );
        assert_ne!(
            place.state()["sessions"][0]["last_seen_at"],
            "2026-01-01T00:00:00Z"
        );
    }
}

#[test]
fn a_hangup_reopens_the_audit_log_and_reads_the_settings_again() {
    let place = Place::with_state(&protected());
    let settings = place.config_dir().join("monitor.toml");
    let server = place.serve();
    let hides_host_name = || server.get("/api/system-info", None).json()["hostname"].is_null();
    server.login("wrong", None);
    assert!(!hides_host_name());

    let rotated = place.root().join("auth.log.1");
    fs::rename(place.auth_log(), &rotated).unwrap();
    put(&settings, "system_info = \"status\"\ncolour = \"green\"\n");
    server.signal(Signal::HUP);
    assert!(within(EDIT_PATIENCE, hides_host_name));
    assert!(server.says("unknown setting `colour`"), "{}", server.said());
    server.login("wrong", None);
    let lines = |path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((lines(rotated), lines(place.auth_log())), (1, 1));

    put(
        &settings,
        "system_info = \"full\"\nidle_minutes = \"soon\"\n",
    );
    server.signal(Signal::HUP);
    assert!(
        server.says("the settings stay as they were"),
        "{}",
        server.said()
    );
    assert!(hides_host_name(), "a bad file changes nothing");
    put(&settings, "system_info = \"full\"\n");
    server.signal(Signal::HUP);
    assert!(within(EDIT_PATIENCE, || !hides_host_name()));
}

#[test]
fn slow_heads_and_bodies_are_cut_and_others_are_served_meanwhile() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let head = "GET /api/auth/status HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let login = format!("POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{JSON}");
    let dripping = |start: String, drip: &'static [u8]| {
        let mut stream = connect(server.address).unwrap();
        let mut reader = stream.try_clone().unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        thread::spawn(move || {
            let begun = Instant::now();
            let drips = thread::spawn(move || {
                while begun.elapsed() < Duration::from_secs(36) && stream.write_all(drip).is_ok() {
                    thread::sleep(Duration::from_millis(500));
                }
            });
            let (bytes, took) = read_to_close(&mut reader);
            let _closed = reader.shutdown(std::net::Shutdown::Both);
            drips.join().unwrap();
            (bytes, took)
        })
    };
    let slow_head = dripping(head.to_owned(), b"x");
    let slow_body = dripping(format!("{login}Content-Length: 1000\r\n\r\n{{"), b" ");
    let slow_chunks = dripping(
        format!("{login}Transfer-Encoding: chunked\r\n\r\n"),
        b"1\r\n \r\n",
    );
    let silent = dripping(String::new(), b"");

    for _ in 0..8 {
        let begun = Instant::now();
        assert_eq!(server.get("/api/auth/status", None).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(2));
        thread::sleep(Duration::from_millis(200));
    }

    for (what, slow, seconds) in [
        ("a body", slow_body, 8..=14),
        ("chunks", slow_chunks, 8..=14),
        ("a head", slow_head, 28..=34),
        ("silence", silent, 28..=34),
    ] {
        let (bytes, took) = slow.join().unwrap();
        assert!(seconds.contains(&took.as_secs()), "{what}: {took:?}");
        assert!(
            matches!(status(&bytes), 0 | 408),
            "{what}: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_name() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let long = |length: usize| "a".repeat(length);
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let many = "X-Header: 1\r\n".repeat(200);

    let header = server.raw(get("/", &format!("X-Large: {}\r\n", long(70_000))));
    let headers = server.raw(get("/", &many));
    let url = server.raw(get(&format!("/{}", long(70_000)), ""));
    assert_eq!((status(&header), status(&headers)), (431, 431));
    assert!(matches!(status(&url), 414 | 431), "{}", status(&url));

    let chunk = format!("8000\r\n{}\r\n", long(0x8000));
    let chunked = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(3)
    );
    let announced =
        format!("POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 65537\r\n\r\n");
    for request in [chunked, announced] {
        let answer = Answer::parse(&server.raw(&request)).unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    }
    assert_eq!(server.get("/api/auth/status", None).status, 200);
}

#[test]
fn a_request_never_hides_in_another() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |more: &str, body: &str| {
        format!("POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{JSON}{more}\r\n{body}")
    };
    let refused = [
        post("Content-Length: 5\r\nContent-Length: 6\r\n", hidden),
        post("Content-Length: +5\r\n", hidden),
        post("Content-Length: 5, 6\r\n", hidden),
        post("Content-Length: -1\r\n", hidden),
        post("Content-Length: 99999999999999999999\r\n", hidden),
        post("Transfer-Encoding: identity\r\n", hidden),
        post("Transfer-Encoding: chunked, gzip\r\n", hidden),
        post("Transfer-Encoding: xchunked\r\n", hidden),
        post("Transfer-Encoding : chunked\r\n", hidden),
        post("X: y\r\n folded\r\n", hidden),
        post("X\0Y: 1\r\n", hidden),
        post("Transfer-Encoding: chunked\r\n", &format!("zz\r\n{hidden}")),
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("5\r\nabcdefgh\r\n{hidden}"),
        ),
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("ffffffffffffffffff\r\n{hidden}"),
        ),
        format!(
            "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
    ];
    for request in &refused {
        let bytes = server.raw(request);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(answers(&bytes), 1, "{request:?} {text}");
        assert!(matches!(status(&bytes), 400 | 408), "{request:?} {text}");
    }

    // Both lengths: chunked counts, and the connection ends, so that nothing follows (RFC 9112 §6.3).
    for both in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let bytes = server.raw(post(both, &format!("2\r\n{{}}\r\n0\r\n\r\n{hidden}")));
        assert_eq!(answers(&bytes), 1, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn garbage_gets_a_400_and_the_server_lives() {
    let place = Place::fresh();
    let mut server = place.serve();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\r\n\r\n\r\n{}[]\r\n\r\n",
    ] {
        let bytes = server.raw(garbage);
        let answered = status(&bytes);
        assert!(
            matches!(answered, 0 | 400 | 404),
            "{garbage:?}: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
    assert!(server.ended(Duration::ZERO).is_none());
    assert_eq!(server.get("/api/auth/status", None).status, 200);
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

#[test]
fn every_older_form_of_asking_is_answered() {
    let place = Place::fresh();
    let server = place.serve();

    let old = server.raw("GET /api/auth/status HTTP/1.0\r\n\r\n");
    assert_eq!(status(&old), 200);

    let two = "GET /api/auth/status HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /api/system-info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let pipelined = server.raw(format!("{two}{two}{last}"));
    assert_eq!(answers(&pipelined), 3);
    let text = String::from_utf8(pipelined).unwrap();
    let (first, second) = (text.find("password_policy"), text.find("uptime"));
    assert!(
        first.unwrap() < second.unwrap(),
        "in the order in which they were asked"
    );

    let expecting = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{JSON}Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let answer = server.raw(expecting);
    assert_eq!(status(&answer), 100, "{}", String::from_utf8_lossy(&answer));
    assert_eq!(answers(&answer), 2);
}

#[test]
fn head_is_get_without_a_body() {
    let place = Place::fresh();
    let server = place.serve();
    for path in ["/api/auth/status", "/api/system-info", "/", "/nothing-here"] {
        let request = |method: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        };
        let got = server.raw(request("GET"));
        let asked = server.raw(request("HEAD"));

        let text = String::from_utf8(asked.clone()).unwrap();
        assert_eq!(status(&got), status(&asked), "{path}");
        assert!(text.ends_with("\r\n\r\n"), "{path}: no body: {text}");
        let length = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).to_lowercase();
            let line = text.lines().find(|line| line.starts_with("content-length"));
            line.map(str::to_owned)
        };
        assert_eq!(length(&got).is_some(), length(&asked).is_some(), "{path}");
    }
}

#[test]
fn each_answer_has_a_name_of_its_own() {
    let place = Place::fresh();
    let server = place.serve();
    let id = |path: &str| {
        let answer = server.get(path, None);
        answer.header("x-request-id").unwrap().to_owned()
    };

    let ids = [
        id("/api/auth/status"),
        id("/api/system"),
        id("/"),
        id("/nothing-here"),
    ];

    let mut distinct = ids.to_vec();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    let claimed = server
        .raw("GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: forged\r\nConnection: close\r\n\r\n");
    assert!(!String::from_utf8_lossy(&claimed).contains("forged"));
}

#[test]
fn a_folder_is_served_and_followed() {
    let place = Place::fresh();
    let folder = place.root().join("page");
    fs::create_dir_all(folder.join("assets")).unwrap();
    put(&folder.join("index.html"), "<h1>first</h1>");
    put(&folder.join("assets/app-1.js"), "one");
    put(&place.root().join("secret.txt"), "s3cret");
    std::os::unix::fs::symlink("../secret.txt", folder.join("link.txt")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
    let server = place.serve_with(&["--ui-dir", folder.to_str().unwrap()]);
    let body = |path: &str| server.get(path, None).body;

    assert_eq!(body("/"), "<h1>first</h1>");
    assert_eq!(body("/assets/app-1.js"), "one");
    for path in [
        "/link.txt",
        "/up/secret.txt",
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%252e%252e%252fsecret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/./link.txt",
    ] {
        let bytes = server.raw(format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let text = String::from_utf8_lossy(&bytes);
        assert!(matches!(status(&bytes), 400 | 404), "{path}: {text}");
        assert!(!text.contains("s3cret"), "{path}: {text}");
    }

    put(&folder.join("index.html"), "<h1>second</h1>");
    put(&folder.join("assets/app-2.js"), "two");
    assert!(within(EDIT_PATIENCE, || body("/") == "<h1>second</h1>"));
    assert!(within(EDIT_PATIENCE, || body("/assets/app-2.js") == "two"));
    fs::remove_file(folder.join("assets/app-1.js")).unwrap();
    let is_gone = || server.get("/assets/app-1.js", None).status == 404;
    assert!(within(EDIT_PATIENCE, is_gone));
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let ran = Place::fresh().run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--ui-dir",
        "/nonexistent",
    ]);

    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("/nonexistent"), "{ran:?}");
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let place = Place::with_state(&json!({ "declined": true }));
    let server = place.serve_with(&["--log-format", "json"]);
    assert!(server.says("claim code"), "{}", server.said());
    server.get("/api/system", None);
    put(&place.auth_json(), "{");
    assert!(server.says("locked"));

    let said = server.said();
    for line in said.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    assert!(said.lines().count() >= 2);
}

#[test]
fn idle_connections_keep_nobody_out() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let idle = Vec::from_iter((0..200).map(|_| connect(server.address).unwrap()));

    let begun = Instant::now();
    server.sign_in();

    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(idle.len(), 200);
}

#[test]
fn a_server_without_descriptors_opens_nothing_and_recovers() {
    let mut state = protected();
    let token = add_session(&mut state);
    let place = Place::with_state(&state);
    let mut command = program("sh");
    command.args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_proxmenux-monitor"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(place.options());
    let mut server = Server::start(command);
    let crowd = Vec::from_iter((0..120).map(|_| connect(server.address).unwrap()));
    assert!(
        server.says("a connection was not accepted"),
        "{}",
        server.said()
    );

    // Those that were let in are still answered, and refused by the rules.
    let mut first = crowd[0].try_clone().unwrap();
    first
        .write_all(b"GET /api/system HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (answer, _) = read_to_close(&mut first);
    assert!(
        matches!(status(&answer), 401 | 500 | 503),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let mut second = crowd[1].try_clone().unwrap();
    let body = json!({ "display_name": "during" }).to_string();
    write!(second, "PUT /api/auth/profile HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{JSON}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let (answer, _) = read_to_close(&mut second);
    assert!(
        matches!(status(&answer), 200 | 500),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let changed = status(&answer) == 200;
    thread::sleep(Duration::from_millis(600));
    drop(crowd);

    assert!(
        within(EDIT_PATIENCE, || server.knows(&token)),
        "{}",
        server.said()
    );
    assert!(!server.is_locked());
    assert_eq!(place.state()["display_name"] == "during", changed);
    assert_eq!(server.rename(&token, "afterwards").status, 200);
    assert!(server.ended(Duration::ZERO).is_none());
}

#[test]
fn curl_gets_what_it_expects() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let url = |path: &str| format!("http://{}{path}", server.address);
    let mut curl = program("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--write-out",
        "\n%{http_code}",
    ]);
    curl.args(["--header", "Content-Type: application/json", "--data"]);
    curl.arg(json!({ "username": USER, "password": PASSWORD }).to_string());
    curl.arg(url("/api/auth/login"));

    let ran = finish(curl);

    let (body, status) = ran.out.rsplit_once('\n').unwrap();
    assert_eq!(status, "200", "{ran:?}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(server.knows(body["token"].as_str().unwrap()));
}
