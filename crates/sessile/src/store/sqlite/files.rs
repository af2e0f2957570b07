//! Notices that the database was deleted or replaced while it was open.
//!
//! An open file outlives its name: without a look at the name, reads and writes would go on in a file that no other
//! program sees and that is gone when the process ends. So the names of the file, its log and the log's index are
//! compared with what was opened: before each transaction, again before its writes are acknowledged, and before a
//! read when the last look is older than [`GLANCE`].
//!
//! Once one of them is missing or means another file, every statement is
//! [`Unavailable`](crate::store::StoreError::Unavailable) until a database is there again. The writer then opens
//! that; it never makes one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fault::unavailable;
use crate::store::StoreError;

/// Reads look at the names no more often than this.
const GLANCE: Duration = Duration::from_millis(100);

/// The device and the file's number on it.
type FileId = (u64, u64);

/// What the names mean, compared with what was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Same,
    DatabaseDeleted,
    DatabaseReplaced,
    /// The log or its index is another file, or none, while the database is the same.
    LogLost,
}

/// The names of one database, and which files they meant when it was opened.
pub(super) struct Files {
    /// Absolute, and otherwise as it was given: a link may come to name another database.
    path: PathBuf,
    opened: Mutex<Opened>,
    is_lost: AtomicBool,
    started: Instant,
    /// Milliseconds after `started` of the last look.
    looked: AtomicU64,
}

struct Opened {
    database: Option<FileId>,
    /// The log and its index, which stand beside the file and not beside a link to it.
    beside: [(PathBuf, Option<FileId>); 2],
    /// Why statements are refused.
    problem: String,
}

impl Files {
    /// The files that have these names now. The database is open and was read.
    pub(super) fn of(path: &Path) -> io::Result<Files> {
        let path = std::path::absolute(path)?;
        let opened = Mutex::new(Opened::at(&path));
        let (started, looked) = (Instant::now(), AtomicU64::new(0));
        Ok(Files { path, opened, is_lost: AtomicBool::new(false), started, looked })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the names still mean the files that are open. Once they do not, statements are refused until
    /// [`found`](Self::found).
    pub(super) fn look(&self) -> Result<(), StoreError> {
        self.looked.store(self.now(), Ordering::Relaxed);
        if !self.is_lost() {
            match self.seen() {
                Seen::Same => return Ok(()),
                seen => self.lose(seen.problem()),
            }
        }
        Err(self.error())
    }

    /// The same for reads: what the last look has seen, unless that is old.
    pub(super) fn glance(&self) -> Result<(), StoreError> {
        match self.is_due() {
            true => self.look(),
            false if self.is_lost() => Err(self.error()),
            false => Ok(()),
        }
    }

    /// Whether the last look is old.
    pub(super) fn is_due(&self) -> bool {
        let since = self.now().saturating_sub(self.looked.load(Ordering::Relaxed));
        since >= u64::try_from(GLANCE.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether statements are refused.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    pub(super) fn seen(&self) -> Seen {
        let opened = self.opened.lock();
        match (opened.database, id(&self.path)) {
            (_, Name::Free) => return Seen::DatabaseDeleted,
            (before, Name::File(now)) if differ(before, now) => return Seen::DatabaseReplaced,
            _ => {}
        }
        let is_lost = opened.beside.iter().any(|(path, before)| match id(path) {
            Name::Free => true,
            Name::File(now) => differ(*before, now),
            Name::Unknown => false,
        });
        if is_lost { Seen::LogLost } else { Seen::Same }
    }

    /// Whether the names of the log and its index mean those that are open, or nothing.
    pub(super) fn log_is_ours(&self) -> bool {
        self.opened.lock().beside.iter().all(|(path, before)| match id(path) {
            Name::File(now) => !differ(*before, now),
            Name::Free | Name::Unknown => true,
        })
    }

    /// Deletes the names of the log and its index, where they are still ours.
    pub(super) fn remove_log(&self) {
        for (path, before) in &self.opened.lock().beside {
            if matches!(id(path), Name::File(Some(now)) if *before == Some(now))
                && let Err(error) = std::fs::remove_file(path)
            {
                tracing::error!(store = super::fault::NAME, path = %path.display(), %error, "an old log stays");
            }
        }
    }

    /// Has statements refused for this reason.
    pub(super) fn lose(&self, problem: String) {
        self.opened.lock().problem = problem;
        if !self.is_lost.swap(true, Ordering::Release) {
            tracing::error!(store = super::fault::NAME, error = %self.error(), "the database is gone");
        }
    }

    /// What is open now is what the names mean: statements run again.
    pub(super) fn found(&self) {
        *self.opened.lock() = Opened::at(&self.path);
        self.is_lost.store(false, Ordering::Release);
        tracing::info!(store = super::fault::NAME, path = %self.path.display(), "the database was opened again");
    }

    pub(super) fn error(&self) -> StoreError {
        let problem = &self.opened.lock().problem;
        let path = self.path.display();
        unavailable(format!("{path} {problem}; it is opened as soon as a whole database is there"), None)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Seen {
    fn problem(self) -> String {
        let problem = match self {
            Seen::Same => "is the file that was opened",
            Seen::DatabaseDeleted => {
                "was deleted while the service had it open: put it back, or make a new one \
                with `sessile init`"
            }
            Seen::DatabaseReplaced => "was replaced while the service had it open",
            Seen::LogLost => "has lost its write-ahead log (-wal or -shm) to another program",
        };
        problem.to_owned()
    }
}

impl Opened {
    fn at(path: &Path) -> Opened {
        let database = match id(path) {
            Name::File(id) => id,
            Name::Free | Name::Unknown => None,
        };
        let beside = ["-wal", "-shm"].map(|suffix| {
            let path = beside(path, suffix);
            let id = match id(&path) {
                Name::File(id) => id,
                Name::Free | Name::Unknown => None,
            };
            (path, id)
        });
        Opened { database, beside, problem: String::new() }
    }
}

/// The log and its index stand beside the file itself, not beside a link to it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
    path.push(suffix);
    path.into()
}

/// Whether both are known, and are two files.
fn differ(before: Option<FileId>, now: Option<FileId>) -> bool {
    before.zip(now).is_some_and(|(before, now)| before != now)
}

/// What a name means.
enum Name {
    Free,
    File(Option<FileId>),
    /// It cannot be looked at: no reason to refuse anything.
    Unknown,
}

fn id(path: &Path) -> Name {
    match std::fs::metadata(path) {
        Ok(file) => Name::File(number(&file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Name::Free,
        Err(_) => Name::Unknown,
    }
}

#[cfg(unix)]
fn number(file: &std::fs::Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    Some((file.dev(), file.ino()))
}

/// Elsewhere a file that is open can be neither deleted nor replaced.
#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> Option<FileId> {
    None
}

/// Why the file with this name is no database to open: it is missing, something else, or not written to its end.
pub(super) fn incomplete(path: &Path) -> Option<String> {
    let read = || -> io::Result<Option<&'static str>> {
        let mut header = [0; 100];
        let mut file = File::open(path)?;
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some("it is not whole")),
            done => done?,
        }
        if !header.starts_with(b"SQLite format 3\0") {
            return Ok(Some("it is not a SQLite database"));
        }
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => u64::from(size),
        };
        let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
        let is_whole = file.metadata()?.len() >= page_size * u64::from(pages);
        Ok((!is_whole).then_some("it is not whole"))
    };
    match read() {
        Ok(problem) => problem.map(str::to_owned),
        Err(error) => Some(error.to_string()),
    }
}
