//! One connection, kept alive: never checked out, requests [pipeline](super::pipeline) on it.
//!
//! A task of its own holds it. When it breaks the task connects again, at once, and then with growing
//! pauses and jitter; meanwhile a caller is told so within a bounded time. A statement that was cut off
//! is never sent again from here: only its caller knows whether that is safe.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, RwLock, watch};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Place, may_refuse_options};
pub(super) use super::pipeline::Parameter;
use super::pipeline::{Access, OpenTransaction, Pipeline, Request};
use super::pooler::{self, Pooling};
use super::settings;
use super::sql::{self, Kept, Sql};
use crate::store::backoff::pause;

/// A connection that lived shorter than this is a failed attempt.
const SETTLED: Duration = Duration::from_secs(1);

/// Never prepared, so that the server cannot have forgotten them.
const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";

type Answer = Result<Vec<Row>, Fault>;
/// Drives the connection; ends when it does.
pub(super) type Wire = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// Hears what the server sends unasked.
pub(super) type Hear = Arc<dyn Fn(&Notification) + Send + Sync>;

/// A server, or a pooler in front of it.
pub(super) struct Target {
    config: tokio_postgres::Config,
    /// The same with [`settings::FROM_THE_START`].
    unlimited: tokio_postgres::Config,
    /// Whether the other end refuses these: a server that is older than one of them, a pooler.
    takes_no_options: AtomicBool,
    tls: Option<MakeRustlsConnect>,
    /// Which kind of pooler it is, once that is known.
    pooling: tokio::sync::Mutex<Option<Pooling>>,
}

