//! One connection, kept alive: never checked out, requests pipeline on it.
//!
//! A task of its own holds it. When it breaks the task connects again, at once, and then with growing
//! pauses and jitter; meanwhile a caller is told so within a bounded time. A statement that was cut off
//! is never sent again from here: only its caller knows whether that is safe.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, watch};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Place};
use super::sql::{self, Kept, Sql};
use crate::store::backoff::pause;

/// A connection that lived shorter than this is a failed attempt.
const SETTLED: Duration = Duration::from_secs(1);

type Answer = Result<Vec<Row>, Fault>;
/// Drives the connection; ends when it does.
pub(super) type Wire = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;
/// A statement on its way, or about to be: its first poll queues it.
type Request<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Hears what the server sends unasked.
pub(super) type Hear = Arc<dyn Fn(&Notification) + Send + Sync>;

/// How to connect, for all links of a store.
pub(super) struct Dialler {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: Option<MakeRustlsConnect>,
    pub(super) place: Arc<Place>,
    pub(super) sql: Arc<Sql>,
}

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// Lookups by primary key.
    Loads,
    /// Grouped writes; waits for a locked row no longer than this.
    Writes(Duration),
    /// Writes whose rows are locked by others, tried again; waits for a lock no longer than this. Connected when
    /// first needed.
    Retries(Duration),
    /// The first attempt at deleting a user's rows, which waits for no row; for the table no longer than this.
    Endings(Duration),
    /// The next attempts; waits for a lock no longer than this. Connected when first needed.
    StuckEndings(Duration),
    /// Listings. Connected when first needed.
    Lists,
    /// Statements on the whole table, and purges.
    Surveys,
    /// Listening.
    Feed,
}

/// A connection, ready for use.
pub(super) struct Session {
    client: Client,
    kept: [RwLock<Option<Statement>>; Kept::COUNT],
    /// Held while requests that belong together are queued.
    turn: Mutex<()>,
    broken: Notify,
    place: Arc<Place>,
    sql: Arc<Sql>,
}

#[derive(Clone)]
enum State {
    /// Nobody has asked for it.
    Asleep,
    /// The first attempt is being made.
    Dialling,
    Up(Arc<Session>),
    /// Attempts fail, and are made again and again.
    Down(Fault),
}

/// A connection that comes back.
pub(super) struct Link {
    state: watch::Receiver<State>,
    wake: Arc<Notify>,
    place: Arc<Place>,
}

impl Link {
    /// Starts the task, which ends with the link.
    pub(super) fn start(dialler: &Arc<Dialler>, duty: Duty) -> Link {
        let asleep = matches!(duty, Duty::Retries(_) | Duty::StuckEndings(_) | Duty::Lists);
        let (tell, state) = watch::channel(if asleep { State::Asleep } else { State::Dialling });
        let wake = Arc::new(Notify::new());
        tokio::spawn(keep(Arc::clone(dialler), duty, tell, Arc::clone(&wake)));
        Link { state, wake, place: Arc::clone(&dialler.place) }
    }

