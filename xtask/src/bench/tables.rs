//! What was measured, as Markdown.

use std::fmt::Write as _;

use super::aims::{self, DATABASES, database_of};
use super::lines::{Beside, Cell, Written};
use super::samples::{Samples, Spread, median, ratio};

/// The works in the order of the tables.
pub(crate) const WORKS: [&str; 8] =
    ["untouched, no cookie", "untouched, cookie", "anonymous", "read", "change", "create", "login", "logout"];

/// What the program calls a table that tells nobody.
const NO_FEED: &str = "none";

/// Every aim about which something is known.
pub(crate) fn aims(samples: &Samples) -> String {
    let mut table = String::from("| aim | wanted | found (min–max) | |\n|---|---|---|---|\n");
    for aim in aims::all(samples) {
        let verdict = if aim.met { "met" } else { "**missed**" };
        let found = if aim.found.low < aim.found.high { spread(aim.found) } else { number(aim.found.median) };
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(table, "| {} | {} | {found} | {verdict} |", aim.what, aim.wanted);
    }
    table
}

/// 64 clients: a table for each database.
pub(crate) fn web(samples: &Samples) -> String {
    let mut text = String::new();
    for (name, database) in DATABASES {
        let rows = rows(samples, "web", database, |cell| cell.rate / cell.bare_rate);
        if rows.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "### {name}\n\n![Requests per second {name}](images/bench-{database}.svg)\n\n\
             | route | subject | requests/s ÷ bare (min–max) | server CPU µs (÷ bare) | database CPU µs | p50 ms | \
             p99 ms | no 200 |\n|---|---|---|---|---|---|---|---|\n{rows}\n"
        );
    }
    text
}

/// One client: a table for all.
pub(crate) fn lone(samples: &Samples) -> String {
    let rows: String =
        DATABASES.iter().map(|(_, database)| rows(samples, "lone", database, |cell| cell.p50)).collect();
    format!(
        "| route | subject | p50 µs (min–max) | server CPU µs (÷ bare) | database CPU µs | p50 ms | p99 ms | \
         no 200 |\n|---|---|---|---|---|---|---|---|\n{rows}"
    )
}

fn rows(samples: &Samples, part: &str, database: &str, first: impl Fn(&Cell) -> f64) -> String {
    let mut rows = String::new();
    let subjects = samples.subjects(part);
    for work in WORKS {
        for subject in subjects.iter().filter(|subject| database_of(subject) == database) {
            let rounds = samples.rounds(part, subject, work);
            let Some(found) = Spread::of(rounds.iter().map(&first)) else { continue };
            let of = |number: fn(&Cell) -> f64| median(rounds, number).unwrap_or(f64::NAN);
            let failed: f64 = rounds.iter().map(|cell| cell.failed).sum();
            let failed = if failed > 0.0 { number(failed) } else { String::new() };
            let _ = writeln!(
                rows,
                "| {work} | {subject} | {} | {:.1} ({:.2}) | {:.1} | {:.2} | {:.2} | {failed} |",
                spread(found),
                of(|cell| cell.server),
                of(|cell| cell.server / cell.bare_server),
                of(|cell| cell.database),
                of(|cell| cell.p50 / 1e3),
                of(|cell| cell.p99 / 1e3),
            );
        }
    }
    rows
}

/// A database as it is written.
fn name_of(database: &str) -> &str {
    DATABASES.iter().find(|(_, of)| *of == database).map_or(database, |(name, _)| *name)
}

/// Before a purge and beside it.
pub(crate) fn purge(samples: &Samples) -> String {
    let mut table = String::from(
        "| subject | requests | purge | requests/s | p50 ms | p99 ms | longest ms | no 200 |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for purge in &samples.purges {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.1} | {} |",
            purge.subject,
            purge.work,
            purge.phase,
            purge.rate,
            purge.p50 / 1e3,
            purge.p99 / 1e3,
            purge.max / 1e3,
            if purge.failed > 0.0 { number(purge.failed) } else { String::new() }
        );
    }
    table += "\n| subject | rows | expired | left to the purge at once | its time | rows/s |\n|---|---|---|---|---|---|\n";
    for purged in &samples.purged {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {:.1} s | {:.0} |",
            purged.subject,
            purged.rows,
            purged.expired,
            purged.removed,
            purged.seconds,
            purged.removed / purged.seconds
        );
    }
    table
}

