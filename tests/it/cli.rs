//! The commands as an operator meets them: help, data, exit status, and errors that say what to do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::binary::{
    EDIT_PATIENCE, PASSWORD, Place, Ran, Server, USER, add_api_token, add_session, bare, finish,
    mode, names, program, protected, put, set_mode, sha256, totp, with_second_factor, within,
};

/// Every command that there is.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["auth"],
    &["auth", "status"],
    &["auth", "enable"],
    &["auth", "disable"],
    &["reset-password"],
    &["totp"],
    &["totp", "disable"],
    &["token"],
    &["token", "create"],
    &["token", "list"],
    &["token", "revoke"],
    &["session"],
    &["session", "list"],
    &["session", "end"],
    &["ban"],
    &["ban", "list"],
    &["ban", "lift"],
    &["claim-code"],
    &["restore"],
    &["import"],
    &["openapi"],
    &["completions"],
];

#[test]
fn each_command_has_its_help() {
    let place = Place::fresh();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/help");
    for command in COMMANDS {
        let mut asked = bare(place.root());
        asked.args(*command).arg("--help").env("COLUMNS", "100");

        let ran = finish(asked);

        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(ran.err.is_empty(), "{ran:?}");
        let name = ["monitor"].iter().chain(*command).copied();
        let name = Vec::from_iter(name).join("-");
        insta::with_settings!({
            snapshot_path => &folder,
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, ran.out);
        });
    }
    assert!(names(place.root()).is_empty(), "help touches nothing");
}

