//! `cargo xtask test`: the set-up, the programs of `tests/links`, the servers, then every test of the workspace.

use std::process::{Command, ExitCode};

use crate::links;
use crate::problem::Problem;
use crate::servers::Servers;
use crate::setup;
use crate::step::command_line;

/// Sets up and runs `cargo test` with `extra` arguments; the exit code is cargo's.
pub(crate) fn run(extra: &[&str]) -> Result<ExitCode, Problem> {
    let ready = setup::run()?;
    if !names_packages(extra) {
        links::check(&setup::target_folder()?)?;
    }
    let servers = Servers::start(&ready.servers)?;
    // cargo names itself to what it runs: the same toolchain tests as built us.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(setup::workspace_root())
        .args(arguments(extra))
        .env("SESSILE_TEST_CHROMIUM", ready.chromium)
        .env("SESSILE_TEST_CHROMEDRIVER", ready.chromedriver)
        .env("SESSILE_TEST_PYTHON", ready.python)
        .env("SESSILE_TEST_TOWER_SESSIONS", ready.tower_sessions)
        .env("SESSILE_TEST_VALKEY", ready.valkey)
        .envs(servers.variables());
    println!("cargo {}", arguments(extra).join(" "));
    let status = command
        .status()
        .map_err(|cause| Problem::new(format!("cannot run `{}`: {cause}", command_line(&command))))?;
    servers.end()?;
    // No code: a signal ended it.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// The whole workspace, unless `extra` names packages: cargo would ignore them beside `--workspace`.
fn arguments<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["test", "--no-fail-fast"];
    if !names_packages(extra) {
        all.push("--workspace");
    }
    all.push("--all-features");
    all.extend(extra);
    all
}

fn names_packages(extra: &[&str]) -> bool {
    let mut to_cargo = extra.iter().take_while(|word| **word != "--");
    to_cargo.any(|word| word.starts_with("-p") || word.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_named() {
        assert_eq!(arguments(&[]), ["test", "--no-fail-fast", "--workspace", "--all-features"]);
        assert_eq!(
            arguments(&["-p", "sessile", "json", "--", "-p"]),
            ["test", "--no-fail-fast", "--all-features", "-p", "sessile", "json", "--", "-p"]
        );
        assert_eq!(
            arguments(&["--", "--package"]),
            ["test", "--no-fail-fast", "--workspace", "--all-features", "--", "--package"]
        );
    }
}
