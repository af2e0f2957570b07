//! What was aimed at, and whether it was reached.

use super::lines::Cell;
use super::samples::{Samples, Spread, median, ratio};

/// The databases, as they are written and as subjects name them.
pub(crate) const DATABASES: [(&str, &str); 5] = [
    ("in memory", "memory"),
    ("SQLite", "sqlite"),
    ("PostgreSQL", "postgres"),
    ("MariaDB", "mariadb"),
    ("Redis", "redis"),
];

/// Requests per second at 64 clients, as a ratio to bare axum: subject, work, at least.
const RATES: [(&str, &str, f64); 12] = [
    ("sessile-sqlite-normal", "read", 0.68),
    ("sessile-sqlite-full", "read", 0.68),
    ("sessile-sqlite-normal", "change", 0.16),
    ("sessile-sqlite-full", "change", 0.16),
    ("sessile-postgres", "read", 0.52),
    ("sessile-postgres", "change", 0.25),
    ("sessile-postgres-cached", "read", 0.75),
    ("sessile-postgres-cached", "change", 0.30),
    ("sessile-mariadb", "read", 0.30),
    ("sessile-mariadb", "change", 0.10),
    ("sessile-redis", "read", 0.50),
    ("sessile-redis", "change", 0.33),
];

/// Requests that need no session, by the server's processor time.
const IDLE: [&str; 3] = ["untouched, no cookie", "untouched, cookie", "anonymous"];
const IDLE_AT_MOST: f64 = 1.05;

/// A lone request, by its median latency, against a pool by hand: ours, the pool.
const LONE: [(&str, &str); 5] = [
    ("sessile-sqlite-full", "hand-sqlite-full"),
    ("sessile-postgres", "hand-postgres"),
    ("sessile-postgres-cached", "hand-postgres"),
    ("sessile-mariadb", "hand-mariadb"),
    ("sessile-redis", "hand-redis"),
];
const LONE_AT_MOST: f64 = 1.05;

/// A session's life, by requests per second, against the best of the other libraries on that database.
const LIFE: [&str; 3] = ["create", "login", "logout"];
const LIFE_AT_LEAST: f64 = 2.0;

const PURGE_AT_MOST: f64 = 2.0;
const SQLITE_WRITER_MILLIS: f64 = 50.0;
/// How much slower requests may be beside rows that others have locked.
const LOCKS_AT_MOST: f64 = 1.2;
const SIZE_AT_MOST: f64 = 1.3;
const KEPT_BYTES: f64 = 1.6 * 1024.0;

/// One line of the table.
pub(crate) struct Aim {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) found: Spread,
    pub(crate) met: bool,
}

impl Aim {
    fn at_least(what: String, bound: f64, found: Spread) -> Self {
        Self { what, wanted: format!("≥ {bound}"), found, met: found.median >= bound }
    }

    fn at_most(what: String, bound: f64, found: Spread) -> Self {
        Self { what, wanted: format!("≤ {bound}"), found, met: found.median <= bound }
    }
}

/// The aim for a bar of a chart.
pub(crate) fn rate(subject: &str, work: &str) -> Option<f64> {
    RATES.iter().find(|(name, of, _)| *name == subject && *of == work).map(|(_, _, bound)| *bound)
}

/// Those aims about which something was measured.
pub(crate) fn all(samples: &Samples) -> Vec<Aim> {
    let mut aims = Vec::new();
    for work in IDLE {
        let rounds = samples.rounds("web", "sessile-sqlite-full", work);
        if let Some(found) = Spread::of(rounds.iter().map(|cell| cell.server / cell.bare_server)) {
            aims.push(Aim::at_most(format!("{work}: server CPU ÷ bare"), IDLE_AT_MOST, found));
        }
    }
    for (subject, work, bound) in RATES {
        if let Some(found) = ratio(samples.rounds("web", subject, work)) {
            aims.push(Aim::at_least(format!("{work}, {subject}: requests/s ÷ bare"), bound, found));
        }
    }
    lone(samples, &mut aims);
    life(samples, &mut aims);
    purge(samples, &mut aims);
    locks(samples, &mut aims);
    size(samples, &mut aims);
    for memory in samples.memory.iter().filter(|memory| memory.what == "kept by the cache") {
        let found = exactly(memory.counted);
        aims.push(Aim::at_most("bytes for a cached session of 1 KiB".to_owned(), KEPT_BYTES.round(), found));
    }
    aims
}

