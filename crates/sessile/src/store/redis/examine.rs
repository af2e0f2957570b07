//! Looks at the server as a person on call would. What it tells of itself is believed; what it does not tell
//! is said to be unknown. A row is made and deleted again, for there is no transaction that could be undone.

use super::RedisStore;
use super::call;
use super::server::ServerInfo as Node;
use super::settings::{eviction, strings};
use crate::record::Clock;
use crate::store::{Finding, StoreError, Verdict, finding, trial};

/// The nodes first, then the clock and a row, then what an answered write is worth.
pub(super) async fn examine(store: &RedisStore, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
    let inner = &store.0;
    let told = async |words: &[&str]| {
        let answer = inner.link.ask(call::plain(words)).await;
        let mut texts = Vec::new();
        answer.map(|value| strings(value, &mut texts)).map_err(store.error("examine"))?;
        Ok::<_, StoreError>(texts)
    };
    let (nodes, mut findings) = match inner.info().await.map_err(store.error("examine")) {
        Ok(nodes) => {
            let server = server(&nodes, &inner.place.server);
            (nodes, vec![server])
        }
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => (Vec::new(), vec![Finding::failed("server", &error)]),
    };
    if inner.link.is_cluster() {
        findings.push(match told(&["CLUSTER", "INFO"]).await {
            Ok(texts) => cluster(&Node::of(&texts.concat())),
            Err(error) => Finding::failed("cluster", &error),
        });
    }
    findings.extend(finding::clocks(store, clock).await);
    if findings.iter().all(|it| it.verdict != Verdict::Wrong || it.subject == "clock") {
        const REMEDY: &str = "look whether another program changes the keys that begin with the prefix";
        findings.push(trial::try_out(store, clock.now(), REMEDY).await);
    }
    let sync = inner.setting("appendfsync").await;
    let guarded = inner.setting("min-replicas-to-write").await.iter().any(|count| count != "0");
    findings.extend(worth(&nodes, sync.first().map(String::as_str), guarded));
    Ok(findings)
}

/// Which server answered, and whether it is one to write to.
fn server(nodes: &[Node], place: &str) -> Finding {
    let mut products: Vec<String> = nodes.iter().filter_map(Node::product).collect();
    products.dedup();
    let seen = match nodes.len() {
        0 => format!("{place}, which does not tell what it is"),
        1 => format!("{} at {place}", products.join(", ")),
        count => format!("{} at {place}, {count} primaries", products.join(", ")),
    };
    if nodes.iter().any(Node::is_too_old) {
        let meaning = "Some of what sessile asks for is not known to it.";
        return Finding::wrong("server", seen, meaning).with_remedy("use Redis 6.2 or later, or Valkey");
    }
    if nodes.iter().any(Node::is_replica) {
        let meaning = "Every change is refused: nobody can sign in, nobody can sign out.";
        return Finding::wrong("server", format!("{seen}, a replica"), meaning)
            .with_remedy("name the primary");
    }
    Finding::good("server", seen, "It answers.")
}

fn cluster(told: &Node) -> Finding {
    let seen = format!(
        "state {}, {} of 16384 slots are served, {} nodes",
        told.get("cluster_state"),
        told.get("cluster_slots_ok"),
        told.get("cluster_known_nodes")
    );
    if told.get("cluster_state") == "ok" && told.number("cluster_slots_ok") == 16_384 {
        return Finding::good("cluster", seen, "Every session has a server that answers for it.");
    }
    let meaning =
        "Sessions in the other slots, or all of them, are answered with 503 until a primary is there.";
    Finding::wrong("cluster", seen, meaning)
        .with_remedy("start the nodes that are away, or let a replica take over: `redis-cli --cluster check`")
}

/// What is left of an answered logout after a crash or a failover, and who is signed out to make room.
fn worth(nodes: &[Node], sync: Option<&str>, guarded: bool) -> Vec<Finding> {
    let mut findings = vec![log(nodes, sync)];
    findings.extend(disk(nodes));
    findings.push(room(nodes));
    findings.push(replicas(nodes, guarded));
    findings
}

/// The worst that one of the nodes says.
fn log(nodes: &[Node], sync: Option<&str>) -> Finding {
    const ALWAYS: &str = "as its administrator: CONFIG SET appendfsync always, then CONFIG REWRITE";
    if nodes.iter().any(|node| node.get("aof_enabled") == "0") {
        let meaning = "A restart forgets everything since the last snapshot: somebody who signed out since then is \
            signed in again, and who signed in is not.";
        return Finding::wrong("appendonly", "no", meaning).with_remedy(
            "as its administrator: CONFIG SET appendonly yes, CONFIG SET appendfsync always, then CONFIG REWRITE",
        );
    }
    match sync {
        Some("always") => {
            let meaning =
                "A logout that was answered is on the disk: neither a crash nor a power cut undoes it.";
            Finding::good("appendfsync", "always", meaning)
        }
        Some("everysec") => {
            let meaning = "A crash of the machine can undo the last second: somebody who signed out is signed in \
                again.";
            Finding::note("appendfsync", "everysec", meaning).with_remedy(ALWAYS)
        }
        Some(other) => {
            let meaning = "A crash of the machine can undo the last half minute: somebody who signed out is signed \
                in again.";
            Finding::wrong("appendfsync", other, meaning).with_remedy(ALWAYS)
        }
        None => {
            let meaning = "Unless it is `always`, a crash can undo the last moments: somebody who signed out is \
                signed in again.";
            Finding::note("appendfsync", "the server does not tell", meaning)
                .with_remedy("ask whoever runs it for appendonly yes and appendfsync always")
        }
    }
}

