//! The repository's statements about itself: versions, make targets, fuzz
//! targets, paths in documents for contributors, and forms of issues.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};

/// Documents whose paths in backticks have to exist.
const WITH_PATHS: &[&str] =
    &["CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "fuzz/README.md", "docs/autobahn.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text between two markers, behind the first occurrence of the former.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?}")).0
}

/// Names at the beginning of lines, in front of `end`.
fn line_heads<'a>(text: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, _) = line.split_once(end)?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        is_name.then_some(name)
    })
}

#[test]
fn stated_rust_versions_are_that_of_the_manifest() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    for document in ["README.md", "CONTRIBUTING.md"] {
        let stated = between(&read(document), "[Rust](https://rustup.rs) ", " or newer").to_owned();
        assert_eq!(stated, oldest, "{document}");
    }
    // The image is built by a patch release of it.
    let dockerfile = read("deploy/Dockerfile");
    let image = between(&dockerfile, "FROM rust:", "-");
    let is_patch = image.strip_prefix(oldest).is_some_and(|patch| patch.starts_with('.'));
    assert!(is_patch || image == oldest, "deploy/Dockerfile: {image}, Cargo.toml: {oldest}");
}

#[test]
fn make_help_lists_every_target() {
    let makefile = read("Makefile");
    // `tools` installs the compiler as a step of other targets.
    let targets: BTreeSet<&str> =
        line_heads(&makefile, ":").filter(|target| *target != "tools").collect();
    assert!(targets.contains("help") && targets.contains("test-rust"), "{targets:?}");

    let help = Command::new("make").arg("help").current_dir(root()).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed: BTreeSet<&str> = line_heads(&help, " ").collect();
    assert_eq!(listed, targets, "described in `make help`, and defined in the Makefile");
    for line in help.lines() {
        assert!(line.split_once(' ').is_some_and(|(_, says)| says.trim().len() > 10), "{line}");
    }

    let phony: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY: "))
        .flat_map(str::split_whitespace)
        .filter(|target| *target != "tools")
        .collect();
    assert_eq!(phony, targets, "phony, and defined in the Makefile");
}

#[test]
fn make_targets_that_are_named_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = line_heads(&makefile, ":").collect();
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", ".ci/run"] {
        let text = read(document);
        let named = text.split(['`', '\n']).filter_map(|piece| piece.strip_prefix("make "));
        for named in named.filter_map(|named| named.split_whitespace().next()) {
            assert!(targets.contains(named), "{document}: make {named}");
        }
    }
}

#[test]
fn contributing_names_the_targets_of_ci() {
    let ci: BTreeSet<String> = read(".ci/run")
        .lines()
        .filter_map(|line| line.strip_prefix("make ").map(Into::into))
        .collect();
    let contributing = read("CONTRIBUTING.md");
    let stated = between(&contributing, "CI runs [`.ci/run`](.ci/run): ", ", some");
    let stated: BTreeSet<String> =
        stated.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(stated, ci);
}

#[test]
fn every_fuzz_target_is_built_described_and_has_seeds() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join("fuzz").join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| stem(entry.unwrap().path())).collect()
    };
    let targets = names("fuzz_targets");
    assert!(targets.contains("websocket"), "{targets:?}");
    assert_eq!(names("seeds"), targets, "folders of fuzz/seeds");

    let manifest = read("fuzz/Cargo.toml");
    let built = manifest.split("[[bin]]").skip(1);
    let built: BTreeSet<String> =
        built.map(|bin| between(bin, "name = \"", "\"").to_owned()).collect();
    assert_eq!(built, targets, "[[bin]] of fuzz/Cargo.toml");

    let readme = read("fuzz/README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeSet<String> =
        rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(rows, targets, "table of fuzz/README.md");
}

#[test]
fn paths_in_documents_for_contributors_exist() {
    let folders: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "target" && name != ".git")
        .collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for document in WITH_PATHS {
        for path in read(document).split('`').skip(1).step_by(2).filter(|path| is_path(path)) {
            let top = path.split('/').next().unwrap();
            if !path.contains('/') || !folders.contains(top) {
                continue;
            }
            // Output of fuzz runs.
            if ["fuzz/corpus", "fuzz/artifacts"].iter().any(|made| path.starts_with(made)) {
                continue;
            }
            found += 1;
            if !root().join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(found > 50, "only {found} paths were found");
    assert!(missing.is_empty(), "no such files:\n{}", missing.join("\n"));
}

fn is_path(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

/// GitHub shows no form at all where one of its rules is broken.
#[test]
fn forms_of_issues_are_valid() {
    let folder = root().join(".github/ISSUE_TEMPLATE");
    let mut forms = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let document = Yaml::load_from_str(&text).unwrap().remove(0);
        forms += 1;
        let shown = path.display();
        let value = |node: &Yaml<'_>, key: &str| -> Option<String> {
            node.as_mapping_get(key).and_then(|value| value.as_str()).map(str::to_owned)
        };
        assert!(value(&document, "name").is_some(), "{shown}: name");
        assert!(value(&document, "description").is_some(), "{shown}: description");
        let body = document.as_mapping_get("body").and_then(Yaml::as_vec).unwrap();
        let mut ids = BTreeSet::new();
        for element in body {
            let kind = value(element, "type").unwrap();
            let attributes = element.as_mapping_get("attributes").unwrap();
            let list = |key: &str| {
                attributes.as_mapping_get(key).and_then(Yaml::as_vec).is_some_and(|v| !v.is_empty())
            };
            let is_complete = match &*kind {
                "markdown" => value(attributes, "value").is_some(),
                "input" | "textarea" => value(attributes, "label").is_some(),
                "dropdown" | "checkboxes" => {
                    value(attributes, "label").is_some() && list("options")
                }
                other => panic!("{shown}: `{other}` is unknown to GitHub"),
            };
            assert!(is_complete, "{shown}: attributes of a {kind}");
            if kind != "markdown" {
                let id =
                    value(element, "id").unwrap_or_else(|| panic!("{shown}: {kind} without id"));
                assert!(ids.insert(id.clone()), "{shown}: `{id}` twice");
            }
        }
        assert!(!ids.is_empty(), "{shown}: no fields");
    }
    assert_eq!(forms, 2);
}
