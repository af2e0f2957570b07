//! `cargo xtask bench`: both benchmark programs, and one table of what they found, as Markdown.

use std::fmt::Write as _;
use std::process::{Command, ExitCode, Stdio};

use crate::problem::Problem;
use crate::setup;
use crate::step::command_line;

/// Runs both and prints the table. `rest` goes to the one over HTTP: rounds, and seconds for each cell.
pub(crate) fn run(rest: &[&str]) -> Result<ExitCode, Problem> {
    let package = ["--package", "sessile-bench"];
    let in_process = captured(&[&["bench"], &package[..], &["--bench", "requests"]].concat())?;
    let run = ["run", "--profile", "bench"];
    let over_http = captured(&[&run[..], &package[..], &["--bin", "load", "--"], rest].concat())?;
    print!("{}", table(&in_process, &over_http));
    Ok(ExitCode::SUCCESS)
}

/// What cargo's program prints on standard output; the rest is for whoever waits for it.
fn captured(arguments: &[&str]) -> Result<String, Problem> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(setup::workspace_root()).args(arguments).stderr(Stdio::inherit());
    let line = command_line(&command);
    eprintln!("{line}");
    let ran = command.output().map_err(|cause| Problem::new(format!("cannot run `{line}`: {cause}")))?;
    if !ran.status.success() {
        return Err(Problem::new(format!("`{line}` failed: {}", ran.status)));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn table(in_process: &str, over_http: &str) -> String {
    let mut table = String::from(
        "| in process | subject | of | time, median (fastest) | ratio of medians (of the fastest) |\n\
         |---|---|---|---|---|\n",
    );
    for row in ratios(&benches(in_process)) {
        table.push_str(&row);
    }
    table.push_str(
        "\n| over HTTP, 64 clients | subject | of | CPU per request | ratio of CPU (min–max) | \
         ratio of requests/s (min–max) |\n|---|---|---|---|---|---|\n",
    );
    for line in over_http.lines() {
        if let [work, subject, of, micros, cpu, low, high, rate, slow, fast] =
            line.split('\t').collect::<Vec<_>>()[..]
        {
            // Writing into a String cannot fail, here and below.
            let _ = writeln!(
                table,
                "| {work} | {subject} | {of} | {micros} µs | {cpu} ({low}–{high}) | {rate} ({slow}–{fast}) |"
            );
        }
    }
    table
}

/// One line of divan's: which group, which subject, and its times in nanoseconds.
struct Bench<'a> {
    group: &'a str,
    subject: &'a str,
    fastest: f64,
    median: f64,
}

/// Reads divan's tree: `├─ group`, and below it `│  ├─ subject  fastest │ slowest │ median │ …`.
fn benches(tree: &str) -> Vec<Bench<'_>> {
    let mut group = "";
    let mut benches = Vec::new();
    for line in tree.lines() {
        let Some((_, text)) = line.split_once("─ ") else { continue };
        let (name, times) = text.split_once(' ').unwrap_or((text, ""));
        let times: Vec<Option<f64>> = times.split('│').map(nanoseconds).collect();
        match times[..] {
            [Some(fastest), _, Some(median), ..] => {
                benches.push(Bench { group, subject: name, fastest, median });
            }
            _ => group = name,
        }
    }
    benches
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let scale = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// Each subject beside the one it is measured against: the hand-written store that synchronises as it
/// does, or else bare axum.
fn ratios(benches: &[Bench<'_>]) -> Vec<String> {
    let other = |bench: &Bench<'_>, name: &str| {
        benches.iter().find(|other| other.group == bench.group && other.subject == name)
    };
    let row = |bench: &Bench<'_>| {
        let by_hand = bench.subject.replace("sessile-memory", "sessile-normal").replace("sessile-", "hand-");
        let of = other(bench, &by_hand).filter(|of| of.subject != bench.subject);
        let of = of.or_else(|| other(bench, "bare"))?;
        (of.subject != bench.subject).then(|| {
            format!(
                "| {} | {} | {} | {:.2} µs ({:.2}) | {:.2} ({:.2}) |\n",
                bench.group.replace('_', " "),
                bench.subject,
                of.subject,
                bench.median / 1e3,
                bench.fastest / 1e3,
                bench.median / of.median,
                bench.fastest / of.fastest
            )
        })
    };
    benches.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_stands_beside_its_bound() {
        let tree = "\
Timer precision: 20 ns
requests              fastest       │ slowest  │ median   │ mean     │ samples │ iters
├─ read                             │          │          │          │         │
│  ├─ hand-normal     2 µs          │ 9 µs     │ 4 µs     │ 5 µs     │ 300     │ 60000
│  │                  211.6 Kitem/s │ 150 item/s │ 205.8 Kitem/s │ 203 Kitem/s │ │
│  ╰─ sessile-normal  3 µs          │ 16.04 µs │ 5000 ns  │ 8.604 µs │ 300     │ 60000
╰─ untouched_request                │          │          │          │         │
   ├─ bare            400.0 ns      │ 63.65 µs │ 400.0 ns │ 1.386 µs │ 300     │ 150000
   ├─ bare-layer      500.0 ns      │ 63.65 µs │ 480.0 ns │ 1.386 µs │ 300     │ 150000
   ╰─ sessile-normal  600.0 ns      │ 67.3 µs  │ 800.0 ns │ 2.19 µs  │ 300     │ 150000
";
        let http = "read\tsessile-normal\tbare\t23.7\t2.757\t2.167\t2.920\t0.409\t0.088\t0.919\n";
        let table = table(tree, http);
        let rows: Vec<&str> =
            table.lines().filter(|line| line.contains("sessile") || line.contains("bare-layer")).collect();
        assert_eq!(
            rows,
            [
                "| read | sessile-normal | hand-normal | 5.00 µs (3.00) | 1.25 (1.50) |",
                "| untouched request | bare-layer | bare | 0.48 µs (0.50) | 1.20 (1.25) |",
                "| untouched request | sessile-normal | bare | 0.80 µs (0.60) | 2.00 (1.50) |",
                "| read | sessile-normal | bare | 23.7 µs | 2.757 (2.167–2.920) | 0.409 (0.088–0.919) |",
            ]
        );
    }
}
