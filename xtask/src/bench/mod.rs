//! `cargo xtask bench`: measures, and makes tables and charts of what was found.
//!
//! What the programs print is kept in `target/bench`, a file for each part and database, so that parts can be
//! measured on their own; a report is made of all there are. Bad results are kept like good ones.

mod aims;
mod chart;
mod lines;
mod machine;
mod part;
mod process;
mod samples;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use aims::DATABASES;
use chart::{Bar, Chart, Panel};
use part::{PARTS, Part};
use samples::Samples;

use crate::document::{self, Marks};
use crate::problem::Problem;
use crate::setup;
use crate::step::command_line;

pub(crate) const USAGE: &str = "\
PARTS: process, web, lone, purge, locks, size, footprint, staleness, feed; all of them by default; none with `report`
DATABASES: memory, sqlite, postgres, mariadb, redis; all of them by default
OPTIONS: --write
         --rounds N (5): web, lone, locks, feed
         --seconds S of each cell: web, lone, purge, feed (1), locks (2), size (4)
         --only NAME, subjects whose name holds it: web, lone
         --live N (100000), --expired N (1000000): purge
         --rows N of the large table (10000000): size
         --sessions N (100000): footprint
         --endings N (20000): staleness";

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Wish<'a> {
    parts: Vec<&'static Part>,
    databases: Vec<&'a str>,
    /// Each with its value.
    options: Vec<[&'a str; 2]>,
    write: bool,
}

impl<'a> Wish<'a> {
    fn of(words: &[&'a str]) -> Result<Self, Problem> {
        let mut wish = Self::default();
        let mut report_only = false;
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "--write" => wish.write = true,
                option if PARTS.iter().any(|part| part.options.contains(&option)) => {
                    let value = words.next().ok_or_else(|| Problem::new(format!("{word} needs a value")))?;
                    wish.options.push([option, value]);
                }
                "all" => wish.parts.extend(&PARTS),
                "report" => report_only = true,
                name if DATABASES.iter().any(|(_, database)| *database == name) => wish.databases.push(name),
                other => {
                    let part = Part::named(other);
                    let unknown = || Problem::new(format!("{other:?} is no part or database\n{USAGE}"));
                    wish.parts.push(part.ok_or_else(unknown)?);
                }
            }
        }
        if wish.parts.is_empty() && !report_only {
            wish.parts.extend(&PARTS);
        }
        if wish.databases.is_empty() {
            wish.databases.extend(DATABASES.map(|(_, database)| database));
        }
        if let Some(part) = wish.parts.iter().find(|part| wish.databases_of(part).next().is_none()) {
            let asked = wish.databases.join(", ");
            let (name, on) = (part.name, part.databases.join(", "));
            return Err(Problem::new(format!("{name} is not measured on {asked}, but on {on}")));
        }
        Ok(wish)
    }

    /// Those that this part is run for, each apart; one without a name where it is run once.
    fn databases_of(&self, part: &Part) -> impl Iterator<Item = Option<&'a str>> {
        let named = self.databases.iter().copied().filter(|database| part.databases.contains(database));
        named.map(Some).chain(part.databases.is_empty().then_some(None))
    }

    /// The options that this part takes, as they go to its program.
    fn options_of(&self, part: &Part) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(|[option, _]| part.options.contains(option)).flatten().copied()
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.iter().any(|wanted| wanted.name == part)
    }
}

/// Measures what the words ask for, then prints a report of all that is known, which `--write` keeps.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode, Problem> {
    let wish = Wish::of(words)?;
    let mut places = Places::new()?;
    if !wish.parts.is_empty() {
        setup::all_servers()?;
        places.build()?;
    }
    if wish.wants("staleness") {
        places.python = Some(setup::python()?);
    }
    for part in &wish.parts {
        measure(part, &wish, &places)?;
    }
    report(&wish, &places)?;
    Ok(ExitCode::SUCCESS)
}

/// The folders that count here.
struct Places {
    root: PathBuf,
    target: PathBuf,
    results: PathBuf,
    /// Of the interop tests, where a part needs it.
    python: Option<PathBuf>,
}

impl Places {
    fn new() -> Result<Self, Problem> {
        let target = setup::target_folder()?;
        let results = target.join("bench");
        fs::create_dir_all(&results).map_err(|cause| Problem::file("make", &results, &cause))?;
        Ok(Self { root: setup::workspace_root(), target, results, python: None })
    }

    /// Where the peers are built.
    fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// Ours and the peers', optimised alike.
    fn build(&self) -> Result<(), Problem> {
        self.cargo(&["build", "--profile", "bench", "--package", "sessile-bench", "--bins"])?;
        let peers = self.peers().display().to_string();
        let peers = ["--target-dir", &peers, "--manifest-path", "peers/Cargo.toml"];
        self.cargo(
            &[&["build", "--release", "--locked", "--workspace", "--all-features"], &peers[..]].concat(),
        )?;
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<String, Problem> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        self.captured(Command::new(cargo).args(arguments))
    }

