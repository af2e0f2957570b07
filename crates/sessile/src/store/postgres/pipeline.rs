//! The one way to a connection's driver: [`Pipeline`] owns it.
//!
//! Requests of many callers share a connection, and the driver puts each into its send queue when the
//! future of the request is polled. Between BEGIN and COMMIT on a connection every statement belongs to that
//! transaction, whoever sent it. So every future of the driver is polled under one lock, and a transaction
//! queues all its requests, from BEGIN to COMMIT, within one hold of it. No other request can enter the queue
//! in between, nor any request that the driver makes by itself (it looks up types that it does not know). A
//! future that is dropped before its first poll has queued nothing; one that is dropped later has queued
//! everything.
//!
//! The lock is held while a message is encoded and never across a wait.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::fault::Fault;

pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

type Rows = Result<Vec<Row>, tokio_postgres::Error>;

/// A connection's driver and the right to queue requests on it.
pub(super) struct Pipeline {
    client: Client,
    queue: Mutex<()>,
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

impl Pipeline {
    pub(super) fn new(client: Client) -> Pipeline {
        Pipeline { client, queue: Mutex::new(()) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn prepare(&self, statement: &str) -> Result<Statement, Fault> {
        Ok(self.queued(self.client.prepare(statement)).await?)
    }

    /// Runs one request outside of any transaction.
    pub(super) async fn run(&self, request: Request<'_>) -> Result<Vec<Row>, Fault> {
        Ok(self.queued(self.drive(request)).await?)
    }

    /// Runs requests in one round trip, each in a transaction of its own.
    pub(super) async fn run_each(&self, requests: Vec<Request<'_>>) -> Vec<Result<Vec<Row>, Fault>> {
        let mut sent: Vec<Sent<'_>> = requests.into_iter().map(|request| self.sent(request)).collect();
        self.queued(poll_fn(|context| poll_all(&mut sent, context))).await;
        sent.into_iter().filter_map(|sent| sent.answer).map(|answer| Ok(answer?)).collect()
    }

    /// Runs requests between `begin` and COMMIT, all in one round trip. An error means that none of them was
    /// made, unless it is [an outage](Fault::is_outage).
    pub(super) async fn transaction(
        &self,
        begin: &str,
        requests: Vec<Request<'_>>,
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let mut begin = [self.sent(Request::Simple(begin))];
        let mut sent: Vec<Sent<'_>> = requests.into_iter().map(|request| self.sent(request)).collect();
        let mut end: Option<[Sent<'_>; 1]> = None;
        let all = poll_fn(|context| {
            let begun = poll_all(&mut begin, context);
            let ended = self.poll_to_end(&mut sent, &mut end, context);
            if begun.is_ready() && ended.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        });
        self.queued(all).await;
        outcome(Some(begin), sent, end)
    }

    /// Runs `begin` and requests, and leaves the transaction open: only for a connection with one user.
    pub(super) async fn open(&self, begin: &str, requests: Vec<Request<'_>>) -> Result<Vec<Vec<Row>>, Fault> {
        let mut begin = [self.sent(Request::Simple(begin))];
        let mut sent: Vec<Sent<'_>> = requests.into_iter().map(|request| self.sent(request)).collect();
        let all = poll_fn(|context| {
            let begun = poll_all(&mut begin, context);
            let made = poll_all(&mut sent, context);
            if begun.is_ready() && made.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        });
        self.queued(all).await;
        outcome(Some(begin), sent, None)
    }

    /// Runs requests and COMMIT in a transaction that is open. An error means that none of them was made, unless it is
    /// [an outage](Fault::is_outage).
    pub(super) async fn close(&self, requests: Vec<Request<'_>>) -> Result<Vec<Vec<Row>>, Fault> {
        let mut sent: Vec<Sent<'_>> = requests.into_iter().map(|request| self.sent(request)).collect();
        let mut end = None;
        self.queued(poll_fn(|context| self.poll_to_end(&mut sent, &mut end, context))).await;
        outcome(None, sent, end)
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
        let mut all: Vec<_> = requests.into_iter().map(|request| (Box::pin(run(request)), None)).collect();
        poll_fn(|context| {
            let mut is_over = true;
            for (transaction, answer) in all.iter_mut().filter(|(_, answer)| answer.is_none()) {
                match transaction.as_mut().poll(context) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => is_over = false,
                }
            }
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        all.into_iter().filter_map(|(_, answer)| answer).collect()
    }

    /// Polls these requests, and what ends their transaction behind them.
    fn poll_to_end<'a>(
        &'a self,
        sent: &mut [Sent<'_>],
        end: &mut Option<[Sent<'a>; 1]>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let made = poll_all(sent, context);
        // Errors of the first poll are requests that could not be encoded and were not queued: the others
        // must not be committed without them.
        let end = end.get_or_insert_with(|| {
            let is_complete = sent.iter().all(|sent| !matches!(sent.answer, Some(Err(_))));
            [self.sent(Request::Simple(if is_complete { "COMMIT" } else { "ROLLBACK" }))]
        });
        let ended = poll_all(end, context);
        if made.is_ready() && ended.is_ready() { Poll::Ready(()) } else { Poll::Pending }
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

/// The rows of each request, or the first error, which is the cause of the others.
fn outcome(
    begin: Option<[Sent<'_>; 1]>,
    sent: Vec<Sent<'_>>,
    end: Option<[Sent<'_>; 1]>,
) -> Result<Vec<Vec<Row>>, Fault> {
    let answers = |sent: Sent<'_>| sent.answer;
    let begun: Result<Vec<Vec<Row>>, _> = begin.into_iter().flatten().filter_map(answers).collect();
    let made: Vec<Rows> = sent.into_iter().filter_map(answers).collect();
    if let Err(error) = begun {
        // Without its BEGIN each statement was a transaction of its own.
        let fault = Fault::from(error);
        return Err(match made.iter().any(Result::is_ok) {
            true => Fault::Cut(format!("the server refused to begin a transaction: {}", fault.words())),
            false => fault,
        });
    }
    let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    end.into_iter().flatten().filter_map(answers).collect::<Result<Vec<_>, _>>()?;
    Ok(made)
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
