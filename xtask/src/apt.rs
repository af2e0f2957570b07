//! Installing packages on Debian and its descendants, or saying how.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::problem::Problem;
use crate::programs::Places;
use crate::step::{output, step};

/// Installs `packages` with apt-get: as root directly, otherwise through `sudo -n`, which never asks.
///
/// Where that cannot be done, the error holds the command to type.
pub(crate) fn install(packages: &[&str], places: &Places) -> Result<(), Problem> {
    let by_hand = by_hand(packages, is_root());
    let Some(apt) = places.first(&["apt-get"]) else {
        return Err(Problem::new(format!(
            "{} missing, and there is no apt-get here to install them with.\n\
             On Debian the command is:\n    {by_hand}\n\
             Elsewhere install Chromium with its ChromeDriver, Python 3.10 or newer with venv and pip, and the \
             servers and clients of PostgreSQL, MariaDB and Redis; CHROMIUM and CHROMEDRIVER may name the \
             programs, SESSILE_TEST_POSTGRES, SESSILE_TEST_MYSQL, SESSILE_TEST_REDIS and \
             SESSILE_TEST_REDIS_CLUSTER servers that run already.",
            packages.join(", "),
        )));
    };
    let sudo = if is_root() { None } else { Some(places.first(&["sudo"])) };
    let remedy = format!("Run this, then start again:\n    {by_hand}");
    let apt_get = |args: &[&str]| -> Result<(), Problem> {
        let mut command = match &sudo {
            None => Command::new(&apt),
            Some(Some(sudo)) => privileged(sudo, &apt),
            Some(None) => {
                return Err(Problem::new(format!(
                    "{} missing; installing needs root, and there is no sudo here.\n{remedy}",
                    packages.join(", "),
                )));
            }
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        output(&mut command, &remedy).map(drop)
    };
    step("apt-get update", || apt_get(&["update"]))?;
    step(&format!("apt-get install {}", packages.join(" ")), || {
        let mut args = vec!["install", "-y", "--no-install-recommends"];
        args.extend(packages);
        apt_get(&args)
    })
}

/// The command for a person. Without `-n`: sudo may ask them.
fn by_hand(packages: &[&str], root: bool) -> String {
    let sudo = if root { "" } else { "sudo " };
    let packages = packages.join(" ");
    format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}")
}

/// sudo drops the environment, so the variable is set behind it.
fn privileged(sudo: &Path, apt: &Path) -> Command {
    let mut command = Command::new(sudo);
    command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive"]).arg(apt);
    command
}

fn is_root() -> bool {
    // A process's folder in /proc belongs to its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::fake;

    #[test]
    fn the_printed_command_fits_the_user() {
        assert_eq!(
            by_hand(&["chromium", "chromium-driver"], false),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends chromium chromium-driver"
        );
        assert_eq!(
            by_hand(&["python3-venv"], true),
            "apt-get update && apt-get install -y --no-install-recommends python3-venv"
        );
    }

    #[test]
    fn without_apt_get_the_command_is_printed() {
        let empty = tempfile::tempdir().unwrap();
        let text = install(&["chromium"], &fake::places(&[empty.path()])).unwrap_err().to_string();
        assert!(text.contains("there is no apt-get here"), "{text}");
        assert!(text.contains(&by_hand(&["chromium"], is_root())), "{text}");
    }

    #[test]
    fn a_failing_apt_get_is_shown_with_the_command_to_type() {
        let folder = tempfile::tempdir().unwrap();
        fake::program(folder.path(), "apt-get", "echo 'E: Could not get lock' >&2; exit 100");
        fake::program(folder.path(), "sudo", "shift; exec /usr/bin/env \"$@\"");
        let text = install(&["chromium"], &fake::places(&[folder.path()])).unwrap_err().to_string();
        assert!(text.contains("apt-get update` failed: exit status: 100"), "{text}");
        assert!(text.contains("    E: Could not get lock"), "{text}");
        assert!(text.ends_with(&by_hand(&["chromium"], is_root())), "{text}");
    }

    #[test]
    fn sudo_never_asks_and_apt_get_never_either() {
        let command = privileged(Path::new("/usr/bin/sudo"), Path::new("/usr/bin/apt-get"));
        assert_eq!(
            crate::step::command_line(&command),
            "/usr/bin/sudo -n env DEBIAN_FRONTEND=noninteractive /usr/bin/apt-get"
        );
    }
}
