//! Foreign tables in PostgreSQL.

use sessile::record::Timestamp;
use tokio_postgres::Client;

use super::super::source::PAGE;
use super::{Names, Row};
use crate::error::Error;

pub(super) async fn count(client: &Client, names: &Names) -> Result<u64, Error> {
    let sql = format!("SELECT count(*) FROM {}", names.quoted());
    let row = client.query_one(&sql, &[]).await.map_err(failed)?;
    Ok(row.try_get::<_, i64>(0).map_err(failed)?.unsigned_abs())
}

/// The rows after this key.
pub(super) async fn rows(client: &Client, names: &Names, after: &str) -> Result<Vec<Row>, Error> {
    let Names { key, data, expires, .. } = names;
    let table = names.quoted();
    // Django's data is text, the other's bytes; both arrive as bytes. An expiry without an end is none.
    let bytes =
        if *data == "session_data" { format!("convert_to({data}, 'UTF8')") } else { (*data).to_owned() };
    let sql = format!(
        "SELECT {key}::text, {bytes}, CASE WHEN isfinite({expires}) \
         THEN (extract(epoch FROM {expires}) * 1000000)::bigint END \
         FROM {table} WHERE {key} > $1 ORDER BY {key} LIMIT {PAGE}"
    );
    let rows = client.query(&sql, &[&after]).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let micros: Option<i64> = row.try_get(2)?;
            let expires_at = micros.and_then(Timestamp::from_micros);
            Ok(Row {
                key: row.try_get(0)?,
                data: row.try_get(1)?,
                expires_at: expires_at.ok_or_else(|| "its expiry is no time".to_owned()),
            })
        })
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::Foreign(Box::new(error))
}
