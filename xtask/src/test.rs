//! `cargo xtask test`: the set-up, the programs of `tests/links`, the servers, then every test of the workspace.

use std::process::{Command, ExitCode};

use sessile_test_servers::VALKEY;

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
        .env(VALKEY, ready.valkey)
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
    // cargo takes it once.
    if !to_cargo(extra).any(|word| *word == "--all-features") {
        all.push("--all-features");
    }
    all.extend(extra);
    all
}

fn names_packages(extra: &[&str]) -> bool {
    to_cargo(extra).any(|word| word.starts_with("-p") || word.starts_with("--package"))
}

/// Those that are not for the programs of the tests.
fn to_cargo<'a>(extra: &'a [&'a str]) -> impl Iterator<Item = &'a &'a str> {
    extra.iter().take_while(|word| **word != "--")
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
            arguments(&["-p", "sessile", "--all-features", "--", "--all-features"]),
            ["test", "--no-fail-fast", "-p", "sessile", "--all-features", "--", "--all-features"]
        );
        assert_eq!(
            arguments(&["--", "--package"]),
            ["test", "--no-fail-fast", "--workspace", "--all-features", "--", "--package"]
        );
    }
}
