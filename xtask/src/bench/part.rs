//! The parts of the benchmarks: which program measures each, and what that may be told.

use super::aims::DATABASES;

/// What can be measured on its own.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// The program and its first words; none where cargo runs it.
    pub(crate) command: &'static [&'static str],
    /// Those it is run for, each apart; none where it is run once.
    pub(crate) databases: &'static [&'static str],
    /// Those it takes, each with a value.
    pub(crate) options: &'static [&'static str],
}

const ALL_DATABASES: [&str; 5] = {
    let [memory, sqlite, postgres, mariadb, redis] = DATABASES;
    [memory.1, sqlite.1, postgres.1, mariadb.1, redis.1]
};
const STORED: &[&str] = &["sqlite", "postgres", "mariadb", "redis"];

/// In the order in which they are measured.
pub(crate) const PARTS: [Part; 9] = [
    Part { name: "process", command: &[], databases: &[], options: &[] },
    Part {
        name: "web",
        command: &["load", "web"],
        databases: &ALL_DATABASES,
        options: &["--rounds", "--seconds", "--only"],
    },
    Part {
        name: "lone",
        command: &["load", "lone"],
        databases: &ALL_DATABASES,
        options: &["--rounds", "--seconds", "--only"],
    },
    Part {
        name: "purge",
        command: &["load", "purge"],
        databases: STORED,
        options: &["--seconds", "--live", "--expired"],
    },
    Part {
        name: "locks",
        command: &["load", "locks"],
        databases: &["postgres", "mariadb"],
        options: &["--rounds", "--seconds"],
    },
    Part { name: "size", command: &["load", "size"], databases: STORED, options: &["--seconds", "--rows"] },
    Part { name: "footprint", command: &["memory"], databases: &[], options: &["--sessions"] },
    Part {
        name: "staleness",
        command: &["staleness", "ends"],
        databases: &["postgres", "redis"],
        options: &["--endings"],
    },
    Part {
        name: "feed",
        command: &["staleness", "writers"],
        databases: &[],
        options: &["--rounds", "--seconds"],
    },
];

impl Part {
    /// The files its results are kept in.
    pub(crate) fn results(&self) -> impl Iterator<Item = String> {
        let ending = if self.command.is_empty() { "txt" } else { "tsv" };
        let of_databases = self.databases.iter().map(|database| format!("{}-{database}.tsv", self.name));
        of_databases.chain([format!("{}.{ending}", self.name)])
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Part> {
        PARTS.iter().find(|part| part.name == name)
    }
}
