//! Programs that use other session libraries, which the tests switch from: the workspace `peers`, built apart
//! from ours because their SQLite is another version.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::problem::Problem;
use crate::setup;
use crate::step::command_line;

/// Builds the peer on tower-sessions into a folder of its own inside `target`; returns the program.
pub(crate) fn tower_sessions(target: &Path) -> Result<PathBuf, Problem> {
    build("peer-tower-sessions", &target.join("peers"))
}

fn build(package: &str, folder: &Path) -> Result<PathBuf, Problem> {
    // cargo names itself to what it runs: one toolchain for all.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(setup::workspace_root());
    command.args(["build", "--locked", "--manifest-path", "peers/Cargo.toml", "--package", package]);
    command.arg("--target-dir").arg(folder);
    let line = command_line(&command);
    println!("{line}");
    match command.status() {
        Ok(status) if status.success() => Ok(folder.join("debug").join(package)),
        Ok(status) => Err(Problem::new(format!("`{line}` failed: {status}"))),
        Err(cause) => Err(Problem::new(format!("cannot run `{line}`: {cause}"))),
    }
}
