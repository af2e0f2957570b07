//! Where and when it was measured, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::samples::Samples;

/// The crates of ours and of the peers whose versions matter.
const CRATES: [&str; 13] = [
    "axum",
    "rusqlite",
    "tokio-postgres",
    "mysql_async",
    "redis",
    "deadpool-postgres",
    "tower-sessions",
    "tower-sessions-sqlx-store",
    "tower-sessions-redis-store",
    "tower-sessions-moka-store",
    "axum_session",
    "actix-session",
    "sqlx",
];

/// One sentence: the day, the processors, the kernel, the compiler.
pub(crate) fn sentence() -> String {
    let day = said(Command::new("date").args(["-u", "+%F"]));
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rust = said(Command::new("rustc").arg("--version"));
    format!(
        "{day}, {}, Linux {}, {}.\n",
        model(&processors),
        kernel.trim(),
        rust.split(" (").next().unwrap_or_default()
    )
}

fn said(command: &mut Command) -> String {
    let printed = command.output().map(|ran| String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    printed.unwrap_or_default()
}

/// How many processors of which kind.
fn model(processors: &str) -> String {
    let models: Vec<&str> = processors
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model.trim())
        .collect();
    format!("{} cores of {}", models.len(), models.first().unwrap_or(&"an unknown processor"))
}

/// The servers, and the crates in these lock files.
pub(crate) fn versions(samples: &Samples, locks: &[&Path]) -> String {
    let mut versions: Vec<String> =
        samples.versions.iter().map(|(server, version)| format!("{server} {version}")).collect();
    let locks: Vec<String> = locks.iter().filter_map(|lock| fs::read_to_string(lock).ok()).collect();
    for name in CRATES {
        let found: Vec<&str> = locks.iter().flat_map(|lock| locked(lock, name)).collect();
        let mut different: Vec<&str> = Vec::new();
        for version in found {
            if !different.contains(&version) {
                different.push(version);
            }
        }
        if !different.is_empty() {
            versions.push(format!("{name} {}", different.join(" and ")));
        }
    }
    format!("{}.\n", versions.join(", "))
}

/// The versions of this crate in a lock file.
fn locked<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("name = \"{name}\"");
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while let Some(line) = lines.next() {
        if line == name
            && let Some(version) = lines.next().and_then(|line| line.strip_prefix("version = \""))
        {
            versions.push(version.trim_end_matches('"'));
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_by_its_processors() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(model(text), "2 cores of AMD EPYC");
        assert_eq!(model(""), "0 cores of an unknown processor");
    }

    #[test]
    fn a_lock_file_says_every_version() {
        let lock = "[[package]]\nname = \"sqlx\"\nversion = \"0.8.6\"\n\n[[package]]\nname = \"sqlx-core\"\n\
                    version = \"0.8.6\"\n\n[[package]]\nname = \"sqlx\"\nversion = \"0.9.0\"\n";
        assert_eq!(locked(lock, "sqlx"), ["0.8.6", "0.9.0"]);
    }
}
