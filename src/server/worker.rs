//! Workers: threads with one single-threaded runtime each, all accepting on the same sockets.
//!
//! A connection stays on the thread that accepted it, with its requests and its upstream
//! connections, so workers share nothing but counters. Measured against Pingora's work-stealing
//! runtime a request costs a sixth less (`benches/README.md`). Pingora's own pool of such runtimes
//! is not used: it accepts on one thread and hands every connection to another, and its threads
//! leave stale handles behind when they end, so a process could not start a second one.

use std::io;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// The accept loops of one worker; the future ends when the gateway stops accepting.
pub(super) type Job = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads that answer requests.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    cut: watch::Sender<bool>,
}

impl Workers {
    /// Starts one thread per job. Requests under way go on after its job has ended, until `end`.
    pub(super) fn start(jobs: Vec<Job>) -> io::Result<Workers> {
        let (cut, is_cut) = watch::channel(false);
        let threads = jobs.into_iter().enumerate().map(|(number, job)| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mut is_cut = is_cut.clone();
            let name = format!("worker {number}");
            std::thread::Builder::new().name(name).spawn(move || {
                runtime.block_on(async {
                    job.await;
                    // An error means that the gateway is gone, which is as final.
                    let _ = is_cut.wait_for(|is_cut| *is_cut).await;
                });
            })
        });
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        Ok(Workers { threads, cut })
    }

    /// Cuts the requests that are still under way and waits for the threads.
    pub(super) fn end(self) {
        // The receivers are gone only if the threads are.
        let _ = self.cut.send(true);
        for thread in self.threads {
            // A panic was already reported by its thread.
            let _ = thread.join();
        }
    }
}
