//! The runtimes of all work that no request waits for.

use std::io;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

/// How long a runtime may take to end.
const RUNTIME_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// The runtimes, one thread each, for all work that no request waits for.
pub(super) struct BackgroundRuntimes {
    /// Health checks, the admin port, key sets, messages from stores.
    housekeeping: Runtime,
    /// The renewal of leases, on a thread of its own so that nothing delays it.
    keeping: Runtime,
}

/// Where tasks are spawned.
#[derive(Clone)]
pub(super) struct Runtimes {
    housekeeping: Handle,
    pub(super) keeping: Handle,
}

impl BackgroundRuntimes {
    pub(super) fn start() -> io::Result<Self> {
        let thread = |name| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).thread_name(name).enable_all().build()
        };
        Ok(BackgroundRuntimes {
            housekeeping: thread("housekeeping")?,
            keeping: thread("keeping")?,
        })
    }

    /// Where tasks are spawned.
    pub(super) fn handles(&self) -> Runtimes {
        let (housekeeping, keeping) = (self.housekeeping.handle(), self.keeping.handle());
        Runtimes { housekeeping: housekeeping.clone(), keeping: keeping.clone() }
    }

    /// Runs `future` to its end and returns its result. Call it from another thread.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.housekeeping.block_on(future)
    }

    /// Ends all runtimes, also when a task still runs.
    pub(super) fn end(self) {
        for runtime in [self.housekeeping, self.keeping] {
            runtime.shutdown_timeout(RUNTIME_ENDS_WITHIN);
        }
    }
}

impl Runtimes {
    /// Spawns a task of the housekeeping.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.housekeeping.spawn(task)
    }

    /// Runs `future` on the thread for housekeeping and waits for its result, on any other thread.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (sent, came) = std::sync::mpsc::channel();
        self.housekeeping.spawn(async move {
            // The receiver waits below.
            let _ = sent.send(future.await);
        });
        came.recv().expect("the runtime lives as long as this waits, and the future ends")
    }
}
