//! Any text is read as a configuration, without a panic; the place of every
//! diagnostic lies within the text; and the diagnostics can be shown.

#![no_main]

use bridgehead::config::{self, Diagnostics, Span};
use libfuzzer_sys::fuzz_target;

/// Long, and not likely to turn up in a text by chance.
const SECRET: &str = "c0rrect-h0rse-battery-staple";

fn environment(name: &str) -> Option<String> {
    match name {
        "A" => Some(SECRET.to_owned()),
        "B" => Some("5s".to_owned()),
        "C" => Some(String::new()),
        _ => None,
    }
}

fn check_span(diagnostics: &Diagnostics, span: Span) {
    let text = diagnostics.source().text();
    assert!(text.get(span.start..span.end).is_some(), "{span:?} of {} bytes", text.len());
}

fuzz_target!(|text: &str| {
    let (loaded, diagnostics) = config::parse_text("fuzz.yaml", text, &environment);
    for diagnostic in diagnostics.iter() {
        check_span(&diagnostics, diagnostic.span());
        diagnostic.notes().for_each(|(span, _)| check_span(&diagnostics, span));
        // The schema accepted a value that the model can't hold.
        assert_ne!(diagnostic.help(), "please report this as a bug of Bridgehead");
    }
    assert!(loaded.is_some() || diagnostics.has_errors());
    if let Some(loaded) = &loaded {
        for path in [&["edge", "listen"][..], &["upstreams", "a", "address", "0"], &["auth"], &[]] {
            check_span(&diagnostics, loaded.at(path));
            check_span(&diagnostics, loaded.key_at(path));
        }
    }
    // Rendering thousands of diagnostics takes its time and shows nothing new.
    if diagnostics.errors() + diagnostics.warnings() < 50 {
        let rendered = diagnostics.render(text.len().is_multiple_of(2));
        let lines: Vec<String> = diagnostics.lines().collect();
        if !text.contains(SECRET) {
            assert!(!rendered.contains(SECRET) && !lines.concat().contains(SECRET), "{rendered}");
        }
    }
});
