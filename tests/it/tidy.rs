//! The tree keeps its own rules: walls between rooms, a first line in every file, maps that are true.
//!
//! It searches for words, not syntax: crude, quick, and its message says where to look.

use std::fs;
use std::path::{Path, PathBuf};

/// What each room must not mention, in the order of the rooms.
const WALLS: &[(&str, &[&str])] = &[
    (
        "src/access",
        &[
            "crate::app",
            "crate::cli",
            "crate::clock",
            "crate::config",
            "crate::derivations",
            "crate::host",
            "crate::http",
            "crate::store",
            "crate::token_memory",
            "axum",
            "tokio",
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "Timestamp::now",
            "SystemTime",
            "Instant",
        ],
    ),
    (
        "src/store",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::derivations",
            "crate::host",
            "crate::http",
            "axum",
            "println!",
        ],
    ),
    (
        "src/host",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::derivations",
            "crate::http",
            "crate::store",
            "axum",
        ],
    ),
    (
        "src/http",
        &[
            "crate::cli",
            "std::fs",
            "std::process",
            "std::env",
            "tokio::fs",
            "PathBuf",
        ],
    ),
    ("src/cli", &["crate::store"]),
    (
        "src/enrolments.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::clock",
            "crate::http",
            "crate::store",
            "axum",
        ],
    ),
    ("src/app.rs", &["crate::cli", "crate::http", "axum"]),
    (
        "src/config.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::derivations",
            "crate::host",
            "crate::http",
            "crate::store",
            "tokio",
        ],
    ),
    ("src/clock.rs", &["crate::", "tokio", "axum"]),
    (
        "src/derivations.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::host",
            "crate::http",
            "crate::store",
            "axum",
        ],
    ),
    (
        "src/passkey_ceremonies.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::host",
            "crate::http",
            "crate::store",
            "axum",
            "tokio",
        ],
    ),
    (
        "src/terminals",
        &[
            "crate::app",
            "crate::cli",
            "crate::clock",
            "crate::config",
            "crate::http",
            "crate::store",
            "axum",
        ],
    ),
    (
        "src/token_memory.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::host",
            "crate::http",
            "crate::store",
            "axum",
            "tokio",
        ],
    ),
    (
        "src/proxies_seen.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::host",
            "crate::http",
            "crate::store",
            "axum",
            "tokio",
        ],
    ),
    (
        "src/acme",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::http",
            "axum",
        ],
    ),
    (
        "src/tls.rs",
        &[
            "crate::app",
            "crate::cli",
            "crate::config",
            "crate::http",
            "axum",
            "tokio",
            "std::fs",
        ],
    ),
    (
        "src/main.rs",
        &[
            "::app", "::access", "::config", "::host", "::http", "::store", "println!",
        ],
    ),
    ("src/lib.rs", &["fn ", "struct ", "use "]),
];

/// Files that are longer than a file should be, and why.
const LONG: &[(&str, &str)] = &[];

/// The greatest number of lines before the tests of a file.
const MAX_LINES: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a place, with their text, by their path in the tree.
fn texts(place: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(place)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(entries(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root()).unwrap();
            found.push((name.to_str().unwrap().to_owned(), text));
        }
    }
    found.sort();
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let skipped = [
        "target",
        "node_modules",
        "dist",
        ".git",
        "proptest-regressions",
    ];
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let kept = entries.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        !skipped.contains(&name)
    });
    kept.collect()
}

fn is_rust(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

/// The text before the tests of a file.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// The lines at which a word stands in code.
fn mentions<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let lines = code(text).lines().enumerate();
    let hits = lines.filter(move |(_, line)| !is_comment(line) && line.contains(word));
    hits.map(|(number, _)| number + 1)
}

