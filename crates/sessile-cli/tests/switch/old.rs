//! The applications that are switched from: real ones, in processes of their own, on databases of their own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sessile::http::OldCookie;
use sessile_test_stores::Backend;
use tempfile::TempDir;
use url::Url;

/// What Django signs with.
pub(crate) const SECRET_KEY: &str = "a secret key of a test";

/// What the old application was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framework {
    TowerSessions,
    /// tower-sessions underneath.
    AxumLogin,
    Django,
}

/// An application at work. It ends when this is dropped, or when this process ends.
pub(crate) struct Old {
    framework: Framework,
    backend: Backend,
    process: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Old {
    /// With empty tables, where this kind of application has them by default.
    pub(crate) fn start(framework: Framework, backend: Backend) -> Old {
        let folder = TempDir::new().unwrap();
        let database = match backend {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("old.db").display()),
            _ => backend.shared().address(),
        };
        let mut command = match framework {
            Framework::Django => {
                let mut command = Command::new(sessile_interop::python());
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/switch/site.py"));
                command.env("SITE_DATABASE", django_settings(&database).to_string());
                command.env("SITE_SECRET_KEY", SECRET_KEY);
                command
            }
            Framework::TowerSessions | Framework::AxumLogin => {
                let name = "SESSILE_TEST_TOWER_SESSIONS";
                let program = std::env::var_os(name)
                    .unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`"));
                let kind = match backend {
                    Backend::Sqlite => "sqlite-wal",
                    Backend::Postgres => "postgres",
                    _ => "mysql",
                };
                let mut command = Command::new(program);
                command.args([kind, &database]);
                command
            }
        };
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let port = address.trim_end().rsplit(':').next().unwrap().parse();
        let port = port.unwrap_or_else(|_| panic!("{framework:?} on {} does not start", backend.name()));
        Old { framework, backend, process, port, folder }
    }

    /// Where `sessile copy` reads.
    pub(crate) fn source(&self) -> String {
        match (self.backend, self.framework) {
            (Backend::Sqlite, _) => format!("sqlite:{}", self.folder.path().join("old.db").display()),
            // A schema is a database there, and this is the store's own name for it.
            (Backend::MariaDb, Framework::TowerSessions | Framework::AxumLogin) => {
                let mut url: Url = self.backend.shared().address().parse().unwrap();
                url.set_path("tower_sessions");
                url.into()
            }
            _ => self.backend.shared().address(),
        }
    }

    /// What `sessile copy` has to be told of them.
    pub(crate) fn format(&self) -> &'static [&'static str] {
        match self.framework {
            Framework::TowerSessions => &["--from-format", "tower-sessions", "--user-key", "user"],
            Framework::AxumLogin => {
                &["--from-format", "tower-sessions", "--user-key", "/axum-login.data/user_id"]
            }
            Framework::Django => &["--from-format", "django"],
        }
    }

    /// The page of this name.
    pub(crate) fn page(&self, name: &str) -> String {
        let account = if self.framework == Framework::AxumLogin { "/account" } else { "" };
        format!("{account}/{name}")
    }

    pub(crate) fn cookie_name(&self) -> &'static str {
        if self.framework == Framework::Django { "sessionid" } else { "id" }
    }

    pub(crate) fn cookie(&self) -> OldCookie {
        match self.framework {
            Framework::Django => OldCookie::django(self.cookie_name()),
            _ => OldCookie::tower_sessions(self.cookie_name()),
        }
    }

    /// A value that this application could have given out, and has not.
    pub(crate) fn unknown_value(&self) -> &'static str {
        match self.framework {
            Framework::Django => "0123456789abcdefghijklmnopqrstuv",
            _ => "AAAAAAAAAAAAAAAAAAAAAA",
        }
    }

    /// Lets the session of this cookie have expired long ago.
    pub(crate) fn expire(&self, cookie: &str) {
        let (table, key, expires) = match (self.framework, self.backend) {
            (Framework::Django, _) => ("django_session", "session_key", "expire_date"),
            (_, Backend::Sqlite) => ("tower_sessions", "id", "expiry_date"),
            _ => ("tower_sessions.session", "id", "expiry_date"),
        };
        let sql = format!("UPDATE {table} SET {expires} = '2020-01-01 00:00:00' WHERE {key} = '{cookie}'");
        match self.backend {
            Backend::Sqlite => {
                let file = self.folder.path().join("old.db");
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
                assert_eq!(connection.execute(&sql, ()).unwrap(), 1);
            }
            _ => drop(self.backend.shared().query(&sql).unwrap()),
        }
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        // The end of its input is its cue.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Django's settings for the database at this address.
fn django_settings(address: &str) -> Value {
    if let Some(file) = address.strip_prefix("sqlite:") {
        let patience = json!({"timeout": 30, "transaction_mode": "IMMEDIATE"});
        return json!({"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": patience});
    }
    let url: Url = address.parse().unwrap();
    let engine = if url.scheme() == "mysql" { "mysql" } else { "postgresql" };
    json!({
        "ENGINE": format!("django.db.backends.{engine}"),
        "NAME": url.path().trim_start_matches('/'),
        "USER": url.username(),
        "PASSWORD": url.password(),
        "HOST": url.host_str(),
        "PORT": url.port(),
    })
}