    /// The connection; at once when it stands or when attempts fail, otherwise as soon as the first
    /// attempt is over.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Fault> {
        if let State::Up(session) = &*self.state.borrow()
            && !session.client.is_closed()
        {
            return Ok(Arc::clone(session));
        }
        self.wake.notify_one();
        let mut state = self.state.clone();
        let known = async {
            loop {
                match &*state.borrow_and_update() {
                    State::Up(session) if !session.client.is_closed() => return Ok(Arc::clone(session)),
                    State::Down(fault) => return Err(fault.clone()),
                    State::Up(_) | State::Asleep | State::Dialling => {}
                }
                if state.changed().await.is_err() {
                    return Err(Fault::Away("the runtime that it lived in has ended".to_owned()));
                }
            }
        };
        let in_time = self.place.limit.keep(known).await;
        in_time.unwrap_or_else(|| Err(Fault::Away("it cannot be made in time".to_owned())))
    }

    /// Runs a statement that the connection keeps prepared.
    pub(super) async fn run(&self, statement: Kept, parameters: &[Parameter<'_>]) -> Answer {
        self.session().await?.run(statement, parameters).await
    }

    /// Runs a statement once, planned for these very values. No answer is too late for it, unless the
    /// connection breaks.
    pub(super) async fn survey(&self, statement: &str, parameters: &[(Parameter<'_>, Type)]) -> Answer {
        let session = self.session().await?;
        session.log(statement);
        Ok(session.client.query_typed(statement, parameters).await?)
    }

    /// Runs statements in one transaction, all of them or none.
    pub(super) async fn batch(&self, statements: &str) -> Result<(), Fault> {
        let session = self.session().await?;
        session.log(statements);
        // Several statements in one message of the simple protocol are one transaction.
        Ok(session.client.batch_execute(statements).await?)
    }
}

impl Session {
    /// Runs one statement in a transaction of its own. One round trip, one more when it is not prepared
    /// yet.
    pub(super) async fn run(&self, statement: Kept, parameters: &[Parameter<'_>]) -> Answer {
        match self.once(statement, parameters).await {
            // The server has forgotten it (DISCARD, a pooler) or the table has changed.
            Err(fault) if fault.is_stale() => {
                self.forget().await;
                self.once(statement, parameters).await
            }
            answer => answer,
        }
    }

    async fn once(&self, statement: Kept, parameters: &[Parameter<'_>]) -> Answer {
        let answer = async {
            let prepared = self.prepared(statement).await?;
            self.log(self.sql.kept(statement));
            Ok(self.client.query(&prepared, parameters).await?)
        };
        self.in_time(answer).await
    }

    /// Runs these between BEGIN and COMMIT, all in one round trip: nothing waits for an answer, and
    /// nobody else's statement comes in between. An error means that none was made, or that the
    /// connection broke.
    pub(super) async fn transaction(
        &self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let all = async {
            let prepared = self.all_prepared(statements).await?;
            let mut requests = Vec::with_capacity(statements.len() + 2);
            requests.push(self.bare("BEGIN"));
            requests.extend(self.requests(&prepared, statements));
            requests.push(self.bare("COMMIT"));
            // The first fault is the cause of the others.
            let mut rows = self.together(requests).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            rows.pop();
            rows.remove(0);
            Ok(rows)
        };
        self.in_time(all).await
    }

    /// Begins a transaction with these statements, in one round trip. Only for a connection that one task uses.
    pub(super) async fn open(
        &self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<(Transaction<'_>, Vec<Vec<Row>>), Fault> {
        let prepared = self.in_time(self.all_prepared(statements)).await?;
        let transaction = Transaction { session: self, is_open: true };
        let begun = async {
            let begin = std::iter::once(self.bare("BEGIN"));
            let requests = begin.chain(self.requests(&prepared, statements)).collect();
            // The first fault is the cause of the others.
            let mut rows = self.together(requests).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            rows.remove(0);
            Ok(rows)
        };
        match self.in_time(begun).await {
            Ok(rows) => Ok((transaction, rows)),
            Err(fault) => {
                if !fault.is_outage() {
                    transaction.roll_back().await?;
                }
                Err(fault)
            }
        }
    }

    /// Runs the same for each of these, each in a transaction of its own, all in one round trip.
    pub(super) async fn each(&self, statements: &[(Kept, Vec<Parameter<'_>>)]) -> Vec<Answer> {
        let all = async {
            let prepared = self.all_prepared(statements).await?;
            Ok(self.together(self.requests(&prepared, statements).collect()).await)
        };
        match self.in_time(all).await {
            Ok(answers) => answers.into_iter().map(|answer| Ok(answer?)).collect(),
            Err(fault) => statements.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    /// Not prepared, so that it cannot be forgotten: without its BEGIN a transaction would be none.
    fn bare<'a>(&'a self, statement: &'static str) -> Request<'a> {
        self.log(statement);
        Box::pin(async move { self.client.batch_execute(statement).await.map(|()| Vec::new()) })
    }

    fn requests<'a>(
        &'a self,
        prepared: &'a [Statement],
        statements: &'a [(Kept, Vec<Parameter<'_>>)],
    ) -> impl Iterator<Item = Request<'a>> {
        prepared.iter().zip(statements).map(|(prepared, (statement, parameters))| {
            self.log(self.sql.kept(*statement));
            Box::pin(self.client.query(prepared, parameters)) as Request<'a>
        })
    }

    /// Queues all requests in their order before anybody else's, then waits for the answers.
    async fn together(&self, requests: Vec<Request<'_>>) -> Vec<Result<Vec<Row>, tokio_postgres::Error>> {
        let mut requests: Vec<_> = requests.into_iter().map(|request| (request, None)).collect();
        let mut queued = false;
        poll_fn(|context| {
            let turn = (!queued).then(|| self.turn.lock());
            let mut all = true;
            for (request, answer) in requests.iter_mut().filter(|(_, answer)| answer.is_none()) {
                match request.as_mut().poll(context) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => all = false,
                }
            }
            queued = true;
            drop(turn);
            if all { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        requests.into_iter().filter_map(|(_, answer)| answer).collect()
    }

    async fn prepared(&self, statement: Kept) -> Result<Statement, Fault> {
        let kept = &self.kept[statement as usize];
        if let Some(prepared) = &*kept.read().await {
            return Ok(prepared.clone());
        }
        let mut kept = kept.write().await;
        if let Some(prepared) = &*kept {
            return Ok(prepared.clone());
        }
        let prepared = self.client.prepare(self.sql.kept(statement)).await?;
        Ok(kept.insert(prepared).clone())
    }

    async fn all_prepared(&self, statements: &[(Kept, Vec<Parameter<'_>>)]) -> Result<Vec<Statement>, Fault> {
        let mut prepared = Vec::with_capacity(statements.len());
        for (statement, _) in statements {
            prepared.push(self.prepared(*statement).await?);
        }
        Ok(prepared)
    }

    /// Prepares everything anew when it is next needed.
    pub(super) async fn forget(&self) {
        for kept in &self.kept {
            *kept.write().await = None;
        }
    }

    /// A connection from which no answer comes is not worth waiting for: it is given up, and another
    /// one made.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.place.limit.keep(answer).await.unwrap_or_else(|| {
            self.broken.notify_one();
            Err(Fault::Slow)
        })
    }

    /// The SQL log: target `sessile::sql`, one event per statement, without values.
    fn log(&self, statement: &str) {
        tracing::trace!(target: "sessile::sql", statement, database = &*self.place.server);
    }
}

/// A transaction that holds locks while its caller decides. Dropped in the middle, it gives its connection up.
pub(super) struct Transaction<'a> {
    session: &'a Session,
    is_open: bool,
}

impl Transaction<'_> {
    /// Runs the last statements and commits, in one round trip. An error means that nothing was done, or that the
    /// connection broke.
    pub(super) async fn commit(
        mut self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let session = self.session;
        let all = async {
            let prepared = session.all_prepared(statements).await?;
            // COMMIT ends the transaction also where a statement has failed.
            let commit = std::iter::once(session.bare("COMMIT"));
            let requests = session.requests(&prepared, statements).chain(commit).collect();
            Ok::<_, Fault>(session.together(requests).await)
        };
        let answers = session.in_time(all).await?;
        self.is_open = answers.last().is_none_or(Result::is_err);
        let mut rows = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        rows.pop();
        Ok(rows)
    }

    /// Undoes it.
    pub(super) async fn roll_back(mut self) -> Result<(), Fault> {
        let session = self.session;
        let undone = session.in_time(async { Ok(session.together(vec![session.bare("ROLLBACK")]).await) });
        self.is_open = undone.await?.iter().any(Result::is_err);
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.session.broken.notify_one();
        }
    }
}

/// Connects, and connects again, until the link is gone.
async fn keep(dialler: Arc<Dialler>, duty: Duty, tell: watch::Sender<State>, wake: Arc<Notify>) {
    if matches!(*tell.borrow(), State::Asleep) {
        tokio::select! {
            () = wake.notified() => {}
            () = tell.closed() => return,
        }
        tell.send_replace(State::Dialling);
    }
    let mut failures = 0;
    loop {
        let dialled = tokio::select! {
            dialled = dialler.dial(duty) => dialled,
            () = tell.closed() => return,
        };
        match dialled {
            Ok((session, mut wire)) => {
                let session = Arc::new(session);
                let since = Instant::now();
                if failures > 0 {
                    tracing::info!(server = %dialler.place.server, ?duty, "connected again");
                }
                tell.send_replace(State::Up(Arc::clone(&session)));
                tokio::select! {
                    end = &mut wire => {
                        let why = end.err().map(Fault::from);
                        tracing::warn!(server = %dialler.place.server, ?duty, ?why, "a connection broke");
                    }
                    () = session.broken.notified() => {
                        tracing::warn!(server = %dialler.place.server, ?duty, "a connection gave no answer");
                    }
                    () = tell.closed() => {
                        // What is queued is still sent, then the server is told goodbye.
                        drop((session, tell));
                        let _ = dialler.place.limit.keep(wire).await;
                        return;
                    }
                }
                tell.send_replace(State::Dialling);
                failures = if since.elapsed() < SETTLED { failures + 1 } else { 0 };
            }
            Err(fault) => {
                if failures == 0 {
                    tracing::warn!(server = %dialler.place.server, ?duty, ?fault, "no connection");
                }
                failures += 1;
                tell.send_replace(State::Down(fault));
            }
        }
        if failures > 0 {
            tokio::select! {
                () = tokio::time::sleep(pause(failures)) => {}
                () = tell.closed() => return,
            }
        }
    }
}

impl Dialler {
    /// One attempt, ready for statements.
    async fn dial(&self, duty: Duty) -> Result<(Session, Wire), Fault> {
        let (client, wire) = self.connect(duty, Arc::new(|_| {})).await?;
        Ok((self.session(client), wire))
    }

    /// One attempt, with everything the connection is set to.
    pub(super) async fn connect(&self, duty: Duty, hear: Hear) -> Result<(Client, Wire), Fault> {
        let limit = self.config.get_connect_timeout().copied().unwrap_or(self.place.limit.length());
        let attempt = async {
            let (client, mut wire) = connected(&self.config, self.tls.as_ref(), hear).await?;
            let (names, settings): (Vec<&str>, Vec<String>) = settings(duty).into_iter().unzip();
            let values: [(Parameter<'_>, Type); 2] =
                [(&names, Type::TEXT_ARRAY), (&settings, Type::TEXT_ARRAY)];
            tokio::select! {
                set = client.query_typed(sql::SET, &values) => set?,
                end = &mut wire => return Err(end.err().map_or_else(
                    || Fault::Away("the server hung up".to_owned()),
                    Fault::from,
                )),
            };
            Ok((client, wire))
        };
        // Several hosts are tried one after the other.
        let hosts = u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let dialled = tokio::time::timeout(limit.saturating_mul(hosts), attempt).await;
        match dialled {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(Fault::Refused(refusal))) => Err(Fault::Refused(refusal)),
            Ok(Err(Fault::Cut(why) | Fault::Other(why) | Fault::Away(why))) => Err(Fault::Away(why)),
            Ok(Err(Fault::Slow)) | Err(_) => {
                Err(Fault::Away(format!("no answer within {} ms", limit.as_millis())))
            }
        }
    }

    fn session(&self, client: Client) -> Session {
        Session {
            client,
            kept: [const { RwLock::const_new(None) }; Kept::COUNT],
            turn: Mutex::new(()),
            broken: Notify::new(),
            place: Arc::clone(&self.place),
            sql: Arc::clone(&self.sql),
        }
    }
}

async fn connected(
    config: &tokio_postgres::Config,
    tls: Option<&MakeRustlsConnect>,
    hear: Hear,
) -> Result<(Client, Wire), Fault> {
    match tls {
        None => wired(config.connect(NoTls).await, hear),
        Some(tls) => wired(config.connect(tls.clone()).await, hear),
    }
}

/// A connection that is nobody's link; what went wrong, in words.
pub(super) async fn bare(
    config: &tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
) -> Result<(Client, Wire), String> {
    connected(config, tls.as_ref(), Arc::new(|_| {})).await.map_err(|fault| match fault {
        Fault::Refused(refusal) => refusal.to_string(),
        Fault::Cut(why) | Fault::Other(why) | Fault::Away(why) => why,
        Fault::Slow => "no answer".to_owned(),
    })
}

fn wired<S, T>(
    connected: Result<(Client, tokio_postgres::Connection<S, T>), tokio_postgres::Error>,
    hear: Hear,
) -> Result<(Client, Wire), Fault>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (client, mut connection) = connected?;
    let wire = poll_fn(move |context| {
        loop {
            match ready!(connection.poll_message(context)) {
                Some(Ok(AsyncMessage::Notification(notification))) => hear(&notification),
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    tracing::debug!(message = notice.message(), "the server remarks");
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    });
    Ok((client, Box::pin(wire)))
}

fn settings(duty: Duty) -> Vec<(&'static str, String)> {
    let (looks_up, lock_timeout) = match duty {
        Duty::Loads => (true, None),
        Duty::Writes(wait) | Duty::Retries(wait) => (true, Some(wait)),
        Duty::Endings(wait) | Duty::StuckEndings(wait) => (false, Some(wait)),
        Duty::Lists | Duty::Surveys | Duty::Feed => (false, None),
    };
    let looks_up = if looks_up { sql::KEY_LOOKUP_SETTINGS } else { &[] };
    let mut settings: Vec<_> =
        sql::SETTINGS.iter().chain(looks_up).map(|(name, setting)| (*name, (*setting).to_owned())).collect();
    if duty == Duty::Feed {
        // A sign of life is nothing to wait for the disk for.
        settings.push(("synchronous_commit", "off".to_owned()));
    }
    if let Some(wait) = lock_timeout {
        settings.push(("lock_timeout", format!("{}ms", wait.as_millis().max(1))));
    }
    settings
}
