//! What a session that is kept takes of the process's memory, all in all.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, reason = "the helpers of tests")]

use std::time::Duration;

use async_trait::async_trait;
use sessile::engine::{CacheOptions, Credential};
use sessile::record::{Columns, StoredData, Timestamp};
use sessile::store::{
    ListPage, ListQuery, Loaded, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError, StoreStats,
    Write,
};
use sessile::{LazySession, SessionId, SessionRecord, Sessions, UserId};

const SESSIONS: u64 = 100_000;

/// A row for every id, each time a new one; it keeps nothing.
struct Endless {
    data: String,
}

#[async_trait]
impl SessionStore for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        let now = Timestamp::parse("2026-01-01 00:00:00").unwrap();
        Ok(Some(SessionRecord::from_columns(Columns {
            id,
            user_id: Some(UserId::new(u32::from_be_bytes(*id.as_bytes().first_chunk().unwrap())).unwrap()),
            data: StoredData::Text(self.data.as_str().into()),
            created_at: None,
            expires_at: Timestamp::parse("2999-01-01 00:00:00").unwrap(),
            updated_at: Some(now),
        })))
    }
    async fn apply(&self, _: Write) -> Result<Outcome, StoreError> {
        Ok(Outcome::Unmatched)
    }
    async fn list(&self, _: &ListQuery) -> Result<ListPage, StoreError> {
        unreachable!("nobody lists")
    }
    async fn delete_user(&self, _: &UserId, _: Option<SessionId>) -> Result<Vec<SessionId>, StoreError> {
        Ok(Vec::new())
    }
    async fn purge(&self, _: Timestamp, _: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        unreachable!("nobody purges")
    }
    async fn stats(&self, _: Timestamp) -> Result<StoreStats, StoreError> {
        unreachable!("nobody counts")
    }
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Bytes of memory that the process has in use.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// 1 KiB of data in nine keys, as `bench` measures with, and a user: 1.6 KiB at most.
#[tokio::test]
async fn a_kept_session_takes_little_more_than_its_data() {
    let item =
        r#"{"sku": "SKU-000007", "qty": 1, "price_cents": 1299, "title": "An item with a plain title"}"#;
    let fixed = format!(
        r#"{{"user": "user-000001", "user_id": 1, "n": 0, "csrf": "{}", "locale": "en-GB", "theme": "dark",
        "roles": ["editor"], "cart": [{item}, {item}, {item}, {item}], "return_to": ""#,
        "6f1e".repeat(16)
    );
    let data = format!("{fixed}{}\"}}", "x".repeat(1_024 - fixed.len() - 2));
    assert_eq!(data.len(), 1_024);
    let options =
        CacheOptions::stale_for(Duration::from_secs(86_400)).max_sessions(4 * SESSIONS).max_bytes(200 << 20);
    let sessions = Sessions::builder(Endless { data }).cache(options).await.unwrap().build();
    let read = async |number: u64| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let session = LazySession::new(sessions.clone(), vec![Credential::Id(SessionId::from_bytes(id))]);
        assert_eq!(session.load().await.unwrap().get::<u64>("user_id").unwrap(), Some(1));
    };
    // What only the first ones take.
    for number in 0..100 {
        read(number).await;
    }
    let before = resident();
    for number in 100..SESSIONS {
        read(number).await;
    }
    let each = (resident() - before) / (SESSIONS - 100);
    let stats = sessions.cache_stats().unwrap();
    assert!(stats.sessions > SESSIONS * 99 / 100, "{stats:?}");
    let counted = stats.bytes / stats.sessions;
    println!("{each} bytes for each session of 1 KiB, and the cache counts {counted}");
    assert!(each <= 1_638, "{each} bytes");
    assert!(counted.abs_diff(each) * 5 <= each, "it counts {counted}, and takes {each}");
}