/// Changes beside rows that another program has locked.
pub(crate) fn locks(samples: &Samples) -> String {
    let mut table = String::from(
        "| store | locked rows | requests for them | changes/s of others | ÷ none locked (min–max) | p50 ms | \
         ÷ none locked (min–max) | p99 ms | longest ms |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for ((store, locked), rounds) in &samples.locks {
        let middle = |number: fn(&Beside) -> f64| {
            Spread::of(rounds.iter().map(number)).map_or(f64::NAN, |found| found.median)
        };
        let ratio = |number| {
            let found = samples.beside_locks(store, *locked, number).filter(|_| *locked != Some(0));
            found.map_or_else(String::new, spread)
        };
        let _ = writeln!(
            table,
            "| {} | {} | {:.0} | {:.0} | {} | {:.2} | {} | {:.2} | {:.1} |",
            name_of(store),
            locked.map_or_else(|| "no transaction".to_owned(), |rows| rows.to_string()),
            middle(|beside| beside.asked),
            middle(|beside| beside.rate),
            ratio(|beside| beside.rate),
            middle(|beside| beside.p50 / 1e3),
            ratio(|beside| beside.p50),
            middle(|beside| beside.p99 / 1e3),
            middle(|beside| beside.max / 1e3),
        );
    }
    table
}

/// The same operations on a small table and on a large one.
pub(crate) fn size(samples: &Samples) -> String {
    let mut table = String::from(
        "| store | operation | rows | our CPU µs | database CPU µs | both ÷ the smallest table's |\n\
         |---|---|---|---|---|---|\n",
    );
    for size in &samples.sizes {
        let smallest = samples
            .sizes
            .iter()
            .filter(|other| other.store == size.store && other.operation == size.operation);
        let smallest = smallest.min_by(|one, other| one.rows.total_cmp(&other.rows)).unwrap_or(size);
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.1} | {:.1} | {:.2} |",
            size.store,
            size.operation,
            size.rows,
            size.server,
            size.database,
            (size.server + size.database) / (smallest.server + smallest.database)
        );
    }
    table
}

/// From an ending elsewhere to the last answer out of the cache.
pub(crate) fn staleness(samples: &Samples) -> String {
    let mut table = String::from(
        "| store | ended by | load beside it | endings | p50 | p99 | p99.9 | worst | told before the answer |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for lag in &samples.lags {
        let beside = if lag.clients > 0.0 { format!("{} clients", lag.clients) } else { "none".to_owned() };
        let _ = writeln!(
            table,
            "| {} | {} | {beside} | {} | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms | {:.1} % |",
            name_of(&lag.store),
            lag.way,
            lag.endings,
            lag.p50 / 1e3,
            lag.p99 / 1e3,
            lag.p999 / 1e3,
            lag.worst / 1e3,
            100.0 * lag.early / lag.endings
        );
    }
    table
}

/// Writes to a table that tells beside the same writes to one that does not.
pub(crate) fn feed(samples: &Samples) -> String {
    let mut table = String::from(
        "| written by | clients | feed | writes/s (min–max) | ÷ without (min–max) | p50 ms | p99 ms | \
         database CPU µs |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut cells: Vec<(&[String; 3], &Vec<Written>)> = samples.writes.iter().collect();
    // The table without a feed first, and clients as numbers.
    cells.sort_by_key(|([writer, clients, feed], _)| (writer, clients.parse::<u64>().ok(), feed != NO_FEED));
    for ([writer, clients, feed], rounds) in cells {
        let without = [writer, clients, NO_FEED].map(ToString::to_string);
        let ratios = samples.writes.get(&without).map(|without| {
            rounds.iter().zip(without).map(|(with, without)| with.rate / without.rate).collect::<Vec<_>>()
        });
        let of = |number: fn(&Written) -> f64| Spread::of(rounds.iter().map(number));
        let middle = |number| of(number).map_or(f64::NAN, |found| found.median);
        let ratio = ratios.filter(|_| feed != NO_FEED).and_then(Spread::of);
        let _ = writeln!(
            table,
            "| {writer} | {clients} | {feed} | {} | {} | {:.2} | {:.2} | {:.1} |",
            of(|round| round.rate).map_or_else(String::new, spread),
            ratio.map_or_else(String::new, spread),
            middle(|round| round.p50 / 1e3),
            middle(|round| round.p99 / 1e3),
            middle(|round| round.database),
        );
    }
    table
}

/// Bytes for each session.
pub(crate) fn memory(samples: &Samples) -> String {
    let mut table = String::from(
        "| a session of 1 KiB | sessions | resident bytes | bytes asked of the allocator |\n|---|---|---|---|\n",
    );
    for memory in &samples.memory {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            memory.what, memory.sessions, memory.resident, memory.counted
        );
    }
    table
}

