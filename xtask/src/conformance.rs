//! `cargo xtask conformance`: the suite on every store, one table, and docs/stores.md brought up to date.

use std::process::{Command, ExitCode, Stdio};

use crate::document::{self, Marks};
use crate::problem::Problem;
use crate::setup;
use crate::step::command_line;

/// What writes the table into the document.
const COMMAND: &str = "cargo xtask conformance --write";

/// Runs the suite, with `matrix` also on other versions and set-ups of the servers, and prints the table, which
/// `write` also keeps. The exit code is 1 when a case failed.
pub(crate) fn run(matrix: bool, write: bool) -> Result<ExitCode, Problem> {
    setup::all_servers()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(setup::workspace_root())
        .args(["run", "--package", "sessile-test-stores", "--bin", "conformance"])
        .stderr(Stdio::inherit());
    if matrix {
        command.args(["--", "--matrix"]).envs(setup::matrix()?);
    }
    let line = command_line(&command);
    println!("{line}");
    let ran = command.output().map_err(|cause| Problem::new(format!("cannot run `{line}`: {cause}")))?;
    let table = String::from_utf8_lossy(&ran.stdout).into_owned();
    if !table.contains("**all cases**") {
        return Err(Problem::new(format!("`{line}` printed no table: {}", ran.status)));
    }
    print!("{table}");
    if write {
        let stores = setup::workspace_root().join("docs/stores.md");
        document::keep(&table, &Marks::of(COMMAND), &stores)?;
    }
    Ok(if ran.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
