//! Options of a listener's socket. Linux gives those of TCP to every connection that is accepted
//! on it.

use crate::problem::Problem;
use crate::units::{Count, FileMode, Size, Text, Time};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the kernel is asked for.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Socket")]
pub struct SocketConfig {
    /// How many connections may wait to be accepted; the kernel's `somaxconn` may allow fewer.
    #[serde(default = "backlog")]
    pub backlog: Count,
    /// After how long a silence the kernel asks whether a client is still there.
    #[serde(default = "keepalive")]
    pub keepalive: At<Time>,
    /// How long what was sent may wait for the client's word that it has come
    /// (`TCP_USER_TIMEOUT`). Left out: as long as the kernel tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_timeout: Option<At<Time>>,
    /// How many bytes of an answer may wait in the kernel unsent (`TCP_NOTSENT_LOWAT`). Left out:
    /// as many as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notsent_lowat: Option<At<Size>>,
    /// How it finds out how fast it may send: `bbr`, `cubic`. Left out: the system's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion: Option<At<Text>>,
    /// Who may connect to a socket of Unix. Left out: its owner and its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<At<FileMode>>,
}

/// The owner of a socket of Unix and its group may connect to it.
const MODE: u32 = 0o660;

impl SocketConfig {
    /// Who may connect to a socket of Unix.
    pub fn mode(&self) -> u32 {
        self.mode.as_ref().map_or(MODE, |mode| mode.value.0)
    }

    /// What is written here and only TCP has.
    pub fn of_tcp(&self) -> impl Iterator<Item = Problem> {
        let text = "only TCP has this option, and the listener has a socket of Unix";
        let keepalive = self.keepalive.is_written().then(|| self.keepalive.problem(text));
        let user_timeout = self.user_timeout.as_ref().map(|value| value.problem(text));
        let notsent_lowat = self.notsent_lowat.as_ref().map(|value| value.problem(text));
        let congestion = self.congestion.as_ref().map(|value| value.problem(text));
        let all = [keepalive, user_timeout, notsent_lowat, congestion];
        all.into_iter().flatten().map(|problem| problem.help("leave it out"))
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        SocketConfig {
            backlog: backlog(),
            keepalive: keepalive(),
            user_timeout: None,
            notsent_lowat: None,
            congestion: None,
            mode: None,
        }
    }
}

fn backlog() -> Count {
    Count(1_024)
}

fn keepalive() -> At<Time> {
    At::unwritten(Time::secs(60))
}
