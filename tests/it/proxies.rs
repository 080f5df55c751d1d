//! Proxies over HTTP: what the check shows, and whom to trust.

use serde_json::{Value, json};

use super::binary::put;
use super::harness::{Client, Fixture, TestServer};

/// The owner, who comes through a proxy at an address of its own.
fn behind(server: &TestServer) -> Client {
    let owner = server.owner().at("198.51.100.2");
    owner.with("x-forwarded-for", "192.0.2.77")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_was_seen_is_trusted_with_one_call_and_then_believed() {
    let server = Fixture::account().start();
    let before = behind(&server).get("/api/proxy/check").await;
    assert_eq!(before.status, 200, "{}", before.body);
    assert_eq!(before.body["address"], "198.51.100.2");
    assert_eq!(before.body["peer_trusted"], false);
    assert_eq!(before.body["suggestion"], "198.51.100.2/32");
    assert_eq!(before.body["chain"][0]["why"], "untrusted_peer");
    assert_eq!(before.body["trusted_from"], "default");
    assert_eq!(before.body["seen"][0]["address"], "198.51.100.2");
    let header = json!([{ "name": "x-forwarded-for", "value": "192.0.2.77", "believed": false }]);
    assert_eq!(before.body["headers"], header);

    let trusted = behind(&server)
        .post("/api/proxy/trust", json!({ "network": "198.51.100.2" }))
        .await;
    assert_eq!(trusted.status, 200, "{}", trusted.body);

    let after = behind(&server).get("/api/proxy/check").await;
    assert_eq!(after.body["address"], "192.0.2.77");
    assert_eq!(after.body["suggestion"], Value::Null);
    assert_eq!(
        after.body["chain"][1],
        json!({ "address": "192.0.2.77", "trusted": false, "why": "client" })
    );
    assert_eq!(after.body["trusted_from"], "settings");
    assert_eq!(after.body["seen"], json!([]));
    assert!(
        server.audit().last().unwrap().contains("proxy trusted"),
        "{:?}",
        server.audit()
    );

    let body = json!({ "network": "198.51.100.2/32" }).to_string();
    let removed = server
        .owner()
        .send(
            "DELETE",
            "/api/proxy/trust",
            super::harness::Sent::json(&body),
        )
        .await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    let again = server
        .owner()
        .send(
            "DELETE",
            "/api/proxy/trust",
            super::harness::Sent::json(&body),
        )
        .await;
    assert_eq!((again.status, again.code()), (404, "network_not_trusted"));
    assert_eq!(
        behind(&server).get("/api/proxy/check").await.body["address"],
        "198.51.100.2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn not_everybody_can_be_trusted() {
    let server = Fixture::account().start();
    for network in [
        "0.0.0.0/0",
        "::/0",
        "nowhere",
        "",
        "192.0.2.1, 192.0.2.2",
        "192.0.2.1/33",
    ] {
        let answer = server
            .owner()
            .post("/api/proxy/trust", json!({ "network": network }))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_network"),
            "{network}"
        );
        assert_eq!(answer.body["field"], "network");
    }
    // Two halves of the internet are the internet.
    assert_eq!(
        server
            .owner()
            .post("/api/proxy/trust", json!({ "network": "0.0.0.0/1" }))
            .await
            .status,
        200
    );
    let other_half = server
        .owner()
        .post("/api/proxy/trust", json!({ "network": "128.0.0.0/1" }))
        .await;
    assert_eq!(other_half.code(), "invalid_network");
    assert_eq!(
        server.owner().get("/api/proxy/check").await.body["trusted_proxies"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_made_for_the_place_that_is_asked_for() {
    let server = Fixture::account().start();
    let ask = async |query: &str| {
        server
            .owner()
            .get(&format!("/api/proxy/snippet?{query}"))
            .await
    };
    for kind in ["nginx", "caddy", "traefik"] {
        let answer = ask(&format!("kind={kind}&host=dash.example.net&path=/monitor")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let text = answer.body["snippet"].as_str().unwrap();
        for part in ["dash.example.net", "/monitor", "127.0.0.1:8008"] {
            assert!(text.contains(part), "{kind}: {part}: {text}");
        }
        assert!(!text.contains("{{"), "{kind}: {text}");
    }
    for (query, field) in [
        ("kind=apache&host=dash.example.net", "kind"),
        ("kind=nginx&host=a%3Bb", "host"),
        ("kind=nginx&host=dash.example.net&path=/a;b/", "path"),
        ("kind=nginx&host=dash.example.net&path=/../", "path"),
    ] {
        let answer = ask(query).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_by_hand_is_kept_and_a_damaged_file_is_left_alone() {
    let server = Fixture::account().start();
    let settings = server.file("monitor.toml");
    let owner = server.owner();
    let trust = || owner.post("/api/proxy/trust", json!({ "network": "198.51.100.2" }));
    put(
        &settings,
        "trusted_proxies = [\"192.0.2.9/32\"] # by hand\n",
    );

    assert_eq!(trust().await.status, 200);

    let text = std::fs::read_to_string(&settings).unwrap();
    assert_eq!(
        text,
        "trusted_proxies = [\"192.0.2.9/32\", \"198.51.100.2/32\"] # by hand\n"
    );
    put(&settings, "trusted_proxies = [");
    let refused = trust().await;
    assert_eq!(
        refused.verdict(),
        (409, "settings_damaged"),
        "{}",
        refused.body
    );
    assert_eq!(
        std::fs::read_to_string(&settings).unwrap(),
        "trusted_proxies = ["
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_does_is_written_down_by_its_name() {
    let server = Fixture::account().start();
    let network = json!({ "network": "198.51.100.2" });
    let program = server.token("full_admin");
    let trusted = program.post("/api/proxy/trust", network).await;
    assert_eq!(trusted.status, 200, "{}", trusted.body);
    assert_eq!(
        server.audited("proxy trusted; rhost=203.0.113.9 user=full_admin@api"),
        1
    );

    let guess = json!({ "username": "admin", "password": "wrong" });
    let guessed = program.post("/api/auth/login", guess).await;
    assert_eq!(guessed.status, 401, "{}", guessed.body);
    assert_eq!(
        server.audited("authentication failure; rhost=203.0.113.9 user=admin"),
        1
    );
}
