//! `cargo xtask conformance`: the suite on every store, one table, and docs/stores.md brought up to date.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::problem::Problem;
use crate::setup;
use crate::step::command_line;

/// Where the table stands in the document; what is around it is written by hand.
const BEGIN: &str = "<!-- cargo xtask conformance --write: begin -->";
const END: &str = "<!-- cargo xtask conformance --write: end -->";

/// Runs the suite and prints the table, which `write` also keeps. The exit code is 1 when a case failed.
pub(crate) fn run(write: bool) -> Result<ExitCode, Problem> {
    setup::all_servers()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(setup::workspace_root())
        .args(["run", "--package", "sessile-test-stores", "--bin", "conformance"])
        .stderr(Stdio::inherit());
    let line = command_line(&command);
    println!("{line}");
    let ran = command.output().map_err(|cause| Problem::new(format!("cannot run `{line}`: {cause}")))?;
    let table = String::from_utf8_lossy(&ran.stdout).into_owned();
    if !table.contains("**all cases**") {
        return Err(Problem::new(format!("`{line}` printed no table: {}", ran.status)));
    }
    print!("{table}");
    if write {
        keep(&table, &setup::workspace_root().join("docs/stores.md"))?;
    }
    Ok(if ran.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn keep(table: &str, document: &Path) -> Result<(), Problem> {
    let text = fs::read_to_string(document).map_err(|cause| Problem::file("read", document, &cause))?;
    let text = replaced(&text, table).ok_or_else(|| {
        Problem::new(format!("{} must hold `{BEGIN}`, and `{END}` after it", document.display()))
    })?;
    fs::write(document, text).map_err(|cause| Problem::file("write", document, &cause))
}

/// The text with this table between the marks; `None` when it does not have them.
fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("by hand\n{BEGIN}\nold\n{END}\nby hand, too\n");
        let once = replaced(&text, "new\n").unwrap();
        assert_eq!(once, format!("by hand\n{BEGIN}\nnew\n{END}\nby hand, too\n"));
        assert_eq!(replaced(&once, "new\n").unwrap(), once);
        assert_eq!(replaced("no marks", "new\n"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new\n"), None);
    }
}