/// How to connect, for all links of a store.
pub(super) struct Dialler {
    target: Target,
    /// Where the feed listens, if not there.
    feed_target: Option<Target>,
    /// Whether each transaction may be served by another process of the server.
    pub(super) pooled: bool,
    pub(super) place: Arc<Place>,
    pub(super) sql: Arc<Sql>,
    /// Whether all links have been connected once: from then on a refusal is an outage.
    opened: AtomicBool,
    /// Another link is connected again.
    reached: Notify,
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
    pipeline: Pipeline,
    /// What begins a transaction, where the connection is ours for no longer than that.
    local: Option<String>,
    kept: [RwLock<Option<Statement>>; Kept::COUNT],
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
        if let Some(session) = self.standing() {
            return Ok(session);
        }
        self.wake.notify_one();
        let mut state = self.state.clone();
        let known = async {
            loop {
                match &*state.borrow_and_update() {
                    State::Up(session) if !session.pipeline.is_closed() => return Ok(Arc::clone(session)),
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

    /// The connection, if there is one at this moment.
    pub(super) fn standing(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            State::Up(session) if !session.pipeline.is_closed() => Some(Arc::clone(session)),
            _ => None,
        }
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
        session.lone(Request::Typed(statement, parameters.to_vec())).await
    }

    /// Runs statements in one transaction, all of them or none.
    pub(super) async fn batch(&self, statements: &str) -> Result<(), Fault> {
        let session = self.session().await?;
        session.log(statements);
        // Several statements in one message of the simple protocol are one transaction.
        session.lone(Request::Simple(statements)).await.map(drop)
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
            if self.local.is_some() {
                return self.lone(self.unprepared(statement, parameters)).await;
            }
            let access = self.pipeline.share().await?;
            let prepared = self.prepared(&access, statement).await?;
            self.log(self.sql.kept(statement));
            access.run(Request::Prepared(&prepared, parameters)).await
        };
        self.in_time(answer).await
    }

    /// Runs these between BEGIN and COMMIT, all in one round trip: nothing waits for an answer, and
    /// no other statement comes in between. An error means that none was made, or that the
    /// connection broke.
    pub(super) async fn transaction(
        &self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let all = async {
            let access = self.pipeline.share().await?;
            let prepared = self.all_prepared(&access, statements).await?;
            self.log(BEGIN);
            let requests = self.requests(&prepared, statements);
            self.log(COMMIT);
            access.transaction(self.begin(), requests).await
        };
        self.in_time(all).await
    }

    /// Begins a transaction with these statements, in one round trip. Requests of others wait for its end.
    pub(super) async fn open(
        &self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<(Transaction<'_>, Vec<Vec<Row>>), Fault> {
        let opened = async {
            let access = self.pipeline.own().await?;
            let prepared = self.all_prepared(&access, statements).await?;
            self.log(BEGIN);
            access.open(self.begin(), self.requests(&prepared, statements)).await
        };
        let (open, rows) = self.in_time(opened).await?;
        Ok((Transaction { session: self, open }, rows))
    }

    fn begin(&self) -> &str {
        self.local.as_deref().unwrap_or(BEGIN)
    }

    /// Runs the same for each of these, each in a transaction of its own, all in one round trip.
    pub(super) async fn each(&self, statements: &[(Kept, Vec<Parameter<'_>>)]) -> Vec<Answer> {
        let all = async {
            let access = self.pipeline.share().await?;
            let prepared = self.all_prepared(&access, statements).await?;
            let requests = self.requests(&prepared, statements);
            Ok(match &self.local {
                None => access.run_each(requests).await,
                Some(begin) => access.transaction_each(begin, requests).await,
            })
        };
        match self.in_time(all).await {
            Ok(answers) => answers,
            Err(fault) => statements.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    /// Sends a sign of life to whoever listens on this channel, without waiting for the disk.
    pub(super) async fn sign(&self, channel: &str, text: &str) -> Result<(), Fault> {
        let parameters: Vec<(Parameter<'_>, Type)> = vec![(&channel, Type::TEXT), (&text, Type::TEXT)];
        self.log(sql::NOTIFY);
        self.in_time(self.lone(Request::Typed(sql::NOTIFY, parameters))).await.map(drop)
    }

    /// Runs one request in a transaction of its own.
    async fn lone(&self, request: Request<'_>) -> Answer {
        match &self.local {
            None => self.pipeline.run(request).await,
            Some(begin) => {
                Ok(self.pipeline.transaction(begin, vec![request]).await?.pop().unwrap_or_default())
            }
        }
    }

    /// `prepared` is empty where nothing is kept.
    fn requests<'a>(
        &'a self,
        prepared: &'a [Statement],
        statements: &'a [(Kept, Vec<Parameter<'_>>)],
    ) -> Vec<Request<'a>> {
        let request = |(at, (statement, parameters)): (usize, &'a (Kept, Vec<Parameter<'_>>))| {
            let Some(prepared) = prepared.get(at) else { return self.unprepared(*statement, parameters) };
            self.log(self.sql.kept(*statement));
            Request::Prepared(prepared, parameters)
        };
        statements.iter().enumerate().map(request).collect()
    }

    fn unprepared<'a>(&'a self, statement: Kept, parameters: &[Parameter<'a>]) -> Request<'a> {
        let statement = self.sql.kept(statement);
        self.log(statement);
        Request::typed(statement, parameters)
    }

    /// With an access: who holds it never waits for who prepares.
    async fn prepared(&self, access: &Access<'_>, statement: Kept) -> Result<Statement, Fault> {
        let kept = &self.kept[statement as usize];
        if let Some(prepared) = &*kept.read().await {
            return Ok(prepared.clone());
        }
        let mut kept = kept.write().await;
        if let Some(prepared) = &*kept {
            return Ok(prepared.clone());
        }
        let prepared = access.prepare(self.sql.kept(statement)).await?;
        Ok(kept.insert(prepared).clone())
    }

    /// None where the server would not keep them.
    async fn all_prepared(
        &self,
        access: &Access<'_>,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Statement>, Fault> {
        if self.local.is_some() {
            return Ok(Vec::new());
        }
        let mut prepared = Vec::with_capacity(statements.len());
        for (statement, _) in statements {
            prepared.push(self.prepared(access, *statement).await?);
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
            self.pipeline.give_up();
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
    open: OpenTransaction<'a>,
}

impl Transaction<'_> {
    /// Runs the last statements and commits, in one round trip. An error means that nothing was done, or that the
    /// connection broke.
    pub(super) async fn commit(
        self,
        statements: &[(Kept, Vec<Parameter<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let Transaction { session, open } = self;
        let all = async {
            let prepared = match session.all_prepared(open.access(), statements).await {
                Ok(prepared) => prepared,
                Err(fault) => {
                    open.roll_back().await?;
                    return Err(fault);
                }
            };
            session.log(COMMIT);
            open.commit(session.requests(&prepared, statements)).await
        };
        session.in_time(all).await
    }

    /// Undoes it.
    pub(super) async fn roll_back(self) -> Result<(), Fault> {
        self.session.in_time(self.open.roll_back()).await
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
                    dialler.reached.notify_waiters();
                }
                tell.send_replace(State::Up(Arc::clone(&session)));
                tokio::select! {
                    end = &mut wire => {
                        let why = end.err().map(Fault::from);
                        tracing::warn!(server = %dialler.place.server, ?duty, ?why, "a connection broke");
                    }
                    () = session.pipeline.given_up() => {
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
                dialler.target(duty).forget();
                failures = if since.elapsed() < SETTLED { failures + 1 } else { 0 };
                if failures > 0 {
                    tokio::select! {
                        () = tokio::time::sleep(pause(failures)) => {}
                        () = tell.closed() => return,
                    }
                }
            }
            Err(fault) => {
                let fault = dialler.failed(fault, duty, failures == 0);
                failures += 1;
                let reached = dialler.reached.notified();
                tell.send_replace(State::Down(fault));
                tokio::select! {
                    () = tokio::time::sleep(pause(failures)) => {}
                    // Where one link gets through, the others need not wait for their time.
                    () = reached => {}
                    () = tell.closed() => return,
                }
            }
        }
    }
}

impl Target {
    pub(super) fn new(config: tokio_postgres::Config, tls: Option<MakeRustlsConnect>) -> Target {
        let mut unlimited = config.clone();
        let options = [config.get_options(), Some(settings::FROM_THE_START)];
        unlimited.options(options.into_iter().flatten().collect::<Vec<_>>().join(" "));
        let (takes_no_options, pooling) = (AtomicBool::new(false), tokio::sync::Mutex::new(None));
        Target { config, unlimited, takes_no_options, tls, pooling }
    }

    /// Connects, with no time limits in force from the first message on if the other end accepts such options.
    pub(super) async fn connected(&self, hear: Hear) -> Result<(Client, Wire), Fault> {
        let tls = self.tls.as_ref();
        if !self.takes_no_options.load(Ordering::Relaxed) {
            match connected(&self.unlimited, tls, Arc::clone(&hear)).await {
                Err(error) if may_refuse_options(&error) => {
                    tracing::debug!(%error, "connecting again, without options");
                    let opened = connected(&self.config, tls, hear).await?;
                    self.takes_no_options.store(true, Ordering::Relaxed);
                    return Ok(opened);
                }
                opened => return Ok(opened?),
            }
        }
        Ok(connected(&self.config, tls, hear).await?)
    }

    /// How the pooler at the other end of this connection deals out those of the server.
    async fn pooling(&self, pipeline: &Pipeline, limit: Duration) -> Result<Pooling, Fault> {
        let mut known = self.pooling.lock().await;
        if let Some(known) = *known {
            return Ok(known);
        }
        let pooling = self.compared(pipeline, limit).await?;
        *known = Some(pooling);
        Ok(pooling)
    }

    /// The same from a comparison with a second connection, made for it.
    pub(super) async fn compared(&self, pipeline: &Pipeline, limit: Duration) -> Result<Pooling, Fault> {
        let (client, mut wire) = self.connected(Arc::new(|_| {})).await?;
        let other = Pipeline::new(client);
        let pooling = tokio::select! {
            pooling = pooler::probe(pipeline, &other, limit) => pooling?,
            end = &mut wire => return Err(hung_up(end)),
        };
        drop(other);
        // The goodbye is polite, and nothing depends on it.
        let _ = tokio::time::timeout(limit, wire).await;
        Ok(pooling)
    }

    /// Which pooler is in between; `None` where the connection leads to the server itself.
    pub(super) async fn pooler(&self, limit: Duration) -> Result<Option<Pooling>, Fault> {
        let (client, mut wire) = self.connected(Arc::new(|_| {})).await?;
        let named = pooler::named_process(&client).await;
        let pipeline = Pipeline::new(client);
        let found = async {
            if pooler::process(&pipeline).await? == named {
                return Ok(None);
            }
            self.compared(&pipeline, limit).await.map(Some)
        };
        tokio::select! {
            found = found => found,
            end = &mut wire => Err(hung_up(end)),
        }
    }

    /// What is at the other end may be another when a connection has ended.
    fn forget(&self) {
        if let Ok(mut known) = self.pooling.try_lock() {
            *known = None;
        }
    }
}

impl Dialler {
    pub(super) fn new(
        target: Target,
        feed_target: Option<Target>,
        pooled: bool,
        place: Place,
        sql: Arc<Sql>,
    ) -> Dialler {
        Dialler {
            target,
            feed_target,
            pooled,
            place: Arc::new(place),
            sql,
            opened: AtomicBool::new(false),
            reached: Notify::new(),
        }
    }

    /// From now on a service depends on the connections.
    pub(super) fn has_opened(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    pub(super) fn target(&self, duty: Duty) -> &Target {
        match (duty, &self.feed_target) {
            (Duty::Feed, Some(target)) => target,
            _ => &self.target,
        }
    }

    /// Whether a feed can listen: not where the connection changes with each transaction.
    pub(super) fn can_listen(&self) -> bool {
        !self.pooled || self.feed_target.is_some()
    }

    /// What a failed attempt means. A service that runs is not ended by a changed password, which may be put
    /// right: its requests are answered as in any other outage.
    fn failed(&self, fault: Fault, duty: Duty, is_first: bool) -> Fault {
        let server = &self.place.server;
        let is_refused = matches!(fault, Fault::Refused(_) | Fault::Pooled);
        if !(is_refused && self.opened.load(Ordering::Relaxed)) {
            if is_first {
                tracing::warn!(%server, ?duty, reason = fault.words(), "no connection");
            }
            return fault;
        }
        let reason = fault.words();
        if is_first {
            tracing::error!(
                %server, ?duty, reason,
                "the server refuses to connect: requests fail with 503 until it is put right there, \
                 or this program is started anew with other credentials"
            );
        }
        Fault::Away(reason)
    }

    /// One attempt, ready for statements.
    async fn dial(&self, duty: Duty) -> Result<(Session, Wire), Fault> {
        let (pipeline, local, wire) = self.connect(duty, Arc::new(|_| {})).await?;
        Ok((self.session(pipeline, local), wire))
    }

    /// One attempt, with everything the connection is set to.
    pub(super) async fn connect(
        &self,
        duty: Duty,
        hear: Hear,
    ) -> Result<(Pipeline, Option<String>, Wire), Fault> {
        let target = self.target(duty);
        let limit = target.config.get_connect_timeout().copied().unwrap_or(self.place.limit.length());
        let attempt = async {
            let (client, mut wire) = target.connected(hear).await?;
            let process = pooler::named_process(&client).await;
            let pipeline = Pipeline::new(client);
            let local = tokio::select! {
                local = self.set(&pipeline, duty, process, limit / 2) => local?,
                end = &mut wire => return Err(hung_up(end)),
            };
            Ok((pipeline, local, wire))
        };
        // Several hosts are tried one after the other.
        let hosts = u32::try_from(target.config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let dialled = tokio::time::timeout(limit.saturating_mul(hosts), attempt).await;
        match dialled {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(fault @ (Fault::Refused(_) | Fault::Pooled | Fault::UserId(_)))) => Err(fault),
            Ok(Err(Fault::Cut(why) | Fault::Other(why) | Fault::Away(why))) => Err(Fault::Away(why)),
            Ok(Err(Fault::Slow)) | Err(_) => {
                Err(Fault::Away(format!("no answer within {} ms", limit.as_millis())))
            }
        }
    }

    /// Sets a new connection; what begins its transactions where that cannot be done for the session.
    async fn set(
        &self,
        pipeline: &Pipeline,
        duty: Duty,
        process: i32,
        limit: Duration,
    ) -> Result<Option<String>, Fault> {
        if self.pooled && duty != Duty::Feed {
            return settings::local(pipeline, duty).await.map(Some);
        }
        // Nothing is set where the answer comes from another process than the one that was named.
        if settings::set(pipeline, duty, process, false).await? {
            return Ok(None);
        }
        match self.target(duty).pooling(pipeline, limit).await? {
            Pooling::Transactions => Err(Fault::Pooled),
            Pooling::Sessions => settings::set(pipeline, duty, process, true).await.map(|_| None),
        }
    }

    fn session(&self, pipeline: Pipeline, local: Option<String>) -> Session {
        Session {
            pipeline,
            local,
            kept: [const { RwLock::const_new(None) }; Kept::COUNT],
            place: Arc::clone(&self.place),
            sql: Arc::clone(&self.sql),
        }
    }
}

/// The schema that an unqualified name of a table leads to, or would be made in; `None` where there is none.
pub(super) async fn schema_of(target: &Target, table: &str) -> Result<Option<String>, Fault> {
    // As when connecting: what ends before there was an answer was never there.
    let away = |fault| match fault {
        Fault::Cut(why) | Fault::Other(why) => Fault::Away(why),
        fault => fault,
    };
    let (client, mut wire) = target.connected(Arc::new(|_| {})).await.map_err(away)?;
    let pipeline = Pipeline::new(client);
    let schema = tokio::select! {
        schema = settings::schema_of(&pipeline, table) => schema,
        end = &mut wire => Err(hung_up(end)),
    };
    drop(pipeline);
    // The goodbye is polite, and nothing depends on it.
    let _ = wire.await;
    schema.map_err(away)
}

fn hung_up(end: Result<(), tokio_postgres::Error>) -> Fault {
    end.err().map_or_else(|| Fault::Away("the server hung up".to_owned()), Fault::from)
}

async fn connected(
    config: &tokio_postgres::Config,
    tls: Option<&MakeRustlsConnect>,
    hear: Hear,
) -> Result<(Client, Wire), tokio_postgres::Error> {
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
    connected(config, tls.as_ref(), Arc::new(|_| {})).await.map_err(|error| Fault::from(error).words())
}

fn wired<S, T>(
    connected: Result<(Client, tokio_postgres::Connection<S, T>), tokio_postgres::Error>,
    hear: Hear,
) -> Result<(Client, Wire), tokio_postgres::Error>
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