fn spread(of: Spread) -> String {
    format!("{} ({}–{})", number(of.median), number(of.low), number(of.high))
}

/// As many digits as say something.
fn number(number: f64) -> String {
    match number.abs() {
        large if large >= 100.0 => format!("{number:.0}"),
        medium if medium >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.3}"),
    }
}

/// Requests per second on one database, as bars.
pub(crate) fn bars(samples: &Samples, database: &str, work: &str) -> Vec<(String, Spread)> {
    let subjects = samples.subjects("web").into_iter().filter(|subject| database_of(subject) == database);
    let subjects = subjects.filter(|subject| !subject.starts_with("bare"));
    subjects
        .filter_map(|subject| Some((subject.to_owned(), ratio(samples.rounds("web", subject, work))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::tests::samples;
    use super::*;

    #[test]
    fn a_cell_is_a_row_with_its_spread_and_its_failures() {
        let text = web(&samples());
        let row =
            "| read | sessile-postgres | 0.500 (0.400–0.800) | 20.0 (2.47) | 10.0 | 0.80 | 2.00 | 1.000 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("### PostgreSQL\n") && !text.contains("### Redis"), "{text}");
        assert!(!lone(&samples()).contains("sessile"), "nothing was measured alone");
    }

    #[test]
    fn a_large_table_stands_beside_the_small_one() {
        let text = size(&samples());
        assert!(text.contains("| postgres | read | 10000000 | 18.0 | 9.0 | 1.35 |"), "{text}");
        assert!(purge(&samples()).contains("| 1100000 | 1000000 | 600000 | 12.5 s | 48000 |"));
        assert!(memory(&samples()).contains("| kept by the cache | 100000 | 1700 | 1500 |"));
    }

    #[test]
    fn changes_beside_locks_are_compared_round_by_round() {
        let mut samples = samples();
        for line in [
            "1\tpostgres\tnone\t3000\t1000\t2000\t8000\t0",
            "1\tpostgres\t0\t1000\t4000\t9000\t20000\t0",
            "1\tpostgres\t60\t800\t5000\t9000\t30000\t240",
        ] {
            samples.read(&format!("locks\t{line}\n"));
        }
        let text = locks(&samples);
        assert!(
            text.contains("| PostgreSQL | no transaction | 0 | 3000 | 3.000 (3.000–3.000) | 1.00 |"),
            "{text}"
        );
        assert!(text.contains("| PostgreSQL | 0 | 0 | 1000 |  | 4.00 |  | 9.00 | 20.0 |"), "{text}");
        let row = "| PostgreSQL | 60 | 240 | 800 | 0.800 (0.800–0.800) | 5.00 | 1.250 (1.250–1.250) | 9.00 | 30.0 |";
        assert!(text.contains(row), "{text}");
        let missed =
            "| 60 locked rows, postgres: changes/s of others ÷ without | ≥ 0.833 | 0.800 | **missed** |";
        assert!(aims(&samples).contains(missed), "{}", aims(&samples));
    }

    #[test]
    fn a_lag_says_how_many_were_told_in_time() {
        let text = staleness(&samples());
        let row =
            "| PostgreSQL | SQL | 64 clients | 20000 | 0.002 ms | 2.171 ms | 4.452 ms | 8.243 ms | 49.8 % |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn writes_that_tell_stand_below_those_of_the_same_rounds_that_do_not() {
        let text = feed(&samples());
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| sessile | 8 | none | 5000 (4000–5000) |  | 1.80 | 5.20 | 150.0 |",
                "| sessile | 8 | heard by 1 cache | 3000 (2500–3000) | 0.750 (0.500–0.750) | 2.60 | 7.00 | 210.0 |",
            ]
        );
    }

    #[test]
    fn a_missed_aim_is_written_down_as_missed() {
        let text = aims(&samples());
        let row = "| read, sessile-postgres: requests/s ÷ bare | ≥ 0.52 | 0.500 (0.400–0.800) | **missed** |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn a_subject_belongs_to_the_database_behind_it() {
        assert_eq!(database_of("tower-sessions-moka-postgres"), "postgres");
        assert_eq!(database_of("sessile-memory"), "memory");
        assert_eq!(database_of("bare-layer"), "memory");
        assert_eq!(bars(&samples(), "postgres", "read").len(), 2);
    }
}
