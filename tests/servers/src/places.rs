//! Where the servers' programs lie.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::{Failure, Outcome};

/// Debian keeps PostgreSQL's programs out of `PATH`, one folder for each version.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";
/// Where servers lie that an ordinary user's `PATH` leaves out.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

const POSTGRES: [&str; 3] = ["postgres", "initdb", "psql"];
/// The name of the program and of its package.
const PGBOUNCER: &str = "pgbouncer";
const MARIADB: [&str; 3] = ["mariadbd", "mariadb-install-db", "mariadb"];
const REDIS: [&str; 1] = ["redis-server"];
const VALKEY_SERVER: &str = "valkey-server";

/// The folders that programs are looked for in, the first one first.
#[derive(Clone, Debug)]
pub struct Places(Vec<PathBuf>);

impl Places {
    /// PostgreSQL's own folders, the newest version first, then this `PATH`, then the system's.
    pub fn from_path(path: &OsStr) -> Self {
        let mut folders = postgres_folders(Path::new(POSTGRES_VERSIONS));
        folders.extend(std::env::split_paths(path).filter(|folder| folder.is_absolute()));
        folders.extend(SYSTEM.map(PathBuf::from));
        Self(folders)
    }

    /// These folders and no others.
    pub fn only(folders: Vec<PathBuf>) -> Self {
        Self(folders)
    }

    pub(crate) fn from_environment() -> Self {
        Self::from_path(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// The Debian packages that would bring PostgreSQL and the pooler in front of it; none when they are there.
    pub fn missing_for_postgres(&self) -> &'static [&'static str] {
        match (self.postgres().is_ok(), self.pgbouncer().is_ok()) {
            (true, true) => &[],
            (true, false) => &[PGBOUNCER],
            (false, true) => &["postgresql"],
            (false, false) => &["postgresql", PGBOUNCER],
        }
    }

    /// The Debian packages that would bring MariaDB; none when it is there. They hold the programs alone,
    /// without the service.
    pub fn missing_for_mariadb(&self) -> &'static [&'static str] {
        if self.mariadb().is_ok() { &[] } else { &["mariadb-server-core", "mariadb-client-core"] }
    }

    /// The Debian packages that would bring Redis; none when it is there.
    pub fn missing_for_redis(&self) -> &'static [&'static str] {
        if self.redis().is_ok() { &[] } else { &["redis-server"] }
    }

    /// `postgres`, `initdb`, `psql`: of one folder, so that their versions fit.
    pub(crate) fn postgres(&self) -> Outcome<[PathBuf; 3]> {
        let complete = |folder: &&PathBuf| POSTGRES.iter().all(|name| is_program(&folder.join(name)));
        let folder = self.0.iter().find(complete).ok_or_else(|| missing(&POSTGRES))?;
        Ok(POSTGRES.map(|name| folder.join(name)))
    }

    /// `mariadbd`, `mariadb-install-db`, `mariadb`.
    pub(crate) fn mariadb(&self) -> Outcome<[PathBuf; 3]> {
        let [Some(server), Some(install), Some(client)] = MARIADB.map(|name| self.first(name)) else {
            return Err(missing(&MARIADB));
        };
        Ok([server, install, client])
    }

    pub(crate) fn pgbouncer(&self) -> Outcome<PathBuf> {
        self.first(PGBOUNCER).ok_or_else(|| missing(&[PGBOUNCER]))
    }

    pub(crate) fn redis(&self) -> Outcome<PathBuf> {
        self.first(REDIS[0]).ok_or_else(|| missing(&REDIS))
    }

    /// Where [`VALKEY`](crate::VALKEY) says, or on `PATH`.
    pub(crate) fn valkey(&self) -> Outcome<PathBuf> {
        let named = std::env::var_os(crate::VALKEY).map(PathBuf::from).filter(|file| is_program(file));
        named.or_else(|| self.first(VALKEY_SERVER)).ok_or_else(|| missing(&[VALKEY_SERVER]))
    }

    fn first(&self, name: &str) -> Option<PathBuf> {
        self.0.iter().map(|folder| folder.join(name)).find(|file| is_program(file))
    }
}

fn missing(programs: &[&str]) -> Failure {
    Failure::new(format!(
        "not found: {}; `cargo xtask setup` installs them, or says how",
        programs.join(", ")
    ))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// `<root>/<version>/bin`, the newest version first.
fn postgres_folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, folder)| folder).collect()
}
