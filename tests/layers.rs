//! The layers of ARCHITECTURE.md: a module may use modules of lower layers and
//! of its own, never of higher ones. The pure core knows no clock and no I/O. Files
//! form no circles, and wire formats are used where their protocol is spoken.

#![allow(unreachable_pub, reason = "modules of a test")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use circles::{circles, report};
use source::{Source, Use};

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/source.rs"]
mod source;

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

/// Paths that the pure core and the leaves must not use.
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

/// Uses within the composition layer that would tie its modules together.
const TANGLES: &[(&str, &[&str])] = &[
    ("config", &["app", "cli", "client", "demo", "session", "edge"]),
    ("client", &["app", "cli", "config", "demo", "session", "edge"]),
    ("demo", &["app", "cli", "config", "client", "session", "edge"]),
    ("app", &["cli", "client", "demo"]),
];

/// Reserved modules, each with all its permitted users. A wire format belongs to its
/// protocol; the client protocol includes its error codes, which backends, operators
/// and services name as well.
const RESERVED: &[(&str, &[&str])] = &[
    (
        "proto::session",
        &[
            "protocol",
            "client",
            "cli",
            "demo",
            "app::components",
            "config::error_codes",
            "metrics::labels",
            "push::requests",
            "routing::status",
        ],
    ),
    ("proto::push", &["push", "client", "cli", "demo", "broker", "registry::target"]),
    ("proto::cluster", &["broker::cluster"]),
    ("proto::demo", &["demo", "cli::catalogue"]),
    ("protocol::seed", &["protocol", "session", "client", "cli", "app", "routing::builder"]),
];

/// Uses that the layers would allow, but that would tie separate modules together.
const APART: &[(&str, &[&str])] =
    &[("call", &["session", "outbox", "registry", "edge", "websocket", "broker"])];

/// Circles that are known. The list shrinks: an entry that is no circle any more fails.
const KNOWN: &[&[&str]] = &[];

#[test]
fn every_module_has_its_layer() {
    for module in source().files().values() {
        let top = top(module);
        assert!(layer_of(top).is_some(), "`{top}` is in no layer of ARCHITECTURE.md");
    }
}

#[test]
fn imports_go_downwards_only() {
    let wrong = |one: &Use| {
        let (from, to) = (top(&one.user), top(&one.owner));
        let tangled =
            TANGLES.iter().chain(APART).any(|(name, no)| *name == from && no.contains(&to));
        tangled || layer_of(to).unwrap() < layer_of(from).unwrap()
    };
    assert_none(source(), wrong, "imports that go the wrong way");
}

#[test]
fn wire_formats_belong_to_their_protocols() {
    let wrong = |one: &Use| {
        let (user, owner) = (one.user.join("::"), one.owner.join("::"));
        RESERVED.iter().any(|(reserved, allowed)| {
            is_in(&owner, reserved)
                && !is_in(&user, reserved)
                && !allowed.iter().any(|allowed| is_in(&user, allowed))
        })
    };
    assert_none(source(), wrong, "uses of what belongs to another protocol");
}

#[test]
fn all_that_may_use_a_reserved_module_do() {
    let uses = source().uses();
    for (reserved, allowed) in RESERVED {
        for allowed in *allowed {
            let used = uses.iter().any(|one| {
                is_in(&one.user.join("::"), allowed) && is_in(&one.owner.join("::"), reserved)
            });
            assert!(used, "`{allowed}` may use `{reserved}`, and does not");
        }
    }
}

#[test]
fn files_form_no_circles() {
    let uses = source().uses();
    let found = circles(&uses);
    let known: Vec<Vec<PathBuf>> =
        KNOWN.iter().map(|files| files.iter().map(PathBuf::from).collect()).collect();
    let new: String =
        found.iter().filter(|one| !known.contains(one)).map(|one| report(one, &uses)).collect();
    assert!(new.is_empty(), "files that use each other:\n{new}");
    for circle in known {
        assert!(found.contains(&circle), "no circle any more, strike it off: {circle:?}");
    }
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (file, module) in source().files() {
        if layer_of(top(&module)).unwrap() < ABOVE_CORE {
            continue;
        }
        let text = fs::read_to_string(src().join(&file)).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let code: Vec<_> = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{} names `{word}`", file.display()));
        }
    }
    assert!(wrong.is_empty(), "the core does I/O or looks at a clock:\n{}", wrong.join("\n"));
}

