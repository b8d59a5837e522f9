//! From a file to a [`Config`], or to its [`Diagnostics`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde::Deserialize;

use super::diagnostics::Diagnostics;
use super::environment::Environment;
use super::located::Document;
use super::source::{Source, Span};
use super::structure::{self, Checked};
use super::{Config, characters, checks, doubts, effective, reading};

/// Bytes of a configuration file, at most.
const MAX_LENGTH: usize = 4 << 20;

/// A configuration, and the places of its parts in the file.
#[derive(Debug)]
pub struct Loaded {
    /// The model of the file. If it was read tolerantly from a file with
    /// errors, bad values are left out; such a model must not be served.
    pub config: Config,
    /// Warnings; the file can be used in spite of them.
    pub warnings: Diagnostics,
    document: Document,
    files: Vec<PathBuf>,
    /// Where relative paths start.
    folder: PathBuf,
}

impl Loaded {
    /// The file's name and text.
    pub fn source(&self) -> &Arc<Source> {
        &self.document.source
    }

    /// The place of the value at `path`, such as
    /// `["upstreams", "msg", "routes", "/v1/msg/sendMsgList", "rpc"]`. List
    /// items are named by their index. A mapping or list is shown by its key.
    /// Where there is no such value, its nearest ancestor is shown.
    pub fn at(&self, path: &[&str]) -> Span {
        self.document.at(path)
    }

    /// The place of the key that `path` ends with; else as [`Loaded::at`].
    pub fn key_at(&self, path: &[&str]) -> Span {
        self.document.key_at(path)
    }

    /// Whether `diagnostics` has an error within the value at `path`.
    pub fn has_error_at(&self, path: &[&str], diagnostics: &Diagnostics) -> bool {
        let extent = self.document.extent(path);
        extent.is_some_and(|extent| diagnostics.has_error_within(extent))
    }

    /// The configuration with defaults and variables filled in, as YAML that can
    /// be read again. Secrets are masked.
    pub fn effective(&self) -> String {
        effective::print(&self.document, &self.folder)
    }

    /// An empty list of diagnostics for this file, for checks that come later.
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics::new(Arc::clone(self.source()))
    }

    /// Every file that the configuration names, with the folder before
    /// relative names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }
}

/// The environment of this process. A value that is not Unicode counts as unset.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the file at `path`.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Loaded, Diagnostics> {
    let (loaded, diagnostics) = load_tolerant(path, environment);
    accept(loaded, diagnostics)
}

/// Reads the file at `path` as far as it can be read, so that later checks can
/// add their diagnostics to those of reading.
pub fn load_tolerant(path: &Path, environment: Environment<'_>) -> (Option<Loaded>, Diagnostics) {
    let name = path.display().to_string();
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return (None, unreadable(name, &error));
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    if let Some(encoding) = characters::foreign_encoding(&bytes) {
        let mut diagnostics = Diagnostics::new(Arc::new(Source::new(name, "")));
        diagnostics.error(
            Span::default(),
            format!("the file is text in {encoding}, not UTF-8"),
            "save the file as UTF-8",
        );
        return (None, diagnostics);
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse_tolerant(&name, &text, folder, environment),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = Arc::new(Source::new(name, text));
            // A byte order mark is cut off the text.
            let cut = if error.as_bytes().starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
            let at = good.saturating_sub(cut);
            let mut diagnostics = Diagnostics::new(source);
            diagnostics.error(
                Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8()),
                "a byte that is not UTF-8",
                "save the file as UTF-8",
            );
            (None, diagnostics)
        }
    }
}

/// The diagnostics of an unreadable file. The help text is left to the caller: a
/// command has an argument for the file's name, a running gateway has not.
fn unreadable(name: String, error: &io::Error) -> Diagnostics {
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => ("the configuration file does not exist".to_owned(), ""),
        _ => (
            format!("the configuration file cannot be read: {error}"),
            "it must be a text file that this process may read",
        ),
    };
    let mut diagnostics = Diagnostics::new(Arc::new(Source::new(name, "")));
    diagnostics.error(Span::default(), message, help);
    diagnostics
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    checks::open_file(path)?;
    if fs::metadata(path)?.len() > MAX_LENGTH as u64 {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_LENGTH >> 20)));
    }
    fs::read(path)
}

