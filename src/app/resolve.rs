//! From a configuration to the services of sessions: upstreams, their
//! descriptors, the route table, authentication, hooks.
//!
//! All of it is built beside the services in use, and every mistake is kept with
//! its place in the file.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};

use super::authentication::Before;
use super::callouts::{self, Callee};
use super::problem::Problem;
use super::reflection::Reflection;
use super::{authentication, components, sizes};
use crate::auth::jwt::Remote;
use crate::call::Targets;
use crate::config::{self, Config, IdentityConfig, RpcCall, UpstreamConfig};
use crate::routing::{
    DescriptorError, Descriptors, Note, PublicMethods, RouteSpec, RouteTable, StatusCodes,
    TableBuilder, suggest,
};
use crate::session::Services;
use crate::upstream::reflection::{self, Reflected, ReflectionError};
use crate::upstream::{self, Destination, Rules, TlsError, Upstream};

/// Timeout of server reflection.
const REFLECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of resolving a configuration.
pub struct Resolved {
    /// The services of sessions, as complete as the problems allow.
    pub services: Services,
    /// Empty if the configuration can be used.
    pub problems: Vec<Problem>,
    /// Valid settings that are probably not intended.
    pub warnings: Vec<Problem>,
    /// Upstreams whose descriptors are not known yet, with the reason.
    pub pending: Vec<(String, String)>,
    /// The keys that verify logins could not be fetched yet. Until they are,
    /// every login is refused.
    pub unfetched: Option<Problem>,
}

/// Resolves configurations one after the other, and keeps unchanged parts.
pub struct Resolver {
    workers: usize,
    kept: HashMap<String, Kept>,
    /// An earlier configuration was resolved without a problem.
    is_reload: bool,
    /// The fetched keys of that configuration, if it has any.
    keys: Option<Arc<Remote>>,
}

struct Kept {
    upstream: Arc<Upstream>,
    /// The result of reflection, if the server was asked.
    reflected: Option<Arc<Descriptors>>,
}

/// An upstream of the configuration being resolved.
struct Candidate<'c> {
    name: &'c str,
    config: &'c UpstreamConfig,
    upstream: Arc<Upstream>,
    rules: Option<Arc<Rules>>,
    wanted: BTreeSet<&'c str>,
}

impl Candidate<'_> {
    fn destination(&self) -> Destination {
        Destination { upstream: Arc::clone(&self.upstream), rules: self.rules.clone() }
    }
}

/// An upstream's descriptors.
enum Known {
    Yes(Arc<Descriptors>),
    NotYet(String),
    Broken,
}