fn lone(samples: &Samples, aims: &mut Vec<Aim>) {
    for (ours, pool) in LONE {
        for work in ["read", "change"] {
            let of = |subject| samples.rounds("lone", subject, work);
            if let Some(found) = quotient(of(ours), of(pool), |cell| cell.p50) {
                aims.push(Aim::at_most(format!("lone {work}, {ours}: p50 ÷ {pool}"), LONE_AT_MOST, found));
            }
        }
    }
}

fn life(samples: &Samples, aims: &mut Vec<Aim>) {
    let subjects = samples.subjects("web");
    let of = |subject: &str, work| samples.rounds("web", subject, work);
    for (_, database) in DATABASES {
        let on: Vec<&str> =
            subjects.iter().copied().filter(|subject| database_of(subject) == database).collect();
        for ours in on.iter().filter(|subject| subject.starts_with("sessile-")) {
            for work in LIFE {
                let Some(best) = best_peer(samples, &on, work) else { continue };
                let relative = |cell: &Cell| cell.rate / cell.bare_rate;
                if let Some(found) = quotient(of(ours, work), of(best, work), relative) {
                    let what = format!("{work}, {ours}: requests/s ÷ {best}, the best peer");
                    aims.push(Aim::at_least(what, LIFE_AT_LEAST, found));
                }
            }
        }
    }
}

/// The fastest of the other libraries among the subjects. A fast failure is no result.
fn best_peer<'a>(samples: &Samples, subjects: &[&'a str], work: &str) -> Option<&'a str> {
    let rates = subjects.iter().copied().filter(|subject| is_peer(subject)).filter_map(|peer| {
        let rounds = samples.rounds("web", peer, work);
        let answered = rounds.iter().all(|cell| cell.failed == 0.0);
        Some((peer, ratio(rounds).filter(|_| answered)?.median))
    });
    rates.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(peer, _)| peer)
}

fn purge(samples: &Samples, aims: &mut Vec<Aim>) {
    for during in samples.purges.iter().filter(|purge| purge.phase != "before") {
        let what = format!("{}, {}, purge {}", during.work, during.subject, during.phase);
        let before = samples.purges.iter().find(|before| {
            before.phase == "before" && before.subject == during.subject && before.work == during.work
        });
        if let Some(before) = before {
            let found = exactly(during.p99 / before.p99);
            aims.push(Aim::at_most(format!("{what}: p99 ÷ before"), PURGE_AT_MOST, found));
        }
        if during.subject.contains("sqlite") && during.work == "change" {
            let found = exactly(during.max / 1e3);
            aims.push(Aim::at_most(format!("{what}: longest wait, ms"), SQLITE_WRITER_MILLIS, found));
        }
    }
}

fn locks(samples: &Samples, aims: &mut Vec<Aim>) {
    for (store, locked) in samples.locks.keys() {
        let Some(rows @ 1..) = *locked else { continue };
        let what = format!("{rows} locked rows, {store}");
        if let Some(found) = samples.beside_locks(store, *locked, |beside| beside.rate) {
            let bound = (1e3 / LOCKS_AT_MOST).round() / 1e3;
            aims.push(Aim::at_least(format!("{what}: changes/s of others ÷ without"), bound, found));
        }
        if let Some(found) = samples.beside_locks(store, *locked, |beside| beside.p50) {
            aims.push(Aim::at_most(format!("{what}: p50 of others ÷ without"), LOCKS_AT_MOST, found));
        }
    }
}