/// Reads a configuration from a text. `name` is its name in errors; relative
/// paths in it start at `folder`.
pub fn parse(
    name: &str,
    text: &str,
    folder: &Path,
    environment: Environment<'_>,
) -> Result<Loaded, Diagnostics> {
    let (loaded, diagnostics) = parse_tolerant(name, text, folder, environment);
    accept(loaded, diagnostics)
}

/// [`parse`] as far as the text can be read. There is a model even where there
/// are errors, unless the text is not YAML at all.
pub fn parse_tolerant(
    name: &str,
    text: &str,
    folder: &Path,
    environment: Environment<'_>,
) -> (Option<Loaded>, Diagnostics) {
    read(name, text, folder, environment, &checks::open_file)
}

/// [`parse_tolerant`] without checking the files that the text names: only the
/// text and the environment count.
pub fn parse_text(
    name: &str,
    text: &str,
    environment: Environment<'_>,
) -> (Option<Loaded>, Diagnostics) {
    read(name, text, Path::new(""), environment, &|_| Ok(()))
}

/// Accepts a model that was read tolerantly, if it has no errors. Its warnings
/// go with it.
pub fn accept(loaded: Option<Loaded>, diagnostics: Diagnostics) -> Result<Loaded, Diagnostics> {
    match loaded {
        Some(loaded) if !diagnostics.has_errors() => Ok(Loaded { warnings: diagnostics, ..loaded }),
        _ => Err(diagnostics),
    }
}

fn read(
    name: &str,
    text: &str,
    folder: &Path,
    environment: Environment<'_>,
    open: &dyn Fn(&Path) -> io::Result<()>,
) -> (Option<Loaded>, Diagnostics) {
    let source = Arc::new(Source::new(name, text));
    let mut diagnostics = Diagnostics::new(Arc::clone(&source));
    let loaded = reading::read(&source, environment, &mut diagnostics)
        .and_then(|document| understand(document, folder, open, &mut diagnostics));
    diagnostics.tidy();
    (loaded, diagnostics)
}

