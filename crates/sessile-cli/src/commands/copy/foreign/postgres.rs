//! Foreign tables in PostgreSQL.

use sessile::record::Timestamp;
use tokio_postgres::Client;

use super::{Columns, Names, Row};
use crate::error::Error;

pub(super) async fn count(client: &Client, names: &Names) -> Result<u64, Error> {
    let row = client.query_one(&names.count(), &[]).await.map_err(failed)?;
    Ok(row.try_get::<_, i64>(0).map_err(failed)?.unsigned_abs())
}

/// The rows after this key.
pub(super) async fn rows(client: &Client, names: &Names, after: &str) -> Result<Vec<Row>, Error> {
    let Names { key, data, expires, .. } = names;
    // Django's data is text, the other's bytes; both arrive as bytes. An expiry without an end is none.
    let bytes =
        if *data == "session_data" { format!("convert_to({data}, 'UTF8')") } else { (*data).to_owned() };
    let micros =
        format!("CASE WHEN isfinite({expires}) THEN (extract(epoch FROM {expires}) * 1000000)::bigint END");
    let sql =
        names.page(&Columns { key: &format!("{key}::text"), data: &bytes, expires: &micros, after: "$1" });
    let rows = client.query(&sql, &[&after]).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let micros: Option<i64> = row.try_get(2)?;
            Ok(Row::new(row.try_get(0)?, row.try_get(1)?, micros.and_then(Timestamp::from_micros)))
        })
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::Foreign(Box::new(error))
}
