//! How to open a SQLite store.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::SqliteStore;
use super::checkpoint::{self, Bounds, Checkpoints};
use super::fault::{Place, backend, unavailable};
use super::files::{self, Files};
use super::log_file::LogFile;
use super::reader::{Read, ReadMode, Readers, Shared, off_the_worker};
use super::reopen::{Opened, Reopener};
use super::sql::{self, Sql};
use super::writer::Writer;
use super::{examine, schema};
use crate::record::{Clock, Timestamp};
use crate::store::setting::DEADLINES;
use crate::store::{Finding, SettingError, StoreError};

/// The pages that all read connections together keep, at most. SQLite's own 2 MiB hold some 1,500 sessions
/// of 1 KiB; beyond those a read spends a quarter of its time fetching pages. Mapping the file instead was as
/// fast for reads, dearer for changes where every connection did it, and turns a disk's error into a signal.
const READ_CACHE_KIB: usize = 64 * 1024;

/// The writer's page cache: what a full transaction changes has to fit, or it goes to the disk twice.
const WRITE_CACHE_KIB: usize = 16 * 1024;

/// SQLite's default for one connection.
const LEAST_CACHE_KIB: usize = 2 * 1024;

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Until the disk has it: an acknowledged logout survives a power cut. The default.
    #[default]
    Full,
    /// Until the operating system has it: survives the death of the process, but a power cut may undo
    /// the last commits, so that a session that was logged out is live again until it expires. The
    /// database stays whole. Several times as many writes per second on slow disks.
    Normal,
}

/// Options for opening a [`SqliteStore`]: start with [`SqliteStore::options`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SqliteOptions {
    table: String,
    readers: usize,
    busy_timeout: Duration,
    synchronous: Synchronous,
    read_mode: ReadMode,
    queue: usize,
    max_log_bytes: u64,
    create: bool,
}

impl Default for SqliteOptions {
    fn default() -> SqliteOptions {
        SqliteOptions {
            table: "sessions".to_owned(),
            readers: std::thread::available_parallelism().map_or(2, NonZero::get).max(2),
            busy_timeout: Duration::from_secs(5),
            synchronous: Synchronous::Full,
            read_mode: ReadMode::Inline,
            queue: 10_000,
            max_log_bytes: 1 << 30,
            create: true,
        }
    }
}

impl SqliteOptions {
    /// The table's name, `sessions` by default. Any name will do, it is quoted; opening fails if it is
    /// empty or contains NUL.
    pub fn table(mut self, name: impl Into<String>) -> SqliteOptions {
        self.table = name.into();
        self
    }

    /// Connections for reads by id, at least one: by default as many as the machine has processors,
    /// and at least two. Listings of one user's sessions have one more to themselves, and counts and listings of all
    /// sessions another one.
    pub fn readers(mut self, readers: usize) -> SqliteOptions {
        self.readers = readers;
        self
    }

    /// How long a write waits for a lock that another process holds, or for room in the queue; then it
    /// is [`Unavailable`](StoreError::Unavailable). 5 s by default, as Python's; at least
    /// one millisecond, at most a day.
    pub fn busy_timeout(mut self, timeout: Duration) -> SqliteOptions {
        self.busy_timeout = timeout;
        self
    }

    /// What a commit waits for; [`Synchronous::Full`] by default.
    pub fn synchronous(mut self, synchronous: Synchronous) -> SqliteOptions {
        self.synchronous = synchronous;
        self
    }

    /// Where reads by id happen; [`ReadMode::Inline`] by default.
    pub fn read_mode(mut self, mode: ReadMode) -> SqliteOptions {
        self.read_mode = mode;
        self
    }

    /// Writes that may wait for the writer, 10,000 by default, at least one.
    pub fn queue(mut self, writes: usize) -> SqliteOptions {
        self.queue = writes;
        self
    }

    /// How long the write-ahead log may become while a reader holds it, 1 GiB by default, at least 40 MiB.
    ///
    /// The log is moved into the file before it is longer than 40 MiB, unless a reader stays in one transaction (a
    /// backup, somebody's shell). Then it grows. At this size, writes are [`Full`](StoreError::Full) until the reader
    /// ends, except those that end sessions: a disk that is full would stop those, too.
    pub fn max_log_bytes(mut self, bytes: u64) -> SqliteOptions {
        self.max_log_bytes = bytes;
        self
    }

    /// Whether opening makes the file where there is none. By default it does; without, a missing file
    /// is [`Schema`](StoreError::Schema) and nothing is made, so that a mistyped path is noticed.
    pub fn create(mut self, create: bool) -> SqliteOptions {
        self.create = create;
        self
    }

    /// What [`init`](crate::store::SessionStore::init) would execute, without opening anything.
    pub fn schema(&self) -> String {
        schema::text(&Sql::new(&self.table))
    }

