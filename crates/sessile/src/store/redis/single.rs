//! The connection to one server: one that is made again when it breaks.
//!
//! Requests are pipelined on it, and none of them has it alone. A task holds it: when it breaks the task connects
//! again, at once, and then with growing pauses and jitter. Until then a request fails within a bounded time. A
//! write that was under way is never sent again from here.
//!
//! Where there are sentinels, they name the server, and the connection ends when they name another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Pipeline;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use tokio::sync::{Notify, watch};

use super::connect::Endpoint;
use super::fault::{Fault, Place, answer};
use super::link::{Answer, Dialler, Target};
use super::sentinel::Primary;
use crate::store::backoff::pause;
use crate::store::limit::TimeLimit;

/// A connection that lived shorter than this is a failed attempt.
const SETTLED: Duration = Duration::from_secs(1);
/// Attempts to connect are this far apart at least. After that, the next request makes one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection, ready for use.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) connection: MultiplexedConnection,
    pub(super) end: Arc<End>,
}

impl Session {
    /// Gives the connection up when the answer says that it is of no use.
    fn mind(&self, answer: &Answer) {
        if answer.as_ref().is_err_and(Fault::ends_the_connection) {
            self.end.tell();
        }
    }

    /// What a server answers that another one has replaced does not count: what it acknowledges is lost.
    fn counted<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        match self.end.is_replaced.load(Ordering::Acquire) {
            true => Err(Fault::Cut("another server has become the primary".to_owned())),
            false => answer,
        }
    }
}

/// Where a connection leads, and whether it is over.
pub(super) struct End {
    pub(super) endpoint: Endpoint,
    /// The server, where sentinels have named it.
    pub(super) primary: Option<Primary>,
    over: AtomicBool,
    is_replaced: AtomicBool,
    told: Notify,
}

impl End {
    pub(super) fn of(endpoint: Endpoint, primary: Option<Primary>) -> End {
        let (over, is_replaced) = (AtomicBool::new(false), AtomicBool::new(false));
        End { endpoint, primary, over, is_replaced, told: Notify::new() }
    }

    pub(super) fn tell(&self) {
        self.over.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// The server is no longer the primary.
    fn replace(&self) {
        self.is_replaced.store(true, Ordering::Release);
        self.tell();
    }
}

#[derive(Clone)]
enum State {
    /// An attempt is being made, after a connection that was good.
    Dialling,
    Up(Session),
    /// Attempts fail, and are made again and again.
    Down(Fault),
}

/// A single server, the primary that sentinels name, or a node of a Cluster. Clones share the connection.
#[derive(Clone)]
pub(super) struct Single {
    state: watch::Receiver<State>,
    /// Wakes the task that connects.
    wanted: Arc<Notify>,
    pub(super) place: Arc<Place>,
    /// How long an attempt to connect is waited for.
    patience: TimeLimit,
}

impl Single {
    /// Starts the task, which ends with the last clone.
    pub(super) fn start(dialler: Dialler, patience: TimeLimit) -> Single {
        let (tell, state) = watch::channel(State::Dialling);
        let (wanted, place) = (Arc::new(Notify::new()), Arc::clone(&dialler.place));
        tokio::spawn(keep(dialler, Arc::clone(&wanted), tell));
        Single { state, wanted, place, patience }
    }

