//! Sessions of other frameworks, read from their own tables.
//!
//! The key of a foreign row is the secret in the browser's cookie. It never leaves this module: the session's
//! new id is made of it by the same one-way function that makes ids of tokens, and so a service that is told
//! to accept the old cookie finds the session by it.

mod django;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
mod tower_sessions;

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use sessile::record::{self, RESERVED_KEY, SessionRecord, StoredData, Timestamp};
use sessile::store::StoreUrl;
use sessile::{SessionData, SessionId, UserId};

use super::source::{PAGE, Page, Unreadable};
use crate::error::{Error, chain};

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Sessile's own
    Sessile,
    /// tower-sessions, as tower-sessions-sqlx-store keeps it
    TowerSessions,
    /// Django's database-backed sessions
    Django,
}

impl Format {
    /// As it stands in a journal.
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Sessile => "sessile",
            Format::TowerSessions => "tower-sessions",
            Format::Django => "django",
        }
    }
}

/// A text that is shown to nobody.
#[derive(Clone)]
pub(crate) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A store URL with its password, which [`StoreUrl`] keeps to itself.
#[derive(Clone)]
pub(crate) struct FullUrl {
    pub(super) url: StoreUrl,
    text: String,
}

impl FullUrl {
    pub(super) fn new(url: StoreUrl, text: &str) -> FullUrl {
        FullUrl { url, text: text.to_owned() }
    }

    fn scheme(&self) -> &str {
        self.text.split(':').next().unwrap_or_default()
    }

    /// The table, if the URL names one.
    fn table(&self) -> Option<&str> {
        let options = self.text.split_once('?').map_or("", |(_, options)| options);
        options.split('&').any(|option| option.starts_with("table=")).then(|| self.url.table())
    }
}

impl fmt::Debug for FullUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.url, f)
    }
}

/// How to understand foreign rows.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) format: Format,
    /// Where the data says who the user is; tower-sessions has no word for it.
    pub(super) user_key: Option<String>,
    /// Django's keys, the newest first; with none, its signatures are taken on trust.
    pub(super) secret_keys: Vec<Secret>,
    /// Whether the sessions are to outlive the browser.
    pub(super) remember: bool,
}

/// The names of a foreign table and of its columns, and the statements that read it.
struct Names {
    /// As SQL reads it.
    table: String,
    key: &'static str,
    data: &'static str,
    expires: &'static str,
}

/// How the columns of a table are asked for, and the key after which to go on.
struct Columns<'a> {
    key: &'a str,
    data: &'a str,
    expires: &'a str,
    after: &'a str,
}

impl Names {
    fn of(format: Format, url: &FullUrl) -> Names {
        let (schema, table) = (url.url.database_schema(), url.table());
        let (is_file, is_mysql) = (url.scheme() == "sqlite", matches!(url.scheme(), "mysql" | "mariadb"));
        // The names that tower-sessions-sqlx-store takes unless it is told others. A schema of MySQL is a
        // database, and the URL has named one.
        let (default_schema, default_table, [key, data, expires]) = match format {
            Format::Django => (None, "django_session", ["session_key", "session_data", "expire_date"]),
            Format::TowerSessions | Format::Sessile => (
                (!is_file && !is_mysql).then_some("tower_sessions"),
                if is_file { "tower_sessions" } else { "session" },
                ["id", "data", "expiry_date"],
            ),
        };
        let quote = if is_mysql { "`" } else { "\"" };
        let quoted = |name: &str| format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2)));
        let path = [schema.or(default_schema), Some(table.unwrap_or(default_table))];
        let table = path.into_iter().flatten().map(quoted).collect::<Vec<_>>().join(".");
        Names { table, key, data, expires }
    }

    fn count(&self) -> String {
        format!("SELECT count(*) FROM {}", self.table)
    }

    /// A page, by the index of the primary key, in whatever order its collation has.
    fn page(&self, columns: &Columns<'_>) -> String {
        let Columns { key, data, expires, after } = columns;
        let Names { table, key: by, .. } = self;
        format!(
            "SELECT {key}, {data}, {expires} FROM {table} WHERE {by} > {after} ORDER BY {by} LIMIT {PAGE}"
        )
    }
}

/// A foreign row as it is.
struct Row {
    key: String,
    data: Vec<u8>,
    expires_at: Result<Timestamp, String>,
}

impl Row {
    fn new(key: String, data: Vec<u8>, expires_at: Option<Timestamp>) -> Row {
        Row { key, data, expires_at: expires_at.ok_or_else(|| "its expiry is no time".to_owned()) }
    }
}

/// Why a row does not become a session.
enum Unfit {
    /// It is no session to its own framework either.
    Malformed(String),
    /// It is one, and cannot be told in sessile's terms.
    Impossible(String),
}

/// What the data of a foreign session means.
#[derive(Debug)]
struct Content {
    /// A JSON object.
    text: String,
    user: Option<UserId>,
    /// Whether its framework lets it end with the browser, whatever was asked for.
    ends_with_browser: bool,
}

enum Table {
    Sqlite(rusqlite::Connection),
    #[cfg(feature = "mysql")]
    MySql(Box<mysql::Reader>),
    #[cfg(feature = "postgres")]
    Postgres(tokio_postgres::Client),
}

/// A foreign table, read page by page in the order of its keys.
pub(super) struct Foreign {
    table: Table,
    names: Names,
    reading: Reading,
    now: Timestamp,
    after: String,
    at_end: bool,
}