    /// Opens the database at this path, or makes the file; the table is made by
    /// [`init`](crate::store::SessionStore::init). The path is taken literally, save `:memory:`, which
    /// is [`open_in_memory`](Self::open_in_memory).
    ///
    /// The database is switched to write-ahead logging and stays so. One in UTF-16 works too.
    ///
    /// # Errors
    /// If there is no such directory, no right to write there, if the file is no SQLite database, if
    /// write-ahead logging is not possible (as on some network file systems), or if the table's name
    /// or another option cannot be one.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let path = path.as_ref().to_owned();
        if path.as_os_str() == ":memory:" {
            return self.open_in_memory().await;
        }
        off_the_worker(move || self.open_file(path)).await
    }

    /// A database in this process's memory, gone with the store: for tests. Reads and writes take
    /// turns on its one connection, so [`readers`](Self::readers) means nothing, and a listing makes
    /// requests wait.
    ///
    /// # Errors
    /// If the table's name or another option cannot be one.
    pub async fn open_in_memory(self) -> Result<SqliteStore, StoreError> {
        off_the_worker(move || {
            let place = self.place(None)?;
            let prepared = Connection::open_in_memory().and_then(|it| prepared(it, &[]));
            let only = Arc::new(Mutex::new(prepared.map_err(|error| place.error("open", error))?));
            let [listing, long] = [(); 2].map(|()| Arc::clone(&only));
            self.assemble(place, Read { short: vec![Arc::clone(&only)], listing, long }, only, None)
        })
        .await
    }

    /// Looks at the database at this path as [`examine`](crate::store::SessionStore::examine) does, and
    /// leaves also its journal as it is: opening switches that to write-ahead logging. A missing file is
    /// not made.
    ///
    /// # Errors
    /// If there is no such file or no right to read it, or if the table's name or another option cannot be one.
    pub async fn examine(
        self,
        path: impl AsRef<Path>,
        clock: &dyn Clock,
    ) -> Result<Vec<Finding>, StoreError> {
        let (path, now) = (path.as_ref().to_owned(), clock.now());
        off_the_worker(move || self.examine_file(&path, now)).await
    }

    fn examine_file(&self, path: &Path, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
        let place = self.place(Some(path.to_owned()))?;
        let action = format!("open {:?}", path.display().to_string());
        inspect(path).map_err(|problem| backend(&format!("{action}: {problem}"), problem))?;
        if !path.exists() {
            return Err(place.no_file());
        }
        let sql = Sql::new(&self.table);
        let connection = connect(path, false)
            .and_then(|it| it.busy_timeout(self.busy_timeout).map(|()| it))
            .and_then(|it| prepared(it, &[self.pragma()]))
            .map_err(|error| place.error(&action, error))?;
        let seen = examine::look(&connection, &sql, &place);
        Ok(examine::try_out(&connection, &sql, &place, now, seen))
    }

    fn pragma(&self) -> &'static str {
        match self.synchronous {
            Synchronous::Full => "PRAGMA synchronous = FULL",
            Synchronous::Normal => "PRAGMA synchronous = NORMAL",
        }
    }

    fn open_file(self, path: PathBuf) -> Result<SqliteStore, StoreError> {
        let place = self.place(Some(path.clone()))?;
        let action = format!("open {:?}", path.display().to_string());
        inspect(&path).map_err(|problem| backend(&format!("{action}: {problem}"), problem))?;
        if !self.create && !path.exists() {
            return Err(place.no_file());
        }
        let Opened { connections, log, bounds } = self.connections(&place, &path)?;
        let connections: Vec<_> = connections.into_iter().map(|it| Arc::new(Mutex::new(it))).collect();
        let files = Files::of(&path).map_err(|error| backend(&action, error))?;
        let again = self.clone().create(false);
        let open = {
            let (place, path) = (Arc::clone(&place), files.path().to_owned());
            Box::new(move || again.connections(&place, &path))
        };
        let [short @ .., listing, long, checkpoints, writer] = &*connections else {
            return Err(unavailable("it has no connections", None));
        };
        let (short, [listing, long, writer]) = (short.to_vec(), [listing, long, writer].map(Arc::clone));
        let checkpoints = Checkpoints::start(Arc::clone(checkpoints), log, bounds).map_err(no_thread)?;
        let reopener = Reopener { files: Arc::new(files), connections, open };
        self.assemble(place, Read { short, listing, long }, writer, Some((checkpoints, reopener)))
    }

    /// All connections, in the order that [`Opened`] and [`open_file`](Self::open_file) know.
    fn connections(&self, place: &Place, path: &Path) -> Result<Opened, StoreError> {
        let action = format!("open {:?}", path.display().to_string());
        let failed = |error| place.error(&action, error);
        let writer = self.writer(place, path, &action)?;
        let page_size: i64 = sql::value(&writer, sql::PAGE_SIZE).map_err(failed)?;
        // Reading makes the log where there is none.
        sql::value::<i64>(&writer, sql::SCHEMA_VERSION).map_err(failed)?;
        let page_size = page_size.unsigned_abs();
        let log = LogFile::open(&files::beside(path, "-wal"), page_size);
        let cache = (READ_CACHE_KIB / self.readers).max(LEAST_CACHE_KIB);
        let cache = format!("PRAGMA cache_size = -{cache}");
        let reader = || {
            let pragmas = ["PRAGMA query_only = ON", &cache];
            connect(path, false).and_then(|it| prepared(it, &pragmas)).map_err(failed)
        };
        let mut connections = (0..self.readers + 2).map(|_| reader()).collect::<Result<Vec<_>, _>>()?;
        let checkpoints = connect(path, false).and_then(|it| prepared(it, &[self.pragma()]));
        connections.push(checkpoints.map_err(failed)?);
        connections.push(writer);
        Ok(Opened {
            connections,
            log: log.map_err(|error| backend(&action, error))?,
            bounds: Bounds::new(page_size, self.max_log_bytes),
        })
    }

    /// The connection that writes; switches the file to write-ahead logging.
    fn writer(&self, place: &Place, path: &Path, action: &str) -> Result<Connection, StoreError> {
        let failed = |error| place.error(action, error);
        let writer = connect(path, self.create).map_err(failed)?;
        writer.busy_timeout(self.busy_timeout).map_err(failed)?;
        if writer.is_readonly(rusqlite::MAIN_DB).map_err(failed)? {
            let problem = "no right to write the file, or its disk is read-only";
            return Err(backend(&format!("{action}: {problem}"), problem));
        }
        let mode = "PRAGMA journal_mode = WAL";
        sql::log(&writer, mode);
        let mode: String = writer.query_row(mode, (), |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            let problem = format!(
                "write-ahead logging cannot be switched on here, the journal mode stays {mode:?}: \
                 put the file on a local disk"
            );
            return Err(backend(&format!("{action}: {problem}"), problem));
        }
        let cache = format!("PRAGMA cache_size = -{WRITE_CACHE_KIB}");
        // A log that a reader made long is cut when it begins anew. There is some more in it than the pages.
        let log_limit = checkpoint::BOUND / 16 * 17;
        let log_limit = format!("PRAGMA journal_size_limit = {log_limit}");
        let pragmas = [self.pragma(), &cache, &log_limit, "PRAGMA wal_autocheckpoint = 0"];
        prepared(writer, &pragmas).map_err(failed)
    }

    fn check_settings(&self) -> Result<(), SettingError> {
        SettingError::check_number("SqliteOptions::readers", self.readers as u64, 1)?;
        SettingError::check_time("SqliteOptions::busy_timeout", self.busy_timeout, &DEADLINES)?;
        SettingError::check_number("SqliteOptions::queue", self.queue as u64, 1)?;
        SettingError::check_number("SqliteOptions::max_log_bytes", self.max_log_bytes, checkpoint::BOUND)
    }

    fn place(&self, file: Option<PathBuf>) -> Result<Arc<Place>, StoreError> {
        self.check_settings()?;
        if self.table.is_empty() || self.table.contains('\0') {
            return Err(StoreError::Schema {
                problem: format!("{:?} cannot be the name of a table", self.table),
                remedy: "give one that is not empty and has no NUL in it".to_owned(),
            });
        }
        let (table, busy_timeout) = (self.table.clone(), self.busy_timeout);
        Ok(Arc::new(Place { file, table, busy_timeout }))
    }

    fn assemble(
        self,
        place: Arc<Place>,
        read: Read,
        writer: Shared,
        log: Option<(Checkpoints, Reopener)>,
    ) -> Result<SqliteStore, StoreError> {
        let sql = Arc::new(Sql::new(&self.table));
        let files = log.as_ref().map(|(_, reopener)| Arc::clone(&reopener.files));
        let readers = Readers::new(read, self.read_mode, Arc::clone(&place));
        let writer = Writer::start(writer, log, Arc::clone(&sql), Arc::clone(&place), self.queue)
            .map_err(no_thread)?;
        Ok(SqliteStore::new(place, sql, files, readers, writer))
    }
}

fn no_thread(error: std::io::Error) -> StoreError {
    unavailable(format!("its thread cannot start: {error}"), None)
}

/// What SQLite itself would only call "unable to open database file".
fn inspect(path: &Path) -> Result<(), String> {
    if path.as_os_str().is_empty() {
        return Err("the path is empty".to_owned());
    }
    if path.is_dir() {
        return Err("it is a directory, and a file is needed".to_owned());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(format!("there is no directory {:?}, make it first", parent.display().to_string()))
        }
        _ => Ok(()),
    }
}

fn connect(path: &Path, create: bool) -> rusqlite::Result<Connection> {
    // Not SQLITE_OPEN_URI: a path that begins with `file:` is a path.
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    Connection::open_with_flags(path, flags)
}

fn prepared(connection: Connection, pragmas: &[&str]) -> rusqlite::Result<Connection> {
    connection.set_prepared_statement_cache_capacity(sql::CACHED_STATEMENTS);
    sql::register_functions(&connection)?;
    for pragma in pragmas {
        sql::log(&connection, pragma);
        connection.execute_batch(pragma)?;
    }
    Ok(connection)
}
