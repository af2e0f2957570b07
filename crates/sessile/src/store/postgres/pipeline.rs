//! The one way to a connection's driver: [`Pipeline`] owns it, and every request needs an [`Access`] to it.
//!
//! Requests of many callers share a connection, and between BEGIN and COMMIT every statement on it belongs to
//! that transaction, whoever sent it. Two rules keep requests out of the transactions of others:
//!
//! * The driver puts a request into its send queue when the future of the request is polled. All of its futures
//!   are polled under one lock, and [`Access::transaction`] queues all its requests, from BEGIN to COMMIT, within
//!   one hold of it. Nothing can enter the queue in between, not even what the driver asks by itself (it looks up
//!   types that it does not know). A future that is dropped before its first poll has queued nothing; one that is
//!   dropped later has queued everything.
//! * A transaction that its caller completes after it has seen answers is an [`OpenTransaction`]. It holds the only
//!   access there is. Where it is dropped before its end, no further request is accepted.
//!
//! The lock is held while a message is encoded, and never across a wait.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::future::{MaybeDone, maybe_done};
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::fault::Fault;

pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

type Rows = Result<Vec<Row>, tokio_postgres::Error>;

/// A connection's driver.
pub(super) struct Pipeline {
    client: Client,
    /// Held while a future of the driver is polled.
    queue: Mutex<()>,
    /// Shared by requests that are transactions of their own, held alone by one that is open.
    span: RwLock<()>,
    /// Whether no further request is accepted.
    is_lost: AtomicBool,
    lost: Notify,
}

/// The right to queue requests.
pub(super) struct Access<'a> {
    pipeline: &'a Pipeline,
    _span: Span<'a>,
}

/// Why no transaction of others is open.
enum Span<'a> {
    Shared { _guard: RwLockReadGuard<'a, ()> },
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

/// A transaction that waits for its caller, and the connection with it.
pub(super) struct OpenTransaction<'a> {
    access: Access<'a>,
    is_open: bool,
}

/// One message of a client, which is answered by one result.
pub(super) enum Request<'a> {
    /// A statement that this connection has prepared.
    Prepared(&'a Statement, &'a [Parameter<'a>]),
    /// A statement that is planned for these values and then forgotten by the server.
    Typed(&'a str, Vec<(Parameter<'a>, Type)>),
    /// Statements of the simple protocol, separated by semicolons: one transaction unless they begin one
    /// themselves. They give no rows.
    Simple(&'a str),
}

impl<'a> Request<'a> {
    /// A statement that casts each of its parameters where it first stands: `$1::text[]`.
    pub(super) fn typed(statement: &'a str, parameters: &[Parameter<'a>]) -> Request<'a> {
        let types = parameter_types(statement);
        Request::Typed(statement, parameters.iter().copied().zip(types).collect())
    }
}

/// The types that a statement casts its parameters to, in the order of their numbers.
fn parameter_types(statement: &str) -> Vec<Type> {
    let mut types = Vec::new();
    // Between quotes stands a name, which may look like anything.
    for text in statement.split('"').step_by(2) {
        for parameter in text.split('$').skip(1) {
            let (number, rest) = parameter.split_once("::").unwrap_or((parameter, ""));
            if number.parse() == Ok(types.len() + 1) {
                types.push(type_named(rest));
            }
        }
    }
    types
}

/// The type whose name the text begins with.
fn type_named(text: &str) -> Type {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '[' && c != ']').unwrap_or(text.len());
    match &text[..end] {
        "text" => Type::TEXT,
        "text[]" => Type::TEXT_ARRAY,
        "timestamp" => Type::TIMESTAMP,
        "timestamp[]" => Type::TIMESTAMP_ARRAY,
        "bool[]" => Type::BOOL_ARRAY,
        _ => Type::UNKNOWN,
    }
}

/// A request on its way to its answer.
struct Sent<'a> {
    driver: Pin<Box<dyn Future<Output = Rows> + Send + 'a>>,
    answer: Option<Rows>,
}

impl Sent<'_> {
    #[expect(clippy::expect_used, reason = "taken only after `poll_all` was ready")]
    fn into_answer(self) -> Rows {
        self.answer.expect("a request that was polled to its end has an answer")
    }
}

impl Pipeline {
    pub(super) fn new(client: Client) -> Pipeline {
        let (queue, span) = (Mutex::new(()), RwLock::new(()));
        Pipeline { client, queue, span, is_lost: AtomicBool::new(false), lost: Notify::new() }
    }

    /// Accepts no further request: a transaction was left open, or no answer comes.
    pub(super) fn give_up(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.lost.notify_one();
    }

    /// Waits until the connection is to be ended.
    pub(super) async fn given_up(&self) {
        self.lost.notified().await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.is_lost.load(Ordering::Acquire)
    }

