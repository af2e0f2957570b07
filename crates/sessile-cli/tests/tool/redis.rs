//! The tool on a real Redis and a real Cluster.

use serde_json::Value;
use sessile_test_servers::{REDIS_CLUSTER, Redis, shared_url};

use crate::doctor::{about, bad, examined};
use crate::support::Place;

#[track_caller]
fn doctor(url: &str) -> Vec<Value> {
    examined(Place::empty().run(["doctor", "--json", "--store", url]))
}

/// [R07]
#[test]
fn a_server_that_keeps_everything_is_good_and_nothing_is_left_behind() {
    let server = Redis::start_with(&[("appendonly", "yes"), ("appendfsync", "always")]).unwrap();
    let findings = doctor(&server.url());
    assert_eq!(bad(&findings), [""; 0]);
    for subject in ["server", "clock", "writing", "appendfsync", "maxmemory-policy", "replication"] {
        about(&findings, subject);
    }
    assert_eq!(server.command(&["DBSIZE"]).unwrap(), "0");
    let sql = Place::empty().run(["init", "--sql", "--store", &server.url()]);
    assert!(sql.err.ends_with(" needs no table\n"), "{sql:?}");
    assert_eq!(sql.done(), "");
}

/// [R13] [R06]
#[test]
fn what_forgets_sessions_is_said_and_its_remedy_helps() {
    let server = Redis::start_with(&[("maxmemory", "100mb"), ("maxmemory-policy", "volatile-lru")]).unwrap();
    let findings = doctor(&server.url());
    assert_eq!(bad(&findings), ["wrong appendonly", "wrong maxmemory-policy"]);
    assert!(about(&findings, "appendonly")["meaning"].as_str().unwrap().contains("is signed in again"));
    for subject in ["appendonly", "maxmemory-policy"] {
        let remedy = about(&findings, subject)["remedy"].as_str().unwrap();
        for command in remedy.split(": ").nth(1).unwrap().split(", ").filter(|it| it.starts_with("CONFIG")) {
            let words: Vec<&str> = command.split(' ').collect();
            server.command(&words).unwrap();
        }
    }
    assert_eq!(bad(&doctor(&server.url())), [""; 0]);
    server.command(&["CONFIG", "SET", "appendfsync", "everysec"]).unwrap();
    assert_eq!(bad(&doctor(&server.url())), ["note appendfsync"]);
}

/// A replica takes no writes, and its primary tells that it has one.
#[test]
fn a_replica_is_wrong_and_a_primary_with_one_is_a_note() {
    let always = [("appendonly", "yes"), ("appendfsync", "always")];
    let (primary, replica) = (Redis::start_with(&always).unwrap(), Redis::start_with(&always).unwrap());
    let password = primary.url().trim_start_matches("redis://:").split('@').next().unwrap().to_owned();
    replica.command(&["CONFIG", "SET", "masterauth", &password]).unwrap();
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).unwrap();
    let waited = std::time::Instant::now();
    while !primary.command(&["INFO", "replication"]).unwrap().contains("connected_slaves:1") {
        assert!(waited.elapsed().as_secs() < 60, "the replica does not follow");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(bad(&doctor(&primary.url())), ["note replication"]);
    let findings = doctor(&replica.url());
    assert_eq!(bad(&findings), ["wrong server"]);
    assert!(about(&findings, "server")["seen"].as_str().unwrap().ends_with("a replica"), "{findings:?}");
}

/// Who may not ask for the settings is told so, and not that they are wrong.
#[test]
fn what_the_server_does_not_tell_is_a_note() {
    let server = Redis::start_with(&[("appendonly", "yes"), ("appendfsync", "always")]).unwrap();
    server.command(&["ACL", "SETUSER", "ada", "on", ">hunter2", "~*", "+@all", "-config"]).unwrap();
    let url = format!("redis://ada:hunter2@127.0.0.1:{}/", server.port());
    let ran = Place::empty().run(["doctor", "--json", "--store", &url]);
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    assert_eq!(bad(&examined(ran)), ["note appendfsync"]);
    server.command(&["ACL", "SETUSER", "ada", "-evalsha", "-eval"]).unwrap();
    let findings = doctor(&url);
    assert!(bad(&findings).contains(&"wrong writing".to_owned()), "{findings:?}");
}

#[test]
fn a_cluster_tells_its_state_and_its_replicas() {
    let findings = doctor(&shared_url(REDIS_CLUSTER).unwrap());
    let cluster = about(&findings, "cluster");
    assert_eq!(cluster["verdict"], "good", "{cluster}");
    assert!(cluster["seen"].as_str().unwrap().contains("16384 of 16384 slots"), "{cluster}");
    assert_eq!(about(&findings, "writing")["verdict"], "good");
    assert_eq!(about(&findings, "replication")["verdict"], "note");
    assert!(about(&findings, "server")["seen"].as_str().unwrap().ends_with("3 primaries"), "{findings:?}");
}
