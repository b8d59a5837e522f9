//! `bridgehead demo`: a gateway and small services in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::output::print;
use super::serve::start_failure;
use super::{descriptors, diagnose, keygen, runtime};
use crate::app::{self, App, Drain, Signals, StartError};
use crate::config::{self, Diagnostics, Loaded};
use crate::demo;

/// The example at the root of the repository, so that the demo needs no file.
const ROUTES: &str = include_str!("../../routes.yaml");
const LISTEN: &str = "127.0.0.1:8080";
const PUSH: &str = "127.0.0.1:9090";

/// Run a gateway with small services behind it, and print commands to try.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where clients connect.
    #[arg(long, value_name = "IP:PORT", default_value = LISTEN)]
    listen: SocketAddr,
    /// Where the services listen.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:50051")]
    services: SocketAddr,
    /// Where services push to clients, by the Push API.
    #[arg(long, value_name = "IP:PORT", default_value = PUSH)]
    push: SocketAddr,
    /// Where the admin listener (health, readiness, metrics) listens.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Where the key pair for encrypted sessions is kept; created if missing.
    #[arg(long, value_name = "DIR", default_value_os_t = env::temp_dir().join("bridgehead-demo"))]
    key_dir: PathBuf,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        runtime::block_on(self.demo())
    }

    async fn demo(self) -> Result<(), Failure> {
        let signals = Signals::listen().map_err(Failure::failed)?;
        descriptors::allow_all();
        let (private, public) = self.keys()?;
        let services = TcpListener::bind(self.services).await.map_err(|error| {
            Failure::failed(format!("cannot listen on {} for the services: {error}", self.services))
                .help("does another demo run? Stop it, or choose another address with --services")
        })?;
        let services_at = services.local_addr().map_err(Failure::failed)?;
        let read = routes(self.listen, services_at, self.push, self.admin, private);
        let loaded = read().map_err(|wrong| diagnose::unusable(&wrong))?;
        app::start_log(&loaded.config.log);

        let (stop_services, stopped) = oneshot::channel::<()>();
        let push_api = demo::PushApi::default();
        let services = tokio::spawn(demo::serve(services, push_api.clone(), async {
            // The sender is used or dropped: the end in either case.
            let _end = stopped.await;
        }));
        let app = App::start(Box::new(read), None, runtime::cores()).await.map_err(|error| {
            let flag = match &error {
                StartError::Listen { .. } => Some("--listen"),
                StartError::PushListen { .. } => Some("--push"),
                StartError::AdminListen { .. } => Some("--admin"),
                _ => None,
            };
            let failure = start_failure(error);
            match flag {
                Some(flag) => failure.help(format!(
                    "does another demo or gateway run? Stop it, or choose another address with {flag}"
                )),
                None => failure,
            }
        })?;
        if let Some(address) = app.push_address() {
            push_api.is_at(address);
        }
        print(&hint(app.address(), app.push_address(), app.admin_address(), &public))?;
        let at_once = Drain { delay: Duration::ZERO, period: Duration::ZERO };
        app.with_drain(at_once).run(signals.stop()).await;
        drop(stop_services);
        services.await.map_err(Failure::failed)?.map_err(Failure::failed)
    }

    /// The key pair of encrypted sessions, private and public; made at the
    /// first run.
    fn keys(&self) -> Result<(PathBuf, PathBuf), Failure> {
        let files = ["session.pem", "session.pub.pem"].map(|name| self.key_dir.join(name));
        let [private, public] = files;
        if !(private.exists() && public.exists()) {
            fs::create_dir_all(&self.key_dir).map_err(|error| {
                Failure::failed(format!("cannot make {}: {error}", self.key_dir.display()))
                    .help("choose another folder with --key-dir")
            })?;
            keygen::make(&private, &public)?;
        }
        Ok((private, public))
    }
}

/// The example, with the demo's own addresses and key.
fn routes(
    listen: SocketAddr,
    services: SocketAddr,
    push: SocketAddr,
    admin: SocketAddr,
    private_key: PathBuf,
) -> impl Fn() -> Result<Loaded, Diagnostics> + Send + Sync {
    let variable = move |name: &str| match name {
        "LISTEN" => Some(listen.to_string()),
        "PUSH_LISTEN" => Some(push.to_string()),
        "ADMIN_LISTEN" => Some(admin.to_string()),
        "SESSION_KEY" => Some(private_key.display().to_string()),
        "USER_ADDRESS" | "RELATION_ADDRESS" | "MSG_ADDRESS" => Some(format!("http://{services}")),
        _ => None,
    };
    move || config::parse("routes.yaml", ROUTES, Path::new(""), &variable)
}

fn hint(
    gateway: SocketAddr,
    push_api: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    public: &Path,
) -> String {
    let call = format!("{} call", program());
    let push = format!("{} push", program());
    let url = if gateway.to_string() == LISTEN {
        String::new()
    } else {
        format!(" --url ws://{gateway}/ws")
    };
    let push_url = match push_api.map(|address| address.to_string()) {
        Some(address) if address != PUSH => format!(" --push-url http://{address}"),
        _ => String::new(),
    };
    let public = public.display();
    let admin = admin.map_or_else(String::new, |admin| {
        format!("health: http://{admin}/readyz, and http://{admin}/metrics\n")
    });
    format!(
        r#"
Clients connect at ws://{gateway}/ws. To try it, in a second terminal:

  {call} /v1/user/white/login '{{"id": "alice", "password": "secret"}}'{url}
  {call} /v1/relation/getFriendList '{{"page": {{"page": 1, "size": 5}}}}' --user alice --token any{url}

The same, encrypted:

  {call} /v1/relation/getFriendList '{{"page": {{"page": 1, "size": 5}}}}' --user alice --token any --encrypt {public}{url}

To chat: alice listens in the second terminal, bob writes to her in a third.

  {call} --listen --user alice --token any{url}
  {call} /v1/msg/sendMsgList '{{"msgDataList": [{{"convId": "alice:bob", "content": "aGk="}}]}}' --user bob --token any{url}

Or push to her yourself, as services do:

  {push} --user alice --event notices --text hello --confirm acknowledged{push_url}

{admin}public key: {public}
Ctrl-C ends the demo.
"#
    )
}

/// How this program can be called again from the same folder.
fn program() -> String {
    let relative = || {
        let exe = env::current_exe().ok()?;
        let here = env::current_dir().ok()?;
        Some(match exe.strip_prefix(here) {
            Ok(relative) => format!("./{}", relative.display()),
            Err(_) => exe.display().to_string(),
        })
    };
    relative().unwrap_or_else(|| "bridgehead".into())
}
