//! Redis with sentinels: a primary, replicas of it, and three sentinels that agree on a failover.

use std::thread;
use std::time::{Duration, Instant};

use crate::redis::Redis;
use crate::{Failure, Outcome, port};

/// The name of the primary.
const NAME: &str = "main";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// How long the primary may be out of sight before a replica takes its place, in milliseconds.
const DOWN_AFTER: &str = "2000";
const PATIENCE: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(50);

/// A primary, two replicas and three sentinels, with one password for the servers and another one for the
/// sentinels. A failover begins two seconds after the primary has gone out of sight.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
    password: String,
    sentinel_password: String,
}

impl RedisSentinel {
    /// Starts one; returns when all sentinels know each other and every replica has its primary's data.
    pub fn start() -> Outcome<Self> {
        Self::start_with(&[])
    }

    /// Starts one whose servers have these settings, as in `redis.conf`: `("appendonly", "yes")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        let (password, sentinel_password) = (port::password()?, port::password()?);
        let mut all = vec![("save", "\"\""), ("appendonly", "no"), ("repl-diskless-sync-delay", "0")];
        all.extend(settings);
        let servers = in_parallel(1 + REPLICAS, || Redis::start_node(&password, &all))?;
        let sentinels = in_parallel(SENTINELS, || Redis::start_sentinel(&sentinel_password))?;
        let all = Self { servers, sentinels, password, sentinel_password };
        all.form()?;
        Ok(all)
    }

    /// `redis-sentinel://:password@127.0.0.1:port,…/main?sentinel_password=…`, all three sentinels.
    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        let (password, hosts) = (&self.password, hosts.join(","));
        format!("redis-sentinel://:{password}@{hosts}/{NAME}?sentinel_password={}", self.sentinel_password)
    }

    /// The servers. Which is the primary changes with a failover.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The server that most of the running sentinels name; an error while they do not agree on a running one.
    pub fn primary(&self) -> Outcome<&Redis> {
        let running = self.sentinels.iter().filter(|sentinel| sentinel.pid().is_some());
        let mut named: Vec<u16> = running.filter_map(|sentinel| self.named_by(sentinel).ok()).collect();
        named.sort_unstable();
        let middle = named.get(named.len() / 2).copied();
        let most = middle.filter(|port| named.iter().filter(|it| *it == port).count() * 2 > named.len());
        let server = self.servers.iter().find(|server| Some(server.port()) == most);
        server
            .filter(|server| server.pid().is_some())
            .ok_or_else(|| Failure::new(format!("no running server is the primary; named: {named:?}")))
    }

    fn named_by(&self, sentinel: &Redis) -> Outcome<u16> {
        let named = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let port = named.lines().nth(1).and_then(|port| port.parse().ok());
        port.ok_or_else(|| Failure::new(format!("a sentinel names no primary: {named:?}")))
    }

    /// Lets a replica take the primary's place, which goes on as a replica.
    pub fn fail_over(&self) -> Outcome {
        let sentinel = self.sentinels.iter().find(|sentinel| sentinel.pid().is_some());
        let sentinel = sentinel.ok_or_else(|| Failure::new("no sentinel runs"))?;
        // Refused while the one before is not over.
        wait_for("a failover to begin", || Ok(sentinel.command(&["SENTINEL", "FAILOVER", NAME]).is_ok()))
    }

    /// Waits until all running sentinels name one running primary and its replicas follow it.
    pub fn wait_until_healthy(&self) -> Outcome {
        wait_for("the sentinels to agree on a primary that is followed", || {
            let primary = self.primary()?.port();
            let mut running = self.sentinels.iter().filter(|sentinel| sentinel.pid().is_some());
            let agree = running.all(|sentinel| self.named_by(sentinel).is_ok_and(|named| named == primary));
            let mut others = self.servers.iter().filter(|server| server.pid().is_some());
            let followed = others.all(|server| {
                let info = server.command(&["INFO", "replication"]).unwrap_or_default();
                let follows =
                    info.contains(&format!("master_port:{primary}\r")) && info.contains("link_status:up");
                if server.port() == primary { info.contains("role:master") } else { follows }
            });
            Ok(agree && followed)
        })
    }

    fn form(&self) -> Outcome {
        let [primary, replicas @ ..] = &self.servers[..] else { return Err(Failure::new("no server")) };
        let port = primary.port().to_string();
        for replica in replicas {
            replica.command(&["REPLICAOF", "127.0.0.1", &port])?;
        }
        let quorum = (SENTINELS / 2 + 1).to_string();
        for sentinel in &self.sentinels {
            sentinel.command(&["SENTINEL", "MONITOR", NAME, "127.0.0.1", &port, &quorum])?;
            for (name, value) in [
                ("auth-pass", self.password.as_str()),
                ("down-after-milliseconds", DOWN_AFTER),
                ("failover-timeout", "10000"),
                ("parallel-syncs", "2"),
            ] {
                sentinel.command(&["SENTINEL", "SET", NAME, name, value])?;
            }
        }
        for sentinel in &self.sentinels {
            wait_for("the sentinels to know each other", || {
                let state = sentinel.command(&["SENTINEL", "MASTER", NAME])?;
                let fields: Vec<&str> = state.lines().collect();
                let has = |name: &str, count: usize| {
                    let at = fields.iter().position(|field| *field == name);
                    at.and_then(|at| fields.get(at + 1)).is_some_and(|it| **it == *count.to_string())
                };
                Ok(has("num-other-sentinels", SENTINELS - 1) && has("num-slaves", REPLICAS))
            })?;
        }
        self.wait_until_healthy()
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        // At once: one after the other takes six times as long.
        let all = self.sentinels.drain(..).chain(self.servers.drain(..));
        thread::scope(|scope| all.for_each(|server| drop(scope.spawn(|| drop(server)))));
    }
}

fn in_parallel(count: usize, start: impl Fn() -> Outcome<Redis> + Sync) -> Outcome<Vec<Redis>> {
    thread::scope(|scope| {
        let starting: Vec<_> = (0..count).map(|_| scope.spawn(&start)).collect();
        let join = |server: thread::ScopedJoinHandle<'_, Outcome<Redis>>| {
            server.join().unwrap_or_else(|_| Err(Failure::new("starting a server panicked")))
        };
        starting.into_iter().map(join).collect()
    })
}

fn wait_for(what: &str, holds: impl Fn() -> Outcome<bool>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match holds() {
            Ok(true) => return Ok(()),
            _ if Instant::now() < deadline => thread::sleep(BEAT),
            Err(failure) => return Err(Failure::because(format!("waited {PATIENCE:?} for {what}"), failure)),
            Ok(false) => return Err(Failure::new(format!("waited {PATIENCE:?} for {what}"))),
        }
    }
}
