//! A few connections for one duty: taken by one caller at a time, kept, and replaced when they break.
//!
//! Who needs one and finds none makes it. While the server cannot be reached, one caller at a time tries,
//! with growing pauses and jitter, and all others are told so at once.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::{Fault, Place};
use super::session::Session;
use super::settings::{self, Version};
use super::sql::Sql;
use super::tunnel::{Failure, Tunnel};
use crate::store::backoff::pause;

/// A connection that was idle for longer is checked with a ping before a write: servers, proxies and firewalls
/// close idle connections, and a write is never sent twice.
const IDLE: Duration = Duration::from_secs(1);

/// The same before a load, which is sent again when its connection breaks.
const IDLE_LOADS: Duration = Duration::from_secs(30);

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// Lookups by primary key.
    Loads,
    /// Writes that wait for no lock, as far as the server can do without.
    Writes,
    /// Writes whose rows are locked by others, tried again.
    Retries,
    /// First attempts at deleting a user's rows.
    Endings,
    /// The attempts after those.
    StuckEndings,
    /// Listings.
    Lists,
    /// Statements on the whole table, and purges.
    Surveys,
}

/// How to reach the server.
pub(super) struct Way {
    /// What the driver has to know.
    pub(super) opts: Opts,
    /// For encrypted connections.
    pub(super) tunnel: Option<Tunnel>,
    /// Whether a server that does not support TLS is accepted.
    pub(super) may_be_plain: bool,
}

/// How to connect, for all pools of a store.
pub(super) struct Dialler {
    way: Way,
    /// Whether the server did not support TLS the last time.
    cannot_encrypt: AtomicBool,
    /// Whether any connection was made before.
    has_connected: AtomicBool,
    pub(super) place: Arc<Place>,
    pub(super) sql: Arc<Sql>,
    outage: Mutex<Outage>,
    /// Counts the connections that broke: when one does, those that idle are of no use either.
    age: AtomicU64,
}

#[derive(Default)]
struct Outage {
    failures: u32,
    /// Nobody tries before.
    until: Option<(Instant, Fault)>,
}

/// Connections for one duty.
pub(super) struct Pool {
    dialler: Arc<Dialler>,
    duty: Duty,
    idle: Mutex<Vec<Session>>,
    room: Arc<Semaphore>,
    size: usize,
}

/// The right to use one connection of a pool.
pub(super) struct Turn {
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
}

/// A connection in use, given back when dropped.
pub(super) struct Seat {
    session: Option<Session>,
    pool: Arc<Pool>,
    // Given back after the connection, which the next one then finds.
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(dialler: &Arc<Dialler>, duty: Duty, size: usize) -> Arc<Pool> {
        Arc::new(Pool {
            dialler: Arc::clone(dialler),
            duty,
            idle: Mutex::new(Vec::with_capacity(size)),
            room: Arc::new(Semaphore::new(size)),
            size,
        })
    }

    /// A turn, if one is free.
    pub(super) fn free(self: &Arc<Pool>) -> Option<Turn> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Turn { pool: Arc::clone(self), permit })
    }

    /// A connection, as soon as there is one; a bounded wait.
    pub(super) async fn seat(self: &Arc<Pool>) -> Result<Seat, Fault> {
        let place = &self.dialler.place;
        match place.limit.keep(Arc::clone(&self.room).acquire_owned()).await {
            Some(Ok(permit)) => Turn { pool: Arc::clone(self), permit }.seat().await,
            _ => Err(Fault::Away(format!("all {} connections for {} are busy", self.size, self.duty.name()))),
        }
    }
}

impl Turn {
    /// The connection: one that idles, or a new one.
    pub(super) async fn seat(self) -> Result<Seat, Fault> {
        let Turn { pool, permit } = self;
        loop {
            // The one that was used last.
            let idle = pool.idle.lock().pop();
            let session = match idle {
                Some(session) if session.age < pool.dialler.age.load(Ordering::Acquire) => continue,
                Some(session) if session.used.elapsed() < session.idle_limit => session,
                Some(mut session) => {
                    if !session.answers().await {
                        continue;
                    }
                    session
                }
                None => pool.dialler.session(pool.duty).await?,
            };
            return Ok(Seat { session: Some(session), pool, _permit: permit });
        }
    }
}

impl Deref for Seat {
    type Target = Session;

    #[allow(clippy::expect_used, reason = "it is taken out only when the seat is dropped")]
    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a seat holds its session")
    }
}

impl DerefMut for Seat {
    #[allow(clippy::expect_used, reason = "it is taken out only when the seat is dropped")]
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a seat holds its session")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        if session.is_clean() {
            session.used = Instant::now();
            self.pool.idle.lock().push(session);
        } else if session.is_broken() {
            self.pool.dialler.has_broken(session.age);
        }
    }
}

