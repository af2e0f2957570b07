//! Chromium and the ChromeDriver that fits it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::problem::Problem;
use crate::programs::Places;
use crate::step::output;

const CHROMIUM_NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const CHROMEDRIVER_NAMES: [&str; 1] = ["chromedriver"];

/// The Debian packages that hold both.
pub(crate) const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// A browser and its driver, of one major version.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
    pub(crate) version: String,
}

/// Finds both and starts each once, to learn that it runs and its version. `None` when one is not there.
pub(crate) fn find(places: &Places) -> Result<Option<Browser>, Problem> {
    let chromium = places.named_or_first("CHROMIUM", places.chromium.as_deref(), &CHROMIUM_NAMES)?;
    let chromedriver =
        places.named_or_first("CHROMEDRIVER", places.chromedriver.as_deref(), &CHROMEDRIVER_NAMES)?;
    let (Some(chromium), Some(chromedriver)) = (chromium, chromedriver) else { return Ok(None) };

    let browser = version(&chromium)?;
    let driver = version(&chromedriver)?;
    // ChromeDriver refuses a browser of another major version, but only once a test asks for a session.
    if major(&browser) != major(&driver) {
        return Err(Problem::new(format!(
            "{} is version {browser}, {} is version {driver}: the first number must be the same.\n\
             Install two that fit, or name them with CHROMIUM and CHROMEDRIVER.",
            chromium.display(),
            chromedriver.display(),
        )));
    }
    Ok(Some(Browser { chromium, chromedriver, version: browser }))
}

fn version(program: &Path) -> Result<String, Problem> {
    let printed = output(Command::new(program).arg("--version"), "It does not start: install it again.")?;
    number(&printed).map(str::to_owned).ok_or_else(|| {
        Problem::new(format!("`{} --version` names no version: {}", program.display(), printed.trim()))
    })
}

/// The version in lines like `Chromium 141.0.7390.54 built on Debian GNU/Linux 12`.
fn number(printed: &str) -> Option<&str> {
    printed
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::fake;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(number("Chromium 141.0.7390.54 built on Debian GNU/Linux 12\n"), Some("141.0.7390.54"));
        assert_eq!(number("Google Chrome 140.0.7339.80 \n"), Some("140.0.7339.80"));
        assert_eq!(number("ChromeDriver 141.0.7390.54 (a21ce95c-refs/heads@{#1})\n"), Some("141.0.7390.54"));
        assert_eq!(number("no version\n"), None);
    }

    #[test]
    fn a_driver_of_another_major_version_is_refused_with_both_named() {
        let folder = tempfile::tempdir().unwrap();
        fake::program(folder.path(), "chromium", "echo Chromium 141.0.1.2");
        fake::program(folder.path(), "chromedriver", "echo ChromeDriver 140.0.1.2");
        let text = find(&fake::places(&[folder.path()])).unwrap_err().to_string();
        assert!(text.contains("version 141.0.1.2") && text.contains("version 140.0.1.2"), "{text}");
    }

    #[test]
    fn a_browser_without_its_driver_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        fake::program(folder.path(), "chromium", "echo Chromium 141.0.1.2");
        assert!(find(&fake::places(&[folder.path()])).unwrap().is_none());
        fake::program(folder.path(), "chromedriver", "echo ChromeDriver 141.0.9.9");
        assert_eq!(find(&fake::places(&[folder.path()])).unwrap().unwrap().version, "141.0.1.2");
    }
}
