//! The server: whether it takes writes, and what of them survives its end.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::super::fault::Place;
use super::super::pooler::Pooling;
use super::text;
use crate::store::{Finding, finding};

/// The oldest version with all that the statements use.
const OLDEST: u32 = 120_000;

/// Settings with where each was set.
pub(super) struct Settings(HashMap<String, (String, String)>);

impl Settings {
    pub(super) fn of(rows: &[Row]) -> Settings {
        let read = |row: &Row| Some((text(row, 0).ok()?, (text(row, 1).ok()?, text(row, 2).ok()?)));
        Settings(rows.iter().filter_map(read).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("?", |(setting, _)| setting)
    }

    fn source(&self, name: &str) -> &str {
        self.0.get(name).map_or("?", |(_, source)| source)
    }

    fn is_off(&self, name: &str) -> bool {
        self.get(name) == "off"
    }
}

/// What anybody may know of it.
pub(super) struct Server {
    /// Whether it is a standby.
    pub(super) follows: bool,
    user: String,
    followers: i64,
    connections: i64,
}

impl Server {
    pub(super) fn of(row: &Row) -> Result<Server, tokio_postgres::Error> {
        Ok(Server {
            follows: row.try_get(0)?,
            user: row.try_get(1)?,
            followers: row.try_get(2)?,
            connections: row.try_get(3)?,
        })
    }
}

/// Which server answered, and whether it is one to write to.
pub(super) fn reached(settings: &Settings, server: &Server, place: &Place) -> Vec<Finding> {
    let version = settings.get("server_version");
    let seen = format!("PostgreSQL {version} at {}, as {}", place.server, server.user);
    let old = settings.get("server_version_num").parse().is_ok_and(|number: u32| number < OLDEST);
    let mut findings = vec![if old {
        let meaning = "Some of what sessile asks for is not known to it.";
        Finding::wrong("server", seen, meaning).with_remedy("use PostgreSQL 12 or later")
    } else {
        Finding::good("server", seen, "It answers.")
    }];
    const REFUSED: &str = "Every change is refused: nobody can sign in, nobody can sign out.";
    if server.follows {
        let seen = "this server is a standby and takes no writes";
        findings.push(Finding::wrong("read_only", seen, REFUSED).with_remedy(
            "name the primary; with several hosts in the URL, add target_session_attrs=read-write",
        ));
    }
    findings.push(finding::connections(server.connections, settings.get("max_connections")));
    findings
}

/// Whether a pooler is in between, of which kind, and whether the store URL says so.
pub(super) fn pooler(found: Option<Pooling>, is_expected: bool, can_listen: bool) -> Finding {
    const NAME: &str = "pooler";
    match (found, is_expected) {
        (None, false) => Finding::good(NAME, "none", "The connections lead to the server itself."),
        (Some(Pooling::Sessions), false) => Finding::good(
            NAME,
            "a pooler in session mode",
            "Each connection of ours keeps one of the server's for itself: sessile works as without a pooler.",
        ),
        (Some(Pooling::Transactions), true) if can_listen => Finding::good(
            NAME,
            "a pooler in transaction mode, as ?pooler=transaction says; the feed of changes has a URL of its own",
            "Nothing is set for longer than a transaction: other programs on the pool notice nothing.",
        ),
        (Some(Pooling::Transactions), true) => Finding::note(
            NAME,
            "a pooler in transaction mode, as ?pooler=transaction says",
            "It passes no notifications on: there is no feed of changes, and no cache over it.",
        )
        .with_remedy("where a cache is wanted, name the server itself with &feed_url="),
        (Some(Pooling::Transactions), false) => Finding::wrong(
            NAME,
            "a pooler in transaction mode, and the store is not told of it",
            "Connections that are made from now on are refused, and requests are answered with 503.",
        )
        .with_remedy("add ?pooler=transaction to the store URL"),
        (None | Some(Pooling::Sessions), true) => Finding::note(
            NAME,
            "?pooler=transaction, and no pooler in transaction mode is there",
            "It works, and each statement costs a transaction with settings of its own.",
        )
        .with_remedy("leave the option out"),
    }
}

/// What is left of an answered logout after a crash, a power cut, a failover.
pub(super) fn durability(settings: &Settings, server: &Server) -> Vec<Finding> {
    // A standby commits nothing.
    let mut findings = if server.follows { Vec::new() } else { vec![commits(settings, server)] };
    findings.push(switch(
        settings,
        "fsync",
        "What is committed is on the disk.",
        "A power cut can lose commits and destroy the whole database: logouts are undone, or everybody is \
         signed out.",
        "as its administrator: ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()",
    ));
    findings.push(switch(
        settings,
        "full_page_writes",
        "A page that a power cut tore is made whole again.",
        "A power cut in the middle of a write can destroy pages of the table: the sessions on them are lost, \
         or an old state of them comes back.",
        "as its administrator: ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf(); off is right \
         only on a file system that never tears a page, such as ZFS",
    ));
    findings.push(vacuum(settings));
    if !server.follows {
        findings.push(replication(settings, server));
    }
    findings
}

fn commits(settings: &Settings, server: &Server) -> Finding {
    const NAME: &str = "synchronous_commit";
    let value = settings.get(NAME);
    let seen = format!("{value}, {}", set_in(settings, NAME));
    if value == "off" {
        let meaning = "A crash of the server can undo the last moments (three times wal_writer_delay, 0.6 s \
            unless it was changed): somebody who signed out is signed in again.";
        return Finding::wrong(NAME, seen, meaning).with_remedy(role_setting(server, NAME, "on"));
    }
    let meaning =
        "A logout that was answered is on this server's disk: neither a crash nor a power cut undoes it.";
    Finding::good(NAME, seen, meaning)
}

fn switch(settings: &Settings, name: &'static str, on: &str, off: &str, remedy: &str) -> Finding {
    match settings.is_off(name) {
        true => Finding::wrong(name, format!("off, {}", set_in(settings, name)), off).with_remedy(remedy),
        false => Finding::good(name, settings.get(name), on),
    }
}

fn vacuum(settings: &Settings) -> Finding {
    let off = ["autovacuum", "track_counts"].into_iter().find(|name| settings.is_off(name));
    match off {
        None => Finding::good("autovacuum", "on", "The places of old rows are used again."),
        Some(name) => {
            let seen = format!("{name} is off, {}", set_in(settings, name));
            let meaning = "Each change of a session leaves an old row behind: the table grows, every request \
                gets slower, and in the end the server stops taking writes.";
            Finding::wrong("autovacuum", seen, meaning).with_remedy(format!(
                "as its administrator: ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()"
            ))
        }
    }
}

fn replication(settings: &Settings, server: &Server) -> Finding {
    const FORGETS: &str = "After a failover to a standby the last logouts can be undone: somebody who signed \
        out is signed in again.";
    const REMEDY: &str = "where that matters: synchronous_standby_names = 'ANY 1 (*)' with synchronous_commit = \
        on, and at least two standbys, so that one may fail";
    let awaited = !matches!(settings.get("synchronous_standby_names"), "" | "?");
    let waits = !matches!(settings.get("synchronous_commit"), "off" | "local");
    let standbys = match server.followers {
        1 => "1 standby follows".to_owned(),
        some => format!("{some} standbys follow"),
    };
    match (server.followers, awaited, waits) {
        (0, false, _) => {
            let meaning =
                "There is no failover that could forget a logout, and no second copy of the sessions.";
            Finding::good("replication", "no standby follows this server", meaning)
        }
        (0, true, true) => {
            let meaning = "Commits wait for a standby, and none is there: they wait for ever, and requests \
                that change a session are answered with 503.";
            Finding::wrong("replication", "synchronous_standby_names is set, and no standby follows", meaning)
                .with_remedy("start the standby, or empty synchronous_standby_names and reload")
        }
        (_, true, true) => {
            let seen = format!("{standbys}, and commits wait for those in synchronous_standby_names");
            Finding::good(
                "replication",
                seen,
                "A logout that was answered survives a failover to one of these.",
            )
        }
        (_, true, false) => {
            let value = settings.get("synchronous_commit");
            let seen =
                format!("{standbys}; our commits do not wait for them, for synchronous_commit is {value}");
            Finding::note("replication", seen, FORGETS).with_remedy(role_setting(
                server,
                "synchronous_commit",
                "on",
            ))
        }
        (_, false, _) => {
            let seen = format!("{standbys}, and commits do not wait for them");
            Finding::note("replication", seen, FORGETS).with_remedy(REMEDY)
        }
    }
}

/// Where a setting was made, in words.
fn set_in(settings: &Settings, name: &str) -> String {
    match settings.source(name) {
        "default" => "as it comes".to_owned(),
        "user" => "set for this role".to_owned(),
        "database" => "set for this database".to_owned(),
        "database user" => "set for this role in this database".to_owned(),
        "client" => "set by the options in the URL".to_owned(),
        "configuration file" | "command line" | "global" => "set for the whole server".to_owned(),
        other => format!("source: {other}"),
    }
}

fn role_setting(server: &Server, name: &str, value: &str) -> String {
    let role = server.user.replace('"', "\"\"");
    format!(
        "ALTER ROLE \"{role}\" SET {name} = {value}, unless the URL or ALTER ROLE … IN DATABASE sets it: then there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Verdict;

    fn settings(some: &[(&str, &str)]) -> Settings {
        let usual = [
            ("synchronous_commit", "on"),
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("autovacuum", "on"),
            ("track_counts", "on"),
            ("synchronous_standby_names", ""),
            ("max_connections", "100"),
        ];
        let all = usual.iter().chain(some);
        Settings(
            all.map(|(name, it)| ((*name).to_owned(), ((*it).to_owned(), "default".to_owned()))).collect(),
        )
    }

    fn server(followers: i64) -> Server {
        Server { follows: false, user: "a\"b".to_owned(), followers, connections: 5 }
    }

    fn verdicts(findings: &[Finding]) -> Vec<(&str, Verdict)> {
        let bad = findings.iter().filter(|finding| finding.verdict != Verdict::Good);
        bad.map(|finding| (&*finding.subject, finding.verdict)).collect()
    }

    #[test]
    fn a_server_as_it_comes_is_good() {
        assert_eq!(verdicts(&durability(&settings(&[]), &server(0))), []);
    }

    /// [R06] Each by itself.
    #[test]
    fn what_can_undo_a_logout_is_wrong() {
        for (name, subject) in [
            ("synchronous_commit", "synchronous_commit"),
            ("fsync", "fsync"),
            ("full_page_writes", "full_page_writes"),
            ("autovacuum", "autovacuum"),
            ("track_counts", "autovacuum"),
        ] {
            let findings = durability(&settings(&[(name, "off")]), &server(0));
            assert_eq!(verdicts(&findings), [(subject, Verdict::Wrong)], "{name}");
        }
        let findings = durability(&settings(&[("synchronous_commit", "off")]), &server(0));
        assert!(findings[0].meaning.contains("somebody who signed out is signed in again"));
        assert!(
            findings[0]
                .remedy
                .as_deref()
                .unwrap()
                .starts_with("ALTER ROLE \"a\"\"b\" SET synchronous_commit")
        );
    }

    #[test]
    fn a_failover_is_safe_only_where_commits_wait_for_a_standby() {
        for (names, commit, followers, verdict) in [
            ("", "on", 1, Some(Verdict::Note)),
            ("*", "on", 1, None),
            ("*", "remote_write", 2, None),
            ("*", "local", 1, Some(Verdict::Note)),
            ("*", "local", 0, Some(Verdict::Note)),
            ("*", "on", 0, Some(Verdict::Wrong)),
        ] {
            let settings = settings(&[("synchronous_standby_names", names), ("synchronous_commit", commit)]);
            let found = durability(&settings, &server(followers));
            let wanted: Vec<_> = verdict.map(|verdict| ("replication", verdict)).into_iter().collect();
            assert_eq!(verdicts(&found), wanted, "{names} {commit} {followers}");
        }
    }

    /// [R19]
    #[test]
    fn a_pooler_is_good_where_the_store_is_told_of_it() {
        use Pooling::{Sessions, Transactions};
        for (found, is_expected, can_listen, verdict) in [
            (None, false, true, Verdict::Good),
            (Some(Sessions), false, true, Verdict::Good),
            (Some(Transactions), true, true, Verdict::Good),
            (Some(Transactions), true, false, Verdict::Note),
            (Some(Transactions), false, true, Verdict::Wrong),
            (None, true, true, Verdict::Note),
            (Some(Sessions), true, false, Verdict::Note),
        ] {
            let finding = pooler(found, is_expected, can_listen);
            assert_eq!(finding.verdict, verdict, "{found:?} {is_expected} {can_listen}");
            assert_eq!(finding.remedy.is_some(), verdict != Verdict::Good, "{finding:?}");
        }
    }

    #[test]
    fn a_standby_is_no_place_to_write() {
        let place = Place {
            user: crate::store::user_column::UserColumn::unseen(),
            server: "h:1/d".to_owned(),
            url: String::new(),
            table: "t".to_owned(),
            limit: crate::store::limit::TimeLimit::new(std::time::Duration::ZERO),
            lock_wait: std::time::Duration::ZERO,
        };
        let standby = Server { follows: true, connections: 95, ..server(0) };
        let found = reached(&settings(&[("server_version_num", "110022")]), &standby, &place);
        let wanted =
            [("server", Verdict::Wrong), ("read_only", Verdict::Wrong), ("connections", Verdict::Note)];
        assert_eq!(verdicts(&found), wanted);
        assert_eq!(verdicts(&durability(&settings(&[("synchronous_commit", "off")]), &standby)), []);
    }
}
