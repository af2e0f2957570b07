//! Watching sessions over what Redis tells of its keys.

use std::time::Duration;

use sessile::Sessions;
use sessile::store::RedisStore;

use crate::cache::{ClusterCli, of};
use crate::outages::{own, through};
use crate::redis_server::{Kind, Prefix};
use crate::watching;

/// [S10] With a cache and without.
#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_told() {
    let server = own(&[]).await;
    let elsewhere = Sessions::new(RedisStore::connect(&server.url()).await.unwrap());
    let plain = Sessions::new(RedisStore::connect(&server.url()).await.unwrap());
    watching::every_end_is_told(&plain, &elsewhere, &server).await;
    let cached = of(&server.url(), Duration::from_secs(3)).await;
    watching::every_end_is_told(&cached, &elsewhere, &server).await;
}

/// [S10]
#[tokio::test(flavor = "multi_thread")]
async fn every_end_in_a_cluster_is_told() {
    let prefix = Prefix::new(Kind::Cluster);
    let elsewhere = Sessions::new(RedisStore::connect(&prefix.url()).await.unwrap());
    let here = Sessions::new(RedisStore::connect(&prefix.url()).await.unwrap());
    let cli = ClusterCli::at(&prefix.server, &prefix.name);
    watching::every_end_is_told(&here, &elsewhere, &cli).await;
}

/// [R01]
#[tokio::test(flavor = "multi_thread")]
async fn ends_while_the_feed_is_down_are_told() {
    let (server, proxy, url) = through().await;
    let store = RedisStore::connect(&url).await.unwrap();
    let here = Sessions::builder(store).watch_interval(Duration::from_millis(100)).build();
    let elsewhere = Sessions::new(RedisStore::connect(&server.url()).await.unwrap());
    watching::ends_while_the_feed_is_down_are_told(&here, &elsewhere, &proxy).await;
}