#[test]
fn paths_lead_to_the_files_that_define_them() {
    let uses = |files: &[(&str, &str)]| {
        let uses = Source::of(files).uses();
        let mut pairs: Vec<_> = uses
            .iter()
            .map(|one| format!("{} > {}", one.from.display(), one.to.display()))
            .collect();
        pairs.dedup();
        pairs
    };
    let crate_of = |a: &str, b: &str| {
        uses(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", a),
            ("b/mod.rs", &format!("mod c; pub use c::Item; pub struct Own; {b}")),
            ("b/c.rs", "pub struct Item; pub(super) fn make() {}"),
        ])
    };
    let none: [&str; 0] = [];
    // By every way to write it.
    assert_eq!(crate_of("use crate::b::Own;", ""), ["a.rs > b/mod.rs"]);
    assert_eq!(crate_of("use super::{b::{self, Own}};", ""), ["a.rs > b/mod.rs"]);
    assert_eq!(crate_of("fn f(_: crate::b::Own) {}", ""), ["a.rs > b/mod.rs"]);
    assert_eq!(crate_of("use crate::b as x; fn f(_: Vec<x::Own>) {}", ""), ["a.rs > b/mod.rs"]);
    assert_eq!(crate_of("fn f() { m!(n, self::super::b::Own) }", ""), ["a.rs > b/mod.rs"]);
    assert_eq!(crate_of("#[serde(with = \"crate::b::Own\")] struct A;", ""), ["a.rs > b/mod.rs"]);
    // Through a re-export, to the owner alone.
    assert_eq!(crate_of("use crate::b::Item;", ""), ["a.rs > b/c.rs"]);
    assert_eq!(crate_of("use crate::b; fn f(_: b::Item) {}", ""), ["a.rs > b/c.rs"]);
    assert_eq!(
        crate_of("use crate::b::*; fn f(_: Item) {}", ""),
        ["a.rs > b/c.rs", "a.rs > b/mod.rs"]
    );
    // A re-export is no use, unless the name is used as well.
    assert_eq!(crate_of("", "fn f(_: Item) {}"), ["b/mod.rs > b/c.rs"]);
    assert_eq!(crate_of("", "fn f() { c::make() }"), ["b/mod.rs > b/c.rs"]);
    // Not unit tests, other crates, variables, or comments.
    assert_eq!(crate_of("#[cfg(test)] mod t { use crate::b::Own; }", ""), none);
    assert_eq!(crate_of("use ::b::Own; // crate::b::Own", ""), none);
    assert_eq!(crate_of("", "fn f(c: u8) { g(c); m!(x.c) }"), none);
}

#[test]
fn circles_are_found_whatever_their_length() {
    let found = |c: &str| {
        let source = Source::of(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", c),
        ]);
        circles(&source.uses())
    };
    assert_eq!(found("pub struct C;"), [[]; 0] as [[PathBuf; 0]; 0]);
    assert_eq!(
        found("use crate::a::A; pub struct C;"),
        [["a.rs", "b.rs", "c.rs"].map(PathBuf::from)]
    );
    let known = circles(
        &Source::of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; pub struct A(b::B);"),
            ("a/b.rs", "pub struct B; impl super::A {}"),
        ])
        .uses(),
    );
    assert_eq!(known, [["a/b.rs", "a/mod.rs"].map(PathBuf::from)]);
}

fn assert_none(source: &Source, wrong: impl Fn(&Use) -> bool, what: &str) {
    let wrong: Vec<_> = source.uses().into_iter().filter(wrong).collect();
    let lines = wrong.iter().map(|one| {
        format!("{} uses `{}` of `{}`\n", one.from.display(), one.path, one.owner.join("::"))
    });
    assert!(wrong.is_empty(), "{what}:\n{}", lines.collect::<String>());
}

/// The top-level module of a module; `lib` for the root.
fn top(module: &[String]) -> &str {
    module.first().map_or("lib", String::as_str)
}

/// Whether a module is another or below it.
fn is_in(module: &str, other: &str) -> bool {
    module.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The crate's source, read once for all tests.
fn source() -> &'static Source {
    static SOURCE: LazyLock<Source> = LazyLock::new(|| Source::read(&src().join("lib.rs")));
    &SOURCE
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}