    /// What a program prints on standard output; the rest is for whoever waits for it.
    fn captured(&self, command: &mut Command) -> Result<String, Problem> {
        command.current_dir(&self.root).stderr(Stdio::inherit());
        let line = command_line(command);
        eprintln!("{line}");
        let ran = command.output().map_err(|cause| Problem::new(format!("cannot run `{line}`: {cause}")))?;
        if !ran.status.success() {
            return Err(Problem::new(format!("`{line}` failed: {}", ran.status)));
        }
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    fn program(&self, name: &str) -> Command {
        // The profile inherits the folder of `release`.
        let mut command = Command::new(self.target.join("release").join(name));
        command.env("SESSILE_BENCH_PEERS", self.peers().join("release"));
        command.envs(self.python.iter().map(|python| ("SESSILE_TEST_PYTHON", python)));
        command
    }

    /// Whether the part was measured.
    fn have(&self, part: &Part) -> bool {
        part.results().any(|file| self.results.join(file).exists())
    }

    fn keep(&self, name: &str, text: &str) -> Result<(), Problem> {
        let file = self.results.join(name);
        fs::write(&file, text).map_err(|cause| Problem::file("write", &file, &cause))
    }
}

fn measure(part: &Part, wish: &Wish<'_>, places: &Places) -> Result<(), Problem> {
    let Some((program, words)) = part.command.split_first() else {
        let printed = places.cargo(&["bench", "--package", "sessile-bench", "--bench", "requests"])?;
        return places.keep("process.txt", &printed);
    };
    for database in wish.databases_of(part) {
        let mut command = places.program(program);
        command.args(words).args(wish.options_of(part)).args(database);
        let printed = places.captured(&mut command)?;
        let file = database.map_or(part.name.to_owned(), |database| format!("{}-{database}", part.name));
        places.keep(&format!("{file}.tsv"), &printed)?;
    }
    Ok(())
}

/// Everything in `target/bench`, as tables and charts.
fn report(wish: &Wish<'_>, places: &Places) -> Result<(), Problem> {
    let mut samples = Samples::default();
    for part in &PARTS {
        let tables = part.results().filter(|file| file.ends_with(".tsv"));
        tables.for_each(|file| samples.read(&read(&places.results.join(file))));
    }
    let locks = [places.root.join("Cargo.lock"), places.root.join("peers/Cargo.lock")];
    let locks: Vec<&Path> = locks.iter().map(PathBuf::as_path).collect();
    let sections = [
        ("machine", format!("{}\n{}", machine::sentence(), machine::versions(&samples, &locks))),
        ("aims", tables::aims(&samples)),
        ("web", tables::web(&samples)),
        ("lone", tables::lone(&samples)),
        ("purge", tables::purge(&samples)),
        ("locks", tables::locks(&samples)),
        ("size", tables::size(&samples)),
        ("footprint", tables::memory(&samples)),
        ("staleness", tables::staleness(&samples)),
        ("feed", tables::feed(&samples)),
        ("process", process::table(&read(&places.results.join("process.txt")))),
    ];
    for (name, text) in &sections {
        println!("## {name}\n\n{text}");
        // What stands there of a part that has not been measured here is worth more than an empty table.
        if wish.write && Part::named(name).is_none_or(|part| places.have(part)) {
            let marks = Marks::of(&format!("cargo xtask bench -- {name} --write"));
            document::keep(text, &marks, &places.root.join("docs/benchmarks.md"))?;
        }
    }
    for (name, database) in DATABASES {
        let chart = chart(&samples, name, database);
        if chart.panels.is_empty() {
            continue;
        }
        let file = format!("bench-{database}.svg");
        places.keep(&file, &chart.svg())?;
        if wish.write {
            let image = places.root.join("docs/images").join(&file);
            fs::write(&image, chart.svg()).map_err(|cause| Problem::file("write", &image, &cause))?;
        }
    }
    Ok(())
}

/// Empty when it was not measured.
fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn chart(samples: &Samples, name: &str, database: &str) -> Chart {
    let panels = tables::WORKS.into_iter().filter_map(|work| {
        let bars = tables::bars(samples, database, work).into_iter();
        let bars: Vec<Bar> =
            bars.map(|(name, spread)| Bar { aim: aims::rate(&name, work), name, spread }).collect();
        (!bars.is_empty()).then(|| Panel { title: work.to_owned(), bars })
    });
    Chart {
        title: format!("Sessions, {name}, 64 clients"),
        unit: "requests per second, bare axum = 1; the median of the rounds, lowest to highest".to_owned(),
        panels: panels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_databases_and_options_are_told_apart() {
        let wish = Wish::of(&["web", "--rounds", "3", "postgres", "--write", "--rows", "20000"]).unwrap();
        let web = Part::named("web").unwrap();
        assert_eq!(
            wish,
            Wish {
                parts: vec![web],
                databases: vec!["postgres"],
                options: vec![["--rounds", "3"], ["--rows", "20000"]],
                write: true
            }
        );
        assert_eq!(wish.options_of(web).collect::<Vec<_>>(), ["--rounds", "3"]);
        assert_eq!(Wish::of(&[]).unwrap().parts, PARTS.iter().collect::<Vec<_>>());
        assert!(Wish::of(&["report"]).unwrap().parts.is_empty());
        let text = Wish::of(&["oracle"]).unwrap_err().to_string();
        assert!(text.contains("\"oracle\" is no part or database") && text.contains("PARTS"), "{text}");
        assert!(Wish::of(&["--rounds"]).is_err());
        let text = Wish::of(&["size", "memory"]).unwrap_err().to_string();
        assert_eq!(text, "size is not measured on memory, but on sqlite, postgres, mariadb, redis");
    }

    #[test]
    fn no_word_means_two_things() {
        for (_, database) in DATABASES {
            assert_eq!(Part::named(database), None);
        }
    }

    #[test]
    fn a_chart_has_a_panel_for_each_work_that_was_measured() {
        let samples = samples::tests::samples();
        let chart = chart(&samples, "PostgreSQL", "postgres");
        assert_eq!(chart.panels.len(), 1);
        let aims: Vec<Option<f64>> = chart.panels[0].bars.iter().map(|bar| bar.aim).collect();
        assert_eq!(aims, [Some(0.52), None]);
    }
}
