//! Diagnostics of configuration files with mistakes: each
//! `tests/config/errors/*.yaml` beside the text that is printed for it.
//!
//! After a change of wording, `BLESS=1 cargo test --test config_errors` writes
//! the texts anew; read them before you commit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use bridgehead::config;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/errors")
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PUSH_TOKEN" => Some("hunter2-s3cret".to_owned()),
        "LISTEN" => Some("localhost:8080".to_owned()),
        "TIMEOUT" => Some("5 parsecs".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// The output for a file in the folder.
fn printed(name: &str) -> String {
    let bytes = fs::read(folder().join(name)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (_, diagnostics) = config::parse_tolerant(name, &text, &folder(), &environment);
    let lines: Vec<String> = diagnostics.lines().collect();
    format!("{diagnostics}\n{}\n", lines.join("\n"))
}

#[test]
fn every_file_is_explained_as_agreed() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "yaml"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut differences = Vec::new();
    for name in names {
        let printed = printed(&name);
        let path = folder().join(&name).with_extension("txt");
        if env::var_os("BLESS").is_some() {
            fs::write(&path, &printed).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        if printed != agreed {
            differences.push(format!("== {name}: printed\n{printed}\n== {name}: agreed\n{agreed}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn six_different_mistakes_give_six_different_errors() {
    let text = fs::read_to_string(folder().join("six.yaml")).unwrap();
    let (_, diagnostics) = config::parse_tolerant("six.yaml", &text, &folder(), &environment);
    assert_eq!(diagnostics.errors(), 6);
    assert_eq!(diagnostics.summary(), "6 errors in six.yaml");
    let mut lines: Vec<usize> = diagnostics
        .iter()
        .map(|diagnostic| diagnostics.source().position(diagnostic.span().start).0)
        .collect();
    lines.dedup();
    assert_eq!(lines, [3, 4, 6, 7, 10, 14]);
    assert!(diagnostics.iter().all(|diagnostic| !diagnostic.help().is_empty()));
}

#[test]
fn values_from_the_environment_are_never_printed() {
    let printed = printed("environment.yaml");
    for secret in ["hunter2", "s3cret", "parsecs", "localhost:8080"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let text = fs::read_to_string(folder().join("six.yaml")).unwrap();
    let (_, diagnostics) = config::parse_tolerant("six.yaml", &text, &folder(), &environment);
    let coloured = diagnostics.render(true);
    assert!(coloured.contains('\u{1b}'));
    let mut plain = String::new();
    let mut parts = coloured.split('\u{1b}');
    plain.push_str(parts.next().unwrap());
    for part in parts {
        plain.push_str(part.split_once('m').unwrap().1);
    }
    assert_eq!(plain, diagnostics.to_string());
}
