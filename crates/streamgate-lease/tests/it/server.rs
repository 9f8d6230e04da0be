//! A real redis-server, one per test, on a socket in a directory of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use streamgate_lease::redis::{Client, Deadlines};
use tokio::time::{Instant, timeout};

/// Far more than a server needs to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sg-lease-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let child = Self::spawn(&dir);
        let server = Self { child, dir };
        server.answers().await;
        server
    }

    fn spawn(dir: &std::path::Path) -> Child {
        Command::new("redis-server")
            .args(["--port", "0", "--unixsocket"])
            .arg(dir.join("redis.sock"))
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need a redis-server: apt-get install redis-server")
    }

    async fn answers(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let wait = async {
            loop {
                if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                    && redis::cmd("PING").exec_async(&mut connection).await.is_ok()
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(START_MAX, wait).await.expect("redis-server does not answer");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    /// A client for tests that are not about deadlines: this machine may be busy.
    pub(crate) fn patient_client(&self) -> Arc<Client> {
        let patient = Duration::from_secs(20);
        let deadlines = Deadlines { command: patient, connect: patient, start: patient };
        Arc::new(Client::with_deadlines(&self.url(), deadlines).unwrap())
    }

    pub(crate) fn client(&self) -> Arc<Client> {
        Arc::new(Client::new(&self.url()).unwrap())
    }

    /// A plain connection, to look behind the scenes.
    pub(crate) async fn peek(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(START_MAX));
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// Waits until the server's clock shows another millisecond.
    pub(crate) async fn tick(&self) {
        let mut connection = self.peek().await;
        let mut now = async || -> (u64, u64) {
            let (seconds, micros): (u64, u64) =
                redis::cmd("TIME").query_async(&mut connection).await.unwrap();
            (seconds, micros / 1000)
        };
        let began = now().await;
        while now().await == began {}
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = Self::spawn(&self.dir);
        self.answers().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Asks again and again until the answer is yes; the world is really asynchronous here.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < START_MAX, "never came true: {what}");
        tokio::task::yield_now().await;
    }
}
