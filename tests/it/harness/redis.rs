//! A real redis-server, a child of the test, gone with it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often another port is tried when somebody took the free one first.
const TRIES: usize = 20;

pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        for _ in 0..TRIES {
            let mut redis = Redis::on(free_port());
            if redis.answers().await {
                return redis;
            }
        }
        panic!("redis-server did not start");
    }

    /// Starts one on a port that is known to be free.
    pub(crate) fn on(port: u16) -> Self {
        Redis::with(port, &["--appendonly", "no"])
    }

    fn with(port: u16, words: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--daemonize", "no"])
            .args(words)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed: apt-get install redis-server");
        Redis { child, port }
    }

    /// Starts one that writes all to a file in this folder; after `kill` it can be started there
    /// again, on the port that it had. What was written outlives the process without being on the
    /// disk yet, and a disk that is busy with other things makes it wait for nothing.
    pub(crate) async fn durable(folder: &Path, port: Option<u16>) -> Self {
        for _ in 0..TRIES {
            let port = port.unwrap_or_else(free_port);
            let words = ["--appendonly", "yes", "--appendfsync", "no", "--dir"];
            let words = [&words[..], &[folder.to_str().unwrap()]].concat();
            let mut redis = Redis::with(port, &words);
            if redis.answers().await {
                return redis;
            }
        }
        panic!("redis-server did not start");
    }

    /// Starts one that listens on this socket, too.
    pub(crate) async fn with_socket(socket: &Path) -> Self {
        let words = ["--appendonly", "no", "--unixsocket", socket.to_str().unwrap()];
        Redis::with_words(&words).await
    }

    /// Starts one that is told all this.
    pub(crate) async fn with_words(words: &[&str]) -> Self {
        for _ in 0..TRIES {
            let mut redis = Redis::with(free_port(), words);
            if redis.answers().await {
                return redis;
            }
        }
        panic!("redis-server did not start");
    }

    async fn answers(&mut self) -> bool {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        while self.child.try_wait().unwrap().is_none() {
            if self.ask::<String>(&["PING"]).await.is_ok() {
                return true;
            }
            again.tick().await;
        }
        false
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks it something.
    pub(crate) async fn ask<T: redis::FromRedisValue>(
        &self,
        words: &[&str],
    ) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut connection).await
    }

    /// How many commands it has been sent, but for those of this question.
    pub(crate) async fn commands(&self) -> u64 {
        let stats: String = self.ask(&["INFO", "stats"]).await.unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse().unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It goes on existing and answers nothing (SIGSTOP), or wakes up again (SIGCONT).
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may be stopped or dead already; killing it again does no harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