    /// For requests beside those of others. Waits while a transaction is open.
    pub(super) async fn share(&self) -> Result<Access<'_>, Fault> {
        self.access(Span::Shared { _guard: self.span.read().await })
    }

    /// For an open transaction. Waits until all others are answered.
    pub(super) async fn own(&self) -> Result<Access<'_>, Fault> {
        self.access(Span::Alone { _guard: self.span.write().await })
    }

    fn access<'a>(&'a self, span: Span<'a>) -> Result<Access<'a>, Fault> {
        match self.is_lost.load(Ordering::Acquire) {
            true => Err(Fault::Away("it was given up".to_owned())),
            false => Ok(Access { pipeline: self, _span: span }),
        }
    }

    /// Runs one request outside of any transaction.
    pub(super) async fn run(&self, request: Request<'_>) -> Result<Vec<Row>, Fault> {
        self.share().await?.run(request).await
    }

    /// Runs requests in one transaction: see [`Access::transaction`].
    pub(super) async fn transaction(
        &self,
        begin: &str,
        requests: Vec<Request<'_>>,
    ) -> Result<Vec<Vec<Row>>, Fault> {
        self.share().await?.transaction(begin, requests).await
    }

    /// The only place where a future of the driver is polled.
    async fn queued<T>(&self, driver: impl Future<Output = T>) -> T {
        let mut driver = pin!(driver);
        poll_fn(|context| {
            let _queue = self.queue.lock();
            driver.as_mut().poll(context)
        })
        .await
    }

    async fn drive(&self, request: Request<'_>) -> Rows {
        match request {
            Request::Prepared(statement, parameters) => self.client.query(statement, parameters).await,
            Request::Typed(statement, parameters) => self.client.query_typed(statement, &parameters).await,
            Request::Simple(statements) => self.client.batch_execute(statements).await.map(|()| Vec::new()),
        }
    }

    fn sent<'a>(&'a self, request: Request<'a>) -> Sent<'a> {
        Sent { driver: Box::pin(self.drive(request)), answer: None }
    }

    fn all_sent<'a>(&'a self, requests: Vec<Request<'a>>) -> Vec<Sent<'a>> {
        requests.into_iter().map(|request| self.sent(request)).collect()
    }
}

impl<'a> Access<'a> {
    pub(super) async fn prepare(&self, statement: &str) -> Result<Statement, Fault> {
        Ok(self.pipeline.queued(self.pipeline.client.prepare(statement)).await?)
    }

    pub(super) async fn run(&self, request: Request<'_>) -> Result<Vec<Row>, Fault> {
        Ok(self.pipeline.queued(self.pipeline.drive(request)).await?)
    }

    /// Runs requests in one round trip, each in a transaction of its own.
    pub(super) async fn run_each(&self, requests: Vec<Request<'_>>) -> Vec<Result<Vec<Row>, Fault>> {
        let mut sent = self.pipeline.all_sent(requests);
        self.pipeline.queued(poll_fn(|context| poll_all(&mut sent, context))).await;
        sent.into_iter().map(|sent| Ok(sent.into_answer()?)).collect()
    }

    /// Runs requests between `begin` and COMMIT, all in one round trip. An error means that none of them was
    /// made, unless it is [an outage](Fault::is_outage).
    pub(super) async fn transaction(
        &self,
        begin: &str,
        requests: Vec<Request<'_>>,
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let mut begin = vec![self.pipeline.sent(Request::Simple(begin))];
        let (made, end) = self.to_the_end(&mut begin, requests).await;
        if let Some(Err(error)) = begin.pop().and_then(|sent| sent.answer) {
            // Without its BEGIN each statement was a transaction of its own.
            let fault = Fault::from(error);
            return Err(match made.iter().any(Result::is_ok) {
                true => Fault::Cut(format!("the server refused to begin a transaction: {}", fault.words())),
                false => fault,
            });
        }
        committed(made, end)
    }

