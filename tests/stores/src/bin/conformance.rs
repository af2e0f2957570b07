//! Runs the conformance suite on every store, with `--matrix` also on other versions and set-ups, and prints one
//! table of the results, as Markdown. Ends with 1 when a case failed.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use sessile::record::{Clock as _, SystemClock};
use sessile::store::conformance::{self, Report};
use sessile_test_stores::{Backend, Outcome};

/// A store, and how the suite ended on it.
struct Column {
    backend: Backend,
    version: String,
    report: Report,
    seconds: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Outcome<ExitCode> {
    let mut backends = Backend::ALL.to_vec();
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--matrix") => backends.extend(Backend::MATRIX),
        Some(other) => return Err(format!("unknown argument {other:?}: expected --matrix, or none").into()),
    }
    let mut columns = Vec::new();
    for backend in backends {
        columns.push(run(backend).await?);
    }
    print!("{}", markdown(&columns));
    let passed = columns.iter().all(|column| column.report.passed());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(backend: Backend) -> Outcome<Column> {
    // Whoever waits for the table sees where it is.
    eprintln!("{}", backend.name());
    let place = tokio::task::spawn_blocking(move || backend.start()).await??;
    let version = place.version()?;
    let started = Instant::now();
    let fresh = async || match place.store().await {
        Ok(store) => store,
        Err(error) => panic!("no store of {}: {error}", backend.name()),
    };
    let report = conformance::run(fresh).await;
    Ok(Column { backend, version, report, seconds: started.elapsed().as_secs() })
}

fn markdown(columns: &[Column]) -> String {
    let cells = |cell: &dyn Fn(&Column) -> String| -> String {
        columns.iter().map(|column| format!(" {} |", cell(column))).collect()
    };
    let mut table = format!(
        "Run on {}.\n\n|  |{}\n|---|{}\n",
        today(),
        cells(&|column| column.backend.name().to_owned()),
        "---|".repeat(columns.len())
    );
    let mut row = |name: &str, cell: &dyn Fn(&Column) -> String| {
        table.push_str(&format!("| {name} |{}\n", cells(cell)));
    };
    row("version", &|column| column.version.clone());
    for group in groups() {
        row(group, &|column| share(&column.report, |name| group_of(name) == group));
    }
    row("**all cases**", &|column| format!("**{}**", share(&column.report, |_| true)));
    row("seconds", &|column| column.seconds.to_string());

    for Column { backend, report, .. } in columns {
        for failed in report.failures() {
            let Err(failure) = &failed.verdict else { continue };
            let failure = failure.to_string().replace('\n', " ");
            let backend = backend.name();
            table.push_str(&format!("\n* {backend}: `{}` [{}]: {failure}", failed.name, failed.numbers));
        }
    }
    table.truncate(table.trim_end().len());
    table + "\n"
}

/// `8`, or `7 of 8` when one failed.
fn share(report: &Report, counts: impl Fn(&str) -> bool) -> String {
    let results = report.results.iter().filter(|result| counts(result.name));
    let verdicts: Vec<bool> = results.map(|result| result.verdict.is_ok()).collect();
    let passed = verdicts.iter().filter(|passed| **passed).count();
    if passed == verdicts.len() { passed.to_string() } else { format!("{passed} of {}", verdicts.len()) }
}

/// In the order of the suite, each once.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = conformance::cases().iter().map(|case| group_of(case.name())).collect();
    groups.dedup();
    groups
}

fn group_of(case: &str) -> &str {
    case.split("::").next().unwrap_or(case)
}

/// The date, in UTC.
fn today() -> String {
    let now = SystemClock.now().to_rfc3339();
    now.split('T').next().unwrap_or(&now).to_owned()
}
