//! From a file to a [`Config`], or to all that is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde::Deserialize;

use super::diagnostics::Diagnostics;
use super::environment::Environment;
use super::located::Document;
use super::source::{Source, Span};
use super::structure::{self, Checked};
use super::{Config, checks, reading};

/// A longer file is no configuration.
const MAX_LENGTH: usize = 4 << 20;

/// A configuration, and where its parts stand in the file.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says. Where it was read tolerantly from a file with
    /// errors, what was bad is left out; such a model must not be served.
    pub config: Config,
    /// What should be looked at although the file can be used.
    pub warnings: Diagnostics,
    document: Document,
    files: Vec<PathBuf>,
}

impl Loaded {
    /// The file's name and text.
    pub fn source(&self) -> &Arc<Source> {
        &self.document.source
    }

    /// Where the value at `path` stands, such as
    /// `["upstreams", "msg", "routes", "/v1/msg/sendMsgList", "rpc"]`. List
    /// items are named by their index. A mapping or list is shown by its key.
    /// Where there is no such value, its nearest ancestor is shown.
    pub fn at(&self, path: &[&str]) -> Span {
        self.document.at(path)
    }

    /// Where the key stands that `path` ends with; else as [`Loaded::at`].
    pub fn key_at(&self, path: &[&str]) -> Span {
        self.document.key_at(path)
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
/// add what they find to what is wrong already.
pub fn load_tolerant(path: &Path, environment: Environment<'_>) -> (Option<Loaded>, Diagnostics) {
    let name = path.display().to_string();
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let mut diagnostics = Diagnostics::new(Arc::new(Source::new(name, "")));
            diagnostics.error(
                Span::default(),
                format!("the configuration file can't be read: {error}"),
                "name another one with `-c`; the command `bridgehead schema` describes what belongs in it",
            );
            return (None, diagnostics);
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
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

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    checks::open_file(path)?;
    if fs::metadata(path)?.len() > MAX_LENGTH as u64 {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_LENGTH >> 20)));
    }
    fs::read(path)
}

/// Reads a configuration from a text. `name` is what errors call it; relative
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

/// [`parse_tolerant`] without a look at the files that the text names: nothing
/// but the text and the environment counts.
pub fn parse_text(
    name: &str,
    text: &str,
    environment: Environment<'_>,
) -> (Option<Loaded>, Diagnostics) {
    read(name, text, Path::new(""), environment, &|_| Ok(()))
}

/// Takes a model that was read tolerantly, if nothing was wrong with it. Its
/// warnings go with it.
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
    let config = match Config::deserialize(json?) {
        Ok(config) => config,
        // The schema and the model come from the same structs, so this is a
        // defect. What serde says is kept to itself, as it may hold secrets.
        Err(_) => {
            let message = "what is right in this file can't be read";
            diagnostics.error(
                document.root.span,
                message,
                "please report this as a bug of Bridgehead",
            );
            return None;
        }
    };
    checks::check(&config, &document, diagnostics);
    checks::check_files(&files, open, diagnostics);
    let warnings = Diagnostics::new(Arc::clone(&document.source));
    let files = files.into_iter().map(|file| file.path).collect();
    Some(Loaded { config, warnings, document, files })
}
