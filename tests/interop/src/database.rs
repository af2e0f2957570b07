//! The databases between the two sides.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use url::Url;

/// A database, as both sides are told of it.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A PostgreSQL server's URL, and the schema in which the table is.
    Postgres(Url, String),
    /// A MariaDB or MySQL server's URL, and the database in which the table is.
    MariaDb(Url, String),
}

impl Database {
    /// A SQLite file in this folder.
    #[must_use]
    pub fn sqlite(folder: &Path) -> Database {
        Database::Sqlite(folder.join("sessions.db"))
    }

    /// The store URL for sessile.
    #[must_use]
    pub fn store_url(&self) -> String {
        match self {
            Database::Sqlite(file) => format!("sqlite:{}", file.display()),
            Database::Postgres(server, schema) => {
                let mut url = server.clone();
                url.query_pairs_mut().append_pair("schema", schema);
                url.into()
            }
            Database::MariaDb(server, database) => {
                let mut url = server.clone();
                url.set_path(database);
                url.into()
            }
        }
    }

    /// The variables by which the package is told; its password is not among them.
    pub(crate) fn environment(&self) -> Map<String, Value> {
        let mut variables = Map::new();
        let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value.into()));
        match self {
            Database::Sqlite(file) => {
                set("DB_ENGINE", "sqlite".to_owned());
                set("DATABASE_URL", format!("sqlite:///{}", file.display()));
            }
            Database::Postgres(server, schema) => {
                place(&mut set, "postgresql", server, 5432);
                set("DB_NAME", server.path().trim_start_matches('/').to_owned());
                // Read by PostgreSQL's own library, underneath the driver.
                set("PGOPTIONS", format!("-c search_path={schema}"));
            }
            Database::MariaDb(server, database) => {
                place(&mut set, "mysql", server, 3306);
                set("DB_NAME", database.clone());
            }
        }
        variables
    }

    pub(crate) fn password(&self) -> Option<&str> {
        match self {
            Database::Sqlite(_) => None,
            Database::Postgres(server, _) | Database::MariaDb(server, _) => server.password(),
        }
    }
}

fn place(set: &mut impl FnMut(&str, String), engine: &str, server: &Url, port: u16) {
    set("DB_ENGINE", engine.to_owned());
    set("DB_HOST", server.host_str().unwrap_or_default().to_owned());
    set("DB_PORT", server.port().unwrap_or(port).to_string());
    set("DB_USER", server.username().to_owned());
}
