//! The output of `bridgehead check`: a table for people, JSON for programs.

use std::path::Path;

use serde::Serialize;

use super::checked::Checked;
use crate::app::Resolved;
use crate::auth::Authenticator;
use crate::cli::failure::Failure;
use crate::config::{
    Config, Diagnostic, Diagnostics, EdgeConfig, Judge, PathConfig, Severity, Span,
};

/// The outcome as JSON. Keys may be added; existing ones do not change.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    file: String,
    ok: bool,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Said>,
    routes: Vec<Route>,
    unresolved: Vec<String>,
    /// The paths where clients connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logins: Option<String>,
}

#[derive(Debug, Serialize)]
struct Said {
    severity: &'static str,
    /// `file`: it is wrong; `asked`: something that was asked failed.
    cause: &'static str,
    #[serde(flatten)]
    place: Place,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    help: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
struct Note {
    #[serde(flatten)]
    place: Place,
    message: String,
}

/// Counted from 1, the column in characters; the end is behind the last one.
#[derive(Debug, Serialize)]
struct Place {
    line: usize,
    column: usize,
    end_column: usize,
}

#[derive(Debug, Serialize)]
struct Route {
    method: String,
    rpc: String,
    upstream: String,
    timeout_ms: u128,
    public: bool,
    retry: bool,
    validate: bool,
}

impl Report {
    pub(super) fn new(file: &Path, checked: &Checked, ok: bool) -> Self {
        let all = checked.all();
        let mut diagnostics = Vec::new();
        for (cause, list) in [("file", Some(&checked.file)), ("asked", checked.asked.as_ref())] {
            let said = list.into_iter().flat_map(|list| list.iter().map(move |it| (list, it)));
            diagnostics.extend(said.map(|(list, it)| Said::new(cause, it, list)));
        }
        let resolved = checked.resolved.as_ref();
        let edge = checked.loaded.as_ref().map(|loaded| &loaded.config.edge);
        let judge = checked.loaded.as_ref().map(|loaded| &loaded.config.auth.judge);
        Self {
            file: file.display().to_string(),
            ok,
            errors: all.errors(),
            warnings: all.warnings(),
            diagnostics,
            routes: resolved.map(routes).unwrap_or_default(),
            unresolved: resolved.map(unresolved).unwrap_or_default(),
            clients: edge.filter(|_| ok).map(clients).unwrap_or_default(),
            logins: judge.zip(resolved).filter(|_| ok).map(|(judge, it)| logins(judge, it)),
        }
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(Failure::failed)
    }
}

impl Said {
    fn new(cause: &'static str, it: &Diagnostic, of: &Diagnostics) -> Self {
        let notes = it
            .notes()
            .map(|(span, text)| Note { place: Place::of(span, of), message: text.to_owned() });
        Self {
            severity: match it.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            cause,
            place: Place::of(it.span(), of),
            message: it.message().to_owned(),
            help: it.help().to_owned(),
            notes: notes.collect(),
        }
    }
}

impl Place {
    fn of(span: Span, of: &Diagnostics) -> Self {
        let (line, column) = of.source().position(span.start);
        let width = of.source().slice(span).chars().count();
        Self { line, column, end_column: column + width }
    }
}

fn routes(resolved: &Resolved) -> Vec<Route> {
    let routes = resolved.services.calls.routes.routes().map(|route| Route {
        method: route.name.to_string(),
        rpc: route.rpc.to_string(),
        upstream: route.upstream.name().to_owned(),
        timeout_ms: route.timeout.as_millis(),
        public: route.public,
        retry: route.retry,
        validate: route.validate,
    });
    routes.collect()
}

/// Methods without a known RPC; `/package.Service/*` is a service of such methods.
fn unresolved(resolved: &Resolved) -> Vec<String> {
    resolved.services.calls.routes.pending().map(|(method, _)| all_of(method)).collect()
}

fn all_of(method: &str) -> String {
    format!("{method}{}", if method.ends_with('/') { "*" } else { "" })
}

/// A row of a method, or of all methods of a service, without known descriptors: as
/// the configuration has it.
fn pending(method: &str, config: &Config) -> [String; 5] {
    let service = method.strip_prefix('/').and_then(|name| name.strip_suffix('/'));
    let row = config.upstreams.iter().find_map(|(name, upstream)| {
        let (rpc, timeout) = match service {
            Some(service) => {
                upstream.expose.iter().find(|exposed| *exposed == service)?;
                (format!("{service}/*"), None)
            }
            None => {
                let route = upstream.routes.get(method)?;
                (route.rpc.clone(), route.timeout)
            }
        };
        let timeout = humantime::format_duration(timeout.unwrap_or(upstream.timeout));
        Some([rpc, name.clone(), timeout.to_string()])
    });
    let [rpc, upstream, timeout] = row.unwrap_or_default();
    [all_of(method), rpc, upstream, timeout, "not resolved".to_owned()]
}

pub(super) fn table(resolved: &Resolved, config: &Config) -> String {
    let routes = &resolved.services.calls.routes;
    let mut rows = vec![["METHOD", "RPC", "UPSTREAM", "TIMEOUT", ""].map(str::to_owned)];
    for route in routes.routes() {
        let traits =
            [(route.public, "public"), (route.retry, "retry"), (route.validate, "validate")];
        let traits: Vec<_> = traits.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        rows.push([
            route.name.to_string(),
            route.rpc.to_string(),
            route.upstream.name().to_owned(),
            humantime::format_duration(route.timeout).to_string(),
            traits.join(" "),
        ]);
    }
    rows.extend(routes.pending().map(|(method, _)| pending(method, config)));
    let mut lines = in_columns(&rows);
    let offline = if routes.pending().len() > 0 { " (--offline)" } else { "" };
    let (known, pending) = (routes.len(), routes.pending().len());
    let plural = if known == 1 { "" } else { "s" };
    lines.push(format!("{known} route{plural}, {pending} not resolved{offline}"));
    lines.join("\n")
}

/// Where clients connect.
pub(super) fn clients(edge: &EdgeConfig) -> Vec<String> {
    let written = |(path, PathConfig { server_iv }): (&str, PathConfig)| {
        format!("{path}{}", if server_iv { " (server_iv)" } else { "" })
    };
    edge.paths().into_iter().map(written).collect()
}

/// The judge of logins, and its keys.
pub(super) fn logins(judge: &Judge, resolved: &Resolved) -> String {
    match (judge, &resolved.services.auth) {
        (Judge::None(_), _) => "every token is accepted".to_owned(),
        (Judge::Rpc(call), _) => format!("{} ({}) is asked", call.rpc, call.upstream),
        (Judge::Jwt(_), Authenticator::Jwt(jwt)) => format!("JWT, keys of {}", jwt.keys()),
        (Judge::Jwt(_), _) => "JWT".to_owned(),
    }
}

fn in_columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
