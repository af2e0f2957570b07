//! Programs that link sessile's SQLite store beside other users of the native SQLite library: `tests/links`, each a
//! workspace of its own, because a lock file holds one version of `libsqlite3-sys`.

use std::path::Path;
use std::process::Command;

use crate::problem::Problem;
use crate::setup;
use crate::step::{output, step};

/// Folders in `tests/links`, and what is done there. The oldest and the newest SQLite also run the conformance suite.
const LINKS: [(&str, &str); 6] = [
    ("sqlx-0.8", "test"),
    ("sqlx-0.9", "check"),
    ("sea-orm-1", "check"),
    ("sea-orm-2", "check"),
    ("rusqlite-0.37", "check"),
    ("rusqlite-newest", "test"),
];

/// Makes sure that each of them resolves, and compiles. They share a folder inside `target`. The lock files pick the
/// versions; cargo adds to them what sessile has come to depend on, so this runs without `--locked`.
pub(crate) fn check(target: &Path) -> Result<(), Problem> {
    LINKS.iter().try_for_each(|(link, action)| {
        step(&format!("sessile beside {link}: cargo {action}"), || {
            // cargo names itself to what it runs: one toolchain for all.
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.current_dir(setup::workspace_root().join("tests/links").join(link));
            command.args([action, "--target-dir"]).arg(target.join("links"));
            let remedy = "The range of rusqlite in Cargo.toml and what the store uses of it have to fit all of tests/links.";
            output(&mut command, remedy).map(drop)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_is_checked() {
        let folder = setup::workspace_root().join("tests/links");
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("Cargo.toml").exists())
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        let mut checked = LINKS.map(|(link, _)| link.to_owned());
        checked.sort();
        assert_eq!(found, checked);
    }
}
