//! The tasks of the workspace, run as `cargo xtask <task>`.
//!
//! A fresh machine with Rust on it needs nothing else: what a task needs, it finds or installs, or it says
//! which command would. A task never skips a part of its work because something is missing.

mod apt;
mod bench;
mod browser;
mod conformance;
mod document;
mod links;
mod peers;
mod problem;
mod programs;
mod python;
mod servers;
mod setup;
mod step;
mod test;

use std::process::ExitCode;

use problem::Problem;

const USAGE: &str = "\
usage: cargo xtask <task>

tasks:
  test [-- ARGS]  set up what the tests need, then run all of them; ARGS go to `cargo test`
  bench [-- [PARTS] [DATABASES] [OPTIONS]]
                  measure, and print the tables of docs/benchmarks.md; --write keeps them there, and the
                  charts in docs/images; PARTS: process, web, lone, purge, size, footprint, staleness, feed, or
                  `report` for a report of what was measured before; DATABASES: memory, sqlite, postgres,
                  mariadb, redis; OPTIONS: as `bench -- help` lists them
  conformance [--matrix] [--write]
                  run the conformance suite on every store, each on a server of its own, and print the table;
                  --matrix adds other versions and set-ups, --write keeps the table in docs/stores.md
  setup           only the set-up: find or install what the tests need, and print it
  servers         start the database servers that the tests share, print their URLs, end them on Ctrl-C

set-up looks at: CHROMIUM, CHROMEDRIVER (paths of the programs), then at PATH
servers of your own, used instead of starting one, are named by their URLs in:
  SESSILE_TEST_POSTGRES, SESSILE_TEST_MYSQL, SESSILE_TEST_REDIS, SESSILE_TEST_REDIS_CLUSTER";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => test::run(&[]),
        ["test", "--", rest @ ..] => test::run(rest),
        ["bench"] => bench::run(&[]),
        ["bench", "--", "help" | "--help" | "-h"] => {
            println!("{}", bench::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        ["bench", "--", rest @ ..] => bench::run(rest),
        ["conformance"] => conformance::run(false, false),
        ["conformance", "--matrix"] => conformance::run(true, false),
        ["conformance", "--write"] => conformance::run(false, true),
        ["conformance", "--matrix", "--write"] => conformance::run(true, true),
        ["setup"] => setup::run().map(|_| ExitCode::SUCCESS),
        ["servers"] => servers::run(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|problem: Problem| {
        eprintln!("error: {problem}");
        ExitCode::FAILURE
    })
}