#[test]
fn the_help_names_every_command_and_the_version_is_told() {
    let place = Place::fresh();
    let help = place.run(&["--help"]).out;
    for command in COMMANDS.iter().filter_map(|command| command.first()) {
        assert!(
            help.contains(&format!("\n  {command}")),
            "{command}: {help}"
        );
    }

    let mut asked = bare(place.root());
    asked.arg("--version");

    let version = finish(asked).out;
    assert_eq!(
        version,
        format!("proxmenux-monitor {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_usage_is_status_2_and_touches_nothing() {
    let place = Place::fresh();
    for arguments in [
        &["nonsense"][..],
        &["auth"],
        &["auth", "nonsense"],
        &["session", "end"],
        &["session", "end", "x", "--all"],
        &["ban", "lift"],
        &["ban", "lift", "192.0.2.1", "--all"],
        &["restore", "--json"],
        &["import"],
        &["completions", "powershell"],
        &["serve", "--listen", "8008"],
        &["serve", "--log-format", "xml"],
        &["openapi", "--nonsense"],
        &["reset-password", "now"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.status, Some(2), "{arguments:?} {ran:?}");
        assert!(ran.out.is_empty(), "{arguments:?} {ran:?}");
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
    assert!(names(place.root()).is_empty(), "nothing was made");
}

#[test]
fn global_options_are_taken_before_and_after_any_command() {
    let place = Place::with_state(&protected());
    let json = |mut command: Command| finish(command.arg("--json").take());
    for words in [
        &["auth", "status"][..],
        &["session", "list"],
        &["ban", "list"],
    ] {
        let mut before = bare(place.root());
        before.args(place.options()).args(words);
        let mut between = bare(place.root());
        between.arg(words[0]).args(place.options()).arg(words[1]);

        let after = json(place.command(words));

        assert_eq!(after.status, Some(0), "{words:?} {after:?}");
        for other in [json(before), json(between)] {
            assert_eq!(
                (other.status, other.json()),
                (Some(0), after.json()),
                "{words:?}"
            );
        }
    }
    let settings = place.root().join("other.toml");
    put(&settings, "idle_minutes = \"soon\"");
    let ran = place.run(&["auth", "status", "--config", settings.to_str().unwrap()]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.err.contains("other.toml") && ran.err.contains("line 1"),
        "{ran:?}"
    );
}

/// Hands a command on after an argument was added to it.
trait Take {
    fn take(&mut self) -> Command;
}

impl Take for Command {
    fn take(&mut self) -> Command {
        std::mem::replace(self, program("true"))
    }
}

#[test]
fn the_environment_names_places_and_an_option_wins() {
    let (place, other) = (Place::with_state(&protected()), Place::fresh());
    let from_environment = || {
        let mut command = bare(other.root());
        command
            .env("PROXMENUX_CONFIG_DIR", place.config_dir())
            .env("PROXMENUX_DATA_DIR", place.data_dir())
            .env("PROXMENUX_AUTH_LOG", place.auth_log())
            .env("PROXMENUX_SSL_CONFIG", place.root().join("ssl.json"));
        command
    };
    let mut asked = from_environment();
    asked.args(["auth", "status", "--json"]);
    let mut overruled = from_environment();
    overruled
        .args(["auth", "status", "--json"])
        .args(other.options());
    let mut listening = from_environment();
    listening.args(["serve", "--listen", "127.0.0.1:0"]);

    assert_eq!(finish(asked).json()["username"], USER);
    assert_eq!(finish(overruled).json()["state"], "not_configured");
    let server = Server::start(listening);
    server.login("wrong", None);
    assert!(
        fs::read_to_string(place.auth_log())
            .unwrap()
            .contains("authentication failure")
    );
    assert!(names(&place.data_dir()).is_empty() || mode(&place.data_dir()) == 0o700);
}

#[test]
fn trusted_proxies_and_settings_come_from_the_environment() {
    let afar = "GET /api/system HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.168.1.9\r\nConnection: close\r\n\r\n";
    let open = json!({ "declined": true });
    let status = |server: &Server| {
        let answer = String::from_utf8(server.raw(afar)).unwrap();
        answer[9..12].to_owned()
    };
    let place = Place::with_state(&open);
    assert_eq!(
        status(&place.serve()),
        "200",
        "loopback is a proxy that is believed"
    );

    let mut other = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    other.env("PROXMENUX_TRUSTED_PROXIES", "192.0.2.0/24");
    assert_eq!(
        status(&Server::start(other)),
        "403",
        "the list replaces the default"
    );
    assert_eq!(
        status(&place.serve_with(&["--trusted-proxy", "192.0.2.0/24"])),
        "403"
    );

    let mut old = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    old.env("PROXMENUX_TRUST_PROXY", "1");
    let old = Server::start(old);
    assert!(old.says("PROXMENUX_TRUST_PROXY=1"), "{}", old.said());
    assert_eq!(status(&old), "200");

    let all = place.run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--trusted-proxy",
        "0.0.0.0/0",
    ]);
    assert_eq!(all.status, Some(2), "match-all is wrong usage: {all:?}");
    let mut everybody = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    everybody.env("PROXMENUX_TRUSTED_PROXIES", "::/0");
    let everybody = finish(everybody);
    assert_eq!(everybody.status, Some(1), "{everybody:?}");
    assert!(everybody.err.contains("trusted proxies"), "{everybody:?}");
    let settings = place.root().join("other.toml");
    put(&settings, "trusted_proxies = [\"192.0.2.0/24\"]\n");
    let mut named = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    named.env("PROXMENUX_CONFIG", &settings);
    assert_eq!(status(&Server::start(named)), "403");
}

#[test]
fn auth_status_tells_each_state() {
    let mut owned = with_second_factor(&["ABCD-2345", "EFGH-6789"]);
    add_session(&mut owned);
    add_api_token(&mut owned, "homepage", None);
    owned["revoked_tokens"] = json!([sha256("gone")]);
    let place = Place::with_state(&owned);

    let status = place.run(&["auth", "status", "--json"]).json();

    assert_eq!(
        status,
        json!({
            "state": "protected",
            "username": USER,
            "two_factor": true,
            "backup_codes_left": 2,
            "sessions": 1,
            "api_tokens": 1,
            "revoked_tokens": 1,
            "file": place.auth_json(),
        })
    );
    let text = place.run(&["auth", "status"]).out;
    assert!(text.starts_with("Protected by a password.\n"), "{text}");
    assert!(text.contains("on, 2 backup codes left"), "{text}");
    assert!(
        !text.contains(PASSWORD) && !text.contains("pbkdf2"),
        "{text}"
    );

    let state = |place: &Place| place.run(&["auth", "status", "--json"]).json()["state"].clone();
    assert_eq!(state(&Place::fresh()), "not_configured");
    assert_eq!(
        state(&Place::with_state(&json!({ "declined": true }))),
        "open"
    );
}

#[test]
fn auth_enable_takes_the_decline_back_from_a_running_server() {
    let place = Place::with_state(&json!({ "declined": true, "configured": true }));
    let server = place.serve();
    assert_eq!(server.get("/api/system", None).status, 200);

    let ran = place.run(&["auth", "enable"]);

    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(within(EDIT_PATIENCE, || server
        .get("/api/system", None)
        .status
        == 401));
    let again = place.run(&["auth", "enable"]);
    assert_eq!(again.status, Some(1));
    assert!(again.err.contains("declined"), "{again:?}");
}

#[test]
fn auth_disable_ends_protection_and_keeps_tokens() {
    let mut state = protected();
    let token = add_session(&mut state);
    let api_token = add_api_token(&mut state, "homepage", None);
    let place = Place::with_state(&state);
    let server = place.serve();
    assert!(server.knows(&token));

    let unasked = place.run(&["auth", "disable"]);
    assert_eq!(unasked.status, Some(2));
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    assert!(server.knows(&token));
    let ran = place.run(&["auth", "disable", "--yes"]);

    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(within(EDIT_PATIENCE, || !server.knows(&token)));
    assert_eq!(server.status(None)["configured"], false);
    assert_eq!(
        server.get("/api/auth/profile", Some(&api_token)).status,
        200
    );
    assert_eq!(place.run(&["auth", "disable", "--yes"]).status, Some(1));
}

#[test]
fn reset_password_asks_first_and_says_what_goes() {
    let mut state = protected();
    add_session(&mut state);
    let place = Place::with_state(&state);
    let before = place.state_text();

    let unasked = place.run(&["reset-password"]);
    assert_eq!(unasked.status, Some(2));
    assert!(
        unasked.err.contains("--yes") && unasked.err.contains(USER),
        "{unasked:?}"
    );
    assert_eq!(place.state_text(), before);
    let ran = place.run(&["reset-password", "--yes"]);

    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.out.contains("1 session ended"), "{ran:?}");
    let aside = names(&place.config_dir());
    let aside = aside.iter().find(|name| name.starts_with("auth.json.bak-"));
    let aside = fs::read_to_string(place.config_dir().join(aside.unwrap())).unwrap();
    assert_eq!(aside, before, "a copy of what was there");
    assert_eq!(place.state()["enabled"], false);
}

