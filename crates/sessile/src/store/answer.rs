//! What becomes of one write of a batch: known now, or later than its neighbours; and who makes batches.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::finish::Finish;
use super::group::{Unanswered, Work};
use super::{Outcome, StoreError, Write};
use crate::record::SessionId;

/// What a write came to.
pub(super) type Applied = Result<Outcome, StoreError>;

/// What becomes of a write.
pub(super) enum Answer {
    Now(Applied),
    /// It waits for a row that somebody else has locked.
    Later(oneshot::Receiver<Applied>),
}

impl Answer {
    /// The outcome, in the store of this name.
    pub(super) async fn get(self, store: &'static str) -> Applied {
        match self {
            Answer::Now(applied) => applied,
            Answer::Later(applied) => applied.await.unwrap_or_else(|_| {
                let reason = "the runtime is shutting down; the write may be made or not".to_owned();
                Err(StoreError::Unavailable { store, reason, source: None })
            }),
        }
    }
}

/// Makes writes, each on its own condition, in their order.
pub(super) trait Maker: Send + Sync + 'static {
    fn make(self: &Arc<Self>, writes: &[Write]) -> impl Future<Output = Vec<Answer>> + Send;
}

/// Single writes, in batches.
pub(super) struct Writes<M>(pub(super) Arc<M>);

impl<M: Maker> Work for Writes<M> {
    type Job = Write;
    type Key = SessionId;
    type Answer = Answer;

    const KEEPS: bool = true;

    /// To its end, also when its caller goes away: so a write that was accepted is always made.
    async fn one(&self, write: Write) -> Answer {
        let maker = Arc::clone(&self.0);
        let made = Finish::new(async move { maker.make(&[write]).await.pop() });
        made.await.unwrap_or_else(|| Answer::Now(Err(Unanswered::Lost.of_write("the database"))))
    }

    async fn many(&self, writes: &[Write]) -> Vec<Answer> {
        self.0.make(writes).await
    }
}