fn understand(
    document: Document,
    folder: &Path,
    open: &dyn Fn(&Path) -> io::Result<()>,
    diagnostics: &mut Diagnostics,
) -> Option<Loaded> {
    let Checked { json, files } = structure::check(&document, folder, diagnostics);
    let Ok(config) = Config::deserialize(json?) else {
        // The schema and the model come from the same structs, so this is a
        // defect. Serde's error is not shown, as it may hold secrets.
        let message = "the valid part of this file cannot be read";
        diagnostics.error(document.root.span, message, "please report this as a bug of Bridgehead");
        return None;
    };
    checks::check(&config, &document, diagnostics);
    checks::check_files(&files, open, diagnostics);
    doubts::check(&document, diagnostics);
    let warnings = Diagnostics::new(Arc::clone(&document.source));
    let files = files.into_iter().map(|file| file.path).collect();
    Some(Loaded { config, warnings, document, files, folder: folder.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::config::testing::environment;

    const TEXT: &str = "edge: { listen: 127.0.0.1:0 }\nauth: { none: {} }\nupstreams:\n  a:\n    address: [http://a:1, http://b:1]\n    routes:\n      /x: { rpc: p.A/B }\n      /y: p.A/C\n";

    fn load_bytes(bytes: &[u8]) -> Result<Loaded, Diagnostics> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.yaml");
        fs::write(&path, bytes).unwrap();
        load(&path, &environment)
    }

    #[test]
    fn places_are_found_by_path() {
        let loaded = load_bytes(TEXT.as_bytes()).unwrap();
        let at = |path: &[&str]| loaded.source().slice(loaded.at(path)).to_owned();
        assert_eq!(at(&["edge", "listen"]), "127.0.0.1:0");
        assert_eq!(at(&["upstreams", "a", "address", "1"]), "http://b:1");
        assert_eq!(at(&["upstreams", "a", "routes", "/x", "rpc"]), "p.A/B");
        assert_eq!(at(&["upstreams", "a", "routes", "/y"]), "p.A/C");
        assert_eq!(at(&["upstreams", "a", "routes"]), "routes");
    }

    #[test]
    fn a_missing_place_is_its_nearest_ancestor() {
        let loaded = load_bytes(TEXT.as_bytes()).unwrap();
        let at = |path: &[&str]| loaded.source().slice(loaded.at(path)).to_owned();
        // The short form of a route has no `rpc` key.
        assert_eq!(at(&["upstreams", "a", "routes", "/y", "rpc"]), "p.A/C");
        assert_eq!(at(&["upstreams", "a", "timeout"]), "a");
        assert_eq!(at(&["upstreams", "a", "address", "7"]), "address");
        assert_eq!(loaded.at(&["nothing"]).start, 0);
    }

    #[test]
    fn keys_are_found_by_path() {
        let loaded = load_bytes(TEXT.as_bytes()).unwrap();
        let key = |path: &[&str]| loaded.source().slice(loaded.key_at(path)).to_owned();
        assert_eq!(key(&["upstreams", "a", "routes", "/y"]), "/y");
        assert_eq!(key(&["upstreams", "a", "timeout"]), "a");
    }

    #[test]
    fn later_checks_add_to_what_is_wrong() {
        let loaded = load_bytes(TEXT.as_bytes()).unwrap();
        let mut diagnostics = loaded.diagnostics();
        let span = loaded.at(&["upstreams", "a", "routes", "/y", "rpc"]);
        diagnostics.error(span, "`p.A` has no method `C`", "did you mean `B`?");
        assert!(
            diagnostics
                .lines()
                .next()
                .unwrap()
                .ends_with(":8:11: `p.A` has no method `C`; did you mean `B`?")
        );
        assert!(accept(Some(loaded), diagnostics).is_err());
    }

    #[test]
    fn a_byte_order_mark_and_line_ends_of_windows_change_nothing() {
        let text = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
        assert_eq!(load_bytes(text.as_bytes()).unwrap().config.upstreams.len(), 1);
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_shown() {
        for before in ["", "\u{feff}"] {
            let bytes = [before.as_bytes(), b"edge: {}\nlog: \xff\xfe\n"].concat();
            let diagnostics = load_bytes(&bytes).unwrap_err();
            let lines: Vec<String> = diagnostics.lines().collect();
            assert_eq!(lines.len(), 1);
            assert!(lines[0].contains("routes.yaml:2:6: a byte that is not UTF-8"), "{lines:?}");
            assert!(diagnostics.to_string().contains('^'));
        }
    }

    #[test]
    fn a_file_in_another_encoding_is_told_which_it_is() {
        for bytes in [&b"\xff\xfee\0d\0g\0e\0"[..], b"e\0d\0g\0e\0:\0", b"\xfe\xff\0e\0d"] {
            let lines: Vec<String> = load_bytes(bytes).unwrap_err().lines().collect();
            assert_eq!(lines.len(), 1);
            assert!(lines[0].contains("the file is text in UTF-16, not UTF-8"), "{lines:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_with_its_name() {
        let diagnostics = load(Path::new("/nowhere/routes.yaml"), &environment).unwrap_err();
        let text = diagnostics.to_string();
        assert!(text.contains("/nowhere/routes.yaml") && text.contains("does not exist"), "{text}");
        assert!(!text.contains("-c"), "a running gateway has no arguments: {text}");
    }

    #[test]
    fn a_folder_and_a_giant_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path(), &environment).is_err());
        let text = load_bytes(&vec![b'#'; MAX_LENGTH + 1]).unwrap_err().to_string();
        assert!(text.contains("longer than 4 MiB"), "{text}");
    }

    #[test]
    fn ten_thousand_routes_are_read_in_reasonable_time() {
        let mut text = TEXT.to_owned();
        for number in 0..10_000 {
            let _ = writeln!(
                text,
                "      /v1/m{number}: {{ rpc: pb.Service/Method{number}, timeout: 2s }}"
            );
        }
        let begun = std::time::Instant::now();
        assert_eq!(load_bytes(text.as_bytes()).unwrap().config.upstreams["a"].routes.len(), 10_002);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn ten_thousand_mistakes_are_told_in_reasonable_time() {
        let mut text = TEXT.to_owned();
        for number in 0..10_000 {
            let _ = writeln!(text, "    /v1/m{number}: pb.Service/Method{number}");
        }
        let begun = std::time::Instant::now();
        let diagnostics = load_bytes(text.as_bytes()).unwrap_err();
        assert_eq!(diagnostics.errors(), 10_000);
        assert!(diagnostics.to_string().len() > 1_000_000);
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    }
}