#[test]
fn sessions_are_listed_and_ended() {
    let mut state = protected();
    let tokens = [
        add_session(&mut state),
        add_session(&mut state),
        add_session(&mut state),
    ];
    let place = Place::with_state(&state);
    let server = place.serve();
    let list = || place.run(&["session", "list", "--json"]).json();
    let id = |index: usize| list()[index]["id"].as_str().unwrap().to_owned();
    assert_eq!(list().as_array().unwrap().len(), 3);
    assert_eq!(list()[0]["address"], "192.0.2.9");
    assert_eq!(list()[0]["factors"], json!(["pwd"]));
    let table = place.run(&["session", "list"]).out;
    assert!(table.starts_with("ID") && table.contains(&id(0)), "{table}");

    let first = id(0);
    assert_eq!(place.run(&["session", "end", &first]).status, Some(0));
    assert!(within(EDIT_PATIENCE, || !server.knows(&tokens[0])));
    assert!(server.knows(&tokens[1]));
    let again = place.run(&["session", "end", &first]);
    assert_eq!(again.status, Some(1));
    assert!(again.err.contains("session list"), "{again:?}");
    assert_eq!(place.run(&["session", "end", "--all"]).status, Some(0));

    assert!(within(EDIT_PATIENCE, || !server.knows(&tokens[2])));
    assert_eq!(list(), json!([]));
    assert_eq!(
        place.run(&["session", "list"]).out,
        "Nobody is signed in.\n"
    );
    let log = fs::read_to_string(place.auth_log()).unwrap();
    assert_eq!(log.matches("session ended").count(), 3, "{log}");
}

