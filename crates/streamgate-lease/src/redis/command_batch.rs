//! CommandBatch: any commands of the redis crate, each about one key.

use super::cluster::{Batch, slot};
use super::conn::{Command, Node, Patience, ReplyError, array};
use ::redis::{Cmd, Value, pipe};
use async_trait::async_trait;

/// Commands with the key that each is about.
pub(super) struct CommandBatch<'a>(pub(super) &'a [(String, Cmd)]);

#[async_trait]
impl Batch for CommandBatch<'_> {
    type Answer = Value;

    const PIPELINE_MAX: usize = 32;

    fn slots(&self) -> Vec<u16> {
        self.0.iter().map(|(key, _)| slot::of(key)).collect()
    }

    async fn send(
        &self,
        node: &Node,
        indexes: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Value, ReplyError>>, ReplyError> {
        let mut pipeline = pipe();
        for index in indexes {
            pipeline.add_command(self.0[*index].1.clone());
        }
        let values = node.send(&Command::Pipeline(&pipeline), Patience::Command, asking).await?;
        let result = |value: &Value| match ReplyError::of_value(value, node.host()) {
            Some(error) => Err(error),
            None => Ok(value.clone()),
        };
        Ok(array(&values)?.iter().map(result).collect())
    }
}
