//! A store in a folder of its own, and the tool run on it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// No session has this id.
pub(crate) const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// What a run of the tool did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().expect("the tool ends by itself"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// What it printed; it must have worked.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The one line on which it refused, with this exit code; nothing on standard output.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!((self.code, &*self.out), (code, ""), "{self:?}");
        let line = self.err.strip_suffix('\n').expect("a whole line");
        let said = line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}"));
        assert!(!said.contains('\n') && !said.contains("Error {"), "{said}");
        said.to_owned()
    }

    /// As [`refused`](Self::refused), with the causes after the line.
    #[track_caller]
    pub(crate) fn refused_with_cause(self, code: i32) -> String {
        assert_eq!((self.code, &*self.out), (code, ""), "{self:?}");
        let (line, causes) = self.err.split_once('\n').expect("a whole line");
        assert!(causes.lines().all(|line| line.starts_with("caused by: ")), "{causes}");
        line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// The JSON object that it printed.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let out = self.done();
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

/// A folder with a store.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty folder: no file yet.
    pub(crate) fn empty() -> Place {
        Place { folder: TempDir::new().expect("a folder") }
    }

    /// With an empty table.
    pub(crate) fn new() -> Place {
        let place = Place::empty();
        place.run(["init"]).done();
        place
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("s.db")
    }

    pub(crate) fn store(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    /// The tool in the folder, with the store in the environment, no terminal and no width.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("SESSILE_STORE", self.store()).env_remove("COLUMNS").env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(self.command(arguments).output().expect("the tool runs"))
    }

    /// `create` with these arguments; the session's object.
    #[track_caller]
    pub(crate) fn create(&self, arguments: &[&str]) -> Value {
        self.run([&["create", "--json"], arguments].concat()).json()
    }

    /// A new session's id.
    #[track_caller]
    pub(crate) fn id(&self, arguments: &[&str]) -> String {
        self.create(arguments)["id"].as_str().expect("an id").to_owned()
    }

    #[track_caller]
    pub(crate) fn show(&self, id: &str) -> Value {
        self.run(["show", id, "--json"]).json()
    }

    /// SQL on the file, as anybody may run it.
    pub(crate) fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.file()).expect("the file opens").execute_batch(sql).expect(sql);
    }
}