impl Resolver {
    /// A resolver for a gateway of so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers, kept: HashMap::new(), is_reload: false, keys: None }
    }

    /// Resolves a configuration. Upstreams that are configured as before keep
    /// their connections, and an unchanged source of keys stays in use.
    pub async fn resolve(&mut self, config: &Config, reflection: Reflection) -> Resolved {
        let mut problems = Vec::new();
        let callouts: Vec<_> = callouts::all(config).map(|(_, call)| call).collect();
        let candidates: Vec<_> = config
            .upstreams
            .iter()
            .filter_map(|(name, upstream)| self.candidate(name, upstream, &callouts, &mut problems))
            .collect();
        let described = join_all(candidates.iter().map(|c| self.describe(c, reflection)));
        let before = Before { is_reload: self.is_reload, remote: self.keys.as_ref() };
        // On the heap: this future is part of the futures of commands.
        let keys = Box::pin(authentication::keys(&config.auth, before, reflection));
        let (descriptors, keys) = join(described, keys).await;
        let keys = keys.unwrap_or_else(|problem| {
            problems.push(problem);
            authentication::Known::default()
        });

        let mut known = HashMap::new();
        for (candidate, described) in candidates.iter().zip(descriptors) {
            let described = described.unwrap_or_else(|problem| {
                problems.push(problem);
                Known::Broken
            });
            known.insert(candidate.name, described);
        }
        let (mut routes, mut warnings) = table(config, &candidates, &known, &mut problems);
        if reflection == Reflection::AskUnknown && !problems.is_empty() {
            // The configuration is in use already, and a server that came up does
            // not match it. That is no reason to keep other upstreams pending.
            set_aside(&mut problems, &mut known);
            (routes, warnings) = table(config, &candidates, &known, &mut problems);
        }
        let callee = |name: &str| {
            let candidate = candidates.iter().find(|candidate| candidate.name == name)?;
            let descriptors = match known.get(name)? {
                Known::Yes(descriptors) => Some(Arc::clone(descriptors)),
                Known::NotYet(_) | Known::Broken => None,
            };
            let destination = candidate.destination();
            Some(Callee { destination, descriptors, timeout: candidate.config.timeout })
        };
        sizes::check(config, &routes, &mut problems);
        let remote = keys.keys.as_ref().and_then(|keys| keys.remote()).cloned();
        let auth = authentication::build(&config.auth, keys.keys, &mut problems, callee);
        let each_request = authentication::each_request(&config.auth, &mut problems, callee);
        let hooks = callouts::hooks(&config.hooks, &mut problems, callee);
        warnings.extend(callouts::doubts(config, callee));
        if reflection == Reflection::AskUnknown {
            set_callees_aside(config, &mut problems, &mut known);
        }
        let pending = candidates.iter().filter_map(|candidate| match known.get(candidate.name) {
            Some(Known::NotYet(reason)) => Some((candidate.name.to_owned(), reason.clone())),
            _ => None,
        });
        let pending = pending.collect();
        let upstreams = candidates.iter().map(|c| Arc::clone(&c.upstream)).collect();
        if problems.is_empty() {
            self.keep(&candidates, &known);
            self.is_reload = true;
            self.keys = remote;
        }
        let holding = components::holding(&config.auth);
        let calls = Targets { routes, each_request };
        let services = Services { calls, auth, holding, hooks, upstreams };
        Resolved { services, problems, warnings, pending, unfetched: keys.unfetched }
    }

    fn candidate<'c>(
        &self,
        name: &'c str,
        config: &'c UpstreamConfig,
        callouts: &[&'c RpcCall],
        problems: &mut Vec<Problem>,
    ) -> Option<Candidate<'c>> {
        let mut problem = |key: &str, message: String| {
            problems.push(Problem::at(["upstreams", name, key], message));
        };
        if config.address.is_empty() {
            return None; // reported when the file was read
        }
        let wants = match components::upstream(name, config) {
            Ok(wants) => wants,
            Err((key, message)) => {
                problem(key, message);
                return None;
            }
        };
        let upstream = match self.kept.get(name) {
            Some(kept) if *kept.upstream.config() == wants => Arc::clone(&kept.upstream),
            _ => match Upstream::new(wants, self.workers) {
                Ok(upstream) => Arc::new(upstream),
                Err(error) => {
                    let key = match &error {
                        upstream::UpstreamError::Tls { reason: TlsError::Unused, .. } => "address",
                        upstream::UpstreamError::Tls { .. } => "tls",
                        _ => "address",
                    };
                    problem(key, error.to_string());
                    return None;
                }
            },
        };
        let rules = match components::rules(&config.metadata) {
            Ok(rules) => rules,
            Err((below, message)) => {
                let path = ["upstreams", name, "metadata"].map(str::to_owned).into_iter();
                problems.push(Problem { path: path.chain(below).collect(), message, help: None });
                return None;
            }
        };
        let routed = config.routes.values().map(|route| service_of(&route.rpc));
        let exposed = config.expose.iter().map(String::as_str);
        let called = callouts.iter().filter(|call| call.upstream == name);
        let called = called.map(|call| service_of(&call.rpc));
        let wanted = routed.chain(exposed).chain(called).filter(|name| !name.is_empty());
        Some(Candidate { name, config, upstream, rules, wanted: wanted.collect() })
    }

    async fn describe(&self, of: &Candidate<'_>, mode: Reflection) -> Result<Known, Problem> {
        let problem = |message: String| Problem::at(["upstreams", of.name, "descriptors"], message);
        let files = match &of.config.descriptors {
            config::Descriptors::Files(files) => files,
            config::Descriptors::Reflection => {
                return self.reflect(of, mode).await.map_err(problem);
            }
        };
        let mut sets = Vec::new();
        for file in files {
            let read = read_set(file);
            let name = file.display().to_string();
            let bytes = read.map_err(|error| problem(format!("cannot read {name}: {error}")))?;
            sets.push((name, bytes));
        }
        Descriptors::from_named_sets(sets.iter().map(|(name, set)| (name.as_str(), set.as_slice())))
            .map(|descriptors| Known::Yes(Arc::new(descriptors)))
            .map_err(|error| problem(error.to_string()))
    }

    async fn reflect(&self, of: &Candidate<'_>, mode: Reflection) -> Result<Known, String> {
        if of.wanted.is_empty() {
            return Ok(Known::Yes(Arc::new(Descriptors::default())));
        }
        let kept = self.kept.get(of.name).filter(|kept| Arc::ptr_eq(&kept.upstream, &of.upstream));
        let kept = kept.and_then(|kept| kept.reflected.clone());
        match (mode, &kept) {
            (Reflection::Offline, _) => return Ok(Known::NotYet("not asked".into())),
            (Reflection::AskUnknown, Some(kept)) if knows_all(kept, &of.wanted) => {
                return Ok(Known::Yes(Arc::clone(kept)));
            }
            _ => {}
        }
        match ask(&of.upstream, of.rules.as_deref(), &of.wanted).await {
            Ok(descriptors) => Ok(Known::Yes(Arc::new(descriptors))),
            // Down for a moment: its known descriptors are still valid.
            Err(ReflectionError::Unreachable { .. })
                if let Some(kept) = &kept
                    && knows_all(kept, &of.wanted) =>
            {
                Ok(Known::Yes(Arc::clone(kept)))
            }
            // New services cannot be looked up now; better the old table than none.
            Err(error @ ReflectionError::Unreachable { .. }) if kept.is_some() => {
                Err(error.to_string())
            }
            Err(error @ ReflectionError::Unreachable { .. }) => {
                Ok(Known::NotYet(error.to_string()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn keep(&mut self, candidates: &[Candidate<'_>], known: &HashMap<&str, Known>) {
        self.kept = candidates
            .iter()
            .map(|candidate| {
                let reflects = candidate.config.descriptors == config::Descriptors::Reflection;
                let reflected = match known.get(candidate.name) {
                    Some(Known::Yes(descriptors)) if reflects => Some(Arc::clone(descriptors)),
                    _ => None,
                };
                let upstream = Arc::clone(&candidate.upstream);
                (candidate.name.to_owned(), Kept { upstream, reflected })
            })
            .collect();
    }
}

/// Asks for the wanted services. If the server does not know one of them, asks
/// for all its services, so that a wrong name is distinguished from right ones.
async fn ask(
    server: &Upstream,
    rules: Option<&Rules>,
    wanted: &BTreeSet<&str>,
) -> Result<Descriptors, ReflectionError> {
    let wanted: Vec<_> = wanted.iter().copied().collect();
    let unknown = match reflection::fetch(server, rules, &wanted, REFLECTION_TIMEOUT).await {
        Err(unknown @ ReflectionError::UnknownSymbol { .. }) => unknown,
        told => return understand(server, &told?),
    };
    let ReflectionError::UnknownSymbol { services, .. } = &unknown else { return Err(unknown) };
    // Not every server describes its reflection.
    let all =
        services.iter().map(String::as_str).filter(|name| !name.starts_with("grpc.reflection."));
    let all: Vec<_> = all.collect();
    match reflection::fetch(server, rules, &all, REFLECTION_TIMEOUT).await {
        Ok(told) => understand(server, &told).map_err(|_| unknown),
        Err(_) => Err(unknown),
    }
}

/// Makes descriptors of a server's reflection result.
fn understand(server: &Upstream, told: &Reflected) -> Result<Descriptors, ReflectionError> {
    let made = Descriptors::from_files(&told.file_descriptor_set, &told.roots);
    made.map_err(|error| {
        let upstream = server.name().to_owned();
        let DescriptorError::MissingImport { file, import, needs } = &error else {
            return ReflectionError::Unusable { upstream, reason: error.to_string() };
        };
        let missing = told.missing.iter().find(|missing| missing.import == *import);
        let answer = missing.map_or("with other files", |missing| &missing.answer);
        let reason = format!(
            "`{file}` imports `{import}` and needs `{needs}` of it, and the server, asked for that \
             file, answers {answer}"
        );
        if missing.is_some_and(|missing| missing.may_pass) {
            ReflectionError::Unreachable { upstream, reason }
        } else {
            ReflectionError::Unusable { upstream, reason }
        }
    })
}

/// Bytes of a descriptor set, at most.
const MAX_SET: u64 = 64 * 1024 * 1024;

/// Reads a file, unless it is longer than any descriptor set.
fn read_set(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_SET + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SET {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_SET >> 20)));
    }
    Ok(bytes)
}

fn table(
    config: &Config,
    candidates: &[Candidate<'_>],
    known: &HashMap<&str, Known>,
    problems: &mut Vec<Problem>,
) -> (RouteTable<Destination>, Vec<Problem>) {
    let public = PublicMethods::new(&config.public_methods).unwrap_or_else(|error| {
        problems.push(Problem::at(["public_methods"], error.to_string()));
        PublicMethods::default()
    });
    let identity = &config.identity;
    let builder = TableBuilder::new(&identity.request_field, &identity.response_field, public);
    let mut builder = builder.with_depth(components::depth(identity.depth));
    let mut warnings = Vec::new();
    for candidate in candidates {
        match known.get(candidate.name) {
            Some(Known::Yes(descriptors)) => {
                let notes = add_routes(&mut builder, candidate, descriptors, problems);
                warnings.extend(notes);
            }
            Some(Known::NotYet(reason)) => {
                for (method, route) in &candidate.config.routes {
                    builder.pending_route(method, route.public, reason);
                }
                for service in &candidate.config.expose {
                    builder.pending_service(service, reason);
                }
            }
            Some(Known::Broken) | None => {}
        }
    }
    let table = builder.build();
    warnings.extend(idle_patterns(config, &table));
    let is_whole = candidates.iter().all(|of| matches!(known.get(of.name), Some(Known::Yes(_))));
    if is_whole && problems.is_empty() {
        warnings.extend(missing_field(&table, &identity.request_field));
    }
    (table, warnings)
}

/// Warns of patterns of public methods that match no method. Says nothing while
/// not all methods of all services are known.
fn idle_patterns(config: &Config, table: &RouteTable<Destination>) -> Vec<Problem> {
    let is_service = |name: &str| name.ends_with('/');
    if table.pending().any(|(name, _)| is_service(name)) {
        return Vec::new();
    }
    let own = config::OWN_METHODS.into_iter();
    let configured = config.upstreams.values().flat_map(|upstream| upstream.routes.keys());
    let methods: Vec<_> = own
        .chain(configured.map(String::as_str))
        .chain(table.routes().map(|route| &*route.name))
        .collect();
    let doubt = |(nth, pattern): (usize, &String)| {
        let public = PublicMethods::new([pattern]).ok()?;
        if methods.iter().any(|method| public.matches(method)) {
            return None;
        }
        let message = format!("no client method matches `{pattern}`");
        let nearest = suggest::closest(pattern, methods.iter().copied());
        let help = nearest.map_or_else(
            || "`*` stays within a segment, `**` crosses segments".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        let path = vec!["public_methods".to_owned(), nth.to_string()];
        Some(Problem { path, message, help: Some(help) })
    };
    config.public_methods.iter().enumerate().filter_map(doubt).collect()
}

/// Warns of a request field that no routed message has. Of the default name, only
/// where another field seems to be intended: services need not have one.
fn missing_field(table: &RouteTable<Destination>, name: &str) -> Option<Problem> {
    let is_default = name == IdentityConfig::default().request_field;
    if table.is_empty() || table.routes().any(|route| route.has_identity()) {
        return None;
    }
    let names: BTreeSet<_> = table
        .routes()
        .flat_map(|route| route.input.fields().collect::<Vec<_>>())
        .filter(|field| field.kind().as_message().is_some() && !field.is_list())
        .map(|field| field.json_name().to_owned())
        .collect();
    let alike = suggest::closest(name, names.iter().map(String::as_str));
    if is_default && alike.is_none() {
        return None;
    }
    let message = format!("no routed method has a field `{name}` in its request to fill");
    let help = alike.map_or_else(
        || "services learn of the caller from metadata alone".to_owned(),
        |alike| format!("did you mean `{alike}`?"),
    );
    let path = ["identity", "request_field"].map(str::to_owned).into();
    Some(Problem { path, message, help: Some(help) })
}

/// Adds an upstream's routes, and returns warnings.
fn add_routes(
    builder: &mut TableBuilder<Destination>,
    of: &Candidate<'_>,
    descriptors: &Descriptors,
    problems: &mut Vec<Problem>,
) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let (name, config) = (of.name, of.config);
    let destination = of.destination();
    let codes = components::status_codes(&StatusCodes::default(), &config.error_codes);
    let spec = |method: &str, rpc: &str| RouteSpec {
        name: method.to_owned(),
        rpc: rpc.to_owned(),
        timeout: config.timeout,
        public: None,
        retry: false,
        validate: false,
        expose_errors: config.expose_errors,
        codes: codes.clone(),
    };
    for (method, route) in &config.routes {
        if route.rpc.is_empty() {
            continue; // reported when the file was read
        }
        let spec = RouteSpec {
            timeout: route.timeout.unwrap_or(config.timeout),
            public: route.public,
            retry: route.retry,
            validate: route.validate,
            codes: components::status_codes(&codes, &route.error_codes),
            ..spec(method, &route.rpc)
        };
        let path = ["upstreams", name, "routes", method];
        match builder.route(of.destination(), spec, descriptors) {
            Ok(notes) => warnings.extend(notes.iter().map(|note| note_at(path, note))),
            Err(error) => problems.push(Problem::at(path, error.to_string())),
        }
    }
    for (nth, service) in config.expose.iter().enumerate() {
        let defaults = spec("", "");
        let path = ["upstreams", name, "expose", &nth.to_string()];
        match builder.expose(&destination, service, &defaults, descriptors) {
            Ok(notes) => warnings.extend(notes.iter().map(|note| note_at(path, note))),
            Err(error) => problems.push(Problem::at(path, error.to_string())),
        }
    }
    warnings
}

fn note_at(path: [&str; 4], note: &Note) -> Problem {
    let help = match note {
        Note::Below { .. } => "say `identity: { depth: nested }` to have it filled there",
        Note::StaysEmpty { .. } => {
            "rename the field, or change its type, if it is meant for the gateway"
        }
    };
    Problem { help: Some(help.to_owned()), ..Problem::at(path, note.to_string()) }
}

/// Turns upstreams with problems into upstreams that are not known yet.
fn set_aside(problems: &mut Vec<Problem>, known: &mut HashMap<&str, Known>) {
    problems.retain(|problem| {
        let upstream = match problem.path.as_slice() {
            [section, name, ..] if section == "upstreams" => known.get_mut(name.as_str()),
            _ => None,
        };
        let Some(upstream) = upstream else { return true };
        *upstream = Known::NotYet(problem.message.clone());
        false
    });
}

/// The same for upstreams that do not fit the callouts of `auth` or of a hook.
/// Their routes stay as they are.
fn set_callees_aside(
    config: &Config,
    problems: &mut Vec<Problem>,
    known: &mut HashMap<&str, Known>,
) {
    problems.retain(|problem| {
        let path = || problem.path.iter().map(String::as_str);
        let callout =
            callouts::all(config).find(|(place, _)| path().take(2).eq(place.iter().copied()));
        let callee = callout.and_then(|(_, call)| known.get_mut(call.upstream.as_str()));
        let Some(callee) = callee else { return true };
        *callee = Known::NotYet(format!("{}: {}", problem.path.join("."), problem.message));
        false
    });
}

fn knows_all(descriptors: &Descriptors, wanted: &BTreeSet<&str>) -> bool {
    wanted.iter().all(|service| descriptors.service(service).is_ok())
}

/// `pkg.Service` of `pkg.Service/Method`.
fn service_of(rpc: &str) -> &str {
    rpc.split_once('/').map_or("", |(service, _)| service)
}
