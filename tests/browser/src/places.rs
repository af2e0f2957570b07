//! Where programs, builds and pictures lie.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::{Failure, Outcome};

/// The program that this variable names.
pub(crate) fn program(variable: &str) -> Outcome<PathBuf> {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    match named {
        Some(program) if program.is_file() => Ok(program),
        Some(program) => {
            Err(Failure::new(format!("{variable} names {}, which is no file", program.display())))
        }
        None => Err(Failure::new(format!(
            "{variable} is not set: run the tests with `cargo xtask test`, which finds or installs what they need"
        ))),
    }
}

/// The file for a screenshot of this name, in `<target>/screenshots`.
pub(crate) fn screenshot(name: &str) -> Outcome<PathBuf> {
    let profile = profile_folder()?;
    let folder = profile.parent().unwrap_or(&profile).join("screenshots");
    fs::create_dir_all(&folder)
        .map_err(|cause| Failure::because(format!("cannot create {}", folder.display()), cause))?;
    Ok(folder.join(format!("{name}.png")))
}

/// The `sessile` binary of the profile this test was built with.
///
/// cargo tells a test only of binaries in the test's own package, so this looks beside the test itself. When
/// the binary is not there, or older than one of its sources (only this package was built), cargo builds it,
/// once per test program.
pub(crate) fn sessile() -> Outcome<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| find_or_build().map_err(|failure| failure.to_string())).clone().map_err(Failure::new)
}

fn find_or_build() -> Outcome<PathBuf> {
    let profile = profile_folder()?;
    let binary = profile.join("sessile");
    if is_fresh(&binary) {
        return Ok(binary);
    }
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--package",
        "sessile-cli",
        "--bin",
        "sessile",
        "--all-features",
        "--profile",
        name,
    ]);
    let ran = build
        .current_dir(workspace_root())
        .output()
        .map_err(|cause| Failure::because(format!("cannot run {build:?}"), cause))?;
    if ran.status.success() && binary.is_file() {
        return Ok(binary);
    }
    let printed = String::from_utf8_lossy(&ran.stderr);
    Err(Failure::new(format!("{build:?} made no {}: {}\n{printed}", binary.display(), ran.status)))
}

/// Whether the binary was built from this workspace, after every source that cargo noted for it.
fn is_fresh(binary: &Path) -> bool {
    let changed = |file: &Path| fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let Some(built) = changed(binary) else { return false };
    let Ok(noted) = fs::read_to_string(binary.with_extension("d")) else { return false };
    let root = workspace_root();
    let sources = sources(&noted);
    let older = |source: &PathBuf| changed(source).is_some_and(|time: SystemTime| time <= built);
    sources.iter().any(|source| source.starts_with(&root)) && sources.iter().all(older)
}

/// The files after the colon of a dep-info line, where a blank inside a name is escaped.
fn sources(noted: &str) -> Vec<PathBuf> {
    let Some((_, files)) = noted.split_once(": ") else { return Vec::new() };
    let files = files.replace("\\ ", "\0");
    files.split_whitespace().map(|file| PathBuf::from(file.replace('\0', " "))).collect()
}

/// `<target>/<profile>`: the test lies in its `deps` folder.
fn profile_folder() -> Outcome<PathBuf> {
    let test = std::env::current_exe()
        .map_err(|cause| Failure::because("cannot learn where the test program lies", cause))?;
    let folder = test.ancestors().nth(2).map(Path::to_path_buf);
    folder.ok_or_else(|| Failure::new(format!("{} does not lie in a target folder", test.display())))
}

fn workspace_root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    package.ancestors().nth(2).map_or(package.clone(), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_lists_the_sources() {
        let noted = "/t/debug/sessile: /w/a.rs /w/with\\ blank/b.rs\n";
        assert_eq!(sources(noted), [PathBuf::from("/w/a.rs"), PathBuf::from("/w/with blank/b.rs")]);
    }

    #[test]
    fn a_binary_is_fresh_until_a_source_changes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, source) = (folder.path().join("sessile"), folder.path().join("main.rs"));
        // Any file of the workspace does for the first: it is older than what this test writes.
        let own = workspace_root().join("Cargo.toml");
        fs::write(&source, "").unwrap();
        fs::write(&binary, "").unwrap();
        let note = |files: &[&Path]| {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            fs::write(folder.path().join("sessile.d"), format!("sessile: {}\n", files.join(" "))).unwrap();
        };

        assert!(!is_fresh(&binary), "nothing is known of its sources");
        note(&[&own, &source]);
        assert!(is_fresh(&binary));
        note(&[&source]);
        assert!(!is_fresh(&binary), "it was built from another workspace");
        note(&[&own, &source]);
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        fs::File::options().write(true).open(&source).unwrap().set_modified(later).unwrap();
        assert!(!is_fresh(&binary), "a source is newer");
        fs::remove_file(&source).unwrap();
        assert!(!is_fresh(&binary), "a source is gone");
    }
}
