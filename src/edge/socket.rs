//! Options of a listener's socket. Linux gives them to every connection that is accepted on it.

use crate::units::{Count, Size, Text, Time};
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
    pub keepalive: Time,
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
}

impl Default for SocketConfig {
    fn default() -> Self {
        SocketConfig {
            backlog: backlog(),
            keepalive: keepalive(),
            user_timeout: None,
            notsent_lowat: None,
            congestion: None,
        }
    }
}

fn backlog() -> Count {
    Count(1_024)
}

fn keepalive() -> Time {
    Time::secs(60)
}
