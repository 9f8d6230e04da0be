//! Many questions at once: sorted by the servers that answer them, put side by side, and each with
//! an answer of its own. One server's failure is the failure of its questions alone.

use super::link::Link;
use super::links::{Links, Part, nobody};
use super::question::Question;
use super::trouble::Trouble;
use super::{reply, slot};
use crate::store::StoreError;
use ::redis::{Cmd, Value, pipe};
use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

/// Pipelines on their way to one server: while one is answered there, the next comes near.
const PIPELINES_AT_ONCE: usize = 2;

/// Questions of one kind.
#[async_trait]
pub(super) trait Batch: Sync {
    type Answer: Send;

    /// So many in one pipeline. The server answers nobody else meanwhile, which is to be less than
    /// half a millisecond.
    const PIPELINE_MAX: usize;

    /// The hash slot of each.
    fn slots(&self) -> Vec<u16>;

    /// Puts some of them to the server that has their slots; answers stand in their order.
    async fn put(
        &self,
        link: &Link,
        which: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Self::Answer, Trouble>>, Trouble>;
}

/// The answers to all, within the deadlines. What has moved is asked once more, where it went.
pub(super) async fn scatter<B: Batch>(
    links: &Links,
    batch: &B,
) -> Vec<Result<B::Answer, StoreError>> {
    let until = links.until();
    let slots = batch.slots();
    let mut answers: Vec<Result<B::Answer, Trouble>> =
        slots.iter().map(|_| Err(nobody().into())).collect();
    // A map that takes too long leaves them all without a server.
    if let Ok(parts) = timeout_at(until, links.parts(&slots, until)).await {
        put(batch, parts, until, &mut answers).await;
    }
    let elsewhere = |answer: &Result<_, Trouble>| match answer {
        Err(trouble @ (Trouble::Moved(_) | Trouble::Asked(_))) => Some(trouble.clone()),
        _ => None,
    };
    let moved: Vec<_> =
        answers.iter().enumerate().filter_map(|(at, it)| Some((at, elsewhere(it)?))).collect();
    if !moved.is_empty()
        && let Ok(parts) = timeout_at(until, links.moved_parts(&slots, moved, until)).await
    {
        put(batch, parts, until, &mut answers).await;
    }
    answers.into_iter().map(|answer| answer.map_err(Trouble::into_error)).collect()
}

async fn put<B: Batch>(
    batch: &B,
    parts: Vec<Part>,
    until: Instant,
    answers: &mut [Result<B::Answer, Trouble>],
) {
    let ask = async |part: Part| {
        let mut said = Vec::with_capacity(part.which.len());
        let put = |few| timeout_at(until, batch.put(&part.link, few, part.asking));
        let puts: Vec<_> = part.which.chunks(B::PIPELINE_MAX).map(put).collect();
        let mut under_way = stream::iter(puts).buffered(PIPELINES_AT_ONCE);
        let mut rest = part.which.as_slice();
        while let Some(answers) = under_way.next().await {
            let (few, later) = rest.split_at(rest.len().min(B::PIPELINE_MAX));
            match answers.unwrap_or(Err(StoreError::Timeout.into())) {
                Ok(answers) => said.extend(few.iter().copied().zip(answers)),
                Err(trouble) => {
                    said.extend(rest.iter().map(|at| (*at, Err(trouble.clone()))));
                    break;
                }
            }
            rest = later;
        }
        said
    };
    for (at, answer) in join_all(parts.into_iter().map(ask)).await.into_iter().flatten() {
        answers[at] = answer;
    }
}

impl Links {
    /// Sends many commands, each about the key beside it, in small pipelines. Answers stand in
    /// their order; one server's failure is that of its commands alone.
    ///
    /// # Errors
    /// [`StoreError`] of each, within the deadlines.
    pub async fn query_all(&self, commands: &[(String, Cmd)]) -> Vec<Result<Value, StoreError>> {
        scatter(self, &Commands(commands)).await
    }
}

/// Commands, each about one key.
struct Commands<'a>(&'a [(String, Cmd)]);

#[async_trait]
impl Batch for Commands<'_> {
    type Answer = Value;

    const PIPELINE_MAX: usize = 32;

    fn slots(&self) -> Vec<u16> {
        self.0.iter().map(|(key, _)| slot::of(key)).collect()
    }

    async fn put(
        &self,
        link: &Link,
        which: &[usize],
        asking: bool,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let mut pipeline = pipe();
        for at in which {
            pipeline.add_command(self.0[*at].1.clone());
        }
        let values = link.ask(&Question::Pipeline(&pipeline), asking).await?;
        let answer = |value: &Value| match Trouble::among(value, link.host()) {
            Some(trouble) => Err(trouble),
            None => Ok(value.clone()),
        };
        Ok(reply::array(&values)?.iter().map(answer).collect())
    }
}
