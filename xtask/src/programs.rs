//! Finding programs: what the environment names, then what `PATH` holds.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::problem::Problem;
use crate::servers::Kind;

/// Where programs are looked for. Made from the environment, or by a test.
pub(crate) struct Places {
    pub(crate) path: OsString,
    pub(crate) chromium: Option<OsString>,
    pub(crate) chromedriver: Option<OsString>,
    pub(crate) servers: sessile_test_servers::Places,
    /// The servers to start: those that no variable names.
    pub(crate) kinds: Vec<Kind>,
}

impl Places {
    pub(crate) fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = set("PATH").unwrap_or_default();
        Self {
            servers: sessile_test_servers::Places::from_path(&path),
            path,
            chromium: set("CHROMIUM"),
            chromedriver: set("CHROMEDRIVER"),
            kinds: Kind::to_start(|variable| set(variable).is_some()),
        }
    }

    /// The first program on `PATH` with one of these names; an earlier name wins over an earlier folder.
    pub(crate) fn first(&self, names: &[&str]) -> Option<PathBuf> {
        names.iter().find_map(|name| self.all(name).next())
    }

    /// Every program of this name on `PATH`, in its order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let found = std::env::split_paths(&self.path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .filter(|file| is_program(file))
            .collect::<Vec<_>>();
        found.into_iter()
    }

    /// The program a variable names, or the first of `names` on `PATH`.
    ///
    /// A variable that names something else is an error: whoever set it does not want another program.
    pub(crate) fn named_or_first(
        &self,
        variable: &str,
        value: Option<&OsStr>,
        names: &[&str],
    ) -> Result<Option<PathBuf>, Problem> {
        let Some(value) = value else { return Ok(self.first(names)) };
        let file = std::path::absolute(value)
            .map_err(|cause| Problem::file("read the path", Path::new(value), &cause))?;
        if is_program(&file) {
            return Ok(Some(file));
        }
        Err(Problem::new(format!(
            "{variable} names {}, which is not a program.\nSet it to the path of one of: {}; or unset it to search PATH.",
            file.display(),
            names.join(", "),
        )))
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
pub(crate) mod fake {
    //! Folders of pretended programs.

    use std::process::Command;

    use super::*;

    /// Writes an executable shell script.
    ///
    /// Another process writes it: a file that this one had open for writing could not be run while another
    /// test is starting a program, which inherits the open file for a moment.
    pub(crate) fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
        let file = folder.join(name);
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1""#;
        let status = Command::new("/bin/sh").args(["-c", write, "sh"]).arg(&file).arg(script).status();
        assert!(status.unwrap().success());
        file
    }

    /// Places that hold only these folders. No server is to be started.
    pub(crate) fn places(folders: &[&Path]) -> Places {
        Places {
            path: std::env::join_paths(folders).unwrap(),
            chromium: None,
            chromedriver: None,
            servers: sessile_test_servers::Places::only(folders.iter().map(PathBuf::from).collect()),
            kinds: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_name_wins_over_an_earlier_folder() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fake::program(one.path(), "google-chrome", "");
        let wanted = fake::program(two.path(), "chromium", "");
        let places = fake::places(&[one.path(), two.path()]);
        assert_eq!(places.first(&["chromium", "google-chrome"]), Some(wanted));
    }

    #[test]
    fn what_cannot_be_executed_is_passed_over() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("chromedriver"), "no program").unwrap();
        std::fs::create_dir(one.path().join("chromium")).unwrap();
        let wanted = fake::program(two.path(), "chromedriver", "");
        let places = fake::places(&[one.path(), two.path()]);
        assert_eq!(places.first(&["chromedriver"]), Some(wanted));
        assert_eq!(places.first(&["chromium"]), None);
    }

    #[test]
    fn a_variable_wins_over_path_and_must_name_a_program() {
        let folder = tempfile::tempdir().unwrap();
        fake::program(folder.path(), "chromium", "");
        let own = fake::program(folder.path(), "my-chromium", "");
        let places = fake::places(&[folder.path()]);
        let named = |value: &Path| places.named_or_first("CHROMIUM", Some(value.as_os_str()), &["chromium"]);
        assert_eq!(named(&own).unwrap(), Some(own));

        let text = named(&folder.path().join("gone")).unwrap_err().to_string();
        assert!(
            text.starts_with("CHROMIUM names ") && text.contains("gone, which is not a program"),
            "{text}"
        );
    }

    #[test]
    fn relative_folders_on_path_are_not_searched() {
        let places = Places { path: OsString::from(".:src"), ..fake::places(&[]) };
        assert_eq!(places.first(&["main.rs", "Cargo.toml"]), None);
    }
}
