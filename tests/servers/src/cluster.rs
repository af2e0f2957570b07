//! Redis Cluster: three primaries, each with a replica.

use std::thread;
use std::time::{Duration, Instant};

use crate::redis::Redis;
use crate::{Failure, Outcome, port};

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;
/// How far a node may fall out of sight before a replica takes its place, in milliseconds.
const NODE_TIMEOUT: &str = "2000";
const PATIENCE: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(50);

/// A Redis Cluster of our own: six nodes with one password, a failover after two seconds, and otherwise
/// Redis's defaults, those of persistence included.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    password: String,
}

impl RedisCluster {
    /// Starts one; returns when all slots are served and every replica has its primary's data.
    pub fn start() -> Outcome<Self> {
        Self::start_with(&[])
    }

    /// Starts one whose nodes have these settings, as in `redis.conf`: `("appendonly", "yes")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        let password = port::password()?;
        let mut all = vec![
            ("cluster-enabled", "yes"),
            ("cluster-node-timeout", NODE_TIMEOUT),
            // Five seconds otherwise, in wait for further replicas that could share a transfer.
            ("repl-diskless-sync-delay", "0"),
        ];
        all.extend(settings);
        let nodes = thread::scope(|scope| {
            let start = || Redis::start_node(&password, &all);
            let starting: Vec<_> = (0..NODES).map(|_| scope.spawn(start)).collect();
            let join = |node: thread::ScopedJoinHandle<'_, Outcome<Redis>>| {
                node.join().unwrap_or_else(|_| Err(Failure::new("starting a node panicked")))
            };
            starting.into_iter().map(join).collect::<Outcome<Vec<_>>>()
        })?;
        let cluster = Self { nodes, password };
        cluster.form()?;
        Ok(cluster)
    }

    /// `redis-cluster://:password@127.0.0.1:port,127.0.0.1:port,…`, all six nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://:{}@{}", self.password, hosts.join(","))
    }

    /// The six nodes. Which are primaries changes with a failover.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The node that serves this slot, as those that run see it; an error while there is none.
    pub fn primary_of(&self, slot: u16) -> Outcome<&Redis> {
        self.view()?
            .iter()
            .find(|member| member.is_primary() && member.serves(slot))
            .and_then(|member| self.nodes.iter().find(|node| node.port() == member.port))
            .filter(|node| node.pid().is_some())
            .ok_or_else(|| Failure::new(format!("no running node of the cluster serves slot {slot}")))
    }

    /// Kills the node that serves this slot and returns it, to be restarted: as a replica, if another was
    /// elected by then.
    pub fn kill_primary_of(&self, slot: u16) -> Outcome<&Redis> {
        let node = self.primary_of(slot)?;
        node.kill()?;
        Ok(node)
    }

    /// Waits until every running node says that all slots are served, and its replicas are connected.
    pub fn wait_until_healthy(&self) -> Outcome {
        self.wait_for("the cluster to serve all slots", |node| {
            let info = node.command(&["CLUSTER", "INFO"])?;
            let replication = node.command(&["INFO", "replication"])?;
            Ok(info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_slots_ok:{SLOTS}"))
                && (replication.contains("role:master") || replication.contains("master_link_status:up")))
        })
    }

    /// Introduces the nodes to each other, and shares the slots out.
    fn form(&self) -> Outcome {
        for (index, node) in self.nodes.iter().enumerate() {
            // Different from the start, they need not be fought out.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
            if index < PRIMARIES {
                let from = (index * SLOTS / PRIMARIES).to_string();
                let to = ((index + 1) * SLOTS / PRIMARIES - 1).to_string();
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
            }
            for other in &self.nodes[..index] {
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()])?;
            }
        }
        self.wait_for("the nodes to know each other", |node| {
            let nodes = node.command(&["CLUSTER", "NODES"])?;
            Ok(nodes.lines().count() == NODES && !nodes.contains("handshake"))
        })?;
        for (primary, replica) in self.nodes.iter().zip(&self.nodes[PRIMARIES..]) {
            let id = primary.command(&["CLUSTER", "MYID"])?;
            replica.command(&["CLUSTER", "REPLICATE", &id])?;
        }
        self.wait_for("the replicas to be known", |node| {
            let members = node.command(&["CLUSTER", "NODES"])?;
            Ok(members.lines().filter_map(Member::parse).filter(|member| !member.is_primary()).count()
                == PRIMARIES)
        })?;
        self.wait_until_healthy()
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&Redis) -> Outcome<bool>) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        for node in self.nodes.iter().filter(|node| node.pid().is_some()) {
            loop {
                let outcome = holds(node);
                match outcome {
                    Ok(true) => break,
                    _ if Instant::now() < deadline => thread::sleep(BEAT),
                    Err(failure) => return Err(failure),
                    Ok(false) => {
                        let view = node.command(&["CLUSTER", "NODES"])?;
                        return Err(Failure::new(format!("waited {PATIENCE:?} for {what}; still:\n{view}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// The cluster as that running node sees it that has heard of the latest change.
    fn view(&self) -> Outcome<Vec<Member>> {
        let mut newest: Option<(u64, Vec<Member>)> = None;
        for node in self.nodes.iter().filter(|node| node.pid().is_some()) {
            let members = node.command(&["CLUSTER", "NODES"])?;
            let members: Vec<_> = members.lines().filter_map(Member::parse).collect();
            let epoch = members.iter().map(|member| member.epoch).max().unwrap_or_default();
            if newest.as_ref().is_none_or(|(known, _)| epoch > *known) {
                newest = Some((epoch, members));
            }
        }
        newest.map(|(_, members)| members).ok_or_else(|| Failure::new("no node of the cluster runs"))
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        // At once: one after the other takes six times as long.
        thread::scope(|scope| self.nodes.drain(..).for_each(|node| drop(scope.spawn(|| drop(node)))));
    }
}

/// A line of `CLUSTER NODES`: `id ip:port@peers flags primary ping pong epoch link slot slot-slot …`.
struct Member {
    port: u16,
    flags: String,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

impl Member {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.split('@').next()?.rsplit(':').next()?.parse().ok()?;
        let slots = fields.iter().skip(8).filter_map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        });
        let slots = slots.collect();
        Some(Self { port, flags: (*fields.get(2)?).to_owned(), epoch: fields.get(6)?.parse().ok()?, slots })
    }

    fn is_primary(&self) -> bool {
        self.flags.split(',').any(|flag| flag == "master")
    }

    fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|(from, to)| (*from..=*to).contains(&slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cluster_nodes_is_read() {
        let line =
            "07c3 127.0.0.1:7000@17000,,tls-port=0 myself,master - 0 0 7 connected 0-5460 5462 [93->-292f]";
        let member = Member::parse(line).unwrap();
        assert!(member.is_primary() && member.serves(5460) && member.serves(5462) && !member.serves(5461));
        assert_eq!((member.port, member.epoch), (7000, 7));
        let replica = Member::parse("a1 127.0.0.1:7001@17001 slave,fail 07c3 0 0 7 connected").unwrap();
        assert!(!replica.is_primary() && !replica.serves(0));
    }
}
