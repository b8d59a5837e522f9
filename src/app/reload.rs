//! Reloading while serving: on a changed file, on SIGHUP, and when an upstream
//! that was down can at last be asked for its descriptors.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::admin::News;
use super::files::{Files, content_of};
use super::problem::Problem;
use super::push::{self, Door};
use super::reflection::Reflection;
use super::resolve::Resolver;
use super::warnings;
use crate::broker::cluster::Cluster;
use crate::config::{Config, Diagnostics, Loaded, PushConfig};
use crate::metrics::{Metrics, ReloadOutcome};
use crate::session::Services;
use crate::tls::Tls;

/// How long to wait before a server that was down is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Reads the configuration, at start and again whenever it may have changed.
pub type Read = Box<dyn Fn() -> Result<Loaded, Diagnostics> + Send + Sync>;

/// Builds new services beside the old ones and swaps them in.
pub(super) struct Reloader {
    pub(super) read: Read,
    pub(super) files: Files,
    pub(super) resolver: Resolver,
    pub(super) services: Arc<ArcSwap<Services>>,
    pub(super) replaced: watch::Sender<()>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) door: Door,
    pub(super) cluster: Option<Arc<Cluster>>,
    /// The configuration of the running services.
    pub(super) running: Config,
    /// The configuration at the start of the process.
    pub(super) started: Config,
    /// The hash of the private key's file at that time.
    pub(super) key: Option<u64>,
    pub(super) pending: Vec<(String, String)>,
    /// Warnings that are already in the log.
    pub(super) warned: Vec<Problem>,
    /// The signal for a reload; `None`: it cannot be received.
    pub(super) hangup: Option<Signal>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) news: Arc<News>,
}

/// From now on SIGHUP does not end the process, but asks it to reload. To be
/// called inside of a runtime, before any slow operation.
pub(super) fn listen_for_hangup() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be listened to"))
        .ok()
}

enum Cause {
    Files,
    Signal,
    Pending,
}

impl Reloader {
    /// Reloads on every cause, for ever.
    pub(super) async fn run(&mut self) -> Infallible {
        self.log_pending();
        loop {
            let cause = tokio::select! {
                () = self.files.changed() => Cause::Files,
                () = received(&mut self.hangup) => Cause::Signal,
                () = sleep(ASK_AGAIN), if !self.pending.is_empty() => Cause::Pending,
            };
            match cause {
                Cause::Pending => self.ask_again().await,
                Cause::Files | Cause::Signal => self.reload().await,
            }
        }
    }

    /// Reads everything again. A configuration with an error is refused as a whole.
    async fn reload(&mut self) {
        let are_files_good = self.read_files_again();
        let loaded = match (self.read)() {
            Ok(loaded) => loaded,
            Err(diagnostics) => return self.refuse(&diagnostics),
        };
        self.files.also(loaded.files());
        let resolved = self.resolver.resolve(&loaded.config, Reflection::Ask).await;
        let tokens = push::tokens(&loaded.config);
        let bad_tokens = tokens.as_ref().err();
        if !resolved.problems.is_empty() || bad_tokens.is_some() {
            let mut diagnostics = loaded.diagnostics();
            for problem in resolved.problems.iter().chain(bad_tokens) {
                problem.report(&loaded, &mut diagnostics);
            }
            return self.refuse(&diagnostics);
        }
        self.warn_of_restart(&loaded.config);
        for line in loaded.warnings.lines() {
            tracing::warn!(warning = %line, "configuration");
        }
        warnings::log(&loaded, &resolved);
        self.warned = resolved.warnings;
        self.door.take_over(&tokens.unwrap_or_default());
        self.running = loaded.config;
        self.replace(resolved.services, resolved.pending);
        // A gateway would refuse to start with a bad file, so this is no success.
        let outcome = if are_files_good { ReloadOutcome::Ok } else { ReloadOutcome::Refused };
        self.metrics.reloads.inc(outcome);
        let routes = self.services.load().calls.routes.len();
        if are_files_good {
            self.news.is_good();
            tracing::info!(routes, "configuration reloaded");
        } else {
            tracing::warn!(routes, "configuration reloaded, except for the refused files");
        }
        self.log_pending();
    }