impl Foreign {
    pub(super) async fn open(url: &FullUrl, reading: Reading, now: Timestamp) -> Result<Foreign, Error> {
        let names = Names::of(reading.format, url);
        let table = match url.scheme() {
            "sqlite" => Table::Sqlite(sqlite::open(url.url.file().unwrap_or(Path::new("")))?),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => Table::MySql(Box::new(mysql::Reader::connect(&url.text).await?)),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                Table::Postgres(sessile::store::postgres::PostgresOptions::client(&url.text).await?)
            }
            other => {
                let format = reading.format.name();
                return Err(Error::Usage(format!(
                    "this program cannot read {format} sessions from {other}:"
                )));
            }
        };
        let foreign = Foreign { table, names, reading, now, after: String::new(), at_end: false };
        // Whether it is the table, before anything is made elsewhere.
        foreign.rows().await?;
        Ok(foreign)
    }

    /// The rows after the last one that was read.
    async fn rows(&self) -> Result<Vec<Row>, Error> {
        match &self.table {
            Table::Sqlite(connection) => sqlite::rows(connection, &self.names, &self.after),
            #[cfg(feature = "mysql")]
            Table::MySql(reader) => reader.rows(&self.names, &self.after).await,
            #[cfg(feature = "postgres")]
            Table::Postgres(client) => postgres::rows(client, &self.names, &self.after).await,
        }
    }

    /// How many rows there are, live and expired.
    pub(super) async fn count(&self) -> Result<u64, Error> {
        match &self.table {
            Table::Sqlite(connection) => sqlite::count(connection, &self.names),
            #[cfg(feature = "mysql")]
            Table::MySql(reader) => reader.count(&self.names).await,
            #[cfg(feature = "postgres")]
            Table::Postgres(client) => postgres::count(client, &self.names).await,
        }
    }

    /// The next rows that are live; `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Page>, Error> {
        if self.at_end {
            return Ok(None);
        }
        let rows = self.rows().await?;
        self.at_end = rows.len() < PAGE;
        if let Some(last) = rows.last() {
            self.after.clone_from(&last.key);
        }
        let mut page = Page::default();
        for row in rows {
            let id = SessionId::of_secret(row.key.as_bytes());
            match self.record(id, &row) {
                Ok(Some(record)) => page.records.push(record),
                Ok(None) => {}
                Err(unfit) => page.unreadable.push(unreadable(id, unfit)),
            }
        }
        Ok(Some(page))
    }

    /// The session that the row is; `None` when it has expired. Its times are for who writes it to say.
    fn record(&self, id: SessionId, row: &Row) -> Result<Option<SessionRecord>, Unfit> {
        let expires_at = row.expires_at.clone().map_err(Unfit::Malformed)?;
        if expires_at <= self.now {
            return Ok(None);
        }
        let content = match self.reading.format {
            Format::Django => django::content(row, &self.reading.secret_keys)?,
            _ => tower_sessions::content(row, self.reading.user_key.as_deref())?,
        };
        let remember = self.reading.remember && !content.ends_with_browser;
        let text = if remember { remembered(&content.text) } else { content.text };
        let data =
            SessionData::parse(text.as_str().into()).map_err(|error| Unfit::Malformed(chain(&error)))?;
        Ok(Some(SessionRecord::from_columns(record::Columns {
            id,
            user_id: content.user,
            data: StoredData::Text(data.to_text()),
            created_at: None,
            expires_at,
            updated_at: None,
        })))
    }
}

fn unreadable(id: SessionId, unfit: Unfit) -> Unreadable {
    let (problem, is_live) = match unfit {
        Unfit::Malformed(problem) => (problem, false),
        Unfit::Impossible(problem) => (problem, true),
    };
    Unreadable { id: id.to_string(), problem, is_live }
}

/// The object with sessile's own note that the session is remembered.
fn remembered(object: &str) -> String {
    let rest = object.trim_start().strip_prefix('{').unwrap_or_default().trim_start();
    let comma = if rest.starts_with('}') { "" } else { ", " };
    format!("{{\"{RESERVED_KEY}\": {{\"remember\": true}}{comma}{rest}")
}

fn user(text: &str) -> Result<UserId, Unfit> {
    UserId::new(text).map_err(|error| Unfit::Impossible(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_put_into_any_object() {
        assert_eq!(remembered("{}"), r#"{"_sessile": {"remember": true}}"#);
        assert_eq!(remembered(r#" { "a":1}"#), r#"{"_sessile": {"remember": true}, "a":1}"#);
    }

    #[test]
    fn the_table_is_the_frameworks_own_unless_the_url_names_another() {
        let quoted = |format, text: &str| Names::of(format, &FullUrl::new(text.parse().unwrap(), text)).table;
        assert_eq!(quoted(Format::TowerSessions, "sqlite:a.db"), "\"tower_sessions\"");
        assert_eq!(quoted(Format::Django, "sqlite:a.db?table=x"), "\"x\"");
        #[cfg(feature = "postgres")]
        {
            let url = "postgres://u:p@h/d";
            assert_eq!(quoted(Format::TowerSessions, url), "\"tower_sessions\".\"session\"");
            assert_eq!(quoted(Format::TowerSessions, &format!("{url}?schema=s&table=t")), "\"s\".\"t\"");
            assert_eq!(quoted(Format::Django, url), "\"django_session\"");
        }
        #[cfg(feature = "mysql")]
        {
            let url = "mariadb://u:p@h/tower_sessions";
            assert_eq!(quoted(Format::TowerSessions, url), "`session`");
            assert_eq!(quoted(Format::Django, &format!("{url}?table=a`b")), "`a``b`");
        }
    }
}
