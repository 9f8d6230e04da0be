//! Command: what can be sent to a server: a single command, a script, or a pipeline.

use ::redis::aio::ConnectionLike;
use ::redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ScriptInvocation, Value, cmd,
    pipe,
};

/// One round trip; two if a script has to be loaded first.
pub(crate) enum Command<'a> {
    Single(&'a Cmd),
    /// A script that the server does not know (any more) is loaded and run again.
    Script(&'a ScriptInvocation<'a>),
    /// The error of one of its commands stands among the values.
    Pipeline(&'a Pipeline),
}

impl Command<'_> {
    pub(crate) async fn send(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> RedisResult<Value> {
        match self {
            Self::Single(command) => command.query_async(connection).await,
            Self::Script(script) => script.invoke_async(connection).await,
            Self::Pipeline(pipeline) => {
                let values = connection.req_packed_commands(pipeline, 0, pipeline.len()).await?;
                Ok(Value::Array(values))
            }
        }
    }
}

/// A connection to a server that a slot is migrating to. For that slot the server executes only the
/// command right after `ASKING`. Both are written at once, so that no other caller's command comes
/// between them.
pub(crate) struct Asking<'a, C>(pub(crate) &'a mut C);

impl<C: ConnectionLike + Send> ConnectionLike for Asking<'_, C> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut both = pipe();
            both.add_command(cmd("ASKING")).add_command(command.clone());
            let reply = self.0.req_packed_commands(&both, 0, 2).await?.pop();
            match reply {
                Some(Value::ServerError(error)) => Err(error.into()),
                Some(value) => Ok(value),
                None => Err(RedisError::from((ErrorKind::Parse, "two answers were expected"))),
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut all = pipe();
            for command in pipeline.cmd_iter() {
                all.add_command(cmd("ASKING")).add_command(command.clone());
            }
            let values = self.0.req_packed_commands(&all, 0, all.len()).await?;
            Ok(values.into_iter().skip(1).step_by(2).collect())
        })
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
