//! The journal: which sessions were seen at both stores, and until when the source let them live.
//!
//! A text file: a line that names the two stores, then a line for each session, appended when its batch was
//! read back. In a shared table whose ids stand in cookies the ids are secrets, so only the owner may read
//! the file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use sessile::SessionId;
use sessile::record::Timestamp;

use crate::error::Error;

const HEAD: &str = "sessile copy journal 1";

/// What is known of a session.
struct Entry {
    /// When it was to end, as the source last said.
    expires_at: Timestamp,
    /// Whether the source has it in this run.
    seen: bool,
}

/// What was seen at both stores, in this run and earlier ones.
pub(super) struct Journal {
    path: PathBuf,
    /// `None` in a dry run.
    file: Option<File>,
    entries: HashMap<SessionId, Entry>,
    /// Lines that are not in the file yet.
    pending: String,
}

impl Journal {
    /// Reads the journal of these two stores, in either direction, and makes it where it is missing.
    ///
    /// # Errors
    /// When it is another pair's, in use, or cannot be read or written.
    pub(super) fn open(path: &Path, from: &str, to: &str, dry_run: bool) -> Result<Journal, Error> {
        let failed = |cause| Error::Journal { path: path.to_owned(), cause };
        let mut journal =
            Journal { path: path.to_owned(), file: None, entries: HashMap::new(), pending: String::new() };
        let mut file = match options(dry_run).open(path) {
            Ok(file) => file,
            Err(error) if dry_run && error.kind() == io::ErrorKind::NotFound => return Ok(journal),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(io::Error::other("another copy is at work with it")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        // What a killed run left of its last line.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        journal.read(&text[..whole], from, to)?;
        if !dry_run {
            if whole < text.len() {
                file.set_len(whole as u64).map_err(failed)?;
            }
            file.seek(SeekFrom::End(0)).map_err(failed)?;
            if whole == 0 {
                journal.pending = format!("{HEAD}\t{from}\t{to}\n");
            }
            journal.file = Some(file);
        }
        Ok(journal)
    }

    fn read(&mut self, text: &str, from: &str, to: &str) -> Result<(), Error> {
        let mut lines = text.lines();
        let Some(head) = lines.next() else { return Ok(()) };
        let pair = head.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\t')?.split_once('\t'));
        let shown = self.path.display();
        match pair {
            Some((one, other)) if [one, other] == [from, to] || [other, one] == [from, to] => {}
            Some((one, other)) => {
                return Err(Error::Usage(format!(
                    "{shown} is the journal of a copy from {one} to {other}: name another with --journal"
                )));
            }
            None => {
                return Err(Error::Usage(format!(
                    "{shown} is not the journal of a copy: name another with --journal"
                )));
            }
        }
        for (line, number) in lines.zip(2..) {
            let (id, expires_at) = entry(line).ok_or_else(|| {
                Error::Usage(format!("line {number} of the journal {shown} cannot be read"))
            })?;
            self.entries.insert(id, Entry { expires_at, seen: false });
        }
        Ok(())
    }

    /// Whether no run has noted anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes that the source has this session. Whether an earlier run saw it at both stores.
    pub(super) fn see(&mut self, id: SessionId) -> bool {
        self.entries.get_mut(&id).map(|entry| entry.seen = true).is_some()
    }

    /// Notes that both stores have this session.
    pub(super) fn note(&mut self, id: SessionId, expires_at: Timestamp) {
        let before = self.entries.insert(id, Entry { expires_at, seen: true });
        if before.is_none_or(|before| before.expires_at != expires_at) {
            self.pending.push_str(&format!("{id} {}\n", expires_at.as_micros()));
        }
    }

    /// Sessions that the source had in an earlier run and has not in this one, though they would not have
    /// expired yet.
    pub(super) fn missing(&self, now: Timestamp) -> Vec<SessionId> {
        let gone = self.entries.iter().filter(|(_, entry)| !entry.seen && entry.expires_at > now);
        gone.map(|(&id, _)| id).collect()
    }

    /// Puts the notes into the file.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(self.pending.as_bytes());
        self.pending.clear();
        written.map_err(|cause| Error::Journal { path: self.path.clone(), cause })
    }

    /// Puts the file onto the disk.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.write()?;
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(|cause| Error::Journal { path: self.path.clone(), cause })
    }
}

fn options(dry_run: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    if !dry_run {
        options.write(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options
}

fn entry(line: &str) -> Option<(SessionId, Timestamp)> {
    let (id, micros) = line.split_once(' ')?;
    Some((id.parse().ok()?, Timestamp::from_micros(micros.parse().ok()?)?))
}
