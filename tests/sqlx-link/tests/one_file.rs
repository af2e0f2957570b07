//! One program, one file, both libraries.

use std::time::Duration;

use sessile::record::{StoredData, Timestamp};
use sessile::store::{Outcome, SessionStore, SqliteStore, Update, Write};
use sessile::{SessionData, SessionId, SessionRecord};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

/// What either writes, the other reads.
#[tokio::test]
async fn sqlx_and_sessile_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.init().await.unwrap();
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();

    let now = Timestamp::parse("2030-01-02 03:04:05.678901").unwrap();
    let end = now.saturating_add(Duration::from_secs(1800));
    let id: SessionId = "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11".parse().unwrap();
    let mut data = SessionData::new();
    data.insert("place", "Zürich").unwrap();
    let mut record = SessionRecord::new(id, end, now);
    record.set_data(&data, now);
    assert_eq!(store.apply(Write::Insert(record)).await.unwrap(), Outcome::Applied);

    let row = sqlx::query("SELECT id, data, expires_at FROM sessions").fetch_one(&pool).await.unwrap();
    assert_eq!(row.get::<String, _>("id"), "6f1c4b1e-8a0f-4c57-9d0a-3f6c2b7e5d11");
    assert_eq!(row.get::<String, _>("data"), r#"{"place": "Z\u00fcrich"}"#);
    assert_eq!(row.get::<String, _>("expires_at"), "2030-01-02 03:34:05.678901");

    let changed = sqlx::query("UPDATE sessions SET data = ? WHERE id = ?")
        .bind(r#"{"place": "Bern"}"#)
        .bind(id.to_string())
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let seen = store.load(id).await.unwrap().unwrap();
    assert_eq!(seen.data().get::<String>("place").unwrap().as_deref(), Some("Bern"));

    // Sessile's own write sees it, too: what sqlx replaced is not what was read before.
    let stale = Update {
        id,
        expected: StoredData::from(&data),
        data: "{}".into(),
        user_id: None,
        expires_at: sessile::store::Expiry::Keep,
        now: now.into(),
    };
    assert_eq!(store.apply(Write::Update(stale)).await.unwrap(), Outcome::Unmatched);
    assert_eq!(store.load(id).await.unwrap().unwrap(), seen);
    pool.close().await;
}