#[test]
fn a_lost_phone_is_forgotten_by_a_running_server() {
    let place = Place::with_state(&with_second_factor(&["ABCD-2345"]));
    let server = place.serve();
    let token = server.login(PASSWORD, Some(&totp(0))).json()["token"].clone();
    let token = token.as_str().unwrap();
    assert!(server.knows(token));

    let asked = place.run(&["totp", "disable"]);
    assert_eq!(
        asked.status,
        Some(2),
        "nobody is there to answer: {asked:?}"
    );
    let ran = place.run(&["totp", "disable", "--yes"]);

    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.out.contains("1 session ended"), "{ran:?}");
    assert!(within(EDIT_PATIENCE, || !server.knows(token)));
    assert_eq!(server.login(PASSWORD, None).status, 200);
    let state = place.state();
    assert_eq!(state["totp_enabled"], false);
    assert_eq!(state["totp_secret"], Value::Null);
    assert_eq!(state["backup_codes"], json!([]));
    let log = fs::read_to_string(place.auth_log()).unwrap();
    assert!(
        log.contains("two-factor disabled; user=root ended=1"),
        "{log}"
    );
    let again = place.run(&["totp", "disable", "--yes"]);
    assert_eq!(again.status, Some(1));
    assert!(again.err.contains("off already"), "{again:?}");
}

#[test]
fn a_hand_edit_turns_two_factor_off_in_a_running_server() {
    let place = Place::with_state(&with_second_factor(&[]));
    let server = place.serve();
    let token = server.login(PASSWORD, Some(&totp(0))).json()["token"].clone();
    let token = token.as_str().unwrap().to_owned();

    place.edit(|state| state["totp_enabled"] = json!(false));

    assert!(
        within(EDIT_PATIENCE, || !server.knows(&token)),
        "its session ends"
    );
    assert_eq!(server.login(PASSWORD, None).status, 200);
}