    /// Reads the files of certificates, keys, tokens and credentials that are in use.
    /// Bad files are skipped. Returns whether all are good.
    fn read_files_again(&self) -> bool {
        let tls = self.tls.as_ref().is_none_or(|tls| match tls.reload() {
            Ok(()) => {
                tracing::info!("client TLS certificate read again");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the new TLS certificate is refused, the old one stays in use");
                false
            }
        });
        let push = self.door.read_again(self.running.push.as_ref());
        let cluster = match self.cluster.as_ref().and_then(|cluster| cluster.read_again()) {
            Some(Ok(())) => {
                tracing::info!("credentials for NATS read again");
                true
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the new credentials for NATS are refused, the old ones stay in use");
                false
            }
            None => true,
        };
        tls && push && cluster
    }

    fn refuse(&self, diagnostics: &Diagnostics) {
        self.metrics.reloads.inc(ReloadOutcome::Refused);
        refused(diagnostics);
    }

    /// Asks the servers that were down once more.
    async fn ask_again(&mut self) {
        let resolved = self.resolver.resolve(&self.running, Reflection::AskUnknown).await;
        if resolved.problems.is_empty() && resolved.pending != self.pending {
            let routes = resolved.services.calls.routes.len();
            self.replace(resolved.services, resolved.pending);
            tracing::info!(routes, pending = self.pending.len(), "asked for descriptors again");
            for new in resolved.warnings.iter().filter(|found| !self.warned.contains(found)) {
                let place = new.path.join(".");
                let help = new.help.as_deref().unwrap_or_default();
                tracing::warn!(warning = %format_args!("{place}: {}; {help}", new.message), "configuration");
            }
            self.warned = resolved.warnings;
            self.log_pending();
        }
    }

    fn replace(&mut self, services: Services, pending: Vec<(String, String)>) {
        self.services.store(Arc::new(services));
        self.replaced.send_replace(());
        self.news.set_pending(&pending);
        self.pending = pending;
    }

    /// Logs pending upstreams, also at a reload: no check finds a wrong address.
    fn log_pending(&self) {
        for (upstream, reason) in &self.pending {
            let address = self.running.upstreams.get(upstream).map(|it| it.address.join(", "));
            tracing::warn!(
                upstream,
                address,
                reason,
                "descriptors are not known yet, since the service does not answer at this address; \
                 its routes answer RetryError until it does"
            );
        }
    }

    /// Logs the sections that differ from the running configuration and that only
    /// a restart can change.
    fn warn_of_restart(&self, new: &Config) {
        let old = &self.started;
        for (section, changed) in [
            ("edge", old.edge != new.edge),
            ("session", old.session != new.session),
            ("push", is_push_changed(old.push.as_ref(), new.push.as_ref())),
            ("admin", old.admin != new.admin),
            ("cluster", old.cluster != new.cluster),
            ("tracing", old.tracing != new.tracing),
            ("drain", old.drain != new.drain),
            ("log", old.log != new.log),
        ] {
            if changed {
                tracing::warn!(section, "this change takes effect after a restart");
            }
        }
        if old.session == new.session && self.key != private_key(new) {
            tracing::warn!("session.private_key has changed: the new key is used after a restart");
        }
    }
}

/// Whether there are changes that a reload does not apply. It applies new tokens,
/// and new contents of the certificates' files.
fn is_push_changed(old: Option<&PushConfig>, new: Option<&PushConfig>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return old.is_some() != new.is_some() };
    old.listen != new.listen
        || old.tls != new.tls
        || (new.tokens.is_empty() && !old.tokens.is_empty())
}

/// A hash of the private key's file.
pub(super) fn private_key(config: &Config) -> Option<u64> {
    config.session.private_key.as_deref().map(content_of)
}

fn refused(diagnostics: &Diagnostics) {
    for line in diagnostics.lines() {
        tracing::error!(problem = %line, "configuration refused");
    }
    tracing::error!(
        "the previous configuration stays in use; `bridgehead check` reports all mistakes at once"
    );
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
