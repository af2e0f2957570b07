//! The length of the write-ahead log, read from its file.
//!
//! The file alone does not tell: it keeps its length when the log begins anew. But each frame (a page with 24 bytes
//! before it) bears the two salts of the file's header, which are new each time, so that the frames of the log are
//! the first ones whose salts are those of the header (<https://www.sqlite.org/fileformat2.html#walformat>). SQLite's
//! hook would tell the same, but its signature changed between the versions of rusqlite that are supported, and the
//! oldest of them has none.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::path::Path;

const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// Where the salts begin.
const SALTS_IN_HEADER: u64 = 16;
const SALTS_IN_FRAME: u64 = 8;

type Salts = [u8; 8];

/// A log, and how long it was when it was last looked at.
pub(super) struct LogFile {
    file: File,
    page_size: u64,
    salts: Option<Salts>,
    pages: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path, page_size: u64) -> io::Result<LogFile> {
        Ok(LogFile { file: File::open(path)?, page_size, salts: None, pages: 0 })
    }

    /// Pages in the log.
    pub(super) fn pages(&mut self) -> io::Result<c_int> {
        let salts = self.salts_at(SALTS_IN_HEADER)?;
        if salts != self.salts {
            (self.salts, self.pages) = (salts, 0);
        }
        if salts.is_none() {
            return Ok(0);
        }
        let (mut there, mut step) = (self.pages, 1);
        while self.has(there + step - 1)? {
            there += step;
            step *= 2;
        }
        let mut beyond = there + step - 1;
        while there < beyond {
            let middle = there.midpoint(beyond);
            match self.has(middle)? {
                true => there = middle + 1,
                false => beyond = middle,
            }
        }
        self.pages = there;
        Ok(c_int::try_from(there).unwrap_or(c_int::MAX))
    }

    /// Whether the log has this frame, counted from zero.
    fn has(&self, frame: u64) -> io::Result<bool> {
        let salts = self.salts_at(HEADER + frame * (FRAME_HEADER + self.page_size) + SALTS_IN_FRAME)?;
        Ok(salts.is_some() && salts == self.salts)
    }

    /// `None` beyond the end.
    fn salts_at(&self, offset: u64) -> io::Result<Option<Salts>> {
        let mut salts = Salts::default();
        match read_exact_at(&self.file, &mut salts, offset) {
            Ok(()) => Ok(Some(salts)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many pages as SQLite itself counts, while the log grows and after it has begun anew.
    #[test]
    fn pages_are_those_that_sqlite_counts() {
        let folder = tempfile::tempdir().unwrap();
        for page_size in [512, 4_096, 65_536] {
            let path = folder.path().join(format!("{page_size}.db"));
            let sql = rusqlite::Connection::open(&path).unwrap();
            let open =
                format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = WAL; CREATE TABLE t (x)");
            sql.execute_batch(&open).unwrap();
            let mut log = LogFile::open(&path.with_extension("db-wal"), page_size).unwrap();
            for round in 0..60 {
                let bytes = (round * round * 700) % 300_000;
                sql.execute("INSERT INTO t VALUES (zeroblob(?1))", [bytes]).unwrap();
                let seen = log.pages().unwrap();
                let mode = if round % 20 == 19 { "RESTART" } else { "PASSIVE" };
                let pages: c_int =
                    sql.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |row| row.get(1)).unwrap();
                assert_eq!(seen, pages, "page size {page_size}, round {round}");
            }
        }
    }
}