#[test]
fn tokens_are_made_listed_and_revoked_on_the_host() {
    let place = Place::with_state(&protected());
    let server = place.serve();

    let made = place.run(&[
        "token",
        "create",
        "sensor",
        "--scope",
        "metrics",
        "--expires",
        "90d",
        "--json",
    ]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let made = made.json();
    let token = made["token"].as_str().unwrap();
    let id = made["id"].as_str().unwrap();
    let works = |token: &str| server.get("/api/prometheus", Some(token)).status == 200;
    assert!(within(EDIT_PATIENCE, || works(token)));
    assert_eq!(server.get("/api/system", Some(token)).status, 403);

    let revoked = place.run(&["token", "revoke", id]);
    assert_eq!(revoked.status, Some(0), "{revoked:?}");
    assert!(within(EDIT_PATIENCE, || !works(token)));
    let unknown = place.run(&["token", "revoke", "ffff"]);
    assert_eq!(unknown.status, Some(1));
    assert!(unknown.err.contains("token list"), "{unknown:?}");
    place.run(&["token", "create", "other"]);
    let all = place.run(&["token", "revoke", "--all", "--yes"]);
    assert!(all.out.contains("1 token revoked"), "{all:?}");
    let log = fs::read_to_string(place.auth_log()).unwrap();
    assert!(
        log.contains(&format!(
            "token created; user=root token={id} scope=metrics"
        )),
        "{log}"
    );
    assert!(
        log.contains(&format!("token revoked; user=root token={id}")),
        "{log}"
    );
}

#[test]
fn a_token_is_printed_alone_and_listed_without_itself() {
    let place = Place::with_state(&protected());
    place.run(&["token", "create", "sensor", "--scope", "metrics"]);

    let plain = place.run(&[
        "token",
        "create",
        "other",
        "--allow",
        "192.0.2.0/24",
        "--allow",
        "2001:db8::1",
    ]);
    assert_eq!(
        plain.out.trim().split('.').count(),
        3,
        "the token alone: {plain:?}"
    );
    assert!(plain.err.contains("token revoke"), "{plain:?}");
    let listed = place.run(&["token", "list", "--json"]).json();
    assert_eq!(listed[0]["name"], "sensor");
    assert_eq!(listed[0]["valid"], true);
    assert_eq!(
        listed[1]["allowed_networks"],
        json!(["192.0.2.0/24", "2001:db8::1/128"])
    );
    let table = place.run(&["token", "list"]).out;
    assert!(
        table.contains("sensor") && table.contains("metrics") && table.contains("active"),
        "{table}"
    );
}

#[test]
fn a_token_that_cannot_be_is_wrong_usage() {
    let place = Place::with_state(&protected());
    for wrong in [
        &["token", "create", "x", "--scope", "root"][..],
        &["token", "create", "x", "--expires", "366d"],
        &["token", "create", "x", "--allow", "nonsense"],
        &["token", "create", "x", "--terminal"],
        &["token", "create", "two\nlines"],
        &["token", "revoke"],
    ] {
        let ran = place.run(wrong);
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn bans_are_listed_and_lifted_while_the_server_runs() {
    let place = Place::with_state(&protected());
    let server = place.serve();
    let attempt = |password: &str| {
        let body = json!({ "username": USER, "password": password }).to_string();
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        String::from_utf8(server.raw(request)).unwrap()[9..12].to_owned()
    };
    assert_eq!(place.run(&["ban", "list"]).out, "Nobody is kept out.\n");
    for _ in 0..5 {
        assert_eq!(attempt("wrong"), "401");
    }
    assert_eq!(attempt(PASSWORD), "429");

    let listed = place.run(&["ban", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let table = place.run(&["ban", "list"]).out;
    assert!(table.contains("203.0.113.7"), "{table}");
    let other = place.run(&["ban", "lift", "198.51.100.1"]);
    assert_eq!(other.status, Some(1));
    assert!(other.err.contains("ban list"), "{other:?}");
    assert_eq!(place.run(&["ban", "lift", "203.0.113.7"]).status, Some(0));

    assert_eq!(attempt(PASSWORD), "200");
    assert_eq!(place.run(&["ban", "list", "--json"]).json(), json!([]));
    let log = fs::read_to_string(place.auth_log()).unwrap();
    assert!(log.contains("penalty lifted from the host"), "{log}");
}

#[test]
fn the_claim_code_is_for_hosts_without_a_password() {
    let fresh = Place::fresh();
    let none_yet = fresh.run(&["claim-code"]);
    assert_eq!(none_yet.status, Some(1));
    assert!(none_yet.err.contains("when it starts"), "{none_yet:?}");
    let _server = fresh.serve();
    let code = fresh.run(&["claim-code", "--json"]).json();
    assert_eq!(code["claim_code"], fresh.run(&["claim-code"]).out.trim());

    let owned = Place::with_state(&protected()).run(&["claim-code"]);

    assert_eq!(owned.status, Some(1));
    assert!(owned.err.contains("reset-password"), "{owned:?}");
}

#[test]
fn commands_on_a_damaged_state_change_nothing_and_name_the_place() {
    let place = Place::with_state(&protected());
    put(&place.auth_json(), "{\n\"enabled\": tr");
    for arguments in [
        &["auth", "status"][..],
        &["auth", "enable"],
        &["auth", "disable", "--yes"],
        &["reset-password", "--yes"],
        &["session", "list"],
        &["session", "end", "--all"],
        &["claim-code"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.status, Some(1), "{arguments:?} {ran:?}");
        assert!(ran.err.contains("auth.json"), "{arguments:?} {ran:?}");
        assert_eq!(place.state_text(), "{\n\"enabled\": tr", "{arguments:?}");
    }
    assert!(
        !names(&place.config_dir())
            .iter()
            .any(|name| name.contains(".bak"))
    );
}

#[test]
fn openapi_is_a_document_of_all_that_is_served() {
    let place = Place::fresh();

    let ran = place.run(&["openapi"]);

    assert_eq!(ran.status, Some(0), "{ran:?}");
    let document = ran.json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3."),
        "{document}"
    );
    assert!(document["paths"]["/api/auth/login"]["post"].is_object());
    assert!(names(place.root()).is_empty(), "it needs no state");
    let mut state = protected();
    let token = add_api_token(&mut state, "reader", Some("metrics"));
    let server = Place::with_state(&state).serve();
    let answer = server.get("/api/openapi.json", Some(&token));
    assert_eq!(answer.json(), document);
}

#[test]
fn completions_are_scripts_that_their_shells_take() {
    let place = Place::fresh();
    let script = |shell: &str| {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        ran.out
    };
    let bash = place.root().join("completions.bash");
    put(&bash, script("bash"));
    let mut check = program("bash");
    let complete = "source \"$0\" && words=$(complete -p proxmenux-monitor) && words=${words#*-F } && COMP_WORDS=(proxmenux-monitor res) COMP_CWORD=1 && ${words%% *} proxmenux-monitor res proxmenux-monitor && printf '%s\\n' \"${COMPREPLY[@]}\"";
    check.args(["-c", complete]).arg(&bash);

    let ran = finish(check);

    assert_eq!(ran.out, "reset-password\nrestore\n", "{ran:?}");
    assert!(script("zsh").starts_with("#compdef proxmenux-monitor"));
    assert!(script("fish").contains("complete -c proxmenux-monitor"));
}

/// Runs the binary as somebody who is not root; none where nobody can be impersonated.
fn as_nobody(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Command> {
    let mut can = program("setpriv");
    can.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "true",
    ]);
    if !rustix::process::geteuid().is_root() || finish(can).status != Some(0) {
        return None;
    }
    // Nobody may read the folder of the build, so the binary lies in one that they may.
    let copy = place.root().join("proxmenux-monitor");
    if !copy.exists() {
        fs::copy(env!("CARGO_BIN_EXE_proxmenux-monitor"), &copy).unwrap();
        set_mode(&copy, 0o755);
        set_mode(place.root(), 0o777);
    }
    let mut command = program("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(copy).args(arguments).current_dir(place.root());
    command.env_clear().env("HOME", place.root().join("home"));
    command.envs(environment.iter().copied());
    Some(command)
}

#[test]
fn who_is_not_root_uses_their_own_folders_and_is_told() {
    let place = Place::fresh();
    let state_home = place.root().join("state-home").display().to_string();
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let environment = [("XDG_STATE_HOME", state_home.as_str())];
    let Some(named) = as_nobody(&place, &arguments, &environment) else {
        eprintln!("skipped: this process may not become somebody else");
        return;
    };
    let server = Server::start(named);
    let own = place.root().join("state-home/proxmenux-monitor");
    assert!(
        server.says(&format!(
            "not root: what would be under /var and /etc is in {}",
            own.display()
        )),
        "{}",
        server.said()
    );
    let set_up = json!({ "username": USER, "password": PASSWORD });
    assert_eq!(server.post("/api/auth/setup", None, &set_up).status, 200);
    assert!(
        place
            .root()
            .join("home/.config/proxmenux-monitor/auth.json")
            .exists()
    );
    assert!(own.join("proxmenux-auth.log").exists());
    drop(server);

    let status = as_nobody(&place, &["auth", "status", "--json"], &environment).unwrap();
    assert_eq!(finish(status).json()["username"], USER);
    let default = as_nobody(&place, &arguments, &[]).unwrap();
    let server = Server::start(default);
    let own = place.root().join("home/.local/state/proxmenux-monitor");
    assert!(server.says(&own.display().to_string()), "{}", server.said());
    server.login("wrong", None);
    assert!(own.join("proxmenux-auth.log").exists());
}

#[test]
fn a_state_that_may_not_be_read_is_locked_and_not_fresh() {
    let place = Place::with_state(&protected());
    let folder = place.config_dir().display().to_string();
    let data = place.root().join("data-of-nobody").display().to_string();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config-dir",
        &folder,
        "--data-dir",
        &data,
    ];
    let Some(command) = as_nobody(&place, &arguments, &[]) else {
        eprintln!("skipped: this process may not become somebody else");
        return;
    };
    let chown = finish_chown(&folder);
    assert_eq!(chown.status, Some(0), "{chown:?}");
    set_mode(&place.auth_json(), 0o600);

    let server = Server::start(command);

    assert!(server.is_locked(), "root's file in a folder of their own");
    assert_eq!(server.login(PASSWORD, None).status, 503);
    let setup = server.post(
        "/api/auth/setup",
        None,
        &json!({ "username": "x", "password": PASSWORD }),
    );
    assert_eq!(setup.status, 503);
}

fn finish_chown(folder: &str) -> Ran {
    let mut chown = program("chown");
    chown.args(["65534", folder]);
    finish(chown)
}

#[test]
fn without_a_home_the_way_out_is_named() {
    let place = Place::fresh();
    let mut command = bare(place.root());
    command.env_remove("HOME").args(["auth", "status"]);

    let ran = finish(command);

    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("--config-dir"), "{ran:?}");
}

#[test]
fn output_for_programs_is_json_alone() {
    let mut state = protected();
    add_session(&mut state);
    let place = Place::with_state(&state);
    set_mode(&place.auth_json(), 0o644);
    put(&place.config_dir().join("auth.json.bak"), "{}");
    for arguments in [
        &["auth", "status", "--json"][..],
        &["session", "list", "--json"],
        &["ban", "list", "--json"],
        &["restore", "--list", "--json"],
        &["openapi"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let parsed: Result<Value, _> = serde_json::from_str(&ran.out);
        assert!(parsed.is_ok(), "{arguments:?} {ran:?}");
    }
}