#[test]
fn rooms_keep_to_their_walls() {
    let mut breaches = Vec::new();
    for (room, banned) in WALLS {
        let files = texts(room);
        assert!(!files.is_empty(), "{room} is not there");
        for (name, text) in files {
            for word in *banned {
                breaches
                    .extend(mentions(&text, word).map(|line| format!("{name}:{line}: `{word}`")));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn every_room_has_its_walls() {
    for (name, _) in texts("src") {
        let has_walls = WALLS.iter().any(|(room, _)| {
            name == *room
                || name
                    .strip_prefix(room)
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        assert!(has_walls, "{name} is in a room without walls");
    }
}

#[test]
fn only_one_file_prints() {
    for (name, text) in texts("src") {
        if name == "src/cli/ui.rs" {
            continue;
        }
        for word in ["println!", "print!(", "dbg!", "io::stdout", "io::stderr"] {
            let line = mentions(&text, word).next();
            assert_eq!(
                line, None,
                "{name}: `{word}`: printing is for src/cli/ui.rs"
            );
        }
    }
}

#[test]
fn only_two_files_run_programs_and_one_reads_the_environment() {
    for (name, text) in texts("src") {
        let runs = mentions(&text, "Command::new").next();
        assert!(
            runs.is_none() || name == "src/host/command.rs" || name == "src/host/pty.rs",
            "{name}:{runs:?}"
        );
        let reads = mentions(&text, "env::var").next();
        assert!(
            reads.is_none() || name == "src/config.rs",
            "{name}:{reads:?}"
        );
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let files = [texts("src"), texts("tests"), texts("build.rs")].concat();
    for (name, text) in files.iter().filter(|(name, _)| is_rust(name)) {
        let first = text.lines().next().unwrap_or_default();
        let purpose = first.strip_prefix("//! ").unwrap_or_default();
        assert!(purpose.len() > 10, "{name}: {first:?}");
    }
}

#[test]
fn every_file_of_tests_is_in_the_one_binary() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for (name, _) in texts("tests/it").iter().filter(|(name, _)| is_rust(name)) {
        let module = Path::new(name).file_stem().unwrap().to_str().unwrap();
        let is_nested = name.matches('/').count() > 2;
        let is_named = main.contains(&format!("mod {module};\n"));
        assert!(
            is_named || module == "main" || is_nested,
            "{name} is never run"
        );
    }
}

#[test]
fn what_is_left_to_do_has_a_number() {
    let files = [
        texts("src"),
        texts("tests"),
        texts("docs"),
        texts("packaging"),
        texts("scripts"),
        texts("web/src"),
    ];
    let words = ["TODO", "FIXME", "XXX"];
    for (name, text) in files
        .concat()
        .iter()
        .filter(|(name, _)| name != "tests/it/tidy.rs")
    {
        for (number, line) in text.lines().enumerate() {
            let is_open = words.iter().any(|word| {
                line.match_indices(word).any(|(at, _)| {
                    let after = &line[at + word.len()..];
                    let before = line[..at].chars().next_back();
                    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
                    !before.is_some_and(is_word)
                        && !after.starts_with(is_word)
                        && !after.starts_with(" #")
                        && !after.starts_with("(#")
                })
            });
            assert!(!is_open, "{name}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for (name, text) in texts("src").iter().filter(|(name, _)| is_rust(name)) {
        let lines = code(text).lines().count();
        let is_known = LONG.iter().any(|(long, _why)| long == name);
        assert!(
            lines <= MAX_LINES || is_known,
            "{name} has {lines} lines before its tests"
        );
        assert!(
            lines > MAX_LINES || !is_known,
            "{name} is short now: take it from the list"
        );
    }
}

#[test]
fn names_say_something() {
    for (name, _) in texts("src").iter().chain(&texts("tests")) {
        let stem = Path::new(name).file_stem().unwrap().to_str().unwrap();
        for empty in [
            "util", "utils", "helper", "helpers", "common", "types", "manager", "service",
            "handler", "misc",
        ] {
            assert_ne!(stem, empty, "{name}");
        }
        assert!(
            !name
                .split('/')
                .any(|part| part == "utils" || part == "helpers"),
            "{name}"
        );
    }
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Whether a quoted word claims to be a path of this tree.
fn is_path_claim(word: &str) -> bool {
    const PLACES: [&str; 8] = [
        "src/",
        "tests/",
        "docs/",
        "packaging/",
        "scripts/",
        "web/",
        "data/",
        ".ci/",
    ];
    let is_plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    is_plain && PLACES.iter().any(|place| word.starts_with(place))
}

/// What is built and so need not be there.
fn is_built(word: &str) -> bool {
    word.starts_with("web/dist") || word.starts_with("web/node_modules")
}

#[test]
fn documents_name_only_what_is_there() {
    let documents = [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "README.md",
        "SECURITY.md",
        "docs",
    ];
    let mut claims = 0;
    for (name, text) in documents.iter().flat_map(|place| texts(place)) {
        for word in quoted(&text).filter(|word| is_path_claim(word) && !is_built(word)) {
            claims += 1;
            assert!(root().join(word).exists(), "{name}: `{word}` is not there");
        }
        let folder = root().join(Path::new(&name).parent().unwrap());
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#', ' ']).next())
        {
            let is_elsewhere =
                link.is_empty() || link.contains("://") || link.starts_with("mailto:");
            assert!(
                is_elsewhere || folder.join(link).exists(),
                "{name}: ({link}) leads nowhere"
            );
        }
    }
    assert!(claims > 15, "{claims} claims were checked");
}

#[test]
fn the_map_names_every_room() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let crate_root = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for path in entries(&root().join("src")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let room = name.trim_end_matches(".rs");
        if matches!(name, "lib.rs" | "main.rs") {
            continue;
        }
        let slash = if path.is_dir() { "/" } else { "" };
        assert!(
            map.contains(&format!("`src/{name}{slash}`")),
            "{name} is not on the map"
        );
        assert!(crate_root.contains(&format!("pub mod {room};")), "{name}");
    }
}

#[test]
fn no_place_of_one_machine_is_in_the_tree() {
    let ours = ["/wo", "/ro", "/ho", "/tm"];
    let rests = ["rk/", "ot/.cargo", "me/", "p/brief"];
    let words = Vec::from_iter(
        ours.iter()
            .zip(rests)
            .map(|(ours, rest)| format!("{ours}{rest}")),
    );
    let files = [
        "src",
        "tests",
        "docs",
        "packaging",
        "scripts",
        "web",
        ".ci",
        "Makefile",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "build.rs",
    ];
    for (name, text) in files.iter().flat_map(|place| texts(place)) {
        let is_lock = name.ends_with("package-lock.json");
        for (number, line) in text.lines().enumerate().filter(|_| !is_lock) {
            for word in &words {
                assert!(
                    !line.contains(word.as_str()),
                    "{name}:{}: `{word}`",
                    number + 1
                );
            }
        }
    }
}