fn size(samples: &Samples, aims: &mut Vec<Aim>) {
    for large in samples.sizes.iter().filter(|size| size.operation == "read" && size.rows > 1e6) {
        let small = samples.sizes.iter().find(|small| {
            small.rows < large.rows && small.store == large.store && small.operation == large.operation
        });
        if let Some(small) = small {
            let found = exactly((large.server + large.database) / (small.server + small.database));
            let what = format!("read, {}: CPU at {:e} rows ÷ at {:e}", large.store, large.rows, small.rows);
            aims.push(Aim::at_most(what, SIZE_AT_MOST, found));
        }
    }
}

/// The one that a subject's name holds, the last of them; in memory if it holds none.
pub(crate) fn database_of(subject: &str) -> &'static str {
    let named = DATABASES.iter().rev().find(|(_, database)| subject.contains(database));
    named.map_or(DATABASES[0].1, |(_, database)| database)
}

/// Whether it is another library.
pub(crate) fn is_peer(subject: &str) -> bool {
    !["sessile-", "hand-", "bare"].iter().any(|prefix| subject.starts_with(prefix))
}

/// One number of a cell as a ratio to another cell's, round by round.
fn quotient(these: &[Cell], those: &[Cell], number: impl Fn(&Cell) -> f64) -> Option<Spread> {
    median(those, &number)?;
    Spread::of(these.iter().zip(those).map(|(this, that)| number(this) / number(that)))
}

fn exactly(number: f64) -> Spread {
    Spread { median: number, low: number, high: number }
}

#[cfg(test)]
mod tests {
    use super::super::samples::tests::samples;
    use super::*;

    #[test]
    fn only_what_was_measured_is_judged_and_a_miss_is_a_miss() {
        let mut samples = samples();
        samples.read("web\t1\ttower-sessions-postgres\tcreate\t5000\t50\t50\t1\t1\t0\t50000\t8\t1\t1\n");
        samples.read("web\t1\taxum-session-postgres\tcreate\t4000\t50\t50\t1\t1\t0\t50000\t8\t1\t1\n");
        // Faster, for it answers without having done it; and on another database.
        samples.read("web\t1\tactix-session-postgres\tcreate\t9000\t50\t50\t1\t1\t7\t50000\t8\t1\t1\n");
        samples.read("web\t1\ttower-sessions-redis\tcreate\t9000\t50\t50\t1\t1\t0\t50000\t8\t1\t1\n");
        samples.read("web\t1\tsessile-postgres\tcreate\t15000\t50\t50\t1\t1\t0\t50000\t8\t1\t1\n");
        let aims: Vec<(String, String, bool)> =
            all(&samples).into_iter().map(|aim| (aim.what, aim.wanted, aim.met)).collect();
        let expected = [
            ("read, sessile-postgres: requests/s ÷ bare", "≥ 0.52", false),
            ("create, sessile-postgres: requests/s ÷ tower-sessions-postgres, the best peer", "≥ 2", true),
            ("read, sessile-postgres, purge background: p99 ÷ before", "≤ 2", false),
            ("read, postgres: CPU at 1e7 rows ÷ at 1e4", "≤ 1.3", false),
            ("bytes for a cached session of 1 KiB", "≤ 1638", true),
        ];
        assert_eq!(aims, expected.map(|(what, wanted, met)| (what.to_owned(), wanted.to_owned(), met)));
    }

    #[test]
    fn a_library_is_told_from_what_is_by_hand() {
        assert!(is_peer("tower-sessions-postgres") && is_peer("actix-session-redis"));
        assert!(!is_peer("sessile-redis") && !is_peer("hand-redis") && !is_peer("bare-layer"));
        assert_eq!(rate("sessile-postgres-cached", "read"), Some(0.75));
        assert_eq!(rate("hand-postgres", "read"), None);
    }
}
