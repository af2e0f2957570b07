//! The server: whether it takes writes, and what of them survives its end.

use std::collections::HashMap;

use mysql_async::Row;

use super::super::fault::Place;
use super::super::row::text_at;
use crate::store::{Finding, finding};

/// Settings and counters by their names, in small letters.
pub(super) struct Server(HashMap<String, String>);

impl Server {
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Server {
        let read = |row: &Row| Some((text_at(row, 0)?.to_ascii_lowercase(), text_at(row, 1)?.to_owned()));
        Server(rows.filter_map(read).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("?", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(&*self.get(name).to_ascii_lowercase(), "on" | "1")
    }

    /// Whether it is a replica that takes no writes.
    pub(super) fn is_read_only(&self) -> bool {
        !matches!(&*self.get("read_only").to_ascii_lowercase(), "off" | "0" | "?")
    }

    fn is_too_old(&self) -> bool {
        let version = self.get("version");
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let of = (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0));
        of < if version.contains("MariaDB") { (10, 5) } else { (8, 0) }
    }
}

/// Which server answered, and whether it is one to write to.
pub(super) fn reached(server: &Server, place: &Place) -> Vec<Finding> {
    let version = server.get("version");
    let kind = if version.contains("MariaDB") { "" } else { "MySQL " };
    let seen = format!("{kind}{version} at {}", place.server);
    let mut findings = vec![if server.is_too_old() {
        let meaning = "Some of what sessile asks for is not known to it.";
        Finding::wrong("server", seen, meaning).with_remedy("use MySQL 8 or MariaDB 10.5, or later")
    } else {
        Finding::good("server", seen, "It answers.")
    }];
    if server.is_read_only() {
        let meaning = "Every change is refused: nobody can sign in, nobody can sign out.";
        findings.push(
            Finding::wrong("read_only", "read_only is on: this server is a replica, or was one", meaning)
                .with_remedy("name the primary; if this is it, SET GLOBAL read_only = OFF"),
        );
    }
    let used = server.get("threads_connected").parse().unwrap_or(0);
    findings.push(finding::connections(used, server.get("max_connections")));
    findings
}

/// What is left of an answered logout after a crash, a power cut, a failover; and what other programs find.
pub(super) fn durability(server: &Server) -> Vec<Finding> {
    let mut findings = vec![log(server)];
    if server.is_on("log_bin") {
        findings.push(binary_log(server));
    }
    findings.extend([doublewrite(server), replication(server), mode(server), zone(server)]);
    findings
}

fn global(name: &str, value: &str) -> String {
    format!("as an administrator: SET GLOBAL {name} = {value}, and the same in its option file")
}

fn log(server: &Server) -> Finding {
    const NAME: &str = "innodb_flush_log_at_trx_commit";
    let seen = server.get(NAME);
    match seen {
        "0" | "2" => {
            let what =
                if seen == "0" { "A crash of the server" } else { "A crash of its machine or a power cut" };
            let meaning =
                format!("{what} can undo the last second: somebody who signed out is signed in again.");
            Finding::wrong(NAME, seen, meaning).with_remedy(global(NAME, "1"))
        }
        _ => {
            let meaning = "A logout that was answered is on this server's disk: a crash does not undo it.";
            Finding::good(NAME, seen, meaning)
        }
    }
}

fn binary_log(server: &Server) -> Finding {
    const NAME: &str = "sync_binlog";
    match server.get(NAME) {
        "1" => Finding::good(NAME, "1", "Nor does a power cut: the binary log has it too."),
        seen => {
            let meaning = "After a power cut the server undoes what its binary log has not kept: somebody who \
                signed out is signed in again.";
            Finding::wrong(NAME, format!("{seen}, and log_bin is on"), meaning).with_remedy(global(NAME, "1"))
        }
    }
}

fn doublewrite(server: &Server) -> Finding {
    const NAME: &str = "innodb_doublewrite";
    let seen = server.get(NAME);
    if matches!(&*seen.to_ascii_lowercase(), "off" | "0" | "detect_only") {
        let meaning = "A power cut in the middle of a write can destroy pages of the table, and the sessions on \
            them.";
        return Finding::wrong(NAME, seen, meaning).with_remedy(
            "set it to ON in the option file and restart; off is right only on a file system that never tears a \
             page, such as ZFS",
        );
    }
    Finding::good(NAME, seen, "A page that a power cut tore is made whole again.")
}

fn replication(server: &Server) -> Finding {
    const FORGETS: &str = "After a failover to a replica the last logouts can be undone: somebody who signed out \
        is signed in again.";
    let replicas: Option<u64> = server.get("slaves_connected").parse().ok();
    let waits = ["rpl_semi_sync_master_status", "rpl_semi_sync_source_status"]
        .into_iter()
        .any(|name| server.is_on(name));
    match replicas {
        _ if !server.is_on("log_bin") => {
            let meaning =
                "There is no failover that could forget a logout, and no second copy of the sessions.";
            Finding::good("replication", "no replica can follow this server, for log_bin is off", meaning)
        }
        Some(0) => {
            let meaning =
                "There is no failover that could forget a logout, and no second copy of the sessions.";
            Finding::good("replication", "no replica follows this server", meaning)
        }
        _ if waits => {
            let seen = "commits wait until a replica has them (semi-synchronous)";
            let meaning =
                "A logout that was answered survives a failover, unless no replica answered in time.";
            Finding::good("replication", seen, meaning)
        }
        count => {
            let seen = match count {
                Some(count) => format!("replicas that follow: {count}; commits do not wait for them"),
                None => "replicas may follow, for log_bin is on; commits do not wait for them".to_owned(),
            };
            Finding::note("replication", seen, FORGETS).with_remedy(
                "where that matters: semi-synchronous replication, and a failover that loses nothing",
            )
        }
    }
}

fn mode(server: &Server) -> Finding {
    let mode = server.get("sql_mode");
    if mode.contains("STRICT_TRANS_TABLES") || mode.contains("STRICT_ALL_TABLES") {
        return Finding::good("sql_mode", "strict", "What does not fit is refused, whoever writes it.");
    }
    let meaning = "Our own connections are strict. What another program writes and what does not fit is cut off \
        silently, and such a session cannot be read.";
    Finding::note("sql_mode", "not strict", meaning).with_remedy(format!(
        "as an administrator: SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, '{}STRICT_TRANS_TABLES'), and the \
         same in its option file",
        if mode.is_empty() { "" } else { "," }
    ))
}

fn zone(server: &Server) -> Finding {
    let (zone, system) = (server.get("time_zone"), server.get("system_time_zone"));
    let seen = if zone == "SYSTEM" { format!("SYSTEM, which is {system}") } else { zone.to_owned() };
    let meaning = "Times are kept in UTC whatever this says. By hand, compare them with UTC_TIMESTAMP(), not with \
        NOW().";
    Finding::good("time_zone", seen, meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Verdict;

    fn server(some: &[(&str, &str)]) -> Server {
        let usual = [
            ("version", "10.11.6-MariaDB"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("log_bin", "OFF"),
            ("sync_binlog", "0"),
            ("innodb_doublewrite", "ON"),
            ("read_only", "OFF"),
            ("sql_mode", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"),
            ("time_zone", "SYSTEM"),
        ];
        Server(usual.iter().chain(some).map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect())
    }

    fn bad(some: &[(&str, &str)]) -> Vec<(String, Verdict)> {
        let findings = durability(&server(some)).into_iter();
        findings.filter(|it| it.verdict != Verdict::Good).map(|it| (it.subject, it.verdict)).collect()
    }

    /// [R06]
    #[test]
    fn what_can_undo_a_logout_is_wrong() {
        use Verdict::{Note, Wrong};
        assert_eq!(bad(&[]), []);
        let flush = "innodb_flush_log_at_trx_commit";
        for (some, subject, verdict) in [
            (&[(flush, "0")][..], flush, Wrong),
            (&[(flush, "2")], flush, Wrong),
            (&[("log_bin", "ON"), ("slaves_connected", "0")], "sync_binlog", Wrong),
            (&[("log_bin", "ON"), ("sync_binlog", "100"), ("slaves_connected", "0")], "sync_binlog", Wrong),
            (&[("innodb_doublewrite", "OFF")], "innodb_doublewrite", Wrong),
            (&[("log_bin", "ON"), ("sync_binlog", "1"), ("slaves_connected", "2")], "replication", Note),
            (&[("log_bin", "ON"), ("sync_binlog", "1")], "replication", Note),
            (&[("sql_mode", "")], "sql_mode", Note),
        ] {
            assert_eq!(bad(some), [(subject.to_owned(), verdict)], "{some:?}");
        }
        let waits = [
            ("log_bin", "ON"),
            ("sync_binlog", "1"),
            ("slaves_connected", "2"),
            ("rpl_semi_sync_master_status", "ON"),
        ];
        assert_eq!(bad(&waits), []);
    }

    #[test]
    fn versions_are_told_apart() {
        for (version, old) in [
            ("10.11.6-MariaDB-0+deb12u1", false),
            ("10.5.0-MariaDB", false),
            ("10.4.34-MariaDB", true),
            ("8.0.36", false),
            ("5.7.44-log", true),
            ("?", false),
        ] {
            assert_eq!(server(&[("version", version)]).is_too_old(), old, "{version}");
        }
    }

    #[test]
    fn a_replica_is_no_place_to_write() {
        for (value, read_only) in [("ON", true), ("NO_LOCK", true), ("1", true), ("OFF", false), ("0", false)]
        {
            assert_eq!(server(&[("read_only", value)]).is_read_only(), read_only, "{value}");
        }
    }
}
