//! Short ways to read a text in tests.

use super::{Config, Diagnostics, Loaded, parse_text};

pub(super) fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("64".to_owned()),
        "TRUE" => Some("true".to_owned()),
        "EMPTY" => Some(String::new()),
        "SECRET" => Some("hunter2".to_owned()),
        _ => None,
    }
}

/// Reads a text without a look at any file.
pub(super) fn read(text: &str) -> (Option<Loaded>, Diagnostics) {
    parse_text("t.yaml", text, &environment)
}

/// What is wrong with a text, a line each.
pub(super) fn complaints(text: &str) -> Vec<String> {
    read(text).1.lines().collect()
}

/// What is wrong with a text, without places and help.
pub(super) fn messages(text: &str) -> Vec<String> {
    read(text).1.iter().map(|one| one.message().to_owned()).collect()
}

/// The only thing that is wrong with a text.
pub(super) fn complaint(text: &str) -> String {
    let mut complaints = complaints(text);
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    complaints.remove(0)
}

/// `text` with what every file needs before it, in two lines.
pub(super) fn with_basics(text: &str) -> String {
    let basics = "edge: { listen: 127.0.0.1:0 }\nauth: { none: {} }\n";
    format!("{basics}{text}")
}

/// The model of a text with nothing wrong with it, basics apart.
pub(super) fn config(text: &str) -> Config {
    let (loaded, diagnostics) = read(&with_basics(text));
    assert!(diagnostics.is_empty(), "{diagnostics}");
    loaded.unwrap().config
}