impl Duty {
    fn name(self) -> &'static str {
        match self {
            Duty::Loads => "loads",
            Duty::Writes => "writes",
            Duty::Retries => "writes to locked rows",
            Duty::Endings => "ending a user's sessions",
            Duty::StuckEndings => "ending a user's sessions beside locked rows",
            Duty::Lists => "listings",
            Duty::Surveys => "counts and purges",
        }
    }

    /// How long a connection may be idle and is used without a check.
    fn idle_limit(self, wait_timeout: Duration) -> Duration {
        match self {
            Duty::Loads => IDLE_LOADS,
            _ => IDLE.min(wait_timeout / 2),
        }
    }
}

impl Dialler {
    pub(super) fn new(way: Way, place: Arc<Place>, sql: Arc<Sql>) -> Dialler {
        Dialler {
            way,
            cannot_encrypt: AtomicBool::new(false),
            has_connected: AtomicBool::new(false),
            place,
            sql,
            outage: Mutex::default(),
            age: AtomicU64::new(0),
        }
    }

    /// A new connection, unless it was in vain a moment ago.
    async fn session(&self, duty: Duty) -> Result<Session, Fault> {
        {
            let mut outage = self.outage.lock();
            if let Some((until, fault)) = &mut outage.until {
                if Instant::now() < *until {
                    return Err(fault.clone());
                }
                // We try; who comes meanwhile need not.
                *until = Instant::now() + self.place.limit.length();
            }
        }
        let dialled = self.dial(duty).await;
        let mut outage = self.outage.lock();
        match &dialled {
            Ok(_) => {
                if outage.failures > 0 {
                    tracing::info!(server = %self.place.server, "connected again");
                }
                *outage = Outage::default();
            }
            Err(fault) => {
                if outage.failures == 0 {
                    tracing::warn!(server = %self.place.server, ?duty, ?fault, "no connection");
                }
                outage.failures = outage.failures.saturating_add(1);
                outage.until = Some((Instant::now() + pause(outage.failures), fault.clone()));
            }
        }
        dialled
    }

    fn has_broken(&self, age: u64) {
        if self.age.compare_exchange(age, age + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            tracing::warn!(server = %self.place.server, "a connection broke");
        }
    }

    /// One attempt, with everything the connection is set to.
    async fn dial(&self, duty: Duty) -> Result<Session, Fault> {
        let age = self.age.load(Ordering::Acquire);
        let attempt = async {
            let mut conn = self.connect().await?;
            let server = settings::apply(&mut conn).await?;
            self.place.packet.store(server.packet, Ordering::Relaxed);
            conn.query_drop(self.lock_waits(duty, server.version)).await?;
            Ok::<_, Fault>((conn, server))
        };
        match self.place.limit.keep(attempt).await {
            Some(Ok((conn, server))) => {
                self.has_connected.store(true, Ordering::Relaxed);
                let (place, sql) = (Arc::clone(&self.place), Arc::clone(&self.sql));
                let idle_limit = duty.idle_limit(server.wait_timeout);
                let skips = server.version.skips_locked();
                let mut session = Session::new(conn, place, sql, skips, age, idle_limit);
                session.waits_for_locks = !server.version.is_mariadb;
                Ok(session)
            }
            // The same user and password were right before: they are being changed.
            Some(Err(fault)) if fault.is_not_let_in() && self.has_connected.load(Ordering::Relaxed) => {
                Err(Fault::Away(format!("{fault}; check user, password and database in the store URL")))
            }
            Some(Err(fault @ (Fault::Refused(_) | Fault::UserId(_)))) => Err(fault),
            Some(Err(Fault::Cut(why) | Fault::Other(why) | Fault::Away(why))) => Err(Fault::Away(why)),
            Some(Err(Fault::Slow)) | None => {
                Err(Fault::Away(format!("no answer within {} ms", self.place.limit.length().as_millis())))
            }
        }
    }

    /// A connection without a session's bookkeeping.
    pub(super) async fn bare(&self) -> Result<Conn, Fault> {
        let mut conn = self.connect().await?;
        settings::apply(&mut conn).await?;
        Ok(conn)
    }

    async fn connect(&self) -> Result<Conn, Fault> {
        let Way { opts, tunnel, may_be_plain } = &self.way;
        let Some(tunnel) = tunnel else { return Ok(Conn::new(opts.clone()).await?) };
        if !self.cannot_encrypt.load(Ordering::Relaxed) {
            match tunnel.connect(OptsBuilder::from_opts(opts.clone())).await {
                Err(Failure::Unsupported) if *may_be_plain => {}
                connected => return connected.map_err(Fault::from),
            }
        }
        let connected = Conn::new(opts.clone()).await;
        // Another server may be there the next time.
        self.cannot_encrypt.store(connected.is_ok(), Ordering::Relaxed);
        Ok(connected?)
    }

    fn lock_waits(&self, duty: Duty, server: Version) -> String {
        let long = self.place.lock_wait.as_secs().max(1);
        let rows = match duty {
            // Elsewhere a second is the least that can be said.
            Duty::Writes | Duty::Retries | Duty::Endings => u64::from(!server.is_mariadb),
            Duty::StuckEndings => 1,
            Duty::Loads | Duty::Lists | Duty::Surveys => long,
        };
        settings::lock_waits(rows, long)
    }
}
