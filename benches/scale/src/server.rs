//! A real redis-server of our own, on a socket in a directory of its own, ended with the bench.

use redis::{Value, cmd};
use std::error::Error;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Client, Deadlines};
use tokio::time::Instant;

const START_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) client: Arc<Client>,
}

/// What a server says of itself.
pub(crate) struct Reading {
    /// Processor time so far, user and system.
    pub(crate) cpu: Duration,
    /// Bytes that its allocator has handed out.
    pub(crate) memory: u64,
}

impl Server {
    /// Starts one of this name that keeps nothing on disk. It must be installed.
    pub(crate) async fn start(name: &str) -> Result<Self, Box<dyn Error>> {
        let folder = std::env::temp_dir().join(format!("sg-scale-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let socket = folder.join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket"])
            .arg(&socket)
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}; `apt-get install redis-server`"))?;
        let url = format!("redis+unix://{}", socket.display());
        // The bench keeps it as busy as it can be: an answer may take its time.
        let patience = Deadlines { command: Duration::from_secs(5), ..Deadlines::default() };
        let client = Arc::new(Client::with_deadlines(&url, patience)?);
        let server = Self { child, folder, client };
        let began = Instant::now();
        while server.client.query::<Value>("", &cmd("PING")).await.is_err() {
            if START_MAX < began.elapsed() {
                return Err("redis-server does not answer".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Reads its own account of itself.
    pub(crate) async fn read(&self) -> Result<Reading, Box<dyn Error>> {
        let text: String = self.client.query("", &cmd("INFO")).await?;
        let figure = |name: &str| -> Result<f64, Box<dyn Error>> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(line.ok_or_else(|| format!("INFO has no {name}"))?.trim().parse()?)
        };
        let cpu = figure("used_cpu_user")? + figure("used_cpu_sys")?;
        Ok(Reading { cpu: Duration::from_secs_f64(cpu), memory: figure("used_memory")? as u64 })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; either way nothing is left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
