//! A service in Python on lback 1.0.3 and one in Rust on sessile, both behind real HTTP on one table, and one
//! browser that goes from one to the other.
//!
//! The package runs behind its own server (`src/application.py`), the axum application beside it has the same
//! paths (`lback_http/application.rs`). All clocks stand still unless a test moves them, the browser's too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

#[path = "lback_http/application.rs"]
mod application;
#[path = "lback_http/browser.rs"]
mod browser;
#[path = "lback_http/crowds.rs"]
mod crowds;
#[path = "lback_http/defects.rs"]
mod defects;
#[path = "lback_http/limits.rs"]
mod limits;
#[path = "lback_http/renewal.rs"]
mod renewal;
#[path = "lback_http/stage.rs"]
mod stage;
#[path = "lback_http/turns.rs"]
mod turns;

/// Each of these, on every database that both sides speak to.
macro_rules! on_every_database {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&mut $crate::stage::Stage::on_sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&mut $crate::stage::Stage::on_postgres().await).await;
            })*
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&mut $crate::stage::Stage::on_mariadb().await).await;
            })*
        }
    };
}
pub(crate) use on_every_database;
