//! A few connections for one duty: taken by one caller at a time, kept, and replaced when they break.
//!
//! Who needs one and finds none makes it. While the server cannot be reached, one caller at a time tries,
//! with growing pauses and jitter, and all others are told so at once.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Opts, OptsBuilder};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::{Fault, Place};
use super::session::Session;
use super::sql::{self, Sql};
use super::tls::{self, SslMode};
use crate::store::backoff::pause;

/// A connection that nobody used for so long is asked whether it still stands: servers, proxies and
/// firewalls close idle ones, and a write that was cut off is never sent again.
const IDLE: Duration = Duration::from_secs(30);

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

/// What the driver has to know.
pub(super) struct Way {
    pub(super) opts: Opts,
    /// Where the way need not be encrypted: how to connect to a server that cannot.
    pub(super) plain: Option<Opts>,
    pub(super) mode: SslMode,
}

/// How to connect, for all pools of a store.
pub(super) struct Dialler {
    opts: Opts,
    /// Where the way need not be encrypted: how to connect to a server that cannot.
    plain: Option<Opts>,
    mode: SslMode,
    /// How to connect to a server whose certificate is made out to another name, where that will do.
    named: Mutex<Option<Opts>>,
    /// Whether the server could not.
    cannot_encrypt: AtomicBool,
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
                Some(session) if session.used.elapsed() < IDLE => session,
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
}

impl Dialler {
    pub(super) fn new(way: Way, place: Arc<Place>, sql: Arc<Sql>) -> Dialler {
        let Way { opts, plain, mode } = way;
        Dialler {
            opts,
            plain,
            mode,
            named: Mutex::default(),
            cannot_encrypt: AtomicBool::new(false),
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
            let mut conn = self.settled().await?;
            let (version, packet): (String, u64) = conn.query_first(sql::SERVER).await?.unwrap_or_default();
            self.place.packet.store(packet, Ordering::Relaxed);
            let server = Version::parse(&version);
            conn.query_drop(self.lock_waits(duty, server)).await?;
            Ok::<_, mysql_async::Error>((conn, server))
        };
        match self.place.limit.keep(attempt).await.map(|done| done.map_err(Fault::from)) {
            Some(Ok((conn, server))) => {
                let skips = server.skips_locked();
                let mut session =
                    Session::new(conn, Arc::clone(&self.place), Arc::clone(&self.sql), skips, age);
                session.waits_for_locks = !server.is_mariadb;
                Ok(session)
            }
            Some(Err(Fault::Refused(refusal))) => Err(Fault::Refused(refusal)),
            Some(Err(Fault::Cut(why) | Fault::Other(why) | Fault::Away(why))) => Err(Fault::Away(why)),
            Some(Err(Fault::Slow)) | None => {
                Err(Fault::Away(format!("no answer within {} ms", self.place.limit.length().as_millis())))
            }
        }
    }

    /// A connection without a session's bookkeeping.
    pub(super) async fn bare(&self) -> Result<Conn, Fault> {
        Ok(self.settled().await?)
    }

    /// A connection on which text and times mean what they mean here.
    async fn settled(&self) -> Result<Conn, mysql_async::Error> {
        let mut conn = self.connect().await?;
        for setting in sql::SETTINGS {
            conn.query_drop(setting).await?;
        }
        Ok(conn)
    }

    async fn connect(&self) -> Result<Conn, mysql_async::Error> {
        let Some(plain) = &self.plain else { return self.encrypted().await };
        if !self.cannot_encrypt.load(Ordering::Relaxed) {
            match Conn::new(self.opts.clone()).await {
                Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer)) => {}
                connected => return connected,
            }
        }
        let connected = Conn::new(plain.clone()).await;
        // Another server may stand there next time.
        self.cannot_encrypt.store(connected.is_ok(), Ordering::Relaxed);
        connected
    }

    async fn encrypted(&self) -> Result<Conn, mysql_async::Error> {
        if self.mode != SslMode::VerifyCa {
            return Conn::new(self.opts.clone()).await;
        }
        let opts = self.named.lock().clone().unwrap_or_else(|| self.opts.clone());
        let error = match Conn::new(opts).await {
            Err(error) => error,
            connected => return connected,
        };
        let (Some(name), Some(ssl)) = (tls::another_name(&error), self.opts.ssl_opts()) else {
            return Err(error);
        };
        let ssl = ssl.clone().with_danger_tls_hostname_override(Some(name));
        let opts = Opts::from(OptsBuilder::from_opts(self.opts.clone()).ssl_opts(ssl));
        *self.named.lock() = Some(opts.clone());
        Conn::new(opts).await
    }

    fn lock_waits(&self, duty: Duty, server: Version) -> String {
        let long = self.place.lock_wait.as_secs().max(1);
        let rows = match duty {
            // Elsewhere a second is the least that can be said.
            Duty::Writes | Duty::Retries | Duty::Endings => u64::from(!server.is_mariadb),
            Duty::StuckEndings => 1,
            Duty::Loads | Duty::Lists | Duty::Surveys => long,
        };
        sql::lock_waits(rows, long)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    is_mariadb: bool,
    number: (u32, u32),
}

impl Version {
    /// `8.0.36`, `10.11.6-MariaDB-0+deb12u1`.
    fn parse(text: &str) -> Version {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Version { is_mariadb: text.to_ascii_lowercase().contains("mariadb"), number }
    }

    fn skips_locked(self) -> bool {
        self.number >= if self.is_mariadb { (10, 6) } else { (8, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart() {
        for (text, is_mariadb, skips) in [
            ("8.0.36", false, true),
            ("9.1.0-commercial", false, true),
            ("5.7.44-log", false, false),
            ("10.11.6-MariaDB-0+deb12u1", true, true),
            ("10.5.23-MariaDB-log", true, false),
            ("11.4.2-MariaDB", true, true),
            ("?", false, false),
        ] {
            let version = Version::parse(text);
            assert_eq!((version.is_mariadb, version.skips_locked()), (is_mariadb, skips), "{text}");
        }
    }
}
