//! `bridgehead demo`: a gateway and small services in one process.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::{EXIT_CONFIG, report};
use crate::app::{self, App, Drain, StartError};
use crate::config;
use crate::demo;
use crate::envelope::rsa;

/// The example at the root of the repository, so that the demo needs no file.
const ROUTES: &str = include_str!("../../routes.yaml");

/// Runs a gateway and the demo services, and says what to try.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where clients connect.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the demo services listen.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:50051")]
    services: SocketAddr,
    /// Where the key pair for encrypted sessions is kept; made when missing.
    #[arg(long, value_name = "DIR", default_value_os_t = default_key_dir())]
    key_dir: PathBuf,
}

fn default_key_dir() -> PathBuf {
    std::env::temp_dir().join("bridgehead-demo")
}

impl Demo {
    /// Runs until Ctrl-C.
    pub(super) fn run(self) -> ExitCode {
        super::block_on(self.demo())
    }

    async fn demo(self) -> ExitCode {
        let (private, public) = match keys(&self.key_dir) {
            Ok(paths) => paths,
            Err(error) => {
                report::error(&format!("{}: {error}", self.key_dir.display()));
                return ExitCode::FAILURE;
            }
        };
        let services = match TcpListener::bind(self.services).await {
            Ok(services) => services,
            Err(error) => {
                report::error(&format!(
                    "cannot listen on {} for the demo services: {error}; choose another with --services",
                    self.services
                ));
                return ExitCode::FAILURE;
            }
        };
        let Ok(services_at) = services.local_addr() else { return ExitCode::FAILURE };
        let listen = self.listen;
        let variable = move |name: &str| match name {
            "LISTEN" => Some(listen.to_string()),
            "SESSION_KEY" => Some(private.display().to_string()),
            "USER_ADDRESS" | "RELATION_ADDRESS" | "MSG_ADDRESS" => {
                Some(format!("http://{services_at}"))
            }
            other => config::process_environment(other),
        };
        let read = move || config::parse("routes.yaml", ROUTES, Path::new("."), &variable);
        match read() {
            Ok(loaded) => app::start_log(&loaded.config.log),
            Err(diagnostics) => {
                report::diagnostics(&diagnostics);
                return ExitCode::from(EXIT_CONFIG);
            }
        }
        let (stop_services, stopped) = tokio::sync::oneshot::channel::<()>();
        let demo = tokio::spawn(demo::serve(services, async {
            let _stopped = stopped.await;
        }));
        let app = match App::start(Box::new(read), None, super::cores()).await {
            Ok(app) => app,
            Err(StartError::Config(diagnostics)) => {
                report::diagnostics(&diagnostics);
                return ExitCode::from(EXIT_CONFIG);
            }
            Err(error @ StartError::Listen { .. }) => {
                report::error(&format!("{error}; choose another with --listen"));
                return ExitCode::FAILURE;
            }
            Err(error) => {
                report::error(&error);
                return ExitCode::FAILURE;
            }
        };
        if hint(app.address(), services_at, &public).is_err() {
            return ExitCode::FAILURE; // nobody reads
        }
        let at_once = Drain { delay: Duration::ZERO, period: Duration::ZERO };
        app.with_drain(at_once)
            .run(async {
                match app::signalled().await {
                    Ok(stop) => stop,
                    Err(_) => std::future::pending().await,
                }
            })
            .await;
        drop(stop_services);
        let _ended = demo.await;
        ExitCode::SUCCESS
    }
}

/// The key pair of encrypted sessions; made at the first run.
fn keys(dir: &Path) -> Result<(PathBuf, PathBuf), String> {
    let (private, public) = (dir.join("session.pem"), dir.join("session.pub.pem"));
    if private.exists() && public.exists() {
        return Ok((private, public));
    }
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    let pair = rsa::generate_key(2048).map_err(|error| error.to_string())?;
    super::keygen::write_pair(&pair, &private, &public).map_err(|error| error.to_string())?;
    Ok((private, public))
}

fn hint(gateway: SocketAddr, services: SocketAddr, public: &Path) -> std::io::Result<()> {
    let exe = invoked_as();
    let url = if gateway.port() == 8080 && gateway.ip().is_loopback() {
        String::new()
    } else {
        format!(" --url ws://{gateway}/ws")
    };
    let public = public.display();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nBridgehead demo: clients connect at ws://{gateway}/ws; the services behind it are at {services}.
public key: {public}

Try it in a second terminal:

  {exe} call /v1/user/white/login '{{\"id\": \"alice\", \"password\": \"secret\"}}'{url}
  {exe} call /v1/relation/getFriendList '{{\"page\": {{\"page\": 1, \"size\": 10}}}}' --user alice --token demo{url}

The same, encrypted:

  {exe} call /v1/relation/getFriendList '{{}}' --user alice --token demo --encrypt {public}{url}

Ctrl-C stops it.
"
    )?;
    out.flush()
}

/// How this program can be run again from the same folder.
fn invoked_as() -> String {
    let exe = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    match (exe, here) {
        (Some(exe), Some(here)) => match exe.strip_prefix(&here) {
            Ok(relative) => format!("./{}", relative.display()),
            Err(_) => exe.display().to_string(),
        },
        _ => "bridgehead".into(),
    }
}