    /// Runs requests in one round trip, each between a `begin` and a COMMIT of its own.
    pub(super) async fn transaction_each(
        &self,
        begin: &str,
        requests: Vec<Request<'_>>,
    ) -> Vec<Result<Vec<Row>, Fault>> {
        let run = async |request| {
            let rows = self.transaction(begin, vec![request]).await?;
            Ok(rows.into_iter().next().unwrap_or_default())
        };
        // In their order, which `join_all` does not promise.
        let mut all: Vec<_> =
            requests.into_iter().map(|request| maybe_done(Box::pin(run(request)))).collect();
        poll_fn(|context| {
            let pending =
                all.iter_mut().filter_map(|one| Pin::new(one).poll(context).is_pending().then_some(()));
            if pending.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let answer = |one: &mut MaybeDone<_>| Pin::new(one).take_output();
        #[expect(clippy::expect_used, reason = "they are over")]
        all.iter_mut().map(|one| answer(one).expect("a transaction that is over has an answer")).collect()
    }

    /// Begins a transaction with these requests, in one round trip, and leaves it open. An error means that it is
    /// over. Only with an access of its [own](Pipeline::own).
    pub(super) async fn open(
        self,
        begin: &str,
        requests: Vec<Request<'_>>,
    ) -> Result<(OpenTransaction<'a>, Vec<Vec<Row>>), Fault> {
        let transaction = OpenTransaction { access: self, is_open: true };
        let all = std::iter::once(Request::Simple(begin)).chain(requests).collect();
        // The first fault is the cause of the others.
        let rows = transaction.access.run_each(all).await.into_iter().collect::<Result<Vec<_>, _>>();
        match rows {
            Ok(mut rows) => {
                rows.remove(0);
                Ok((transaction, rows))
            }
            Err(fault) => {
                transaction.roll_back().await?;
                Err(fault)
            }
        }
    }

    /// Polls what begins the transaction, then queues these requests and its end; the answers to both.
    async fn to_the_end(&self, begin: &mut [Sent<'_>], requests: Vec<Request<'_>>) -> (Vec<Rows>, Rows) {
        let mut sent = self.pipeline.all_sent(requests);
        let mut end: Option<Sent<'_>> = None;
        let all = poll_fn(|context| {
            let begun = poll_all(begin, context);
            let made = poll_all(&mut sent, context);
            // Errors of the first poll are requests that could not be encoded and were not queued: the others
            // must not be committed without them.
            let end = end.get_or_insert_with(|| {
                let is_complete = sent.iter().all(|sent| !matches!(sent.answer, Some(Err(_))));
                self.pipeline.sent(Request::Simple(if is_complete { "COMMIT" } else { "ROLLBACK" }))
            });
            let ended = poll_all(std::slice::from_mut(end), context);
            if [begun, made, ended].iter().all(Poll::is_ready) { Poll::Ready(()) } else { Poll::Pending }
        });
        self.pipeline.queued(all).await;
        let end = end.map_or_else(|| unreachable!("queued with the first poll"), Sent::into_answer);
        (sent.into_iter().map(Sent::into_answer).collect(), end)
    }
}

impl OpenTransaction<'_> {
    pub(super) fn access(&self) -> &Access<'_> {
        &self.access
    }

    /// Runs the last requests and commits, in one round trip. An error means that nothing was done, unless it is
    /// [an outage](Fault::is_outage).
    pub(super) async fn commit(mut self, requests: Vec<Request<'_>>) -> Result<Vec<Vec<Row>>, Fault> {
        let (made, end) = self.access.to_the_end(&mut [], requests).await;
        // COMMIT ends a transaction in which a statement has failed, too.
        self.is_open = end.is_err();
        committed(made, end)
    }

    /// Undoes it.
    pub(super) async fn roll_back(mut self) -> Result<(), Fault> {
        let undone = self.access.run(Request::Simple("ROLLBACK")).await;
        self.is_open = undone.is_err();
        undone.map(drop)
    }
}

impl Drop for OpenTransaction<'_> {
    /// Before the access ends.
    fn drop(&mut self) {
        if self.is_open {
            self.access.pipeline.give_up();
        }
    }
}

/// The rows of each request, or the first error, which is the cause of the others.
fn committed(made: Vec<Rows>, end: Rows) -> Result<Vec<Vec<Row>>, Fault> {
    let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    end?;
    Ok(made)
}

/// Polls, in their order, all that are not answered yet.
fn poll_all(sent: &mut [Sent<'_>], context: &mut Context<'_>) -> Poll<()> {
    let mut all = Poll::Ready(());
    for sent in sent.iter_mut().filter(|sent| sent.answer.is_none()) {
        match sent.driver.as_mut().poll(context) {
            Poll::Ready(answer) => sent.answer = Some(answer),
            Poll::Pending => all = Poll::Pending,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::sql::{Kept, Sql};
    use super::*;

    #[test]
    fn kept_statements_cast_each_of_their_parameters() {
        let sql = Sql::new(Some("$9::int"), "a $1::text \"b\"");
        for statement in Kept::ALL.map(|kept| sql.kept(kept).to_owned()) {
            let types = parameter_types(&statement);
            let outside: String = statement.split('"').step_by(2).collect();
            assert!(!types.is_empty() && !types.contains(&Type::UNKNOWN), "{statement}: {types:?}");
            assert!(!outside.contains(&format!("${}", types.len() + 1)), "{statement}: {types:?}");
        }
    }
}
