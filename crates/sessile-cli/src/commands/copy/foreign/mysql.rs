//! Foreign tables in MySQL and MariaDB.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Value};
use sessile::record::Timestamp;
use sessile::store::mysql::MySqlOptions;
use tokio::sync::Mutex;

use super::{Columns, Names, Row};
use crate::error::Error;

/// A connection, in UTC: the column of one of the frameworks is a point in time, which the server turns into
/// the connection's zone.
pub(super) struct Reader(Mutex<Conn>);

impl Reader {
    pub(super) async fn connect(url: &str) -> Result<Reader, Error> {
        Ok(Reader(Mutex::new(MySqlOptions::client(url).await?)))
    }

    pub(super) async fn count(&self, names: &Names) -> Result<u64, Error> {
        let count: Option<u64> = self.0.lock().await.query_first(names.count()).await.map_err(failed)?;
        Ok(count.unwrap_or_default())
    }

    /// The rows after this key.
    pub(super) async fn rows(&self, names: &Names, after: &str) -> Result<Vec<Row>, Error> {
        let expires = format!("CAST({} AS CHAR)", names.expires);
        let sql = names.page(&Columns { key: names.key, data: names.data, expires: &expires, after: "?" });
        let rows: Vec<mysql_async::Row> = self.0.lock().await.exec(sql, (after,)).await.map_err(failed)?;
        // Taken as they come: the driver's own conversions quote a row that does not fit.
        rows.into_iter()
            .map(|row| match <[Value; 3]>::try_from(row.unwrap()) {
                Ok([Value::Bytes(key), data, expires]) => {
                    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
                    let expires_at = bytes(expires).and_then(text);
                    let expires_at = expires_at.and_then(|text| Timestamp::parse(&text));
                    let key = text(key).ok_or_else(no_key)?;
                    Ok(Row::new(key, bytes(data).unwrap_or_default(), expires_at))
                }
                _ => Err(no_key()),
            })
            .collect()
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}

fn no_key() -> Error {
    Error::Foreign("its primary key is no text".into())
}

fn failed(error: mysql_async::Error) -> Error {
    Error::Foreign(Box::new(error))
}