/// What the last attempts to write to the disk came to.
fn disk(nodes: &[Node]) -> Option<Finding> {
    let failed = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"]
        .into_iter()
        .find(|name| nodes.iter().any(|node| node.get(name) == "err"))?;
    let meaning = "Redis cannot write to its disk: it refuses changes, so nobody can sign in or out, or forgets \
        them with the next restart.";
    Some(
        Finding::wrong("disk", format!("{failed} is err"), meaning)
            .with_remedy("look at its disk (is there room, may it write?) and at its log"),
    )
}

fn room(nodes: &[Node]) -> Finding {
    const NAME: &str = "maxmemory-policy";
    if let Some((node, policy)) = nodes.iter().find_map(|node| Some((node, eviction(node)?))) {
        let remedy = "as its administrator: CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE";
        if node.number("maxmemory") == 0 {
            let meaning = "Once maxmemory is set, Redis signs people out to make room.";
            return Finding::note(NAME, format!("{policy}, without a maxmemory"), meaning)
                .with_remedy(remedy);
        }
        let gone = nodes.iter().map(|node| node.number("evicted_keys")).sum::<u64>();
        let meaning = "Where memory is short, Redis signs people out to make room.";
        return Finding::wrong(NAME, format!("{policy}; {gone} keys have gone so far"), meaning)
            .with_remedy(remedy);
    }
    let is_full = |node: &&Node| {
        let most = node.number("maxmemory");
        most > 0 && node.number("used_memory") / 9 >= most / 10
    };
    if let Some(node) = nodes.iter().find(is_full) {
        let seen = format!(
            "noeviction; {} of {} are used",
            node.get("used_memory_human"),
            node.get("maxmemory_human")
        );
        let meaning = "When memory is short nobody can sign in: changes are refused.";
        return Finding::note(NAME, seen, meaning).with_remedy("run `sessile purge`, or raise maxmemory");
    }
    match nodes.is_empty() {
        true => Finding::note(
            NAME,
            "the server does not tell",
            "Unless it is noeviction, people may be signed out.",
        ),
        false => Finding::good(NAME, "noeviction", "Nobody is signed out to make room."),
    }
}

fn replicas(nodes: &[Node], guarded: bool) -> Finding {
    let count: u64 = nodes.iter().map(|node| node.number("connected_slaves")).sum();
    let seen = match count {
        1 => "1 replica follows".to_owned(),
        count => format!("{count} replicas follow"),
    };
    match (count, guarded) {
        (0, _) => {
            let meaning =
                "There is no failover that could forget a logout, and no second copy of the sessions.";
            Finding::good("replication", "no replica follows", meaning)
        }
        (_, true) => {
            let meaning = "A failover can undo the last moments, and somebody who signed out is signed in again; \
                never more than min-replicas-max-lag of them.";
            Finding::note("replication", format!("{seen}, min-replicas-to-write is set"), meaning)
        }
        (_, false) => {
            let meaning = "A failover undoes what the replica had not received, however long it was cut off: \
                somebody who signed out is signed in again.";
            Finding::note("replication", seen, meaning).with_remedy(
                "as its administrator: CONFIG SET min-replicas-to-write 1 bounds it; where a logout has to be \
                 final, use PostgreSQL",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(some: &str) -> Node {
        let usual = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nconnected_slaves:0\r\naof_enabled:1\r\n\
            aof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        Node::of(&format!("{usual}{some}"))
    }

    fn bad(findings: &[Finding]) -> Vec<(&str, Verdict)> {
        let bad = findings.iter().filter(|it| it.verdict != Verdict::Good);
        bad.map(|it| (&*it.subject, it.verdict)).collect()
    }

    /// [R13] [R06]
    #[test]
    fn what_forgets_a_session_is_said() {
        use Verdict::{Note, Wrong};
        assert_eq!(bad(&worth(&[node("")], Some("always"), false)), []);
        for (told, sync, subject, verdict) in [
            ("aof_enabled:0", Some("always"), "appendonly", Wrong),
            ("", Some("everysec"), "appendfsync", Note),
            ("", Some("no"), "appendfsync", Wrong),
            ("", None, "appendfsync", Note),
            ("aof_last_write_status:err", Some("always"), "disk", Wrong),
            ("rdb_last_bgsave_status:err", Some("always"), "disk", Wrong),
            ("maxmemory_policy:allkeys-lru", Some("always"), "maxmemory-policy", Note),
            ("maxmemory_policy:volatile-ttl\r\nmaxmemory:1000000", Some("always"), "maxmemory-policy", Wrong),
            ("maxmemory:1000000\r\nused_memory:950000", Some("always"), "maxmemory-policy", Note),
            ("connected_slaves:1", Some("always"), "replication", Note),
        ] {
            // One node of several is enough.
            let found = worth(&[node(""), node(told)], sync, false);
            assert_eq!(bad(&found), [(subject, verdict)], "{told}");
        }
    }

    #[test]
    fn a_replica_or_an_old_server_is_wrong() {
        for (told, verdict) in [
            ("", Verdict::Good),
            ("redis_version:6.2.0", Verdict::Good),
            ("redis_version:6.0.16", Verdict::Wrong),
            ("role:slave", Verdict::Wrong),
        ] {
            assert_eq!(server(&[node(told)], "h:1").verdict, verdict, "{told}");
        }
    }

    #[test]
    fn a_cluster_serves_all_of_its_slots_or_is_wrong() {
        for (told, verdict) in [
            ("cluster_state:ok\r\ncluster_slots_ok:16384\r\n", Verdict::Good),
            ("cluster_state:ok\r\ncluster_slots_ok:10923\r\n", Verdict::Wrong),
            ("cluster_state:fail\r\ncluster_slots_ok:16384\r\n", Verdict::Wrong),
        ] {
            assert_eq!(cluster(&Node::of(told)).verdict, verdict, "{told}");
        }
    }
}
