//! Settings of the program that cannot work: each is refused where it is put to use, with its name and what is allowed.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sessile::engine::CacheOptions;
use sessile::store::MemoryStore;
use sessile::{Policy, Sessions};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns what a panic says.
fn panic_of<T>(work: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).err().unwrap();
    *panic.downcast::<String>().unwrap()
}

/// [R20] No service runs under a policy that cannot work: `try_build` returns the error, `build` panics with its
/// message.
#[test]
fn a_service_with_a_policy_that_cannot_work_is_refused() {
    for policy in [
        Policy::default().idle_timeout(Duration::ZERO),
        Policy::default().absolute_lifetime(Duration::ZERO),
        Policy::default().idle_timeout(2 * DAY),
        Policy::default().renew_after(DAY),
        Policy::default().remembered(2 * DAY, DAY),
        Policy::default().store_timeout(Duration::ZERO),
        Policy::default().max_attempts(0),
        Policy::default().max_data_bytes(0),
    ] {
        let expected = policy.validate().unwrap_err();
        let builder = || Sessions::builder(MemoryStore::new()).policy(policy.clone());
        assert_eq!(builder().try_build().err().unwrap(), expected);
        assert_eq!(panic_of(|| builder().build()), expected.to_string());
    }
    Sessions::builder(MemoryStore::new()).try_build().unwrap();
}

/// [R20]
#[test]
fn watching_without_a_pause_is_refused() {
    let watch = |interval| Sessions::builder(MemoryStore::new()).watch_interval(interval).build();
    let says = panic_of(|| watch(Duration::ZERO));
    assert_eq!(says, "`SessionsBuilder::watch_interval` is 0ns: at least 10ms is needed");
    drop(watch(Duration::from_millis(10)));
}

/// [R20]
#[tokio::test]
async fn a_cache_that_cannot_work_is_refused() {
    let default = CacheOptions::default;
    for (options, says) in [
        (default().max_sessions(0), "`CacheOptions::max_sessions` is 0: at least 1 is needed"),
        (default().max_bytes(319), "`CacheOptions::max_bytes` is 319: at least 320 is needed"),
        (default().bound(Duration::ZERO), "`CacheOptions::bound` is 0ns: at least 30ms is needed"),
        (default().bound(Duration::MAX), "at most 86400s is allowed"),
        (CacheOptions::stale_for(Duration::ZERO), "`CacheOptions::stale_for` is 0ns: at least 1ms is needed"),
    ] {
        let refused = Sessions::builder(MemoryStore::new()).cache(options).await.err().unwrap();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    let least = CacheOptions::stale_for(Duration::from_millis(1)).max_sessions(1).max_bytes(320);
    Sessions::builder(MemoryStore::new()).cache(least).await.unwrap();
}

fn says<T>(refused: Result<T, impl Error>, words: &str) {
    let refused = refused.err().unwrap();
    assert!(refused.to_string().contains(words), "{refused}");
}

/// [R20] Nothing is opened, and no file is made.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_sqlite_store_that_cannot_work_is_refused() {
    use sessile::record::SystemClock;
    use sessile::store::SqliteStore;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let default = SqliteStore::options;
    for (options, words) in [
        (default().readers(0), "`SqliteOptions::readers` is 0: at least 1 is needed"),
        (default().queue(0), "`SqliteOptions::queue` is 0: at least 1 is needed"),
        (
            default().busy_timeout(Duration::ZERO),
            "`SqliteOptions::busy_timeout` is 0ns: at least 1ms is needed",
        ),
        (default().busy_timeout(Duration::MAX), "at most 86400s is allowed"),
        (default().max_log_bytes(1), "`SqliteOptions::max_log_bytes` is 1: at least 41943040 is needed"),
    ] {
        says(options.clone().open(&path).await, words);
        says(options.clone().open_in_memory().await, words);
        says(options.examine(&path, &SystemClock).await, words);
        assert!(!path.exists());
    }
}

/// [R20] Before anything is asked of the server: none listens on this port.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_postgres_store_that_cannot_work_is_refused() {
    use sessile::store::PostgresStore;

    let default = PostgresStore::options;
    for (options, words) in [
        (default().connections(0), "`PostgresOptions::connections` is 0: at least 1 is needed"),
        (default().timeout(Duration::ZERO), "`PostgresOptions::timeout` is 0ns: at least 1ms is needed"),
        (default().timeout(Duration::MAX), "at most 86400s is allowed"),
    ] {
        says(options.connect("postgres://127.0.0.1:1/none").await, words);
    }
}

/// [R20]
#[cfg(feature = "mysql")]
#[tokio::test]
async fn a_mysql_store_that_cannot_work_is_refused() {
    use sessile::store::MySqlStore;

    let default = MySqlStore::options;
    for (options, words) in [
        (default().connections(0), "`MySqlOptions::connections` is 0: at least 1 is needed"),
        (default().timeout(Duration::ZERO), "`MySqlOptions::timeout` is 0ns: at least 1ms is needed"),
        (default().timeout(Duration::MAX), "at most 86400s is allowed"),
    ] {
        says(options.connect("mysql://127.0.0.1:1/none").await, words);
    }
}

/// [R20]
#[cfg(feature = "redis")]
#[tokio::test]
async fn a_redis_store_that_cannot_work_is_refused() {
    use sessile::store::RedisStore;

    let default = RedisStore::options;
    for (options, words) in [
        (default().timeout(Duration::ZERO), "`RedisOptions::timeout` is 0ns: at least 1ms is needed"),
        (default().timeout(Duration::MAX), "at most 86400s is allowed"),
    ] {
        says(options.connect("redis://127.0.0.1:1").await, words);
    }
}