    /// Whether there is a connection now.
    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(session) if !session.end.over.load(Ordering::Acquire))
    }

    /// Where the connection leads now.
    pub(super) async fn endpoint(&self) -> Result<Endpoint, Fault> {
        Ok(self.session().await?.end.endpoint.clone())
    }

    /// Waits until there is a connection.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.session().await.map(drop)
    }

    /// The connection; at once when it stands or when attempts fail, otherwise as soon as the first attempt
    /// is over. A server that is unfit, or refuses the credentials, is one that cannot be reached: it was fit
    /// when the store was opened, and may be again.
    async fn session(&self) -> Result<Session, Fault> {
        if let State::Up(session) = &*self.state.borrow()
            && !session.end.over.load(Ordering::Acquire)
        {
            return Ok(session.clone());
        }
        let session = self.first_session().await;
        if session.is_err() {
            self.wanted.notify_one();
        }
        session.map_err(Fault::unreachable)
    }

    /// Waits for the first attempt to connect.
    ///
    /// # Errors
    /// What is wrong with the server.
    pub(super) async fn first(&self) -> Result<(), Fault> {
        self.first_session().await.map(drop)
    }

    async fn first_session(&self) -> Result<Session, Fault> {
        let mut state = self.state.clone();
        let known = async {
            loop {
                match &*state.borrow_and_update() {
                    State::Up(session) if !session.end.over.load(Ordering::Acquire) => {
                        return Ok(session.clone());
                    }
                    State::Down(fault) => return Err(fault.clone()),
                    State::Up(_) | State::Dialling => {}
                }
                if state.changed().await.is_err() {
                    return Err(Fault::Away("the runtime that it lived in has ended".to_owned()));
                }
            }
        };
        let in_time = self.patience.keep(known).await;
        in_time.unwrap_or_else(|| Err(Fault::Away("it cannot be made in time".to_owned())))
    }

    /// All in one message.
    pub(super) async fn send(&self, commands: Vec<redis::Cmd>) -> Vec<Answer> {
        let count = commands.len();
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(fault) => return vec![Err(fault); count],
        };
        if count == 0 {
            return Vec::new();
        }
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command);
        }
        let values = self.in_time(session.connection.req_packed_commands(&pipeline, 0, count)).await;
        let answers: Vec<Answer> = match session.counted(values) {
            Ok(values) => values.into_iter().map(answer).collect(),
            Err(fault) => vec![Err(fault); count],
        };
        answers.iter().for_each(|answer| session.mind(answer));
        answers
    }

    pub(super) async fn send_one(&self, command: &redis::Cmd) -> Answer {
        let mut session = self.session().await?;
        let value = self.in_time(session.connection.req_packed_command(command)).await;
        let answer = session.counted(value).and_then(answer);
        session.mind(&answer);
        answer
    }

    async fn in_time<T>(&self, answer: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Fault> {
        self.place.limit.keep(answer).await.map_or(Err(Fault::Slow), |answer| answer.map_err(Fault::from))
    }
}

/// Connects, and connects again, until the store is gone.
async fn keep(dialler: Dialler, wanted: Arc<Notify>, tell: watch::Sender<State>) {
    let server = &*dialler.place.server;
    let mut failures = 0;
    loop {
        let dialled = tokio::select! {
            dialled = dialler.dial() => dialled,
            () = tell.closed() => return,
        };
        match dialled {
            Ok(session) => {
                let since = Instant::now();
                if failures > 0 {
                    tracing::info!(server, endpoint = %session.end.endpoint, "connected again");
                }
                tell.send_replace(State::Up(session.clone()));
                tokio::select! {
                    () = ended(&dialler, &session) => {}
                    () = tell.closed() => return,
                }
                tell.send_replace(State::Dialling);
                failures = if since.elapsed() < SETTLED { failures + 1 } else { 0 };
            }
            Err(fault) => {
                if failures == 0 {
                    tracing::warn!(server, ?fault, "no connection");
                }
                failures += 1;
                tell.send_replace(State::Down(fault));
            }
        }
        if failures > 0 {
            tokio::select! {
                () = wait(failures, &wanted) => {}
                () = tell.closed() => return,
            }
        }
    }
}

/// Returns when the connection is over.
async fn ended(dialler: &Dialler, session: &Session) {
    let replaced = async {
        match (&dialler.target, &session.end.primary) {
            (Target::Sentinel(sentinels), Some(primary)) => sentinels.wait_for_another(primary).await,
            _ => std::future::pending().await,
        }
    };
    let (server, endpoint) = (&*dialler.place.server, &session.end.endpoint);
    tokio::select! {
        () = session.end.told.notified() => {
            tracing::warn!(server, %endpoint, "the connection broke, or gave no answer");
        }
        () = replaced => {
            session.end.replace();
            tracing::warn!(server, %endpoint, "another server has become the primary");
        }
    }
}

/// The pause after so many attempts that failed; a long one ends when a request needs the connection.
async fn wait(failures: u32, wanted: &Notify) {
    let full = pause(failures);
    let first = full.min(SHORTEST_PAUSE);
    tokio::time::sleep(first).await;
    let _ = tokio::time::timeout(full - first, wanted.notified()).await;
}
