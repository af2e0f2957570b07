//! A server's folder, and the user who owns it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Failure, Outcome};

/// Short, whatever `TMPDIR` says: the path of a Unix socket has 107 bytes at most.
const PARENT: &str = "/tmp";

/// An ordinary user whom a server runs as when we are root: PostgreSQL refuses to run as root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The first of `names` that there is, otherwise `nobody`; `None` when we are an ordinary user ourselves.
    pub(crate) fn to_run_as(names: &[&str]) -> Outcome<Option<Self>> {
        // A process's folder in /proc belongs to its effective user.
        if !fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0) {
            return Ok(None);
        }
        let names = || names.iter().copied().chain(["nobody"]);
        let found = names().find_map(|name| Some(Self { uid: id("-u", name)?, gid: id("-g", name)? }));
        found.map(Some).ok_or_else(|| {
            let names = names().collect::<Vec<_>>().join(", ");
            Failure::new(format!("root cannot run the server, and there is no user of these: {names}"))
        })
    }
}

fn id(option: &str, user: &str) -> Option<u32> {
    let ran = Command::new("id").args([option, user]).output().ok()?;
    String::from_utf8(ran.stdout).ok()?.trim().parse().ok()
}

/// A fresh folder of the server's user, closed to all others, removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) user: Option<User>,
}

impl Folder {
    pub(crate) fn create(user: Option<User>) -> Outcome<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = Path::new(PARENT).join(format!("sessile-{}-{count}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let folder = Self { path, user };
                    folder.own(&folder.path)?;
                    return Ok(folder);
                }
                // Left by a process of this number that was killed together with those who clean up.
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => {
                    return Err(Failure::because(format!("cannot create {}", path.display()), cause));
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, as text for an argument.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Writes a file that the server's user alone can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Outcome<String> {
        let path = self.path.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|cause| Failure::because(format!("cannot write {}", path.display()), cause))?;
        self.own(&path)?;
        Ok(self.file(name))
    }

    /// Copies a program into it.
    pub(crate) fn copy(&self, program: &Path, name: &str) -> Outcome<String> {
        let path = self.path.join(name);
        fs::copy(program, &path)
            .map_err(|cause| Failure::because(format!("cannot copy {}", program.display()), cause))?;
        self.own(&path)?;
        Ok(self.file(name))
    }

    /// The last lines of the log, indented.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 30;
        let log = fs::read(self.path.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LINES)..];
        if tail.is_empty() {
            return "    (its log is empty)".to_owned();
        }
        tail.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }

    fn own(&self, path: &Path) -> Outcome {
        let Some(User { uid, gid }) = self.user else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .map_err(|cause| Failure::because(format!("cannot give {} away", path.display()), cause))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Mostly it is gone: the keeper removes it with the server it ends.
        let _ = fs::remove_dir_all(&self.path);
    }
}
