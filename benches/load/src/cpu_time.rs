//! Who used which processor time: of one process, and of the machine. Read from `/proc`.

use std::fs;
use std::io;

/// Processor time of a process, all its threads together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Running.
    pub busy_ns: u64,
    /// Its busiest thread: ready to run, but another had the core.
    pub waited_ns: u64,
}

/// Processor time of the machine, all its cores together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// Running anything.
    pub busy_ns: u64,
    /// Taken by the hypervisor for other guests.
    pub stolen_ns: u64,
}

impl Spent {
    /// What process `id` used since it started. Threads that ended meanwhile are not in it.
    pub fn of(id: u32) -> io::Result<Self> {
        let mut sum = Self::default();
        let mut busiest_ns = 0;
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
            let (busy_ns, waited_ns) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            sum.busy_ns += busy_ns;
            if busy_ns > busiest_ns {
                (busiest_ns, sum.waited_ns) = (busy_ns, waited_ns);
            }
        }
        Ok(sum)
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            busy_ns: self.busy_ns.saturating_sub(earlier.busy_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }
}

impl Machine {
    /// What the machine used since it started, in steps of a hundredth of a second.
    pub fn now() -> io::Result<Self> {
        const TICK_NS: u64 = 10_000_000;
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
        // user nice system idle iowait irq softirq steal
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0) * TICK_NS;
        let busy_ns = [0, 1, 2, 5, 6].into_iter().map(at).sum();
        Ok(Self { busy_ns, stolen_ns: at(7) })
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            busy_ns: self.busy_ns.saturating_sub(earlier.busy_ns),
            stolen_ns: self.stolen_ns.saturating_sub(earlier.stolen_ns),
        }
    }
}

/// Memory of process `id` that would be free if it ended, in KiB (proportional set size).
pub fn memory_kib(id: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    let number = line.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::other("smaps_rollup has no Pss line"))
}
