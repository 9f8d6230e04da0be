//! One server process of ours: killed, stopped, woken up and started again where it was.

use load::bench::{Bench, Place, Process, free_address};
use redis::{FromRedisValue, RedisResult};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// One that is slower than this is taken for one that hangs.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// A redis-server or a sentinel, with a folder of its own.
pub(crate) struct Node {
    bench: Bench,
    process: Mutex<Option<Process>>,
    folder: PathBuf,
    words: Vec<String>,
    pub(crate) address: SocketAddr,
}

impl Node {
    /// Starts one on a free port and waits until it listens. `{bus}` becomes a second port.
    pub(crate) fn start(bench: Bench, folder: &Path, words: &[&str]) -> io::Result<Self> {
        let (address, bus) = (free_address()?, free_address()?);
        let folder = folder.join(address.port().to_string());
        std::fs::create_dir_all(&folder)?;
        let common = ["--port", "{port}", "--bind", "127.0.0.1", "--dir", "{dir}"];
        let fill = |word: &&str| {
            word.replace("{port}", &address.port().to_string())
                .replace("{bus}", &bus.port().to_string())
                .replace("{dir}", &folder.display().to_string())
        };
        let words = words.iter().chain(&common).map(fill).collect();
        let node = Self { bench, process: Mutex::new(None), folder, words, address };
        node.restart()?;
        Ok(node)
    }

    /// A sentinel of the master at this port; it writes into the file that it is given.
    pub(crate) fn sentinel(bench: Bench, folder: &Path, text: &str) -> io::Result<Self> {
        let file = folder.join(format!("sentinel-{}.conf", free_address()?.port()));
        std::fs::create_dir_all(folder)?;
        std::fs::write(&file, text)?;
        Self::start(bench, folder, &[&file.display().to_string(), "--sentinel"])
    }

    /// What it was started with after this word.
    pub(crate) fn word_after(&self, name: &str) -> String {
        let after = self.words.iter().skip_while(|word| *word != name).nth(1);
        after.cloned().unwrap_or_default()
    }

    /// As `kill -9`.
    pub(crate) fn kill(&self) {
        self.process().take();
    }

    pub(crate) fn restart(&self) -> io::Result<()> {
        let program = Path::new("redis-server");
        let started = self.bench.start(program, &self.words, &[], Place::Anywhere, self.address)?;
        *self.process() = Some(started);
        Ok(())
    }

    /// What it wrote to disk is lost.
    pub(crate) fn forget(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)?;
        std::fs::create_dir_all(&self.folder)
    }

    /// `STOP`: it goes on existing and answers nothing. `CONT`: it wakes up.
    pub(crate) fn signal(&self, signal: &str) -> io::Result<()> {
        let Some(id) = self.process().as_ref().map(Process::id) else {
            return Err(io::Error::other("a dead process takes no signals"));
        };
        let status = Command::new("kill").args(["-s", signal, &id.to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("kill failed")) }
    }

    /// What it answers to a few words, on a connection of its own.
    pub(crate) async fn tell<T: FromRedisValue>(&self, words: &str) -> RedisResult<T> {
        let asked = async {
            let client = redis::Client::open(format!("redis://{}", self.address))?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut command = redis::Cmd::new();
            words.split_ascii_whitespace().for_each(|word| {
                command.arg(word);
            });
            command.query_async(&mut connection).await
        };
        let late = || io::Error::from(io::ErrorKind::TimedOut).into();
        timeout(ANSWER_MAX, asked).await.unwrap_or_else(|_| Err(late()))
    }

    /// Whether it answers, and as a master.
    pub(crate) async fn is_master(&self) -> bool {
        self.replication().await.contains("role:master")
    }

    /// A replica that has all that its master has.
    pub(crate) async fn is_in_step(&self) -> bool {
        self.replication().await.contains("master_link_status:up")
    }

    async fn replication(&self) -> String {
        self.tell("INFO replication").await.unwrap_or_default()
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
