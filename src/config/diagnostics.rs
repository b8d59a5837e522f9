//! Errors and warnings about a file, worded so that it can be corrected.
//!
//! A diagnostic has its place, a message and a help text with the correction.
//! It is shown in the style of rustc, or in one line for logs. Texts of a
//! diagnostic never hold a value from the environment; the file's own text,
//! which is shown beside them, has only the variable's name, and stars for texts
//! that are secret by their place or their look.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::source::{Source, Span};

/// The severity of a diagnostic: whether the file can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used.
    Warning,
}

/// One error or warning about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    span: Span,
    message: String,
    help: String,
    notes: Vec<(Span, String)>,
}

impl Diagnostic {
    /// Its severity.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The place.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The description of the mistake.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The correction; may be empty.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Other places that are related to it.
    pub fn notes(&self) -> impl Iterator<Item = (Span, &str)> {
        self.notes.iter().map(|(span, text)| (*span, text.as_str()))
    }

    /// Points at another place that is related to it.
    pub fn note(&mut self, span: Span, text: impl Into<String>) -> &mut Self {
        self.notes.push((span, text.into()));
        self
    }
}

/// All errors and warnings about one file.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: Arc<Source>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// An empty list of diagnostics for `source`.
    pub fn new(source: Arc<Source>) -> Self {
        Diagnostics { source, list: Vec::new() }
    }

    /// Adds an error: the file cannot be used. `message` describes the mistake,
    /// `help` the correction; an empty `help` is left out.
    pub fn error(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Error, span, message.into(), help.into())
    }

    /// Adds a warning: the file can be used all the same.
    pub fn warning(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, span, message.into(), help.into())
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Span,
        message: String,
        help: String,
    ) -> &mut Diagnostic {
        self.list.push_mut(Diagnostic { severity, span, message, help, notes: Vec::new() })
    }

    /// The file.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Whether there are errors: the file cannot be used then.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Whether there are neither errors nor warnings.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// Every diagnostic, in the order of its place in the file.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Whether an error was found within `span`.
    pub(super) fn has_error_within(&self, span: Span) -> bool {
        self.list.iter().any(|diagnostic| {
            diagnostic.severity == Severity::Error
                && span.start <= diagnostic.span.start
                && diagnostic.span.end <= span.end
        })
    }

    /// Adds the diagnostics of another check of the same file.
    pub fn append(&mut self, other: &Self) {
        self.list.extend_from_slice(&other.list);
    }

    /// Sorts the diagnostics by their places and drops duplicates, which occur
    /// where an alias repeats a mistake.
    pub fn tidy(&mut self) {
        self.list.sort_by(|a, b| {
            (a.span, a.severity, &a.message).cmp(&(b.span, b.severity, &b.message))
        });
        self.list.dedup();
    }

    /// One line each, for logs: `routes.yaml:3:3: message; help`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|diagnostic| {
            let (line, column) = self.source.position(diagnostic.span.start);
            let mut text = format!("{}:{line}:{column}: ", self.source.name());
            if diagnostic.severity == Severity::Warning {
                text.push_str("warning: ");
            }
            text.push_str(&diagnostic.message);
            for (span, note) in diagnostic.notes() {
                let (line, column) = self.source.position(span.start);
                let _ = write!(text, "; {note} ({line}:{column})");
            }
            if !diagnostic.help.is_empty() {
                let _ = write!(text, "; {}", diagnostic.help);
            }
            text
        })
    }

    /// The number of diagnostics, as `6 errors and 1 warning in routes.yaml`.
    pub fn summary(&self) -> String {
        let count = |number: usize, noun: &str| match number {
            0 => None,
            1 => Some(format!("1 {noun}")),
            _ => Some(format!("{number} {noun}s")),
        };
        let counts = [count(self.errors(), "error"), count(self.warnings(), "warning")];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let counts = if counts.is_empty() { "no errors".to_owned() } else { counts.join(" and ") };
        format!("{counts} in {}", self.source.name())
    }

    /// Every diagnostic in the style of rustc, and the summary. In colour for
    /// terminals, if so asked.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for diagnostic in &self.list {
            let mut groups = vec![self.group_of(diagnostic)];
            for (span, note) in diagnostic.notes() {
                groups.push(self.place(Group::with_title(Level::NOTE.secondary_title(note)), span));
            }
            let _ = writeln!(text, "{}\n", renderer.render(&groups));
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn group_of<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = self
            .place(Group::with_title(level.primary_title(&diagnostic.message)), diagnostic.span);
        if diagnostic.help.is_empty() {
            group
        } else {
            group.element(Level::HELP.message(&diagnostic.help))
        }
    }

    /// Shows a place: its line with a mark, or the file's name where there is no text.
    fn place<'a>(&'a self, group: Group<'a>, span: Span) -> Group<'a> {
        let line = self.source.line_around(span.start);
        let text = self.source.shown(line.clone());
        if self.source.text().is_empty() {
            return group.element(Origin::path(self.source.name()));
        }
        let start = span.start.saturating_sub(line.start).min(text.len());
        let end = span.end.saturating_sub(line.start).clamp(start, text.len());
        group.element(
            Snippet::source(text)
                .path(self.source.name())
                .line_start(self.source.position(line.start).0)
                .annotation(AnnotationKind::Primary.span(start..end)),
        )
    }
}

/// Without colour.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
