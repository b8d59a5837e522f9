//! The layers of ARCHITECTURE.md: a module may use modules of lower layers and
//! of its own, never of higher ones. The pure core knows no clock and no I/O.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer's top-level modules, the highest layer first.
const LAYERS: &[(&str, &[&str])] = &[
    ("composition", &["main", "lib", "cli", "app", "config", "client", "demo"]),
    ("edges", &["admin", "edge", "push", "tls"]),
    ("activity", &["session", "call", "broker", "auth", "hooks"]),
    ("state and upstream I/O", &["upstream", "registry", "outbox", "trace", "seldom"]),
    ("pure core", &["protocol", "routing", "callout", "websocket"]),
    ("leaves", &["close", "metrics", "pem", "proto", "wire"]),
];

/// The number of layers above the pure core.
const ABOVE_CORE: usize = 4;

/// What the pure core and the leaves must do without.
const IMPURE: &[&str] = &[
    "tokio::",
    "hyper_util",
    "std::fs",
    "std::net",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "tracing::",
];

/// What would tangle the composition layer in itself.
const TANGLES: &[(&str, &[&str])] = &[
    ("config", &["app", "cli", "client", "demo", "session", "edge"]),
    ("client", &["app", "cli", "config", "demo", "session", "edge"]),
    ("demo", &["app", "cli", "config", "client", "session", "edge"]),
    ("app", &["cli", "client", "demo"]),
];

#[test]
fn every_module_has_its_layer() {
    for module in modules().keys() {
        assert!(layer_of(module).is_some(), "`{module}` is in no layer of ARCHITECTURE.md");
    }
}

#[test]
fn imports_go_downwards_only() {
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        let own = layer_of(&module).unwrap();
        for (path, code) in files {
            for other in used(&code) {
                let Some(layer) = layer_of(&other) else { continue };
                let tangled = TANGLES.iter().find(|(name, _)| *name == module);
                if layer < own || tangled.is_some_and(|(_, no)| no.contains(&other.as_str())) {
                    let (from, to) = (LAYERS[own].0, LAYERS[layer].0);
                    wrong.push(format!("{} ({from}) uses `{other}` ({to})", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        if layer_of(&module).unwrap() < ABOVE_CORE {
            continue;
        }
        for (path, code) in files {
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{} names `{word}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "the core does I/O or looks at a clock:\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_would_be_found() {
    assert_eq!(used("use crate::edge::Config;"), ["edge"]);
    assert_eq!(
        used("use crate::{wire, session::{self, run}, edge::Edge};"),
        ["wire", "session", "edge"]
    );
    assert_eq!(used("let x = crate::config::load();"), ["config"]);
    assert!(layer_of("session") < layer_of("outbox"));
}

/// The source of each top-level module, without comments and unit tests.
fn modules() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&src, &mut files);
    let mut modules: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for path in files {
        let relative = path.strip_prefix(&src).unwrap().to_owned();
        let top = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = top.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let code: Vec<_> = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        modules.entry(module).or_default().push((relative, code.join("\n")));
    }
    modules
}

fn source_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !is_of_tests(&path) {
            found.push(path);
        }
    }
}

/// Modules that are compiled for unit tests alone.
fn is_of_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing")
}

/// Top-level modules that some code names, as `crate::x` or in `crate::{x, y}`.
fn used(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        match rest.strip_prefix('{') {
            Some(group) => paths.extend(first_level(group)),
            None => paths.push(rest.to_owned()),
        }
    }
    let name = |path: &String| {
        path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    paths.iter().map(name).filter(|name| !name.is_empty()).collect()
}

/// The paths of an import group, up to its closing brace.
fn first_level(group: &str) -> Vec<String> {
    let (mut paths, mut path, mut depth) = (Vec::new(), String::new(), 0);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(std::mem::take(&mut path)),
            c if depth == 0 && !c.is_whitespace() => path.push(c),
            _ => {}
        }
    }
    paths.push(path);
    paths
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}
