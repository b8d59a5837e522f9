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

/// Reads a text without checking any file.
pub(super) fn read(text: &str) -> (Option<Loaded>, Diagnostics) {
    parse_text("t.yaml", text, &environment)
}

/// The errors and warnings about a text, a line each.
pub(super) fn complaints(text: &str) -> Vec<String> {
    read(text).1.lines().collect()
}

/// The messages about a text, without places and help.
pub(super) fn messages(text: &str) -> Vec<String> {
    read(text).1.iter().map(|one| one.message().to_owned()).collect()
}

/// The only error or warning about a text.
pub(super) fn complaint(text: &str) -> String {
    let mut complaints = complaints(text);
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    complaints.remove(0)
}

/// `text` behind the two lines that every file needs.
pub(super) fn with_basics(text: &str) -> String {
    let basics = "edge: { listen: 127.0.0.1:0 }\nauth: { none: {} }\n";
    format!("{basics}{text}")
}

/// The model of a valid text, without the basics.
pub(super) fn config(text: &str) -> Config {
    let (loaded, diagnostics) = read(&with_basics(text));
    assert!(diagnostics.is_empty(), "{diagnostics}");
    loaded.unwrap().config
}
