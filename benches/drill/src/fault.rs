//! The faults that a drill injects into a store. How is `scenario`'s.

use crate::fleet::Kind;

/// What a drill does to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// `kill -9`, and two seconds later it starts again with what it wrote to its disk, if it did.
    Restart,
    /// `kill -9`; another takes over.
    Failover,
    /// `SIGSTOP` for three seconds.
    Hang,
    /// `SIGSTOP` until another has taken over; then it goes on and does not know that yet.
    Depose,
    /// `SCRIPT FLUSH`.
    ForgetScripts,
    /// `CLIENT KILL` of all connections.
    Cut,
}

impl Fault {
    /// As the report names it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Fault::Nothing => "nothing",
            Fault::Restart => "`kill -9`, started again after 2 s",
            Fault::Failover => "`kill -9`, failover",
            Fault::Hang => "`SIGSTOP` for 3 s",
            Fault::Depose => "`SIGSTOP`, failover, `SIGCONT`",
            Fault::ForgetScripts => "`SCRIPT FLUSH`",
            Fault::Cut => "`CLIENT KILL` of all",
        }
    }

    /// The faults of a drill, in their order.
    pub(crate) fn all_of(kind: Kind) -> &'static [Fault] {
        use Fault::{Cut, Depose, Failover, ForgetScripts, Hang, Nothing, Restart};
        match kind {
            Kind::Durable => &[Nothing, Restart, Hang, ForgetScripts, Cut],
            Kind::Forgetful => &[Nothing, Restart],
            Kind::Sentinel | Kind::Cluster => &[Nothing, Failover, Hang, Depose],
        }
    }
}
