//! PostgreSQL: a pool of ten connections that pings nobody, statements prepared, one round trip each.

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio_postgres::{Config, NoTls};

use super::{ByHand, Id};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS hand (id BYTEA PRIMARY KEY, data BYTEA NOT NULL, \
    version BIGINT NOT NULL DEFAULT 0, expires_at TIMESTAMPTZ NOT NULL); \
    CREATE INDEX IF NOT EXISTS hand_expires_at ON hand (expires_at)";
const INSERT: &str = "INSERT INTO hand (id, data, expires_at) VALUES ($1, $2, now() + interval '1 day')";
const LOAD: &str = "SELECT data, version FROM hand WHERE id = $1 AND expires_at > now()";
const SWAP: &str = "UPDATE hand SET id = $2, data = $3, version = version + 1 WHERE id = $1 AND version = $4";
const DELETE: &str = "DELETE FROM hand WHERE id = $1";

/// The store.
pub struct PostgresByHand(Pool);

impl PostgresByHand {
    /// Makes the table.
    pub async fn connect(url: &str) -> PostgresByHand {
        let config: Config = url.parse().unwrap();
        let checks = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, NoTls, checks);
        let pool = Pool::builder(manager).max_size(10).build().unwrap();
        pool.get().await.unwrap().batch_execute(TABLE).await.unwrap();
        PostgresByHand(pool)
    }

    async fn connection(&self) -> Object {
        self.0.get().await.unwrap()
    }
}

impl ByHand for PostgresByHand {
    async fn create(&self, id: Id, data: Vec<u8>) {
        let connection = self.connection().await;
        let statement = connection.prepare_cached(INSERT).await.unwrap();
        connection.execute(&statement, &[&&id[..], &data]).await.unwrap();
    }

    async fn load<T: Send>(&self, id: Id, read: impl FnOnce(&[u8]) -> T + Send) -> Option<(T, i64)> {
        let connection = self.connection().await;
        let statement = connection.prepare_cached(LOAD).await.unwrap();
        let row = connection.query_opt(&statement, &[&&id[..]]).await.unwrap()?;
        drop(connection);
        Some((read(row.get(0)), row.get(1)))
    }

    async fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> bool {
        let connection = self.connection().await;
        let statement = connection.prepare_cached(SWAP).await.unwrap();
        connection.execute(&statement, &[&&id[..], &&new[..], &data, &version]).await.unwrap() == 1
    }

    async fn delete(&self, id: Id) {
        let connection = self.connection().await;
        let statement = connection.prepare_cached(DELETE).await.unwrap();
        connection.execute(&statement, &[&&id[..]]).await.unwrap();
    }
}
