//! The gateway with `config/gateway.yaml` as it stands, and both upstreams, in one process.
//!
//! For a first look and for tests of the whole; not a way to run it: in production each part is a
//! process of its own.

mod sessions;
pub mod tour;

use auth::session::redis::RedisSessions;
use auth::{Secure, SessionStore, Signing};
use sessions::Embedded;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use streamgate::config;
use streamgate::server::{self, Running, StartError};
use streamgate::yaml::Environment;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The two accounts that can log in, with their passwords. `bob` may play one stream.
pub const ACCOUNTS: [&str; 2] = ["alice:wonderland", "bob:builder:basic:1"];

/// How long requests under way may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Gateway(#[from] StartError),
    #[error("{0}: {1}")]
    Io(&'static str, std::io::Error),
    #[error("the auth service: {0}")]
    Auth(String),
}

/// Everything that runs.
pub struct Demo {
    pub gateway: Running,
    upstreams: Runtime,
}

/// Starts all of it on loopback. Variables that `environment` does not set get a value for this
/// run: secrets are made up, the upstreams take free ports.
pub fn start(environment: Environment) -> Result<Demo, DemoError> {
    let upstreams = Runtime::new().map_err(|error| DemoError::Io("a runtime", error))?;
    let bind = || upstreams.block_on(TcpListener::bind("127.0.0.1:0"));
    let port = |error| DemoError::Io("a port for an upstream", error);
    let (auth, stream) = (bind().map_err(port)?, bind().map_err(port)?);
    let address = |socket: &TcpListener| socket.local_addr().map_err(port);
    let environment = environment
        .or("SESSION_SECRET", secret)
        .or("ACCOUNT_PEPPER", secret)
        .or("REDIS_URL", || "memory:".to_owned())
        .with("AUTH_ADDR", address(&auth)?.to_string())
        .with("STREAM_ADDR", address(&stream)?.to_string());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("config/gateway.yaml").canonicalize();
    let file = file.map_err(|error| DemoError::Io("config/gateway.yaml", error))?;
    let loaded = config::load(&file, &environment).map_err(StartError::Config)?;
    let gateway = server::start(loaded, None)?;
    let router = upstreams.block_on(auth_service(&environment, &gateway))?;
    upstreams.spawn(serve(auth, router));
    upstreams.spawn(serve(stream, stream::app(stream::Settings::default())));
    Ok(Demo { gateway, upstreams })
}

/// 256 bits that no one has seen.
fn secret() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

async fn serve(socket: TcpListener, router: axum::Router) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // It ends with its runtime.
    let _ = axum::serve(socket, service).await;
}

/// The auth service, writing sessions where this gateway looks for them.
async fn auth_service(
    environment: &Environment,
    gateway: &Running,
) -> Result<axum::Router, DemoError> {
    let failed = |error: String| DemoError::Auth(error);
    let sessions: Arc<dyn SessionStore> = match environment.var("REDIS_URL") {
        Some(url) if !url.is_empty() && url != "memory:" => {
            Arc::new(RedisSessions::new(url).map_err(|error| failed(error.to_string()))?)
        }
        _ => Arc::new(Embedded::of(gateway).ok_or(failed("no store for sessions".to_owned()))?),
    };
    let key = environment.var("SESSION_SECRET").unwrap_or_default().as_bytes();
    let signing = Signing::hs256(key).map_err(|error| failed(error.to_string()))?;
    let mut settings = auth::Settings::new(signing, sessions);
    let seeds: Result<_, _> = ACCOUNTS.iter().map(|account| account.parse()).collect();
    settings.seeds = seeds.map_err(|error: auth::account::SpecError| failed(error.to_string()))?;
    // The demo speaks plain HTTP, over which a `Secure` cookie would not be sent.
    settings.cookie_secure = Secure::Auto;
    auth::app(settings).await.map_err(|error| failed(error.to_string()))
}

impl Demo {
    /// Where clients connect.
    pub fn edge(&self) -> SocketAddr {
        self.gateway.listeners[0].1.inet().expect("its file says so")
    }

    /// Stops everything.
    pub fn stop(self) {
        self.gateway.stop(DRAIN);
        self.upstreams.shutdown_timeout(Duration::from_secs(1));
    }
}
