//! Workers: threads with one single-threaded runtime each, all accepting on the same sockets.
//!
//! A connection stays on the thread that accepted it, with its requests and its upstream
//! connections, so workers share nothing but counters. Measured against Pingora's work-stealing
//! runtime a request costs a sixth less (`benches/README.md`). Pingora's own pool of such runtimes
//! is not used: it accepts on one thread and hands every connection to another, and its threads
//! leave stale handles behind when they end, so a process could not start a second one.

use futures_util::future::join_all;
use std::io;
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The accept loop of one listener on one worker; the future ends when the listener is closed.
pub(super) type Job = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads that answer requests.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<(JoinHandle<()>, Handle)>,
    cut: watch::Sender<bool>,
}

impl Workers {
    /// Starts so many threads. They wait for jobs until `end`.
    pub(super) fn start(count: usize) -> io::Result<Workers> {
        let (cut, is_cut) = watch::channel(false);
        let threads = (0..count).map(|number| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (handle, mut is_cut) = (runtime.handle().clone(), is_cut.clone());
            let name = format!("worker {number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                runtime.block_on(async {
                    // An error means that the gateway is gone, which is as final.
                    let _ = is_cut.wait_for(|is_cut| *is_cut).await;
                });
            });
            Ok((thread?, handle))
        });
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        Ok(Workers { threads, cut })
    }

    /// Gives each worker a job. Requests go on after their job has ended, until `end`.
    pub(super) fn give(&self, job: impl Fn() -> io::Result<Job>) -> io::Result<()> {
        let jobs: Vec<Job> = self.threads.iter().map(|_| job()).collect::<io::Result<_>>()?;
        for ((_, runtime), job) in self.threads.iter().zip(jobs) {
            runtime.spawn(job);
        }
        Ok(())
    }

    /// By which it is found out whether each of them gets round to its work.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.threads.iter().map(|(_, runtime)| runtime.clone()).collect())
    }

    /// Cuts the requests that are still under way and waits for the threads.
    pub(super) fn end(self) {
        // The receivers are gone only if the threads are.
        let _ = self.cut.send(true);
        for (thread, _) in self.threads {
            // A panic was already reported by its thread.
            let _ = thread.join();
        }
    }
}

/// Whether workers get round to their work.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Vec<Handle>);

impl Pulse {
    /// Waits until each worker has done something, or is gone.
    pub(super) async fn all(&self) {
        join_all(self.0.iter().map(|worker| worker.spawn(async {}))).await;
    }
}
